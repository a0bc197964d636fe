"""One record as a line of text: what a stream's raw file holds, and what is hashed wherever a root says which records they were.

A line is a JSON object in UTF-8 without spaces, keys in the order of `Line`, bytes in base64 (RFC 4648), without its line feed.
It holds all that a log knows of a record, so that records that differ in anything have different lines; and nothing else, so
that two logs with the same records (embedded, in memory) give the same lines.

>>> from headrace.records import Record
>>> line(Record(7, "plant/one", 0, 6, "", 1_700_000_000_000_000_000, 0, b"", b'{"w":1}'))
b'{"position":7,"topic":"plant/one","partition":0,"offset":6,"key":"","received":1700000000000000000,"time":0,"headers":"","payload":"eyJ3IjoxfQ=="}'
"""

from __future__ import annotations

import msgspec

from headrace.merkle import leaf
from headrace.records import Record

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct):
    """The keys of a line."""

    position: int
    topic: str
    partition: int
    offset: int
    key: str
    received: int
    time: int
    headers: bytes
    payload: bytes


def line(record: Record) -> bytes:
    """The line of a record."""
    return _encode(Line(*record))


def record_leaf(record: Record) -> bytes:
    """The hash of a record as a leaf of a Merkle tree (RFC 6962): of its line."""
    return leaf(line(record))
