"""Datasets of a part of a stream: the raw records, their root, and the table made of them."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import msgspec
import pytest

from headrace.assets import Dataset
from headrace.errors import BadInput, Forbidden, UnknownTopic
from headrace.merkle import records_root
from headrace.records import Entry
from headrace.services.sharing import streams
from headrace.services.sharing.requests import FromStream
from headrace.services.sharing.service import SharingService
from headrace.streams.logs import LogReader
from headrace.streams.logs.memory import MemoryLog
from tests.hub import ACME, BOLT, Inspector, grant, opened, person, read

DAY = 1_700_000_000_000
"""Event times below are this many ms and a few seconds."""


def _reading(seconds: int, **fields: object) -> bytes:
    return json.dumps({"time": (DAY + seconds * 1000) / 1000, **fields}).encode()


async def _log() -> MemoryLog:
    log = MemoryLog(clock=lambda: (DAY + 10_000_000) * 1_000_000)
    await log.append([Entry("roof/inv", _reading(n, power=float(n))) for n in range(5)])
    await log.append([Entry("other", _reading(2, power=-1.0)), Entry("roof/inv", b"\xff not readable")])
    await log.append([Entry("roof/inv", _reading(1, power=1.5, state="late", on=True, device="b"))])
    return log


def _streams(log: LogReader) -> streams.Streams:
    return lambda company: log if company == "acme" else MemoryLog()


def _new(first: int, last: int, topic: str = "roof/inv") -> FromStream:
    return FromStream(topic=topic, from_ms=DAY + first * 1000, to_ms=DAY + last * 1000, name="roof")


async def _raw(hub: SharingService, made: Dataset) -> list[bytes]:
    found = await hub.contents.open(ACME, made.id, role="raw")
    return b"".join([chunk async for chunk in hub.contents.read(found)]).splitlines()


async def test_the_records_of_an_event_time_range_in_log_order(tmp_path: Path) -> None:
    log = await _log()
    async with opened(tmp_path, streams=_streams(log)) as hub:
        made = await hub.streams.make(ACME, _new(1, 3))
        assert made.stream is not None and made.filename == "roof-inv.csv"
        assert (made.stream.first_position, made.stream.last_position, made.stream.records) == (2, 8, 3)
        rows = list(csv.reader((await read(hub, ACME, made.id)).decode().splitlines()))
        first = [str((DAY + 1000) * 1_000_000), "roof/inv", "", "1.0", ""]
        assert rows[0] == ["time_ns", "device", "on", "power", "state"]
        assert rows[1] == first and rows[3][1:] == ["b", "1", "1.5", "late"]
        lines = await _raw(hub, made)
        assert records_root(lines) == made.stream.root
        decoded = [msgspec.json.decode(line, type=streams.Line) for line in lines]
        assert [(one.position, one.payload) for one in decoded] == [
            (record.position, record.payload) for record in log.read(0, 100) if record.position in {2, 3, 8}
        ]


async def test_the_same_range_again_is_the_same_content(tmp_path: Path) -> None:
    log = await _log()
    async with opened(tmp_path, streams=_streams(log)) as hub:
        first, second = [await hub.streams.make(ACME, _new(0, 9)) for _ in range(2)]
        assert first.stream == second.stream and first.stored == second.stored
        await log.append([Entry("roof/inv", _reading(3, power=9.0))])  # late: another dataset, and it shows
        third = await hub.streams.make(ACME, _new(0, 9))
        assert (
            first.stream and third.stream and third.stream.last_position == 9 and third.stream.root != first.stream.root
        )


async def test_long_ranges_go_through_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, blocks = MemoryLog(), []
    await log.append([Entry("roof/inv", _reading(n, power=float(n))) for n in range(2500)])
    whole = log.read

    def counted(after: int, limit: int, topics: object = None) -> list[object]:
        found = whole(after, limit, topics)  # type: ignore[arg-type]
        blocks.append(len(found))
        return found  # type: ignore[return-value]

    monkeypatch.setattr(log, "read", counted)
    async with opened(tmp_path, streams=_streams(log)) as hub:
        made = await hub.streams.make(ACME, _new(0, 5000))
        assert made.stream and made.stream.records == 2500 and max(blocks) == streams.BLOCK
        assert not list((tmp_path / "scratch").iterdir())


async def test_a_stream_of_another_company_is_unknown(tmp_path: Path) -> None:
    async with opened(tmp_path, streams=_streams(await _log())) as hub:
        with pytest.raises(UnknownTopic):
            await hub.streams.make(BOLT, _new(0, 9))
        with pytest.raises(UnknownTopic):
            await hub.streams.make(ACME, _new(0, 9, "$headrace/control"))
        with pytest.raises(BadInput, match="wildcards are not supported"):
            await hub.streams.make(ACME, _new(0, 9, "roof/#"))
        with pytest.raises(BadInput, match=r"no reading .* from \d{4}-\d\d-\d\dT\S+Z to"):
            await hub.streams.make(ACME, _new(100, 200))
        with pytest.raises(BadInput, match="ends"):
            await hub.streams.make(ACME, _new(5, 5))
        with pytest.raises(Forbidden):
            await hub.streams.make(person("acme", "viewer"), _new(0, 9))
        assert await hub.artifacts.list("acme") == []


async def test_its_lineage_begins_with_the_stream_whose_topic_is_the_owners(tmp_path: Path) -> None:
    async with opened(tmp_path, streams=_streams(await _log()), inspect=Inspector(samples=3)) as hub:
        made, twin = await hub.streams.make(ACME, _new(0, 9)), await hub.streams.make(ACME, _new(0, 2))
        await hub.settled()
        seen = await hub.lineage(ACME, made.id)
        (stream,) = [node for node in seen.nodes if node.kind == "stream"]
        assert (stream.name, seen.edges) == ("roof/inv", [(stream.id, made.id)]) and "roof" not in stream.id
        assert (stream.id, twin.id) in (await hub.lineage(ACME, twin.id)).edges
        await grant(hub, ACME, made.id, "bolt", "read")
        theirs = {node.id: node.name for node in (await hub.lineage(BOLT, made.id)).nodes}
        assert theirs == {"hidden_1": "", made.id: "roof"}
        await hub.removing.delete(ACME, twin.id)
        assert await read(hub, ACME, made.id)


async def test_one_who_goes_away_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, streams=_streams(await _log())) as hub:
        begun = asyncio.Event()
        write = hub.artifacts.receive

        async def slow(*args: object) -> object:
            begun.set()
            await asyncio.sleep(30)
            return await write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(hub.artifacts, "receive", slow)
        task = asyncio.create_task(hub.streams.make(ACME, _new(0, 9)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not list((tmp_path / "scratch").iterdir()) and await hub.artifacts.list("acme") == []
