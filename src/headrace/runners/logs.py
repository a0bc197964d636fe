"""What a program prints, kept within a size: the beginning and the end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from headrace.errors import StorageUnavailable

MARK = "\n[... {count} bytes left out ...]\n"
ROOM = 64
"""Bytes set aside for the mark."""


class CappedLog:
    """A file that grows as things are printed, up to half of its size; after that the newest half is kept in memory.

    Never slower for being full, so nobody who prints has to wait.

    Args:
        size: the file's bytes at most, the mark that says what was left out included.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("wb", buffering=0)
        room = max(0, size - ROOM)
        self._tail_size = room // 2
        self._head_left = size if size <= ROOM else room - self._tail_size
        self._tail = bytearray()
        self._left_out = 0
        self._error: OSError | None = None

    def __enter__(self) -> CappedLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, data: bytes) -> None:
        """More was printed."""
        if self._head_left:
            head, data = data[: self._head_left], data[self._head_left :]
            self._head_left -= len(head)
            self._write(head)
        self._tail += data
        if len(self._tail) > 2 * self._tail_size:
            self._trim()

    def last(self, size: int) -> str:
        """The newest text, for people."""
        self._file.flush()
        if self._tail:
            return bytes(self._tail[-size:]).decode(errors="replace")
        with open(self._file.name, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - size))
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """Write the end. Raises StorageUnavailable if not all could be written."""
        self._trim()
        if self._left_out and self._tail_size:
            self._write(MARK.format(count=self._left_out).encode())
        self._write(bytes(self._tail))
        self._file.close()
        if self._error is not None:
            raise StorageUnavailable(detail=f"the log cannot be written ({self._error.strerror})") from self._error

    def _write(self, data: bytes) -> None:
        """A disk that is full now is told at the end: who prints is not to blame."""
        try:
            while data and self._error is None:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._error = error

    def _trim(self) -> None:
        over = len(self._tail) - self._tail_size
        if over > 0:
            del self._tail[:over]
            self._left_out += over
