"""Predictions over MQTT: asked for on a topic, and each forecast published and kept for whoever comes later."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests import plant, sun
from tests.running import Up

pytestmark = pytest.mark.xdist_group("mqtt_predictions")  # one platform for all of them
ASK = "headrace/predict/"
OUTPUT = "headrace/forecast/sun/plant_one"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with plant.trained(tmp_path_factory.mktemp("mqtt") / "data") as up:
        yield up
        assert "Traceback" not in up.errors()


class Client:
    """A device with a mailbox."""

    def __init__(self, up: Up, version: int, name: str) -> None:
        clean = {"clean_session": True} if version == 4 else {}
        protocol = paho.MQTTProtocolVersion(version)
        self.version, self.mail = version, queue.Queue[paho.MQTTMessage]()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=protocol, **clean)
        self.client.on_message = lambda _client, _data, message: self.mail.put(message)
        self.client.connect(*up.mqtt)
        self.client.loop_start()

    def subscribe(self, topic: str) -> None:
        done = queue.Queue[int]()
        self.client.on_subscribe = lambda *_: done.put(1)
        self.client.subscribe(topic, 1)
        done.get(timeout=5)

    def publish(self, topic: str, body: bytes, properties: Properties | None = None) -> None:
        self.client.publish(topic, body, 1, properties=properties).wait_for_publish(10)

    def receive(self) -> paho.MQTTMessage:
        return self.mail.get(timeout=10)

    def ask(self, model: str, body: Any) -> Any:
        """The answer to a question; v5 with a response topic, 3.1.1 on the topic of its own."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.version == 4:
            self.publish(ASK + model, content)
        else:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic, properties.CorrelationData = "answers/me", b"nr 7"
            self.publish(ASK + model, content, properties)
        message = self.receive()
        if self.version == 5:
            assert message.properties is not None and message.properties.CorrelationData == b"nr 7"
        return json.loads(message.payload)


@contextmanager
def client(up: Up, version: int, *topics: str) -> Iterator[Client]:
    made = Client(up, version, f"c{version}")
    for topic in topics:
        made.subscribe(topic)
    yield made
    made.client.disconnect()
    made.client.loop_stop()


@pytest.fixture(params=[4, 5])
def device(up: Up, request: pytest.FixtureRequest) -> Iterator[Client]:
    with client(up, request.param, f"{ASK}+/response/c4" if request.param == 4 else "answers/me") as made:
        yield made


def test_an_empty_question_is_answered_with_the_last_forecast(up: Up, device: Client) -> None:
    answer = device.ask("sun", b"")
    assert (answer["model"], answer["key"], len(answer["values"])) == ("sun", "plant/one", 24)
    assert answer["values"] == up.call("POST", "/v2/models/sun/infer", json={}).json()["outputs"][0]["data"]


def test_questions_of_both_protocols_are_answered_as_over_http(up: Up, device: Client) -> None:
    history = [float(hour % 24) for hour in range(200)]
    one = {"instances": [history]}
    assert device.ask("sun", one) == up.call("POST", "/v1/models/sun:predict", json=one).json()
    two = {"id": "q", "inputs": [plant.tensor("history", [1, 200], history)]}
    assert device.ask("sun", two) == up.call("POST", "/v2/models/sun/infer", json=two).json()
    key = {"parameters": {"key": "plant/one"}}
    assert device.ask("sun", key) == up.call("POST", "/v2/models/sun/infer", json=key).json()


@pytest.mark.parametrize(
    ("model", "body"),
    [("moon", b""), ("sun", b"{"), ("sun", b"[" * 100_000), ("sun", b"\xff"), ("sun", {"instances": [["a"]]}),
     ("sun", {"inputs": [plant.tensor("z", [1], [1])]}), ("sun", {"parameters": {"key": "nobody"}}), ("..", b"{}")],
)  # fmt: skip
def test_what_cannot_be_answered_is_answered_with_an_error(device: Client, model: str, body: Any) -> None:
    answer = device.ask(model, body)
    assert set(answer) == {"error"} and answer["error"].endswith((".", ")"))


def test_questions_and_answers_are_no_readings(up: Up, device: Client) -> None:
    before = up.overview()["ingest"]["messages"]
    device.ask("sun", b"")
    assert up.overview()["ingest"]["messages"] == before


def test_nobody_publishes_to_the_control_stream(up: Up) -> None:
    with client(up, 5) as made:
        made.client.publish("$headrace/control", json.dumps({"kind": "delete", "name": "sun"}), 1)
        time.sleep(0.3)
    assert up.call("GET", "/v2/models").json() == {"models": ["next", "sun"]}


def test_forecasts_are_kept_for_later_subscribers_also_over_a_restart(tmp_path: Path) -> None:
    messages = sun.messages(10)
    with plant.trained(tmp_path / "data", sun.spec()) as up:
        with client(up, 4, "headrace/forecast/#") as made:
            first = made.receive()
            assert (first.topic, first.retain) == (OUTPUT, True), "a key's slashes must not make topic levels"
            plant.publish(up, sun.messages(11)[len(messages) :])
            fresh = made.receive()
            assert not fresh.retain and json.loads(fresh.payload)["origin_ms"] > json.loads(first.payload)["origin_ms"]
        assert up.stop() == 0
    with Up(tmp_path / "data") as up:
        with client(up, 5, OUTPUT) as made:
            again = made.receive()
            assert again.retain and again.payload == fresh.payload
        assert up.call("DELETE", "/api/specs/sun").status_code == 200
        with client(up, 5, "headrace/forecast/#") as made, pytest.raises(queue.Empty):
            made.mail.get(timeout=0.5)
