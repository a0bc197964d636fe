"""The environment a task runs in, as a fingerprint: byte-equal results are promised within one, and nowhere else.

What changed bytes when it was tried: library versions, CPU capability, MKL_CBWR, the number of threads.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.assets import Environment
from headrace.errors import WrongEnvironment

Ask = Callable[[str], bytes]
"""Runs a piece of Python inside the environment and returns what it prints."""
MOST_THREADS = 256

QUESTION = """
import importlib.metadata, json, os, platform, sys
found = {}
for one in importlib.metadata.distributions():
    name = one.metadata["Name"] if one.metadata else None
    if name:
        found.setdefault(name.lower().replace("_", "-").replace(".", "-"), one.version)
told = {
    "python": platform.python_version(),
    "implementation": platform.python_implementation(),
    "system": platform.system(),
    "machine": platform.machine(),
    "libc": " ".join(platform.libc_ver()),
    "packages": dict(sorted(found.items())),
    "mkl_cbwr": os.environ.get("MKL_CBWR", ""),
    "cpu_capability": "",
    "blas": "",
}
try:
    import numpy
    config = numpy.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    told["blas"] = f"{blas.get('name', '')} {blas.get('version', '')}".strip()
    told["numpy_simd"] = sorted(config.get("SIMD Extensions", {}).get("found", []))
except Exception:
    pass
try:
    import torch
    told["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
except Exception:
    pass
print(json.dumps(told))
"""


class Told(BaseModel):
    """An environment's answer."""

    model_config = ConfigDict(extra="forbid")

    python: str
    implementation: str
    system: str
    machine: str
    libc: str
    packages: dict[str, str] = Field(max_length=10_000)
    mkl_cbwr: str
    cpu_capability: str
    blas: str
    numpy_simd: list[str] = Field([], max_length=200)


@cache
def _told(ask: Ask) -> dict[str, Any]:
    """Asked once a process: it imports torch, in the sandbox. Who answers may be an image of a stranger."""
    try:
        answer = Told.model_validate_json(ask(QUESTION).strip().splitlines()[-1])
    except (ValidationError, IndexError) as error:
        raise WrongEnvironment(detail="it does not say what is installed in it") from error
    return answer.model_dump()


def fingerprint(threads: int, ask: Ask) -> dict[str, Any]:
    """Everything, and `digest` over it; the same everywhere it is the same."""
    told = _told(ask)
    packages = "\n".join(f"{name}=={version}" for name, version in told["packages"].items())
    made = {
        **told,
        "packages_digest": _digest(packages.encode()),
        "threads": threads,
    }
    made = dict(sorted(made.items()))
    return {"digest": _digest(json.dumps(made, sort_keys=True, separators=(",", ":")).encode()), **made}


def compare(environment: Environment, ask: Ask) -> None:
    """Raises WrongEnvironment with every difference between what is asked for and what is here."""
    differences = _differences(environment.requires, ask) if environment.requires else []
    if environment.fingerprint and environment.fingerprint not in _digests(ask):
        here = fingerprint(1, ask)["digest"]
        differences.append(f"the fingerprint asked for is {environment.fingerprint}, here it is {here} with one thread")
    if differences:
        raise WrongEnvironment(detail="; ".join(differences))


def _differences(requires: Mapping[str, str], ask: Ask) -> list[str]:
    told = _told(ask)
    here = {**told["packages"], "python": told["python"]}
    return [
        f"{name} {version} is asked for, {'it has ' + here[_name(name)] if _name(name) in here else 'it is not installed'}"
        for name, version in sorted(requires.items())
        if not _same(version, here.get(_name(name), ""))
    ]


def _same(asked: str, has: str) -> bool:
    """As ``==`` of pip compares: a build such as +cpu counts only when it is asked for (PEP 440, "version matching").

    >>> _same("2.13.0", "2.13.0+cpu"), _same("2.13.0+cu130", "2.13.0+cpu"), _same("2.13", "2.13.0")
    (True, False, False)
    """
    return asked == (has if "+" in asked else has.partition("+")[0])


@cache
def _digests(ask: Ask) -> frozenset[str]:
    """Of every number of threads: that one is set for each run, not given."""
    return frozenset(fingerprint(count, ask)["digest"] for count in range(1, MOST_THREADS + 1))


def _name(package: str) -> str:
    """As packaging compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
