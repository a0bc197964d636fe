"""From a worker's store to a subscriber: predictions are stored by the run, each has its id, each is published, in order."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from headrace.records import Entry
from headrace.services.gateway.mqtt import wire
from headrace.services.learning.runs import lines, packed, rendered
from headrace.services.learning.service import LearningService
from headrace.services.learning.store import Run, Store
from headrace.services.learning.worker import Event
from headrace.spec import parse
from headrace.streams.logs import sqlite as sqlite_log
from headrace.streams.logs.sqlite import SqliteLog
from mqtt_support import Client, connect, opened, subscribe
from tests import sun

ROWS = 40


def bodies(first: int, size: int, key: str = "k") -> list[bytes]:
    stamps = np.arange(first, first + size) * 1000
    return rendered("m", key, f"p{key}", first, stamps, np.full(size, 0.5)).split(b"\n")


def writer(path: Path) -> Store:
    store = Store(path, writer=True)
    store.claim()
    return store


def add(store: Store, first: int, size: int, key: str = "k") -> Run | None:
    with store.writing():
        return store.add_stream(
            "m", key, first, f"p{key}", 0, np.arange(first, first + size) * 10**9, np.full(size, 0.5)
        )


# -- the store


def test_a_packed_run_says_what_a_body_of_each_would_say(tmp_path: Path) -> None:
    values = np.array([0.1, -0.0, 5e-324, 1e16, 1.7976931348623157e308, 123456789.123456789, 3.0])
    times = np.arange(len(values)) * 10**9 + 999_999
    wanted = [
        {"id": f"p-{41 + n}", "model": 'm "1"', "key": "k,é", "origin_ms": 1000 * n, "step_ms": 0, "values": [value]}
        | {"by": "live"}
        for n, value in enumerate(values.tolist())
    ]
    stored = packed('m "1"', "k,é", "p", 41, times, values)
    for part in (slice(None), slice(3, None), slice(-1, None), slice(2, 3), slice(9, 10), slice(7, None)):
        assert [json.loads(line) for line in lines(stored, part.start, part.stop)] == wanted[part]
        assert lines(b"\n".join(lines(stored)), part.start, part.stop) == lines(stored, part.start, part.stop)
    store = writer(tmp_path / "a.db")
    with store.writing():
        run = store.add_stream('m "1"', "k,é", 41, "p", 0, times, values)
    assert run == Run(7, "k,é", 7, b"\n".join(lines(stored)))
    assert [json.loads(body) for *_, body in store.predictions(0, 100)] == wanted


def test_what_is_computed_again_is_stored_once_however_it_is_cut(tmp_path: Path) -> None:
    store = writer(tmp_path / "a.db")
    assert add(store, 0, 10) == Run(10, "k", 10, b"\n".join(bodies(0, 10)))
    assert add(store, 3, 4) is None
    assert add(store, 8, 5) == Run(13, "k", 3, b"\n".join(bodies(10, 3))), "only what is new"
    assert add(store, 0, 2, "other") == Run(15, "other", 2, b"\n".join(bodies(0, 2, "other")))
    stored = store.predictions(0, 100)
    assert [number for number, *_ in stored] == list(range(1, 16))
    assert [body for *_, body in stored] == bodies(0, 13) + bodies(0, 2, "other")
    assert [body for *_, body in store.predictions(4, 2)] == bodies(4, 2), "from the middle of a run"
    assert store.last_number() == 15 and store.lanes() == ["k", "other"]


def test_a_prediction_is_found_by_its_id_while_it_is_kept(tmp_path: Path) -> None:
    store = writer(tmp_path / "a.db")
    for first in range(0, 30, 10):
        add(store, first, 10)
    with store.writing():
        store.add_run("k", 30, "a-single-one", 0, 0, [b'{"id":"a-single-one"}'])
    assert [store.prediction(f"pk-{n}") for n in range(30)] == [("k", body) for body in bodies(0, 30)]
    assert store.prediction("a-single-one") == ("k", b'{"id":"a-single-one"}')
    for unknown in ("pk", "pk-31", "pk--1", "pk-", "-", "", "px-1", "pk-" + "9" * 40, "pk-²", "a-single"):
        assert store.prediction(unknown) is None, unknown
    with store.writing():
        store.keep_predictions(11)
    assert store.prediction("pk-19") is None and store.prediction("pk-20") is not None


def test_the_newest_and_the_last_thousand(tmp_path: Path) -> None:
    store = writer(tmp_path / "a.db")
    assert store.latest() is None and store.forecasts("k", 0) == []
    for first in range(0, 1500, 300):
        add(store, first, 300)
    add(store, 0, 1, "z")
    assert store.latest("k") == ("k", bodies(1499, 1)[0]) and store.latest() == ("z", bodies(0, 1, "z")[0])
    assert store.forecasts("k", 0) == bodies(500, 1000)


# -- the service


class Outputs:
    """What was published."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def __call__(self, topic: str, payloads: Sequence[bytes]) -> None:
        self.sent += [(topic, payload) for payload in payloads]


async def started(tmp_path: Path, outputs: Outputs) -> tuple[LearningService, Store]:
    """A service whose worker is this test."""
    service = LearningService(SqliteLog(tmp_path), tmp_path, outputs)

    async def nobody(*_: object) -> None:
        pass

    service._supervisor.assign = nobody  # type: ignore[method-assign]
    await service.__aenter__()
    await service.apply(parse(sun.STREAM_SPEC), {})
    return service, writer(service.view("next").path)


def said(service: LearningService, runs: list[Run] | None, **more: Any) -> None:
    event = Event(model="next", generation=service.view("next").entered.generation, position=9, runs=runs, **more)
    service._report("", msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event))


async def test_reports_are_published_at_once_and_the_store_fills_gaps(tmp_path: Path) -> None:
    outputs = Outputs()
    service, store = await started(tmp_path, outputs)
    runs = [run for first in range(0, 50, 10) if (run := add(store, first, 10))]
    said(service, runs[:1])
    assert [payload for _, payload in outputs.sent] == bodies(0, 10), "in the same turn of the loop"
    said(service, runs[:1])  # said twice, published once
    said(service, runs[3:4])  # two reports were lost with their worker
    said(service, runs[4:5])
    async with asyncio.timeout(5):
        while len(outputs.sent) < 50:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert outputs.sent == [("headrace/forecast/next/k", payload) for payload in bodies(0, 50)]
    assert service.published == 50
    add(store, 50, 5)
    said(service, None)  # too much for a report
    await asyncio.sleep(0.05)
    assert len(outputs.sent) == 55
    await service.__aexit__()
    again = Outputs()
    add(store, 55, 5)
    second = LearningService(SqliteLog(tmp_path), tmp_path, again)
    second._supervisor.assign = service._supervisor.assign  # type: ignore[method-assign]
    async with second, asyncio.timeout(5):
        while len(again.sent) < 5:
            await asyncio.sleep(0.01)
    assert [payload for _, payload in again.sent] == bodies(55, 5), "what was stored while the platform was down"


# -- the door


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
async def test_forecasts_arrive_in_order_and_the_last_is_retained(version: int, qos: int) -> None:
    async with opened() as door, await Client.open(door.port, connect(version=version), version) as client:
        await client.ask(subscribe("f/#", options=qos, version=version))
        door.core.publish("f/a", b"before")
        door.core.publish_forecasts("f/a", [b"%d" % n + b"x" * n for n in range(500)])
        door.core.publish("f/a", b"after")
        got = [await client.next() for _ in range(502)]
        wanted = [b"before", *(b"%d" % n + b"x" * n for n in range(500)), b"after"]
        assert [one.payload for one in got] == wanted
        assert {(one.qos, one.retain) for one in got} == {(qos, False)}
        late = await Client.open(door.port, connect("late", version), version)
        await late.ask(subscribe("f/a", options=qos, version=version))
        kept = await late.next()
        assert (kept.payload, kept.retain) == (b"499" + b"x" * 499, True)
        assert door.core.stats()["published"] == 502
        await late.close()


async def test_a_group_shares_forecasts_and_long_ones_are_left_out(tmp_path: Path) -> None:
    async with opened() as door:
        one, two = [await Client.open(door.port, connect(name)) for name in ("one", "two")]
        for client in (one, two):
            await client.ask(subscribe("$share/g/f", options=0))
        door.core.publish_forecasts("f", [b"%d" % n for n in range(20)])
        halves = [[(await client.next()).payload for _ in range(10)] for client in (one, two)]
        assert sorted(halves[0] + halves[1], key=int) == [b"%d" % n for n in range(20)]
        await one.close()
        await two.close()
    assert wire.write_publishes(0x30, b"\0\1f", [b"x" * 300, b"ok"], 100) == b"0\5\0\1fok"


async def test_a_slow_reader_of_forecasts_is_disconnected() -> None:
    async with opened(write_buffer=10_000, queue_messages=200) as door:
        client = await Client.open(door.port, connect("slow"))
        await client.ask(subscribe("a", options=0))
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(500):
            door.core.publish_forecasts("a", [b"x" * 1000] * 100)
            if door.core.stats()["slow_readers"]:
                break
            await asyncio.sleep(0)
        assert door.core.stats()["slow_readers"] == 1
        client.writer.transport.abort()


# -- the log


async def test_a_slow_disk_does_not_hold_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first slow commit may be on the loop's thread; those after it are on their own until the disk is fast again."""
    now, takes, threads = [0.0], 0.05, []  # by the clock that the log sees, a commit takes `takes` s
    commit = SqliteLog._commit

    def seen() -> float:
        now[0] += takes
        return now[0]

    def on(self: SqliteLog) -> None:
        threads.append(threading.current_thread().name)
        commit(self)

    monkeypatch.setattr(sqlite_log, "time", SimpleNamespace(perf_counter=seen, time_ns=time.time_ns))
    monkeypatch.setattr(SqliteLog, "_commit", on)
    log, loop, own = SqliteLog(tmp_path), threading.current_thread().name, "log-commit"
    for _ in range(4):
        await log.append([Entry("a", b"x")])
    assert threads == [loop, own, own, own]
    takes = 0.0
    wait = next(n for n in range(100) if 0.05 * 0.9**n < sqlite_log.QUICK)
    for _ in range(wait + 4):
        await log.append([Entry("a", b"x")])
    assert threads[4:] == [own] * wait + [loop] * 4, "back on the spot once the disk has been fast for a while"
    await log.append([Entry("a", b"x")] * (sqlite_log.SMALL + 1))
    assert threads[-1] == own, "a large commit takes long on any disk"
    assert log.end() == len(threads) - 1 + sqlite_log.SMALL + 1
    await log.aclose()


async def test_the_write_ahead_log_is_moved_before_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "_CHECKPOINT", 50)
    log = SqliteLog(tmp_path)
    for n in range(ROWS):
        await log.append([Entry("a", b"%d" % n)])
    await asyncio.sleep(0.05)
    assert log._pages < 50 and log.end() == ROWS
    assert (tmp_path / "log.db-wal").stat().st_size < 50 * 4120 * 2
    await log.aclose()
