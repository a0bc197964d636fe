"""What was not understood, what was, and that neither grows without end: quarantine, replay, inspect, very many topics."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from headrace.records import DAY
from tests import sun
from tests.flow.test_bad_input import publish, wait_for
from tests.running import Up, scrubbed

HTML = b'{"<img src=x onerror=alert(1)>": '
PINNED = sun.spec("pinned").replace("plant/+/reading", "odd/+").replace(
    "target: power", "target: power, decoder: {json: {time: when.utc, device: who}}"
)  # fmt: skip


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("quarantine") / "data") as up:
        yield up
        assert "Traceback" not in up.errors()
        assert up.stop() == 0


def inspect(up: Up, topic: str) -> dict[str, Any]:
    """What `headrace inspect` says, once everything has been seen."""
    wait_for(lambda: up.overview()["ingest"]["behind"] == 0)
    answer = up.call("GET", f"/api/topics/{quote(topic, safe='')}")
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def cli(up: Up, *arguments: str) -> str:
    """The command line's output."""
    command = [sys.executable, "-m", "headrace.cli", *arguments, "--url", up.http]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=scrubbed() | {"COLUMNS": "140"}
    ).stdout


def odd(day: int, hour: int) -> bytes:
    """A payload whose time only a decoder with parameters finds: read without, it is refused for its `ts`."""
    seconds = sun.START // 10**9 + day * 86_400 + hour * 3600
    return json.dumps({"ts": "n/a", "when": {"utc": seconds}, "who": "pump", "power": 100.0 * hour}).encode()


def test_replay_after_the_decoder_was_named(up: Up) -> None:
    messages = [("odd/a", odd(day, hour)) for day in range(11) for hour in range(24)]
    publish(up, [*messages, ("odd/a", b"{"), ("odd/b", b"{")])
    before = inspect(up, "odd/a")
    assert before["quarantined"] == len(messages) + 1 and before["decoders"] == {"(quarantined)": len(messages) + 1}
    assert (
        "not ISO 8601" in before["rejected"][1]["reason"]
        and "which field holds the time" in before["rejected"][1]["reason"]
    )
    assert up.apply(PINNED).is_success
    assert up.call("POST", "/api/quarantine/replay?topic=odd%2Fa").json() == {"replayed": len(messages) + 1}
    after = inspect(up, "odd/a")
    assert after["messages"] == len(messages) + 1 and after["quarantined"] == 1, "counted once"
    assert [device["device"] for device in after["devices"]] == ["pump"]
    (model,) = wait_for(lambda: [m for m in up.overview()["models"] if m["state"] == "live"])
    assert model["keys"] == ["pump"]
    forecasts = up.call("GET", "/api/models/pinned?days=30").json()
    assert len(forecasts["actual"]) > 10 * 24 - 2
    again = up.call("POST", "/api/quarantine/replay?topic=odd%2Fa").json()
    assert again == {"replayed": 1}, "only what failed again; what was replayed stays away"
    assert inspect(up, "odd/a")["quarantined"] == 1
    assert "replayed 1 message\n" in cli(up, "quarantine", "replay", "odd/b")
    listing = cli(up, "quarantine", "list")
    assert "odd/b" in listing and "not JSON" in listing
    assert up.call("DELETE", "/api/specs/pinned").is_success


def test_pinned_decoders_are_those_inspect_uses(up: Up) -> None:
    assert up.apply(PINNED.replace("odd/+", "pin/+")).is_success
    publish(up, [("pin/a", odd(0, hour)) for hour in range(24)])
    found = inspect(up, "pin/a")
    assert found["decoders"] == {"json": 24} and found["quarantined"] == 0
    assert found["devices"][0]["device"] == "pump" and found["devices"][0]["every_seconds"] == 3600
    assert up.call("DELETE", "/api/specs/pinned").is_success


def test_long_messages_are_cut_for_the_eye_and_whole_for_replay(up: Up) -> None:
    long = b'{"ts": "n/a", "x": "' + b"y" * 300_000 + b'"}'
    publish(up, [("long/a", long), ("long/a", HTML)])
    rows = {row["topic"]: row for row in wait_for(lambda: in_quarantine(up, "long/a", 2))}
    assert len(rows["long/a"]["preview"]) <= 200 and len(json.dumps(up.overview())) < 300_000
    assert up.call("POST", "/api/quarantine/replay?topic=long%2Fa").json() == {"replayed": 2}
    newest = wait_for(lambda: in_quarantine(up, "long/a", 4))
    assert sum(row["preview"].startswith('{"ts"') for row in newest) == 2
    records = up.call("GET", "/api/records/long%2Fa").json()
    assert [record["bytes"] for record in records] == [len(long), len(HTML)] * 2, "replayed whole"
    assert inspect(up, "long/a")["quarantined"] == 2


def in_quarantine(up: Up, topic: str, count: int) -> list[dict[str, Any]]:
    """The rows of a topic, if there are so many."""
    rows = [row for row in up.call("GET", "/api/quarantine").json() if row["topic"] == topic]
    return rows if len(rows) == count else []


def test_hostile_topics_and_payloads_are_plain_text(up: Up) -> None:
    topics = [
        "<script>alert(1)</script>/x",
        "a'; DROP TABLE topics;--",
        "../../etc/passwd",
        "a//b",
        " ",
        "\u202e\u0007",
        "x" * 900,
    ]
    publish(up, [(topic, HTML) for topic in topics])
    for topic in topics:
        found = inspect(up, topic)
        assert found["topic"] == topic and found["quarantined"] == 1
    answer = up.call("GET", "/api/quarantine")
    assert answer.headers["content-type"] == "application/json"
    assert "<img src=x" in answer.json()[0]["preview"]
    policy = up.call("GET", "/", headers={"accept": "text/html"}).headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy


# -- conventions


@pytest.mark.parametrize("path", ["/api/v2/write?bucket=home&precision={p}", "/write?db=home&precision={p}"])
@pytest.mark.parametrize(("precision", "unit"), [("s", 10**9), ("ms", 10**6), ("us", 1000), ("ns", 1)])
def test_influx(up: Up, path: str, precision: str, unit: int) -> None:
    device = f"{precision}{len(path)}"
    lines = [
        f"weather,device={device} temperature=2{n}.5,open=t {(sun.START + n * 60 * 10**9) // unit}" for n in range(3)
    ]
    answer = up.call(
        "POST",
        path.format(p=precision),
        content=gzip.compress("\n".join(lines).encode()),
        headers={"content-encoding": "gzip"},
    )
    assert answer.status_code == 204 and not answer.content
    found = inspect(up, "influx/home")
    (one,) = [item for item in found["devices"] if item["device"] == device]
    assert one["readings"] == 3 and one["every_seconds"] == 60
    assert one["last_time_ms"] == sun.START // 10**6 + 120_000
    assert one["fields"]["temperature"] == {"type": "float", "unit": "", "last": 22.5, "low": 20.5, "high": 22.5}
    assert found["quarantined"] == 0 and set(found["decoders"]) == {"lineprotocol"}


def test_the_unit_of_the_timestamps_survives_a_replay(up: Up) -> None:
    good = f"m,device=w v=1 {sun.START // 10**9}"
    assert up.call("POST", "/write?db=unit&precision=s", content=f"{good}\nm,device=w v=nan").status_code == 204
    wait_for(lambda: in_quarantine(up, "influx/unit", 1))
    assert up.call("POST", "/api/quarantine/replay?topic=influx%2Funit").json() == {"replayed": 1}
    rows = wait_for(lambda: in_quarantine(up, "influx/unit", 2))
    assert rows[0]["reason"] == rows[1]["reason"] and "no number" in rows[0]["reason"]


CONVENTIONS = [
    ("home/kitchen/temperature", b"21.5", "number", "home/kitchen", {"temperature": ""}),
    ("home/kitchen/light", b"ON", "number", "home/kitchen", {"light": ""}),
    (
        "senml/one",
        b'[{"bn":"urn:dev:1:","n":"t","u":"Cel","v":23.1},{"n":"p","u":"W","v":5}]',
        "senml",
        None,
        {"t": "Cel"},
    ),
    (
        "nested/one",
        b'{"ENERGY": {"Power": 12, "Total": [1, 2]}}',
        "json",
        "nested/one",
        {"ENERGY.Power": "", "ENERGY.Total.1": ""},
    ),
    ("array/one", b'[{"ts": 1700006400000, "a": 1}, {"ts": 1700006460000, "a": 2}]', "json", "array/one", {"a": ""}),
    ("tb/one", b'{"Dev A": [{"ts": 1700006400000, "values": {"v": 1}}]}', "json", "Dev A", {"v": ""}),
]


@pytest.mark.parametrize(
    ("topic", "payload", "decoder", "device", "units"), CONVENTIONS, ids=[c[0] for c in CONVENTIONS]
)
def test_conventions(
    up: Up, topic: str, payload: bytes, decoder: str, device: str | None, units: dict[str, str]
) -> None:
    publish(up, [(topic, payload), (topic, b"\xff\xff{")])
    found = inspect(up, topic)
    assert found["decoders"] == {decoder: 1, "(quarantined)": 1}
    assert found["messages"] == 2 and found["quarantined"] == 1 and len(found["rejected"]) == 1
    assert device is None or found["devices"][0]["device"] == device
    for field, unit in units.items():
        assert found["devices"][0]["fields"][field]["unit"] == unit
    text = cli(up, "inspect", topic)
    assert (
        f"{topic}: 2 messages, 1 rejected: the reasons are below" in text and decoder in text and "rejected at" in text
    )
    for field, unit in units.items():
        assert field in text and unit in text


def test_times_of_arrival_survive_replay(up: Up) -> None:
    """A message without a time of its own is dated by its first arrival, not by its replay."""
    text = sun.spec("late").replace("plant/+/reading", "arr/+").replace(
        "target: power", 'target: power, decoder: {json: {root: "up.data"}}'
    )  # fmt: skip
    publish(up, [("arr/x", b'{"ts": "n/a", "up": {"data": {"power": 5}}}')])
    (row,) = wait_for(lambda: in_quarantine(up, "arr/x", 1))
    assert up.apply(text.replace('root: "up.data"', 'root: "up.data", time: ""')).is_success
    time.sleep(1.2)
    assert up.call("POST", "/api/quarantine/replay?topic=arr%2Fx").json() == {"replayed": 1}
    found = wait_for(lambda: [d for d in inspect(up, "arr/x")["devices"] if d["readings"]])
    assert abs(found[0]["last_time_ms"] - time.time() * 1000) < DAY / 10**6
    log = wait_for(lambda: [t for t in up.overview()["topics"] if t["topic"] == "arr/x" and t["devices"]])
    assert log[0]["devices"][0]["time_ms"] == row["received_ms"]


# -- very many


def test_very_many_topics_and_devices_stay_bounded(up: Up) -> None:
    process, worker = psutil.Process(up.process.pid), up.workers()[0]
    before = process.memory_info().rss, worker.memory_info().rss
    publish(up, [(f"many/{n}", b'{"x": 1}') for n in range(30_000)])
    publish(up, [("crowd/all", json.dumps({"device": f"d{n}", "x": 1}).encode()) for n in range(20_000)])
    overview = wait_for(lambda: (found := up.overview())["ingest"]["behind"] == 0 and found, 60)
    grown = [
        (now - then) / 2**20
        for now, then in zip((process.memory_info().rss, worker.memory_info().rss), before, strict=True)
    ]
    assert max(grown) < 80, grown
    assert len(overview["topics"]) == 50 and overview["known"]["topics"] > 19_000
    assert max(len(topic["devices"]) for topic in overview["topics"]) <= 20
    size = len(json.dumps(overview))
    assert size < 100_000
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert up.overview()["topics"]
        took.append(time.perf_counter() - began)
    assert min(took) < 0.25, took
    assert len(up.call("GET", "/api/topics").json()) <= 1000
    assert len(inspect(up, "crowd/all")["devices"]) <= 200
    total = sum(json.loads(cli(up, "inspect", "--json"))[0].get(name, 0) for name in ("messages",))
    assert total > 0
    print(f"overview of 20,000 topics: {size:,} bytes, {min(took) * 1000:.0f} ms; memory grew {grown} MB")
