"""Exact quantiles of columns of any length, in a few passes and bounded memory: selection by radix.

Doubles are read as integers in the same order. Each pass counts, for every range that still holds a wanted rank, how many
values lie in each of its 4,096 parts, and keeps the parts with the ranks; once they hold few values, the next pass
collects these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Keys: TypeAlias = NDArray[np.uint64]
BITS = 12
"""log2 of the parts of a range: 32 KiB of counts."""
FEW = 2**21
"""Values collected at most, of all columns together."""
_SIGN = np.uint64(1 << 63)
_EXACT = 2**53


class Known(Protocol):
    """What pass 1 found."""

    count: NDArray[np.int64]
    low: Array
    high: Array
    whole: NDArray[np.bool_]


def to_keys(values: Array) -> Keys:
    """Finite doubles as integers of the same order."""
    bits: Keys = np.ascontiguousarray(values + 0.0).view(np.uint64)  # + 0.0: minus zero is zero
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def to_value(key: int) -> float:
    """The double of a key."""
    bits = key ^ (1 << 63) if key >> 63 else key ^ (2**64 - 1)
    return float(np.uint64(bits).view(np.float64))


@dataclass
class _Range:
    """Keys from `start` on, 2**`bits` of them, and the ranks wanted among their values."""

    start: int
    bits: int
    ranks: dict[int, int]
    """rank in the column -> rank in this range"""
    values: int = 0
    counts: NDArray[np.int64] | None = None
    collected: list[Keys] = field(default_factory=list)


class Ranks:
    """Order statistics of each column."""

    def __init__(self, known: Known, quantiles: Sequence[float]) -> None:
        self._known, self._asked = known, quantiles
        self._found: list[dict[int, int]] = [{} for _ in known.count]
        self._whole = known.whole & (np.maximum(abs(known.low), abs(known.high)) < _EXACT)
        self.open: dict[int, list[_Range]] = {}
        """column -> ranges that are not settled yet"""
        for column in np.flatnonzero(known.count).tolist():
            self._begin(column)
        self._collect = False
        self._choose()

    def _begin(self, column: int) -> None:
        wanted = {rank for q in self._asked for rank in self._between(column, q)[:2]}
        start, end = (int(self._keys(column, np.array([edge]))[0]) for edge in self._edges(column))
        whole = _Range(
            start, (end - start).bit_length(), {rank: rank for rank in wanted}, int(self._known.count[column])
        )
        self._keep(column, [whole])

    def _edges(self, column: int) -> tuple[float, float]:
        return float(self._known.low[column]), float(self._known.high[column])

    def _keys(self, column: int, values: Array) -> Keys:
        if not self._whole[column]:
            return to_keys(values)
        keys: Keys = (values - self._known.low[column]).astype(
            np.uint64
        )  # whole numbers differ by 1, not in their last bit
        return keys

    def _value(self, column: int, key: int) -> float:
        return float(self._known.low[column]) + key if self._whole[column] else to_value(key)

    def _between(self, column: int, quantile: float) -> tuple[int, int, float]:
        """(rank below, rank above, how far between): numpy's method "linear"."""
        place = (int(self._known.count[column]) - 1) * quantile
        below = int(place)
        return below, min(below + 1, int(self._known.count[column]) - 1), place - below

    def _keep(self, column: int, ranges: list[_Range]) -> None:
        left = []
        for one in ranges:
            if one.bits == 0:
                self._found[column].update(dict.fromkeys(one.ranks, one.start))
            else:
                left.append(one)
        self.open.pop(column, None)
        if left:
            self.open[column] = left

    def _choose(self) -> None:
        """Whether the next pass collects."""
        self._collect = sum(one.values for ranges in self.open.values() for one in ranges) <= FEW

    def add(self, block: Array) -> None:
        """Take in rows of the next pass."""
        for column, ranges in self.open.items():
            values = block[:, column]
            keys = self._keys(column, values[np.isfinite(values)])
            for one in ranges:
                self._count(one, keys)

    def _count(self, one: _Range, keys: Keys) -> None:
        off = keys - np.uint64(one.start)  # below the start it wraps around to something large
        inside = off[off < np.uint64(1 << one.bits)] if one.bits < 64 else off
        if self._collect:
            one.collected.append(inside)
            return
        shift = np.uint64(max(0, one.bits - BITS))
        counts = np.bincount((inside >> shift).astype(np.int64), minlength=1 << min(BITS, one.bits))
        one.counts = counts if one.counts is None else one.counts + counts

    def narrow(self) -> None:
        """After a pass: settle what can be, keep smaller ranges of the rest."""
        for column, ranges in list(self.open.items()):
            if self._collect:
                for one in ranges:
                    every = np.sort(np.concatenate(one.collected))
                    self._found[column].update({rank: one.start + int(every[at]) for rank, at in one.ranks.items()})
                self.open.pop(column)
            else:
                self._keep(column, [part for one in ranges for part in _parts(one)])
        self._choose()

    def quantiles(self, column: int) -> dict[str, float | None]:
        """quantile -> value, as numpy.quantile (linear) has them; null without values."""
        if not self._known.count[column]:
            return {str(q): None for q in self._asked}
        found = {}
        for q in self._asked:
            below, above, share = self._between(column, q)
            low, high = (self._value(column, self._found[column][rank]) for rank in (below, above))
            found[str(q)] = high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share
        return dict(found)


def _parts(one: _Range) -> list[_Range]:
    """The parts of a counted range that hold its ranks."""
    assert one.counts is not None
    shift, ends = max(0, one.bits - BITS), np.cumsum(one.counts)
    parts: dict[int, _Range] = {}
    for rank, at in one.ranks.items():
        place = int(np.searchsorted(ends, at, side="right"))
        before = int(ends[place - 1]) if place else 0
        part = parts.setdefault(place, _Range(one.start + (place << shift), shift, {}, int(one.counts[place])))
        part.ranks[rank] = at - before
    return list(parts.values())
