"""A platform with trained models, for tests that only ask it questions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.services.gateway.mqtt.publisher import publish_all
from tests import sun
from tests.running import Up

DAYS = 10
SPECS = sun.spec() + "---" + sun.STREAM_SPEC


def publish(up: Up, messages: list[tuple[str, bytes]]) -> None:
    """Send messages over MQTT, QoS 1, and wait until every one is acknowledged."""
    asyncio.run(publish_all("127.0.0.1", up.mqtt[1], messages, window=200, client_id="dev"))


@contextmanager
def trained(data: Path, specs: str = SPECS, *more: str) -> Iterator[Up]:
    """`headrace up` with models that have learnt ten days."""
    with Up(data, *more) as up:
        answer = up.apply(specs)
        assert answer.status_code == 200, answer.text
        publish(up, sun.messages(DAYS))
        up.caught_up()
        wait_ready(up, "sun")
        yield up


def wait_ready(up: Up, model: str) -> None:
    """Until the model answers with its own weights."""
    import time

    for _ in range(100):
        if infer(up, model, history=[1.0] * 200)[0] == 200:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{model} does not answer: {infer(up, model, history=[1.0] * 200)}")


def tensor(name: str, shape: list[Any], data: Any, datatype: str = "FP64") -> dict[str, Any]:
    """An input in JSON."""
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def infer(up: Up, model: str, *, history: list[float]) -> tuple[int, Any]:
    """(status, answer) for one history."""
    body = {"inputs": [tensor("history", [1, len(history)], history)]}
    answer = up.call("POST", f"/v2/models/{model}/infer", json=body)
    return answer.status_code, answer.json()
