"""Generates the Python clients of the HTTP APIs from their OpenAPI documents: ``python -m tools.client [--check]``.

The generator (openapi-python-client) needs an older typer than we do, so it lives in an environment of its own, which the
first run makes. What it writes stands in ``src/headrace/clients`` and is committed; `--check` fails when it would differ.
"""

from __future__ import annotations

import fcntl
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / "src" / "headrace" / "clients"
SERVICES = {
    "sharing": "headrace.services.sharing.http",
    "training": "headrace.services.training.http",
    "translation": "headrace.services.translation.http",
    "identity": "headrace.services.identity.http",
    "verification": "headrace.services.verification.http",
}
GENERATOR = "openapi-python-client==0.29.1"
CONFIG = {
    "literal_enums": True,
    "post_hooks": ["ruff check . --isolated --fix-only", "ruff format . --isolated"],
    "content_type_overrides": {
        "application/offset+octet-stream": "application/octet-stream",
        "application/zip": "application/octet-stream",
    },
}
HOME = ROOT / ".venv-client"


class _Unused:
    """In the place of a service: an app needs one to answer requests, not to say which it answers."""

    def __getattr__(self, name: str) -> _Unused:
        return self


def document(service: str) -> dict[str, Any]:
    """The OpenAPI document of a service; nothing is started for it."""
    found: dict[str, Any] = import_module(SERVICES[service]).create_app(_Unused()).openapi()
    return found


def generator() -> Path:
    """The generator's environment, made when it is missing or of another version."""
    stamp = HOME / f"{GENERATOR}+ruff-{version('ruff')}"
    with (ROOT / ".venv-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        _install(stamp)
    return HOME / "bin"


def _install(stamp: Path) -> None:
    if not stamp.exists():
        shutil.rmtree(HOME, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        wanted = [GENERATOR, f"ruff=={version('ruff')}"]
        subprocess.run([HOME / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True)
        stamp.touch()


def generate(service: str, into: Path) -> None:
    """Write one service's client as package `into`, which is replaced."""
    tools = generator()
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "openapi.json"
        described.write_text(json.dumps(document(service)))
        config, made = Path(folder) / "config.yaml", Path(folder) / service
        config.write_text(json.dumps(CONFIG))  # JSON is YAML
        command = [tools / "openapi-python-client", "generate", "--meta", "none", "--overwrite", "--fail-on-warning"]
        command += ["--path", described, "--output-path", made, "--config", config]
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "PATH": path})
        if done.returncode:
            sys.exit(f"the {service} client cannot be generated:\n{done.stdout}{done.stderr}")
        _mend(made)
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(made, into, ignore=shutil.ignore_patterns(".*"))


def _mend(package: Path) -> None:
    """Mend what the generator gets wrong: a form's boundary is the same for all, and could stand in somebody's file (httpx
    chooses another each time); a body of several types uses a name that is not imported."""
    for module in package.rglob("*.py"):
        text = module.read_text()
        changed = re.sub(r"\n+ +headers\[.Content-Type.\] = .multipart/form-data; boundary=\+\+\+.\n", "\n", text)
        if "| Unset" in changed and not re.search(r"import [^\n]*\bUnset\b", changed):
            changed = changed.replace("types import UNSET, Response", "types import UNSET, Response, Unset")
        if changed != text:
            module.write_text(changed)


def differences(service: str) -> list[str]:
    """Files of the committed client that are not what would be generated now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / service
        generate(service, fresh)
        return sorted(_differing(filecmp.dircmp(CLIENTS / service, fresh, ignore=["__pycache__", ".ruff_cache"])))


def _differing(found: filecmp.dircmp[str]) -> Iterator[str]:
    for name in (*found.left_only, *found.right_only, *found.diff_files):
        yield str(Path(found.left) / name)
    for inner in found.subdirs.values():
        yield from _differing(inner)


def main() -> None:
    """Write the clients, or say what differs."""
    for service in SERVICES:
        if "--check" not in sys.argv:
            generate(service, CLIENTS / service)
        elif differing := differences(service):
            sys.exit(f"the {service} client is not what its API says: {', '.join(differing)}; python -m tools.client")


if __name__ == "__main__":
    main()
