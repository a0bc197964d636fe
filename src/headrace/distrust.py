"""A SQLite file that somebody else's code may have written, read without giving that code anything to do.

Such a file can hold views in place of tables that never end, generated columns, virtual tables, rows of gigabytes; its
journal can name other files for SQLite to delete; its shared memory can be cut under a reader's feet. So:

- it is opened read-only: a journal is never played back, no trigger runs;
- as ``immutable``: SQLite then looks at no journal, no write-ahead log and no shared memory. So that it is not read while it
  is written, we hold the lock of a reader ourselves, and open it anew when its header has changed; its writer keeps a
  rollback journal (`JOURNAL`);
- it must hold exactly the tables and indexes of its schema, looked at again whenever its schema has changed;
- an authorizer lets statements read these tables and nothing else, also when SQLite compiles one anew in between;
- a statement has so many steps of SQLite's machine, so much time and so many bytes of rows, then it is ended;
- nobody waits for a lock on the platform's event loop, and all files of one company together have a share of its time: over
  it they are not read for a moment (`Later`), and who asked answers from what it knows.

SQLite: "Defense Against The Dark Arts", sqlite.org/security.html.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

JOURNAL = "DELETE"
"""Journal mode of the writer of a file that is read so."""
WAIT = 0.5
"""Seconds a reader in a thread of its own waits for a lock; on the event loop nobody does."""
REST, PATIENT = 0.1, 0.5
"""Seconds for which a file is not tried again, by whoever opens it, once it has been locked for so many."""
STEPS = 10_000_000
"""Steps of SQLite's machine one statement may take; about half a second. A year of hourly scores takes 400,000."""
SECONDS = (0.05, 5.0)
"""Of a processor one statement may take, on the event loop and in a thread (by the clock `SLACK` times as long): one step
can follow a chain of pages as long as the file."""
SLACK = 4
EVERY = 500
"""Steps between looks at how many there were."""
BYTES = 2**27
"""Bytes of text and blobs one statement may give..."""
TEXT = 2**24
"""...and of text alone: keys, reasons, messages."""
DUTY = 0.25
"""Of a processor that a thread takes, with rests between statements: it contends with the event loop for Python's lock."""
SHARE, BURST = 0.1, 0.2
"""Of the event loop's time that the files of one folder may take, and seconds in one go."""
LENGTH = 2**26
"""Bytes of one row: an exported model, a run of predictions."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LENGTH,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 10_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 50,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 30,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 3,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 2_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_MASTER = "SELECT type, name, tbl_name, sql FROM main.sqlite_master"
_FUNCTIONS = frozenset({"max", "min", "sum", "count", "coalesce", "substr", "length"})
_OURS = frozenset({None, "found"})
"""Who may ask: our statement, or its part of that name."""


def _nobody(reason: str) -> None:
    """Who is told when nobody wants to know."""


class Later(sqlite3.OperationalError):
    """Nothing is wrong with the file, but it is not read now: its worker keeps it locked, or reading it took too long."""


class Purse:
    """The time that the files of one folder may take of the event loop."""

    def __init__(self) -> None:
        self._left, self._at = BURST, time.monotonic()

    def spend(self) -> None:
        """Raises Later when there is none left."""
        now = time.monotonic()
        self._left, self._at = min(BURST, self._left + (now - self._at) * SHARE), now
        if self._left <= 0:
            raise Later("reading the company's files takes long; try again")

    def took(self, seconds: float) -> None:
        """One look is over."""
        self._left -= seconds


class Shut(NamedTuple):
    """A file that was found locked each time since it was last read."""

    since: float
    again: float
    """Until then nobody tries."""


_purses: dict[Path, Purse] = {}
_shut: dict[Path, Shut] = {}
"""They outlive whoever opened the file: closing it and opening it anew buys no time."""


def locked_for(path: Path) -> float:
    """Seconds for which a file has been found locked whenever it was tried."""
    found = _shut.get(path)
    return 0.0 if found is None else time.monotonic() - found.since


def still_locked(path: Path) -> float:
    """`locked_for`, of a file that is tried now if it was found locked before."""
    if path in _shut:
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(Distrusted(path, "", _nobody)) as file:
            file.unlocked()
            return locked_for(path)
        _shut.pop(path, None)  # it is gone
    return 0.0


def forget(path: Path) -> None:
    """A file is gone, or a company: nothing is remembered of it, or of what lies in it."""
    for known in (_purses, _shut):
        for one in [one for one in known if one == path or path in one.parents]:
            del known[one]


class Rows(list[tuple[Any, ...]]):
    """An answer, whole."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All of it."""
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Its first row."""
        return self[0] if self else None


class Bounded(sqlite3.Connection):
    """One look at the file as it is."""

    fault = ""
    _blame: Callable[[str], None] = staticmethod(_nobody)
    _expected: frozenset[tuple[Any, ...]] = frozenset()
    _names: frozenset[str] = frozenset()
    _version = -1
    _looks = _bytes = _text = 0
    _seconds, _until, _late = SECONDS[0], (0.0, 0.0), False

    def expect(self, schema: str, blame: Callable[[str], None], seconds: float) -> None:
        """Set all that guards it."""
        self._blame, self._expected, self._seconds = blame, expected(schema), seconds
        self._names = frozenset(row[1] for row in self._expected) | {"sqlite_master"}
        for kind, most in _LIMITS.items():
            self.setlimit(kind, most)
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
            super().execute(f"PRAGMA {pragma}").close()
        self.set_progress_handler(self._step, EVERY)
        self.set_authorizer(self._may)
        self.row_factory = self._row

    def rows(self, sql: str, parameters: Any) -> Rows:
        """The answer, within the bounds. Raises sqlite3.Error."""
        self._verify()
        cursor = self._bounded(sql, parameters)
        try:
            return Rows(cursor.fetchall())
        except sqlite3.OperationalError as error:
            raise self._over(error) from error
        except sqlite3.DataError as error:
            raise self._wrong(f"a row has more than {LENGTH:,} bytes") from error

    def _bounded(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._looks = self._bytes = self._text = 0
        self._late = False
        self._until = time.thread_time() + self._seconds, time.monotonic() + SLACK * self._seconds
        try:
            return super().execute(sql, parameters)
        except sqlite3.OperationalError as error:
            raise self._over(error) from error
        except sqlite3.DataError as error:
            raise self._wrong(f"a row has more than {LENGTH:,} bytes") from error

    def _over(self, error: sqlite3.OperationalError) -> sqlite3.OperationalError:
        return Later("reading it takes too long; try again") if self._late and not self.fault else error

    def _verify(self) -> None:
        """The tables and indexes are those expected. Raises sqlite3.DatabaseError; OperationalError while some are missing."""
        (version,) = self._bounded("PRAGMA main.schema_version").fetchone()
        if version == self._version:
            return
        found = frozenset(self._bounded(_MASTER).fetchall())
        if found - self._expected:
            kind, name, *_ = min(found - self._expected, key=str)
            raise self._wrong(f"it holds a {str(kind)[:20]} {str(name)[:80]!r} that its worker does not make")
        if found != self._expected:
            raise sqlite3.OperationalError("its tables are not there yet")
        self._version = version

    def _wrong(self, reason: str) -> sqlite3.DatabaseError:
        if not self.fault:
            self.fault = f"its state was written by something else than Headrace: {reason}; apply it again"
            self._blame(self.fault)
        return sqlite3.DatabaseError(self.fault)

    def _step(self) -> int:
        self._looks += 1
        if self._looks * EVERY <= STEPS:
            self._late = time.thread_time() > self._until[0] or time.monotonic() > self._until[1]
            return int(self._late)
        self._wrong(f"a look at it took more than {STEPS:,} steps")
        return 1

    def _row(self, _: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        for value in row:
            if isinstance(value, str):
                self._text += len(value)
            elif isinstance(value, bytes):
                self._bytes += len(value)
        if self._bytes > BYTES or self._text > TEXT:
            raise self._wrong(f"an answer has more than {BYTES:,} bytes, or {TEXT:,} of text")
        return row

    def _may(self, action: int, first: str | None, second: str | None, _: str | None, by: str | None) -> int:
        if by not in _OURS:
            return sqlite3.SQLITE_DENY
        allowed = action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_TRANSACTION}
        allowed = allowed or (action == sqlite3.SQLITE_READ and (first in self._names or first == "found"))
        allowed = allowed or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() in _FUNCTIONS)
        allowed = allowed or (action == sqlite3.SQLITE_PRAGMA and first == "schema_version" and second is None)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@cache
def expected(schema: str) -> frozenset[tuple[Any, ...]]:
    """What sqlite_master holds once a schema was made."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(schema)
        return frozenset(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))


class Distrusted:
    """A file that is read so, used as a connection. What is wrong with it for good is told once; then nothing is read any more.

    Its errors are sqlite3.Error.
    """

    def __init__(self, path: Path, schema: str, blame: Callable[[str], None], *, aside: bool = False) -> None:
        self._path, self._schema, self._blame, self._aside = path, schema, blame, aside
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise sqlite3.OperationalError(f"it cannot be opened: {error.strerror}") from error
        self._db: Bounded | None = None
        self._header = b""
        self.fault = ""

    def execute(self, sql: str, parameters: Any = ()) -> Rows:
        """As a connection's, within the bounds; the answer is read whole. Raises sqlite3.Error, Later among them."""
        if self.fault:
            raise sqlite3.DatabaseError(self.fault)
        if self._aside:
            begin = time.thread_time()
            try:
                return self._rows(sql, parameters)
            finally:  # after the lock was let go: its worker writes meanwhile
                time.sleep((time.thread_time() - begin) * (1 / DUTY - 1))
        purse = _purses.setdefault(self._path.parent, Purse())
        purse.spend()
        begin = time.monotonic()
        try:
            return self._rows(sql, parameters)
        finally:
            purse.took(time.monotonic() - begin)

    def _rows(self, sql: str, parameters: Any) -> Rows:
        with self._locked():
            return self._current().rows(sql, parameters)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """As SQLite's readers lock (its file os.h); the lock is the open file's, so that no other reader here drops it."""
        until = time.monotonic() + WAIT if self._aside else 0.0
        while not self.unlocked():
            if time.monotonic() > until:
                raise Later("its worker keeps it locked")
            time.sleep(0.005)
        try:
            yield
        finally:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_UNLCK))

    def unlocked(self) -> bool:
        """Whether it could be locked for reading; it is, until it is closed or unlocked."""
        shut, now = _shut.get(self._path), time.monotonic()
        if shut is not None and now < shut.again and not self._aside:
            return False
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK))
        except OSError:
            since = now if shut is None else shut.since
            _shut[self._path] = Shut(since, now + (REST if now - since > PATIENT else 0))
            return False
        _shut.pop(self._path, None)
        return True

    def _current(self) -> Bounded:
        """The file as it is now; its header counts the changes."""
        header = os.pread(self._file, 100, 0)
        if self._db is None or header != self._header:
            if self._db is not None:
                self._db.close()
            self._db = None
            self._db, self._header = self._opened(), header
        return self._db

    def _opened(self) -> Bounded:
        uri = f"file:{quote(f'/proc/self/fd/{self._file}')}?mode=ro&immutable=1"
        made = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0, factory=Bounded, check_same_thread=False)
        try:
            made.expect(self._schema, self.wrong, SECONDS[self._aside])
        except BaseException:
            made.close()
            raise
        return made

    def wrong(self, fault: str) -> None:
        """What is wrong with it for good: from now on nothing of it is read."""
        self.fault = fault
        self._blame(fault)

    def close(self) -> None:
        """Let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _lock(kind: int) -> bytes:
    """A ``struct flock`` over the bytes that SQLite's readers lock."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, 0x40000002, 510, 0)


def reading(
    path: Path, schema: str, blame: Callable[[str], None] = _nobody, *, aside: bool = False
) -> sqlite3.Connection:
    """A file for reading: something whose `execute` and `close` are a connection's.

    Args:
        schema: the statements that made its tables.
        blame: told once what is wrong with it for good.
        aside: it is read in a thread of its own, where one may wait.

    Raises:
        sqlite3.OperationalError: it cannot be opened.
    """
    return cast(sqlite3.Connection, Distrusted(path, schema, blame, aside=aside))
