"""From readings to rows: columns of numbers, and one row for what was sent twice."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.records import Array, Reading, Rows
from headrace.streams.decoders.rules import MAX_FIELDS

_64_BITS = (1 << 64) - 1
_FLOAT, _BITS = struct.Struct("<d"), struct.Struct("<Q")
_NUMBERS = frozenset({float, bool, int, type(None)})
_NEW = np.ones(1, np.bool_)


def columns(readings: Sequence[Reading], names: Collection[str] | None = None) -> Rows:
    """Readings of one key as rows, in the order given: numbers and booleans as float columns, NaN where one is missing.

    With `names` the rows have exactly these columns. Without, they have those that hold a number, in the order in which
    they first appear, up to 1,024: then the columns of a block depend on what the block holds.
    """
    if len(readings) == 1 and names is None and len(readings[0].fields) <= MAX_FIELDS:
        return _row(readings[0])
    time = np.fromiter((reading.time for reading in readings), np.int64, len(readings))
    fields = [reading.fields for reading in readings]
    found: dict[str, Array] = {}
    for name in _names(fields) if names is None else names:
        column = _column([one.get(name) for one in fields])
        if names is not None or column is not None:
            found[name] = np.full(len(readings), np.nan) if column is None else column
    return Rows(time, found)


def _row(reading: Reading) -> Rows:
    """`columns` of a single reading, in half the time: a stream that is quiet is read one message at a time."""
    found = [(name, value) for name, value in reading.fields.items() if type(value) in _NUMBERS and value is not None]
    return Rows(np.array([reading.time], np.int64), {name: np.array([value], np.float64) for name, value in found})


def _names(fields: list[Any]) -> list[str]:
    shapes = dict.fromkeys(map(tuple, fields))
    return list(dict.fromkeys(name for shape in shapes for name in shape))[:MAX_FIELDS]


def _column(values: list[float | str | bool | None]) -> Array | None:
    """The values as floats, None if there is no number among them."""
    kinds = set(map(type, values))
    if not kinds <= _NUMBERS:
        values = [None if isinstance(value, str) else value for value in values]
        kinds.discard(str)
    if not kinds - {type(None)}:
        return None
    return np.array(values, dtype=np.float64)


class Deduplicator:
    """Recognises, for one key, readings that came before: by message id, or by device, time and numbers.

    It remembers the last `limit` rows it kept, as 24 bytes each: time, a 64-bit fingerprint of device, time and
    numbers, and one of the id (0 for none). The result does not depend on where blocks are cut. Texts do not count:
    rows have none.
    """

    def __init__(self, limit: int = 4096) -> None:
        self.limit = limit
        self._memory = np.empty((3, 0), np.uint64)
        self._size = 0
        self._latest: int | None = None
        """No time remembered is later."""

    def keep(
        self, rows: Rows, ids: Sequence[str] | None = None, devices: Sequence[str] | None = None
    ) -> NDArray[np.bool_]:
        """Which rows are new.

        Args:
            rows: readings in arrival order.
            ids: their message ids, "" where one has none.
            devices: their devices, needed only where a key holds readings of several.
        """
        if len(rows) == 1 and (ids is None or not ids[0]) and (self._latest is None or rows.time[0] > self._latest):
            self._remember_one(int(rows.time[0]), _fingerprint_of_one(rows, devices))
            return _NEW.copy()
        fresh = np.empty((3, len(rows)), np.uint64)
        fresh[0] = rows.time.view(np.uint64)
        fresh[1] = _fingerprints(rows, devices)
        fresh[2] = 0 if ids is None else np.fromiter(map(_fingerprint, ids), np.uint64, len(rows))
        if not len(rows) or self._is_new(rows.time, fresh[2]):
            self._remember(fresh)
            return np.ones(len(rows), np.bool_)
        mask = self._compare(fresh)
        self._remember(fresh[:, mask])
        return mask

    def state(self) -> dict[str, Any]:
        """The rows remembered, oldest first."""
        time, rows, ids = self._memory[:, max(0, self._size - self.limit) : self._size].copy()
        return {"time": time.view(np.int64), "rows": rows, "ids": ids}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._memory = np.stack([np.asarray(state["time"]).view(np.uint64), state["rows"], state["ids"]])
        self._size = self._memory.shape[1]
        self._latest = int(np.max(state["time"])) if self._size else None

    def _is_new(self, time: NDArray[np.int64], ids: NDArray[np.uint64]) -> bool:
        """Whether the times alone show that nothing repeats: no ids, every time later than all before."""
        later = self._latest is None or time[0] > self._latest
        return bool(later and not ids.any() and (time[1:] > time[:-1]).all())

    def _known(self) -> NDArray[np.uint64]:
        return self._memory[:, max(0, self._size - self.limit) : self._size]

    def _remember_one(self, time: int, row: int) -> None:
        """`_remember` of a row that is later than all others and has no id."""
        if self._size >= self._memory.shape[1]:
            self._remember(np.array([[time & _64_BITS], [row], [0]], np.uint64))
            return
        self._latest, place = time, self._size
        known = self._memory
        known[0, place], known[1, place], known[2, place] = time & _64_BITS, row, 0
        self._size = place + 1

    def _remember(self, fresh: NDArray[np.uint64]) -> None:
        if fresh.shape[1]:
            latest = int(fresh[0].view(np.int64).max())
            self._latest = latest if self._latest is None else max(latest, self._latest)
        fresh = fresh[:, max(0, fresh.shape[1] - self.limit) :]
        end = self._size + fresh.shape[1]
        if end > self._memory.shape[1]:
            known = self._known()
            room = min(2 * (known.shape[1] + fresh.shape[1]), 2 * self.limit + fresh.shape[1])
            self._memory = np.empty((3, max(room, 8)), np.uint64)
            self._memory[:, : known.shape[1]] = known
            self._size, end = known.shape[1], known.shape[1] + fresh.shape[1]
        self._memory[:, self._size : end] = fresh
        self._size = end

    def _compare(self, fresh: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which rows are new, looking only at those that have a twin."""
        known = self._known()
        start, mask = known.shape[1], np.ones(fresh.shape[1], np.bool_)
        suspects = np.flatnonzero(_twins(known[1], fresh[1]) | (_twins(known[2], fresh[2]) & (fresh[2] != 0)))
        rows, ids = _places(known[1], fresh[1, suspects]), _places(known[2], fresh[2, suspects])
        never, dropped = -self.limit - 1, 0
        for index in suspects.tolist():
            place, row, identity = start + index - dropped, int(fresh[1, index]), int(fresh[2, index])
            seen = max(rows.get(row, never), ids.get(identity, never) if identity else never)
            if place - seen <= self.limit:
                mask[index] = False
                dropped += 1
            else:
                rows[row] = ids[identity] = place
        return mask


def _twins(known: NDArray[np.uint64], fresh: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `fresh` are equal to one of `known` or to another of `fresh`."""
    both = np.concatenate([known, fresh])
    if len(both) * len(fresh) < 1 << 16:  # quicker than sorting while the block is small
        few: NDArray[np.bool_] = (fresh[:, None] == both[None, :]).sum(axis=1) > 1
        return few
    _, place, count = np.unique(both, return_inverse=True, return_counts=True)
    twins: NDArray[np.bool_] = count[place[len(known) :]] > 1
    return twins


def _places(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> dict[int, int]:
    """Where in `known` each of `wanted` stands last; 0 stands nowhere."""
    wanted = wanted[wanted != 0]
    if len(wanted) < 16:
        spots = ((value, np.flatnonzero(known == value)) for value in wanted)
        return {int(value): int(found[-1]) for value, found in spots if len(found)}
    found = np.flatnonzero(np.isin(known, wanted))
    return dict(zip(known[found].tolist(), found.tolist(), strict=True))


def _fingerprints(rows: Rows, devices: Sequence[str] | None) -> NDArray[np.uint64]:
    """64 bits of each row's time, device and numbers; independent of the order of columns and of those that are NaN."""
    if len(rows) == 1:
        return np.array([_fingerprint_of_one(rows, devices)], np.uint64)
    result = _mix(rows.time.view(np.uint64))
    if devices is not None:
        known = {device: _fingerprint(device) for device in set(devices)}
        of_each = repeat(known[devices[0]], len(rows)) if len(known) == 1 else map(known.__getitem__, devices)
        result = _mix(result ^ np.fromiter(of_each, np.uint64, len(rows)))
    numbers = [(name, column) for name, column in rows.columns.items() if column.ndim == 1]
    if not numbers:
        return result
    values = np.array([column for _, column in numbers], dtype=np.float64) + 0.0  # one zero, not two
    seeds = np.array([_fingerprint(name) for name, _ in numbers], np.uint64)
    mixed = _mix(values.view(np.uint64) ^ seeds[:, None])
    mixed[np.isnan(values)] = 0
    total: NDArray[np.uint64] = result + mixed.sum(axis=0, dtype=np.uint64)
    return total


def _fingerprint_of_one(rows: Rows, devices: Sequence[str] | None) -> int:
    """The same for a single row, on plain numbers: a tenth of the time that many small arrays take."""
    result = _mix_one(int(rows.time[0]) & _64_BITS)
    if devices is not None:
        result = _mix_one(result ^ _fingerprint(devices[0]))
    for name, column in rows.columns.items():
        value = float(column[0]) + 0.0 if column.ndim == 1 else np.nan
        if value == value:  # noqa: PLR0124 - NaN is not
            (bits,) = _BITS.unpack(_FLOAT.pack(value))
            result += _mix_one(bits ^ _fingerprint(name))
    return result & _64_BITS


def _mix_one(bits: int) -> int:
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & _64_BITS
    return bits ^ (bits >> 31)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


@lru_cache(maxsize=8192)
def _fingerprint(text: str) -> int:
    """64 bits of a text, the same in every process; 0 for none."""
    if not text:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1
