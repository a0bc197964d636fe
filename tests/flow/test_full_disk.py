"""A full disk: nothing is acknowledged that is not stored, what was learnt goes on answering, and space is all it takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StorageUnavailable
from headrace.records import Entry
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.observer import Observer
from headrace.services.learning.registry import Registry, apply_entry
from headrace.spec import parse
from headrace.streams.logs import open_reader
from headrace.streams.logs.memory import MemoryLog
from headrace.streams.logs.sqlite import SqliteLog
from tests import sun
from tests.flow.test_bad_input import mqtt, publish
from tests.flow.test_crash import Publisher, result
from tests.running import Up

SIZE = 24
SPECS = sun.spec() + "---" + sun.STREAM_SPEC


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here: run as root, with CAP_SYS_ADMIN")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


def clean_run(path: Path, messages: list[tuple[str, bytes]]) -> dict[str, Any]:
    with Up(path) as up:
        assert up.apply(SPECS).is_success
        publish(up, messages)
        up.caught_up()
        assert up.stop() == 0
    return result(path)


def test_a_full_disk_from_the_first_refusal_to_the_last_message(disk: Path, tmp_path: Path) -> None:
    messages = sun.messages(14)
    third, half = len(messages) * 10 // 14, len(messages) * 12 // 14
    with Up(disk / "data", stderr=tmp_path / "stderr") as up:
        assert up.apply(SPECS).is_success
        publish(up, messages[:third])
        up.caught_up()
        while up.call("POST", "/v1/models/sun:predict", json={"instances": [[1.0] * 200]}).status_code == 503:
            time.sleep(0.1)  # until what was learnt is saved
        (worker,) = up.workers()
        os.kill(worker.pid, signal.SIGSTOP)  # so that it has something to write when there is no room for it
        publish(up, messages[third:half])
        ballast = fill(disk)
        os.kill(worker.pid, signal.SIGCONT)
        refused(up)
        late = Publisher(up.mqtt[1], messages[half:], 0)
        late.start()
        time.sleep(3)
        assert late.is_alive() and late.acknowledged == 0
        answers(up)
        assert [one.pid for one in up.workers()] == [worker.pid]
        assert len(up.errors().splitlines()) < 10 and "Traceback" not in up.errors(), up.errors()
        ballast.unlink()
        late.join(30)
        assert late.acknowledged == len(messages) - half
        up.caught_up()
        assert [one.pid for one in up.workers()] == [worker.pid]
        assert up.call("POST", "/ingest/a", content=b"1").is_success
        assert up.stop() == 0
    stored(disk / "data", messages)
    assert result(disk / "data") == clean_run(tmp_path / "clean", messages)


def refused(up: Up) -> None:
    """No PUBACK and no 2xx."""
    with mqtt(up, "full") as client:
        client.sendall(b"\x32\x07\0\2ab\0\1x")
        assert client.recv(10) == b""
    big = b'{"power": 1, "note": "' + b"x" * 10_000 + b'"}'
    for path in ("/ingest/a", "/api/v2/write?bucket=b"):
        answer = up.call("POST", path, content=big)
        assert answer.status_code == 507
        assert "Nothing was stored" in answer.json()["error"] and "Free space" in answer.json()["error"]
    assert up.apply(sun.spec("other")).status_code == 507
    learn = up.call("POST", "/v2/models/sun/learn", json={"parameters": {"key": "plant/one"}})
    assert learn.status_code == 507


def answers(up: Up) -> None:
    """What needs no space."""
    answer = up.call("POST", "/v2/models/sun/infer", json={})
    assert answer.is_success, answer.text
    assert up.call("GET", "/", headers={"accept": "text/html"}).is_success
    assert up.call("GET", "/metrics").is_success
    assert up.call("GET", "/api/models/sun").json()["forecasts"]
    states = {model["name"]: model["state"] for model in up.overview()["models"]}
    assert states == {"sun": "live", "next": "live"}


def stored(data: Path, messages: list[tuple[str, bytes]]) -> None:
    """Every acknowledged message is there, in order, without a gap."""
    log = open_reader(data)
    records = log.read(0, 10**9)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert list(dict.fromkeys(r.payload for r in records if r.stream == sun.TOPIC)) == [data for _, data in messages]
    log.close()


def test_start_stop_and_kill_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    data, messages = disk / "data", sun.messages(11)
    up = Up(data, stderr=tmp_path / "stderr")
    assert up.apply(SPECS).is_success
    publish(up, messages)
    up.caught_up()
    ballast = fill(disk)
    assert up.stop() == 0
    for end in ("stop", "kill"):
        try:
            up = Up(data, stderr=tmp_path / "stderr")
        except RuntimeError as error:  # not even the log can be opened: a sentence, not a trace
            assert "Free space" in str(error) and "Traceback" not in str(error), error
            continue
        answers(up)
        assert up.stop() == 0 if end == "stop" else up.kill() is None
    ballast.unlink()
    with Up(data, stderr=tmp_path / "stderr") as up:
        up.caught_up()
        answers(up)
        publish(up, [("a/b", b"1")])
        assert up.stop() == 0


def test_a_registry_that_cannot_be_written_follows_later(tmp_path: Path) -> None:
    log, registry = MemoryLog(), Registry(tmp_path)
    documents = parse("---".join(sun.spec(f"m{n}", f"{{rls: {{floor: {n}}}}}") for n in range(30)))
    log.submit([apply_entry([document], {}) for document in documents], lambda error: None)
    pages = registry._db.execute("PRAGMA page_count").fetchone()[0]
    registry._db.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            registry.fold(log)
    assert registry.position == 0
    registry._db.execute("PRAGMA max_page_count = 10000")
    assert registry.fold(log) and len(registry.models) == 30 and registry.position == 30
    registry.close()
    again = Registry(tmp_path)
    assert len(again.models) == 30 and again.position == 30
    again.close()


# -- the same without a file system of its own


async def test_the_log_refuses_and_recovers(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.append([Entry("a", b"first")])
    (pages,) = log._writer.execute("PRAGMA page_count").fetchone()
    log._writer.execute(f"PRAGMA max_page_count = {pages}")
    big = Entry("b", b"x" * 100_000)
    for _ in range(3):
        results = await asyncio.gather(*(log.append([big]) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, StorageUnavailable) for one in results)
        assert log.end() == 1
    log._writer.execute("PRAGMA max_page_count = 1000000")
    await log.append([big, Entry("a", b"second")])
    found = log.read(0, 10)
    assert [(one.position, one.stream, one.offset) for one in found] == [(1, "a", 0), (2, "b", 0), (3, "a", 1)]
    await log.aclose()


async def test_an_entry_that_cannot_be_stored_fails_alone_and_the_log_goes_on(tmp_path: Path) -> None:
    """A time that does not fit 64 bits used to leave the log waiting for ever."""
    log = SqliteLog(tmp_path)
    with pytest.raises(StorageUnavailable):
        await log.append([Entry("a", b"x", time=10**30)])
    await log.append([Entry("a", b"y")])
    assert [(one.position, one.offset, one.payload) for one in log.read(0, 10)] == [(1, 0, b"y")]
    await log.aclose()


async def test_a_learner_owes_what_it_could_not_write(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log")
    await log.append(sun.entries(9))
    reader = DecodedLog(log)
    learner = sun.learner(tmp_path / "a.db", sun.spec())
    db = learner.store._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            while learner.step(reader):
                pass
            learner.checkpoint(export=True)
    assert not learner.failed and learner.store.position() == 0
    db.execute("PRAGMA max_page_count = 1000000")
    while learner.step(reader):
        pass
    learner.checkpoint(export=True)
    calm = sun.learner(tmp_path / "b.db", sun.spec())
    while calm.step(reader):
        pass
    calm.checkpoint(export=True)
    assert learner.store.predictions(0, 10**6) == calm.store.predictions(0, 10**6)
    assert learner.store.actuals("plant/one", 0) == calm.store.actuals("plant/one", 0)
    assert learner.store.servable("plant/one", "live") == calm.store.servable("plant/one", "live")
    await log.aclose()


async def test_an_observer_counts_right_after_a_full_disk(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.append([Entry(f"t/{n}", b"{" if n % 3 else b'{"x": 1}') for n in range(3000)])
    (tmp_path / "state").mkdir()
    reader, observer = DecodedLog(log), Observer(tmp_path, [])
    db = observer._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with contextlib.suppress(sqlite3.OperationalError):  # or only below, when it is quick
        while observer.step(reader):
            pass
    with pytest.raises(sqlite3.OperationalError, match="full"):
        observer.write()
    db.execute("PRAGMA max_page_count = 1000000")
    while observer.step(reader):
        pass
    observer.write()
    assert db.execute("SELECT COUNT(*), SUM(messages), SUM(quarantined) FROM topics").fetchone() == (3000, 3000, 2000)
    observer.close()
    await log.aclose()
