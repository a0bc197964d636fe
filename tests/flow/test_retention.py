"""Old records go, by age and by size, but never before every learner has passed them; nobody notices but the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from headrace.records import Entry
from headrace.services.gateway.service import GatewayService
from headrace.streams.logs import open_reader
from headrace.streams.logs.sqlite import SqliteLog
from tests import sun
from tests.flow.test_bad_input import publish, wait_for
from tests.flow.test_crash import result
from tests.running import Up

SECOND = 10**9


class Clock:
    """Receive times that a test sets."""

    def __init__(self) -> None:
        self.now = sun.START

    def __call__(self) -> int:
        return self.now


async def filled(path: Path, clock: Clock, count: int = 1000) -> SqliteLog:
    """One record a second, 1 kB each."""
    log = SqliteLog(path, clock=clock)
    for number in range(count):
        clock.now = sun.START + number * SECOND
        log.submit([Entry("a" if number % 2 else "b", b"x" * 1000)], lambda error: None)
        if number % 20 == 0:
            await log.append([])
    await log.append([])
    return log


def service(log: SqliteLog, path: Path, slowest: int, **limits: float) -> GatewayService:
    return GatewayService(log, path, lambda: slowest, **limits)


@pytest.mark.parametrize("slowest", [0, 1, 400, 10**9])
async def test_by_age_and_never_past_the_slowest_learner(tmp_path: Path, slowest: int) -> None:
    log = SqliteLog(tmp_path, clock=(clock := Clock()))
    for number in range(1000):
        clock.now = sun.START + number * SECOND
        await log.append([Entry("a" if number % 2 else "b", b"x")])
    gone = await service(log, tmp_path, slowest, age=250).retain(clock.now)
    expected = min(750, max(0, slowest - 1))
    assert gone == pytest.approx(expected, abs=2)
    assert log.start() == 1 + gone and log.end() == 1000
    assert slowest == 0 or log.start() <= max(1, slowest), "what the slowest has not passed is there"
    first = log.at("a", 0, 0, 1)[0]
    assert first.offset == (first.position - 2) // 2, "offsets stay what they were"
    await log.aclose()


async def test_by_size_and_the_space_is_used_again(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    entries = [Entry("a", b"x" * 1000) for _ in range(500)]
    for _ in range(8):
        await log.append(entries)
    gateway = service(log, tmp_path, 10**9, size=1_000_000)
    assert log.size() > 4_000_000
    await gateway.retain(time.time_ns())
    assert 500_000 < log.size() < 1_100_000
    before = (tmp_path / "log.db").stat().st_size
    for _ in range(4):
        await log.append(entries)
        await gateway.retain(time.time_ns())
    assert (tmp_path / "log.db").stat().st_size <= before * 1.05
    assert log.end() == 6000, "positions go on"
    await log.aclose()


async def test_everything_is_old(tmp_path: Path) -> None:
    """The newest record stays: positions and offsets are counted from it after a restart."""
    log = SqliteLog(tmp_path, clock=Clock())
    await log.append([Entry("a", b"x")] * 10)
    await service(log, tmp_path, 10**9, age=1).retain(time.time_ns())
    assert (log.start(), log.end()) == (10, 10)
    await log.aclose()
    log = SqliteLog(tmp_path)
    await log.append([Entry("a", b"y"), Entry("b", b"z")])
    assert [(r.position, r.stream, r.offset) for r in log.read(10, 10)] == [(11, "a", 10), (12, "b", 0)]
    await log.aclose()


def trimmed(data: Path) -> int:
    """Position of the first record that is left."""
    log = open_reader(data)
    start = log.start()
    log.close()
    return start


def test_a_platform_that_forgets_its_input_keeps_what_it_learnt(tmp_path: Path) -> None:
    """Trimmed, restarted, and gone on: the same results as a platform that kept everything."""
    messages, data = sun.messages(14), tmp_path / "data"
    cut = len(messages) * 11 // 14
    with Up(tmp_path / "whole") as up:
        assert up.apply(sun.spec()).is_success
        publish(up, messages)
        up.caught_up()
        assert up.stop() == 0
    with Up(data) as up:
        assert up.apply(sun.spec()).is_success
        publish(up, messages[:cut])
        up.caught_up()
        assert up.stop() == 0
    with Up(data, "--retention-gb", "0.0001") as up:  # looks at once, and each minute
        wait_for(lambda: trimmed(data) > 100)
        assert [model["name"] for model in up.overview()["models"]] == ["sun"]
        publish(up, messages[cut:])
        up.caught_up()
        new = sun.spec("new")
        assert up.apply(new).is_success
        up.caught_up()
        left = up.call("GET", "/api/models/new").json()
        kept = trimmed(data)
        assert up.overview()["topics"][0]["messages"] == len(messages)
        assert up.stop() == 0
    assert result(data)["sun"] == result(tmp_path / "whole")["sun"]
    assert kept > 100 and len(left["actual"]) < 24 * 14, "the new model learns from what is left"


def test_state_lost_after_the_input_went(tmp_path: Path) -> None:
    """What cannot be rebuilt is learnt anew from what is left, and forecasts are published again."""
    import shutil

    messages, data = sun.messages(30), tmp_path / "data"
    with Up(data) as up:
        assert up.apply(sun.spec()).is_success
        publish(up, messages)
        up.caught_up()
        many = len(up.call("GET", "/api/models/sun?days=100").json()["forecasts"])
        assert up.stop() == 0
    with Up(data, "--retention-gb", "0.0003") as up:
        wait_for(lambda: trimmed(data) > 100)
        assert up.stop() == 0
    shutil.rmtree(data / "state")
    with Up(data, "--retention-gb", "0") as up:
        wait_for(lambda: up.call("POST", "/v2/models/sun/infer", json={}).is_success)
        up.caught_up()
        few = len(up.call("GET", "/api/models/sun?days=100").json()["forecasts"])
        assert 0 < few < many
        wait_for(
            lambda: 'headrace_mqtt{what="published"} 1.0' in up.call("GET", "/metrics").text
        )  # for who subscribes now
        publish(
            up,
            [
                (sun.TOPIC, sun.payload(time_, value))
                for time_, value in sun.readings(32)
                if time_ >= sun.START + 30 * 86_400 * SECOND
            ],
        )
        up.caught_up()
        wait_for(lambda: "headrace_forecasts_published 2.0" in up.call("GET", "/metrics").text)
        assert up.stop() == 0
