"""The sandbox of a company's workers: they read its folder, write what they learn, and reach nothing else.

What they can write is read by the platform itself, so they can make no symbolic links, hard links, named pipes, devices or
sockets there: a link would let a company have another's file opened in its name, a pipe would make the platform wait. Their
filter of system calls refuses these; and a company whose folder holds one all the same is not opened.

Each process has a guard: control groups where this platform may make them, else a look at /proc twice a second; and a look
at the company's folder now and then, files that were deleted and are still open included.
"""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from headrace.assets import Limits
from headrace.errors import NoIsolation
from headrace.runners.bubblewrap import STARTER, Plan, finish, plan, scratch
from headrace.runners.cgroups import Group, places
from headrace.runners.local import probe
from headrace.runners.seccomp import refusing
from headrace.runners.watch import tree, usage
from headrace.services.learning.isolation import Isolation
from headrace.settings import ConfinedSettings

WRITTEN = ("state", "objects")
"""Folders of a company that its workers write."""
SCRATCH = 2**28
"""Bytes of their private /tmp and /dev/shm."""
LOOK = 5.0
"""Seconds between looks at the folder."""
_REFUSED = {"x86_64": (49, 86, 88, 133, 259, 265, 266), "aarch64": (33, 36, 37, 200)}
"""bind, link, symlink, mknod, mknodat, linkat, symlinkat: the kernel's syscall_64.tbl and asm-generic/unistd.h."""


def isolation(folder: Path, settings: ConfinedSettings = ConfinedSettings()) -> Isolation:  # noqa: B008 frozen
    """How the code of a company other than the first is kept in its folder: in a sandbox, or not run at all. Blocks."""
    try:
        probe()
        if platform.machine() not in _REFUSED:
            raise NoIsolation(
                reason=f"no filter of system calls is known for {platform.machine()}", fix="use x86-64 or ARM64"
            )
    except NoIsolation as error:
        return Isolation(reason=str(error))
    _no_links(folder)
    for name in WRITTEN:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    place = folder.resolve()
    return Isolation(
        wrap=lambda command: _line(_plan(place), settings, command),
        company=folder.name,
        guard=lambda: Held(place, settings),
        alone=lambda: Held(place, settings, alone=True),
    )


class Held:
    """The guard of one process (`headrace.services.learning.isolation.Guard`)."""

    def __init__(self, folder: Path, settings: ConfinedSettings, *, alone: bool = False) -> None:
        self._folder, self._settings, self._alone = folder, settings, alone
        limits = Limits(  # type: ignore[call-arg]
            memory_bytes=settings.memory, cpus=settings.cpus, processes=settings.processes
        )
        where = places()
        self._group: Group | None = None
        if where is not None:
            with contextlib.suppress(OSError):  # the kernel gives no more: then /proc is looked at
                self._group = Group(where, limits)
        self._looked = -LOOK

    def command(self, command: Sequence[str]) -> list[str]:
        """In the sandbox, and in the control groups."""
        made = _plan(self._folder, alone=self._alone)
        made.cgroups = self._group.joining() if self._group is not None else []
        return _line(made, self._settings, command)

    def over(self, process: int) -> str:
        """Which bound it is over, in a sentence."""
        most = self._settings
        if process and self._group is None:
            memory, processes = usage(process, most.memory)
            if memory > most.memory:
                return self._memory()
            if processes > most.processes + 2:  # bubblewrap's own
                return f"it ran {processes} processes and threads; {most.processes} may be (ConfinedSettings.processes)"
        if process and time.monotonic() - self._looked < LOOK:
            return ""
        self._looked = time.monotonic()
        return self._full(process)

    def _full(self, process: int) -> str:
        most = self._settings
        size = files = 0
        for found in _sizes(self._folder, process):
            size, files = size + found, files + 1
            if size > most.folder:
                return (
                    f"the company's folder holds more than {most.folder:,} bytes (ConfinedSettings.folder);"
                    " delete models or have less log kept"
                )
            if files > most.files:
                return (
                    f"the company's folder holds more than {most.files:,} files (ConfinedSettings.files); delete models"
                )
        return ""

    def _memory(self) -> str:
        return f"it used more than {self._settings.memory:,} bytes of memory (ConfinedSettings.memory)"

    def close(self) -> str:
        """Remove its groups; says so if the kernel ended it for memory."""
        group, self._group = self._group, None
        if group is None:
            return ""
        killed = group.over_memory()
        group.close()
        return self._memory() if killed else ""


def _sizes(folder: Path, process: int) -> Iterator[int]:
    """Bytes on the disk of every file and folder below, and of what is deleted and still open."""
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    for pid in tree(process) if process else ():
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 names alone
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 a link that only stat may follow
                    if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                        yield found.st_blocks * 512


def _plan(folder: Path, *, alone: bool = False) -> Plan:
    made = plan({}, str(folder))
    made.seccomp = refusing(more=_REFUSED[platform.machine()]).hex()
    made.binds.append((str(folder), str(folder), "own"))
    places = [str(folder / name) for name in WRITTEN]
    if alone:
        made.after += [word for place in places for word in ("--tmpfs", place, "--remount-ro", place)]
    else:
        made.binds += [(place, place, "rw") for place in places]
    scratch(made, SCRATCH)
    made.parent = os.getpid()
    finish(made)
    return made


def _line(made: Plan, settings: ConfinedSettings, command: Sequence[str]) -> list[str]:
    bounds = f"{settings.processes},{settings.file}"
    return made.line([sys.executable, "-I", "-S", STARTER, "-1", bounds, *command])


def _no_links(folder: Path) -> None:
    """Nothing a company has left is anything but a file or a folder, whoever made it. Raises NoIsolation."""
    for path in folder.rglob("*"):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
            raise NoIsolation(reason=f"{path} is a link or a pipe", fix="look who made it, and remove it")
