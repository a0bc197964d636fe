"""What MQTT 3.1.1 and 5 ask of a server, scenario by scenario, said in raw bytes and through paho."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headrace.services.gateway.mqtt import MqttDoor, wire
from headrace.services.gateway.mqtt.wire import Property, Reason, Will
from mqtt_support import Client, Clock, ListLog, connect, opened, publish, subscribe, unsubscribe

VERSIONS = pytest.mark.parametrize("version", [4, 5])


@pytest.fixture
async def door() -> AsyncIterator[MqttDoor]:
    async with opened() as door:
        yield door


class Actor:
    """A raw client that subscribes, publishes and acknowledges in one line each."""

    def __init__(self, client: Client) -> None:
        self.client, self.version, self._next = client, client.version, 0

    @classmethod
    async def enter(cls, door: MqttDoor, name: str, version: int = 4, **options: Any) -> Actor:
        return cls(await Client.open(door.port, connect(name, version, **options), version))

    @property
    def present(self) -> bool:
        assert self.client.connack is not None
        return bool(self.client.connack.body[0])

    async def subscribe(self, *filters: str, options: int = 1, properties: Any = None) -> list[int]:
        packet = subscribe(*filters, options=options, version=self.version, properties=properties)
        reply = await self.client.ask(packet)
        assert reply.kind == wire.SUBACK
        return list(reply.body[3 if self.version == 5 else 2 :])

    async def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, **options: Any) -> None:
        self._next += 1
        self.client.send(publish(topic, payload, qos, self._next, self.version, **options))
        if qos:
            assert (await self.client.next()).kind == (wire.PUBACK if qos == 1 else wire.PUBREC)
        if qos == 2:
            assert (await self.client.ask(wire.ack(wire.PUBREL, self._next))).kind == wire.PUBCOMP

    async def hear(self, count: int = 1) -> list[tuple[str, bytes, int]]:
        heard = []
        for _ in range(count):
            got = await self.client.next()
            assert got.kind == wire.PUBLISH
            if got.qos:
                self.client.send(wire.ack(wire.PUBACK, got.packet_id))
            heard.append((got.topic, got.payload, got.qos))
        return heard

    async def leave(self, door: MqttDoor, *, rudely: bool = False) -> None:
        online = door.core.stats()["connections"]
        if rudely:
            self.client.writer.transport.abort()
        else:
            self.client.send(bytes((wire.DISCONNECT, 0)))
            await self.client.close()
        async with asyncio.timeout(5):
            while door.core.stats()["connections"] == online:
                await asyncio.sleep(0.002)


# -- the basics


@VERSIONS
async def test_every_quality_of_service_both_ways(door: MqttDoor, version: int) -> None:
    ear, mouth = await Actor.enter(door, "ear", version), await Actor.enter(door, "mouth", version)
    assert await ear.subscribe("q/0", options=0) == [0]
    assert await ear.subscribe("q/1", options=1) == [1]
    assert await ear.subscribe("q/2", options=2) == [1], "QoS 2 subscriptions are granted 1"
    for granted in range(3):
        for qos in range(3):
            await mouth.publish(f"q/{granted}", b"%d" % qos, qos)
            assert await ear.hear() == [(f"q/{granted}", b"%d" % qos, min(qos, granted, 1))]


@VERSIONS
async def test_wildcards(door: MqttDoor, version: int) -> None:
    ear = await Actor.enter(door, "ear", version)
    codes = await ear.subscribe("a/+/c", "b/#", "+", "/+", "a/#/b", "", options=0)
    failure = Reason.BAD_FILTER if version == 5 else 0x80
    assert codes == [0, 0, 0, 0, failure, failure]
    for topic in ("a/b/c", "a//c", "b", "b/c/d", "x", "/x"):
        await ear.client.ask(b"\xc0\0")
        door.core.publish(topic, b"", qos=0)
        assert (await ear.hear())[0][0] == topic
    for topic in ("a/b", "a/b/c/d", "c/d", "/x/y", "$x/y"):
        door.core.publish(topic, b"", qos=0)
    assert await ear.client.silent()


@VERSIONS
async def test_retained_messages(door: MqttDoor, version: int) -> None:
    mouth, ear = await Actor.enter(door, "mouth", version), await Actor.enter(door, "ear", version)
    for topic, qos in (("r/a", 0), ("r/b", 1), ("r/c", 2)):
        await mouth.publish(topic, b"kept", qos, retain=True)
    await mouth.publish("r/d", b"not kept")
    await mouth.publish("r/b", b"", retain=True)
    await ear.subscribe("r/+")
    assert sorted(await ear.hear(2)) == [("r/a", b"kept", 0), ("r/c", b"kept", 1)]
    assert await ear.client.silent()


async def test_retained_messages_remember_their_properties(door: MqttDoor) -> None:
    mouth, ear = await Actor.enter(door, "mouth", 5), await Actor.enter(door, "ear", 5)
    properties = {
        Property.PAYLOAD_FORMAT: 1,
        Property.CONTENT_TYPE: "text/plain",
        Property.RESPONSE_TOPIC: "back",
        Property.CORRELATION: b"\0c",
        Property.USER: [("a", "1"), ("a", "2")],
    }
    await mouth.publish("r", b"x", retain=True, properties=properties)
    await ear.subscribe("r")
    assert (await ear.client.next()).properties == properties


@VERSIONS
async def test_unsubscribe(door: MqttDoor, version: int) -> None:
    ear = await Actor.enter(door, "ear", version)
    await ear.subscribe("a", "b", "c")
    reply = await ear.client.ask(unsubscribe("a", "b", "zzz", packet_id=9, version=version))
    assert (reply.kind, reply.body) == (wire.UNSUBACK, b"\0\x09" + (b"\0\0\0\x11" if version == 5 else b""))
    for topic in "abc":
        door.core.publish(topic, b"")
    assert (await ear.hear())[0][0] == "c"
    assert await ear.client.silent()


@VERSIONS
async def test_overlapping_subscriptions_deliver_once_with_the_highest_qos(door: MqttDoor, version: int) -> None:
    ear = await Actor.enter(door, "ear", version)
    await ear.subscribe("a/#", options=0)
    await ear.subscribe("a/+", options=1)
    door.core.publish("a/b", b"x")
    assert await ear.hear() == [("a/b", b"x", 1)]
    assert await ear.client.silent()


# -- sessions


@VERSIONS
async def test_messages_wait_for_an_absent_client(door: MqttDoor, version: int) -> None:
    options: dict[str, Any] = {"clean": False}
    if version == 5:
        options["properties"] = {Property.SESSION_EXPIRY: 60}
    ear, mouth = await Actor.enter(door, "ear", version, **options), await Actor.enter(door, "mouth", version)
    assert not ear.present
    await ear.subscribe("w/#")
    await ear.leave(door)
    for n in range(3):
        await mouth.publish(f"w/{n}", b"%d" % n, qos=n)
    ear = await Actor.enter(door, "ear", version, **options)
    assert ear.present
    assert await ear.hear(2) == [("w/1", b"1", 1), ("w/2", b"2", 1)]
    await ear.leave(door)
    again = await Actor.enter(door, "ear", version, clean=True)
    assert not again.present
    door.core.publish("w/x", b"")
    assert await again.client.silent()


@VERSIONS
async def test_unacknowledged_messages_are_sent_again(door: MqttDoor, version: int) -> None:
    options = {"clean": False, "properties": {Property.SESSION_EXPIRY: 60}}
    ear = await Actor.enter(door, "ear", version, **options)
    await ear.subscribe("a")
    door.core.publish("a", b"1")
    door.core.publish("a", b"2")
    first = [await ear.client.next() for _ in range(2)]
    ear.client.send(wire.ack(wire.PUBACK, first[0].packet_id))
    await ear.client.silent()
    await ear.leave(door, rudely=True)
    ear = await Actor.enter(door, "ear", version, **options)
    again = await ear.client.next()
    assert (again.payload, again.packet_id, again.dup) == (b"2", first[1].packet_id, True)
    assert await ear.client.silent()


@VERSIONS
async def test_a_second_connection_takes_over(door: MqttDoor, version: int) -> None:
    one = await Actor.enter(door, "same", version)
    two = await Actor.enter(door, "same", version)
    if version == 5:
        assert (await one.client.next()).body[0] == Reason.TAKEN_OVER
    assert await one.client.closed()
    await two.publish("a")
    assert door.core.stats()["connections"] == 1


async def test_a_client_without_id_is_given_one(door: MqttDoor) -> None:
    one, two = await Actor.enter(door, "", 5), await Actor.enter(door, "", 5)
    names = {a.client.connack.properties[Property.ASSIGNED_CLIENT_ID] for a in (one, two) if a.client.connack}
    assert len(names) == 2
    assert not (await Actor.enter(door, "", 4)).present
    refused = await Client.open(door.port, connect("", 4, clean=False))
    assert refused.connack is not None
    assert refused.connack.body == b"\0\2"


async def test_session_expiry_can_be_changed_when_leaving(door: MqttDoor) -> None:
    keep = {Property.SESSION_EXPIRY: 60}
    ear = await Actor.enter(door, "ear", 5, clean=False, properties=keep)
    ear.client.send(wire.packet(wire.DISCONNECT, b"\0" + wire.write_properties({Property.SESSION_EXPIRY: 0})))
    assert await ear.client.closed()
    assert not (await Actor.enter(door, "ear", 5, clean=False, properties=keep)).present
    plain = await Actor.enter(door, "plain", 5)
    plain.client.send(wire.packet(wire.DISCONNECT, b"\0" + wire.write_properties(keep)))
    assert (await plain.client.next()).body[0] == Reason.PROTOCOL_ERROR


# -- wills


@VERSIONS
async def test_wills(version: int) -> None:
    log = ListLog()
    async with opened(log) as door:
        ear = await Actor.enter(door, "ear", version)
        await ear.subscribe("will/#")
        will = Will("will/me", b"gone", 1, True, {}, 0)
        polite = await Actor.enter(door, "polite", version, will=will)
        await polite.leave(door)
        assert await ear.client.silent()
        rude = await Actor.enter(door, "rude", version, will=will)
        await rude.leave(door, rudely=True)
        assert await ear.hear() == [("will/me", b"gone", 1)]
        assert [(entry.stream, entry.payload) for entry in log.entries] == [("will/me", b"gone")], (
            "stored like any message"
        )
        late = await Actor.enter(door, "late", version)
        await late.subscribe("will/me")
        assert (await late.client.next()).retain


async def test_disconnect_with_will(door: MqttDoor) -> None:
    ear = await Actor.enter(door, "ear", 5)
    await ear.subscribe("will")
    leaver = await Actor.enter(door, "leaver", 5, will=Will("will", b"w", 0, False, {}, 0))
    leaver.client.send(bytes((wire.DISCONNECT, 1, Reason.WITH_WILL)))
    assert await ear.hear() == [("will", b"w", 0)]


@pytest.mark.parametrize(("topic", "code"), [("$x", 5), ("headrace/predict/m", 5), ("a/#", None)])
async def test_wills_with_topics_that_are_not_allowed(door: MqttDoor, topic: str, code: int | None) -> None:
    client = await Client.open(door.port)
    client.send(connect(will=Will(topic, b"", 0, False, {}, 0)))
    if code is not None:
        assert (await client.next()).body == bytes((0, code))
    assert await client.closed()


async def test_keepalive() -> None:
    clock = Clock()
    async with opened(clock=clock) as door:
        ear = await Actor.enter(door, "ear")
        await ear.subscribe("will")
        await Actor.enter(door, "quiet", 5, keepalive=2, will=Will("will", b"silent", 0, False, {}, 0))
        door.sweep()
        clock.now += 2.9
        door.sweep()
        assert await ear.client.silent()
        clock.now += 0.2
        door.sweep()
        assert await ear.hear() == [("will", b"silent", 0)]


# -- MQTT 5


async def test_shared_subscriptions(door: MqttDoor) -> None:
    workers = [await Actor.enter(door, f"w{n}", 5 if n else 4) for n in range(3)]
    for worker in workers:
        assert await worker.subscribe("$share/group/job/+") == [1]
    outsider = await Actor.enter(door, "outsider", 5)
    await outsider.subscribe("job/#")
    for n in range(9):
        door.core.publish("job/x", b"%d" % n)
    shares = [await worker.hear(3) for worker in workers]
    assert sorted(payload for share in shares for _, payload, _ in share) == [b"%d" % n for n in range(9)]
    assert len(await outsider.hear(9)) == 9
    reply = await workers[1].client.ask(unsubscribe("$share/group/job/+", version=5))
    assert reply.body[-1] == 0
    door.core.publish("job/x", b"after")
    assert await workers[1].client.silent()
    workers[1].client.send(subscribe("$share/group/job/+", options=4, version=5))
    assert (await workers[1].client.next()).body[0] == Reason.PROTOCOL_ERROR


async def test_topic_aliases() -> None:
    log = ListLog()
    async with opened(log, topic_aliases=5) as door:
        mouth = await Actor.enter(door, "mouth", 5)
        assert mouth.client.connack is not None
        assert mouth.client.connack.properties[Property.TOPIC_ALIAS_MAXIMUM] == 5
        alias = {Property.TOPIC_ALIAS: 5}
        await mouth.publish("first", properties=alias)
        await mouth.publish("", properties=alias)
        await mouth.publish("second", properties=alias)
        await mouth.publish("", qos=0, properties=alias)
        await mouth.publish("last")
        assert [entry.stream for entry in log.entries] == ["first", "first", "second", "second", "last"]
        for number, reason in ((0, Reason.BAD_ALIAS), (6, Reason.BAD_ALIAS), (4, Reason.PROTOCOL_ERROR)):
            bad = await Actor.enter(door, f"bad{number}", 5)
            bad.client.send(publish("", b"", 1, 1, 5, properties={Property.TOPIC_ALIAS: number}))
            assert (await bad.client.next()).body[0] == reason


async def test_maximum_packet_size_of_the_client(door: MqttDoor) -> None:
    ear = await Actor.enter(door, "ear", 5, properties={Property.PACKET_LIMIT: 60})
    await ear.subscribe("a")
    door.core.publish("a", b"x" * 100)
    door.core.publish("a", b"small")
    assert await ear.hear() == [("a", b"small", 1)]


async def test_receive_maximum_of_the_client(door: MqttDoor) -> None:
    ear = await Actor.enter(door, "ear", 5, properties={Property.RECEIVE_MAXIMUM: 2})
    await ear.subscribe("a")
    for n in range(4):
        door.core.publish("a", b"%d" % n)
    first = [await ear.client.next() for _ in range(2)]
    assert await ear.client.silent()
    ear.client.send(wire.ack(wire.PUBACK, first[0].packet_id))
    assert (await ear.client.next()).payload == b"2"
    assert await ear.client.silent()


async def test_subscription_identifiers(door: MqttDoor) -> None:
    ear = await Actor.enter(door, "ear", 5)
    await ear.subscribe("a/#", options=0, properties={Property.SUBSCRIPTION_ID: 300})
    door.core.publish("a/b", b"")
    assert (await ear.client.next()).properties == {Property.SUBSCRIPTION_ID: 300}
    ear.client.send(subscribe("a", version=5, properties={Property.SUBSCRIPTION_ID: 0}))
    assert (await ear.client.next()).body[0] == Reason.PROTOCOL_ERROR


async def test_no_local_and_retain_as_published(door: MqttDoor) -> None:
    me, other = await Actor.enter(door, "me", 5), await Actor.enter(door, "other", 5)
    await me.subscribe("mine", options=4)
    await me.subscribe("flag", options=8)
    await me.publish("mine", b"echo")
    assert await me.client.silent()
    await other.publish("mine", b"from other")
    assert (await me.hear())[0][1] == b"from other"
    await other.publish("flag", b"1", retain=True)
    assert (await me.client.next()).retain


@pytest.mark.parametrize(("handling", "first", "second"), [(0, True, True), (1, True, False), (2, False, False)])
async def test_retain_handling(door: MqttDoor, handling: int, first: bool, second: bool) -> None:
    door.core.publish("r", b"kept", retain=True)
    ear = await Actor.enter(door, "ear", 5)
    for expected in (first, second):
        await ear.subscribe("r", options=handling << 4)
        if expected:
            assert await ear.hear() == [("r", b"kept", 0)]
        assert await ear.client.silent()


async def test_message_expiry() -> None:
    clock = Clock()
    async with opened(clock=clock) as door:
        keep = {"clean": False, "properties": {Property.SESSION_EXPIRY: 600}}
        ear = await Actor.enter(door, "ear", 5, **keep)
        await ear.subscribe("a")
        await ear.leave(door)
        mouth = await Actor.enter(door, "mouth", 5)
        for seconds in (5, 50):
            await mouth.publish("a", b"%d" % seconds, properties={Property.MESSAGE_EXPIRY: seconds})
        clock.now += 20
        ear = await Actor.enter(door, "ear", 5, **keep)
        got = await ear.client.next()
        assert (got.payload, got.properties) == (b"50", {Property.MESSAGE_EXPIRY: 30})
        assert await ear.client.silent()


async def test_reason_strings_say_what_is_wrong(door: MqttDoor) -> None:
    mouth = await Actor.enter(door, "mouth", 5)
    reply = await mouth.client.ask(publish("$x", b"", 1, 1, 5))
    assert b"you may not publish to this topic" in reply.body
    for data, reason in ((b"\xf0\0", Reason.PROTOCOL_ERROR), (publish("a/+", b"", 0, 0, 5), Reason.BAD_TOPIC)):
        actor = await Actor.enter(door, "x", 5)
        actor.client.send(data)
        said = await actor.client.next()
        assert said.body[0] == reason
        assert len(said.body) > 10
    bad = await Client.open(door.port, connect(version=5, properties={Property.AUTH_METHOD: "SCRAM"}), 5)
    assert bad.connack is not None
    assert bad.connack.body[1] == Reason.BAD_AUTH_METHOD


# -- through paho, which must see the same server


class Paho:
    """A paho client with its own thread; calls block, so the test wraps them in `to_thread`."""

    def __init__(self, port: int, name: str, version: int, **options: Any) -> None:
        self.version = version
        clean = {"clean_session": True} if version == 4 else {}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTProtocolVersion(version), **clean, **options
        )
        self.heard: list[paho.MQTTMessage] = []
        self._ready, self._count, self._granted = threading.Event(), threading.Condition(), threading.Event()
        self.client.on_connect = lambda *_: self._ready.set()
        self.client.on_message = self._message
        self.client.on_subscribe = lambda *_: self._granted.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(5)

    def subscribe(self, text: str, qos: int = 1) -> None:
        self._granted.clear()
        self.client.subscribe(text, qos)
        assert self._granted.wait(5)

    def wait(self, count: int) -> list[tuple[str, bytes]]:
        with self._count:
            assert self._count.wait_for(lambda: len(self.heard) >= count, 5)
        return [(message.topic, message.payload) for message in self.heard]

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._count:
            self.heard.append(message)
            self._count.notify()


@VERSIONS
async def test_paho_publishes_and_hears_itself(version: int) -> None:
    log = ListLog()

    def act(port: int) -> None:
        me = Paho(port, "me", version)
        me.subscribe("t/#")
        for qos in range(3):
            me.client.publish(f"t/{qos}", b"%d" % qos, qos).wait_for_publish(5)
        assert me.wait(3) == [(f"t/{qos}", b"%d" % qos) for qos in range(3)]
        me.stop()

    async with opened(log) as door:
        await asyncio.to_thread(act, door.port)
    assert log.payloads == [b"0", b"1", b"2"]


async def test_paho_request_and_response() -> None:
    async def double(topic: str, payload: bytes) -> bytes:
        return b"%d" % (2 * int(payload))

    def act(port: int) -> None:
        me = Paho(port, "me", 5)
        me.subscribe("answers/me")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic, properties.CorrelationData = "answers/me", b"17"
        me.client.publish("headrace/predict/twice", b"21", 1, properties=properties).wait_for_publish(5)
        assert me.wait(1) == [("answers/me", b"42")]
        assert me.heard[0].properties.CorrelationData == b"17"
        me.stop()
        old = Paho(port, "old", 4)
        old.subscribe("headrace/predict/+/response/old")
        old.client.publish("headrace/predict/twice", b"4", 2).wait_for_publish(5)
        assert old.wait(1) == [("headrace/predict/twice/response/old", b"8")]
        old.stop()

    async with opened(requests=double) as door:
        await asyncio.to_thread(act, door.port)
