"""As much MQTT 3.1.1 as a load generator needs."""

from __future__ import annotations

from collections.abc import Iterator

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    """A control packet: its first byte, its length in groups of seven bits, its body.

    >>> packet(0x30, bytes(200))[:3].hex()
    '30c801'
    """
    length, size = bytearray(), len(body)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes([first]) + bytes(length) + body


def connect(client: str) -> bytes:
    """A clean session without keep-alive."""
    return packet(0x10, _text("MQTT") + bytes([4, 2, 0, 0]) + _text(client))


def subscribe(topic: str, qos: int = 0) -> bytes:
    """One topic filter, packet id 1."""
    return packet(0x82, b"\x00\x01" + _text(topic) + bytes([qos]))


def publish(topic: str, identifier: int, payload: bytes) -> bytes:
    """QoS 1."""
    return packet(0x32, _text(topic) + identifier.to_bytes(2, "big") + payload)


def packets(buffer: bytearray) -> Iterator[tuple[int, int, int]]:
    """(kind, start, end) of every whole packet, `start` after its length; the caller deletes up to the last `end`."""
    at, size = 0, len(buffer)
    while at + 2 <= size:
        length, shift, head = 0, 0, at + 1
        while head < size and buffer[head] & 128:
            length |= (buffer[head] & 127) << shift
            shift, head = shift + 7, head + 1
        if head >= size:
            return
        length |= buffer[head] << shift
        end = head + 1 + length
        if end > size:
            return
        yield buffer[at] >> 4, head + 1, end
        at = end


def payload(buffer: bytearray, start: int, end: int, qos: int = 0) -> bytes:
    """The payload of a PUBLISH found by `packets`."""
    skip = 2 + int.from_bytes(buffer[start : start + 2], "big") + (2 if qos else 0)
    return bytes(buffer[start + skip : end])
