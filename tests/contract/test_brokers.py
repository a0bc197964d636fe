"""The shipped contract suite on the broker in memory; tests/live runs it on a real Mosquitto."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from headrace.checks.brokers import check_broker
from headrace.errors import BadInput, HeadraceError, UnknownPlugin
from headrace.streams.brokers import open as open_broker
from headrace.streams.brokers.memory import Hub, MemoryBroker, MemoryParams
from headrace.streams.brokers.mqtt import MqttBroker, MqttParams
from headrace.topics import matches


async def test_memory() -> None:
    hub = Hub()
    await check_broker(lambda name: MemoryBroker(MemoryParams(url=f"memory://?client_id={name}"), hub))


def test_open_finds_the_plugin() -> None:
    assert isinstance(open_broker("memory://"), MemoryBroker)
    assert repr(open_broker("mqtts://u:hunter2@broker.example")) == "MqttBroker(mqtts://broker.example:8883)"
    assert repr(open_broker("mqtt://[::1]:1884")) == "MqttBroker(mqtt://[::1]:1884)"


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://u:hunter2/x@broker:1883",
        "mqtt://u:hunter2@:1883",
        "mqtt://u:hunter2@[broker",
        "u:hunter2@broker",
        "kafkaa://u:hunter2@b",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises((HeadraceError, ValidationError)) as caught:
        open_broker(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error!s} {error!r}"
        error = error.__cause__
    assert isinstance(caught.value, (BadInput, UnknownPlugin, ValidationError))


def test_settings_do_not_show_the_password() -> None:
    params = MqttParams.model_validate({"url": "mqtt://u:hunter%202@broker?client_id=a"})
    broker = MqttBroker(params)
    assert broker._address.password == "hunter 2"
    for shown in (repr(params), str(params), params.model_dump_json(), repr(vars(broker)), repr(broker._address)):
        assert "hunter" not in shown
    with pytest.raises(ValidationError, match="ASCII"):
        MqttParams.model_validate({"url": "mqtt://broker?client_id=ü"})


def test_sessions_have_a_name_of_their_own() -> None:
    names = {
        MqttBroker(MqttParams.model_validate({"url": url}))._address.client_id
        for url in ("mqtt://a", "mqtt://b", "mqtt://u@a")
    }
    assert len(names) == 3
    assert names == {
        MqttBroker(MqttParams.model_validate({"url": url}))._address.client_id
        for url in ("mqtt://a", "mqtt://b", "mqtt://u@a")
    }


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a", True),
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("$SYS/#", "$SYS/a", True),
        ("+/+", "/a", True),
        ("a", "A", False),
    ],
)
def test_filters_select_as_mqtt_has_it(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected
