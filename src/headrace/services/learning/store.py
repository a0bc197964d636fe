"""What a learner leaves behind: one SQLite file per model generation, written by one worker, read by everyone.

The file is derived from the log and could be deleted; its worker would compute it again, byte for byte. A checkpoint -
position in the log, state of every lane - is one row, written in one transaction that first compares the **epoch**: a
worker that was replaced while it slept finds a newer epoch and cannot write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.disk import open_file, transaction
from headrace.distrust import reading
from headrace.errors import Fenced
from headrace.events import Alert, Covered, Decision, Prediction, Score
from headrace.records import Array
from headrace.services.learning.runs import Whose, lines, packed, rendered

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, ordinal INTEGER NOT NULL, count INTEGER NOT NULL, id TEXT NOT NULL,
    origin INTEGER NOT NULL, created INTEGER NOT NULL, bodies BLOB NOT NULL, UNIQUE (key, ordinal));
CREATE INDEX IF NOT EXISTS ids ON runs (id, ordinal);
CREATE TABLE IF NOT EXISTS scores (
    key TEXT, origin INTEGER, contender TEXT, n INTEGER, squared REAL, absolute REAL, daylight INTEGER,
    daylight_squared REAL, own REAL, PRIMARY KEY (key, origin, contender)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS decisions (
    key TEXT, time INTEGER, publish INTEGER, reason TEXT, champion REAL, challenger REAL, days INTEGER, snapshot TEXT,
    PRIMARY KEY (key, time)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, time INTEGER NOT NULL, UNIQUE (key, time));
CREATE TABLE IF NOT EXISTS actuals (key TEXT, time INTEGER, value REAL, PRIMARY KEY (key, time)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT PRIMARY KEY, key TEXT, rule TEXT, kind TEXT, severity TEXT, raised INTEGER, cleared INTEGER, value REAL,
    threshold REAL, message TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS episodes ON alerts (raised, id);
CREATE INDEX IF NOT EXISTS active ON alerts (id) WHERE cleared IS NULL;
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, cleared INTEGER NOT NULL, position INTEGER NOT NULL,
    UNIQUE (id, cleared));
CREATE TABLE IF NOT EXISTS filled (key TEXT, time INTEGER, PRIMARY KEY (key, time)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS coverage (
    key TEXT, origin INTEGER, n INTEGER, covered INTEGER, width REAL, active INTEGER, active_covered INTEGER,
    active_width REAL, PRIMARY KEY (key, origin)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS servables (key TEXT, role TEXT, version INTEGER, data BLOB, PRIMARY KEY (key, role)) WITHOUT ROWID;
"""

_KEYS = """
WITH RECURSIVE found(key) AS (
    SELECT MIN(key) FROM {table}
    UNION ALL SELECT (SELECT MIN(key) FROM {table} WHERE key > found.key) FROM found WHERE found.key IS NOT NULL)
SELECT key FROM found WHERE key IS NOT NULL
"""
"""DISTINCT without reading the whole index."""


_SCORE = "key, origin, contender, n, squared, absolute, daylight, daylight_squared"


LONGEST = 2**16
"""Characters of a published key or name of weights: a topic of MQTT has at most so many."""
REASON = 4000
"""Characters of a decision's reason; ours have some hundred."""
RUNS = 64
"""Runs read at a time..."""
STORED = 2**23
"""...and bytes of them, of a stranger; of longer runs one at a time."""
KEYS = 10_000
"""Keys of a stranger's file that are looked at."""
SAID = 4000
"""Characters of one text about an alert."""


class Run(NamedTuple):
    """Consecutive predictions of one key, stored as one row."""

    number: int
    """Of its last prediction; predictions are numbered without gaps in the order of their first computation."""
    key: str
    size: int
    """How many they are."""
    bodies: bytes
    """One JSON object a line."""


class Stored(NamedTuple):
    """Such a row as it is stored."""

    number: int
    key: str
    size: int
    stored: bytes


class Store:
    """A model's file.

    Args:
        writer: for its worker; the others read.
        journal: how a writer keeps it whole.
        blame: it may have been written by a stranger's code (`headrace.distrust`); told what is wrong with it for good.
        aside: it is read in a thread of its own, where one may wait for a stranger.
    """

    def __init__(
        self,
        path: Path,
        *,
        writer: bool = False,
        journal: str = "WAL",
        blame: Callable[[str], None] | None = None,
        aside: bool = False,
    ) -> None:
        self.path = path
        self._model = "" if blame is None else path.name.rpartition("@")[0]
        """Whose predictions there can be only, where a stranger may have written them."""
        self._db: sqlite3.Connection
        self.epoch = 0
        if writer:
            path.parent.mkdir(parents=True, exist_ok=True)
            # NORMAL: after a power loss the file may be some transactions older, never damaged; the log brings it up.
            self._db = open_file(path, _SCHEMA, f"journal_mode={journal}", "synchronous=NORMAL")
            _add_what_is_new(self._db)
        elif blame is not None:
            self._db = reading(path, _SCHEMA, blame, aside=aside)
        else:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=5)

    # -- the worker's side

    def claim(self) -> int:
        """Become the one writer: from now on every older claimant is fenced. Returns the new epoch."""
        with transaction(self._db):
            epoch = int(self._meta("epoch") or 0) + 1
            self._set("epoch", epoch)
        self.epoch = epoch
        return self.epoch

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction under this writer's epoch. Raises Fenced, having written nothing, if there is a newer one."""
        with transaction(self._db):
            current = int(self._meta("epoch") or 0)
            if current != self.epoch:
                raise Fenced(mine=self.epoch, current=current)
            yield

    def save(self, position: int, state: bytes) -> None:
        """The checkpoint; inside `writing`."""
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?, ?)", (position, state))

    def set(self, name: str, value: object) -> None:
        """A word about this model for people (`failed`, `progress`); inside `writing`."""
        self._set(name, value)

    def add_run(
        self, key: str, first: int, identity: str, origin: int, created: int, bodies: Sequence[bytes]
    ) -> Run | None:
        """Store consecutive predictions of a key; those that are there already stay as they are.

        Args:
            first: ordinal of the first of `bodies`.
            identity: the id of a single prediction, or what the ids of all have before ``-`` and their ordinal.
            origin: of the last of them.

        Returns:
            What was new.
        """
        known = self._known(key)
        new = bodies[max(0, known - first) :]
        if not new:
            return None
        lines = b"\n".join(new)
        return self._add(Run(0, key, len(new), lines), max(known, first), identity, origin, created, lines)

    def add_stream(
        self, model: str, key: str, first: int, prefix: str, created: int, times: NDArray[np.int64], values: Array
    ) -> Run | None:
        """`add_run` of record-wise predictions, made after the readings of these times, ns."""
        known = self._known(key)
        ordinal, times, values = max(known, first), times[max(0, known - first) :], values[max(0, known - first) :]
        if not len(times):
            return None
        lines = rendered(model, key, prefix, ordinal, times // 1_000_000, values)
        stored = packed(model, key, prefix, ordinal, times, values)
        return self._add(Run(0, key, len(times), lines), ordinal, prefix, int(times[-1]), created, stored)

    def _known(self, key: str) -> int:
        """How many predictions of a key there are."""
        query = "SELECT ordinal + count FROM runs WHERE key = ? ORDER BY ordinal DESC LIMIT 1"
        (known,) = self._db.execute(query, (key,)).fetchone() or (0,)
        return int(known)

    def _add(self, run: Run, ordinal: int, identity: str, origin: int, created: int, stored: bytes) -> Run:
        run = run._replace(number=self.last_number() + run.size)
        row = (run.number, run.key, ordinal, run.size, identity, origin, created, stored)
        self._db.execute("INSERT INTO runs VALUES (?,?,?,?,?,?,?,?)", row)
        return run

    def add_scores(self, scores: Iterable[Score]) -> None:
        """Scores; idempotent."""
        rows = [
            (s.key, s.origin, s.contender, s.n, s.squared, s.absolute, s.daylight, s.daylight_squared, s.own)
            for s in scores
        ]
        self._db.executemany(f"INSERT OR REPLACE INTO scores ({_SCORE}, own) VALUES (?,?,?,?,?,?,?,?,?)", rows)

    def add_decisions(self, decisions: Iterable[Decision]) -> None:
        """Gate decisions; idempotent. Those that published are numbered in the order of their first computation."""
        rows = [(d.key, d.time, d.publish, d.reason, d.champion, d.challenger, d.days, d.snapshot) for d in decisions]
        self._db.executemany("INSERT OR REPLACE INTO decisions VALUES (?,?,?,?,?,?,?,?)", rows)
        published = [(row[0], row[1]) for row in rows if row[-1]]
        self._db.executemany("INSERT OR IGNORE INTO published (key, time) VALUES (?,?)", published)

    def add_actuals(self, key: str, points: Iterable[tuple[int, float]]) -> None:
        """Grid values; idempotent."""
        self._db.executemany("INSERT OR REPLACE INTO actuals VALUES (?,?,?)", [(key, t, v) for t, v in points])

    def add_alerts(self, alerts: Iterable[Alert], position: int) -> None:
        """What was raised and cleared by the records up to a log position; idempotent, and cleared stays cleared.

        The changes are numbered in the order of their first computation, for those who send them on.
        """
        for a in alerts:
            self._db.execute(
                "INSERT INTO alerts VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET cleared = excluded.cleared"
                " WHERE excluded.cleared IS NOT NULL",
                (a.id, a.key, a.rule, a.on, a.severity, a.raised, a.cleared, a.value, a.threshold, a.message),
            )
            change = (a.id, int(a.cleared is not None), position)
            self._db.execute("INSERT OR IGNORE INTO changes (id, cleared, position) VALUES (?,?,?)", change)

    def keep_alerts(self, count: int) -> None:
        """Drop all but the newest `count` of the cleared ones, and most of what is remembered of their changes."""
        self._db.execute(
            "DELETE FROM alerts WHERE cleared IS NOT NULL AND (raised, id) <= (SELECT raised, id FROM alerts"
            " WHERE cleared IS NOT NULL ORDER BY raised DESC, id DESC LIMIT 1 OFFSET ?)",
            (count,),
        )
        self._db.execute("DELETE FROM changes WHERE number <= (SELECT MAX(number) FROM changes) - ?", (10 * count,))

    def add_filled(self, key: str, times: Iterable[int]) -> None:
        """Which grid values were filled in; idempotent."""
        self._db.executemany("INSERT OR REPLACE INTO filled VALUES (?,?)", [(key, time) for time in times])

    def add_coverage(self, scored: Iterable[Covered]) -> None:
        """What the bands of scored forecasts held; idempotent."""
        rows = [(c.key, c.origin, c.n, c.covered, c.width, c.active, c.active_covered, c.active_width) for c in scored]
        self._db.executemany("INSERT OR REPLACE INTO coverage VALUES (?,?,?,?,?,?,?,?)", rows)

    def add_servable(self, key: str, role: str, data: bytes) -> None:
        """A newer exported model."""
        self._db.execute(
            "INSERT INTO servables VALUES (?,?,1,?) ON CONFLICT DO UPDATE SET version = version + 1, data = excluded.data",
            (key, role, data),
        )

    def keep_predictions(self, count: int) -> None:
        """Drop all but the newest `count`, and the rest of the run in which the oldest of them is."""
        self._db.execute("DELETE FROM runs WHERE number <= (SELECT MAX(number) FROM runs) - ?", (count,))

    # -- anyone's side

    def checkpoint(self) -> tuple[int, bytes] | None:
        """(position, state) of the last checkpoint."""
        row: tuple[int, bytes] | None = self._db.execute("SELECT position, state FROM checkpoint").fetchone()
        return row

    def position(self) -> int:
        """The log position the last checkpoint stands at."""
        row = self._db.execute("SELECT position FROM checkpoint").fetchone()
        return int(row[0]) if row else 0

    def get(self, name: str) -> Any:
        """A word set by the worker, or None."""
        return self._meta(name)

    def lanes(self) -> list[str]:
        """Keys with at least one grid value or prediction."""
        query = _KEYS + (f" LIMIT {KEYS}" if self._model else "")
        return sorted({key for table in ("actuals", "runs") for (key,) in self._db.execute(query.format(table=table))})

    def runs(self, after: int, limit: int) -> list[Run]:
        """What was predicted after a number, in order of first computation: as many runs as hold `limit` predictions."""
        found: list[Run] = []
        at = after
        while rows := self.stored(at):
            for row in rows:
                found.append(self.run(row, after))
                if row.number - after >= limit:
                    return found
            at = found[-1].number
            if len(rows) < RUNS and not self._model:
                break
        return found

    def stored(self, after: int) -> list[Stored]:
        """The next runs as they are stored, so many as are read at a time."""
        query = "SELECT number, key, count, bodies FROM runs WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
        last, most = 2**62, RUNS
        if self._model:
            sizes = "SELECT number, length(bodies) FROM runs WHERE number > ? ORDER BY number LIMIT ?"
            rows = self._db.execute(sizes, (after, RUNS)).fetchall()
            most = max(1, sum(total <= STORED for total in accumulate(int(size) for _, size in rows)))
            last = rows[most - 1][0] if rows else 0
        found = [Stored(*row) for row in self._db.execute(query, (after, last, most))]
        if self._model and any(tuple(map(type, one)) != (int, str, int, bytes) for one in found):
            raise self._wrong("a run whose row is none")
        return found

    def run(self, row: Stored, after: int = 0, most: int = 2**62) -> Run:
        """One row with the JSON of its predictions after a number, of the first `most` of them.

        Needs nothing of the file: any thread may call it.
        """
        before = row.number - row.size
        start = max(0, after - before)
        new = self._lines(row.stored, row.key, row.size, start, min(row.size, start + most))
        return Run(before + start + len(new) if most < row.size else row.number, row.key, len(new), b"\n".join(new))

    def _lines(
        self, stored: bytes, key: str, size: int | None, start: int | None = None, stop: int | None = None
    ) -> list[bytes]:
        """`runs.lines`. Raises sqlite3.DatabaseError at what a stranger wrote that is no run of this model."""
        if not self._model:
            return lines(stored, start, stop)
        try:
            return lines(stored, start, stop, Whose(self._model, key, size))
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise self._wrong(str(error)) from error

    def _wrong(self, what: str) -> sqlite3.DatabaseError:
        fault = f"its state was written by something else than Headrace: {what[:200]}; apply it again"
        file: Any = self._db
        if self._model:
            file.wrong(fault)
        return sqlite3.DatabaseError(fault)

    def predictions(self, after: int, limit: int) -> list[tuple[int, str, int, bytes]]:
        """(number, key, origin, body) of single predictions, in order of first computation."""
        found = [
            (number, run.key, msgspec.json.decode(body)["origin_ms"] * 1_000_000, body)
            for run in self.runs(after, limit)
            for number, body in enumerate(run.bodies.split(b"\n"), run.number - run.size + 1)
        ]
        return found[:limit]

    def last_number(self) -> int:
        """Number of the newest prediction."""
        (value,) = self._db.execute("SELECT MAX(number) FROM runs").fetchone()
        return int(value or 0)

    def latest(self, key: str | None = None) -> tuple[str, bytes] | None:
        """(key, body) of the newest prediction, of one key or of all."""
        row: tuple[str, int, bytes] | None
        if key is None:
            row = self._db.execute("SELECT key, count, bodies FROM runs ORDER BY number DESC LIMIT 1").fetchone()
        else:
            row = self._db.execute(
                "SELECT key, count, bodies FROM runs WHERE key = ? ORDER BY ordinal DESC LIMIT 1", (key,)
            ).fetchone()
        return (row[0], self._lines(row[2], row[0], row[1], -1)[0]) if row else None

    def prediction(self, identity: str) -> tuple[str, bytes] | None:
        """(key, body) of one prediction."""
        row = self._db.execute("SELECT key, count, bodies FROM runs WHERE id = ?", (identity,)).fetchone()
        if row is not None:
            (one,) = self._lines(row[2], row[0], row[1], 0, 1)
            if msgspec.json.decode(one).get("id") == identity:
                return row[0], one
        prefix, _, ordinal = identity.rpartition("-")
        if not (prefix and ordinal.isdecimal() and len(ordinal) < 18):
            return None
        for key, first, size, bodies in self._db.execute(
            "SELECT key, ordinal, count, bodies FROM runs WHERE id = ? AND ordinal <= ? ORDER BY ordinal DESC LIMIT 1",
            (prefix, int(ordinal)),
        ):
            place = int(ordinal) - first
            found = self._lines(bodies, key, size, place, place + 1)
            return (key, found[0]) if found else None
        return None

    def forecasts(self, key: str, since: int) -> list[bytes]:
        """Bodies of the predictions with origin >= `since`, oldest first, at most 1000."""
        found: list[bytes] = []
        for size, bodies in self._db.execute(
            "SELECT count, bodies FROM runs WHERE key = ? AND origin >= ? ORDER BY ordinal DESC LIMIT 1000",
            (key, since),
        ):
            found += reversed(self._lines(bodies, key, size, -1000))
            if len(found) >= 1000:
                break
        return found[999::-1]

    def actuals(self, key: str, since: int) -> list[tuple[int, float | None]]:
        """Grid values from `since` on."""
        return self._db.execute(
            "SELECT time, value FROM actuals WHERE key = ? AND time >= ? ORDER BY time", (key, since)
        ).fetchall()

    def newest_actual(self, key: str) -> int:
        """Time of the newest grid value, 0 if none."""
        (value,) = self._db.execute("SELECT MAX(time) FROM actuals WHERE key = ?", (key,)).fetchone()
        return int(value or 0)

    def scores(self, key: str | None = None, since: int = 0) -> list[tuple[Any, ...]]:
        """(key, origin, contender, n, squared, absolute, daylight, daylight_squared) in order."""
        where, arguments = ("key = ? AND", (key,)) if key is not None else ("", ())
        return self._db.execute(
            f"SELECT {_SCORE} FROM scores WHERE {where} origin >= ? ORDER BY key, origin, contender",
            (*arguments, since),
        ).fetchall()

    def own_scores(self, key: str, contender: str, since: int = 0) -> dict[int, tuple[int, float]]:
        """Origin -> (targets, sum of squared errors in the target's unit); none of those an older version stored."""
        rows = self._db.execute(
            "SELECT origin, n, own FROM scores WHERE key = ? AND origin >= ? AND contender = ? AND own IS NOT NULL",
            (key, since, contender),
        )
        return {origin: (n, own) for origin, n, own in rows}

    def filled(self, key: str, since: int) -> list[int]:
        """Times of the grid values from `since` on that were filled in."""
        found = self._db.execute("SELECT time FROM filled WHERE key = ? AND time >= ? ORDER BY time", (key, since))
        return [time for (time,) in found]

    def coverage(self, key: str, since: int = 0) -> list[tuple[Any, ...]]:
        """(origin, n, covered, width, active, active_covered, active_width) of scored forecasts, in order; widths are sums."""
        return self._db.execute(
            "SELECT origin, n, covered, width, active, active_covered, active_width FROM coverage"
            " WHERE key = ? AND origin >= ? ORDER BY origin",
            (key, since),
        ).fetchall()

    def decisions(self, key: str | None = None) -> list[tuple[Any, ...]]:
        """(key, time, publish, reason, champion, challenger, days, snapshot) in order."""
        where, arguments = ("WHERE key = ?", (key,)) if key is not None else ("", ())
        return self._db.execute(f"SELECT * FROM decisions {where} ORDER BY key, time", arguments).fetchall()

    def published(
        self, after: int, limit: int
    ) -> list[tuple[int, str, int, str, str, float | None, float | None, int]]:
        """(number, key, time, snapshot, reason, champion, challenger, days) of decisions that published, in order of first
        computation; of a text no more than tells that it is too long."""
        return self._db.execute(
            "SELECT p.number, substr(p.key, 1, ?), p.time, substr(d.snapshot, 1, ?), substr(d.reason, 1, ?), d.champion,"
            " d.challenger, d.days FROM published AS p JOIN decisions AS d ON d.key = p.key AND d.time = p.time"
            " WHERE p.number > ? ORDER BY p.number LIMIT ?",
            (LONGEST + 1, LONGEST + 1, REASON + 1, after, limit),
        ).fetchall()

    def alerts(self, key: str = "", *, active: bool = False, limit: int = -1) -> list[Alert]:
        """Episodes, the newest first."""
        where, arguments = "", []
        if key:
            where, arguments = "WHERE key = ?", [key]
        if active:
            where += (" AND" if where else "WHERE") + " cleared IS NULL"
        rows = self._db.execute(
            f"SELECT * FROM alerts {where} ORDER BY raised DESC, id DESC LIMIT ?", (*arguments, limit)
        )
        return [self._alert(row) for row in rows]

    def alert(self, identity: str) -> Alert | None:
        """One episode."""
        row = self._db.execute("SELECT * FROM alerts WHERE id = ?", (identity,)).fetchone()
        return self._alert(row) if row is not None else None

    def _alert(self, row: tuple[Any, ...]) -> Alert:
        if self._model and any(isinstance(one, str | bytes) and len(one) > SAID for one in row):
            raise self._wrong(f"an alert with more than {SAID:,} characters")
        return Alert(*row)

    def changes(self, after: int, limit: int) -> list[tuple[int, str, bool, int]]:
        """(number, id, whether it was cleared, log position) of raised and cleared alerts, in order of first computation."""
        rows = self._db.execute(
            "SELECT number, id, cleared, position FROM changes WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
        return [(number, identity, bool(cleared), position) for number, identity, cleared, position in rows]

    def last_change(self) -> int:
        """Number of the newest change."""
        (value,) = self._db.execute("SELECT MAX(number) FROM changes").fetchone()
        return int(value or 0)

    def servable(self, key: str, role: str, than: int = 0) -> tuple[int, bytes] | None:
        """(version, data) of an exported model newer than version `than`."""
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT version, data FROM servables WHERE key = ? AND role = ? AND version > ?", (key, role, than)
        ).fetchone()
        return row

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _meta(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))


def _add_what_is_new(db: sqlite3.Connection) -> None:
    """A file of an older version gets the columns it lacks; what it stored before has no value there."""
    if "own" not in {row[1] for row in db.execute("PRAGMA table_info(scores)")}:
        db.execute("ALTER TABLE scores ADD COLUMN own REAL")
    if db.execute("SELECT 1 FROM published LIMIT 1").fetchone() is None:
        db.execute(
            "INSERT INTO published (key, time) SELECT key, time FROM decisions WHERE snapshot <> '' ORDER BY time, key"
        )


_encode = msgspec.json.Encoder().encode


def body(prediction: Prediction) -> bytes:
    """A forecast as it is stored, published and served: one JSON object, times in ms since the epoch."""
    return _encode(
        {
            "id": prediction.id,
            "model": prediction.model,
            "key": prediction.key,
            "origin_ms": prediction.origin // 1_000_000,
            "step_ms": prediction.step // 1_000_000,
            "values": prediction.values,
            "low": prediction.low,
            "high": prediction.high,
            "by": prediction.by,
            "interval": prediction.interval,
            **({"late": True} if prediction.late else {}),
        }
    )


def generation_file(data: Path, model: str, generation: int) -> Path:
    """Where a model's generation (the log position of its apply) keeps its state."""
    return data / "state" / f"{model}@{generation}.db"
