"""Control groups of a run, where this process may make them: version 1 or 2, as root or in a delegated slice of a user.

Kernel documentation: admin-guide/cgroup-v1 (memory, pids) and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from headrace.assets import Limits

OWN_PROCESSES = 2
"""bubblewrap's two, beside the program's."""
PERIOD_US = 100_000
NEEDED = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class Places:
    """Where new groups may be made."""

    version: int
    parents: Mapping[str, Path]
    """controller -> folder; version 2: the same for all."""


@cache
def places() -> Places | None:
    """None where this process may make no groups, or not with memory and processes limited."""
    mounts = _mounts()
    own = _own()
    found = _second(mounts, own) or _first(mounts, own)
    for parent in set(found.parents.values()) if found else ():
        _sweep(parent)
    return found


def _sweep(parent: Path) -> None:
    """Remove groups of platforms that were killed; a group with processes in it stays."""
    for folder in parent.glob("headrace-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            for one in (*folder.glob("headrace-*-*"), folder):
                with contextlib.suppress(OSError):
                    one.rmdir()


def _mounts() -> dict[str, Path]:
    """controller -> mount point of version 1; "" -> of version 2."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found.setdefault("", Path(place))
        elif kind == "cgroup":
            for option in options.split(","):
                found.setdefault(option, Path(place))
    return found


def _own() -> dict[str, str]:
    """controller -> this process's group; "" for version 2."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}


def _second(mounts: Mapping[str, Path], own: Mapping[str, str]) -> Places | None:
    """A group that hands memory and pids to its children; ours cannot while we are in it, one above may."""
    if "" not in mounts:
        return None
    top = mounts[""]
    at = top / own.get("", "/").lstrip("/")
    for folder in (at, *at.parents):
        if not folder.is_relative_to(top):
            return None
        given = _read(folder / "cgroup.subtree_control").split()
        if set(NEEDED) <= set(given) and _usable(folder):
            cpu = {"cpu": folder} if "cpu" in given else {}
            return Places(2, {**dict.fromkeys(NEEDED, folder), **cpu})
    return None


def _first(mounts: Mapping[str, Path], own: Mapping[str, str]) -> Places | None:
    found: dict[str, Path] = {}
    for name in (*NEEDED, "cpu"):
        if name in mounts:
            inner = mounts[name] / own.get(name, "/").lstrip("/")
            usable = next((folder for folder in (inner, mounts[name]) if folder.is_dir() and _usable(folder)), None)
            if usable is not None:
                found[name] = usable
    return Places(1, found) if set(NEEDED) <= set(found) else None


def _name() -> str:
    """Of a new group: whose it is, for the next platform to see."""
    return f"headrace-{os.getpid()}-{secrets.token_hex(6)}"


def _usable(folder: Path) -> bool:
    """Whether a group can be made in it and a process moved there (a user may not move one out of a system's group)."""
    trial = folder / _name()
    try:
        trial.mkdir()
    except OSError:
        return False
    try:
        line = [sys.executable, "-I", "-S", "-c", "import sys; open(sys.argv[1], 'w').write('0')"]
        return subprocess.run([*line, trial / "cgroup.procs"], capture_output=True, check=False).returncode == 0
    finally:
        _remove(trial)


class Group:
    """The groups of one run. Raises OSError when they cannot be made.

    Args:
        whole: over its memory, the kernel ends all of it, and not the largest process alone (version 2).
    """

    def __init__(self, where: Places, limits: Limits, *, whole: bool = True) -> None:
        self._whole = whole
        name = _name()
        self.version = where.version
        self._folders = {kind: parent / name for kind, parent in where.parents.items()}
        for folder in set(self._folders.values()):
            folder.mkdir()
        try:
            self._limit(limits)
        except OSError:
            self.close()
            raise

    def within(self) -> Places:
        """Where groups can be made that share its limits. Raises OSError. From then on no process may be in it itself."""
        if self.version == 2:
            given = " ".join(f"+{kind}" for kind in self._folders)
            _write(self._folders["memory"] / "cgroup.subtree_control", given)
        return Places(self.version, self._folders)

    @property
    def limits_cpu(self) -> bool:
        """Whether processor time is limited too."""
        return "cpu" in self._folders

    def joining(self) -> list[str]:
        """Files into which a process writes its id to be in."""
        return [str(folder / "cgroup.procs") for folder in sorted(set(self._folders.values()))]

    def add(self, pid: int) -> None:
        """Move a process in; its children follow as they are made."""
        for procs in self.joining():
            _write(Path(procs), pid)

    def over_memory(self) -> bool:
        """Whether the kernel has killed something of it for memory."""
        memory = self._folders["memory"]
        counts = _counts(memory / ("memory.events" if self.version == 2 else "memory.oom_control"))
        return counts.get("oom_kill", 0) > 0

    def peak(self) -> int | None:
        """Bytes at most; None where the kernel does not tell (version 2 before Linux 5.19)."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        text = _read(self._folders["memory"] / name).strip()
        return int(text) if text.isdigit() else None

    def close(self) -> None:
        """Remove them; the kernel needs a moment after the last process."""
        for folder in set(self._folders.values()):
            _remove(folder)

    def _limit(self, limits: Limits) -> None:
        second = self.version == 2
        memory, pids = self._folders["memory"], self._folders["pids"]
        _write(memory / ("memory.max" if second else "memory.limit_in_bytes"), limits.memory_bytes)
        swap = memory / ("memory.swap.max" if second else "memory.memsw.limit_in_bytes")
        if swap.exists():
            _write(swap, 0 if second else limits.memory_bytes)
        if self._whole and (memory / "memory.oom.group").exists():
            _write(memory / "memory.oom.group", 1)
        _write(pids / "pids.max", limits.processes + OWN_PROCESSES)
        if self.limits_cpu:
            quota = max(1000, int(limits.cpus * PERIOD_US))
            if second:
                _write(self._folders["cpu"] / "cpu.max", f"{quota} {PERIOD_US}")
            else:
                _write(self._folders["cpu"] / "cpu.cfs_quota_us", quota)


def _write(path: Path, value: int | str) -> None:
    path.write_text(str(value), encoding="ascii")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _counts(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _remove(folder: Path) -> None:
    for _ in range(50):
        with contextlib.suppress(FileNotFoundError):
            try:
                folder.rmdir()
            except OSError:  # busy: a process is still on its way out
                time.sleep(0.01)
                continue
        return
