"""Many messages of one shape, decoded at once: columns instead of an object for every reading.

A stream that lags behind is read in blocks of thousands of messages, and nearly always they are flat JSON objects with
the same names. Reading such a block at once takes a fifth of the time of reading them one by one. The result is what
`JsonDecoder.decode` gives for each message, or None: whatever is out of the ordinary is left to it, reasons included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


class Columns(NamedTuple):
    """The readings of many messages, one each, in the order of the messages."""

    devices: list[str]
    time: NDArray[np.int64]
    names: list[str]
    """The fields, as the first message has them."""
    numbers: dict[str, NDArray[np.float64]]
    """Of each field that holds numbers or booleans, in the same order; none is missing."""
    switches: frozenset[str]
    """Those of them that are booleans."""
    texts: dict[str, list[str]]
    ids: list[str] | None

    def reading(self, index: int) -> Reading:
        """One of them."""
        fields = {name: self._value(name, index) for name in self.names}
        identity = "" if self.ids is None else self.ids[index]
        return Reading(self.devices[index], int(self.time[index]), fields, identity, NO_UNITS)

    def _value(self, name: str, index: int) -> float | str | bool:
        if name in self.texts:
            return self.texts[name][index]
        value = float(self.numbers[name][index])
        return bool(value) if name in self.switches else value

    def take(self, places: NDArray[np.intp]) -> Rows:
        """Some of them as rows, as `intake.columns` makes them: the fields that are numbers."""
        return Rows(self.time[places], {name: column[places] for name, column in self.numbers.items()})


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
    """Reads flat objects that have the names and the types of one.

    Args:
        one: a message of the shape.
        spoken: nanoseconds of a time that is not in milliseconds, or None if it is none.

    Raises:
        ValueError: a name that msgspec cannot look for (it holds a quotation mark, a backslash, a control character).
    """

    def __init__(self, one: Mapping[str, object], plan: Plan, spoken: Callable[[Any], int | None]) -> None:
        names = [f"f{index}" for index in range(len(one))]
        types = [type(value) for value in one.values()]
        flat = msgspec.defstruct(
            "Flat",
            list(zip(names, types, strict=True)),
            rename=dict(zip(names, one, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        self._plan, self._spoken = plan, spoken
        self._get = {key: attrgetter(name) for key, name in zip(one, names, strict=True)}
        self._decode = msgspec.json.Decoder(flat).decode_lines
        texts = [key for key, kind in zip(one, types, strict=True) if kind is str]
        self._named = {name: name in texts for name in (plan.device, plan.id) if name is not None}
        self._fields = [key for key in one if key not in {plan.time, plan.device, plan.id}]
        self._numbers = [key for key in self._fields if key not in texts]
        self._switches = frozenset(key for key in self._numbers if type(one[key]) is bool)
        self._texts = [key for key in self._fields if key in texts]
        self._quotes = 2 * (len(one) + len(texts))
        self._milliseconds = plan.time is not None and type(one[plan.time]) is float

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes], received: Sequence[int]) -> Columns | None:
        """The readings of all messages, or None if one of them is not as simple as it looks."""
        joined, count = b"\n".join(payloads), len(payloads)
        # As many lines as payloads that begin with a brace: no payload can end in the middle of another's object.
        if len(joined) > MAX_BYTES or joined.count(b"\n") != count - 1 or (b"\n" + joined).count(b"\n{") != count:
            return None
        # Every object has at least these quotation marks, so one that names a value twice makes the sum too large.
        if joined.count(b'"') != count * self._quotes:
            return None
        try:
            lines = self._decode(joined)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return self._sorted_out(lines, topics, received) if len(lines) == count else None

    def _sorted_out(self, lines: list[Any], topics: Sequence[str], received: Sequence[int]) -> Columns | None:
        plan, count, get = self._plan, len(lines), self._get
        texts = {name: list(map(get[name], lines)) for name in self._texts}
        named = {name: _shared(list(map(get[name], lines))) for name in self._named}
        fine = all(self._named.values()) and all(
            0 < len(one) <= MAX_NAME for each in named.values() for one in set(each)
        )
        if not fine or any(max(map(len, each)) > MAX_TEXT for each in texts.values()):
            return None
        time = self._time(lines, received)
        if time is None or not self._fields:
            return None
        numbers = {name: np.fromiter(map(get[name], lines), np.float64, count) for name in self._numbers}
        devices = _devices(topics) if plan.device is None else named[plan.device]
        ids = None if plan.id is None else named[plan.id]
        return Columns(devices, time, self._fields, numbers, self._switches, texts, ids)

    def _time(self, lines: list[Any], received: Sequence[int]) -> NDArray[np.int64] | None:
        name = self._plan.time
        if name is None:
            return np.array(received, np.int64)
        values = map(self._get[name], lines)
        stamps = np.fromiter(values, np.float64, len(lines)) if self._milliseconds else np.empty(0)
        if self._milliseconds and stamps.min() >= MS_1990 and stamps.max() < _MS_LAST:
            time = np.rint(stamps * 1e3).astype(np.int64) * 1000
        else:
            spoken = [self._spoken(value) for value in map(self._get[name], lines)]
            if not all(one is not None and OLDEST <= one < 1 << 63 for one in spoken):
                return None
            time = np.array(spoken, np.int64)
        fine = time.min() >= OLDEST and time.max() <= min(received) + YOUNGEST_AHEAD
        return time if fine else None


def _shared(names: list[Any]) -> list[Any]:
    """The same names; where all are equal, one object: it is hashed and compared many times on its way."""
    return names[:1] * len(names) if len(set(names)) == 1 else names


def _devices(topics: Sequence[str]) -> list[str]:
    names = {topic: device_of(topic) for topic in set(topics)}
    return [names[topic] for topic in topics]
