"""What `make test` runs, in order: formatting, lint, types, import contracts, then every test. Stops at the first failure.

A test that fails is run once more, and named in the summary as one that had to be: on a machine that others use, too, one in
several thousand finds a processor missing. Two failures are a failure.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
STATIC = [
    ["ruff", "format", "--check", "."],
    ["ruff", "check", "."],
    ["mypy"],
    ["lint-imports"],
]


def tidy(since: float) -> None:
    """End what a test worker that died has left behind: whoever reads what we write would wait for it, too. That is what this
    environment's Python has run since a time, and nobody is the parent of."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if str(BIN) in line and process.ppid() == 1 and process.create_time() > since:
                print(f"left behind, and ended now: {line[:200]}", flush=True)
                process.kill()


def main() -> None:
    """Run; the exit code is that of the first command that failed."""
    begun = time.time()
    tests = [
        [
            "pytest",
            "-n",
            "2",
            "--dist",
            "loadgroup",
            "--reruns",
            "1",
            *(arg for arg in sys.argv[1:] if arg != "--static"),
        ]
    ]
    for command in STATIC + ([] if "--static" in sys.argv else tests):
        print(f"\n$ {' '.join(command)}", flush=True)
        started = time.monotonic()
        code = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False).returncode
        tidy(begun)
        if code:
            sys.exit(code)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
