"""What is still to be told of published snapshots, and how far the log was hashed: one SQLite file, written by the platform.

The decisions in the models' stores are the truth. Here stand a cursor into each of them, what was read there and is not
registered yet, and the state of the Merkle root over the log's records: 32 bytes for each power of two of them. That state goes
on when the oldest records are trimmed, so that the root over all records there ever were stays known.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from headrace.assets import Snapshot
from headrace.disk import damaged, open_file, set_aside, transaction
from headrace.merkle import Root, named
from headrace.models.transformers.pipeline import build
from headrace.records import Record
from headrace.services.learning.plan import shape_from
from headrace.services.learning.registry import Entered, spec_digest
from headrace.spec import Plug
from headrace.streams.logs.lines import record_leaf

FILE = "snapshots.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS prefixes (
    first INTEGER PRIMARY KEY, position INTEGER NOT NULL, count INTEGER NOT NULL, perfect BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS generations (
    name TEXT, generation INTEGER, file INTEGER NOT NULL, number INTEGER NOT NULL, first INTEGER NOT NULL, told TEXT NOT NULL,
    environments TEXT NOT NULL DEFAULT '', PRIMARY KEY (name, generation)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS due (
    number INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL, published TEXT NOT NULL, sealed TEXT NOT NULL DEFAULT '');
"""


class Told(msgspec.Struct, frozen=True):
    """What is known of all that a generation publishes."""

    model: str
    generation: int
    spec: str
    topics: list[str]
    parent: str
    framework: str
    input_shape: list[int] | None
    output_shape: list[int] | None
    network: dict[str, Any] = {}
    """Of a torch model: its "module" and "floor", without which its weights are no network."""

    @classmethod
    def of(cls, entered: Entered) -> Told:
        """Of a model in service."""
        plan = entered.plan
        shape = None
        if not any(plug.name == "python" for plug in plan.features):  # its shape is known to its worker alone
            shape, _ = shape_from(plan, build(plan.features, plan.context))
        parent = entered.applied.parent
        return cls(
            model=entered.name,
            generation=entered.generation,
            spec=spec_digest(entered.applied),
            topics=list(plan.spec.input.topics),
            parent=parent.id if parent is not None else "",
            framework=plan.spec.backend.name,
            input_shape=None if shape is None else list(shape.input),
            output_shape=None if shape is None else [shape.horizon],
            network=_network(plan.spec.backend),
        )


def _network(backend: Plug) -> dict[str, Any]:
    if backend.name != "torch":
        return {}
    return {"module": backend.params.get("module", "gru"), "floor": backend.params.get("floor")}


class Published(msgspec.Struct, frozen=True):
    """One decision that published."""

    told: Told
    key: str
    time: int
    weights: str
    reason: str
    champion: float | None
    challenger: float | None
    days: int


@dataclass
class Prefix:
    """The root over the log from one position on, as far as it was hashed."""

    first: int
    position: int
    """Of the last record in it."""
    root: Root = field(default_factory=Root)

    def take(self, records: Sequence[Record]) -> None:
        """The next records. Raises Gap if some between are missing."""
        for record in records:
            if record.position != self.position + 1:
                raise Gap(self.position, record.position)
            self.root.push(record_leaf(record))
            self.position = record.position

    def seal(self, published: Published, environment: str) -> Snapshot:
        """The record of what was published by the records so far."""
        told = published.told
        return Snapshot(
            model=told.model,
            key=published.key,
            generation=str(told.generation),
            spec=told.spec,
            published_ms=published.time // 1_000_000,
            first_position=self.first,
            last_position=self.position,
            records=self.root.count,
            root=named(self.root.value()),
            environment=environment,
            topics=told.topics,
        )


class Gap(Exception):
    """Records were trimmed before they were hashed."""

    def __init__(self, position: int, start: int) -> None:
        super().__init__(f"the log is kept from position {start:,} on, and was hashed up to {position:,}")


class Due(msgspec.Struct, frozen=True):
    """Something published that is not registered yet."""

    number: int
    first: int
    published: Published
    sealed: Snapshot | None


class Book:
    """The file. Use it from one thread.

    Args:
        folder: the company's data directory.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            self._db = open_file(path, _SCHEMA, "journal_mode=WAL", "synchronous=NORMAL")
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            kept = set_aside(path)
            print(
                f"headrace: {path.name} is damaged ({error}); kept as {kept.name}, what was published is told again",
                file=sys.stderr,
            )
            self._db = open_file(path, _SCHEMA, "journal_mode=WAL", "synchronous=NORMAL")
        self._prefixes = {
            first: Prefix(first, position, Root.of(count, perfect))
            for first, position, count, perfect in self._db.execute("SELECT * FROM prefixes")
        }

    # -- generations

    def enter(self, told: Told) -> None:
        """A generation is in service."""
        row = (told.model, told.generation, _text(told))
        self._db.execute(
            "INSERT OR IGNORE INTO generations (name, generation, file, number, first, told) VALUES (?,?,0,0,0,?)", row
        )

    def began(self, told: Told, first: int) -> None:
        """Its learner began at a log position."""
        update = "UPDATE generations SET first = ? WHERE name = ? AND generation = ? AND first <> ?"
        self._db.execute(update, (first, told.model, told.generation, first))

    def told(self, name: str, generation: int) -> Told | None:
        """What is known of a generation."""
        row = self._db.execute(
            "SELECT told FROM generations WHERE name = ? AND generation = ?", (name, generation)
        ).fetchone()
        return msgspec.json.decode(row[0], type=Told) if row else None

    def cursor(self, told: Told, file: int) -> int:
        """Number of the last of its decisions that was read; of another file than before nothing was."""
        query = "SELECT number FROM generations WHERE name = ? AND generation = ? AND file = ?"
        row = self._db.execute(query, (told.model, told.generation, file)).fetchone()
        return int(row[0]) if row else 0

    def take(self, told: Told, file: int, first: int, number: int, published: Sequence[Published]) -> None:
        """Its next decisions, up to a number; all or nothing.

        Args:
            file: what tells its store from one that was made anew in its place.
            first: the log position its learner began at.
        """
        with transaction(self._db):
            self._db.executemany(
                "INSERT INTO due (first, published) VALUES (?,?)", [(first, _text(one)) for one in published]
            )
            self._db.execute(
                "UPDATE generations SET number = ?, file = ? WHERE name = ? AND generation = ?",
                (number, file, told.model, told.generation),
            )

    def leave(self, name: str, generation: int) -> None:
        """A generation is gone, and all of its decisions were read."""
        self._db.execute("DELETE FROM generations WHERE name = ? AND generation = ?", (name, generation))

    def learned_in(self, told: Told, environment: str) -> list[str]:
        """The environments a generation has published in, this one included."""
        place = (told.model, told.generation)
        query = "SELECT environments FROM generations WHERE name = ? AND generation = ?"
        row = self._db.execute(query, place).fetchone()
        known = row[0].split() if row else []
        if environment not in known:
            known.append(environment)
            update = "UPDATE generations SET environments = ? WHERE name = ? AND generation = ?"
            self._db.execute(update, (" ".join(known), *place))
        return known

    # -- what is to be told

    def due(self, limit: int) -> list[Due]:
        """The oldest of it."""
        rows = self._db.execute(
            "SELECT number, first, published, sealed FROM due ORDER BY number LIMIT ?", (limit,)
        ).fetchall()
        return [
            Due(
                number,
                first,
                msgspec.json.decode(published, type=Published),
                Snapshot.model_validate_json(sealed) if sealed else None,
            )
            for number, first, published, sealed in rows
        ]

    def waiting(self) -> int:
        """How many there are."""
        (count,) = self._db.execute("SELECT count(*) FROM due").fetchone()
        return int(count)

    def done(self, number: int) -> None:
        """It is registered, or never can be."""
        self._db.execute("DELETE FROM due WHERE number = ?", (number,))

    def seal(self, prefix: Prefix, sealed: Sequence[tuple[int, Snapshot]]) -> None:
        """Write down the root of what was hashed, and what is told with it: all or nothing."""
        with transaction(self._db):
            self._save(prefix)
            self._db.executemany(
                "UPDATE due SET sealed = ? WHERE number = ?",
                [(snapshot.model_dump_json(), number) for number, snapshot in sealed],
            )

    # -- how far the log was hashed

    def prefix(self, first: int) -> Prefix:
        """The root from a position on."""
        return self._prefixes.setdefault(first, Prefix(first, first - 1))

    def save(self, prefix: Prefix) -> None:
        """Write down how far it is."""
        with transaction(self._db):
            self._save(prefix)

    def _save(self, prefix: Prefix) -> None:
        count, perfect = prefix.root.state()
        row = (prefix.first, prefix.position, count, perfect)
        self._db.execute("INSERT OR REPLACE INTO prefixes VALUES (?,?,?,?)", row)

    def needed(self) -> list[int]:
        """Where the roots begin that are needed: of models in service and of what is not sealed yet."""
        query = "SELECT first FROM generations WHERE first > 0 UNION SELECT first FROM due WHERE sealed = ''"
        return sorted(first for (first,) in self._db.execute(query))

    def forget(self) -> None:
        """Drop the roots nobody needs any more."""
        for first in self._prefixes.keys() - set(self.needed()):
            del self._prefixes[first]
            self._db.execute("DELETE FROM prefixes WHERE first = ?", (first,))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _text(struct: msgspec.Struct) -> str:
    return msgspec.json.encode(struct).decode()
