"""The applied specs: folded from the log's control stream, kept in a table so that old log records may go."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headrace.records import CONTROL, Entry, Record
from headrace.services.learning.plan import Plan
from headrace.spec import Document, from_plain, needed_files
from headrace.streams.logs import LogReader

_SCHEMA = """
CREATE TABLE IF NOT EXISTS folded (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS specs (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""


class Applied(msgspec.Struct):
    """One spec in an apply entry."""

    plain: dict[str, Any]
    files: dict[str, str] = {}
    """The user's own Python files, name -> source."""


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
        self._db = sqlite3.connect(data / "registry.db", isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_SCHEMA)
        row = self._db.execute("SELECT position FROM folded").fetchone()
        self.position = int(row[0]) if row else 0
        self.models: dict[str, Entered] = {}
        for generation, text in self._db.execute("SELECT generation, entry FROM specs ORDER BY name").fetchall():
            self._enter(msgspec.json.decode(text, type=Applied), generation)

    def fold(self, log: LogReader) -> bool:
        """Take in the control entries since the last fold; whether the set of models changed."""
        changed = False
        while records := log.read(self.position, 500, [CONTROL]):
            self._db.execute("BEGIN IMMEDIATE")
            for record in records:
                changed = self._take(record) or changed
            self.position = records[-1].position
            self._db.execute("INSERT OR REPLACE INTO folded VALUES (1, ?)", (self.position,))
            self._db.execute("COMMIT")
        return changed

    def _take(self, record: Record) -> bool:
        entry = msgspec.json.decode(record.payload)
        if entry["kind"] == "apply":
            for item in msgspec.convert(entry["documents"], list[Applied]):
                self._enter(item, record.position)
                name = item.plain["metadata"]["name"]
                text = msgspec.json.encode(item).decode()
                self._db.execute("INSERT OR REPLACE INTO specs VALUES (?,?,?)", (name, record.position, text))
            return True
        if entry["kind"] == "delete":
            self._db.execute("DELETE FROM specs WHERE name = ?", (entry["name"],))
            return self.models.pop(entry["name"], None) is not None
        return False

    def _enter(self, applied: Applied, generation: int) -> None:
        folder = self._write_code(applied.files)
        spec = from_plain(applied.plain).spec
        self.models[spec.name] = Entered(applied, generation, folder, Plan(spec, folder))

    def _write_code(self, files: dict[str, str]) -> str:
        """The user's files in a folder named by their content."""
        text = msgspec.json.encode(sorted(files.items()))
        folder = self._code / hashlib.sha256(text).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in files.items():
            path = folder / Path(name).name
            if not path.exists():
                temporary = path.with_suffix(".new")
                temporary.write_text(source)
                temporary.replace(path)
        return str(folder)

    def sweep(self) -> None:
        """Forget the code and the cursors of models that are no longer in service."""
        used = {entered.folder for entered in self.models.values()}
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
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO cursors VALUES (?,?)", list(cursors.items()))
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def apply_entry(documents: list[Document], files: dict[str, str]) -> Entry:
    """The control entry that takes documents into service."""
    items = [{"plain": document.plain, "files": _own(document, files)} for document in documents]
    return control({"kind": "apply", "documents": items})


def control(entry: dict[str, Any]) -> Entry:
    """A control entry for the log."""
    return Entry(CONTROL, msgspec.json.encode(entry))


def _own(document: Document, files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in needed_files(document.plain) if name in files}
