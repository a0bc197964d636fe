"""`headrace up --broker` with a real Mosquitto: readings in, forecasts out, restarts, and a password nobody gets to see."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest

from headrace.services.gateway.mqtt.publisher import publish_all
from tests import sun
from tests.flow.test_bad_input import wait_for
from tests.live.test_mqtt_interop import need
from tests.running import Up, free_port

PASSWORD = "s3cret-pa55word"
URL = "mqtt://meter:{password}@127.0.0.1:{port}"


class Mosquitto:
    """One broker on a port of its own, that lets one user in."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.process: subprocess.Popen[bytes] | None = None
        passwords = folder / "passwords"
        subprocess.run(
            [need("mosquitto_passwd"), "-b", "-c", str(passwords), "meter", PASSWORD], check=True, capture_output=True
        )
        passwords.chmod(0o644)
        text = f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
        text += f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\nautosave_interval 1\n"
        (folder / "mosquitto.conf").write_text(text)

    def start(self) -> None:
        command = [need("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: any(c.laddr.port == self.port for c in psutil.Process(self.process.pid).net_connections()), 10)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "mosquitto").mkdir()
    broker = Mosquitto(tmp_path / "mosquitto")
    broker.start()
    yield broker
    broker.stop()


def url(broker: Mosquitto, password: str = PASSWORD) -> str:
    return URL.format(password=password, port=broker.port)


def publish(broker: Mosquitto, messages: list[tuple[str, bytes]]) -> None:
    """By a device that knows only the broker."""
    asyncio.run(
        publish_all("127.0.0.1", broker.port, messages, window=15, client_id="d", username="meter", password=PASSWORD)
    )


async def retained(broker: Mosquitto, topic: str) -> dict[str, Any]:
    """What somebody who subscribes now gets."""
    async with aiomqtt.Client("127.0.0.1", broker.port, username="meter", password=PASSWORD) as client:
        await client.subscribe(topic, 1)
        async with asyncio.timeout(10):
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                found: dict[str, Any] = json.loads(message.payload)
                assert message.retain
                return found
    raise AssertionError


def test_readings_in_forecasts_out_and_a_restart_between(broker: Mosquitto, tmp_path: Path) -> None:
    messages = sun.messages(12)
    half = len(messages) * 10 // 12
    with Up(tmp_path / "data", HEADRACE_BROKER=url(broker)) as up:
        assert up.apply(sun.spec()).is_success
        publish(broker, messages[:half])
        wait_for(lambda: seen(up) >= half)
        up.caught_up()
        first = wait_for(lambda: up.call("POST", "/v2/models/sun/infer", json={}).json().get("id"))
        assert wait_for(lambda: asyncio.run(retained(broker, "headrace/forecast/sun/#")))["id"] == first
        broker.stop()
        assert up.call("POST", "/ingest/own/door", content=b"1").is_success, "its own doors stay open"
        broker.start()
        publish(broker, messages[half:])
        wait_for(lambda: seen(up) >= len(messages))
        up.caught_up()
        newest = wait_for(lambda: (i := up.call("POST", "/v2/models/sun/infer", json={}).json()["id"]) != first and i)
        wait_for(lambda: asyncio.run(retained(broker, "headrace/forecast/sun/#"))["id"] == newest)
        topics = {topic["topic"] for topic in up.overview()["topics"]}
        assert topics == {sun.TOPIC, "own/door"}, "our own forecasts come back from the broker, and are no readings"
        secret(up, broker)
        assert up.stop() == 0
    assert PASSWORD not in (tmp_path / "data.stderr").read_text()


def seen(up: Up) -> int:
    return sum(topic["messages"] for topic in up.overview()["topics"] if topic["topic"] == sun.TOPIC)


def secret(up: Up, broker: Mosquitto) -> None:
    """The password is in no answer, no log line and no process title."""
    for path in ("/api/overview", "/metrics", "/api/specs", "/v2"):
        assert PASSWORD not in up.call("GET", path).text
    process = psutil.Process(up.process.pid)
    assert not any(PASSWORD in " ".join(one.cmdline()) for one in (process, *process.children(recursive=True)))
    assert PASSWORD not in up.errors()


def test_a_broker_that_is_down_does_not_keep_the_platform_from_starting(broker: Mosquitto, tmp_path: Path) -> None:
    broker.stop()
    began = time.monotonic()
    with Up(tmp_path / "data", HEADRACE_BROKER=url(broker)) as up:
        assert time.monotonic() - began < 12
        assert up.call("POST", "/ingest/a", content=b"1").is_success
        broker.start()

        def arrives() -> bool:
            publish(broker, [(sun.TOPIC, b'{"power": 1}')])
            return seen(up) > 0

        wait_for(arrives, 40)
        assert up.stop() == 0
    assert "no connection to mqtt://127.0.0.1" in (tmp_path / "data.stderr").read_text()


def test_a_wrong_password_is_said_without_the_password(broker: Mosquitto, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        Up(tmp_path / "data", HEADRACE_BROKER=url(broker, "wr0ng"))
    assert "refuses the login" in str(caught.value) and "wr0ng" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(RuntimeError) as caught:
        Up(tmp_path / "other", HEADRACE_BROKER="mqtt://meter:wr0ng@:x")
    assert "wr0ng" not in str(caught.value) and "Traceback" not in str(caught.value), caught.value


def test_what_the_platform_keeps_for_itself_cannot_be_sent_through_a_broker(broker: Mosquitto, tmp_path: Path) -> None:
    with Up(
        tmp_path / "data", "--broker-topic", "$headrace/#", "--broker-topic", "plant/#", HEADRACE_BROKER=url(broker)
    ) as up:
        evil = json.dumps({"kind": "delete", "name": "sun"}).encode()
        assert up.apply(sun.spec()).is_success
        publish(broker, [("$headrace/control", evil), (sun.TOPIC, b'{"power": 1}')])
        wait_for(lambda: seen(up) == 1)
        assert [model["name"] for model in up.overview()["models"]] == ["sun"]
        assert len(up.call("GET", "/api/records/%24headrace%2Fcontrol").json()) == 1  # our own apply
        assert up.stop() == 0
