"""Logs: a durable, ordered record of every input. Everything else Headrace knows is derived from it.

An implementation promises:

- `submit` calls `done` with no error only after the entries are on stable storage, in order, all or none of one call;
- positions are one total order over all streams, offsets are dense within a stream's partition;
- a failed commit leaves no trace and does not end the log: the next one may succeed;
- content never makes a commit fail.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from headrace.plugins import Family
from headrace.records import Entry, Record

Done: TypeAlias = Callable[[Exception | None], None]


class Messages(NamedTuple):
    """Consecutive records as columns, without what a reader of thousands does not ask for."""

    last: int
    """Position of the last of them; of the record before them when there are none."""
    topics: list[str]
    received: list[int]
    payloads: list[bytes]
    distinct: list[str]
    """The topics, each once, in the order of first appearance."""


class LogReader(Protocol):
    """Reading, from any process."""

    def read(self, after: int, limit: int, streams: Collection[str] | None = None) -> list[Record]:
        """Up to `limit` records with position > `after`, in order; of these streams only, if given."""
        ...

    def messages(self, after: int, limit: int) -> Messages | None:
        """`read` as columns; None if a door said something about one of the records beside its payload."""
        ...

    def last(self, stream: str, count: int, size: int = 2**62) -> list[Record]:
        """The newest `count` records of a stream, oldest first; after the first, only as many as have `size` bytes of payload."""
        ...

    def at(self, stream: str, partition: int, offset: int, limit: int) -> list[Record]:
        """Up to `limit` records of one partition from `offset` on: replay from any offset."""
        ...

    def start(self) -> int:
        """Position of the oldest record kept, 0 when empty."""
        ...

    def end(self) -> int:
        """Position of the last committed record, 0 when empty."""
        ...

    def close(self) -> None:
        """Let go of files; safe to call twice."""
        ...


class Log(LogReader, Protocol):
    """Appending, by the one process that owns the log. Call from one thread (the event loop's)."""

    on_commit: Callable[[], None] | None
    """Called after each commit, on the event loop's thread."""

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        """Store entries with the group commit now forming; `done(None)` after it is durable, `done(error)` if it failed.

        `done` is called on the event loop's thread, once.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """`submit`, awaited. Raises StorageUnavailable."""
        ...

    async def trim(self, before: int) -> int:
        """Delete records with position < `before` (the newest record always stays); returns how many went."""
        ...

    async def aclose(self) -> None:
        """Commit what was submitted, then close."""
        ...

    def size(self) -> int:
        """Bytes the records take on disk."""
        ...


LOGS = Family(
    "logs", {"sqlite": "headrace.streams.logs.sqlite:SqliteLog", "memory": "headrace.streams.logs.memory:MemoryLog"}
)


def recorded(path: Path) -> bool:
    """Whether there is an embedded log in data directory `path`."""
    from headrace.streams.logs.sqlite import FILE

    return (path / FILE).is_file()


def open_reader(path: Path) -> LogReader:
    """A reader of the embedded log in data directory `path`, for another process."""
    from headrace.streams.logs.sqlite import SqliteReader

    return SqliteReader(path)
