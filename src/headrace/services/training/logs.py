"""Logs of jobs on the disk: one file per attempt, read while it grows, kept for a time and up to a size."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

PIECE = 64 * 1024
EVERY = 0.2
"""Seconds between looks at a growing log."""


class Logs:
    """A folder of logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, job: str, attempt: int) -> Path:
        """Where an attempt's log is, or goes."""
        return self._folder / job / f"{attempt}.log"

    def begin(self, job: str, attempt: int) -> Path:
        """An empty log for an attempt."""
        path = self.path(job, attempt)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(b"")
        return path

    def forget(self, job: str) -> None:
        """Delete a job's logs."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    async def read(
        self, job: str, attempt: int, offset: int, growing: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """The bytes from `offset` on; while `growing()`, what is added too."""
        path = self.path(job, attempt)
        while True:
            last = not await growing()
            while piece := await asyncio.to_thread(_piece, path, offset):
                offset += len(piece)
                yield piece
            if last:
                return
            await asyncio.sleep(EVERY)

    def clean(self, now: float, age: float, size: int, busy: Collection[str]) -> None:
        """Delete logs last written to more than `age` seconds ago, and the oldest above `size` bytes in all; not of busy jobs."""
        left = 0
        stats = [(path, path.stat()) for path in self._folder.glob("*/*.log") if path.parent.name not in busy]
        for path, stat in sorted(stats, key=lambda pair: pair[1].st_mtime, reverse=True):
            left += stat.st_size
            if left > size or stat.st_mtime < now - age:
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()


def _piece(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)
    except FileNotFoundError:
        return b""
