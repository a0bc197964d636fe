"""All that a process keeps on the disk: the files of a folder, however deep, and those that have no name any more."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from headrace.runners.watch import tree

DEEP = 16
"""Levels of folders there may be: nothing of ours makes more than three."""
_MAPPED = re.compile(r"^(\S+) \S+ \S+ (\S+) (\d+) +.* \(deleted\)$")
"""A line of /proc/PID/maps: addresses, device, inode of a file that has no name. proc_pid_maps(5)"""


def below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything in a folder that somebody else may be writing at the same time, with what it is. Links are not followed, and no
    path is too long, for each folder is opened from the one above.

    Raises:
        OSError: something is there that cannot be looked at, or more than `DEEP` levels down.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield from _level(handle, folder, DEEP)
    finally:
        os.close(handle)


def _level(handle: int, place: Path, left: int) -> Iterator[tuple[Path, os.stat_result]]:
    with os.scandir(handle) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                inner = _open(handle, entry.name, left) if stat.S_ISDIR(found.st_mode) else -1
            except (FileNotFoundError, NotADirectoryError):  # gone, or something else by now
                continue
            try:
                yield place / entry.name, found
                if inner >= 0:
                    yield from _level(inner, place / entry.name, left - 1)
            finally:
                if inner >= 0:
                    os.close(inner)


def _open(handle: int, name: str, left: int) -> int:
    if not left:
        raise OSError(0, f"folders lie more than {DEEP} deep")
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)


def hidden(process: int, folder: Path, most: int) -> Iterator[int]:
    """Bytes on the disk of each file that has no name, but that a process or one of its children has open or has mapped.

    Args:
        folder: where on a disk it may write; other file systems, as its private /tmp, have bounds of their own.
        most: bytes that a file may have: what a mapped one counts for where only root can look at it.
    """
    seen: set[tuple[int, int]] = set()
    for pid in tree(process):
        places = _listed(f"/proc/{pid}/fd")
        mapped = _mapped(pid, _devices(pid, folder))
        for place in (*places, *(f"/proc/{pid}/map_files/{part}" for part in mapped)):
            try:
                found = os.stat(place)  # noqa: PTH116 a link that only stat may follow
            except PermissionError:
                if "/map_files/" in place:
                    yield most
                continue
            except OSError:  # ended, or closed
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield found.st_blocks * 512


def _mapped(pid: int, devices: set[str]) -> list[str]:
    """One address range of each file on these devices that has no name and is mapped."""
    found: dict[tuple[str, str], str] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").split("\n"):
            if (match := _MAPPED.match(line)) and match[2] in devices:
                found[match[2], match[3]] = match[1]
    return list(found.values())


def _devices(pid: int, folder: Path) -> set[str]:
    """The devices mounted at or below a folder, as a process sees them: in the words that `maps` uses, which are not those of
    stat on every file system."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        parts = [line.split(" ") for line in lines]
        return {_hexed(part[2]) for part in parts if Path(_plain(part[4])).is_relative_to(folder)}
    return set()


def _hexed(device: str) -> str:
    major, _, minor = device.partition(":")
    return f"{int(major):02x}:{int(minor):02x}"


def _plain(path: str) -> str:
    """A path of mountinfo, where a space is a backslash and 040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _listed(folder: str) -> list[str]:
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]  # noqa: PTH208 names alone
    except OSError:
        return []
