"""What every log must do. ``make(path)`` opens one on a directory; a durable log opened again there has all it had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.records import Entry
from headrace.streams.logs import Log


async def check_log(make: Callable[[Path], Log], path: Path, *, durable: bool) -> None:
    """Raises AssertionError with what went wrong.

    Args:
        path: an empty directory.
        durable: whether what was appended outlives `aclose`.
    """
    log = make(path)
    await _order(log)
    await _filters(log)
    await _done(log)
    await _content(log)
    end = log.end()
    before = log.read(0, 10_000)
    if durable:
        await log.aclose()
        log = make(path)
        assert log.end() == end, "the end moved over a restart"
        assert log.read(0, 10_000) == before, "the records changed over a restart"
        await log.append([Entry("a", b"after")])
        assert log.last("a", 1)[0].offset == [r for r in before if r.stream == "a"][-1].offset + 1, (
            "offsets started anew"
        )
    await _trim(log)
    await log.aclose()
    log.close()  # twice is fine


async def _order(log: Log) -> None:
    assert log.end() == 0 and log.start() == 0 and log.read(0, 10) == [], "a new log is not empty"
    await log.append([Entry("a", b"1"), Entry("b", b"2"), Entry("a", b"3", key="k", headers=b"{}", time=7)])
    records = log.read(0, 10)
    assert [r.position for r in records] == [1, 2, 3], "positions are not 1, 2, 3"
    assert [(r.stream, r.offset) for r in records] == [("a", 0), ("b", 0), ("a", 1)], "offsets are not dense per stream"
    assert (records[2].key, records[2].headers, records[2].time) == ("k", b"{}", 7), "an entry's fields changed"
    assert len({r.received for r in records}) == 3, "two records have the same receive time"
    assert log.end() == 3 and log.start() == 1, "start and end are wrong"


async def _filters(log: Log) -> None:
    await log.append([Entry("a" if n % 3 else "c", str(n).encode()) for n in range(30)])
    assert all(r.stream == "c" for r in log.read(0, 100, ["c"])), "read ignored its streams"
    assert len(log.read(0, 100, ["c"])) == 10, "read lost records of a stream"
    assert log.read(0, 100, ["unknown"]) == [], "an unknown stream has records"
    assert [r.payload for r in log.last("c", 2)] == [b"24", b"27"], "last is not the newest, oldest first"
    assert [r.payload for r in log.last("c", 9, 5)] == [b"24", b"27"], "last gave more bytes than it may"
    assert [r.payload for r in log.last("c", 9, 1)] == [b"27"], "last gave nothing, for the newest is long"
    assert [r.offset for r in log.at("c", 0, 4, 3)] == [4, 5, 6], "at does not start at the offset"
    assert [r.position for r in log.read(5, 3)] == [6, 7, 8], "read does not start after the position"
    assert log.messages(0, 3) is None, "messages left out what a door told"
    assert log.messages(log.end(), 10) == (log.end(), [], [], [], []), "there are messages after the end"
    found, records = log.messages(3, 7), log.read(3, 7)
    assert found is not None and found.last == records[-1].position, "messages does not end where read does"
    assert found.distinct == list(dict.fromkeys(r.stream for r in records)), "messages does not name each topic once"
    columns = [(r.stream, r.received, r.payload) for r in records]
    assert list(zip(found.topics, found.received, found.payloads, strict=True)) == columns, (
        "messages are not the records"
    )


async def _done(log: Log) -> None:
    """`done` is called once per submit, in order, after the records can be read."""
    seen: list[Any] = []
    for n in range(5):
        log.submit([Entry("d", str(n).encode())], lambda error, n=n: seen.append((n, error, len(log.last("d", 10)))))  # type: ignore[misc]
    await log.append([Entry("d", b"last")])
    assert [n for n, _, _ in seen] == [0, 1, 2, 3, 4], "done was not called once each, in order"
    assert all(error is None for _, error, _ in seen), "done got an error"
    assert all(count > n for n, _, count in seen), "done was called before its records could be read"


async def _content(log: Log) -> None:
    """Content never makes a commit fail."""
    odd = [b"", b"\0" * 1000, bytes(range(256)), b"x" * 1_000_000]
    names = ["", "ü/日本", "a'b\"c", "x" * 1000, "$headrace/control"]
    await log.append([Entry(name, payload) for name in names for payload in odd])
    for name in names:
        assert [r.payload for r in log.last(name, 10)][-4:] == odd, f"payloads of stream {name[:20]!r} changed"


async def _trim(log: Log) -> None:
    end = log.end()
    removed = await log.trim(10)
    assert removed == 9 and log.start() == 10, "trim did not delete what is before a position"
    assert log.read(0, 1)[0].position == 10, "trimmed records are still read"
    assert await log.trim(end + 100) > 0 and log.end() == end, "trim lost the place of the end"
    await log.append([Entry("b", b"new")])
    newest = log.last("b", 1)[0]
    assert newest.position == end + 1 and newest.offset == 1, "places were used again after trim"
