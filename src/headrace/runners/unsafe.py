"""No isolation at all: the program may do whatever the platform may. Only its time is limited.

For machines where nothing else runs, and code that is one's own; built by compose under ``--unsafe-no-sandbox`` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from headrace.assets import Environment, Limits
from headrace.errors import WrongEnvironment
from headrace.runners import Ended, Ending, Task
from headrace.runners.environment import compare, fingerprint
from headrace.runners.local import defaults, threads
from headrace.runners.logs import CappedLog

TICK = 0.05
OUTPUT = "/work/output"


class UnsafeRunner:
    """Runs tasks as the platform itself. Paths inside are links in a temporary folder, named in the variables."""

    def check(self, environment: Environment) -> None:
        """Raises WrongEnvironment; isolation it never had."""
        if environment.image:
            raise WrongEnvironment(detail=f"the image {environment.image!r} needs the container runner (podman)")
        compare(environment, _ask)

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """The fingerprint, with `isolation` none."""
        return {**fingerprint(threads(limits), _ask), "isolation": "none", "limits_by": "time only"}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """Variables and arguments that begin with ``/work/`` are led to where things really are."""
        await asyncio.to_thread(self.check, task.environment)
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="headrace-unsafe-") as folder,
            CappedLog(task.log, task.limits.log_bytes) as log,
        ):
            home = Path(folder)
            _lay(task, home)
            words = [
                sys.executable if word == "python" and not at else _led(word, home)
                for at, word in enumerate(task.command)
            ]
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=_led(task.folder, home),
                env={**_own(home, task.limits), **{name: _led(value, home) for name, value in task.variables.items()}},
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            reading = asyncio.create_task(_read(process, log, task))
            how = await _wait(process, task, cancel, began)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await reading
        code = process.returncode or 0
        return Ended(how, 128 - code if code < 0 else code, time.monotonic() - began, None, _DETAIL.get(how, ""))


_DETAIL = {"time": "it ran longer than its limit; raise limits.seconds (--minutes)", "cancelled": "it was cancelled"}


def _lay(task: Task, home: Path) -> None:
    """Links where the inputs and the output are expected, below `home`."""
    for target, source in {**task.inputs, OUTPUT: task.output}.items():
        place = home / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source.resolve())
    (home / task.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _led(text: str, home: Path) -> str:
    """The text with ``/work/...`` as it is here; a list of paths by ``:`` too."""
    parts = [f"{home}{part}" if part == "/work" or part.startswith("/work/") else part for part in text.split(":")]
    return ":".join(parts)


def _own(home: Path, limits: Limits) -> dict[str, str]:
    return {
        **defaults(limits),
        "HOME": str(home),
        "HEADRACE_WORK": str(home / "work"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


async def _read(process: Process, log: CappedLog, task: Task) -> None:
    assert process.stdout is not None
    while data := await process.stdout.read(2**16):
        log.add(data)
        if task.heard is not None:
            task.heard(data)


async def _wait(process: Process, task: Task, cancel: asyncio.Event, began: float) -> Ending:
    ended = asyncio.create_task(process.wait())
    how: Ending = "exit"
    try:
        while not ended.done() and how == "exit":
            await asyncio.wait([ended], timeout=TICK)
            if not ended.done() and cancel.is_set():
                how = "cancelled"
            elif not ended.done() and time.monotonic() - began > task.limits.seconds:
                how = "time"
    finally:
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(ended)
    return how


def _ask(code: str) -> bytes:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120).stdout
