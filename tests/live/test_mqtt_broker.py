"""The MQTT client on a real Mosquitto: the contract, kills, restarts, refusals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from headrace.checks.brokers import check_broker
from headrace.errors import Forbidden
from headrace.records import Entry
from headrace.streams.brokers.mqtt import MqttBroker, MqttParams

SECRET = "correct-horse-battery"


class Mosquitto:
    """A broker of our own on a free port; its sessions survive `restart`."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.folder, self.config = folder, folder / "mosquitto.conf"
        lines = (
            f"listener {self.port} 127.0.0.1",
            *(("user root",) if os.geteuid() == 0 else ()),
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            *(more or ("allow_anonymous true",)),
        )
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        self.process = subprocess.Popen([self.program, "-c", str(self.config)], stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("mosquitto did not start")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(10)

    def client(self, name: str, login: str = "", **settings: float) -> MqttBroker:
        url = f"mqtt://{login}127.0.0.1:{self.port}?client_id={name}"
        return MqttBroker(MqttParams.model_validate({"url": url, **settings}))


def _program() -> None:
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("mosquitto is missing: make system-deps")
        pytest.skip("mosquitto is missing: make system-deps")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    _program()
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    if broker.process.poll() is None:
        broker.stop()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto that wants a password, and does not let anybody read ``private/#``."""
    _program()
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "ann", SECRET], check=True, capture_output=True)
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    yield broker
    if broker.process.poll() is None:
        broker.stop()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def keeper(kept: list[bytes]) -> Callable[[list[Entry]], Awaitable[None]]:
    async def keep(entries: list[Entry]) -> None:
        kept.extend(entry.payload for entry in entries)

    return keep


async def test_contract(guarded: Mosquitto) -> None:
    await check_broker(lambda name: guarded.client(name, f"ann:{SECRET}@"), secret=SECRET)


async def test_contract_in_mqtt_3(mosquitto: Mosquitto) -> None:
    def make(name: str) -> MqttBroker:
        client = mosquitto.client(name)
        client._version = 4
        return client

    await check_broker(make)


async def test_a_wrong_password_is_refused_without_being_shown(
    guarded: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    for login in ("ann:hunter2@", "hunter2:x@", ""):
        with pytest.raises(Forbidden, match="refuses the login") as caught:
            async with guarded.client("c", login):
                pass
        assert "hunter2" not in str(caught.value) + caplog.text


CHILD = """
import asyncio, sys
from headrace.streams.brokers import open

async def never(entries):
    print(len(entries), flush=True)
    await asyncio.Event().wait()

async def main():
    async with open(sys.argv[1]) as broker:
        await broker.subscribe(["kill/#"], never)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_reader_gets_everything_again(mosquitto: Mosquitto) -> None:
    url = f"mqtt://127.0.0.1:{mosquitto.port}?client_id=victim"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, stdout=asyncio.subprocess.PIPE, env=_path()
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    sent = [b"%d" % index for index in range(200)]
    async with mosquitto.client("writer") as writer:
        for payload in sent:
            await writer.publish("kill/x", payload)
        assert int(await child.stdout.readline()) >= 1
        child.kill()
        await child.wait()
        await writer.publish("kill/x", b"last")
    kept: list[bytes] = []
    async with mosquitto.client("victim") as reader:
        await reader.subscribe(["kill/#"], keeper(kept))
        await until(lambda: len(kept) >= 201)
    assert kept == [*sent, b"last"]


def _path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_connects_again_after_the_broker_restarts(mosquitto: Mosquitto, how: int) -> None:
    """Killed, it forgets its sessions: the subscription is made again all the same."""
    kept: list[bytes] = []
    async with mosquitto.client("r", longest_pause=0.5) as reader, mosquitto.client("w", longest_pause=0.5) as writer:
        await reader.subscribe(["x/#"], keeper(kept))
        await writer.publish("x/1", b"before")
        await until(lambda: kept == [b"before"])
        link = reader._link
        mosquitto.stop(how)
        waiting = asyncio.create_task(writer.publish("x/1", b"meanwhile"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        mosquitto.start()
        await waiting
        await until(lambda: reader._link is not None and reader._link is not link and not reader._link.grants)
        await writer.publish("x/1", b"after")
        await until(lambda: b"after" in kept)


async def test_an_old_commit_acknowledges_nothing_on_a_new_connection(mosquitto: Mosquitto) -> None:
    """The broker forgot its sessions: packet id 1 is another message now, and was not stored."""
    gate, first, kept = asyncio.Event(), asyncio.Event(), list[bytes]()

    async def slow(entries: list[Entry]) -> None:
        if not first.is_set():
            first.set()
            await gate.wait()
        elif b"new" in [entry.payload for entry in entries] and len(kept) < 3:
            kept.append(b"failed")
            raise OSError("no space left")
        kept.extend(entry.payload for entry in entries)

    async with mosquitto.client("r", longest_pause=0.5) as reader:
        await reader.subscribe(["x/#"], slow)
        async with mosquitto.client("w", longest_pause=0.5) as writer:
            await writer.publish("x/1", b"old")
            await first.wait()
            mosquitto.stop(signal.SIGKILL)
            mosquitto.start()
            gate.set()
            await until(lambda: reader._link is not None and reader._link.is_connected and not reader._link.grants)
            await asyncio.sleep(0.2)
            await writer.publish("x/1", b"new")
            await until(lambda: kept[-1] == b"new")
    assert kept[0] == b"old"
    assert b"failed" in kept


async def test_an_unreachable_broker_is_tried_again(mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture) -> None:
    mosquitto.stop()
    async with mosquitto.client("c", f"ann:{SECRET}@", longest_pause=0.3) as late:
        waiting = asyncio.create_task(late.publish("x", b"1"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        mosquitto.start()
        await asyncio.wait_for(waiting, 10)
    assert "no connection to mqtt://127.0.0.1" in caplog.text
    assert SECRET not in caplog.text


async def test_many_at_once_wait_for_the_brokers_window(mosquitto: Mosquitto) -> None:
    """Mosquitto takes 20 unacknowledged messages; gmqtt raises OverflowError at the next."""
    kept: list[bytes] = []
    async with mosquitto.client("r") as reader, mosquitto.client("w") as writer:
        await reader.subscribe(["x"], keeper(kept))
        sent = [b"%d" % index for index in range(1000)]
        await asyncio.gather(*(writer.publish("x", payload) for payload in sent))
        await until(lambda: len(kept) == 1000)
    assert kept == sent


async def test_tcp_nodelay(mosquitto: Mosquitto) -> None:
    async with mosquitto.client("c") as client:
        assert client._link is not None
        raw = client._link._connection._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_user_properties_become_headers(mosquitto: Mosquitto) -> None:
    kept: list[Entry] = []

    async def keep(entries: list[Entry]) -> None:
        kept.extend(entries)

    async with mosquitto.client("r") as reader, mosquitto.client("w") as writer:
        await reader.subscribe(["x"], keep)
        assert writer._link is not None
        properties = {"content_type": "text/plain", "user_property": [("id", "m7"), ("trace", "t")]}
        super(type(writer._link), writer._link).publish("x", b"1", qos=1, **properties)
        await until(lambda: bool(kept))
    assert kept[0].headers == b'{"content-type":"text/plain","properties":{"id":"m7","trace":"t"},"id":"m7"}'


async def test_pubacks_on_the_wire_are_those_of_stored_messages(tmp_path: Path) -> None:
    """Counted in the broker's own log, while a second commit hangs and then fails."""
    _program()
    log = tmp_path / "log"
    broker = Mosquitto(tmp_path, "allow_anonymous true", "log_type all", f"log_dest file {log}")
    broker.start()
    try:
        sizes: list[int] = []

        async def once(entries: list[Entry]) -> None:
            sizes.append(len(entries))
            if len(sizes) > 1:
                await asyncio.sleep(0.3)
                raise OSError("no space left")

        async with broker.client("reader") as reader, broker.client("writer") as writer:
            await reader.subscribe(["x"], once)
            await asyncio.gather(*(writer.publish("x", b"%d" % index) for index in range(500)))
            await until(lambda: len(sizes) > 1)
            await asyncio.sleep(0.2)
            assert len(sizes) == 2
            acknowledged = log.read_text().count("Received PUBACK from reader")
            assert acknowledged == sizes[0]
    finally:
        broker.stop()
