"""Child processes: started with their parent's life, pinned, waited for, measured, stopped by pid."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Cores = Sequence[int]
"""Empty: any."""


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child(subprocess.Popen[str]):
    """A child whose stdout is a pipe and whose stderr is kept for when it fails."""

    errors: IO[str]

    def failed(self, what: str) -> RuntimeError:
        """What to raise when it ended too soon, with its last words."""
        self.errors.seek(0)
        words = " / ".join(self.errors.read().strip().splitlines()[-3:])
        return RuntimeError(f"{what} ended with {self.poll()}: {words or 'no error message'}")


@contextlib.contextmanager
def running(command: Sequence[str], cores: Cores = ()) -> Iterator[Child]:
    """A child that dies with us, and is gone when the block ends."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if cores:
            os.sched_setaffinity(0, cores)

    with tempfile.TemporaryFile("w+") as errors:
        child = Child(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            preexec_fn=prepare,
            start_new_session=True,
        )
        child.errors = errors
        try:
            yield child
        finally:
            stop(child)


def stop(child: Child, patience: float = 10.0) -> None:
    """SIGTERM to the child if it still runs, then SIGKILL to what is left of it and its children."""
    if child.poll() is None:
        family = tree(child.pid)
        child.terminate()
        _, alive = psutil.wait_procs(family, timeout=patience)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    child.wait()
    if child.stdout:
        child.stdout.close()


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def pin(pid: int, cores: Cores) -> None:
    """Move a running process with all its threads: affinity belongs to a thread, and only new threads inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time of each process so far, user and system."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: float(each.user + each.system) for name, each in times.items()}


def memory(pids: Iterable[int]) -> dict[str, float]:
    """MB of resident memory: `rss` counts shared pages once per process, `pss` once."""
    full = [psutil.Process(pid).memory_full_info() for pid in pids]
    return {"rss": sum(each.rss for each in full) / 1e6, "pss": sum(each.pss for each in full) / 1e6}


def wait(ready: Callable[[], bool], child: Child, what: str, timeout: float = 60.0) -> None:
    """Until `ready`; a child that died first is an error."""
    end = time.monotonic() + timeout
    while not ready():
        if child.poll() is not None:
            raise child.failed(what)
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not ready in {timeout:.0f} s")
        time.sleep(0.02)


def first_line(child: Child, what: str) -> str:
    """The first line a child prints, which says that it is ready."""
    assert child.stdout
    line = child.stdout.readline().strip()
    if not line:
        child.wait()
        raise child.failed(what)
    return line


def listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answer(module: str, *options: object, cores: Cores = (), timeout: float = 300.0) -> dict[str, Any]:
    """Run ``python -m module options`` and read the JSON object on its last line."""
    command = [sys.executable, "-m", module, *map(str, options)]
    with running(command, cores) as child:
        out, _ = child.communicate(timeout=timeout)
        if child.returncode:
            raise child.failed(module)
    found = json.loads(out.strip().splitlines()[-1])
    assert isinstance(found, dict)
    return found
