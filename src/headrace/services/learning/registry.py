"""The applied specs: folded from the log's control stream, kept in a table so that old log records may go."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from headrace.disk import damaged, open_file, set_aside, transaction
from headrace.errors import CorruptState, HeadraceError
from headrace.records import CONTROL, Entry, Record
from headrace.services.learning import parents
from headrace.services.learning.parents import Parent
from headrace.services.learning.plan import Plan
from headrace.spec import Document, from_plain, needed_files
from headrace.streams.logs import LogReader

_SCHEMA = """
CREATE TABLE IF NOT EXISTS folded (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS specs (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, name TEXT NOT NULL);
"""


class Applied(msgspec.Struct):
    """One spec in an apply entry."""

    plain: dict[str, Any]
    files: dict[str, str] = {}
    """The user's own Python files, name -> source."""
    parent: Parent | None = None
    """What it starts from."""


@dataclass(frozen=True)
class Entered:
    """A model in service."""

    applied: Applied
    generation: int
    """Log position of its apply entry."""
    folder: str
    plan: Plan

    @property
    def name(self) -> str:
        return self.plan.spec.name


class Registry:
    """Which models are in service.

    Args:
        data: data directory; ``registry.db`` and ``code/`` in it.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._code = data / "code"
        self.models: dict[str, Entered] = {}
        self._load(data / "registry.db")

    def _load(self, path: Path) -> None:
        """Open the table; a damaged one is set aside, and `fold` fills a new one from the log."""
        try:
            self._db = open_file(path, _SCHEMA, "journal_mode=WAL")
            row = self._db.execute("SELECT position FROM folded").fetchone()
            entries = self._db.execute("SELECT generation, entry FROM specs ORDER BY name").fetchall()
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            kept = set_aside(path)
            print(
                f"headrace: registry.db is damaged ({error}); kept as {kept.name}, specs are read from the log again",
                file=sys.stderr,
            )
            self._db, row, entries = open_file(path, _SCHEMA, "journal_mode=WAL"), None, []
        self.position = int(row[0]) if row else 0
        for generation, text in entries:
            self._enter(msgspec.json.decode(text, type=Applied), generation)

    def fold(self, log: LogReader) -> bool:
        """Take in the control entries since the last fold; whether the set of models changed.

        Raises sqlite3.Error or OSError if that cannot be written down; the next call takes them in again.
        """
        changed = False
        while records := log.read(self.position, 500, [CONTROL]):
            with transaction(self._db):
                for record in records:
                    changed = self._take(record) or changed
                self._db.execute("INSERT OR REPLACE INTO folded VALUES (1, ?)", (records[-1].position,))
            self.position = records[-1].position
        return changed

    def _take(self, record: Record) -> bool:
        entry = msgspec.json.decode(record.payload)
        if entry["kind"] == "apply":
            for item in msgspec.convert(entry["documents"], list[Applied]):
                self._enter(item, record.position)
                name = item.plain["metadata"]["name"]
                text = msgspec.json.encode(item).decode()
                self._db.execute("INSERT OR REPLACE INTO specs VALUES (?,?,?)", (name, record.position, text))
            for name in entry.get("deletes", ()):
                self._remove(name)
            return True
        if entry["kind"] == "delete":
            return self._remove(entry["name"])
        return False

    def _remove(self, name: str) -> bool:
        self._db.execute("DELETE FROM specs WHERE name = ?", (name,))
        return self.models.pop(name, None) is not None

    def _enter(self, applied: Applied, generation: int) -> None:
        folder = write_code(self._code, applied)
        try:
            entered = enter(applied, generation, folder)
            self.models[entered.name] = entered
        except (HeadraceError, ValueError) as error:  # a plug-in that is gone, a field of another version
            name = applied.plain["metadata"]["name"]
            self.models.pop(name, None)
            print(
                f"headrace: model {name!r} cannot be run any more and stays out of service until it is applied again: {error}",
                file=sys.stderr,
            )

    def sweep(self, answering: Collection[str] = ()) -> None:
        """Forget the code and the cursors of models that are no longer in service.

        Args:
            answering: folders of generations that still answer: their own networks and explainers are needed for that.
        """
        used = {entered.folder for entered in self.models.values()} | set(answering)
        for folder in self._code.glob("*"):
            if str(folder) not in used:
                shutil.rmtree(folder, ignore_errors=True)
        places = [f"{entered.name}@{entered.generation}" for entered in self.models.values()]
        marks = ",".join("?" * len(places))
        self._db.execute(f"DELETE FROM cursors WHERE name NOT IN ({marks})", places)

    def cursor(self, name: str) -> int:
        """Number of the last prediction of a model's generation that was published."""
        row = self._db.execute("SELECT number FROM cursors WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def set_cursors(self, cursors: dict[str, int]) -> None:
        """Remember what was published."""
        with transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO cursors VALUES (?,?)", list(cursors.items()))

    def retained(self) -> dict[str, str]:
        """Topic -> the generation that last published an alert there."""
        return dict(self._db.execute("SELECT topic, name FROM retained").fetchall())

    def retain(self, topics: Iterable[str], name: str) -> None:
        """A generation is about to publish alerts on these topics."""
        with transaction(self._db):
            rows = [(topic, name) for topic in topics]
            self._db.executemany("INSERT OR REPLACE INTO retained VALUES (?,?)", rows)

    def release(self, topics: Iterable[str]) -> None:
        """Nothing is retained on these topics any more."""
        with transaction(self._db):
            self._db.executemany("DELETE FROM retained WHERE topic = ?", [(topic,) for topic in topics])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def enter(applied: Applied, generation: int, folder: str) -> Entered:
    """A model as it runs. Raises HeadraceError or ValueError if it cannot (any more)."""
    spec = from_plain(applied.plain).spec
    return Entered(bare(applied), generation, folder, Plan(spec, folder))


def bare(applied: Applied) -> Applied:
    """Without the parent's bytes, which lie in the code folder: the platform need not hold them."""
    return applied if applied.parent is None else Applied(applied.plain, applied.files, applied.parent.bare)


def spec_digest(applied: Applied) -> str:
    """Digest of a spec with the user's files and the digest of the parent's weights: of one JSON text with sorted keys."""
    found = None if applied.parent is None else [applied.parent.id, applied.parent.digest]
    told = {"spec": applied.plain, "files": applied.files, "parent": found}
    return f"sha256:{hashlib.sha256(msgspec.json.encode(told, order='sorted')).hexdigest()}"


def write_code(code: Path, applied: Applied) -> str:
    """The user's files and the parent's weights in a folder named by their content, in the folder `code`."""
    folder = code_folder(code, applied)
    folder.mkdir(parents=True, exist_ok=True)
    if applied.parent is not None:
        parents.put(applied.parent, folder)
    for name, source in applied.files.items():
        path = folder / Path(name).name
        if not path.exists():
            temporary = path.with_suffix(".new")
            temporary.write_text(source)
            temporary.replace(path)
    return str(folder)


def code_folder(code: Path, applied: Applied) -> Path:
    """Where `write_code` puts them."""
    weights = [] if applied.parent is None else [("", applied.parent.digest)]
    text = msgspec.json.encode(weights + sorted(applied.files.items()))
    return code / hashlib.sha256(text).hexdigest()[:32]


def in_service(data: Path) -> dict[str, Entered]:
    """What a platform on a data directory has in service, read by another process; nothing is written.

    Raises:
        CorruptState: there is no registry that can be read.
    """
    path, models = data / "registry.db", {}
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            entries = db.execute("SELECT generation, entry FROM specs ORDER BY name").fetchall()
    except sqlite3.Error as error:
        raise CorruptState(
            detail=f"{path} cannot be read ({error}); `headrace up` on this directory mends it"
        ) from error
    for generation, text in entries:
        applied = msgspec.json.decode(text, type=Applied)
        with contextlib.suppress(HeadraceError, ValueError):  # the platform does not run it either
            entered = enter(applied, generation, str(code_folder(data / "code", applied)))
            models[entered.name] = entered
    return models


def apply_entry(
    documents: list[Document],
    files: dict[str, str],
    deletes: Sequence[str] = (),
    parents: Mapping[str, Parent] = MappingProxyType({}),
) -> Entry:
    """The control entry that takes documents into service, and at the same moment models out of it.

    Args:
        parents: by the names of the models that have one.
    """
    items: list[dict[str, Any]] = [
        {"plain": document.plain, "files": _own(document, files)}
        | ({"parent": parents[document.spec.name]} if document.spec.parent else {})
        for document in documents
    ]
    entry = {"kind": "apply", "documents": items}
    return control({**entry, "deletes": list(deletes)} if deletes else entry)


def control(entry: dict[str, Any]) -> Entry:
    """A control entry for the log."""
    return Entry(CONTROL, msgspec.json.encode(entry))


def _own(document: Document, files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in needed_files(document.plain) if name in files}


def as_applied(document: Document, files: dict[str, str], found: Parent | None = None) -> Applied:
    """A document as its apply entry would have it."""
    return Applied(document.plain, _own(document, files), found)
