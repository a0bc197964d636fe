"""What devices and clients do wrong, on a live platform: it says what it made of it, and goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from headrace.records import DAY, HOUR, MINUTE
from headrace.services.gateway.mqtt.publisher import publish_all
from headrace.services.learning.store import Store
from tests import sun
from tests.running import Up

DAYS = 12
MIB = 2**20
SPEC = sun.spec()
BAD = {
    b'{"ts": 17000': "not JSON",
    b"": "empty",
    b"   ": "empty",
    b"\xff\xfe\x00": "not JSON, SenML, a number or line protocol",
    b'{"ts": 1700006400000, "power": NaN}': "NaN or Infinity",
    b'{"ts": 1700006400000, "power": Infinity}': "NaN or Infinity",
    b'{"ts": 1700006400000, "power": 1e999}': "out of range",
    b'{"ts": -5, "power": 1}': "before 1990",
    b'{"ts": 99999999999999, "power": 1}': "more than a day after",
    b'{"ts": "yesterday", "power": 1}': "not ISO 8601",
    b'{"ts": 1700006400000}': "no value",
    b"[" * 1000 + b"]" * 1000: "nested",
    b'{"ts": 1700006400000, "power": 1, "power": 2}': "twice",
    b"null": "null",
    b"nan": "no",
}
"""Payload -> words of the reason it is quarantined with."""


def publish(up: Up, messages: list[tuple[str, bytes]]) -> None:
    """All of it, acknowledged."""
    done = asyncio.run(publish_all(up.mqtt[0], up.mqtt[1], messages, window=200, client_id="dev"))
    assert done == len(messages)


def outcome(data: Path) -> dict[str, Any]:
    """What the model made of its input."""
    (file,) = (data / "state").glob("sun@*.db")
    store = Store(file)
    found = {
        "forecasts": store.predictions(0, 10**9),
        "scores": store.scores(),
        "decisions": store.decisions(),
        "actuals": store.actuals("plant/one", 0),
        "served": store.servable("plant/one", "live"),
    }
    store.close()
    return {**found, "served": found["served"][1]}


def naughty() -> list[tuple[str, bytes]]:
    """The good messages with everything in between that a device may do wrong."""
    rng = np.random.default_rng(7)
    good = sun.messages(DAYS)
    times = [at for at, _ in sun.readings(DAYS)]
    bad, sent = list(BAD), []
    for index, (topic, payload) in enumerate(good):
        sent.append((topic, payload))
        if index < 20 or index == len(good) - 1:
            continue
        kind, now = int(rng.integers(0, 30)), times[index]
        if kind == 0:
            sent.append((topic, bad[int(rng.integers(len(bad)))]))
        elif kind == 1:  # the same again, now or a while later
            sent.append(good[index - int(rng.integers(0, 5))])
        elif kind == 2:  # late: its window has long been closed
            sent.append((topic, sun.payload(now - 5 * HOUR + MINUTE, 99_999.0)))
        elif kind == 3:  # a clock that jumps back by days, and at once is right again
            sent.append((topic, sun.payload(now - 3 * DAY + 7, 88_888.0)))
        elif kind == 4:  # a clock that is months ahead for one message
            sent.append((topic, sun.payload(now + 200 * DAY, 77_777.0)))
        elif kind == 5:  # no time at all: the time of arrival, years after the readings that are replayed here
            sent.append((topic, b'{"power": 66666}'))
        elif kind == 6:  # a device that changes its schema
            sent.append((topic, json.dumps({"ts": now // 10**6 + 1, "watts": 5, "mode": "eco"}).encode()))
        elif kind == 7:
            sent.append((topic, json.dumps({"ts": now // 10**6 + 2, "power": "much"}).encode()))
        elif kind == 8:
            sent.append((topic, json.dumps({"ts": now // 10**6 + 3, "power": {"a": 1, "b": [2, 3]}}).encode()))
    return sent


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("clean") / "data"
    with Up(data) as up:
        assert up.apply(SPEC).status_code == 200
        publish(up, sun.messages(DAYS))
        up.caught_up()
        assert up.stop() == 0
    return outcome(data)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One platform for everything below; at the end it has complained of nothing."""
    with Up(tmp_path_factory.mktemp("dirty") / "data") as up:
        assert up.apply(SPEC).status_code == 200
        publish(up, naughty())
        up.caught_up()
        yield up
        overview = up.caught_up()
        assert overview["models"][0]["state"] == "live" and "Traceback" not in up.errors()
        assert b"headrace_worker_restarts 0.0" in up.call("GET", "/metrics").content
        assert up.stop() == 0


def test_results_are_those_of_the_good_messages_alone(up: Up, clean: dict[str, Any]) -> None:
    dirty = outcome(up.data)
    assert len(clean["forecasts"]) >= 3 and clean["scores"]
    for part, value in clean.items():
        assert dirty[part] == value, part


def test_what_became_of_every_bad_message_is_counted(up: Up) -> None:
    sent = naughty()
    rejected = sum(payload in BAD for _, payload in sent)
    overview = up.caught_up()
    (topic,) = [one for one in overview["topics"] if one["topic"] == sun.TOPIC]
    assert topic["messages"] == len(sent)
    assert topic["quarantined"] == rejected > 20
    dropped = overview["models"][0]["dropped"]
    while not {"duplicate", "late", "absurd"} <= dropped.keys():  # they are saved with the next checkpoint
        time.sleep(0.2)
        dropped = up.overview()["models"][0]["dropped"]
    timed = [payload for _, payload in sent if payload not in BAD and b'"ts"' in payload]
    timeless = sum(b"66666" in payload for _, payload in sent)  # two of these in one commit are the same reading
    assert 20 < len(timed) - len(set(timed)) <= dropped["duplicate"] <= len(timed) - len(set(timed)) + timeless
    late = sum(b"99999.0" in payload or b"88888.0" in payload for _, payload in sent)
    assert dropped["late"] == late > 50
    assert dropped["absurd"] > 50


@pytest.mark.parametrize(("payload", "words"), BAD.items(), ids=range(len(BAD)))
def test_reasons_can_be_read(up: Up, payload: bytes, words: str) -> None:
    assert up.call("POST", "/ingest/odd/one", content=payload).status_code == 200
    newest = rejected(up, "odd/one", payload)
    assert words in newest["reason"]
    assert "Error" not in newest["reason"] and len(newest["reason"]) < 300


def wait_for(question: Callable[[], Any], seconds: float = 20) -> Any:
    """The answer, once there is one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := question():
                return answer
        except (StopIteration, KeyError, IndexError, httpx.TransportError):
            pass
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def rejected(up: Up, topic: str, payload: bytes) -> dict[str, Any]:
    """The newest message in quarantine, once it is that one."""
    for _ in range(100):
        newest = up.call("GET", "/api/quarantine?limit=1").json()
        if newest and newest[0]["topic"] == topic and newest[0]["preview"] == payload[:200].decode("utf-8", "replace"):
            found: dict[str, Any] = newest[0]
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in quarantine: {payload[:50]!r}")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ingest/", {}, 400),
        ("/ingest/%24headrace/control", {}, 400),
        ("/ingest/a/%2B", {}, 400),
        ("/ingest/a/%00", {}, 400),
        ("/ingest/a/%ff%fe", {}, 400),
        ("/ingest/" + "x" * 1100, {}, 400),
        ("/ingest/a", {"x-event-time": "soon"}, 400),
        ("/ingest/a", {"x-event-time": "1e30"}, 400),
        ("/ingest/a", {"x-event-time": "-1e30"}, 400),
        ("/ingest/a", {"x-event-time": "nan"}, 400),
        ("/ingest/a", {"x-event-time": "inf"}, 400),
        ("/ingest/a", {"content-encoding": "gzip"}, 400),
        ("/write?precision=weeks", {}, 400),
        ("/ingest/a", {"x-message-id": "precision"}, 200),
        ("/ingest/a", {"x-message-id": '"precision": 1'}, 200),
        ("/ingest/a", {"x-message-id": "replay_of"}, 200),
        ("/ingest/a", {"x-event-time": "9000000000"}, 200),
        ("/ingest/%C3%A4/%F0%9F%92%A1/<script>", {}, 200),
    ],
)
def test_requests_at_the_edge(up: Up, path: str, headers: dict[str, str], status: int) -> None:
    answer = up.call("POST", path, content=b'{"x": 1}', headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]
    assert up.call("POST", "/ingest/a", content=b'{"x": 2}').status_code == 200


def test_a_time_the_transport_tells_is_checked_like_any_other(up: Up) -> None:
    """It used to be taken on trust, for it was compared with itself."""
    answer = up.call("POST", "/ingest/odd/clock", content=b'{"x": 3}', headers={"x-event-time": "9000000000"})
    assert answer.status_code == 200
    assert "more than a day after" in rejected(up, "odd/clock", b'{"x": 3}')["reason"]


def test_an_array_under_one_message_id_is_many_readings(up: Up) -> None:
    text = sun.spec("many").replace("plant/+/reading", "many/+/reading")
    assert up.apply(text).status_code == 200
    body = b"[" + b",".join(payload for _, payload in sun.messages(9)) + b"]"
    for _ in range(2):
        assert up.call("POST", "/ingest/many/one/reading", content=body, headers={"x-message-id": "one"}).is_success
    try:
        model = wait_for(
            lambda: next(one for one in up.overview()["models"] if one["name"] == "many" and one["dropped"])
        )
        assert model["dropped"] == {"duplicate": len(sun.messages(9))}
        assert up.call("POST", "/v2/models/many/infer", json={}).is_success
    finally:
        assert up.call("DELETE", "/api/specs/many").is_success


def test_bodies_over_the_limit_are_refused_with_413(up: Up) -> None:
    for content in (b"x" * (16 * MIB + 1), (b"x" * MIB for _ in range(17))):
        answer = up.call("POST", "/ingest/a", content=content)
        assert answer.status_code == 413
        assert "limit of 16" in answer.json()["error"]


def test_packets_over_the_limit_end_their_connection_alone(up: Up) -> None:
    with mqtt(up, "big") as client:
        client.sendall(b"\x32" + varint(MIB + 100) + b"\0\1a\0\1")
        assert client.recv(10) == b""
    with mqtt(up, "small") as client:
        client.sendall(b"\x32\x06\0\1a\0\1x")
        assert client.recv(10) == b"\x40\x02\0\1"


def test_half_open_connections_do_no_harm(up: Up) -> None:
    held = [socket.create_connection(up.mqtt) for _ in range(200)]
    for index, client in enumerate(held):
        client.sendall([b"", b"\x10", b"\x10\x20\0\4MQ", b"\x10\xff\xff\xff"][index % 4])
    http = socket.create_connection(("127.0.0.1", int(up.http.rpartition(":")[2])))
    head = b"POST /ingest/a HTTP/1.1\r\nHost: 127.0.0.1\r\n" + up.head.encode()
    http.sendall(head + b"Content-Length: 100\r\n\r\nhalf")
    publish(up, [("half/open", b"1")] * 10)
    assert up.call("GET", "/api/overview").status_code == 200
    for client in (*held, http):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, no goodbye
        client.close()
    assert up.call("POST", "/ingest/a", content=b"1").status_code == 200


def test_a_subscriber_that_never_reads_is_disconnected(up: Up) -> None:
    import psutil

    before = psutil.Process(up.process.pid).memory_info().rss
    with mqtt(up, "deaf") as client:
        client.sendall(
            b"\x82\x0b\0\1\0\x06flood/\0"[:-1].replace(b"\x0b", b"\x0c").replace(b"\x06flood/", b"\x07flood/#") + b"\0"
        )
        assert client.recv(5)[:1] == b"\x90"
        payload = b"x" * 20_000
        publish(up, [("flood/a", payload)] * 1500)
        metrics = up.call("GET", "/metrics").text
        assert 'headrace_mqtt{what="slow_readers"} 1.0' in metrics
    assert psutil.Process(up.process.pid).memory_info().rss - before < 120 * MIB


def tensor(name: str = "history", shape: Any = (1, 200), datatype: str = "FP64", data: Any = None) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/nobody/infer", {}, 404),
        ("/v2/models/sun/versions/9/infer", {}, 404),
        ("/v1/models/nobody:predict", {"instances": []}, 404),
        ("/v2/models/sun/infer", b"{", 400),
        ("/v2/models/sun/infer", b"\xff", 400),
        ("/v2/models/sun/infer", [], 400),
        ("/v2/models/sun/infer", {"inputs": 5}, 400),
        ("/v2/models/sun/infer", {"inputs": [{"name": "x"}]}, 400),
        ("/v2/models/sun/infer", tensor(data=[1.0] * 199), 400),
        ("/v2/models/sun/infer", tensor(data=["a"] * 200), 400),
        ("/v2/models/sun/infer", tensor(shape=[-1, -200], data=[1.0] * 200), 400),
        ("/v2/models/sun/infer", tensor(shape=[10**9, 10**9], data=[1.0]), 400),
        ("/v2/models/sun/infer", tensor(shape=[1, 3], data=[1.0] * 3), 400),
        ("/v2/models/sun/infer", tensor(shape=[], data=[1.0]), 400),
        ("/v2/models/sun/infer", tensor(shape=[1, 2, 100], data=[1.0] * 200), 400),
        ("/v2/models/sun/infer", tensor(datatype="BYTES", data=["a"] * 200), 400),
        ("/v2/models/sun/infer", tensor(datatype="FP99", data=[1.0] * 200), 400),
        ("/v2/models/sun/infer", tensor(datatype="INT8", data=[1e9] * 200), 400),
        ("/v2/models/sun/infer", tensor("y", data=[1.0] * 200), 400),
        ("/v2/models/sun/infer", tensor("x", (1, 2, 3), data=[1.0] * 6), 400),
        ("/v2/models/sun/infer", tensor("x", (2,), data=[1.0] * 2), 400),
        ("/v2/models/sun/infer", tensor("x", (), data=[1.0]), 400),
        ("/v2/models/sun/infer", {"inputs": [*tensor(data=[1.0] * 200)["inputs"],
                                             *tensor("origin_ms", (1,), data=[1e300])["inputs"]]}, 400),
        ("/v2/models/sun/infer", {"inputs": [*tensor(data=[1.0] * 200)["inputs"],
                                             *tensor("origin_ms", (2,), "INT64", [1, 2])["inputs"]]}, 400),
        ("/v2/models/sun/infer", {"parameters": {"key": "nobody"}}, 404),
        ("/v2/models/sun/infer", {"parameters": {"key": ["a", 1]}}, 400),
        ("/v1/models/sun:predict", {"instances": [[1.0], [1.0, 2.0]]}, 400),
        ("/v1/models/sun:predict", {"instances": ["a"]}, 400),
        ("/v1/models/sun:predict", {"instances": [{"history": [1.0], "origin_ms": "x"}]}, 400),
        ("/v1/models/sun:predict", {"instances": [{}]}, 400),
        ("/v1/models/sun:predict", {"instances": [{"history": None}]}, 400),
        ("/v2/models/sun/learn", tensor("x", (1, 1, 1), data=[1.0]), 400),
        ("/v2/models/sun/learn", {"inputs": [*tensor(data=[])["inputs"], *tensor("y", (0,), data=[])["inputs"]]}, 400),
        ("/v2/models/sun/learn", {"inputs": [*tensor(data=[1.0] * 200)["inputs"],
                                             *tensor("y", (1, 7), data=[1.0] * 7)["inputs"]]}, 400),
        ("/v2/models/sun/feedback", {"id": "nobody", "outcome": []}, 404),
        ("/v2/models/sun/feedback", {"id": {"a": 1}, "outcome": "x"}, 404),
        ("/v2/models/sun/feedback", b"[]", 400),
        ("/v2/models/sun/nothing", {}, 404),
    ],
)  # fmt: skip
def test_requests_of_wrong_shape_or_type(up: Up, path: str, body: Any, status: int) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = up.call("POST", path, content=content)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert up.call("POST", "/v2/models/sun/infer", json={}).status_code == 200


def test_tensors_beyond_the_body(up: Up) -> None:
    for size in (10**12, -1, "x", None, 1.5):
        text = json.dumps(
            {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": size}}]}
        )
        for length in (len(text), 0, 10**9, "x", -1):
            headers = {"Inference-Header-Content-Length": str(length)}
            answer = up.call("POST", "/v2/models/sun/infer", content=text.encode() + b"12345678", headers=headers)
            assert answer.status_code == 400, (size, length, answer.text)


def test_specs_that_are_no_specs(up: Up) -> None:
    bomb = "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    for text in (
        "",
        "a: [",
        "kind: Nothing",
        "- 1\n- 2",
        "\0",
        "&a [*a]",
        "[" * 5000,
        bomb,
        "? [a]\n: 1",
        SPEC.replace("name: sun", "name: ../../x"),
    ):
        answer = up.apply(text)
        assert answer.status_code in {200, 400}, (text, answer.text)
        assert answer.status_code == 400 or answer.json() == {"changes": {}}
    for body in (b"", b"[]", b'{"text": 5}', b"\xff"):
        assert up.call("PUT", "/api/specs", content=body).status_code == 400


def test_foreign_pages_and_odd_paths(up: Up) -> None:
    assert up.call("GET", "/api/overview", headers={"host": "evil.example"}).status_code == 403
    assert up.call("POST", "/ingest/a", headers={"origin": "http://evil.example"}, content=b"1").status_code == 403
    for path in (
        "/api/topics/nothing%2Fhere",
        "/api/models/nobody",
        "/api/log/0",
        "/api/log/99999999999999999999",
        "/none",
    ):
        assert up.call("GET", path).status_code in {400, 404}, path
    with httpx.Client(base_url=up.http, headers=up.headers, trust_env=False) as client:
        assert client.request("BREW", "/ingest/a").status_code in {400, 404, 405}


def mqtt(up: Up, name: str) -> socket.socket:
    """A raw client that is logged in."""
    client = socket.create_connection(up.mqtt, timeout=10)
    client.sendall(b"\x10" + bytes([12 + len(name)]) + b"\0\4MQTT\4\2\0\0\0" + bytes([len(name)]) + name.encode())
    assert client.recv(4) == b"\x20\x02\0\0"
    return client


def varint(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (128 if value else 0))
        if not value:
            return bytes(found)
