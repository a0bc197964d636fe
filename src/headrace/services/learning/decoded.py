"""The log, decoded once for every learner of a worker process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


_decoded: Callable[[type[Decoded], tuple[Record, list[Reading] | None, str]], Decoded] = tuple.__new__
"""Half the time of `Decoded(...)`, and there is one for every message."""


class DecodedLog:
    """Blocks of decoded records; learners that stand at the same place share the work."""

    def __init__(self, log: LogReader) -> None:
        self.log = log
        self._blocks: dict[tuple[int, str], list[Decoded]] = {}
        self._decoders: dict[str, Any] = {}
        self._plugs: dict[int, tuple[Plug, str]] = {}

    def block(self, after: int, decoder: Plug, limit: int = BLOCK) -> list[Decoded]:
        """Up to `limit` records after a position; empty at the end of the log."""
        place = (after, self._name(decoder))
        found = self._blocks.get(place)
        if found is None:
            found = self._decode(self.log.read(after, limit), self._decoder(decoder))
            if found:
                if len(self._blocks) >= 4:
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[place] = found
        return found

    def decode(self, record: Record, decoder: Plug) -> tuple[list[Reading] | None, str]:
        """One record with another decoder."""
        (found,) = self._decode([record], self._decoder(decoder))
        return found.readings, found.error

    def _decode(self, records: Sequence[Record], decoder: Any) -> list[Decoded]:
        found, plain = [], decoder.decode
        for record in records:
            readings, error = None, ""
            _, stream, _, _, _, received, time, headers, payload = record
            if not stream.startswith(INTERNAL):
                try:
                    told = headers or time
                    readings = decode(decoder, record) if told else plain(stream, payload, received)
                except Undecodable as problem:
                    error = str(problem)
                except Exception as problem:  # a decoder's bug costs this message, not every model that reads the log
                    error = f"the decoder failed: {type(problem).__name__}: {problem}"
            found.append(_decoded(Decoded, (record, readings, error)))
        return found

    def _name(self, plug: Plug) -> str:
        """What tells decoders apart; the `repr` of each plug is made once."""
        known = self._plugs.get(id(plug))
        if known is None or known[0] is not plug:
            if len(self._plugs) >= 1000:
                self._plugs.clear()
            known = self._plugs[id(plug)] = (plug, repr(plug))
        return known[1]

    def _decoder(self, plug: Plug) -> Any:
        name = self._name(plug)
        if name not in self._decoders:
            self._decoders[name] = DECODERS.find(plug.name)(DECODERS.params(plug.name, plug.params))
        return self._decoders[name]
