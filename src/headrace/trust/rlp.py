"""Recursive length prefix, the one way Ethereum writes lists of bytes (Yellow Paper, appendix B). One value has one text here:
anything longer than need be is refused, so that no byte of a text can change and the value stay.

Own lines, because whoever checks evidence should not wait for a library of types: see ADR 0024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Item: TypeAlias = "bytes | Sequence[Item]"
SHORT = 55
"""Bytes whose length fits into the prefix."""


def encode(item: Item) -> bytes:
    """Its one text.

    >>> encode([b"cat", b"", b"x"]).hex()
    'c6836361748078'
    """
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _prefix(0x80, len(item)) + item
    body = b"".join(map(encode, item))
    return _prefix(0xC0, len(body)) + body


def number(value: int) -> bytes:
    """A natural number: big-endian, no zero in front.

    >>> number(0), number(1024)
    (b'', b'\\x04\\x00')
    """
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def natural(data: bytes) -> int:
    """The number. Raises ValueError."""
    if data[:1] == b"\0":
        raise ValueError("a number with a zero in front")
    return int.from_bytes(data, "big")


def flat(data: bytes) -> list[bytes]:
    """The items of a list that holds no lists. Raises ValueError: it is no such list, or not in its one text.

    >>> flat(bytes.fromhex("c6836361748078"))
    [b'cat', b'', b'x']
    """
    start, end = _span(data, 0, 0xC0)
    if end != len(data):
        raise ValueError("bytes after the list")
    found = []
    while start < end:
        first, after = _span(data, start, 0x80)
        found.append(data[first:after])
        start = after
    if encode(found) != data:
        raise ValueError("not in its one text")
    return found


def _prefix(base: int, size: int) -> bytes:
    if size <= SHORT:
        return bytes([base + size])
    length = number(size)
    return bytes([base + SHORT + len(length)]) + length


def _span(data: bytes, at: int, base: int) -> tuple[int, int]:
    """Where the content of the item at `at` begins and ends."""
    if at >= len(data):
        raise ValueError("cut off")
    first = data[at] - base
    if base == 0x80 and first < 0:
        return at, at + 1
    if not 0 <= first < 0x40:
        raise ValueError("another kind of item")
    start, size = at + 1, first
    if first > SHORT:
        start += first - SHORT
        size = int.from_bytes(data[at + 1 : start], "big")
    if start + size > len(data):
        raise ValueError("cut off")
    return start, start + size
