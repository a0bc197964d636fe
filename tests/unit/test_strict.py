"""What a stranger's worker wrote or says is bounded before it is believed: runs, exported models, reports, locks, looks."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import distrust, states
from headrace.console.aside import Aside
from headrace.distrust import JOURNAL, Later
from headrace.errors import CorruptState, NotReady
from headrace.services.gateway.service import Understood
from headrace.services.learning import pace, patiently, runs, service, strict
from headrace.services.learning.learner import lane_servable, open_store
from headrace.services.learning.observer import SCHEMA as OBSERVED
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Applied, Entered
from headrace.services.learning.runs import packed
from headrace.services.learning.saying import Frames
from headrace.services.learning.store import Run, Store
from headrace.services.learning.view import RELOAD, View
from headrace.services.learning.worker import KEY, RUNS, TEXT, Event, sent_along
from headrace.spec import parse
from tests.flow.test_tenancy import SPEC

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
TIMES, VALUES = np.arange(3, dtype=np.int64) * 60_000_000_000, np.array([1.0, 2.5, 3.0])


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """A model of another company, whose worker has made a file."""
    (document,) = parse(SPEC)
    path = tmp_path / "state" / "room@1.db"
    with contextlib.closing(open_store(path, JOURNAL)) as store, store.writing():
        store.save(7, b"state")
        store.add_run("b", 0, "x", 1, 1, [b'{"id":"x","origin_ms":1}', b'{"id":"y","origin_ms":2}'])
        store.add_stream("room", "a", 0, "00ff", 1, TIMES, VALUES)
    made = View(Entered(Applied(document.plain), 1, ".", Plan(document.spec)), tmp_path, trusted=False)
    yield made
    made.close()
    distrust.forget(tmp_path)


def change(view: View, sql: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(view.path, isolation_level=None)) as db:
        db.execute(sql, values)


# -- runs


def test_honest_runs_are_read_as_ever(view: View) -> None:
    with contextlib.closing(Store(view.path)) as trusted:
        assert view.store is not None
        assert view.store.runs(0, 100) == trusted.runs(0, 100) and len(trusted.runs(0, 100)) == 2
        assert view.store.runs(3, 100) == trusted.runs(3, 100)
        assert view.store.latest() == trusted.latest() and view.store.latest("b") == trusted.latest("b")
        for identity in ("00ff-1", "x", "nobody"):
            assert view.store.prediction(identity) == trusted.prediction(identity)
        assert view.store.forecasts("a", 0) == trusted.forecasts("a", 0)
        assert not view.fault and view.last("b")["id"] == "y"


def row(model: str, key: str, prefix: str, first: int = 0, size: int = 3) -> bytes:
    return packed(model, key, prefix, first, TIMES[:size], VALUES[:size])


WRONG: dict[str, tuple[object, object, object]] = {
    "a long name, repeated by each line": ("a", 3, row("m" * 1_000_000, "a", "00ff")),
    "another model's": ("a", 3, row("hall", "a", "00ff")),
    "another key's": ("a", 3, row("room", "b", "00ff")),
    "ids that are more than ids": ("a", 3, row("room", "a", '","model":"x')),
    "long ids": ("a", 3, row("room", "a", "0" * 1000)),
    "another size than its row": ("a", 2, row("room", "a", "00ff")),
    "more than its size": ("a", 3, row("room", "a", "00ff") + b"more"),
    "less than its size": ("a", 3, row("room", "a", "00ff")[:-8]),
    "a size without end": ("a", 2**40, b"\0\0\0\0\x18" + msgspec.msgpack.encode(["room", "a", "00ff", 0, 2**40])),
    "no head": ("a", 3, b"\0\xff\xff\xff\xffx"),
    "more lines than predictions": ("a", 1, b"\n" * 1_000_000),
    "fewer lines": ("a", 9, b"{}\n{}"),
    "one endless line": ("a", 1, b"[" * (runs.BODY + 1)),
    "a size that is a text": ("a", "x" * 1000, b"{}"),
    "a key that is none": (b"a", 1, b"{}"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_run_that_is_not_the_models_own_is_not_rendered(view: View, what: str) -> None:
    key, size, stored = WRONG[what]
    change(view, "DELETE FROM runs")
    change(view, "INSERT INTO runs VALUES (9, ?, 0, ?, 'x', 1, 1, ?)", key, size, stored)
    assert view.store is not None
    begin = time.monotonic()
    with pytest.raises(sqlite3.DatabaseError, match="written by something else than Headrace"):
        view.store.runs(0, 100)
    assert view.fault and time.monotonic() - begin < 1
    with pytest.raises(NotReady, match="failed: its state was written by something else"):
        view.last("a")


def test_only_so_many_bytes_of_runs_are_read_at_a_time(view: View) -> None:
    change(view, "DELETE FROM runs")
    body = b"x" * (runs.BODY - 1)
    for number in range(1, 21):
        change(view, "INSERT INTO runs VALUES (?, 'a', ?, 1, 'x', 1, 1, ?)", number, number, body)
    assert view.store is not None
    assert [one.number for one in view.store.stored(0)] == list(range(1, 9))  # 8 MiB
    assert [one.number for one in view.store.runs(0, 100)] == list(range(1, 21))
    change(view, "INSERT INTO runs VALUES (21, 'a', 21, 40, 'x', 1, 1, zeroblob(70000000))")
    with pytest.raises(sqlite3.DatabaseError, match="a row has more than 67,108,864 bytes"):
        view.store.stored(20)


def test_a_long_run_is_published_in_slices(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SLICE", 2)
    store = view.store
    assert store is not None
    after, slices = 0, []
    while rows := store.stored(after):
        slices.append(service._sliced(store, rows, after))
        assert sum(one.size for one in slices[-1]) <= 2
        after = slices[-1][-1].number
    flat = [line for runs_ in slices for one in runs_ for line in one.bodies.split(b"\n")]
    assert flat == [line for one in store.runs(0, 100) for line in one.bodies.split(b"\n")] and len(flat) == 5
    assert [[one.number for one in runs_] for runs_ in slices] == [[2], [4], [5]]


def test_a_run_can_be_rendered_in_any_thread(view: View) -> None:
    assert view.store is not None
    rows = view.store.stored(0)
    found: list[Run] = []
    thread = threading.Thread(target=lambda: found.extend(view.store.run(one) for one in rows))  # type: ignore[union-attr]
    thread.start()
    thread.join()
    assert found == view.store.runs(0, 100)


# -- packed states


def blown(state: dict[str, Any], size: int) -> bytes:
    """A state with a list of `size` empty lists more."""
    data = states.pack({**state, "x": 1})
    return data[:-1] + b"\xdd" + size.to_bytes(4, "big") + b"\x90" * size


def exported() -> dict[str, Any]:
    data = states.pack({"means": np.arange(24.0), "overall": 3.0})
    return {"format": "numpy", "kernel": "hour-mean", "data": data, "weights": b"w", "offset": 0.0, "factor": 1.0}


def test_an_exported_model_of_millions_of_empty_lists_is_refused_at_once(view: View) -> None:
    begin = time.monotonic()
    for data in (blown(exported(), 20_000_000), states.pack(exported() | {"data": blown({}, 20_000_000)})):
        with pytest.raises(ValueError, match="more than 100 values"):
            strict.exported(data)
    assert time.monotonic() - begin < 0.5
    change(view, "INSERT INTO servables VALUES ('a', 'live', 1, ?)", blown(exported(), 2_000_000))
    with pytest.raises(CorruptState):
        view.runner("a")
    assert view.fault and view.store is None  # and is not read again
    with pytest.raises(NotReady, match="failed"):
        view.runner("a")


def test_newer_exported_models_are_looked_for_once_a_second(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    change(view, "INSERT INTO servables VALUES ('a', 'live', 1, ?)", states.pack(exported()))
    assert view.runner("a").version == 1
    looked: list[object] = []

    def look() -> None:
        view._reloaded = time.monotonic()
        looked.append(view)

    monkeypatch.setattr(view, "_reload", look)
    for _ in range(1000):
        view.refresh()
        view.runner("a")
    assert len(looked) <= 1
    view._reloaded -= RELOAD
    view.runner("a")
    assert looked


def test_what_a_lane_exports_passes() -> None:
    class Lane:
        @staticmethod
        def unscaled(values: Any) -> Any:
            return values * 2 + 1

    class Servable:
        format, kernel, data = "numpy", "persistence", states.pack({})

    assert strict.exported(lane_servable(Lane, Servable, b"weights"))["factor"] == 2.0


Plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=40,
)


def values_in(state: Any) -> int:
    inner: list[Any] = list(state) if isinstance(state, list) else []
    if isinstance(state, dict):
        inner = [*state, *state.values()]
    return 1 + sum(values_in(one) for one in inner)


@given(Plain)
def test_values_are_counted_as_they_are(state: Any) -> None:
    data = states.pack(state)
    try:
        assert strict.count(data, 10_000) == values_in(state)
    except ValueError as error:
        assert "deeper than" in str(error)
    if len(data) > 1:
        with pytest.raises(ValueError, match=r"too early|deeper than"):
            strict.count(data[:1], 10_000) and strict.count(b"\x91", 10)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91", b"\x91" * 100, b"\xdf\xff\xff\xff\xff", b"\xdd\x7f"])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        strict.count(data, 1000)


# -- locks and long looks


@contextlib.contextmanager
def shut(path: Path) -> Iterator[None]:
    """Another process keeps SQLite's lock on a file (for this one, an open file of its own is another process)."""
    with path.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0x40000000, 512, 0))
        yield


def test_nobody_waits_on_the_loop_for_a_file_that_is_kept_locked(view: View) -> None:
    kept = view.store
    assert kept is not None
    begin = time.monotonic()
    with shut(view.path):
        for _ in range(200):
            with pytest.raises(Later, match="keeps it locked"):
                kept.position()
            # closing and opening it anew buys no time
            with contextlib.closing(Store(view.path, blame=pytest.fail)) as store, pytest.raises(Later):
                store.position()
        view.close()
        assert time.monotonic() - begin < 2  # 50 ms each would be 20 s
        assert 0 < distrust.locked_for(view.path) < 5 and distrust.still_locked(view.path) > 0
        view._again = 0.0
        assert view.store is None and view.default_key() == "" and not view.fault
    assert distrust.still_locked(view.path) == 0 == distrust.locked_for(view.path)
    view._again = 0.0
    assert view.store is not None


def test_a_thread_waits_for_a_lock(view: View) -> None:
    with view.aside() as seen:
        locked, release = threading.Event(), threading.Event()

        def keep() -> None:
            with shut(view.path):
                locked.set()
                release.wait(0.1)

        thread = threading.Thread(target=keep)
        thread.start()
        locked.wait()
        assert seen.store is not None and seen.store.position() == 7
        thread.join()


def test_files_that_take_long_get_a_share_of_the_loop(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = f"{ENDLESS} INSERT INTO scores (key, origin, contender) SELECT 'a', i, 'live' FROM n LIMIT 10000"
    change(view, fill)
    assert view.store is not None
    begin, answers = time.thread_time(), 0  # each takes about 20 ms: all of them 6 s
    for _ in range(300):
        with contextlib.suppress(Later):
            answers += len(view.store.scores()) == 10_000
    assert time.thread_time() - begin < distrust.BURST + 2 and answers < 250
    with view.aside() as seen:  # a thread has time
        assert seen.store is not None and len(seen.store.scores()) == 10_000
    assert not view.fault
    monkeypatch.setattr(distrust, "SECONDS", (0.05, 0.0005))
    with view.aside() as seen, pytest.raises(Later, match="takes too long"):
        assert seen.store is not None
        seen.store.scores()
    assert not view.fault


def test_what_was_known_of_the_topics_is_shown_while_their_file_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "observer.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(OBSERVED)
        db.execute("INSERT INTO topics VALUES ('a', 3, 0, 1)")
        db.commit()
    understood = Understood(path, lambda file: distrust.reading(file, OBSERVED))
    assert understood.rows("SELECT topic FROM topics") == [("a",)]
    with shut(path):
        assert understood.rows("SELECT topic FROM topics") == [("a",)]
        assert understood.rows("SELECT messages FROM topics") == []
    assert understood.rows("SELECT messages FROM topics") == [(3,)]
    understood.close()
    distrust.forget(tmp_path)


async def test_a_question_is_asked_again_while_a_file_is_locked_and_its_body_is_kept() -> None:
    asked: list[bytes] = []
    told: list[Any] = []
    body = iter([{"type": "http.request", "body": b"one"}, {"type": "http.request", "body": b"two"}])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append((await receive())["body"])
        if len(asked) < 3:
            raise Later("locked")
        asked.append((await receive())["body"])
        await send({"answer": 1})

    async def receive() -> Any:
        return next(body)

    async def send(message: Any) -> None:
        told.append(message)

    await patiently.again(app, {}, receive, send)
    assert asked == [b"one"] * 3 + [b"two"] and told == [{"answer": 1}]

    async def locked() -> int:
        raise Later("locked")

    begin = time.monotonic()
    with pytest.raises(Later):
        await patiently.patiently(locked)
    assert 0.3 < time.monotonic() - begin < 5


async def test_the_page_shows_what_was_seen_while_a_look_takes_long(view: View) -> None:
    release = threading.Event()

    def look(seen: View) -> tuple[dict[str, Any], dict[str, Any]]:
        assert seen is not view and seen.store is not view.store
        release.wait(20)
        return {"keys": seen.store.lanes() if seen.store else []}, {"active": 1, "recent": [{"raised_ms": 1}]}

    aside = Aside(look)
    begin = time.monotonic()
    await aside.refresh([view])
    assert 0.9 < time.monotonic() - begin < 5 and aside.seen(view) is None
    assert aside.alerts([view]) == {"active": 0, "recent": []}
    release.set()
    async with asyncio.timeout(10):
        while (seen := aside.seen(view)) is None:
            await aside.refresh([view])
    assert seen.summary == {"keys": ["a", "b"]} and aside.alerts([view])["active"] == 1
    with pytest.raises(sqlite3.DatabaseError):
        await aside.read(view, lambda seen: 1 / 0)
    assert "ZeroDivisionError" in view.fault
    aside.close()


# -- reports


def frame(event: object) -> bytes:
    data = msgspec.msgpack.encode(event)
    return len(data).to_bytes(4, "big") + data


TOLD: dict[str, dict[str, Any]] = {
    "a long reason": {"model": "room", "refused": "t", "reason": "x" * (TEXT + 1)},
    "a long failure": {"model": "room", "saved": True, "failed": "x" * 2**20},
    "a long token": {"model": "room", "refused": "t" * 1000},
    "a number no file holds": {"model": "room", "runs": [(2**60, "a", 1, b"{}")]},
    "a position before the log": {"model": "room", "position": -1},
    "too many runs": {"model": "room", "runs": [(1, "a", 1, b"{}")] * (RUNS + 1)},
    "a long key": {"model": "room", "runs": [(1, "k" * 60_000, 1, b"{}")]},
    "much that is not known": {"model": "room", "more": b"x" * 2**17},
}


@pytest.mark.parametrize("what", TOLD)
async def test_a_report_out_of_bounds_ends_its_worker_and_is_not_kept(what: str) -> None:
    ours, theirs = socket.socketpair()
    heard: list[Event] = []
    frames = Frames(ours, heard.append)
    with theirs:
        sending = asyncio.create_task(asyncio.to_thread(_send, theirs, frame(TOLD[what])))
        async with asyncio.timeout(5):
            await frames.done.wait()
        await sending
    assert frames.wrong.startswith("its worker said what no worker says") and not heard


def _send(to: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        to.sendall(data)


def test_an_honest_worker_leaves_in_its_store_what_it_may_not_tell() -> None:
    assert sent_along([Run(1, "a", 1, b"{}")])
    assert not sent_along([Run(1, "k" * (KEY + 1), 1, b"{}")])
    assert not sent_along([Run(1, "a", 1, b"{}")] * (RUNS + 1))


FLOODS = {"signs of life": frame({}), "positions": frame({"model": "room", "generation": 1, "position": 1})}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_of_tiny_reports_leaves_the_loop_to_others_and_ends(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE", 1.0)
    monkeypatch.setattr(pace, "SHARE", 0.5)
    pair = [socket.socketpair() for _ in range(4)]
    heard, paces = [0], pace.Paces()

    def report(_: Event) -> None:
        heard[0] += 1

    frames = [Frames(ours, report, paces.pace(1)) for ours, _ in pair]
    sending = [asyncio.create_task(asyncio.to_thread(_send, theirs, FLOODS[what] * 200_000)) for _, theirs in pair]
    worst, used = 0.0, time.thread_time()
    async with asyncio.timeout(30):
        while not all(one.done.is_set() for one in frames):
            begin = time.monotonic()
            await asyncio.sleep(0.002)
            worst = max(worst, time.monotonic() - begin)
    used = time.thread_time() - used
    for _, theirs in pair:
        theirs.close()
    await asyncio.gather(*sending)
    assert all("2,000 reports a second" in one.wrong for one in frames)
    assert heard[0] < 60_000 and worst < 0.5


async def test_a_company_gets_its_share_of_the_loop_whatever_it_says() -> None:
    now = [0.0]
    company = pace.Paces(lambda: now[0])
    first, second = company.pace(1), company.pace(1)
    first.heard(0.05, idle=False)
    assert first.enough() and not second.enough()
    assert second.pause() == pytest.approx(0.05 / pace.SHARE - pace.SLACK)
    now[0] += 1
    assert second.pause() == 0 == first.pause()


async def test_an_honest_pace_is_never_held_up() -> None:
    now = [0.0]
    one = pace.Paces(lambda: now[0]).pace(3)
    for step in range(60_000):
        now[0] += 1 / 3000
        one.heard(0.00001, idle=step % 3000 == 0)
        assert one.pause() == 0


def test_what_is_told_is_what_there_are_lines_for() -> None:
    assert runs.lined(b"{}\n{}", 2) and not runs.lined(b"{}\n{}", 3)
    assert not runs.lined(b"", 0) and not runs.lined(b"\n" * 10, 2**40)
