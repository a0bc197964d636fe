"""The log, decoded once for every learner of a worker process."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from headrace.errors import Undecodable
from headrace.records import INTERNAL, Reading, Record
from headrace.spec import Plug
from headrace.streams.decoders import DECODERS
from headrace.streams.logs import LogReader

BLOCK = 2048
"""Records per read. Results do not depend on it."""


class Decoded(NamedTuple):
    """A record with its readings; `readings` is None for the platform's own records and for what no decoder understood."""

    record: Record
    readings: list[Reading] | None
    error: str


class DecodedLog:
    """Blocks of decoded records; learners that stand at the same place share the work."""

    def __init__(self, log: LogReader) -> None:
        self.log = log
        self._blocks: dict[tuple[int, str], list[Decoded]] = {}
        self._decoders: dict[str, Any] = {}

    def block(self, after: int, decoder: Plug, limit: int = BLOCK) -> list[Decoded]:
        """Up to `limit` records after a position; empty at the end of the log."""
        place = (after, repr(decoder))
        found = self._blocks.get(place)
        if found is None:
            decode = self._decoder(decoder)
            found = [self._one(record, decode) for record in self.log.read(after, limit)]
            if found:
                if len(self._blocks) >= 4:
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[place] = found
        return found

    def decode(self, record: Record, decoder: Plug) -> tuple[list[Reading] | None, str]:
        """One record with another decoder."""
        found = self._one(record, self._decoder(decoder))
        return found.readings, found.error

    def _one(self, record: Record, decode: Any) -> Decoded:
        if record.headers and b'"precision"' in record.headers:
            decode = self._decoder(_line_protocol(record.headers))
        return _decode(record, decode)

    def _decoder(self, plug: Plug) -> Any:
        name = repr(plug)
        if name not in self._decoders:
            self._decoders[name] = DECODERS.find(plug.name)(DECODERS.params(plug.name, plug.params)).decode
        return self._decoders[name]


def _line_protocol(headers: bytes) -> Plug:
    """The decoder of what came through the Influx door, which is told the unit of its timestamps beside the payload."""
    return Plug(name="lineprotocol", params={"precision": msgspec.json.decode(headers)["precision"]})


def _decode(record: Record, decode: Any) -> Decoded:
    if record.stream.startswith(INTERNAL):
        return Decoded(record, None, "")
    try:
        return Decoded(record, decode(record.stream, record.payload, record.time or record.received), "")
    except Undecodable as error:
        return Decoded(record, None, str(error))
