"""The embedded log: one SQLite file in WAL mode with ``synchronous=FULL``.

Group commit without a timer: everything submitted while the previous commit was on its way to the disk goes into the
next one. Rows are inserted on the event loop's thread (a busy loop and a busy writer thread would hand the GIL back and
forth for every row). COMMIT, which waits for the disk, runs on a thread of its own, so that a slow disk delays
acknowledgements and nothing else; only a small commit, while the disk has been fast, is done on the spot, because two
changes of thread would take as long again.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from headrace.disk import damaged
from headrace.errors import CorruptState, StorageUnavailable
from headrace.records import SECOND, Entry, Record
from headrace.streams.logs import Done, Messages

FILE = "log.db"
SMALL = 64
"""Rows of a commit that may be done on the event loop's thread..."""
QUICK = 0.001
"""...while recent ones have taken at most this many seconds."""
_CHECKPOINT = 4000
"""Pages in the write-ahead log, by estimate, after which they are moved to the database."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, part INTEGER NOT NULL, off INTEGER NOT NULL,
    key TEXT NOT NULL, received INTEGER NOT NULL, time INTEGER NOT NULL, headers BLOB NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS places ON records (stream, part, off);
CREATE TABLE IF NOT EXISTS ends (stream INTEGER, part INTEGER, off INTEGER, PRIMARY KEY (stream, part));
"""
_INSERT = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?)"
_MESSAGES = (
    "SELECT position, CASE WHEN time = 0 AND headers = x'' THEN stream END, received, payload FROM records "
    "WHERE position > ? ORDER BY position LIMIT ?"
)
_COLUMNS = "position, stream, part, off, key, received, time, headers, payload"

_Row = tuple[int, int, int, int, str, int, int, bytes, bytes]

_record: Callable[[type[Record], tuple[Any, ...]], Record] = tuple.__new__
"""Half the time of `Record(...)`, and there is one for every message."""


class SqliteReader:
    """Reads a log that another process may be writing."""

    def __init__(self, path: Path) -> None:
        file = path / FILE
        self._db = sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
        self._names: dict[int, str] = {}

    def read(self, after: int, limit: int, streams: Collection[str] | None = None) -> list[Record]:
        if streams is None:
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM records WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
            ).fetchall()
        else:
            ids = [identity for identity in map(self._identity, streams) if identity is not None]
            marks = ",".join("?" * len(ids))
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM records WHERE position > ? AND stream IN ({marks}) ORDER BY position LIMIT ?",
                (after, *ids, limit),
            ).fetchall()
        return self._records(rows)

    def messages(self, after: int, limit: int) -> Messages | None:
        rows = self._db.execute(_MESSAGES, (after, limit)).fetchall()
        streams = {row[1] for row in rows}
        if None in streams:
            return None
        names, last = self._named(streams), rows[-1][0] if rows else after
        distinct = [names[one] for one in (streams if len(streams) < 2 else dict.fromkeys([row[1] for row in rows]))]
        topics = distinct * len(rows) if len(streams) < 2 else [names[row[1]] for row in rows]
        return Messages(last, topics, [row[2] for row in rows], [row[3] for row in rows], distinct)

    def last(self, stream: str, count: int, size: int = 2**62) -> list[Record]:
        rows: list[_Row] = []
        query = f"SELECT {_COLUMNS} FROM records WHERE stream = ? ORDER BY off DESC LIMIT ?"
        with contextlib.closing(self._db.execute(query, (self._identity(stream), count))) as found:
            for row in found:
                size -= len(row[-1])
                if size < 0 and rows:
                    break
                rows.append(row)
        return self._records(sorted(rows))

    def at(self, stream: str, partition: int, offset: int, limit: int) -> list[Record]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM records WHERE stream = ? AND part = ? AND off >= ? ORDER BY off LIMIT ?",
            (self._identity(stream), partition, offset, limit),
        ).fetchall()
        return self._records(rows)

    def start(self) -> int:
        return self._number("SELECT MIN(position) FROM records")

    def end(self) -> int:
        return self._number("SELECT MAX(position) FROM records")

    def close(self) -> None:
        self._db.close()

    def _number(self, query: str) -> int:
        (value,) = self._db.execute(query).fetchone()
        return int(value or 0)

    def _identity(self, name: str) -> int | None:
        row = self._db.execute("SELECT id FROM streams WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _records(self, rows: Sequence[_Row]) -> list[Record]:
        names = self._named({row[1] for row in rows})
        return [_record(Record, (a, names[b], c, d, e, f, g, h, i)) for a, b, c, d, e, f, g, h, i in rows]

    def _named(self, streams: set[int]) -> dict[int, str]:
        names = self._names
        for identity in streams.difference(names):
            (names[identity],) = self._db.execute("SELECT name FROM streams WHERE id = ?", (identity,)).fetchone()
        return names


class SqliteLog(SqliteReader):
    """The log's owner. Open it in a running event loop; one per data directory.

    Args:
        path: data directory; the file is ``log.db`` in it.
        partitions: per stream; an entry's key chooses one.
        clock: ns since the epoch, for `Record.received`.
    """

    on_commit: Callable[[], None] | None = None
    """Called on the loop after each commit."""

    def __init__(self, path: Path, partitions: int = 1, clock: Callable[[], int] = time.time_ns) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._writer = _open(path / FILE)
        super().__init__(path)
        self._partitions = partitions
        self._clock = clock
        self._ids = {name: identity for identity, name in self._writer.execute("SELECT id, name FROM streams")}
        self._ends = {(stream, part): off for stream, part, off in self._writer.execute(
            "SELECT stream, part, MAX(off) FROM (SELECT stream, part, MAX(off) + 1 AS off FROM records GROUP BY stream, part "
            "UNION ALL SELECT stream, part, off FROM ends) GROUP BY stream, part")}  # fmt: skip
        self._position = self.end()
        self._received = 0
        self._waiting: list[tuple[Sequence[Entry], Done]] = []
        self._busy = False
        self._closed = False
        self._slowness = 0.0
        """The longest of recent commits, seconds; older ones count for less."""
        self._pages = 0.0
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Callable[[Exception | None], None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="log-commit", daemon=True)
        self._thread.start()

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        if self._closed:
            done(StorageUnavailable(detail="the log is closed"))
            return
        self._waiting.append((entries, done))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._flush)

    async def append(self, entries: Sequence[Entry]) -> None:
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.submit(entries, done)
        await future

    async def trim(self, before: int) -> int:
        removed = 0
        while before > self.start() and self.start() < self._position:
            upto = min(before, self._position, self.start() + 20_000)
            removed += await self._exclusive(lambda upto=upto: self._delete(upto))  # type: ignore[misc]
        return removed

    def size(self) -> int:
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")

    async def aclose(self) -> None:
        """Commit what was submitted, then close."""
        while self._busy:
            await asyncio.sleep(0.001)
        self.close()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._writer.close()
        super().close()

    # -- the commit cycle: _flush on the loop, COMMIT on the thread or on the spot, _committed on the loop

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            self._busy = False
            return
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            rows = self._rows(batch)
            self._writer.executemany(_INSERT, rows)
            self._pages += 3 + len(rows) / 16
            if small := len(rows) <= SMALL and self._slowness < QUICK:
                self._commit()
        except Exception as error:  # whatever it is, the next commit may succeed
            self._committed(batch, error)
            return
        if small:
            self._committed(batch, None)
        else:
            self._jobs.put((self._commit, lambda error: self._committed(batch, error)))

    def _commit(self) -> None:
        begin = time.perf_counter()
        self._writer.execute("COMMIT")
        self._slowness = max(time.perf_counter() - begin, 0.9 * self._slowness)

    def _checkpoint(self) -> None:
        self._pages = 0.0
        self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _rows(self, batch: list[tuple[Sequence[Entry], Done]]) -> list[_Row]:
        rows: list[_Row] = []
        now, position, ends, partitions = self._now(), self._position, self._ends, self._partitions
        for entries, _ in batch:
            for stream, payload, key, headers, event in entries:
                identity = self._ids.get(stream) or self._new_stream(stream)
                part = crc32(key.encode()) % partitions if partitions > 1 and key else 0
                off = ends.get((identity, part), 0)
                ends[identity, part] = off + 1
                position += 1
                rows.append((position, identity, part, off, key, now, event, headers, payload))
                now += 1
        self._position, self._received = position, now
        return rows

    def _now(self) -> int:
        """The receive time of the next record. No two are equal: what was sent twice and names no time came twice."""
        now, after = self._clock(), self._received + 1
        return after if 0 < after - now < SECOND else now

    def _new_stream(self, name: str) -> int:
        identity = self._writer.execute("INSERT INTO streams (name) VALUES (?)", (name,)).lastrowid
        assert identity is not None
        self._ids[name] = identity
        return identity

    def _committed(self, batch: list[tuple[Sequence[Entry], Done]], error: Exception | None) -> None:
        if error is not None:
            with contextlib.suppress(sqlite3.Error):  # a failing disk: the next failure undoes again
                self._undo(batch)
            error = StorageUnavailable(detail=str(error))
        if error is None and batch and self.on_commit is not None:
            self.on_commit()  # first: learners in other processes begin while this one acknowledges
        for _, done in batch:
            done(error)
        if self._pages > _CHECKPOINT:
            self._jobs.put((self._checkpoint, lambda error: self._next()))
        else:
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._loop.call_soon(self._flush)
        else:
            self._busy = False

    def _undo(self, batch: list[tuple[Sequence[Entry], Done]]) -> None:
        """Forget a failed transaction, in the file and in the counters taken from it."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")
        for name in {entry.stream for entries, _ in batch for entry in entries}:
            self._undo_stream(name)
        (position,) = self._writer.execute("SELECT MAX(position) FROM records").fetchone()
        self._position = position or 0

    def _undo_stream(self, name: str) -> None:
        stream = self._ids.get(name)
        if stream is None:
            return
        if self._writer.execute("SELECT 1 FROM streams WHERE id = ?", (stream,)).fetchone() is None:
            del self._ids[name]
        for part in range(self._partitions):
            if (stream, part) not in self._ends:
                continue
            (off,) = self._writer.execute(
                "SELECT MAX(COALESCE((SELECT MAX(off) + 1 FROM records WHERE stream = :s AND part = :p), 0),"
                " COALESCE((SELECT off FROM ends WHERE stream = :s AND part = :p), 0))", {"s": stream, "p": part}
            ).fetchone()  # fmt: skip
            self._ends[stream, part] = off

    # -- the thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            action, finish = job
            error: Exception | None = None
            try:
                action()
            except sqlite3.Error as caught:
                error = caught
            self._loop.call_soon_threadsafe(finish, error)

    async def _exclusive(self, action: Callable[[], int]) -> int:
        """Run `action` on the thread while no commit is under way."""
        while self._busy:
            await asyncio.sleep(0.001)
        self._busy = True
        future: asyncio.Future[int] = self._loop.create_future()
        results: list[int] = []

        def finish(error: Exception | None) -> None:
            if error is not None and self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._committed([], None)
            if not future.done():
                if error is None:
                    future.set_result(results[0])
                else:
                    future.set_exception(StorageUnavailable(detail=str(error)))

        self._jobs.put((lambda: results.append(action()), finish))
        return await future

    def _delete(self, before: int) -> int:
        # The file does not shrink: what becomes free in it is used for the records to come.
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.execute(
            "INSERT INTO ends SELECT stream, part, MAX(off) + 1 FROM records WHERE position < ? GROUP BY stream, part "
            "ON CONFLICT DO UPDATE SET off = MAX(off, excluded.off)", (before,)
        )  # fmt: skip
        count = self._writer.execute("DELETE FROM records WHERE position < ?", (before,)).rowcount
        self._writer.execute("COMMIT")
        return count


def _open(file: Path) -> sqlite3.Connection:
    """The writing connection. Raises StorageUnavailable, or CorruptState for a file that is no log."""
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, cached_statements=32)
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={4 * _CHECKPOINT}",  # ours come first, on the thread
            "journal_size_limit=67108864",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(_SCHEMA)
    except sqlite3.DatabaseError as error:
        db.close()
        if damaged(error):
            detail = f"the log {file} is damaged ({error}); bring it back from a backup, or start with another --data"
            raise CorruptState(detail=detail) from error
        raise StorageUnavailable(detail=f"{file}: {error}") from error
    return db
