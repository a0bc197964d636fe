"""Clients other people wrote: paho, gmqtt, aiomqtt, mosquitto_pub and _sub; over TCP, TLS and WebSockets."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
import uvicorn
import websockets

from headrace.services.gateway.mqtt import MqttDoor
from headrace.services.gateway.mqtt.users import user_entry
from mqtt_support import ListLog, connect, opened, publish

COUNT = 200
MESSAGES = [b"%d" % n for n in range(COUNT)]
VERSIONS = pytest.mark.parametrize("version", [4, 5])


def need(program: str) -> str:
    """Its path. Without it a laptop skips the test and CI fails it."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
async def door(log: ListLog) -> AsyncIterator[MqttDoor]:
    async with opened(log) as door:
        yield door


# -- paho


def with_paho(port: int, version: int, setup: Callable[[paho.Client], None] = lambda _: None, **options: Any) -> None:
    """Publish everything with every QoS, and hear everything back."""
    clean = {"clean_session": True} if version == 4 else {}
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, "p", protocol=paho.MQTTProtocolVersion(version), **clean, **options
    )
    setup(client)
    heard, complete, granted = [], threading.Event(), threading.Event()

    def on_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
        heard.append(message.payload)
        if len(heard) == COUNT:
            complete.set()

    client.on_connect = lambda *_: client.subscribe("t/#", 1)
    client.on_subscribe = lambda *_: granted.set()
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert granted.wait(5)
    sent = [client.publish("t/x", payload, 1 + n % 2) for n, payload in enumerate(MESSAGES)]
    for info in sent:
        info.wait_for_publish(10)
    assert complete.wait(10)
    client.disconnect()
    client.loop_stop()
    assert sorted(heard) == sorted(MESSAGES)


@VERSIONS
async def test_paho(door: MqttDoor, log: ListLog, version: int) -> None:
    await asyncio.to_thread(with_paho, door.port, version)
    assert sorted(log.payloads) == sorted(MESSAGES)


# -- gmqtt


@VERSIONS
async def test_gmqtt(door: MqttDoor, log: ListLog, version: int) -> None:
    import gmqtt

    heard: list[bytes] = []
    complete, granted = asyncio.Event(), asyncio.Event()

    def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
        heard.append(bytes(payload))
        if len(heard) == COUNT:
            complete.set()
        return 0

    client = gmqtt.Client(f"gmqtt-{version}")
    client.on_message = on_message
    client.on_subscribe = lambda *_: granted.set()
    await client.connect("127.0.0.1", door.port, version=version)
    client.subscribe("t/#", qos=1)
    async with asyncio.timeout(10):
        await granted.wait()
        for n, payload in enumerate(MESSAGES):
            client.publish("t/x", payload, qos=n % 2)
        await complete.wait()
    await client.disconnect()
    assert sorted(log.payloads) == sorted(heard) == sorted(MESSAGES)


# -- aiomqtt


@VERSIONS
async def test_aiomqtt(door: MqttDoor, log: ListLog, version: int) -> None:
    protocol = aiomqtt.ProtocolVersion.V5 if version == 5 else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client("127.0.0.1", door.port, protocol=protocol) as client:
        await client.subscribe("t/#", qos=1)
        for n, payload in enumerate(MESSAGES):
            await client.publish("t/x", payload, qos=n % 3)
        heard = []
        async with asyncio.timeout(10):
            async for message in client.messages:
                heard.append(message.payload)
                if len(heard) == COUNT:
                    break
    assert sorted(log.payloads) == sorted(map(bytes, heard)) == sorted(MESSAGES)


# -- mosquitto's command line clients


async def run(*command: str, stdin: bytes = b"", code: int = 0) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate(stdin)
    assert process.returncode == code, output.decode()
    return output


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
async def test_mosquitto_pub_and_sub(door: MqttDoor, log: ListLog, version: str) -> None:
    publisher, subscriber = need("mosquitto_pub"), need("mosquitto_sub")
    common = ["-h", "127.0.0.1", "-p", str(door.port), "-V", version]
    door.core.publish("t/old", b"retained", retain=True)
    listening = asyncio.ensure_future(
        run(subscriber, *common, "-t", "t/#", "-q", "1", "-C", str(COUNT + 1), "-W", "15")
    )
    async with asyncio.timeout(10):
        while not door.core.stats()["connections"] or door.core.router.quiet:
            await asyncio.sleep(0.01)
    for qos in ("1", "2"):
        half = MESSAGES[: COUNT // 2] if qos == "1" else MESSAGES[COUNT // 2 :]
        await run(publisher, *common, "-t", "t/x", "-q", qos, "-l", stdin=b"\n".join(half) + b"\n")
    assert (await listening).split() == [b"retained", *MESSAGES]
    assert log.payloads == MESSAGES
    refused = await run(
        publisher, *common, "-t", "$headrace/control", "-m", "x", "-q", "1", code=0 if "5" in version else 7
    )
    assert b"uthorized" in refused or version == "mqttv311"


async def test_mosquitto_refuses_and_is_refused(tmp_path: Path) -> None:
    publisher = need("mosquitto_pub")
    users = tmp_path / "users.yaml"
    users.write_text(user_entry("pump", "geheim", ["acme/%u/#"], []))
    async with opened(users=users) as door:
        common = [publisher, "-h", "127.0.0.1", "-p", str(door.port), "-m", "x", "-q", "1"]
        await run(*common, "-t", "acme/pump/x", "-u", "pump", "-P", "geheim")
        assert b"not authorised" in (await run(*common, "-t", "acme/pump/x", code=5)).lower()
        await run(*common, "-t", "acme/pump/x", "-u", "pump", "-P", "wrong", "-V", "mqttv5", code=134)


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server and a device called pump-7, made with the openssl command."""
    openssl, folder = need("openssl"), tmp_path_factory.mktemp("tls")

    def call(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    call("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, subject in (("server", "/CN=localhost"), ("device", "/CN=pump-7")):
        call("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
        call("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")
    return folder


@VERSIONS
async def test_tls_with_a_password(certificates: Path, tmp_path: Path, log: ListLog, version: int) -> None:
    users = tmp_path / "users.yaml"
    users.write_text(user_entry("pump", "geheim", ["t/#"], ["t/#"]))

    def setup(client: paho.Client) -> None:
        client.tls_set(str(certificates / "ca.crt"))
        client.username_pw_set("pump", "geheim")

    tls = {"tls_port": 0, "tls_certificate": certificates / "server.crt", "tls_key": certificates / "server.key"}
    async with opened(log, users=users, **tls) as door:
        assert door.tls_port not in (0, door.port)
        await asyncio.to_thread(with_paho, door.tls_port, version, setup)
    assert sorted(log.payloads) == sorted(MESSAGES)


async def test_a_certificate_is_a_login(certificates: Path, tmp_path: Path, log: ListLog) -> None:
    users = tmp_path / "users.yaml"
    users.write_text("users: {pump-7: {publish: ['acme/%u/#']}}\n")
    server = {name: certificates / f"server.{end}" for name, end in (("tls_certificate", "crt"), ("tls_key", "key"))}
    options = {"tls_port": 0, "tls_client_ca": certificates / "ca.crt", "users": users, **server}
    async with opened(log, **options) as door:
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        for code in (5, 0):
            reader, writer = await asyncio.open_connection("127.0.0.1", door.tls_port, ssl=context)
            writer.write(connect())
            assert await reader.readexactly(4) == bytes((0x20, 2, 0, code))
            if code == 0:
                writer.write(publish("acme/pump-7/x", b"x"))
                assert await reader.readexactly(4) == b"\x40\2\0\1"
                writer.write(publish("acme/pump-8/x", b"x"))
                assert await reader.read() == b""
            writer.close()
            context.load_cert_chain(certificates / "device.crt", certificates / "device.key")
    assert log.payloads == [b"x"]


# -- WebSockets


@asynccontextmanager
async def http(door: MqttDoor) -> AsyncIterator[int]:
    """The door's endpoint under /mqtt of a real HTTP server."""

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        assert scope["type"] == "websocket"
        await door.handle_websocket(scope, receive, send)

    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


@VERSIONS
async def test_paho_over_websockets(door: MqttDoor, log: ListLog, version: int) -> None:
    async with http(door) as port:
        await asyncio.to_thread(with_paho, port, version, transport="websockets")
    assert sorted(log.payloads) == sorted(MESSAGES)


async def test_websockets_that_are_refused(door: MqttDoor) -> None:
    async with http(door) as port:
        url = f"ws://127.0.0.1:{port}/mqtt"
        for options in ({}, {"subprotocols": ["mqtt"], "origin": "http://evil.example"}):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(url, **options)
        async with websockets.connect(url, subprotocols=["mqtt"], origin=f"http://127.0.0.1:{port}") as socket:
            await socket.send(connect() + publish("a", b"x")[:3])
            assert await socket.recv() == b"\x20\2\0\0"
            await socket.send(publish("a", b"x")[3:])
            assert await socket.recv() == b"\x40\2\0\1"
            await socket.send("text")
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
        async with asyncio.timeout(5):
            while door.core.stats()["connections"]:
                await asyncio.sleep(0.01)


async def test_the_door_closes_websockets_too(log: ListLog) -> None:
    async with opened(log) as door, http(door) as port:
        socket = await websockets.connect(f"ws://127.0.0.1:{port}/mqtt", subprotocols=["mqtt"])
        await socket.send(connect(version=5))
        assert (await socket.recv())[:1] == b"\x20"
        await door.__aexit__(None, None, None)
        assert b"the server is shutting down" in bytes(await socket.recv())
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        await socket.close()
