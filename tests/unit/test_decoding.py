"""Decoders beyond their contract: fuzzing, the short cut of JSON, bounds, detection, transport headers."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.checks.decoders import RECEIVED, payloads
from headrace.errors import Undecodable
from headrace.records import DAY, Reading, Record
from headrace.streams.decoders import DECODERS, build, decode, rules
from headrace.streams.decoders import json as json_decoder
from headrace.streams.decoders.json import JsonDecoder, JsonParams

NAMES = [
    *json_decoder.TIMES[:4],
    *json_decoder.DEVICES[:3],
    "id",
    *json_decoder.IDS[:2],
    "values",
    "a",
    "b",
    "a:b",
    "ü",
    '"',
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(
        [1_700_000_000, 1_700_000_000_123, 1_700_000_000_123_456, 1_700_000_000_123_456_789, 2**64, 10**30]
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "a:b", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20.5", "x" * 300, "\\", '"'])
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=8)
VALUES = st.recursive(
    SCALARS | OBJECTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
)


def _outcome(decoder: Any, payload: bytes, topic: str = "plant/a/reading") -> list[Reading] | str:
    try:
        readings: list[Reading] = decoder.decode(topic, payload, RECEIVED)
        return readings
    except Undecodable as error:
        return str(error)


@pytest.mark.parametrize("name", DECODERS.names())
@settings(deadline=None)
@given(payload=st.binary(max_size=200), topic=st.text(max_size=20))
def test_bytes_never_raise_anything_else(name: str, payload: bytes, topic: str) -> None:
    assert _outcome(build(name), payload, topic)


@pytest.mark.parametrize("name", DECODERS.names())
@settings(deadline=None)
@given(payload=st.text(alphabet='{}[]":,.-+e0123456789 tfnulrasvbi=\\\n#', max_size=80))
@example(payload='m a="' + "\\")
@example(payload="m\\")
def test_text_like_the_formats_never_raises_anything_else(name: str, payload: str) -> None:
    assert _outcome(build(name), payload.encode())


@settings(deadline=None)
@given(plain=VALUES, ascii_only=st.booleans())
def test_json_never_raises_anything_else(plain: Any, ascii_only: bool) -> None:
    payload = json.dumps(plain, ensure_ascii=ascii_only).encode()
    assert _outcome(build("json"), payload)
    assert _outcome(build("senml"), payload)


PARAMS = [
    JsonParams(),
    JsonParams(time="t"),
    JsonParams(time=""),
    JsonParams(device="a"),
    JsonParams(time="b", device="id"),
]


@pytest.mark.parametrize("params", PARAMS, ids=str)
@settings(max_examples=400, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from(NAMES), SCALARS), max_size=6), ascii_only=st.booleans())
def test_the_short_cut_changes_nothing(params: JsonParams, pairs: list[tuple[str, Any]], ascii_only: bool) -> None:
    """Flat objects, names that repeat included, are read as by the long way."""
    inner = ",".join(f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(value)}" for name, value in pairs)
    payload = f"{{{inner}}}".encode()
    short = JsonDecoder(params)
    for _ in range(2):  # the second time with a plan
        quick = _outcome(short, payload)
        try:
            slow: list[Reading] | str = short._general("plant/a/reading", payload, RECEIVED)
        except Undecodable as error:
            slow = str(error)
        assert quick == slow
        if isinstance(quick, list) and isinstance(slow, list):
            assert [list(one.fields.items()) for one in quick] == [list(one.fields.items()) for one in slow]
            assert [list(map(type, one.fields.values())) for one in quick] == [
                list(map(type, one.fields.values())) for one in slow
            ]


def test_invented_names_do_not_fill_the_memory() -> None:
    decoder = JsonDecoder(JsonParams())
    for index in range(5000):
        decoder.decode("x", b'{"field-%d":1}' % index, RECEIVED)
    assert len(decoder._plans) <= json_decoder._MAX_PLANS


def test_a_hostile_payload_costs_bounded_memory() -> None:
    decoders = [build(name) for name in DECODERS.names()]
    for payload in payloads(seed=1, rounds=0):
        for decoder in decoders:
            tracemalloc.start()
            _outcome(decoder, payload)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 64 * len(payload) + 200_000, payload[:40]


@pytest.mark.parametrize("name", DECODERS.names())
def test_a_payload_over_the_limit_is_refused(name: str) -> None:
    outcome = _outcome(build(name), b'{"a":1' + b" " * rules.MAX_BYTES + b"}")
    assert isinstance(outcome, str)
    assert "less at a time" in outcome


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":"' + b"\xff" + b'"}', "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested"),
        (b'{"ts":1700172800001,"a":1}', "more than a day after"),
        (b'{"ts":631151999,"a":1}', "before 1990"),
        (b'{"ts":"yesterday","a":1}', "ISO 8601"),
        (b'{"a":-Infinity}', "no numbers"),
        (b'{"' + b"k" * 257 + b'":1}', "257 characters"),
        (b"{" + b",".join(b'"%d":1' % index for index in range(1025)) + b"}", "1024 fields"),
        (b"[" + b",".join([b'{"a":1}'] * 10_001) + b"]", "10000 readings"),
        (b'{"a.b":1,"a":{"b":2}}', "called 'a.b'"),
        (b'{"ts":1700000000}', "no value"),
        (b'"text"', "got a text"),
        (b"{bad", "is not JSON"),
    ],
)
def test_json_reasons(payload: bytes, reason: str) -> None:
    outcome = _outcome(build("json"), payload)
    assert isinstance(outcome, str)
    assert reason in outcome


def test_a_reason_shows_little_of_the_payload() -> None:
    secret = "hunter2-hunter2-hunter2"
    for payload in (
        f'{{"padding-padding-padding":1,"password":"{secret}",}}',
        f"m,padding=paddingpadding a={secret}{secret}",
    ):
        for name in DECODERS.names():
            assert secret not in str(_outcome(build(name), payload.encode()))


def test_the_range_of_times_is_closed() -> None:
    edge = RECEIVED + DAY
    assert _outcome(build("json"), b'{"ts":%d,"a":1}' % edge) == [Reading("plant/a", edge, {"a": 1.0})]
    assert isinstance(_outcome(build("json"), b'{"ts":%d,"a":1}' % (edge + 1)), str)


@given(time=st.integers(rules.OLDEST // 10**9, RECEIVED // 10**9))
def test_units_of_time_are_told_by_size(time: int) -> None:
    for factor in (1, 10**3, 10**6, 10**9):
        assert rules.moment(time * factor, "ts") == time * 10**9
        assert rules.moment(str(time * factor), "ts") == time * 10**9
    assert rules.moment(float(time), "ts") == time * 10**9


def test_detection_order_and_refusal() -> None:
    auto: Any = build("auto")
    told = {
        b'[{"n":"a","v":1}]': "senml",
        b'[{"n":1,"v":1}]': "json",
        b"1": "number",
        b"m a=1": "lineprotocol",
        b"??": None,
    }
    assert {payload: auto.which("t", payload) for payload in told} == told
    assert "name a decoder" in str(_outcome(auto, b"??"))


def _record(payload: bytes, headers: bytes = b"", time: int = 0) -> Record:
    return Record(1, "plant/a", 0, 0, "", RECEIVED, time, headers, payload)


def test_what_the_transport_knew() -> None:
    json_one = build("json")
    plain, both = b'{"a":1}', b'[{"a":1,"uuid":"own"},{"a":2,"ts":1699999999}]'
    assert decode(json_one, _record(plain)) == [Reading("plant/a", RECEIVED, {"a": 1.0})]
    assert decode(json_one, _record(plain, b'{"id":"m1"}', RECEIVED - 5)) == [
        Reading("plant/a", RECEIVED - 5, {"a": 1.0}, "m1")
    ]
    assert [(one.id, one.time) for one in decode(json_one, _record(both, b'{"id":"m1"}', RECEIVED - 5))] == [
        ("own", RECEIVED - 5),
        ("m1/1", 1_699_999_999 * 10**9),
    ]
    for broken in (b"{", b"[1]", b'{"id":7}', b"\xff"):
        assert decode(json_one, _record(plain, broken))[0].id == ""
    with pytest.raises(Undecodable, match="before 1990"):
        decode(json_one, _record(plain, time=5))


def test_params_say_where_to_look() -> None:
    named = build("lineprotocol", {"device": "site", "names": "measurement.field", "precision": "s"})
    assert named.decode("x", b"m,site=a,host=b v=1 1700000000", RECEIVED) == [
        Reading("a", RECEIVED, {"m.v": 1.0, "host": "b"})
    ]
    with pytest.raises(Undecodable, match="no tag 'site'"):
        named.decode("x", b"m v=1", RECEIVED)
    with pytest.raises(Undecodable, match="names no device"):
        build("json", {"device": "serial"}).decode("x", b'{"a":1}', RECEIVED)
    assert build("json", {"device": "serial"}).decode("x", b'{"a":1,"serial":7}', RECEIVED)[0].device == "7"
    assert build("json", {"time": ""}).decode("x", b'{"ts":12}', RECEIVED) == [Reading("x", RECEIVED, {"ts": 12.0})]
