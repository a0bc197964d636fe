"""The wire format: primitives, properties and the bodies of control packets. Nothing here does I/O or keeps state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

V311 = 4
V5 = 5

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = range(0x10, 0x90, 0x10)
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(0x90, 0x100, 0x10)

PINGRESP_PACKET = bytes((PINGRESP, 0))
LONGEST = 268_435_455
"""The largest remaining length four bytes can say (section 1.5.5)."""


class Reason(IntEnum):
    """MQTT 5 reason codes this server sends or acts on (section 2.4)."""

    SUCCESS = 0x00
    WITH_WILL = 0x04
    NO_SUBSCRIPTION = 0x11
    UNSPECIFIED = 0x80
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    NOT_STORED = 0x83
    BAD_VERSION = 0x84
    BAD_CLIENT_ID = 0x85
    BAD_LOGIN = 0x86
    NOT_AUTHORISED = 0x87
    UNAVAILABLE = 0x88
    SHUTTING_DOWN = 0x8B
    BAD_AUTH_METHOD = 0x8C
    KEEPALIVE = 0x8D
    TAKEN_OVER = 0x8E
    BAD_FILTER = 0x8F
    BAD_TOPIC = 0x90
    UNKNOWN_PACKET_ID = 0x92
    RECEIVE_MAXIMUM = 0x93
    BAD_ALIAS = 0x94
    TOO_LARGE = 0x95
    QUOTA = 0x97


CONNACK_311 = {
    Reason.BAD_VERSION: 1,
    Reason.BAD_CLIENT_ID: 2,
    Reason.UNAVAILABLE: 3,
    Reason.QUOTA: 3,
    Reason.BAD_LOGIN: 4,
    Reason.NOT_AUTHORISED: 5,
}
"""What MQTT 3.1.1 calls a refusal in CONNACK (its section 3.2.2.3); a reason not listed closes without one."""


class Refused(Exception):
    """A client broke the protocol or a limit; never leaves this package."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class Property(IntEnum):
    """Identifiers of MQTT 5 properties (section 2.2.2.2)."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    AUTH_METHOD = 0x15
    AUTH_DATA = 0x16
    REQUEST_PROBLEM = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE = 0x19
    RESPONSE_INFO = 0x1A
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    USER = 0x26
    PACKET_LIMIT = 0x27


P = Property
Properties: TypeAlias = dict[int, Any]
"""Property identifier -> int, str or bytes; `Property.USER` -> list of (name, value)."""

_BYTE, _U16, _U32, _VARINT, _TEXT, _BINARY, _PAIR = range(7)
_TYPES: dict[int, int] = {
    **dict.fromkeys((P.PAYLOAD_FORMAT, P.REQUEST_PROBLEM, P.REQUEST_RESPONSE), _BYTE),
    **dict.fromkeys((P.RECEIVE_MAXIMUM, P.TOPIC_ALIAS_MAXIMUM, P.TOPIC_ALIAS), _U16),
    **dict.fromkeys((P.MESSAGE_EXPIRY, P.SESSION_EXPIRY, P.WILL_DELAY, P.PACKET_LIMIT), _U32),
    P.SUBSCRIPTION_ID: _VARINT,
    **dict.fromkeys((P.CONTENT_TYPE, P.RESPONSE_TOPIC, P.ASSIGNED_CLIENT_ID, P.AUTH_METHOD), _TEXT),
    **dict.fromkeys((P.RESPONSE_INFO, P.REASON_STRING), _TEXT),
    **dict.fromkeys((P.CORRELATION, P.AUTH_DATA), _BINARY),
    P.USER: _PAIR,
}
_AT_MOST_ONE = frozenset({P.PAYLOAD_FORMAT, P.REQUEST_PROBLEM, P.REQUEST_RESPONSE})
_NOT_ZERO = frozenset({P.SUBSCRIPTION_ID, P.RECEIVE_MAXIMUM, P.PACKET_LIMIT})

IN_MESSAGE = frozenset({P.PAYLOAD_FORMAT, P.MESSAGE_EXPIRY, P.CONTENT_TYPE, P.RESPONSE_TOPIC, P.CORRELATION, P.USER})
IN_PUBLISH = IN_MESSAGE | {P.TOPIC_ALIAS}
IN_WILL = IN_MESSAGE | {P.WILL_DELAY}
IN_CONNECT = frozenset(
    {P.SESSION_EXPIRY, P.RECEIVE_MAXIMUM, P.PACKET_LIMIT, P.TOPIC_ALIAS_MAXIMUM, P.REQUEST_RESPONSE}
    | {P.REQUEST_PROBLEM, P.USER, P.AUTH_METHOD, P.AUTH_DATA}
)
IN_SUBSCRIBE = frozenset({P.SUBSCRIPTION_ID, P.USER})
IN_UNSUBSCRIBE = frozenset({P.USER})
IN_ACK = frozenset({P.REASON_STRING, P.USER})
IN_DISCONNECT = frozenset({P.SESSION_EXPIRY, P.REASON_STRING, P.USER})


def remaining_length(data: bytes, position: int) -> tuple[int, int] | None:
    """The length at `position` and where it ends; None while bytes are missing.

    >>> remaining_length(b"\\x80\\x01", 0)
    (128, 2)
    """
    length = shift = 0
    for index in range(position, min(position + 4, len(data))):
        byte = data[index]
        length |= (byte & 127) << shift
        if byte < 128:
            return length, index + 1
        shift += 7
    if len(data) - position >= 4:
        raise Refused(Reason.MALFORMED, "a remaining length has at most four bytes")
    return None


class Reader:
    """Reads one packet's body; every overrun is `Refused(MALFORMED)`."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, position: int, end: int) -> None:
        self._data, self._position, self._end = data, position, end

    def __bool__(self) -> bool:
        return self._position < self._end

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self._position
        self._position = start + count
        if self._position > self._end:
            raise Refused(Reason.MALFORMED, "a packet ends in the middle of a field")
        return self._data[start : self._position]

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self._end - self._position)

    def byte(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def varint(self) -> int:
        value = shift = 0
        for _ in range(4):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise Refused(Reason.MALFORMED, "a variable byte integer has at most four bytes")

    def binary(self) -> bytes:
        return self.take(self.u16())

    def text(self) -> str:
        """A UTF-8 string; U+0000 and surrogates are not allowed in one (section 1.5.4)."""
        return decode_text(self.binary())

    def packet_id(self) -> int:
        number = self.u16()
        if not number:
            raise Refused(Reason.PROTOCOL_ERROR, "packet identifier 0")
        return number

    def done(self) -> None:
        """Refuse bytes after the last field."""
        if self._position != self._end:
            raise Refused(Reason.MALFORMED, "bytes after the last field of a packet")

    def properties(self, allowed: frozenset[Property]) -> Properties:
        """The properties at this place, if all of them are `allowed` here."""
        length = self.varint()
        if self._position + length > self._end:
            raise Refused(Reason.MALFORMED, "properties are longer than their packet")
        inner = Reader(self._data, self._position, self._position + length)
        self._position += length
        found: Properties = {}
        while inner:
            key = inner.varint()
            if key not in allowed:
                raise Refused(Reason.PROTOCOL_ERROR, f"property {key:#04x} is not allowed here")
            if key == P.USER:
                found.setdefault(key, []).append((inner.text(), inner.text()))
            elif key in found:
                raise Refused(Reason.PROTOCOL_ERROR, f"property {key:#04x} is given twice")
            else:
                found[key] = inner._value(key)
        return found

    def _value(self, key: int) -> int | str | bytes:
        kind = _TYPES[key]
        if kind == _TEXT:
            return self.text()
        if kind == _BINARY:
            return self.binary()
        value = (self.byte, self.u16, self.u32, self.varint)[kind]()
        if (key in _AT_MOST_ONE and value > 1) or (key in _NOT_ZERO and not value):
            raise Refused(Reason.PROTOCOL_ERROR, f"property {key:#04x} may not be {value}")
        return value


def decode_text(raw: bytes) -> str:
    """UTF-8 to str, or `Refused`."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(Reason.MALFORMED, "a string is not UTF-8") from error
    if "\0" in text:
        raise Refused(Reason.MALFORMED, "a string contains U+0000")
    return text


# -- from the client


class Will(NamedTuple):
    """What to publish when the client goes away without saying so."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties
    delay: int
    """Seconds."""


class Connect(NamedTuple):
    """A CONNECT packet."""

    version: int
    client_id: str
    clean: bool
    keepalive: int
    """Seconds; 0: off."""
    will: Will | None
    username: str | None
    password: bytes | None
    properties: Properties


def read_connect(reader: Reader) -> Connect:
    """Section 3.1. The version is checked first, because an unknown one may lay out the rest differently."""
    name, version = reader.binary(), reader.byte()
    if name == b"MQIsdp" or (name == b"MQTT" and version not in (V311, V5)):
        raise Refused(Reason.BAD_VERSION, f"MQTT protocol level {version}; this server speaks 4 (3.1.1) and 5")
    if name != b"MQTT":
        raise Refused(Reason.MALFORMED, "not MQTT")
    flags, keepalive = reader.byte(), reader.u16()
    has_will = flags & 0x04
    if flags & 0x01 or (flags & 0x38 and not has_will) or flags & 0x18 == 0x18:
        raise Refused(Reason.MALFORMED, "CONNECT flags contradict each other")
    if version == V311 and flags & 0x40 and not flags & 0x80:
        raise Refused(Reason.MALFORMED, "a password without a user name")
    properties = reader.properties(IN_CONNECT) if version == V5 else {}
    client_id = reader.text()
    will = _read_will(reader, version, flags) if has_will else None
    username = reader.text() if flags & 0x80 else None
    password = reader.binary() if flags & 0x40 else None
    reader.done()
    return Connect(version, client_id, bool(flags & 0x02), keepalive, will, username, password, properties)


def _read_will(reader: Reader, version: int, flags: int) -> Will:
    properties = reader.properties(IN_WILL) if version == V5 else {}
    delay = properties.pop(P.WILL_DELAY, 0)
    topic, payload = reader.text(), reader.binary()
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties, delay)


class Filter(NamedTuple):
    """One line of a SUBSCRIBE."""

    text: str
    qos: int
    no_local: bool
    as_published: bool
    retain_handling: int
    """0: send retained messages; 1: only if the subscription is new; 2: do not."""


def read_subscribe(reader: Reader, version: int) -> tuple[int, int, list[Filter]]:
    """Packet identifier, subscription identifier (0: none), filters (section 3.8)."""
    packet_id = reader.packet_id()
    properties = reader.properties(IN_SUBSCRIBE) if version == V5 else {}
    filters = []
    while reader:
        text, options = reader.text(), reader.byte()
        if options & 3 == 3 or options & (0xC0 if version == V5 else 0xFC) or options & 0x30 == 0x30:
            raise Refused(Reason.MALFORMED, f"subscription options {options:#04x}")
        filters.append(Filter(text, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3))
    if not filters:
        raise Refused(Reason.PROTOCOL_ERROR, "SUBSCRIBE without a filter")
    return packet_id, properties.get(P.SUBSCRIPTION_ID, 0), filters


def read_unsubscribe(reader: Reader, version: int) -> tuple[int, list[str]]:
    """Packet identifier and filters (section 3.10)."""
    packet_id = reader.packet_id()
    if version == V5:
        reader.properties(IN_UNSUBSCRIBE)
    filters = []
    while reader:
        filters.append(reader.text())
    if not filters:
        raise Refused(Reason.PROTOCOL_ERROR, "UNSUBSCRIBE without a filter")
    return packet_id, filters


def read_ack(reader: Reader, version: int) -> int:
    """Packet identifier of a PUBACK, PUBREC, PUBREL or PUBCOMP; reason and properties are checked and dropped."""
    packet_id = reader.packet_id()
    if version == V5 and reader:
        reader.byte()
        if reader:
            reader.properties(IN_ACK)
    reader.done()
    return packet_id


def read_disconnect(reader: Reader, version: int) -> tuple[int, Properties]:
    """Reason and properties (section 3.14)."""
    reason = reader.byte() if version == V5 and reader else 0
    properties = reader.properties(IN_DISCONNECT) if version == V5 and reader else {}
    reader.done()
    return reason, properties


# -- to the client


def write_varint(value: int) -> bytes:
    """A variable byte integer.

    >>> write_varint(128).hex()
    '8001'
    """
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_binary(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def write_text(value: str) -> bytes:
    return write_binary(value.encode())


def write_properties(properties: Mapping[int, Any], identifiers: Sequence[int] = ()) -> bytes:
    """Properties with their length in front; `identifiers` are the subscriptions a message matched."""
    parts = [b"\x0b" + write_varint(identifier) for identifier in identifiers]
    for key, value in properties.items():
        kind = _TYPES[key]
        if kind == _PAIR:
            parts += [b"\x26" + write_text(name) + write_text(text) for name, text in value]
        elif kind == _TEXT:
            parts.append(bytes((key,)) + write_text(value))
        elif kind == _BINARY:
            parts.append(bytes((key,)) + write_binary(value))
        elif kind == _VARINT:
            parts.append(bytes((key,)) + write_varint(value))
        else:
            parts.append(bytes((key,)) + value.to_bytes((1, 2, 4)[kind], "big"))
    body = b"".join(parts)
    return write_varint(len(body)) + body


def packet(first: int, body: bytes) -> bytes:
    """A control packet from its first byte and its body."""
    return bytes((first,)) + write_varint(len(body)) + body


class _Heads(dict[int, bytes]):
    """What stands before a payload, by the payload's length: packets of one topic have few different lengths."""

    def __init__(self, first: int, head: bytes) -> None:
        self._start, self._head = bytes((first,)), head

    def __missing__(self, length: int) -> bytes:
        made = self[length] = self._start + write_varint(len(self._head) + length) + self._head
        return made


def write_publishes(first: int, head: bytes, payloads: Sequence[bytes], limit: int) -> bytes:
    """QoS 0 PUBLISH packets of one topic; those longer than `limit` are left out (section 3.1.2.11.4).

    Args:
        head: what stands before each payload: topic and properties.
    """
    heads = _Heads(first, head)
    if limit < LONGEST:
        payloads = [payload for payload in payloads if len(heads[len(payload)]) + len(payload) <= limit]
    return b"".join([heads[len(payload)] + payload for payload in payloads])


def ack(kind: int, packet_id: int, version: int = V311, reason: int = 0, text: str = "") -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; MQTT 3.1.1 has no way to say a reason."""
    first = kind | 0x02 if kind == PUBREL else kind
    number = packet_id.to_bytes(2, "big")
    if version != V5 or not reason:
        return bytes((first, 2)) + number
    return packet(first, number + bytes((reason,)) + _reason_string(text))


def connack(version: int, reason: Reason, present: bool = False, properties: Properties | None = None) -> bytes:
    """Section 3.2; empty if MQTT 3.1.1 has no code for the reason."""
    if version == V5:
        return packet(CONNACK, bytes((present, reason)) + write_properties(properties or {}))
    code = CONNACK_311.get(reason) if reason else 0
    return b"" if code is None else bytes((CONNACK, 2, present, code))


def suback(version: int, packet_id: int, codes: Sequence[int]) -> bytes:
    """Section 3.9; MQTT 3.1.1 has one code for every failure."""
    number = packet_id.to_bytes(2, "big")
    if version == V5:
        return packet(SUBACK, number + b"\0" + bytes(codes))
    return packet(SUBACK, number + bytes(min(code, 0x80) for code in codes))


def unsuback(version: int, packet_id: int, codes: Sequence[int]) -> bytes:
    """Section 3.11."""
    number = packet_id.to_bytes(2, "big")
    return packet(UNSUBACK, number + b"\0" + bytes(codes) if version == V5 else number)


def disconnect(reason: int, text: str = "") -> bytes:
    """Section 3.14, MQTT 5 only: in 3.1.1 a server just closes."""
    return packet(DISCONNECT, bytes((reason,)) + _reason_string(text))


def _reason_string(text: str) -> bytes:
    return write_properties({P.REASON_STRING: text[:200]} if text else {})
