"""kill -9 of worker and platform during a replay: afterwards everything is as if nothing had happened.

Weights, stored predictions, gate decisions and alerts are byte-identical with an undisturbed run, every acknowledged message is in
the log, none was counted twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from headrace import states
from headrace.records import MINUTE
from headrace.services.gateway.mqtt.publisher import publish_all
from headrace.services.learning.store import Store, generation_file
from headrace.streams.logs import open_reader
from tests import sun
from tests.flow.test_alert_log import RULES, STREAM_RULES
from tests.running import Up, free_port

DAYS = 12
SPECS = sun.spec("sun") + RULES + "---" + sun.STREAM_SPEC + STREAM_RULES


def deep_specs() -> str:
    return SPECS + "---" + sun.spec("deep", "{torch: {epochs: 5, steps: 2}}", "steps")


class Publisher(threading.Thread):
    """A device that publishes over MQTT QoS 1 and goes on from its last acknowledged message after every loss."""

    def __init__(self, port: int, messages: list[tuple[str, bytes]], rate: float) -> None:
        super().__init__()
        self.port, self.messages, self.rate = port, messages, rate
        self.acknowledged = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._publish())
        except BaseException as error:
            self.error = error

    async def _publish(self) -> None:
        def acknowledged(count: int) -> None:
            self.acknowledged = count

        await publish_all(
            "127.0.0.1", self.port, self.messages, window=200, on_ack=acknowledged, client_id="dev", rate=self.rate
        )


def result(data: Path) -> dict[str, Any]:
    """Everything that must be equal, by model."""
    found: dict[str, Any] = {}
    for file in sorted((data / "state").glob("*@*.db")):
        store = Store(file)
        checkpoint = store.checkpoint()
        assert checkpoint is not None
        lanes = states.unpack(checkpoint[1])["lanes"]
        found[file.name.partition("@")[0]] = {
            "weights": {key: states.digest(lane["live"]["backend"] if isinstance(lane["live"], dict) else lane["live"])
                        for key, lane in lanes.items()},
            "state": states.pack(lanes),
            "predictions": [row[1:] for row in store.predictions(0, 10**9)],
            "scores": store.scores(),
            "decisions": store.decisions(),
            "alerts": store.alerts(),
        }  # fmt: skip
        store.close()
    return found


def undisturbed(path: Path, messages: list[tuple[str, bytes]], specs: str) -> dict[str, Any]:
    with Up(path) as up:
        assert up.apply(specs).status_code == 200
        publisher = Publisher(up.mqtt[1], messages, 0)
        publisher.start()
        publisher.join(120)
        assert publisher.acknowledged == len(messages)
        up.caught_up()
        assert up.stop() == 0
    return result(path)


def disturbed(path: Path, messages: list[tuple[str, bytes]], specs: str, kills: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    instants = sorted(rng.choice(np.arange(50, len(messages) - 50), kills, replace=False).tolist())
    port = free_port()
    up = Up(path, mqtt_port=port)
    assert up.apply(specs).status_code == 200
    publisher = Publisher(port, messages, 1500)
    publisher.start()
    for number, instant in enumerate(instants):
        while publisher.acknowledged < instant and publisher.is_alive():
            time.sleep(0.002)
        if number % 2:
            for worker in up.workers():
                worker.kill()
        else:
            up.kill()
            up = Up(path, mqtt_port=port)
    publisher.join(120)
    assert publisher.error is None and publisher.acknowledged == len(messages)
    up.caught_up(120)
    assert up.stop() == 0
    return result(path)


def check_log(path: Path, messages: list[tuple[str, bytes]]) -> int:
    """Every acknowledged message is in the log; returns how many were sent twice."""
    log = open_reader(path)
    stored = [record.payload for record in log.read(0, 10**9) if record.stream == sun.TOPIC]
    log.close()
    assert set(stored) == {payload for _, payload in messages}
    return len(stored) - len(messages)


def compare(tmp_path: Path, specs: str, kills: int, seed: int) -> None:
    messages = sun.messages(DAYS, 5 * MINUTE)
    first = undisturbed(tmp_path / "calm", messages, specs)
    second = disturbed(tmp_path / "storm", messages, specs, kills, seed)
    check_log(tmp_path / "storm", messages)
    assert first.keys() == second.keys()
    for name in first:
        for part, value in first[name].items():
            assert second[name][part] == value, f"{part} of {name} differ after {kills} kills (seed {seed})"
    assert len(first["sun"]["alerts"]) > 5 and len(first["next"]["alerts"]) > 5
    assert len(first["next"]["predictions"]) > len(messages) - 50, "not every reading was predicted once"


def test_five_kills(tmp_path: Path) -> None:
    compare(tmp_path, SPECS, 5, seed=20181108)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_thirty_kills(tmp_path: Path, seed: int) -> None:
    compare(tmp_path, deep_specs(), 30, seed)


def test_a_stopped_replaced_and_continued_worker_cannot_write(tmp_path: Path) -> None:
    """SIGSTOP a worker, let a second platform's worker take over its store, SIGCONT the first."""
    messages = sun.messages(DAYS)
    expected = undisturbed(tmp_path / "calm", messages, sun.spec())
    data = tmp_path / "data"
    with Up(data) as up:
        assert up.apply(sun.spec()).status_code == 200
        half = len(messages) // 2
        _publish(up, messages[:half])
        up.caught_up()
        (worker,) = up.workers()
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            _publish(up, messages[half:])
            (code,) = (data / "code").iterdir()
            replacement = sun.learner(_store_of(data), sun.spec(), str(code))
            _run_on(data, replacement)
            os.kill(worker.pid, signal.SIGCONT)
            worker.wait(15)  # it finds the newer epoch and leaves; the supervisor starts a third, which claims anew
        finally:
            if psutil.pid_exists(worker.pid):
                os.kill(worker.pid, signal.SIGCONT)
        up.caught_up()
        assert up.stop() == 0
    assert result(data) == expected


def _publish(up: Up, messages: list[tuple[str, bytes]]) -> None:
    publisher = Publisher(up.mqtt[1], messages, 0)
    publisher.start()
    publisher.join(60)
    assert publisher.acknowledged == len(messages)


def _store_of(data: Path) -> Path:
    (file,) = (data / "state").glob("sun@*.db")
    assert file == generation_file(data, "sun", int(file.stem.partition("@")[2]))
    return file


def _run_on(data: Path, learner: Any) -> None:
    """The replacement reads the same log."""
    from headrace.services.learning.decoded import DecodedLog

    log = DecodedLog(open_reader(data))
    learner.generation = int(_store_of(data).stem.partition("@")[2])
    while learner.step(log):
        pass
    learner.checkpoint(export=False)
    learner.store.close()
    log.log.close()
