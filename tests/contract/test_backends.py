"""Every backend, found by discovery, through the contract suite in both input shapes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from headrace.checks import backends as suite
from headrace.models.backends import BACKENDS, Backend, Shape

SKIPS = {
    ("persistence", "window"): "predicts a feature of each target",
    ("hour-mean", "window"): "predicts from the slot of each target",
}
"""(backend, shape) -> why the suite does not apply."""

QUICK: Mapping[str, Mapping[str, Any]] = {
    "torch": {"epochs": 2, "batch": 16, "options": {"hidden": 8, "dense": 8}},
    "hist-gb": {"iterations": 5},
}
"""Params that keep the suite quick; the defaults otherwise."""

CASES = [
    pytest.param(name, shape, id=f"{name}-{shape}")
    for name in BACKENDS.names()
    for shape in suite.SHAPES
    if (name, shape) not in SKIPS
]


def maker(name: str) -> suite.Make:
    kind, params = BACKENDS.find(name), BACKENDS.params(name, QUICK.get(name, {}))

    def make(shape: Shape) -> Backend:
        backend: Backend = kind(params, shape, 7)
        return backend

    return make


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_contract(name: str, shape: str, check: Callable[[suite.Make, Shape], None]) -> None:
    check(maker(name), suite.SHAPES[shape])


def test_skips_name_members_and_shapes() -> None:
    for name, shape in SKIPS:
        assert name in BACKENDS.names()
        assert shape in suite.SHAPES


def digests() -> list[str]:
    """Of each case's states and predictions through a whole story."""
    lines = []
    for case in CASES:
        name, shape = case.values
        pages = suite.story(maker(str(name)), suite.SHAPES[str(shape)])
        lines.append(f"{case.id} {hashlib.sha256(b''.join(pages)).hexdigest()}")
    return lines


def test_same_bytes_in_another_process() -> None:
    command = [sys.executable, __file__]
    environment = {**os.environ, "PYTHONHASHSEED": "99", "OMP_NUM_THREADS": "2"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == digests()


if __name__ == "__main__":
    print("\n".join(digests()))
