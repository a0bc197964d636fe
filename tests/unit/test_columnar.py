"""Blocks of messages read as columns mean what the messages mean one by one: readings, states, counts, quarantine."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace import states
from headrace.checks.decoders import RECEIVED
from headrace.errors import Undecodable
from headrace.records import CONTROL, MINUTE, Entry, Reading
from headrace.services.learning import decoded
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.observer import Observer
from headrace.spec import Plug
from headrace.streams.decoders import build
from headrace.streams.decoders.intake import columns as columns_of
from headrace.streams.decoders.json import DEVICES, IDS, TIMES
from headrace.streams.logs.memory import MemoryLog
from tests import sun
from tests.unit.test_decoding import NAMES, SCALARS

MS = RECEIVED // 1_000_000
TEXTS = st.sampled_from(["x", "a:b", "ü", "", "y" * 300, 'q"', "\\", "\n", "2023-11-14T22:13:20Z", "true", "-1"])
KINDS = {
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70),
    "switch": st.booleans(),
    "text": TEXTS,
    "ms": st.integers(MS - 10**9, MS + 2 * 86_400_000) | st.sampled_from([1, 8 * 10**12, 10**13, 1.5e12 + 0.12345]),
    "s": st.integers(1_600_000_000, 1_700_000_000) | st.floats(1.6e9, 1.7e9),
    "name": st.sampled_from(["pump-1", "pump-2", "", "z" * 257]),
}
NAMED = st.sampled_from([*TIMES, *DEVICES, *IDS, "a", "b", "a:b", "é", "values", ""])
SHAPES = st.dictionaries(NAMED, st.sampled_from(sorted(KINDS)), min_size=1, max_size=6)
ODD = (
    st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=5).map(json.dumps)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            '{"a":1',
            '"b":2}',
            '{"a":1}\n{"a":2}',
            "\n",
            "",
            " ",
            '\ufeff{"a":1}',
            ' {"a":1}',
            '{"a":1} ',
            '{"a":1}{"a":1}',
            '{"a":1,"a":2}',
            '{"a":1,\n"b":2}',
            "[1]",
            '{"a":null}',
            '{"a":{"b":1}}',
            "{",
            "}",
            '{"a":1e400}',
            '{"a":NaN}',
        ]
    )
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def one_by_one(decoder: Any, topics: list[str], payloads: list[bytes], received: list[int]) -> list[Any]:
    found: list[Any] = []
    for topic, payload, when in zip(topics, payloads, received, strict=True):
        try:
            found.append(decoder.decode(topic, payload, when))
        except Undecodable as error:
            found.append(str(error))
    return found


def agree(decoder: Any, topics: list[str], payloads: list[bytes], received: list[int]) -> bool:
    """Whether the block could be read at once; if so, it must be what the messages are one by one, rows included."""
    wanted = one_by_one(decoder, topics, payloads, received)
    found = decoder.columns(topics, payloads, received)
    if found is None:
        return False
    readings: list[Reading] = [found.reading(index) for index in range(len(payloads))]
    assert [[reading] for reading in readings] == wanted
    kinds = [[type(value) for value in sorted(one.fields.items())] for one in readings]
    assert kinds == [[type(value) for value in sorted(one.fields.items())] for (one,) in wanted]
    rows, other = found.take(np.arange(len(payloads))), columns_of([one for (one,) in wanted])
    assert rows.time.tolist() == other.time.tolist() and list(rows.columns) == list(other.columns)
    assert all(rows.columns[name].tobytes() == column.tobytes() for name, column in other.columns.items())
    return True


@settings(max_examples=400, deadline=None)
@given(data=st.data(), shape=SHAPES, params=st.sampled_from([{}, {}, {"time": "a"}, {"device": "b"}, {"time": ""}]))
def test_columns_are_the_readings(data: st.DataObject, shape: dict[str, str], params: dict[str, str]) -> None:
    objects = data.draw(
        st.lists(st.fixed_dictionaries({name: KINDS[kind] for name, kind in shape.items()}), min_size=1)
    )
    payloads = [json.dumps(one, ensure_ascii=data.draw(st.booleans())).encode() for one in objects]
    for place, odd in data.draw(st.lists(st.tuples(st.integers(0, len(payloads)), ODD), max_size=2)):
        payloads.insert(place, odd)
    topics = [data.draw(st.sampled_from(["plant/a/reading", "b", "/"])) for _ in payloads]
    agree(build("json", params), topics, payloads, [RECEIVED + n for n in range(len(payloads))])
    if not params:
        agree(build("auto"), topics, payloads, [RECEIVED + n for n in range(len(payloads))])


@settings(max_examples=300, deadline=None)
@given(payloads=st.lists(ODD, min_size=1, max_size=6))
@example(payloads=[b'{"a":1', b'"b":2}', b'{"a":1}\n{"b":2}'])
@example(payloads=[b'{"a":1}', b'{"a":1}{"a":1}', b""])
@example(payloads=[b'{"a":1,', b'"b":2}', b'{"a":1,"b":1}\n{"a":1,"b":2}'])
@example(payloads=[b'{"a":1,"a":2}', b'{"a":1}'])
@example(payloads=[b'{"device":1,"a":1,"a":2}', b'{"device":"x","a":1}'])
def test_odd_messages_are_never_taken_for_others(payloads: list[bytes]) -> None:
    topics, received = ["plant/a/reading"] * len(payloads), [RECEIVED] * len(payloads)
    for name in ("json", "auto"):
        agree(build(name), topics, payloads, received)


@pytest.mark.parametrize(
    "text",
    [
        '{{"ts":{ms},"device":"d{n}","value":{n}.25}}',
        '{{"time":{s},"power":1.5,"on":true}}',
        '{{"timestamp":"2023-11-14T22:13:2{n}Z","state":"ok","t":21.5}}',
        '{{"msg_id":"m{n}","a:b":-1e-7,"é":{n}}}',
        '{{"device":"ü:{n}","v":0}}',
    ],
)
def test_what_devices_send_is_read_at_once(text: str) -> None:
    payloads = [text.format(n=n, ms=MS + n, s=MS // 1000 + n).encode() for n in range(9)]
    topics = [f"plant/{n % 3}/reading" for n in range(9)]
    assert agree(build("auto"), topics, payloads, [RECEIVED + 10**9] * 9)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"v":1,"note":"' + b"x" * 300 + b'"}',
        b'{"v":1,"ts":%d}' % ((2**64 + RECEIVED) // 1_000_000),
        b'{"v":1,"ts":%d}' % (MS + 2 * 86_400_000),
        b'{"v":1,"device":"' + b"x" * 300 + b'"}',
        b'{"v":1,\n"w":2}',
        b'{"v":1,"v":2}',
        b'{"ts":1700000000000}',
    ],
    ids=["long text", "wraps", "tomorrow", "long name", "two lines", "twice", "no value"],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_long_way(payload: bytes) -> None:
    assert not agree(build("auto"), ["a"] * 3, [payload] * 3, [RECEIVED] * 3)


# -- the services


def messages(count: int) -> list[Entry]:
    """Several devices on several topics, with duplicates, strangers, broken messages and entries of the platform."""
    chance, found = random.Random(3), list[Entry]()
    for n in range(count):
        time, power = sun.START + n * MINUTE, round(1000 * chance.random(), 2)
        body = {"ts": time // 1_000_000, "device": f"d{n % 3}", "power": power, "mode": "auto", "on": n % 2 == 0}
        found.append(Entry(f"plant/{n % 2}/reading", json.dumps(body).encode()))
        if n % 101 == 7:  # nothing to learn from, or hardly
            strange = body | {"ts": body["ts"] + 1, "power": 9e29 if n % 2 else -4e31}
            found.append(Entry("plant/0/reading", json.dumps(strange).encode()))
        if n % 97 == 5:
            found.append(found[chance.randrange(max(0, len(found) - 40), len(found))])
        if count // 2 < n and n % 61 == 0:
            found.append(Entry("plant/0/reading", b'{"ts":'))
            found.append(Entry("plant/0/reading", b'{"power":"?"}'))
            found.append(Entry("plant/1/reading", b'{"power":5}', headers=b'{"id":"m7"}'))
            found.append(Entry("elsewhere", b'{"power":7}'))
            found.append(Entry(CONTROL, b'{"kind":"tick","time":5}'))
    return found


def log_of(entries: list[Entry]) -> MemoryLog:
    log = MemoryLog(clock=lambda: sun.START + 10**18)
    log.submit(entries, lambda error: None)
    return log


def learnt(path: Path, log: MemoryLog, key: str, limit: int) -> tuple[bytes, list[Any], dict[str, int], int]:
    text = sun.STREAM_SPEC.replace("target: power", f"target: power, key: {key}, max_keys: 2")
    learner, reader, at_once = sun.learner(path, text), DecodedLog(log), 0
    while (block := reader.block(learner.position, learner.plan.spec.input.decoder, limit)) is not None:
        at_once += block.columns is not None
        assert learner.step(reader), learner.failed
    state = states.pack({key: lane.state() for key, lane in learner.lanes.items()})
    predicted = [(key, body) for _, key, _, body in learner.store.predictions(0, 10**9)]
    learner.store.close()
    return state, sorted(predicted), learner.dropped(), at_once


@pytest.mark.parametrize("key", ["none", "device", "topic"])
def test_a_learner_learns_the_same_either_way(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(messages(1500))
    monkeypatch.setattr(decoded, "LONG", 10**9)
    *wanted, at_once = learnt(tmp_path / "a.db", log, key, 2048)
    assert at_once == 0 and wanted[2]["duplicate"] > 5 and len(wanted[1]) > 500
    for limit, least in ((1, 0), (40, 8), (150, 3), (2048, 0)):
        monkeypatch.setattr(decoded, "LONG", 2)
        *found, at_once = learnt(tmp_path / f"{limit}.db", log, key, limit)
        assert found == wanted and at_once >= least


def observed(
    folder: Path, log: MemoryLog, pinned: list[tuple[str, Plug]], monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    observer, reader = Observer(folder, pinned), DecodedLog(log)
    while observer.step(reader):
        pass
    observer.close()
    with sqlite3.connect(folder / "state" / "observer.db") as db:
        return [
            db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("topics", "devices", "quarantine")
        ]


@pytest.mark.parametrize(
    "pinned", [[], [("plant/1/#", Plug(name="json", params={"device": "on"}))]], ids=["auto", "pinned"]
)
@pytest.mark.parametrize("few", [False, True], ids=["all", "few"])
def test_the_observer_counts_the_same_either_way(
    pinned: list[Any], few: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(messages(900))
    if few:
        monkeypatch.setattr("headrace.services.learning.observer.TOPICS", 1)
        monkeypatch.setattr("headrace.services.learning.observer.DEVICES", 2)
    found = []
    for long, block in ((10**9, 2048), (1, 40), (1, 333)):
        monkeypatch.setattr(decoded, "LONG", long)
        original = DecodedLog.block
        with monkeypatch.context() as patch:
            patch.setattr(
                DecodedLog, "block", lambda self, after, decoder, n=block, to=original: to(self, after, decoder, n)
            )
            (folder := tmp_path / f"{long}-{block}" / "state").mkdir(parents=True)
            found.append(observed(folder.parent, log, pinned, monkeypatch))
    assert found[0] == found[1] == found[2]
    assert sum(row[1] for row in found[0][0]) > 900 and len(found[0][2]) >= 5


def test_attempts_to_read_at_once_become_rare_where_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of([Entry("a", b'{"v":1}', headers=b'{"x":1}')] * 1000 + [Entry("a", b'{"v":1}')] * 1000)
    asked, original = [], log.messages
    monkeypatch.setattr(decoded, "LONG", 1)
    monkeypatch.setattr(log, "messages", lambda after, limit: asked.append(after) or original(after, limit))
    reader, at_once, position = DecodedLog(log), 0, 0
    while (block := reader.block(position, Plug(name="auto"), 10)) is not None:
        at_once, position = at_once + (block.columns is not None), block.last
    assert len([after for after in asked if after < 990]) < 8, "refused blocks are not tried one after the other"
    assert at_once > 30, "it comes back when messages are plain again"
