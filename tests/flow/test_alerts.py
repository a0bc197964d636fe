"""Alerts of a whole platform: readings over MQTT, alerts over MQTT, HTTP, the command line and a webhook; over restarts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headrace.services.learning.webhooks import signature
from tests import plant
from tests.flow.test_mqtt_predictions import client
from tests.running import Up, free_port, scrubbed

START_MS = 1_700_000_000_000
KEY = "a key only the receiver knows"
SPEC = """
kind: OnlineModel
metadata: {{name: room}}
input: {{topics: [room/+/reading], target: temp}}
transform: [{{window: {{history: 3}}}}]
forecast: {{horizon: 1}}
backend: rls
alerts:
  - {{name: hot, on: reading, field: temp, above: 30, for: 2m, clear: 25, severity: critical}}
  - {{name: silent, on: silence, for: 30m}}
alert: {{webhook: "{url}"}}
"""


class Receiver(ThreadingHTTPServer):
    """Somebody's incident tool: answers 503 while `failing` is above zero."""

    def __init__(self) -> None:
        self.failing = 0
        self.taken: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.signed: list[bool] = []
        super().__init__(("127.0.0.1", 0), Hook)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = self.headers.get("headrace-signature", "")
        stamp = sent.partition(",")[0].removeprefix("t=")
        server.keys.append(self.headers["idempotency-key"])
        server.signed.append(stamp.isdigit() and sent == signature(KEY.encode(), int(stamp), body))
        server.failing -= 1
        if server.failing < 0:
            server.taken.append(json.loads(body))
        self.send_response(204 if server.failing < 0 else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


def reading(device: str, minute: float, temp: float) -> tuple[str, bytes]:
    return f"room/{device}/reading", json.dumps({"ts": START_MS + round(minute * 60_000), "temp": temp}).encode()


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def states(receiver: Receiver) -> list[tuple[str, str, str]]:
    return [(one["rule"], one["key"].rpartition("/")[2], one["state"]) for one in receiver.taken]


def test_from_a_reading_to_mqtt_and_a_webhook_that_fails_twice_over_a_restart(
    tmp_path: Path, receiver: Receiver
) -> None:
    port, data = free_port(), tmp_path / "data"
    receiver.failing = 2
    more = {"HEADRACE_WEBHOOK_SECRET": KEY}
    with Up(data, "--webhook-private", mqtt_port=port, **more) as up:
        assert up.apply(SPEC.format(url=receiver.url)).status_code == 200
        with client(up, 5, "headrace/alert/#") as listener:
            plant.publish(up, [reading("a", minute, 31 + minute) for minute in range(4)] + [reading("b", 0, 20)])
            heard = listener.receive()
            assert heard.topic == "headrace/alert/room/room_a/hot"
            told = json.loads(heard.payload)
        until(lambda: receiver.taken, "the webhook's third attempt")
        assert receiver.taken == [told] and len(receiver.keys) == 3
        assert set(receiver.keys) == {f"{told['id']}-active"} and all(receiver.signed)
        assert told == {
            "id": told["id"], "model": "room", "key": "room/a", "rule": "hot", "on": "reading", "severity": "critical",
            "state": "active", "raised_ms": START_MS + 120_000, "cleared_ms": None, "value": 33.0, "threshold": 30.0,
            "message": "temp is 33, above 30 for 2m",
        }  # fmt: skip
        assert up.call("GET", "/api/alerts").json() == [told]
        metrics = up.call("GET", "/metrics").text
        assert 'headrace_alerts_active{company="local",model="room",severity="critical"} 1.0' in metrics
        assert 'headrace_webhooks{status="sent"} 1.0' in metrics
        receiver.failing = 10**6
        plant.publish(up, [reading("a", 5, 26), reading("a", 6, 25)])
        until(lambda: len(receiver.keys) >= 4, "an attempt to say that it is cleared")
        up.kill()
    receiver.failing = 0
    with Up(data, "--webhook-private", mqtt_port=port, **more) as up:
        until(lambda: len(receiver.taken) == 2, "what was queued before the kill")
        assert states(receiver) == [("hot", "a", "active"), ("hot", "a", "cleared")]
        plant.publish(up, [reading("a", 60, 20), reading("a", 61, 20)])
        until(lambda: len(receiver.taken) == 5, "silence of a in between, and of b")
        found = sorted(states(receiver)[2:])
        assert found == [("silent", "a", "active"), ("silent", "a", "cleared"), ("silent", "b", "active")]
        with client(up, 4, "headrace/alert/room/room_b/silent") as late:
            assert late.receive().retain, "an active alert is kept for those who come later"
        shown = up.overview()["alerts"]
        assert shown["active"] == 1 and shown["webhooks"] == {"pending": 0, "sent": 5, "failed": 0, "error": ""}
        assert [one["state"] for one in shown["recent"]] == ["cleared", "active", "cleared"]
        command_line(up)
        assert up.stop() == 0
        assert len(set(receiver.keys)) == 5 and receiver.keys.count(receiver.keys[0]) == 3
        for secret in (KEY, "/hook"):
            assert secret not in up_errors(data), "neither the key nor the path of the address is said"


def up_errors(data: Path) -> str:
    return (data.parent / f"{data.name}.stderr").read_text()


def command_line(up: Up) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "headrace.cli", "alerts", "--url", up.http, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=scrubbed(), timeout=30).stdout

    table = run()
    assert "temp is 33, above 30 for 2m" in table and "2023-11-14 22:15:20" in table
    (active,) = json.loads(run("--active", "--json", "--model", "room"))
    assert (active["rule"], active["key"], active["state"]) == ("silent", "room/b", "active")
    assert "room/b" not in run("--key", "room/a")


def test_history_is_not_sent_and_what_is_gone_is_withdrawn(tmp_path: Path, receiver: Receiver) -> None:
    """A rule that is added to a model judges the whole log, but only what is so now is news."""
    spec = SPEC.format(url=receiver.url)
    plain = spec.partition("alerts:")[0]
    with Up(tmp_path / "data", "--webhook-private") as up:
        assert up.apply(plain).status_code == 200
        plant.publish(up, [reading("a", minute, 31 if minute < 10 else 20) for minute in range(20)])
        plant.publish(up, [reading("b", minute, 35) for minute in range(20)])
        up.caught_up()
        assert up.apply(spec).json()["changes"] == {"room": "changed"}
        until(lambda: receiver.taken, "the alert of b")
        up.caught_up()
        assert len(up.call("GET", "/api/alerts").json()) == 2, "all are listed"
        assert states(receiver) == [("hot", "b", "active")]
        changed = spec.replace("severity: critical", "severity: info").replace(
            "  - {name: silent, on: silence, for: 30m}\n", ""
        )
        assert up.apply(changed).json()["changes"] == {"room": "changed"}
        up.caught_up()
        plant.publish(up, [reading("b", 21, 20)])
        until(lambda: len(receiver.taken) == 2, "its end")
        assert states(receiver)[1] == ("hot", "b", "cleared") and receiver.taken[0]["id"] == receiver.taken[1]["id"]
        plant.publish(up, [reading("b", minute, 40) for minute in range(30, 34)])
        until(lambda: len(receiver.taken) == 3, "another episode")
        with client(up, 4, "headrace/alert/#") as listener:
            assert listener.receive().topic == "headrace/alert/room/room_b/hot"
            assert up.apply(plain).status_code == 200
            until(lambda: len(receiver.taken) == 4, "its withdrawal")
            assert listener.receive().payload == b"", "nothing is retained of it"
        assert receiver.taken[3]["state"] == "cleared" and receiver.taken[3]["message"].startswith("withdrawn")
        assert up.call("GET", "/api/alerts").json() == []
        assert up.apply(spec).status_code == 200
        plant.publish(up, [reading("b", 40, 20)])
        until(
            lambda: [one["state"] for one in up.call("GET", "/api/alerts?key=room/b").json()][:1] == ["cleared"], "it"
        )
        until(lambda: receiver.taken[-1]["cleared_ms"] == START_MS + 40 * 60_000, "its end")
        with client(up, 4, "headrace/alert/#") as listener:
            assert json.loads(listener.receive().payload)["state"] == "cleared"
            assert up.call("DELETE", "/api/specs/room").status_code == 200
            assert listener.receive().payload == b"", "nor is a cleared one kept of a model that is gone"
        assert up.call("GET", "/api/alerts?model=nobody").status_code == 404
        assert up.call("GET", "/api/alerts?limit=many").status_code == 400


def test_a_webhook_into_the_own_network_is_refused_and_said(tmp_path: Path, receiver: Receiver) -> None:
    typo = "  - {name: typo, on: reading, field: nope, above: 1}\nalert:"
    with Up(tmp_path / "data") as up:
        assert up.apply(SPEC.format(url=receiver.url).replace("alert:", typo)).status_code == 200
        plant.publish(up, [reading("a", minute, 31) for minute in range(4)])
        until(lambda: up.overview()["alerts"]["webhooks"]["failed"] == 1, "the refusal")
        said = up.overview()["alerts"]["webhooks"]["error"]
        assert said.startswith("model 'room', rule 'hot': ") and "--webhook-private" in said
        wanted = "rule 'typo': no field 'nope' so far; fields seen: temp"
        until(lambda: up.overview()["models"][0]["detail"] == wanted, "the rule that hears nothing")
        assert up.stop() == 0
    assert receiver.keys == []
    assert "'127.0.0.1' is not on the public internet" in up_errors(tmp_path / "data")


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        answer = up.apply(SPEC.format(url="http://user:pass@x.org/"))
        assert answer.status_code == 400 and answer.json()["error"].startswith("headrace.yaml:11: alert.webhook: ")
        assert "pass@" not in answer.text
        assert up.call("GET", "/api/alerts").json() == []
