"""What a running tree of processes uses, read from /proc: the limits where there are no control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PAGE = os.sysconf("SC_PAGESIZE")


def tree(root: int) -> Iterator[int]:
    """`root` and every process below it; orphans of a process namespace are children of its first process."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        for thread in _listed(f"/proc/{pid}/task"):
            waiting += [int(child) for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def usage(root: int, limit: int) -> tuple[int, int]:
    """(bytes of memory, processes and threads) of the tree. Pages shared within it count once where that decides."""
    pids = list(tree(root))
    resident = sum(_resident(pid) for pid in pids)
    if resident > limit:
        resident = sum(_proportional(pid) for pid in pids)
    return resident, sum(len(_listed(f"/proc/{pid}/task")) for pid in pids)


def _resident(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE if len(fields) > 1 else 0


def _proportional(pid: int) -> int:
    """Resident pages, each divided by how many processes map it; the plain count where the kernel does not say."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 names, many times a second
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
