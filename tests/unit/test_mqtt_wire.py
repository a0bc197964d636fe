"""The wire format: what is read is what was written, and nothing else gets through."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mqtt_support as support
from headrace.services.gateway.mqtt import wire
from headrace.services.gateway.mqtt.wire import Property, Reader, Reason, Refused

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        Property.PAYLOAD_FORMAT: st.integers(0, 1),
        Property.MESSAGE_EXPIRY: st.integers(0, 2**32 - 1),
        Property.CONTENT_TYPE: TEXT,
        Property.RESPONSE_TOPIC: TEXT,
        Property.CORRELATION: st.binary(max_size=20),
        Property.USER: st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    },
)


def reader(data: bytes) -> Reader:
    return Reader(data, 0, len(data))


def body(packet: bytes) -> Reader:
    span = wire.remaining_length(packet, 1)
    assert span is not None
    assert span[1] + span[0] == len(packet)
    return Reader(packet, span[1], len(packet))


@given(st.integers(0, wire.LONGEST))
def test_remaining_length_round_trip(value: int) -> None:
    data = b"\x30" + wire.write_varint(value)
    assert wire.remaining_length(data, 1) == (value, len(data))
    assert wire.remaining_length(data[:-1], 1) is None or len(data) == 2
    assert reader(data[1:]).varint() == value


def test_remaining_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        wire.remaining_length(b"\x30\xff\xff\xff\xff\x01", 1)
    assert caught.value.reason == Reason.MALFORMED


@given(PROPERTIES)
def test_properties_round_trip(properties: wire.Properties) -> None:
    assert reader(wire.write_properties(properties)).properties(wire.IN_MESSAGE) == properties


@given(st.binary(max_size=60))
def test_random_bodies_are_read_or_refused(data: bytes) -> None:
    for version in (4, 5):
        for read in (wire.read_subscribe, wire.read_unsubscribe, wire.read_ack, wire.read_disconnect):
            with suppress(Refused):
                read(reader(data), version)
        head = b"\0\4MQTT" + bytes((version,))
        with suppress(Refused):
            wire.read_connect(reader(head + data))
    with suppress(Refused):
        wire.read_connect(reader(data))


def test_connect_round_trip() -> None:
    will = wire.Will("last/will", b"gone", 1, True, {Property.CONTENT_TYPE: "text/plain"}, 7)
    packet = support.connect(
        "me",
        5,
        clean=False,
        keepalive=30,
        will=will,
        username="u",
        password="p",
        properties={Property.SESSION_EXPIRY: 9},
    )
    assert wire.read_connect(body(packet)) == wire.Connect(
        5, "me", False, 30, will, "u", b"p", {Property.SESSION_EXPIRY: 9}
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\6MQIsdp\3\2\0\0\0\0", Reason.BAD_VERSION),
        (b"\0\4MQTT\3\2\0\0\0\0", Reason.BAD_VERSION),
        (b"\0\4MQTT\6\2\0\0\0\0", Reason.BAD_VERSION),
        (b"\0\4mqtt\4\2\0\0\0\0", Reason.MALFORMED),
        (b"\0\4MQTT\4\3\0\0\0\0", Reason.MALFORMED),  # reserved flag
        (b"\0\4MQTT\4\x1a\0\0\0\0", Reason.MALFORMED),  # will QoS without a will
        (b"\0\4MQTT\4\x1e\0\0\0\0\0\1t\0\0", Reason.MALFORMED),  # will QoS 3
        (b"\0\4MQTT\4\x42\0\0\0\0\0\0", Reason.MALFORMED),  # password without a user name
        (b"\0\4MQTT\4\2\0\0\0\2\xff\xfe", Reason.MALFORMED),  # not UTF-8
        (b"\0\4MQTT\4\2\0\0\0\3a\0b", Reason.MALFORMED),  # NUL
        (b"\0\4MQTT\4\2\0\0\0\3\xed\xa0\x80", Reason.MALFORMED),  # a surrogate
        (b"\0\4MQTT\4\2\0\0\0\0x", Reason.MALFORMED),  # bytes left over
        (b"\0\4MQTT\5\2\0\0\3\x21\0\0\0\0", Reason.PROTOCOL_ERROR),  # receive maximum 0
        (b"\0\4MQTT\5\2\0\0\6\x21\0\1\x21\0\1\0\0", Reason.PROTOCOL_ERROR),  # a property twice
        (b"\0\4MQTT\5\2\0\0\3\x23\0\1\0\0", Reason.PROTOCOL_ERROR),  # a topic alias in CONNECT
        (b"\0\4MQTT\5\2\0\0\x7f\0\0", Reason.MALFORMED),  # properties longer than the packet
    ],
)
def test_bad_connects(data: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        wire.read_connect(reader(data))
    assert caught.value.reason == reason


@pytest.mark.parametrize("options", [3, 0x30, 0x40, 0x80])
def test_bad_subscription_options(options: int) -> None:
    with pytest.raises(Refused):
        wire.read_subscribe(body(support.subscribe("a", options=options, version=5)), 5)


def test_subscription_options() -> None:
    packet = support.subscribe("a/+", options=0x2D, version=5, properties={Property.SUBSCRIPTION_ID: 300})
    assert wire.read_subscribe(body(packet), 5) == (1, 300, [wire.Filter("a/+", 1, True, True, 2)])


def test_packet_identifier_zero_and_empty_lists() -> None:
    for data in (b"\0\0\0\1a\1", b"\0\1"):
        with pytest.raises(Refused):
            wire.read_subscribe(reader(data), 4)
    with pytest.raises(Refused):
        wire.read_unsubscribe(reader(b"\0\1"), 4)


def test_replies_speak_the_clients_version() -> None:
    assert wire.ack(wire.PUBACK, 258, 4, Reason.NOT_AUTHORISED, "no") == b"\x40\2\1\2"
    assert wire.ack(wire.PUBACK, 258, 5, Reason.NOT_AUTHORISED, "no") == b"\x40\x09\1\2\x87\5\x1f\0\2no"
    assert wire.ack(wire.PUBREL, 1) == b"\x62\2\0\1"
    assert wire.suback(4, 1, [1, 0x87]) == b"\x90\4\0\1\1\x80"
    assert wire.suback(5, 1, [1, 0x87]) == b"\x90\5\0\1\0\1\x87"
    assert wire.connack(4, Reason.BAD_LOGIN) == b"\x20\2\0\4"
    assert wire.connack(4, Reason.MALFORMED) == b""
    assert wire.unsuback(4, 7, [0]) == b"\xb0\2\0\7"
