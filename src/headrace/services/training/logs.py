"""Logs of jobs on the disk: one file per attempt, read as one text while it grows, kept for a time and up to a size."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

PIECE = 64 * 1024
EVERY = 0.2
"""Seconds between looks at a growing log."""


LEAST = 1024 * 1024
"""Bytes of logs that a company always may have: that its quota is full has to be told, too."""
KEPT = 5
"""Attempts whose logs are kept; each is bounded by the recipe's `log_bytes`."""


class Logs:
    """A folder of logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, job: str, attempt: int) -> Path:
        """Where an attempt's log is, or goes."""
        return self._folder / job / f"{attempt}.log"

    def begin(self, job: str, attempt: int) -> Path:
        """An empty log for an attempt; those of the newest attempts before stay."""
        path = self.path(job, attempt)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in _attempts(path.parent)[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        path.write_bytes(b"")
        return path

    def forget(self, job: str) -> None:
        """Delete a job's logs."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    async def read(self, job: str, offset: int, growing: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """The log of all attempts from byte `offset` on; while `growing()`, what is added too."""
        while True:
            last = not await growing()
            while piece := await asyncio.to_thread(_piece, self._folder / job, offset):
                offset += len(piece)
                yield piece
            if last:
                return
            await asyncio.sleep(EVERY)

    def there(self, job: str) -> bool:
        """Whether any of a job's log is left."""
        return bool(_attempts(self._folder / job))

    def clean(self, now: float, age: float, size: int, jobs: Collection[str]) -> None:
        """Delete logs of these jobs that were last written to more than `age` seconds ago, and the oldest above `size` bytes in
        all."""
        left = 0
        wanted = set(jobs)
        stats = [(path, path.stat()) for path in self._folder.glob("*/*.log") if path.parent.name in wanted]
        for path, stat in sorted(stats, key=lambda pair: pair[1].st_mtime, reverse=True):
            left += stat.st_size
            if left > size or stat.st_mtime < now - age:
                path.unlink(missing_ok=True)
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()


def size_of(folder: Path) -> int:
    """Bytes of a job's whole log: its attempts one below the other."""
    return sum(len(_head(path, not place)) + _size(path) for place, path in enumerate(_attempts(folder)))


def _attempts(folder: Path) -> list[Path]:
    """The files of the attempts, the oldest first."""
    return sorted(folder.glob("*.log"), key=lambda path: int(path.stem))


def _head(path: Path, first: bool) -> bytes:
    """The line an attempt begins with; the first of all has none."""
    if first and path.stem == "1":
        return b""
    return f"{'' if first else chr(10)}--- attempt {path.stem} ---\n".encode()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _piece(folder: Path, offset: int) -> bytes:
    """Some bytes from `offset` on. What is before a file does not change any more once it is there."""
    for place, path in enumerate(_attempts(folder)):
        head, size = _head(path, not place), _size(path)
        if offset < len(head):
            return head[offset:]
        offset -= len(head)
        if offset < size:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(min(PIECE, size - offset))
        offset -= size
    return b""
