"""The log, decoded once for every learner of a worker process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from headrace.errors import Undecodable
from headrace.records import INTERNAL, Reading, Record
from headrace.spec import Plug
from headrace.streams.decoders import DECODERS, decode
from headrace.streams.decoders.columnar import Columns
from headrace.streams.logs import LogReader, Messages

BLOCK = 2048
"""Records per read. Results do not depend on it."""
LONG = 128
"""Records of a block that makes it worth while to read the next one as columns."""
RARELY = 64
"""Blocks read one by one, at the most, until the next is tried as columns again."""


class Decoded(NamedTuple):
    """A record with its readings; `readings` is None for the platform's own records and for what no decoder understood."""

    record: Record
    readings: list[Reading] | None
    error: str


_decoded: Callable[[type[Decoded], tuple[Record, list[Reading] | None, str]], Decoded] = tuple.__new__
"""Half the time of `Decoded(...)`, and there is one for every message."""


NOTHING = Messages(0, [], [], [], [])


class Block:
    """Consecutive records: as columns if all are messages of one shape, and in any case one by one."""

    def __init__(
        self,
        last: int,
        each: Callable[[], list[Decoded]],
        messages: Messages = NOTHING,
        columns: Columns | None = None,
    ) -> None:
        self.last = last
        """Position of the last record."""
        self.messages, self.columns = messages, columns
        self._each = each

    @cached_property
    def items(self) -> list[Decoded]:
        """The records one by one; what `columns` says too, where there are any."""
        return self._each()

    def until(self, position: int) -> Block:
        """The records up to a position; all of them if none is that old."""
        kept = [item for item in self.items if item.record.position <= position]
        return Block(kept[-1].record.position, lambda: kept) if kept else self


class DecodedLog:
    """Blocks of decoded records; learners that stand at the same place share the work."""

    def __init__(self, log: LogReader) -> None:
        self.log = log
        self._blocks: dict[tuple[int, str], Block] = {}
        self._decoders: dict[str, Any] = {}
        self._plugs: dict[int, tuple[Plug, str]] = {}
        self._behind = False
        """The last block was long, so that the next will be long too."""
        self._refusals = self._pause = 0

    def block(self, after: int, decoder: Plug, limit: int = BLOCK) -> Block | None:
        """Up to `limit` records after a position; None at the end of the log."""
        place = (after, self._name(decoder))
        found = self._blocks.get(place)
        if found is None:
            known = self._decoder(decoder)
            found = self._at_once(after, known, limit) or self._one_by_one(after, known, limit)
            if found is not None:
                if len(self._blocks) >= 4:
                    self._blocks.pop(next(iter(self._blocks)))
                self._blocks[place] = found
        return found

    def decode(self, record: Record, decoder: Plug) -> tuple[list[Reading] | None, str]:
        """One record with another decoder."""
        (found,) = self._decode([record], self._decoder(decoder))
        return found.readings, found.error

    def _one_by_one(self, after: int, decoder: Any, limit: int) -> Block | None:
        records = self.log.read(after, limit)
        self._behind = len(records) >= LONG
        if not records:
            return None
        found = self._decode(records, decoder)
        return Block(records[-1].position, lambda: found)

    def _at_once(self, after: int, decoder: Any, limit: int) -> Block | None:
        """A long block as columns. Where blocks are refused, attempts become rare: each costs what it would have saved."""
        if not self._behind or not hasattr(decoder, "columns"):
            return None
        if self._pause:
            self._pause -= 1
            return None
        messages = self.log.messages(after, limit)
        if messages is not None and not messages.payloads:
            return None
        columns = None if messages is None else _columns(messages, decoder)
        if messages is None or columns is None:
            self._refusals = min(2 * self._refusals or 1, RARELY)
            self._pause = self._refusals
            return None
        count = len(messages.payloads)
        self._behind, self._refusals = count >= LONG, 0
        return Block(messages.last, lambda: self._decode(self.log.read(after, count), decoder), messages, columns)

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


class Pieces(DecodedLog):
    """Blocks of at most so many records, and none beyond a position. What is learnt does not depend on that.

    Args:
        end: position of the last record that is read; None: the end of the log.
    """

    def __init__(self, log: LogReader, size: int, end: int | None = None) -> None:
        super().__init__(log)
        self._size, self._end = max(1, min(size, BLOCK)), end

    def block(self, after: int, decoder: Plug, limit: int = BLOCK) -> Block | None:
        left = limit
        if self._end is not None:  # positions have no gaps but what was trimmed
            left = self._end - max(after, self.log.start() - 1)
        most = min(limit, self._size, left)
        return super().block(after, decoder, most) if most > 0 else None


def _columns(messages: Messages, decoder: Any) -> Columns | None:
    """The readings of messages, None if they have to be read one by one."""
    if any(topic.startswith(INTERNAL) for topic in messages.distinct):
        return None
    with contextlib.suppress(Exception):  # a decoder's bug: one by one, it costs the message it chokes on
        found: Columns | None = decoder.columns(messages.topics, messages.payloads, messages.received)
        return found
    return None
