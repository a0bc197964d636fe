"""The local runner: bubblewrap on this machine, with the platform's own Python.

Limits hold for the whole tree of processes. Memory, processes and processor time by control groups where this process may make
them; else a watchdog adds up memory every 50 ms, RLIMIT_NPROC counts within the sandbox's user namespace, and the tree is pinned
to as many processors. The output is a tmpfs of the allowed bytes and files (it counts as memory until it is copied out), so no
program can fill a disk; time ends with the death of the sandbox's first process, which the kernel makes the death of all.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from headrace.assets import Environment, Limits
from headrace.errors import NoIsolation, StorageUnavailable, WrongEnvironment
from headrace.runners import Ended, Task
from headrace.runners.bubblewrap import FIX, STARTER, Plan, finish, plan, scratch
from headrace.runners.cgroups import Group, places
from headrace.runners.environment import compare, fingerprint
from headrace.runners.sandboxed import Sandboxed, room, spare

OUTPUT = "/work/output"
SINCE = (5, 14)
"""Linux from which RLIMIT_NPROC counts by user namespace."""


class LocalRunner:
    """Runs tasks in bubblewrap.

    Args:
        private: folders no task may see even where Python's own folders contain them (the platform's data).
    """

    def __init__(self, private: Sequence[Path] = ()) -> None:
        self._private = tuple(private)

    def check(self, environment: Environment) -> None:
        """Raises NoIsolation, WrongEnvironment. The first call of a process runs a sandbox, about 0.1 s."""
        if environment.image:
            raise WrongEnvironment(detail=f"the image {environment.image!r} needs the container runner (podman)")
        probe()
        compare(environment, asked)

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """The fingerprint; `isolation` and `limits_by` are not part of its digest."""
        made = fingerprint(threads(limits), asked)
        return {**made, "isolation": "bubblewrap", "limits_by": limits_by()}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """See the Protocol. What of the output was no regular file is told in `Ended.left_out`."""
        await asyncio.to_thread(self.check, task.environment)
        made = await asyncio.to_thread(self._plan, task)
        where = places()
        group = await asyncio.to_thread(Group, where, task.limits) if where else None
        try:
            if group is not None:
                made.cgroups = group.joining()
            if group is None or not group.limits_cpu:
                made.cpus = _some(task.limits.cpus)
            return await Sandboxed(task, made, group).run(cancel)
        finally:
            if group is not None:
                await asyncio.to_thread(group.close)

    def _plan(self, task: Task) -> Plan:
        limits = task.limits
        check_inputs(task)
        made = plan({**defaults(limits), **task.variables}, task.folder, self._private)
        scratch(made, limits.memory_bytes)
        made.folders.insert(0, ("output", room(limits), limits.output_files + spare(limits) + 2, []))
        made.binds += [(str(source.resolve()), target, "own") for target, source in task.inputs.items()]
        finish(made)
        made.before += ["--bind", "/tmp/output", OUTPUT]  # noqa: S108 the launcher's own
        made.parent = os.getpid()
        return made


def asked(code: str) -> bytes:
    """What a piece of Python prints in a sandbox with nothing in it. Blocks. Raises NoIsolation."""

    made = plan(defaults(Limits()), "/")  # type: ignore[call-arg]
    scratch(made, 2**26)
    finish(made)
    line = made.line([sys.executable, "-I", "-S", STARTER, "-1", "0", sys.executable, "-c", code])
    try:
        done = subprocess.run(line, capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoIsolation(reason=str(error), fix=FIX) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoIsolation(reason=said[-1] if said else f"exit code {done.returncode}", fix=FIX)
    return done.stdout


@cache
def probe() -> None:
    """Whether a sandbox can be had on this machine; found out by making one, once. Raises NoIsolation."""
    if sys.platform != "linux":
        raise NoIsolation(
            reason=f"{sys.platform} has no bubblewrap", fix="run the platform on Linux, or in a Linux container"
        )
    if asked("print('inside')").strip() != b"inside":
        raise NoIsolation(reason="the sandbox gave no answer", fix=FIX)
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if places() is None and os.geteuid() != 0 and release < SINCE:
        raise NoIsolation(
            reason=f"Linux {platform.release()} cannot limit the processes of a sandbox of an ordinary user",
            fix="use Linux 5.14 or later, run the platform as root, or in a systemd unit with Delegate=yes",
        )


def threads(limits: Limits) -> int:
    """Threads of numeric libraries: one per whole processor."""
    return max(1, int(limits.cpus))


def defaults(limits: Limits) -> dict[str, str]:
    """Variables every task gets, for the same bytes every time; the task's own may differ.

    MKL_CBWR and ATEN_CPU_CAPABILITY are the operator's: for the same bytes on machines that differ, as in the fingerprint.
    """
    count = str(threads(limits))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    operators = {name: os.environ[name] for name in ("MKL_CBWR", "ATEN_CPU_CAPABILITY") if name in os.environ}
    own = {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1", "KERAS_BACKEND": "torch"}
    return {**own, **operators, **dict.fromkeys(names, count)}


def check_inputs(task: Task) -> None:
    """Raises StorageUnavailable when something the task reads is not there."""
    gone = [target for target, source in task.inputs.items() if not source.exists()]
    if gone:
        raise StorageUnavailable(detail=f"what should be {', '.join(sorted(gone))} for the task is gone from the disk")


def limits_by() -> str:
    """What holds the limits of memory, processes and processor time here."""
    where = places()
    return f"cgroup v{where.version}" if where else "watchdog"


def _some(cpus: float) -> list[int]:
    """As many processors, any of ours: not the same for every task."""
    ours = sorted(os.sched_getaffinity(0))
    return sorted(random.sample(ours, min(len(ours), math.ceil(cpus))))
