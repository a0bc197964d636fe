"""The log, decoded once for every learner of a worker process."""

from __future__ import annotations

from typing import Any, NamedTuple

from headrace.errors import Undecodable
from headrace.records import INTERNAL, Reading, Record
from headrace.spec import Plug
from headrace.streams.decoders import DECODERS, decode
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
            made = self._decoder(decoder)
            found = [_decode(record, made) for record in self.log.read(after, limit)]
            if found:
                if len(self._blocks) >= 4:
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[place] = found
        return found

    def decode(self, record: Record, decoder: Plug) -> tuple[list[Reading] | None, str]:
        """One record with another decoder."""
        found = _decode(record, self._decoder(decoder))
        return found.readings, found.error

    def _decoder(self, plug: Plug) -> Any:
        name = repr(plug)
        if name not in self._decoders:
            self._decoders[name] = DECODERS.find(plug.name)(DECODERS.params(plug.name, plug.params))
        return self._decoders[name]


def _decode(record: Record, decoder: Any) -> Decoded:
    if record.stream.startswith(INTERNAL):
        return Decoded(record, None, "")
    try:
        if record.headers or record.time:
            return Decoded(record, decode(decoder, record), "")
        return Decoded(record, decoder.decode(record.stream, record.payload, record.received), "")
    except Undecodable as error:
        return Decoded(record, None, str(error))
    except Exception as error:  # a decoder's bug costs this message, not every model that reads the log
        return Decoded(record, None, f"the decoder failed: {type(error).__name__}: {error}")
