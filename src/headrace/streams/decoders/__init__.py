"""Decoders: a device's payload -> readings. One file per convention; detection needs no state.

`decode` below is what the platform calls. It must be quick (micro-seconds a message), pure (the same bytes give the same
readings, in any process, at any time) and safe on hostile input.
"""

from __future__ import annotations

from typing import Protocol

from headrace.plugins import Family, Params
from headrace.records import Reading


class Decoder(Protocol):
    """One payload convention."""

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

__all__ = ["DECODERS", "Decoder", "Params"]
