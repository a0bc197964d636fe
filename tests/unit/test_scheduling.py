"""Workers that die take one test with them, whichever it is, and the run ends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os, pathlib, pytest

def dies(name):
    here = pathlib.Path(__file__).with_name(name)
    if name in os.environ["DIES"].split() and not here.exists():
        here.write_text("")
        os._exit(3)

@pytest.mark.parametrize("n", range(12))
def test_alone(n):
    dies(f"a{n}")

@pytest.mark.xdist_group("all")
@pytest.mark.parametrize("n", range(4))
def test_grouped(n):
    dies(f"g{n}")
"""
PLUGIN = """
from tests.scheduling import Groups

def pytest_xdist_make_scheduler(config, log):
    return Groups(config, log)
"""
ROOT = str(Path(__file__).parents[2])


@pytest.mark.parametrize("dies", ["a3", "a11", "g0", "g3", "a0 a1 a10 a11 g1 g2"])
def test_a_run_ends_when_workers_die(tmp_path: Path, dies: str) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--reruns",
        "1",
        "-p",
        "no:asyncio",
        ".",
    ]
    environment = {"DIES": dies, "PYTHONPATH": ROOT, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False)
    found = {
        word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|rerun)", done.stdout.splitlines()[-1])
    }
    assert found["passed"] + found.get("failed", 0) == 16, done.stdout
    assert found["rerun"] == len(dies.split()), done.stdout
