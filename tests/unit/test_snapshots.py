"""Lines and roots of a log, and the book of what is to be told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import CorruptState
from headrace.merkle import Root, leaf, named, records_root
from headrace.records import Entry, Record
from headrace.services.learning.decoded import Pieces
from headrace.services.learning.snapshots import FILE, Book, Gap, Prefix, Published, Told
from headrace.spec import Plug
from headrace.streams.logs import LogReader
from headrace.streams.logs.lines import line, record_leaf
from headrace.streams.logs.memory import MemoryLog
from headrace.streams.logs.sqlite import SqliteLog

ENTRIES = [
    Entry("plant/ü", b'{"w":1}', "a", b'{"id":"7"}', 5),
    Entry("$headrace/control", b"{}"),
    Entry("x", bytes(range(256)), "b"),
]
TOLD = Told("pv", 3, "sha256:s", ["plant/#"], "", "rls", [1, 2], [3])
ONE = Published(TOLD, "k", 1_000_000, "sha256:w", "first", None, 0.5, 2)


def records(count: int, first: int = 1) -> list[Record]:
    return [Record(at, "t", 0, at - 1, "", at, 0, b"", b"%d" % at) for at in range(first, first + count)]


async def test_the_same_records_have_the_same_root_in_every_log(tmp_path: Path) -> None:
    made: list[Callable[[], Any]] = [
        lambda: MemoryLog(partitions=4, clock=lambda: 1000),
        lambda: SqliteLog(tmp_path, partitions=4, clock=lambda: 1000),
    ]
    roots = []
    for make in made:
        log = make()
        await log.append(ENTRIES)
        prefix = Prefix(1, 0)
        prefix.take(log.read(0, 10))
        roots.append(prefix.root.value())
        assert named(prefix.root.value()) == records_root(map(line, log.read(0, 10)))
        await log.aclose()
    assert roots[0] == roots[1]


@pytest.mark.parametrize("field", Record._fields)
def test_no_field_of_a_record_is_left_out(field: str) -> None:
    one = Record(1, "t", 0, 0, "k", 5, 6, b"{}", b"payload")
    other = {int: 99, str: "other", bytes: b"other"}[type(getattr(one, field))]
    assert record_leaf(one._replace(**{field: other})) != record_leaf(one)
    told = json.loads(line(one))
    assert list(told) == ["position", "topic", "partition", "offset", "key", "received", "time", "headers", "payload"]


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_root_goes_on_from_its_state(before: int, after: int) -> None:
    hashes = [leaf(b"%d" % number) for number in range(before + after)]
    whole, half = Root(), Root()
    for one in hashes:
        whole.push(one)
    for one in hashes[:before]:
        half.push(one)
    rest = Root.of(*half.state())
    for one in hashes[before:]:
        rest.push(one)
    assert (rest.value(), rest.state()) == (whole.value(), whole.state())
    with pytest.raises(CorruptState):
        Root.of(before + 1, half.state()[1] + b"x")


def test_missing_records_are_not_passed_over() -> None:
    prefix = Prefix(1, 0)
    prefix.take(records(3))
    with pytest.raises(Gap, match="kept from position 9 on, and was hashed up to 3"):
        prefix.take(records(2, 9))
    prefix.take(records(1, 4))
    assert (prefix.position, prefix.root.count) == (4, 4)


def test_the_book_is_opened_again_as_it_was(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.enter(TOLD)
    book.began(TOLD, 1)
    book.take(TOLD, 7, 1, 12, [ONE, ONE])
    prefix = book.prefix(1)
    prefix.take(records(5))
    book.save(prefix)
    first, second = book.due(10)
    book.seal(prefix, [(first.number, prefix.seal(first.published, "sha256:e"))])
    book.done(second.number)
    book.close()
    again = Book(tmp_path)
    [due] = again.due(10)
    assert due.sealed is not None and (due.sealed.records, due.sealed.last_position) == (5, 5)
    assert due.sealed.root == records_root(map(line, records(5)))
    assert (again.cursor(TOLD, 7), again.cursor(TOLD, 8)) == (12, 0), "another file is read from its beginning"
    assert again.prefix(1).root.state() == prefix.root.state() and again.needed() == [1]
    assert again.learned_in(TOLD, "a") == ["a"] and again.learned_in(TOLD, "b") == ["a", "b"]
    again.leave("pv", 3)
    again.forget()
    assert again.needed() == [] and again.prefix(1).position == 0 and again.told("pv", 3) is None
    again.close()


def test_a_damaged_book_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    book = Book(tmp_path)
    assert book.due(1) == []
    book.close()
    assert "is told again" in capsys.readouterr().err


@pytest.mark.parametrize("trimmed", [1, 40])
def test_pieces_end_where_they_are_told(trimmed: int) -> None:
    log: Any = MemoryLog()
    asyncio.run(log.append([Entry("t", b"{}") for _ in range(100)]))
    asyncio.run(log.trim(trimmed))
    reader: LogReader = log
    pieces, at, seen = Pieces(reader, 16, 60), 0, 0
    while block := pieces.block(at, Plug(name="auto")):
        at, seen = block.last, seen + len(block.items)
    assert (at, seen) == (60, 61 - trimmed)
