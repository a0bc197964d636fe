"""Decoders: a device's payload -> readings. One file per convention; detection needs no state.

`decode` below is what the platform calls. It must be quick (micro-seconds a message), pure (the same bytes give the
same readings, in any process, at any time) and safe on hostile input.

Who is talking is said by the payload, else by the topic: the topic without its last level if that names a role
(``telemetry``, ``reading``, ``state`` ...; all are in `rules.ROLES`). A payload that is one bare number takes its name
from the topic's last level. What is refused, and the limits, are in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Protocol

import msgspec

from headrace.plugins import Family, Params
from headrace.records import Reading, Record


class Decoder(Protocol):
    """One payload convention.

    A decoder may also have `columns`, as `json` does: what `decode` gives for each of many messages, at once, or None.
    It is only ever asked to save time, so that a decoder without it needs nothing else.
    """

    Params: ClassVar[type[Params]]

    def sniff(self, topic: str, payload: bytes) -> bool:
        """Whether this payload looks like mine; cheap, no full parse needed."""
        ...

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        """The readings in a payload; `received` is the event time of those that name none.

        Raises:
            Undecodable: with a reason a person can act on. Never another exception.
        """
        ...


DECODERS = Family(
    "decoders",
    {
        "auto": "headrace.streams.decoders.auto:AutoDecoder",
        "json": "headrace.streams.decoders.json:JsonDecoder",
        "number": "headrace.streams.decoders.number:NumberDecoder",
        "senml": "headrace.streams.decoders.senml:SenmlDecoder",
        "lineprotocol": "headrace.streams.decoders.lineprotocol:LineProtocolDecoder",
    },
)


class _Headers(msgspec.Struct):
    id: str = ""
    precision: str = ""
    replay_of: int = 0


_headers = msgspec.json.Decoder(_Headers).decode
_MAX_ID = 256
_PLAIN = _Headers()
PRECISIONS = ("ns", "us", "ms", "s")


def build(name: str, given: Mapping[str, Any] | None = None) -> Decoder:
    """The decoder called `name` with the parameters `given`."""
    decoder: Decoder = DECODERS.find(name)(DECODERS.params(name, given or {}))
    return decoder


def decode(decoder: Decoder, record: Record) -> list[Reading]:
    """The readings of a committed record, with what only its transport knew.

    The Influx door says the unit of the timestamps.
    A time the door was told counts for readings whose payload names none; a message id of the transport for those
    without one of their own, numbered when they are several (``abc/0``, ``abc/1``).

    Raises:
        Undecodable: see `Decoder.decode`.
    """
    told = _told(record.headers)
    if told.precision in PRECISIONS:
        decoder = _line_protocol(told.precision)
    readings = decoder.decode(record.stream, record.payload, record.received)
    if not told.id and not record.time:
        return readings
    time = record.received
    if record.time:
        from headrace.streams.decoders.rules import check_time

        time = check_time(record.time, record.received, "the message's properties")
    identity = told.id[:_MAX_ID]
    return [
        reading._replace(
            time=time if reading.time == record.received else reading.time,
            id=reading.id or (f"{identity}/{index}" if identity and len(readings) > 1 else identity),
        )
        for index, reading in enumerate(readings)
    ]


def is_replay(headers: bytes) -> bool:
    """Whether the transport's headers say that a message has been in the log before, undecoded."""
    return bool(_told(headers).replay_of)


def replay_of(headers: bytes) -> int:
    """Where in the log the message was before, undecoded; 0: nowhere."""
    return _told(headers).replay_of


def _told(headers: bytes) -> _Headers:
    if not headers:
        return _PLAIN
    try:
        return _headers(headers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _PLAIN


@cache
def _line_protocol(precision: str) -> Decoder:
    """The decoder of what came through the Influx door, which is told the unit of its timestamps beside the payload."""
    return build("lineprotocol", {"precision": precision})


__all__ = ["DECODERS", "Decoder", "Params", "build", "decode", "is_replay", "replay_of"]
