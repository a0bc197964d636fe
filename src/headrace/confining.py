"""The sandbox of a company's workers: they read its folder, write what they learn, and reach nothing else.

What they can write is read by the platform itself, so they can make no symbolic links, hard links, named pipes, devices or
sockets there: a link would let a company have another's file opened in its name, a pipe would make the platform wait. Their
filter of system calls refuses these; and a company whose folder holds one all the same is not opened.

Each process has a guard: control groups where this platform may make them, all of one company within a group of that company,
else a look at /proc twice a second; and a look at the company's folder now and then, files that were deleted and are still open
or mapped included (they cannot send a handle away either). What of the folder cannot be looked at counts as too much.
"""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, TypeAlias

from headrace.assets import Limits
from headrace.errors import NoIsolation
from headrace.runners.bubblewrap import STARTER, Plan, finish, plan, scratch
from headrace.runners.cgroups import Group, Places, places
from headrace.runners.local import probe
from headrace.runners.seccomp import refusing
from headrace.runners.unseen import below, hidden
from headrace.runners.watch import usage
from headrace.services.learning.isolation import Isolation
from headrace.settings import ConfinedSettings

WRITTEN = ("state", "objects")
"""Folders of a company that its workers write."""
SCRATCH = 2**28
"""Bytes of their private /tmp and /dev/shm."""
LOOK = 5.0
"""Seconds between looks at the folder."""
NEARLY = 0.95
"""A process that was ended for memory and had this share of what one may have was over it itself; else all were together."""
Sees: TypeAlias = Literal["all", "read", "nothing"]
"""What a process sees of its company's folder: all, to write where workers do; what came in, to read; nothing."""
_REFUSED = {"x86_64": (46, 49, 86, 88, 133, 259, 265, 266, 307), "aarch64": (33, 36, 37, 200, 211, 269)}
"""sendmsg, bind, link, symlink, mknod, mknodat, linkat, symlinkat, sendmmsg: the kernel's syscall_64.tbl and
asm-generic/unistd.h."""


def isolation(folder: Path, settings: ConfinedSettings = ConfinedSettings()) -> Isolation:  # noqa: B008 frozen
    """How the code of a company other than the first is kept in its folder: in a sandbox, or not run at all. Blocks."""
    try:
        probe()
        if platform.machine() not in _REFUSED:
            raise NoIsolation(
                reason=f"no filter of system calls is known for {platform.machine()}", fix="use x86-64 or ARM64"
            )
    except NoIsolation as error:
        return Isolation(reason=str(error), seconds=settings.seconds, memory=settings.memory)
    _no_links(folder)
    for name in WRITTEN:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    place, together = folder.resolve(), Together(settings)
    return Isolation(
        wrap=lambda command: _line(_plan(place), settings, command),
        company=folder.name,
        guard=lambda: Held(place, settings, together),
        alone=lambda: Held(place, settings, together, "read"),
        blind=lambda: Held(place, settings, together, "nothing"),
        seconds=settings.seconds,
        memory=settings.memory,
    )


class Together:
    """The control group that all processes of one company are in: there from the first of them to the last. Its verbs block."""

    def __init__(self, settings: ConfinedSettings) -> None:
        self._limits = Limits(  # type: ignore[call-arg]
            memory_bytes=settings.company_memory, cpus=settings.company_cpus, processes=settings.company_processes
        )
        self._lock, self._count = threading.Lock(), 0
        self._group: Group | None = None

    def enter(self) -> Places | None:
        """Where one more process gets its own groups. None: the kernel gives none."""
        with self._lock:
            if self._group is None and (where := places()) is not None:
                with contextlib.suppress(OSError):
                    self._group = Group(where, self._limits, whole=False)
            if self._group is None:
                return None
            found = self._group.within()
            self._count += 1
            return found

    def leave(self) -> None:
        """One has ended."""
        with self._lock:
            self._count -= 1
            if not self._count and self._group is not None:
                self._group.close()
                self._group = None


class Held:
    """The guard of one process (`headrace.services.learning.isolation.Guard`)."""

    def __init__(self, folder: Path, settings: ConfinedSettings, together: Together, sees: Sees = "all") -> None:
        self._folder, self._settings, self._together, self._sees = folder, settings, together, sees
        limits = Limits(  # type: ignore[call-arg]
            memory_bytes=settings.memory, cpus=settings.cpus, processes=settings.processes
        )
        self._group: Group | None = None
        with contextlib.suppress(OSError):  # the kernel gives no more: then /proc is looked at
            if (where := together.enter()) is not None:
                try:
                    self._group = Group(where, limits)
                except OSError:
                    together.leave()
                    raise
        self._looked = -LOOK

    def command(self, command: Sequence[str]) -> list[str]:
        """In the sandbox, and in the control groups."""
        made = _plan(self._folder, self._sees)
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
        try:
            for found in chain(_kept(self._folder), hidden(process, self._folder, most.file) if process else ()):
                size, files = size + found, files + 1
                if size > most.folder:
                    return (
                        f"the company's folder holds more than {most.folder:,} bytes (ConfinedSettings.folder);"
                        " delete models or have less log kept"
                    )
                if files > most.files:
                    return f"the company's folder holds more than {most.files:,} files (ConfinedSettings.files); delete models"
        except OSError as error:
            return f"the company's folder cannot be looked through: {error.strerror}; look what is in it, and remove it"
        return ""

    def _memory(self) -> str:
        return f"it used more than {self._settings.memory:,} bytes of memory (ConfinedSettings.memory)"

    def _all_memory(self) -> str:
        most = self._settings.company_memory
        return f"the company's processes used more than {most:,} bytes of memory together (ConfinedSettings.company_memory)"

    def close(self) -> str:
        """Remove its groups; says so if the kernel ended it for memory."""
        group, self._group = self._group, None
        if group is None:
            return ""
        killed, peak = group.over_memory(), group.peak()
        group.close()
        self._together.leave()
        if not killed:
            return ""
        return self._memory() if peak is None or peak >= NEARLY * self._settings.memory else self._all_memory()


def _kept(folder: Path) -> Iterator[int]:
    """Bytes on the disk of every file and folder below."""
    for _, found in below(folder):
        yield found.st_blocks * 512


def _plan(folder: Path, sees: Sees = "all") -> Plan:
    made = plan({}, "/tmp" if sees == "nothing" else str(folder))  # noqa: S108 the sandbox's own
    made.seccomp = refusing(more=_REFUSED[platform.machine()], locks=True).hex()  # SQLite locks
    places = [str(folder / name) for name in WRITTEN]
    if sees != "nothing":
        made.binds.append((str(folder), str(folder), "own"))
    if sees == "read":
        made.after += [word for place in places for word in ("--tmpfs", place, "--remount-ro", place)]
    elif sees == "all":
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
    try:
        for path, found in below(folder):
            if not stat.S_ISDIR(found.st_mode) and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                raise NoIsolation(reason=f"{path} is a link or a pipe", fix="look who made it, and remove it")
    except OSError as error:
        reason = f"{folder} cannot be looked through: {error.strerror}"
        raise NoIsolation(reason=reason, fix="look what is in it, and remove it") from error
