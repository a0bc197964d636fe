"""State files that were written by hostile code: nothing in them runs, hangs, or fills the memory of who reads them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import distrust
from headrace.distrust import JOURNAL
from headrace.services.gateway.service import Understood
from headrace.services.learning.learner import open_store
from headrace.services.learning.observer import SCHEMA as OBSERVED
from headrace.services.learning.store import Store

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What an honest worker leaves behind."""
    path = tmp_path / "room?100%@1.db"
    with contextlib.closing(open_store(path, JOURNAL)) as store, store.writing():
        store.save(7, b"state")
        store.set("failed", "")
        store.add_run("a", 0, "x", 1, 1, [b"{}", b"{}"])
    return path


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def read(path: Path, *what: Callable[[Store], Any], aside: bool = False) -> tuple[list[Any], list[str], float]:
    """(answers or errors, what it is blamed for, seconds)."""
    blamed: list[str] = []
    begin = time.monotonic()
    with contextlib.closing(Store(path, blame=blamed.append, aside=aside)) as store:
        answers = []
        for one in what:
            try:
                answers.append(one(store))
            except sqlite3.Error as error:
                answers.append(error)
    return answers, blamed, time.monotonic() - begin


def test_an_honest_file_is_read_as_ever_and_its_writer_goes_on(file: Path) -> None:
    with (
        contextlib.closing(Store(file, blame=pytest.fail)) as store,
        contextlib.closing(open_store(file, JOURNAL)) as writer,
    ):
        assert (store.position(), store.lanes(), store.last_number()) == (7, ["a"], 2)
        with writer.writing():
            writer.save(8, b"more")
            writer.add_servable("a", "live", b"data")
        assert store.position() == 8 and store.servable("a", "live") == (1, b"data")
        assert not store.scores() and not store.alerts() and not store.runs(2, 9) and store.prediction("y-1") is None
        assert store.latest() == ("a", b"{}") and store.newest_actual("a") == 0 and store.decisions() == []
    assert not file.with_name(file.name + "-shm").exists()


HOSTILE = {
    "an endless view": (
        "DROP TABLE meta",
        f"CREATE VIEW meta(name, value) AS {ENDLESS} SELECT 'failed', i FROM n WHERE i < 0",
    ),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT 1; END",),
    "a generated column": ("DROP TABLE actuals", "CREATE TABLE actuals (key, time, value AS (zeroblob(1000000000)))"),
    "a virtual table": ("DROP TABLE runs", "CREATE VIRTUAL TABLE runs USING fts5(number, key)"),
    "an index with an expression": ("CREATE INDEX slow ON runs (zeroblob(1000000000))",),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_file_with_anything_but_its_tables_is_not_read(file: Path, how: str) -> None:
    with contextlib.suppress(sqlite3.Error):
        change(file, "DELETE FROM runs", *HOSTILE[how])
    answers, blamed, seconds = read(file, Store.lanes, Store.position, lambda store: store.get("failed"))
    assert all(isinstance(one, sqlite3.DatabaseError) for one in answers) and seconds < 2
    assert len(blamed) == 1 and "that its worker does not make" in blamed[0]


def test_a_table_that_becomes_a_view_while_it_is_open_is_not_read(file: Path) -> None:
    blamed: list[str] = []
    with contextlib.closing(Store(file, blame=blamed.append)) as store:
        assert store.position() == 7
        change(file, *HOSTILE["an endless view"])
        with pytest.raises(sqlite3.DatabaseError, match="that its worker does not make"):
            store.get("failed")
    assert blamed


def test_a_view_is_refused_even_where_nobody_looked_at_the_schema(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(file, *HOSTILE["an endless view"])
    monkeypatch.setattr(distrust.Bounded, "_verify", lambda self: None)
    (answer,), _, seconds = read(file, lambda store: store.get("failed"))
    assert isinstance(answer, sqlite3.DatabaseError) and seconds < 2  # "not authorized"


def test_a_statement_that_takes_too_long_or_gives_too_much_is_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = f"{ENDLESS} INSERT INTO scores (key, origin, contender) SELECT 'a', i, 'live' FROM n LIMIT 50000"
    change(file, fill, "INSERT INTO decisions VALUES ('a', 1, 1, zeroblob(3000000), 1, 1, 1, '')")
    assert len(read(file, Store.scores, aside=True)[0][0]) == 50_000
    monkeypatch.setattr(distrust, "STEPS", 100_000)
    (answer,), blamed, _ = read(file, Store.scores, aside=True)
    assert isinstance(answer, sqlite3.Error) and "more than 100,000 steps" in blamed[0]
    monkeypatch.setattr(distrust, "BYTES", 2**20)
    (answer,), blamed, _ = read(file, Store.decisions)
    assert isinstance(answer, sqlite3.Error) and "more than 1,048,576 bytes" in blamed[0]


def test_a_file_that_is_kept_locked_does_not_hold_up_its_reader(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        answers, blamed, seconds = read(file, *[Store.position] * 100)
    assert all(isinstance(one, sqlite3.OperationalError) for one in answers) and not blamed and seconds < 0.5


READS = """
import contextlib, pathlib, sqlite3, sys
from headrace.services.learning.store import Store
with contextlib.closing(Store(pathlib.Path(sys.argv[1]), blame=print)) as store:
    with contextlib.suppress(sqlite3.Error):
        store.position()
    print(pathlib.Path("/proc/self/maps").read_text().count("-shm"))
"""


def test_no_memory_is_shared_with_a_writer_that_keeps_a_write_ahead_log(file: Path) -> None:
    change(file, "PRAGMA journal_mode=WAL")
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('a', 1)")
        assert file.with_name(file.name + "-shm").exists()
        found = subprocess.run([sys.executable, "-c", READS, file], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0"


def test_a_hot_journal_is_not_played_back(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("another's")
    journal = file.with_name(file.name + "-journal")
    name = str(victim).encode()
    head = bytes.fromhex("d9d505f920a163d7") + bytes(4) + bytes(4) + (1).to_bytes(4, "big") + (512).to_bytes(4, "big")
    head += (4096).to_bytes(4, "big")
    tail = (1).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + (sum(name)).to_bytes(4, "big")
    journal.write_bytes(head.ljust(512, b"\0") + tail + bytes.fromhex("d9d505f920a163d7"))
    before = journal.read_bytes()
    read(file, Store.position)
    assert victim.exists() and journal.read_bytes() == before


def test_the_observers_file_is_read_so_too(tmp_path: Path) -> None:
    path = tmp_path / "observer.db"
    change(path, f"CREATE VIEW progress(one, position, epoch) AS {ENDLESS} SELECT 1, i, 1 FROM n WHERE i < 0")
    understood = Understood(path, lambda file: distrust.reading(file, OBSERVED))
    begin = time.monotonic()
    assert [understood.position() for _ in range(50)] == [0] * 50 and time.monotonic() - begin < 2
    understood.write("UPDATE quarantine SET replayed = 1")  # by its own observer alone
    understood.close()
