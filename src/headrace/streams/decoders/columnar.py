"""Many messages of one shape, decoded at once: columns instead of an object for every reading.

A stream that lags behind is read in blocks of thousands of messages, and nearly always they are flat JSON objects with
the same names. Reading such a block at once takes a fifth of the time of reading them one by one. The result is what
`JsonDecoder.decode` gives for each message, or None: whatever is out of the ordinary is left to it, reasons included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.records import Reading, Rows
from headrace.streams.decoders.rules import MAX_BYTES, MAX_NAME, MAX_TEXT, NO_UNITS, OLDEST, YOUNGEST_AHEAD, device_of

MS_1990 = OLDEST / 1e6
_MS_LAST = 9e12
"""Milliseconds whose nanoseconds still fit 64 bits."""
_NUMBERS = frozenset({float, bool})


class Columns(NamedTuple):
    """The readings of many messages, one each, in the order of the messages."""

    devices: list[str]
    time: NDArray[np.int64]
    fields: dict[str, list[Any]]
    """Of each field numbers and booleans, or texts; none is missing."""
    ids: list[str] | None

    def reading(self, index: int) -> Reading:
        """One of them."""
        fields = {name: column[index] for name, column in self.fields.items()}
        identity = "" if self.ids is None else self.ids[index]
        return Reading(self.devices[index], int(self.time[index]), fields, identity, NO_UNITS)

    def rows(self) -> Rows:
        """As `intake.columns` makes them: the fields that are numbers."""
        numbers = {name: column for name, column in self.fields.items() if type(column[0]) is not str}
        return Rows(self.time, {name: np.array(column, np.float64) for name, column in numbers.items()})


class Plan(NamedTuple):
    """How to read flat objects with one tuple of keys."""

    time: str | None
    sure: bool
    """The user named the time."""
    device: str | None
    id: str | None
    quotes: int
    """Quotation marks in the payload, if every other value is a number or boolean and no name appears twice."""
    colons: int
    """Colons in the payload, if no text has one and no name appears twice."""


class FlatShape:
    """Reads flat objects that all have one set of names.

    Args:
        keys: the names, as they stand in the payload.
        spoken: nanoseconds of a time that is not in milliseconds, or None if it is none.

    Raises:
        ValueError: a name that msgspec cannot look for (it holds a quotation mark, a backslash, a control character).
    """

    def __init__(self, keys: Sequence[str], plan: Plan, spoken: Callable[[Any], int | None]) -> None:
        names = [f"f{index}" for index in range(len(keys))]
        flat = msgspec.defstruct(
            "Flat",
            [(name, float | str | bool) for name in names],
            rename=dict(zip(names, keys, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        self._plan, self._spoken = plan, spoken
        self._get = {key: attrgetter(name) for key, name in zip(keys, names, strict=True)}
        self._decode = msgspec.json.Decoder(flat).decode_lines

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes], received: Sequence[int]) -> Columns | None:
        """The readings of all messages, or None if one of them is not as simple as it looks."""
        joined, count = b"\n".join(payloads), len(payloads)
        # As many lines as payloads that begin with a brace: no payload can end in the middle of another's object.
        if len(joined) > MAX_BYTES or joined.count(b"\n") != count - 1 or (b"\n" + joined).count(b"\n{") != count:
            return None
        try:
            lines = self._decode(joined)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        found = {key: list(map(get, lines)) for key, get in self._get.items()}
        kinds = {key: set(map(type, column)) for key, column in found.items()}
        texts = [key for key, kind in kinds.items() if kind == {str}]
        if len(lines) != count or not all(kinds[key] == {str} or kinds[key] <= _NUMBERS for key in found):
            return None
        # Every object has at least these quotation marks, so one that names a value twice would make the sum too large.
        if joined.count(b'"') != 2 * count * (len(found) + len(texts)):
            return None
        return self._sorted_out(found, texts, topics, received)

    def _sorted_out(
        self, fields: dict[str, list[Any]], texts: list[str], topics: Sequence[str], received: Sequence[int]
    ) -> Columns | None:
        """Time, device and id taken out of the fields. Consumes `fields`."""
        plan = self._plan
        named = [name for name in (plan.device, plan.id) if name is not None]
        if not all(name in texts and all(0 < len(one) <= MAX_NAME for one in set(fields[name])) for name in named):
            return None
        time = self._time(None if plan.time is None else fields.pop(plan.time), received)
        devices = _devices(topics) if plan.device is None else fields.pop(plan.device)
        ids = None if plan.id is None else fields.pop(plan.id)
        if time is None or not fields:
            return None
        if any(max(map(len, fields[name])) > MAX_TEXT for name in texts if name in fields):
            return None
        return Columns(devices, time, fields, ids)

    def _time(self, values: list[Any] | None, received: Sequence[int]) -> NDArray[np.int64] | None:
        arrived = np.array(received, np.int64)
        if values is None:
            return arrived
        if set(map(type, values)) == {float} and min(values) >= MS_1990 and max(values) < _MS_LAST:
            time = np.rint(np.array(values) * 1e3).astype(np.int64) * 1000
        else:
            spoken = [self._spoken(value) for value in values]
            if not all(one is not None and OLDEST <= one < 1 << 63 for one in spoken):
                return None
            time = np.array(spoken, np.int64)
        fine = (time >= OLDEST) & (time <= arrived + YOUNGEST_AHEAD)
        return time if fine.all() else None


def _devices(topics: Sequence[str]) -> list[str]:
    names = {topic: device_of(topic) for topic in set(topics)}
    return [names[topic] for topic in topics]
