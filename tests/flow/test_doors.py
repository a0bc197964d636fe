"""The prediction doors as a client sees them: Open Inference Protocol V1 and V2, CloudEvents, /learn and /feedback."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from headrace import states
from headrace.records import HOUR
from headrace.services.learning.store import Store
from tests import plant, sun
from tests.plant import tensor
from tests.running import Up

pytestmark = pytest.mark.xdist_group("doors")  # one platform for all of them
X = [-1, 24, 10]
GOOD = {"inputs": [tensor("x", [1, 24, 10], [0.5] * 240)]}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with plant.trained(tmp_path_factory.mktemp("doors") / "data", plant.SPECS, "--body-limit-mb", "4") as up:
        yield up
        assert up.process.poll() is None
        assert up.overview()["models"][0]["state"] == "live"
        assert "Traceback" not in up.errors(), up.errors()


def post(up: Up, path: str, body: Any = None, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return up.call("POST", path, content=content, **more)


def refused(answer: httpx.Response, status: int) -> str:
    """The sentence of an error."""
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert set(answer.json()) == {"error"}
    sentence = str(answer.json()["error"])
    assert len(sentence) < 600 and sentence.endswith((".", ")", "exist", "later.")), sentence
    return sentence


# -- V1


def test_v1_lists_and_readiness(up: Up) -> None:
    assert up.call("GET", "/").json() == {"status": "alive"}
    assert "<html" in up.call("GET", "/", headers={"accept": "text/html"}).text
    assert up.call("GET", "/v1/models").json() == {"models": ["next", "sun"]}
    assert up.call("GET", "/v1/models/sun").json() == {"name": "sun", "ready": True}
    assert "sun" not in refused(up.call("GET", "/v1/models/moon"), 404)


@pytest.mark.parametrize(
    "body", [b"", b'{"instances": []}', b'{"instances": [[]]}', b'{"instances":[],"parameters":null}']
)
def test_v1_empty_input_is_the_last_forecast(up: Up, body: bytes) -> None:
    (values,) = post(up, "/v1/models/sun:predict", body).json()["predictions"]
    assert values == post(up, "/v2/models/sun/infer", {}).json()["outputs"][0]["data"]


def test_v1_histories_alone_and_with_names_agree_with_v2(up: Up) -> None:
    history = [float(value) for value in np.arange(200) % 24 * 100]
    origin = sun.START // 10**6 + 10 * 24 * 3_600_000
    plain = post(up, "/v1/models/sun:predict", {"instances": [history, history]}).json()["predictions"]
    named = post(up, "/v1/models/sun:predict", {"instances": [{"history": history, "origin_ms": origin}]}).json()
    v2 = plant.infer(up, "sun", history=history)[1]["outputs"][0]
    assert plain[0] == plain[1] == v2["data"] and v2["shape"] == [1, 24]
    assert len(named["predictions"][0]) == 24


@pytest.mark.parametrize(
    "body",
    [{}, [], 5, {"instances": 5}, {"instances": [1, {"history": []}]}, {"instances": [{"history": [1]}, {"x": [1]}]},
     {"instances": ["a"]}, {"instances": [[1, 2], [3]]}, {"instances": [[1, None]]}, {"instances": [{}]},
     {"instances": [{"history": [1.0] * 200, "origin_ms": 1e30}]}, {"instances": [[[1.0]]]},
     {"instances": [[1.0]], "parameters": {"key": 5}}],
)  # fmt: skip
def test_v1_bad_bodies(up: Up, body: Any) -> None:
    refused(post(up, "/v1/models/sun:predict", body), 400)


# -- V2


def test_v2_server_and_model_metadata(up: Up) -> None:
    about = up.call("GET", "/v2").json()
    assert about["name"] == "headrace" and "binary_tensor_data" in about["extensions"]
    assert up.call("GET", "/v2/health/live").json() == {"live": True}
    assert up.call("GET", "/v2/health/ready").json() == {"ready": True}
    assert up.call("GET", "/v2/models").json() == {"models": ["next", "sun"]}
    model = up.call("GET", "/v2/models/sun").json()
    assert model["inputs"][0] == {"name": "x", "datatype": "FP64", "shape": X}
    assert model["outputs"] == [{"name": "y", "datatype": "FP64", "shape": [-1, 24]}]
    (version,) = model["versions"]
    assert up.call("GET", f"/v2/models/sun/versions/{version}").json() == model
    assert up.call("GET", f"/v2/models/sun/versions/{version}/ready").json() == {"name": "sun", "ready": True}
    assert up.call("GET", "/v2/models/sun/ready").json() == {"name": "sun", "ready": True}
    for path in ("", "/ready"):
        refused(up.call("GET", f"/v2/models/sun/versions/77{path}"), 404)
    answer = post(up, f"/v2/models/sun/versions/{version}/infer", {"id": "mine", **GOOD}).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "sun", version)
    refused(post(up, "/v2/models/sun/versions/77/infer", GOOD), 404)


def test_v2_repository(up: Up) -> None:
    index = post(up, "/v2/repository/index", {}).json()
    assert [(one["name"], one["state"]) for one in index] == [("next", "READY"), ("sun", "READY")]
    for verb in ("load", "unload"):
        assert "headrace apply" in refused(post(up, f"/v2/repository/models/sun/{verb}", {}), 501)
        refused(post(up, f"/v2/repository/models/moon/{verb}", {}), 404)


def test_v2_answers_are_those_of_the_weights(up: Up) -> None:
    """x . w, floored and brought back to W, computed here from what the worker stored."""
    x = np.random.default_rng(1).random((3, 24, 10))
    body = {"inputs": [tensor("x", [3, 24, 10], x.ravel().tolist())]}
    got = post(up, "/v2/models/sun/infer", body).json()["outputs"][0]
    (file,) = (up.data / "state").glob("sun@*.db")
    store = Store(file)
    found = store.servable(store.lanes()[0], "live")
    store.close()
    assert found is not None
    served = states.unpack(found[1])
    weights = states.unpack(served["data"])
    expected = np.maximum((x @ weights["weights"])[:, :, 0], weights["floor"]) * served["factor"] + served["offset"]
    assert got["shape"] == [3, 24]
    np.testing.assert_allclose(np.reshape(got["data"], (3, 24)), expected, rtol=1e-9)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
def test_v2_flat_nested_and_smaller_floats_agree(up: Up, nested: bool, datatype: str) -> None:
    x = np.full((2, 24, 10), 0.5)
    data = x.tolist() if nested else x.ravel().tolist()
    got = post(up, "/v2/models/sun/infer", {"inputs": [tensor("x", [2, 24, 10], data, datatype)]}).json()
    want = post(up, "/v2/models/sun/infer", GOOD).json()
    assert got["outputs"][0]["data"] == want["outputs"][0]["data"] * 2


def binary(arrays: dict[str, np.ndarray[Any, Any]], datatype: str, **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request with raw tensors."""
    inputs = [
        {"name": name, "shape": list(a.shape), "datatype": datatype, "parameters": {"binary_data_size": a.nbytes}}
        for name, a in arrays.items()
    ]
    head = json.dumps({"inputs": inputs, **more}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return head + b"".join(a.tobytes() for a in arrays.values()), headers


@pytest.mark.parametrize(
    "how",
    [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}],
)
@pytest.mark.parametrize(("datatype", "dtype"), [("FP64", "<f8"), ("FP32", "<f4")])
def test_v2_binary_tensors_both_ways(up: Up, datatype: str, dtype: str, how: dict[str, Any]) -> None:
    body, headers = binary({"x": np.full((1, 24, 10), 0.5, dtype)}, datatype, **how)
    answer = post(up, "/v2/models/sun/infer", body, headers=headers)
    size = int(answer.headers["inference-header-content-length"])
    head = json.loads(answer.content[:size])
    (output,) = head["outputs"]
    raw = answer.content[size:]
    assert output["parameters"]["binary_data_size"] == len(raw) == 24 * 8
    values = np.frombuffer(raw, "<f8")
    assert values.tolist() == post(up, "/v2/models/sun/infer", GOOD).json()["outputs"][0]["data"]


@pytest.mark.parametrize(
    "body",
    [b"", {}, {"inputs": []}, {"id": None, "parameters": None, "outputs": None},
     {"inputs": [tensor("x", [0], [])]}, {"inputs": [tensor("history", [0, 24], [])]}, {"parameters": {"key": "plant/one"}}],
)  # fmt: skip
def test_v2_empty_input_is_the_last_forecast(up: Up, body: Any) -> None:
    answer = post(up, "/v2/models/sun/infer", body).json()
    assert answer["parameters"]["key"] == "plant/one" and answer["parameters"]["step_ms"] == HOUR // 10**6
    assert answer["outputs"][0]["shape"] == [1, 24] and len(answer["id"]) == 18


def test_a_model_without_a_forecast_is_not_ready(up: Up) -> None:
    assert up.apply(sun.spec("young").replace("plant/+/reading", "elsewhere/#")).status_code == 200
    try:
        assert up.call("GET", "/v2/models/young/ready").status_code == 503
        assert up.call("GET", "/v1/models/young").json() == {"name": "young", "ready": False}
        assert "no forecast yet" in refused(post(up, "/v2/models/young/infer", {}), 503)
        assert "not trained yet" in refused(post(up, "/v2/models/young/infer", GOOD), 503)
        assert "not trained yet" in refused(post(up, "/v2/models/young/learn", b""), 503)
        refused(post(up, "/v1/models/young:predict", {"instances": []}), 503)
    finally:
        assert up.call("DELETE", "/api/specs/young").status_code == 200
    refused(post(up, "/v2/models/young/infer", {}), 404)


BIG = 2**40
TENSORS = [
    {"name": "x"}, {"shape": [1]}, tensor("x", [1, 24, 10], [0.5] * 239), tensor("x", [1, 24, 11], [0.5] * 264),
    tensor("x", [-1, 24, 10], [0.5] * 240), tensor("x", [BIG], [1]), tensor("x", [BIG, BIG, BIG], [1]),
    tensor("x", [2**62, 2**62, 0], []), tensor("x", [10**30], [1]), tensor("x", [1] * 70, [1]), tensor("x", [1.5], [1]),
    tensor("x", [1], ["aGk="], "BYTES"), tensor("x", [1], [1], "FP128"), tensor("x", [1], [1], ""), tensor("x", [1], None),
    tensor("x", [1, 24, 10], [None] * 240), tensor("x", [1, 24, 10], ["0.5"] * 240), tensor("x", [1, 24, 10], {"a": 1}),
    tensor("x", [1, 24, 10], [[0.5] * 239, 0.5]), tensor("x", [1, 24, 10], [0.5] * 240, "INT64"),
    tensor("x", [1], [300], "UINT8"),
    tensor("x", [1], [-1], "UINT64"), tensor("x", [1, 24, 10], [1e300] * 240, "FP32"), tensor("x", [1, 24, 10], [10**400] * 240),
    tensor("x", [1, 24, 10], [10**30] * 240, "INT64"), tensor("x", [1], [2], "BOOL"), tensor("z", [1], [1]),
    tensor("history", [1, 2], [1.0, 2.0]), tensor("history", [1, 1, 1], [1.0]), tensor("history", [1], [None]),
    {"name": "x", "shape": [1, 24, 10], "datatype": "FP64", "parameters": {"binary_data_size": 1920}},
    tensor("z" * 9999, [1], [1]),
]  # fmt: skip


@pytest.mark.parametrize("bad", TENSORS, ids=lambda bad: json.dumps(bad)[:50])
def test_v2_bad_tensors(up: Up, bad: dict[str, Any]) -> None:
    refused(post(up, "/v2/models/sun/infer", {"inputs": [bad]}), 400)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"5", b"null", b"\xff\xfe", b'{"id":"\xff"}', b'{"id":"\\ud800"}', b'{"id":5}', b'{"inputs":{}}', b"\x00" * 50,
     b'{"parameters":{"a":NaN}}', b'{"parameters":{"a":1e400}}', b'{"parameters":{"key":["a"]}}', b'{"outputs":5}',
     b'{"inputs":' + b"[" * 100_000, b'{"parameters":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
     json.dumps({"inputs": [tensor("x", [1, 24, 10], [0.5] * 240)] * 2}).encode(),
     json.dumps({"inputs": [tensor("history", [1, 200], [1.0] * 200), tensor("origin_ms", [2], [1, 2], "INT64")]}).encode(),
     json.dumps({"inputs": [tensor("history", [1, 200], [1.0] * 200), tensor("origin_ms", [1], [2**62], "INT64")]}).encode(),
     json.dumps({"inputs": [tensor("history", [1, 200], [1.0] * 200), tensor("origin_ms", [1], [-1], "INT64")]}).encode(),
     json.dumps({"inputs": [tensor("history", [1, 200_000], [1.0] * 200_000)]}).encode(),
     json.dumps({"inputs": [tensor("history", [0, 5], []), tensor("z", [1], [1])]}).encode()],
    ids=lambda body: body[:40].decode("latin-1"),
)  # fmt: skip
def test_v2_bad_bodies(up: Up, body: bytes) -> None:
    for action in ("infer", "learn", "feedback"):
        status = post(up, f"/v2/models/sun/{action}", body).status_code
        assert status == 400 or (action == "feedback" and status == 404), action


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 5000, "99999999", "1", ""])
def test_v2_bad_binary_headers(up: Up, length: str) -> None:
    body, _ = binary({"x": np.full((1, 24, 10), 0.5)}, "FP64")
    refused(post(up, "/v2/models/sun/infer", body, headers={"inference-header-content-length": length}), 400)


@pytest.mark.parametrize("size", [-1, 2**70, "8", 1.5, [1], 1919, 1921])
def test_v2_bad_binary_sizes(up: Up, size: Any) -> None:
    one = {"name": "x", "shape": [1, 24, 10], "datatype": "FP64", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one]}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    refused(post(up, "/v2/models/sun/infer", head + bytes(1920), headers=headers), 400)


def test_v2_an_output_that_no_model_has(up: Up) -> None:
    assert "'z'" in refused(post(up, "/v2/models/sun/infer", {**GOOD, "outputs": [{"name": "z"}]}), 400)


def test_routes_that_are_not_there_say_so(up: Up) -> None:
    for method, path in [
        ("GET", "/v2x"), ("GET", "/v2/models/sun/infer"), ("PUT", "/v2/models/sun/infer"), ("DELETE", "/v2/models/sun"),
        ("POST", "/v2/models/sun/foo/bar/infer"), ("POST", "/v2/models/sun%2f..%2f/infer"), ("OPTIONS", "/v2/models/sun/infer"),
        ("POST", "/"), ("GET", "/none"), ("GET", "/v1"), ("POST", "/metrics"), ("GET", "/api/none"), ("GET", "/ingest/a"),
        ("GET", "/v2/models/\u00e9"), ("GET", "/api/log/99999999999999999999"), ("GET", "/api/models/moon"),
        ("GET", "/v1/models/sun:predict"), ("PATCH", "/api/specs"), ("POST", "/v2/models/%ff%fe/infer"),
    ]:  # fmt: skip
        assert up.call(method, path).status_code in {404, 405}, (method, path)
        refused(up.call(method, path), up.call(method, path).status_code)
    for action in ("decide", "reward"):
        refused(post(up, f"/v2/models/sun/{action}", {}), 501)


def test_head_is_get_without_a_body(up: Up) -> None:
    for path in ("/", "/v2", "/v2/health/ready", "/v1/models", "/metrics"):
        answer = up.call("HEAD", path)
        assert (answer.status_code, answer.content) == (200, b""), path


# -- sizes, encodings, connections


@pytest.mark.parametrize(
    "path", ["/v2/models/sun/infer", "/v2/models/sun/explain", "/v1/models/sun:explain", "/ingest/a/b"]
)
def test_a_client_that_sends_all_before_it_reads_gets_its_413(up: Up, path: str) -> None:
    """With ``Connection: close`` the server used to hang up in the middle of the body."""
    host, _, port = up.addresses["http"].removeprefix("http://").partition(":")
    size = 17 * 2**20
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{up.head}Connection: close\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        client.sendall(bytes(size))
        text = b"".join(iter(lambda: client.recv(65536), b""))
    assert text.startswith(b"HTTP/1.1 413 ") and b"over the limit of 4 MiB" in text


def test_too_large_plain_chunked_and_compressed(up: Up) -> None:
    big = b'{"id":"' + b"x" * (5 * 2**20) + b'"}'
    assert "--body-limit-mb" in refused(post(up, "/v2/models/sun/infer", big), 413)
    chunks = (big[start : start + 65536] for start in range(0, len(big), 65536))
    refused(up.call("POST", "/v2/models/sun/infer", content=chunks), 413)
    bomb = gzip.compress(bytes(200 * 2**20))
    assert len(bomb) < 2**20
    refused(post(up, "/v2/models/sun/infer", bomb, headers={"content-encoding": "gzip"}), 413)
    refused(post(up, "/ingest/a/b", bomb, headers={"content-encoding": "gzip"}), 413)
    refused(up.call("PUT", "/api/specs", content=big), 413)


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("gzip", gzip.compress(json.dumps(GOOD).encode()), 200), ("GZIP", gzip.compress(json.dumps(GOOD).encode()), 200),
     ("deflate", zlib.compress(json.dumps(GOOD).encode()), 200), ("identity", json.dumps(GOOD).encode(), 200),
     ("gzip", gzip.compress(b'{"inputs":') + gzip.compress(b"[]}"), 200), ("gzip", gzip.compress(b'{"inputs":[]}')[:-9], 400),
     ("gzip", b"junk", 400), ("gzip", gzip.compress(b"{}") + b"junk", 400), ("br", b"{}", 400), ("gzip, gzip", b"{}", 400)],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_encodings(up: Up, coding: str, body: bytes, status: int) -> None:
    answer = post(up, "/v2/models/sun/infer", body, headers={"content-encoding": coding})
    assert answer.status_code == status, answer.text


def raw(up: Up, data: bytes, *, close: bool = False) -> bytes:
    """The first bytes the server sends for these; b"" when it just closes."""
    with socket.create_connection(("127.0.0.1", int(up.http.rpartition(":")[2])), 5) as connection:
        connection.sendall(data)
        if close:
            return b""
        connection.settimeout(2)
        try:
            return connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return b""


def test_smuggled_broken_and_aborted_requests(up: Up) -> None:
    host = up.http.removeprefix("http://").encode()
    head = b"POST /v2/models/sun/infer HTTP/1.1\r\nHost: " + host + b"\r\n" + up.head.encode()
    double = head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2 HTTP/1.1\r\n\r\n"
    for bad in [
        double,
        head + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        head + b"Content-Length: -5\r\n\r\n{}",
        head + b"Content-Length : 2\r\n\r\n{}",
        head + b"Transfer-Encoding: xchunked\r\n\r\n{}",
        head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
        b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
        b"GET /v2\x00 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00" * 20,
        b"GET /v2 HTTP/9.9\r\n\r\n",
        b"\r\n" * 1000,
    ]:
        assert raw(up, bad)[9:12] in {b"400", b"404", b""}, bad[:80]
    raw(up, head + b"Content-Length: 100\r\n\r\n{", close=True)
    raw(up, head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", close=True)
    assert post(up, "/v2/models/sun/infer", GOOD).status_code == 200


def test_foreign_pages_and_names_are_refused(up: Up) -> None:
    for headers in [
        {"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://["},
        {"origin": "http://" + up.http.removeprefix("http://") + ".evil.example"}, {"origin": "https://127.0.0.1"},
    ]:  # fmt: skip
        for method, path in [("GET", "/v2"), ("PUT", "/api/specs"), ("POST", "/ingest/a"), ("OPTIONS", "/api/specs")]:
            refused(up.call(method, path, headers=headers), 403)
    assert up.call("GET", "/v2", headers={"origin": up.http}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("a%2Fb", 200), ("a/b", 200), ("a%2Fb%23", 400), ("%24headrace%2Fcontrol", 400), ("$headrace/control", 400), ("a%00", 400),
     ("a%ff", 400), ("", 400), ("x" * 2000, 400), ("%C3%A9t%C3%A9", 200), ("a//b", 200), ("..%2F..%2Fetc", 200)],
)  # fmt: skip
def test_ingest_topics(up: Up, path: str, status: int) -> None:
    answer = up.call("POST", f"/ingest/{path}", content=b'{"power":1}')
    assert answer.status_code == status, answer.text
    if path in {"a%2Fb", "a/b"}:
        assert answer.json() == {"stored": 1, "topic": "a/b"}


def test_random_bytes_never_break_a_door(up: Up) -> None:
    rng = random.Random(7)
    paths = [
        "/v2/models/sun/infer", "/v1/models/sun:predict", "/v2/models/sun/learn", "/v2/models/sun/feedback",
        "/v2/repository/index", "/api/specs", "/write", "/v2/models/next/infer",
    ]  # fmt: skip
    seeds = [
        json.dumps(GOOD).encode(),
        b'{"instances":[[1,2,3]]}',
        b'{"text":"kind: OnlineModel"}',
        b'{"id":"x","outcome":[1]}',
    ]
    with httpx.Client(base_url=up.http, headers=up.headers, trust_env=False, timeout=30) as client:
        for _ in range(400):
            body = bytearray(rng.choice(seeds)) if rng.random() < 0.8 else bytearray(rng.randbytes(rng.randrange(300)))
            for _ in range(rng.randrange(6)):
                if body:
                    body[rng.randrange(len(body))] = rng.choice(b'0123456789-+eE.{}[]",:nulltrue\x00\xff')
            headers = {"inference-header-content-length": str(rng.randrange(400))} if rng.random() < 0.2 else {}
            path = rng.choice(paths)
            answer = client.request(
                "PUT" if path == "/api/specs" else "POST", path, content=bytes(body), headers=headers
            )
            assert answer.status_code < 500 or answer.status_code in {501, 503}, (path, bytes(body), answer.text)


# -- CloudEvents


def test_cloud_events_binary_mode(up: Up) -> None:
    headers = {"ce-id": "e-1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}
    answer = post(up, "/v1/models/sun:predict", {"instances": []}, headers=headers)
    assert len(answer.json()["predictions"][0]) == 24
    got = {name: answer.headers[name] for name in ("ce-type", "ce-specversion", "ce-id", "ce-source")}
    assert got == {
        "ce-type": "io.kserve.inference.response",
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "io.kserve.inference.sun",
    }


@pytest.mark.parametrize("encoded", [False, True])
def test_cloud_events_structured_mode(up: Up, encoded: bool) -> None:
    data: dict[str, Any] = {"data": {"instances": []}}
    if encoded:
        data = {"data_base64": base64.b64encode(b'{"instances": []}').decode()}
    event = {"specversion": "1.0", "id": "e-2\r\nx: y", "source": "/s", "type": "t", "more": 1, **data}
    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    answer = post(up, "/v1/models/sun:predict", event, headers=headers)
    assert answer.headers["content-type"] == "application/cloudevents+json"
    assert "x" not in answer.headers
    body = answer.json()
    assert (body["type"], body["id"], body["specversion"]) == ("io.kserve.inference.response", event["id"], "1.0")
    assert len(body["data"]["predictions"][0]) == 24


@pytest.mark.parametrize(
    "event", [{}, [], {"id": "1"}, {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data_base64": "?"}]
)
def test_cloud_events_that_are_none(up: Up, event: Any) -> None:
    refused(post(up, "/v1/models/sun:predict", event, headers={"content-type": "application/cloudevents+json"}), 400)


# -- /learn and /feedback


def ask(up: Up) -> list[float]:
    values: list[float] = post(up, "/v2/models/sun/infer", GOOD).json()["outputs"][0]["data"]
    return values


def test_learn_changes_the_answers_before_it_returns(up: Up) -> None:
    before = ask(up)
    targets = [5000.0] * 24
    body = {"inputs": [*GOOD["inputs"], tensor("y", [1, 24], targets)]}
    answer = post(up, "/v2/models/sun/learn", body)
    assert answer.status_code == 200 and answer.json()["applied"] is True
    after = ask(up)
    assert np.abs(np.subtract(after, targets)).sum() < np.abs(np.subtract(before, targets)).sum() * 0.9


def test_learn_with_binary_tensors_and_unknown_targets(up: Up) -> None:
    body, headers = binary({"x": np.full((2, 24, 10), 0.25), "y": np.full((2, 24), np.nan)}, "FP64")
    answer = post(up, "/v2/models/sun/learn", body, headers=headers)
    assert (answer.status_code, answer.json()["applied"]) == (200, True)


def test_learn_is_accepted_when_its_effect_takes_longer_than_one_wants_to_wait(up: Up) -> None:
    lesson = {"inputs": [*GOOD["inputs"], tensor("y", [1, 24], [4000.0] * 24)]}
    workers = up.workers()
    try:
        for worker in workers:
            worker.suspend()
        answer = post(up, "/v2/models/sun/learn", lesson, headers={"prefer": "wait=1"})
        assert (answer.status_code, answer.json()["applied"]) == (202, False)
        before = ask(up)
    finally:
        for worker in workers:
            worker.resume()
    assert post(up, "/v2/models/sun/learn", lesson).status_code == 200
    assert ask(up) != before


@pytest.mark.parametrize("body", [b"", {}, {"inputs": []}])
def test_learn_without_data_rehearses(up: Up, body: Any) -> None:
    answer = post(up, "/v2/models/sun/learn", body)
    assert (answer.status_code, answer.json()["applied"]) == (200, True)


@pytest.mark.parametrize(
    "inputs",
    [[tensor("x", [1, 24, 10], [0.5] * 240)], [tensor("y", [1, 24], [1.0] * 24)],
     [tensor("x", [1, 24, 10], [0.5] * 240), tensor("y", [1, 23], [1.0] * 23)],
     [tensor("x", [2, 24, 10], [0.5] * 480), tensor("y", [5], [1.0] * 5)],
     [tensor("x", [0, 24, 10], []), tensor("y", [1, 24], [1.0] * 24)],
     [tensor("x", [1, 24, 10], [0.5] * 240), tensor("y", [24, 1, 1, 1], [1e300] * 24, "FP32")],
     [tensor("x", [1, 24, 10], [0.5] * 240), tensor("y", [24], ["a"] * 24, "BYTES")]],
)  # fmt: skip
def test_learn_refuses_wrong_data(up: Up, inputs: list[dict[str, Any]]) -> None:
    refused(post(up, "/v2/models/sun/learn", {"inputs": inputs}), 400)


def test_data_a_model_cannot_learn_from_is_refused_and_the_model_goes_on(up: Up) -> None:
    question = {"inputs": [tensor("x", [1, 6, 1], [0.5] * 6)]}
    before = post(up, "/v2/models/next/infer", question).json()["outputs"]
    targets = [1.7e308] * 2000 + [-1.7e308]
    body = {"inputs": [tensor("x", [2001, 6, 1], [100.0] * 12006), tensor("y", [2001, 1], targets)]}
    assert "left the range of floats" in refused(post(up, "/v2/models/next/learn", body), 400)
    assert post(up, "/v2/models/next/infer", question).json()["outputs"] == before
    assert up.call("GET", "/v2/models/next/ready").json()["ready"]
    unknown = {"inputs": [*GOOD["inputs"], tensor("y", [1, 24], [1.0] * 24)], "parameters": {"key": "nobody"}}
    refused(post(up, "/v2/models/sun/learn", unknown), 404)


def test_feedback_joins_its_prediction(up: Up) -> None:
    def scored() -> int:
        return len(up.call("GET", "/api/models/sun?days=400").json()["scores"])

    last = post(up, "/v2/models/sun/infer", {}).json()
    before = scored()
    answer = post(up, "/v2/models/sun/feedback", {"id": last["id"], "outcome": [100.0] * 23 + [None]})
    assert (answer.status_code, answer.json()["applied"]) == (200, True)
    assert scored() == before + 1
    again = post(up, "/v2/models/sun/feedback", {"id": last["id"], "outcome": [100.0] * 24})
    assert "known already" in refused(again, 400)


@pytest.mark.parametrize("outcome", [None, 5, [], [1.0] * 23, ["a"] * 24, [True] * 24, [10**400] * 24, [[1.0]] * 24])
def test_feedback_refuses_wrong_outcomes(up: Up, outcome: Any) -> None:
    last = post(up, "/v2/models/sun/infer", {}).json()
    refused(post(up, "/v2/models/sun/feedback", {"id": last["id"], "outcome": outcome}), 400)
    refused(post(up, "/v2/models/sun/feedback", {"id": "nobody", "outcome": outcome}), 404)


# -- the process


def test_metrics_count_predictions(up: Up) -> None:
    def count() -> float:
        text = up.call("GET", "/metrics").text
        found = re.search(r'headrace_predictions_total\{company="local",model="sun"\} ([\d.e+]+)', text)
        return float(found[1]) if found else 0.0

    before = count()
    for _ in range(3):
        post(up, "/v2/models/sun/infer", GOOD)
    assert count() == before + 3


def test_the_serving_process_loads_no_training_library(up: Up) -> None:
    maps = Path(f"/proc/{up.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    text = maps.read_text()
    assert "libtorch" not in text and "sklearn" not in text and "numpy" in text
