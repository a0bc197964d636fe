"""The door in process, on a real socket: what is stored, what is acknowledged, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction, signature
from ipaddress import ip_address
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headrace.errors import BadInput, StorageUnavailable, UnknownModel
from headrace.services.gateway.mqtt import MqttDoor, wire
from headrace.services.gateway.mqtt.connection import Connection
from headrace.services.gateway.mqtt.core import Core
from headrace.services.gateway.mqtt.publisher import Refusal, publish_all
from headrace.services.gateway.mqtt.users import Users, user_entry
from headrace.services.gateway.mqtt.wire import Property, Reason, Will
from headrace.settings import MqttSettings
from mqtt_support import Client, Clock, ListLog, SqliteDouble, connect, opened, publish, subscribe, unsubscribe

VERSIONS = pytest.mark.parametrize("version", [4, 5])


async def until(condition: object, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.002)


# -- the promise


@VERSIONS
async def test_no_puback_before_the_commit(version: int) -> None:
    log = ListLog(manual=True)
    async with opened(log) as door, await Client.open(door.port, connect(version=version), version) as client:
        client.send(*(publish("a/b", b"%d" % n, 1, n, version) for n in range(1, 4)))
        await until(lambda: log.calls)
        assert log.calls == [3], "one call for everything one read brought"
        assert await client.silent()
        log.commit()
        assert [(await client.next()).body for _ in range(3)] == [b"\0\1", b"\0\2", b"\0\3"]
        assert log.payloads == [b"1", b"2", b"3"]
        assert door.core.stats()["acknowledged"] == door.core.stats()["received"] == 3


@VERSIONS
async def test_a_failed_commit_closes_its_connections_and_no_others(version: int) -> None:
    log = ListLog(manual=True)
    async with opened(log) as door:
        other = await Client.open(door.port, connect("other"))
        client = await Client.open(door.port, connect("c", version), version)
        client.send(publish("a", b"x", 1, 1, version), publish("a", b"y", 2, 2, version))
        await until(lambda: log.calls)
        log.error = StorageUnavailable(detail="disk full")
        log.commit()
        if version == 5:
            assert (await client.next()).body[0] == Reason.NOT_STORED
        assert await client.closed()
        log.error = None
        other.send(publish("a", b"z"))
        await until(lambda: len(log.calls) == 2)
        log.commit()
        assert (await other.next()).kind == wire.PUBACK
        assert door.core.stats()["failed"] == 2
        assert log.payloads == [b"z"]
        await client.close()
        await other.close()


async def test_a_log_that_raises_is_a_failed_commit() -> None:
    class Broken:
        def submit(self, entries: object, done: object) -> None:
            raise RuntimeError("closed")

    async with opened(Broken()) as door, await Client.open(door.port, connect()) as client:
        client.send(publish("a"))
        assert await client.closed()
        assert door.core.stats()["failed"] == 1


async def test_with_a_real_file(tmp_path: Path) -> None:
    log = SqliteDouble(tmp_path)
    async with opened(log) as door:
        messages = [(f"site/{n % 7}", b"%d" % n) for n in range(5000)]
        assert await publish_all("127.0.0.1", door.port, messages, window=300) == 5000
        rows = log.db.execute("SELECT stream, payload FROM records ORDER BY position").fetchall()
        assert rows == messages
    log.close()


@VERSIONS
async def test_all_kinds_of_publish_are_stored_in_order(version: int) -> None:
    log = ListLog()
    async with opened(log) as door, await Client.open(door.port, connect(version=version), version) as client:
        client.send(
            publish("a", b"0", 0, 0, version),
            publish("a", b"1", 1, 7, version),
            publish("a", b"2", 2, 8, version),
            publish("a", b"3", 1, 9, version, dup=True),
            publish("a", b"", 1, 10, version),
            publish("a", b"r", 1, 11, version, retain=True),
            publish("ä/+".replace("+", "°"), b"x" * 200, 1, 12, version),
        )
        kinds = [(reply := await client.next()).kind | reply.body[1] for _ in range(6)]
        assert kinds == [wire.PUBACK | 7, wire.PUBREC | 8, *(wire.PUBACK | n for n in (9, 10, 11, 12))]
        assert log.payloads == [b"0", b"1", b"2", b"3", b"", b"r", b"x" * 200]
        assert {entry.headers for entry in log.entries} == {b""}
        assert log.entries[-1].stream == "ä/°"


async def test_packets_may_arrive_in_any_pieces() -> None:
    log = ListLog()
    async with opened(log) as door, await Client.open(door.port) as client:
        data = connect() + publish("a/b", b"x" * 300) + publish("a/b", b"y", 1, 2)
        for index in range(0, len(data), 7):
            client.send(data[index : index + 7])
            await asyncio.sleep(0.0005)
        assert [(await client.next()).kind for _ in range(3)] == [wire.CONNACK, wire.PUBACK, wire.PUBACK]
        assert log.payloads == [b"x" * 300, b"y"]


async def test_qos_2_is_stored_once() -> None:
    log = ListLog()
    async with opened(log) as door:
        hello = connect("two", clean=False)
        client = await Client.open(door.port, hello)
        assert (await client.ask(publish("a", b"x", 2, 5))).kind == wire.PUBREC
        await client.close()
        client = await Client.open(door.port, hello)
        assert client.connack is not None
        assert client.connack.body == b"\1\0", "session present"
        assert (await client.ask(publish("a", b"x", 2, 5, dup=True))).kind == wire.PUBREC
        assert (await client.ask(wire.ack(wire.PUBREL, 5))).kind == wire.PUBCOMP
        assert (await client.ask(publish("a", b"y", 2, 5))).kind == wire.PUBREC
        assert log.payloads == [b"x", b"y"]
        await client.close()


async def test_qos_2_again_while_its_commit_is_under_way() -> None:
    log = ListLog(manual=True)
    async with opened(log) as door:
        hello = connect("two", clean=False)
        first = await Client.open(door.port, hello)
        first.send(publish("a", b"x", 2, 5))
        await until(lambda: log.calls)
        second = await Client.open(door.port, hello)
        second.send(publish("a", b"x", 2, 5, dup=True))
        assert await second.silent()
        log.commit()
        assert (await second.next()).kind == wire.PUBREC
        assert log.payloads == [b"x"]
        await first.close()
        await second.close()


async def test_headers_of_version_5() -> None:
    log = ListLog()
    properties = {
        Property.USER: [("message-id", "m1"), ("traceparent", "00-1-2-01")],
        Property.CONTENT_TYPE: "application/json",
    }
    async with opened(log) as door, await Client.open(door.port, connect(version=5), 5) as client:
        await client.ask(publish("a", b"x", 1, 1, 5, properties=properties))
        assert json.loads(log.entries[0].headers) == {
            "id": "m1",
            "content-type": "application/json",
            "properties": {"message-id": "m1", "traceparent": "00-1-2-01"},
        }


async def test_backpressure_stops_reading() -> None:
    log = ListLog(manual=True)
    async with opened(log, in_flight_bytes=10_000) as door, await Client.open(door.port, connect()) as client:
        total = 3000
        client.send(*(publish("a", b"x" * 1000, 1, n + 1) for n in range(total)))
        await asyncio.sleep(0.2)
        assert sum(log.calls) < total
        while sum(log.calls) < total:
            log.commit()
            await asyncio.sleep(0.001)
        log.commit()
        assert [int.from_bytes((await client.next()).body, "big") for _ in range(total)] == list(range(1, total + 1))


async def test_closing_acknowledges_what_is_committed() -> None:
    log = ListLog(manual=True)
    async with opened(log) as door:
        client = await Client.open(door.port, connect(version=5), 5)
        client.send(publish("a", b"x", 1, 1, 5))
        await until(lambda: log.calls)
        asyncio.get_running_loop().call_later(0.05, log.commit)
    assert (await client.next()).kind == wire.PUBACK
    assert (await client.next()).body[0] == Reason.SHUTTING_DOWN
    await client.close()


# -- what is refused


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc0\0",
        b"\x10\xff\xff\xff\xff\x01",
        b"\x11\x0c\0\4MQTT\4\2\0\0\0\0"[:1] + b"\x02\0\0",
        connect(clean=False, client_id=""),
    ],
)
async def test_bad_first_packets(data: bytes) -> None:
    async with opened() as door, await Client.open(door.port) as client:
        client.send(data)
        assert await client.closed()
        assert door.core.stats()["rejected"] == 1
        assert door.core.stats()["accepted"] == 0


@VERSIONS
@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x0c\0\4MQTT\4\2\0\0\0\0",  # a second CONNECT
        b"\x00\0",
        b"\xf1\0",
        b"\x32\2\0\1",
        b"\x32\5\0\1a\0\0",  # packet identifier 0
        b"\x32\7\0\1a\0\0\0x",
        b"\x36\6\0\1a\0\1\0",  # QoS 3
        b"\x38\4\0\1a\0",  # DUP with QoS 0
        b"\x30\5\0\3a\0b",
        b"\x30\6\0\3a/+\0",
        b"\x30\6\0\3a/#\0",
        b"\x30\5\0\2\xc3\x28\0",  # not UTF-8
        b"\x30\3\0\0\0",  # an empty topic
        b"\x30\2\0\7",
        b"\x82\2\0\1",
        b"\x80\6\0\1\0\1a\0",
        b"\x82\6\0\0\0\1a\0",
        b"\xa2\2\0\1",
        b"\xc1\0",
        b"\xc0\1x",
        b"\x20\2\0\0",
        b"\x40\1\0",
        b"\x30\xff\xff\xff\xff\x01",
    ],
)
async def test_bad_packets_end_the_connection(version: int, data: bytes) -> None:
    log = ListLog()
    async with opened(log) as door:
        client = await Client.open(door.port, connect(version=version), version)
        client.send(data)
        if version == 5:
            assert (await client.next()).kind == wire.DISCONNECT
        assert await client.closed()
        assert door.core.stats()["refused"] == 1
        assert log.entries == []
        await client.close()


async def test_readings_before_a_bad_packet_are_kept() -> None:
    log = ListLog()
    async with opened(log) as door, await Client.open(door.port, connect()) as client:
        client.send(publish("a", b"good") + b"\xff\0")
        assert await client.closed()
        await until(lambda: log.payloads == [b"good"])


@VERSIONS
async def test_an_oversize_packet_is_refused_at_its_header(version: int) -> None:
    async with opened(packet_limit=1000) as door:
        client = await Client.open(door.port, connect(version=version), version)
        client.send(b"\x32" + wire.write_varint(998))
        if version == 5:
            assert (await client.next()).body[0] == Reason.TOO_LARGE
        assert await client.closed()
        await client.close()
        client = await Client.open(door.port, connect(version=version), version)
        body = 1000 - 3 - 5 - (version == 5)
        assert (await client.ask(publish("a", b"x" * body, 1, 1, version))).kind == wire.PUBACK, "the limit itself fits"
        await client.close()


@VERSIONS
@pytest.mark.parametrize(
    "topic", ["$headrace/control", "$SYS/x", "headrace/predict/m/response/other", "headrace/predict/"]
)
async def test_topics_of_the_platform(version: int, topic: str) -> None:
    log = ListLog()
    async with opened(log) as door, await Client.open(door.port, connect(version=version), version) as client:
        client.send(publish(topic, b"x", 1, 1, version), publish("ok", b"y", 1, 2, version))
        if version == 4:
            assert await client.closed()
            return
        replies = [await client.next() for _ in range(2)]
        assert replies[0].body[:3] == bytes((0, 1, Reason.NOT_AUTHORISED))
        assert replies[1].body == b"\0\2"
        assert log.payloads == [b"y"]


async def test_receive_maximum() -> None:
    log = ListLog(manual=True)
    async with opened(log, in_flight=5) as door, await Client.open(door.port, connect(version=5), 5) as client:
        assert client.connack is not None
        assert client.connack.properties[Property.RECEIVE_MAXIMUM] == 5
        client.send(*(publish("a", b"x", 1, n, 5) for n in range(1, 6)))
        assert await client.silent()
        client.send(publish("a", b"x", 1, 6, 5))
        assert (await client.next()).body[0] == Reason.RECEIVE_MAXIMUM
        log.commit()


@VERSIONS
async def test_unknown_protocol_levels(version: int) -> None:
    async with opened() as door, await Client.open(door.port, None, version) as client:
        client.send(wire.packet(wire.CONNECT, b"\0\4MQTT" + bytes((3 if version == 4 else 6,)) + b"\2\0\0\0\0\0"))
        reply = await client.next()
        assert reply.body[:2] == (b"\0\1" if version == 4 else bytes((0, Reason.BAD_VERSION)))
        assert await client.closed()


async def test_limits_of_connections_and_half_open_ones() -> None:
    async with opened(connections=2, half_open=3) as door:
        clients = [await Client.open(door.port, connect(f"c{n}", 5), 5) for n in range(3)]
        assert [client.connack.body[1] for client in clients if client.connack] == [0, 0, Reason.QUOTA]
        silent = [await Client.open(door.port) for _ in range(3)]
        late = await Client.open(door.port)
        assert await silent[0].closed()  # the oldest makes room
        assert not await silent[1].closed(0.05) and not await late.closed(0.05)
        for client in (*clients, *silent, late):
            await client.close()


def certificate(folder: str) -> Path:
    """A PEM file with a key and a certificate of its own making, for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    path = Path(folder) / "server.pem"
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(text + made.add_extension(names, False).sign(key, SHA256()).public_bytes(Encoding.PEM))
    return path


async def test_handshakes_that_never_come_make_room() -> None:
    """A connection to the TLS port is a stranger before its first byte."""
    with tempfile.TemporaryDirectory() as folder:
        file = certificate(folder)
        context = ssl.create_default_context(cafile=str(file))
        await _handshakes(opened(half_open=3, tls_port=0, tls_certificate=file, connect_timeout=20.0), context)


async def _handshakes(opening: AbstractAsyncContextManager[MqttDoor], context: ssl.SSLContext) -> None:
    async with opening as door:
        silent = [await asyncio.open_connection("127.0.0.1", door.tls_port) for _ in range(3)]
        await asyncio.sleep(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", door.tls_port, ssl=context)
        assert await asyncio.wait_for(silent[0][0].read(), 5) == b""
        writer.write(connect("quick", 5) + publish("a/b", b"1", 1, 7, 5))  # in the handshake's last flight, if it likes
        assert (await reader.readexactly(2))[0] == 0x20
        assert door.core.stats()["connections"] == 1
        assert not silent[1][0].at_eof() and not silent[2][0].at_eof()
        silent[1][1].write(b"no TLS at all" * 20)
        assert await asyncio.wait_for(silent[1][0].read(100), 5) is not None
        for one in (writer, *(each for _, each in silent)):
            one.close()
            with contextlib.suppress(OSError):
                await one.wait_closed()
        await until(lambda: not door.core.stats()["connections"])


# -- time


async def test_keepalive_and_connect_timeout() -> None:
    clock = Clock()
    async with opened(clock=clock, connect_timeout=10.0) as door:
        client = await Client.open(door.port, connect("k", 5, keepalive=10), 5)
        mute = await Client.open(door.port)
        await until(lambda: door.core.stats()["half_open"])
        clock.now += 9
        await client.ask(b"\xc0\0")
        door.sweep()
        clock.now += 2
        door.sweep()
        assert await mute.closed()
        clock.now += 12.9
        door.sweep()
        assert not await client.closed(0.05)
        clock.now += 0.2
        door.sweep()
        assert await client.closed()
        await client.close()
        await mute.close()


async def test_a_session_ends_at_its_expiry() -> None:
    clock = Clock()
    async with opened(clock=clock, session_expiry=100) as door:
        hello = connect("s", 5, clean=False, properties={Property.SESSION_EXPIRY: 1000})
        client = await Client.open(door.port, hello, 5)
        assert client.connack is not None
        assert client.connack.properties[Property.SESSION_EXPIRY] == 100
        await client.ask(subscribe("a", version=5))
        await client.close()
        await until(lambda: not door.core.stats()["connections"])
        door.core.publish("a", b"x")
        clock.now += 99
        door.sweep()
        assert door.core.stats()["sessions"] == 1
        assert door.core.stats()["backlog_bytes"] == len("ax")
        clock.now += 2
        door.sweep()
        assert door.core.stats()["sessions"] == door.core.stats()["backlog_bytes"] == 0
        assert door.core.router.quiet


async def test_will_delay() -> None:
    clock, log = Clock(), ListLog()
    async with opened(log, clock=clock) as door:
        hello = connect(
            "w", 5, clean=False, will=Will("w/gone", b"bye", 1, True, {}, 20), properties={Property.SESSION_EXPIRY: 60}
        )
        for back in (True, False):
            client = await Client.open(door.port, hello, 5)
            client.writer.transport.abort()
            await until(lambda: not door.core.stats()["connections"])
            clock.now += 10 if back else 21
            door.sweep()
            await asyncio.sleep(0.02)
            assert log.payloads == ([] if back else [b"bye"])


# -- subscribers


@VERSIONS
async def test_committed_readings_reach_subscribers(version: int) -> None:
    log = ListLog(manual=True)
    async with opened(log) as door:
        ear = await Client.open(door.port, connect("ear", version), version)
        await ear.ask(subscribe("a/+", version=version))
        device = await Client.open(door.port, connect("device", version), version)
        device.send(publish("a/b", b"x", 1, 1, version), publish("a/c", b"y", 0, 0, version), publish("z", b"n"))
        await until(lambda: log.calls)
        assert await ear.silent()
        log.commit()
        got = [await ear.next() for _ in range(2)]
        assert [(one.topic, one.payload, one.qos) for one in got] == [("a/b", b"x", 1), ("a/c", b"y", 0)]
        await ear.close()
        await device.close()


@VERSIONS
async def test_platform_output_is_retained_and_delivered(version: int) -> None:
    async with opened() as door, await Client.open(door.port, connect(version=version), version) as client:
        door.core.publish("forecast/pv", b"old", retain=True)
        door.core.publish(
            "forecast/pv", b"1", retain=True, properties={"traceparent": "t", "content-type": "text/plain"}
        )
        reply = await client.ask(subscribe("forecast/#", version=version))
        assert reply.kind == wire.SUBACK
        first = await client.next()
        assert (first.payload, first.retain, first.qos) == (b"1", True, 1)
        door.core.publish("forecast/pv", b"2", retain=True, qos=0)
        second = await client.next()
        assert (second.payload, second.retain, second.qos) == (b"2", False, 0)
        if version == 5:
            assert first.properties == {Property.USER: [("traceparent", "t")], Property.CONTENT_TYPE: "text/plain"}
        await client.ask(unsubscribe("forecast/#", version=version))
        door.core.publish("forecast/pv", b"3")
        assert await client.silent()
        with pytest.raises(BadInput):
            door.core.publish("forecast/+", b"")


async def test_a_slow_reader_is_disconnected_and_memory_stays_bounded() -> None:
    async with opened(write_buffer=10_000, queue_messages=200) as door:
        client = await Client.open(door.port, connect("slow"))
        await client.ask(subscribe("a", options=0))
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20_000):
            door.core.publish("a", b"x" * 1000, qos=0)
            if door.core.stats()["slow_readers"]:
                break
            await asyncio.sleep(0)
        assert door.core.stats()["slow_readers"] == 1
        await until(lambda: not door.core.stats()["connections"])
        client.writer.transport.abort()


async def test_many_outputs_a_second_arrive_in_order() -> None:
    async with opened() as door, await Client.open(door.port, connect()) as client:
        await client.ask(subscribe("a"))
        for n in range(3000):
            door.core.publish("a", b"%d" % n)
        for n in range(3000):
            got = await client.next()
            assert got.payload == b"%d" % n
            client.send(wire.ack(wire.PUBACK, got.packet_id))


# -- requests


async def predict(topic: str, payload: bytes) -> bytes:
    if payload == b"unknown":
        raise UnknownModel(name=topic.rpartition("/")[2])
    if payload == b"bug":
        raise ValueError("secret")
    await asyncio.sleep(0)
    return b"answer to " + payload


async def test_requests_of_version_5() -> None:
    log = ListLog()
    async with opened(log, requests=predict) as door, await Client.open(door.port, connect(version=5), 5) as client:
        await client.ask(subscribe("mine", version=5))
        properties = {Property.RESPONSE_TOPIC: "mine", Property.CORRELATION: b"\0\1"}
        client.send(publish("headrace/predict/pv", b"q", 1, 9, 5, properties=properties))
        reply, ack = await client.next(), await client.next()
        assert (reply.topic, reply.payload) == ("mine", b"answer to q")
        assert reply.properties == {Property.CORRELATION: b"\0\1"}
        assert (ack.kind, ack.body) == (wire.PUBACK, b"\0\x09")
        assert log.entries == []
        for stolen in ("$headrace/control", "headrace/predict/pv/response/other"):
            properties = {Property.RESPONSE_TOPIC: stolen}
            refused = await client.ask(publish("headrace/predict/pv", b"q", 1, 9, 5, properties=properties))
            assert refused.body[2] == Reason.NOT_AUTHORISED


async def test_requests_of_version_3() -> None:
    async with opened(requests=predict) as door, await Client.open(door.port, connect("me")) as client:
        await client.ask(subscribe("headrace/predict/+/response/me"))
        for question, expected in ((b"q", b"answer to q"), (b"unknown", b"no model 'pv'"), (b"bug", b"internal error")):
            got = await client.ask(publish("headrace/predict/pv", question, 0))
            assert expected in got.payload
            client.send(wire.ack(wire.PUBACK, got.packet_id))


async def test_requests_are_bounded() -> None:
    release = asyncio.Event()

    async def slow(topic: str, payload: bytes) -> bytes:
        await release.wait()
        return payload

    async with (
        opened(requests=slow, concurrent_requests=2) as door,
        await Client.open(door.port, connect("me")) as client,
    ):
        await client.ask(subscribe("headrace/predict/m/response/me", options=0))
        client.send(*(publish("headrace/predict/m", b"%d" % n, 0) for n in range(3)))
        assert b"too many requests" in (await client.next()).payload
        release.set()
        assert {(await client.next()).payload for _ in range(2)} == {b"0", b"1"}


# -- users


async def test_logins_and_topics(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(user_entry("pump", "geheim", ["acme/%u/#"], ["acme/#"]))
    async with opened(users=Users.load(path)) as door:
        for version, anonymous, wrong in ((4, 5, 4), (5, Reason.NOT_AUTHORISED, Reason.BAD_LOGIN)):
            for hello, code in (
                (connect(version=version), anonymous),
                (connect(version=version, username="pump", password="no"), wrong),
                (connect(version=version, username="pump", password="geheim"), 0),
                (connect(version=version, username="pump", password="geheim"), 0),
            ):
                client = await Client.open(door.port, hello, version)
                assert client.connack is not None
                assert client.connack.body[1] == code
                await client.close()
        async with await Client.open(door.port, connect(version=5, username="pump", password="geheim"), 5) as client:
            assert (await client.ask(publish("acme/pump/x", b"", 1, 1, 5))).body == b"\0\1"
            assert (await client.ask(publish("acme/drill/x", b"", 1, 2, 5))).body[2] == Reason.NOT_AUTHORISED
            codes = (await client.ask(subscribe("acme/+", "#", "$share/g/other/#", "a+", version=5))).body[3:]
            assert list(codes) == [1, Reason.NOT_AUTHORISED, Reason.NOT_AUTHORISED, Reason.BAD_FILTER]
        with pytest.raises(Refusal):
            await publish_all("127.0.0.1", door.port, [("a", b"")], username="pump", password="bad")


async def test_packets_sent_before_the_login_is_checked_are_not_lost(tmp_path: Path) -> None:
    path, log = tmp_path / "users.yaml", ListLog()
    path.write_text(user_entry("pump", "geheim", ["#"], []))
    async with opened(log, users=path) as door, await Client.open(door.port) as client:
        client.send(connect(username="pump", password="geheim") + publish("a", b"1") + publish("a", b"2", 1, 2)[:4])
        assert (await client.next()).kind == wire.CONNACK
        assert (await client.next()).body == b"\0\1"
        client.send(publish("a", b"2", 1, 2)[4:])
        assert (await client.next()).body == b"\0\2"
        assert log.payloads == [b"1", b"2"]


async def test_a_user_cannot_take_over_the_session_of_another(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("anonymous: {publish: ['#'], subscribe: ['#']}\n" + user_entry("u", "p", ["#"], ["#"]))
    async with opened(users=Users.load(path)) as door:
        one = await Client.open(door.port, connect("same", clean=False, username="u", password="p"))
        two = await Client.open(door.port, connect("same", clean=False))
        assert two.connack is not None
        assert two.connack.body == b"\0\0"
        assert await one.silent()
        await one.close()
        await two.close()


# -- the publisher


async def test_the_publisher_goes_on_after_the_door_comes_back() -> None:
    log, acks = ListLog(), []
    messages = [("a", b"%d" % n) for n in range(3000)]
    async with MqttDoor(Core(MqttSettings(port=0), log)) as door:
        port = door.port
        job = asyncio.create_task(publish_all("127.0.0.1", port, messages, window=50, on_ack=acks.append, rate=20_000))
        await until(lambda: len(log.entries) > 500)
    log.calls.clear()
    async with MqttDoor(Core(MqttSettings(port=port), log)):
        assert await job == 3000
    assert acks == sorted(acks)
    assert acks[-1] == 3000
    assert list(dict.fromkeys(log.payloads)) == [payload for _, payload in messages], "nothing lost, order kept"


async def test_the_publisher_starts_where_it_is_told_and_keeps_the_rate() -> None:
    log = ListLog()
    async with opened(log) as door:
        started = asyncio.get_running_loop().time()
        messages = (("a", b"%d" % n) for n in range(300))
        assert await publish_all("127.0.0.1", door.port, messages, start=100, rate=1000.0) == 300
        assert asyncio.get_running_loop().time() - started > 0.18
        assert log.payloads == [b"%d" % n for n in range(100, 300)]


async def test_the_publisher_wraps_its_packet_identifiers() -> None:
    log = ListLog()
    async with opened(log) as door:
        assert await publish_all("127.0.0.1", door.port, (("a", b"") for _ in range(70_000))) == 70_000
        assert len(log.entries) == 70_000


# -- anything at all


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and cannot be written to without end."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closing = 0, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


ANY_PACKET = st.one_of(
    st.binary(max_size=40),
    st.builds(wire.packet, st.integers(0, 255), st.binary(max_size=30)),
    st.builds(
        publish,
        st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace").decode()),
        st.binary(),
        st.integers(0, 3),
        st.integers(0, 9),
        st.sampled_from([4, 5]),
    ),
    st.builds(subscribe, st.sampled_from(["#", "a/+", "$share/g/a", "+/#"]), version=st.sampled_from([4, 5])),
    st.builds(unsubscribe, st.sampled_from(["#", "a/+", "$share/g/a"]), version=st.sampled_from([4, 5])),
    st.builds(wire.ack, st.sampled_from([wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP]), st.integers(0, 9)),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.none(), st.sampled_from([connect("c", 4), connect("c", 5), connect("c", 5, clean=False)])),
    st.lists(ANY_PACKET, max_size=12),
    st.integers(1, 50),
)
def test_no_bytes_make_the_door_stumble(hello: bytes | None, packets: list[bytes], piece: int) -> None:
    async def run() -> None:
        core = Core(MqttSettings(packet_limit=2000), ListLog(), clock=Clock())
        connection, transport = Connection(core), Wire()
        connection.connection_made(transport)
        data = (hello or b"") + b"".join(packets)
        for index in range(0, len(data), piece):
            connection.data_received(data[index : index + piece])
            assert len(connection._rest) <= 2000 + piece
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        connection.connection_lost(None)
        assert core.counters.internal_errors == core.pending == core.online == 0
        assert not core.peers

    asyncio.run(run())


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2), st.booleans()), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 8), st.integers(-2, 9)), max_size=12),
    st.sampled_from([4, 5]),
)
@example([(300, 1, False), (1, 1, False), (1, 1, False)], [(1, 1), (2, 0)], 4)
@example([(0, 0, False), (0, 0, False), (0, 1, False), (0, 0, False)], [(2, 2), (3, 1)], 4)
def test_where_the_reads_are_cut_does_not_matter(
    sizes: list[tuple[int, int, bool]], cuts: list[tuple[int, int]], version: int
) -> None:
    async def run() -> None:
        log = ListLog(manual=True)
        core = Core(MqttSettings(), log, clock=Clock())
        connection = Connection(core)
        connection.connection_made(Wire())
        messages = [
            publish("a/b", b"x" * size, qos, n, version, retain=retain)
            for n, (size, qos, retain) in enumerate(sizes, 1)
        ]
        hello = connect("c", version)
        data, start = hello + b"".join(messages), 0
        ends = list(accumulate(map(len, messages), initial=len(hello)))
        near = {ends[min(index, len(ends) - 1)] + offset for index, offset in cuts}
        for stop in sorted({stop for stop in near if stop < len(data)} | {len(data)}):
            connection.data_received(data[start:stop])
            start = stop
            log.commit()
            whole = sum(end <= stop for end in ends[1:])
            assert [len(payload) for payload in log.payloads] == [size for size, _, _ in sizes[:whole]]
        assert not connection._rest
        connection.connection_lost(None)

    asyncio.run(run())


async def test_at_the_limit_of_sessions_the_longest_absent_is_forgotten() -> None:
    async with opened(sessions=2) as door:
        for name in ("one", "two", "three"):
            async with await Client.open(door.port, connect(name, clean=False)):
                pass
            await until(lambda: not door.core.stats()["connections"])
        assert [key[1] for key in door.core.sessions] == ["two", "three"]
        clients = [await Client.open(door.port, connect(name, 5), 5) for name in ("four", "five", "six")]
        assert [client.connack.body[1] for client in clients if client.connack] == [0, 0, Reason.QUOTA]


# -- the same on uvloop, which the platform runs on


def scenarios() -> list[Callable[[], Coroutine[Any, Any, None]]]:
    found = [thing for name, thing in globals().items() if name.startswith("test_") and iscoroutinefunction(thing)]
    return [thing for thing in found if not signature(thing).parameters]


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.__name__[5:])
def test_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    uvloop.run(scenario())


@VERSIONS
def test_on_uvloop_a_failed_commit(version: int) -> None:
    uvloop.run(test_a_failed_commit_closes_its_connections_and_no_others(version))


@VERSIONS
def test_on_uvloop_oversize(version: int) -> None:
    uvloop.run(test_an_oversize_packet_is_refused_at_its_header(version))
