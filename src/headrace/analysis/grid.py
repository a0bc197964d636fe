"""One field on a regular grid, for what can only be measured there; what is filled in stays known as such."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.clocks import local
from headrace.analysis.sampling import NICE, Sampling, Silence
from headrace.models.transformers.resample import standard_offset
from headrace.records import DAY, Array

MOST = 12_000
"""Windows of a grid: what STL does in about a second."""


@dataclass(frozen=True)
class Grid:
    """Means of windows of `every` ns."""

    every: int
    start: NDArray[np.int64]
    """Of each window, UTC."""
    clock: NDArray[np.int64]
    """The same, local."""
    values: Array
    """NaN where no reading is; 0 in a silence that means zero."""
    filled: Array
    """Complete: gaps are bridged, long ones by the mean of their time of day."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which windows were measured (or are truly zero)."""
        return np.isfinite(self.values)

    @property
    def empty(self) -> float:
        """Share of windows without a value."""
        return 1 - float(self.known.mean()) if len(self.values) else 1.0


def step_for(sampling: Sampling) -> int:
    """The finest of `NICE` (or whole days) that is no finer than the readings and gives at most `MOST` windows."""
    least = max(sampling.step, sampling.covered // MOST, 1)
    for step in NICE:
        if step >= least * 0.98:
            return step
    return -(-least // DAY) * DAY


def to_grid(
    time: NDArray[np.int64], values: Array, covered: tuple[int, int], every: int, zone: str, zeros: Silence | None
) -> Grid:
    """The grid of finite values from one time to another.

    Args:
        zeros: the silence in which the value is zero.
    """
    origin = -standard_offset(zone)
    first, last = ((moment - origin) // every for moment in covered)
    n = int(last - first + 1)
    place = (time - origin) // every - first
    counts = np.bincount(place, minlength=n)
    means = np.where(counts > 0, np.bincount(place, weights=values, minlength=n) / np.maximum(counts, 1), np.nan)
    start = (np.arange(n, dtype=np.int64) + first) * every + origin
    for before, after in zeros.spans if zeros else ():
        quiet = slice(int((before - origin) // every - first), int((after - origin) // every - first))
        means[quiet] = np.where(counts[quiet] > 0, means[quiet], 0.0)
    clock = local(start, zone)
    return Grid(every, start, clock, means, _fill(means, clock, every))


def _fill(values: Array, clock: NDArray[np.int64], every: int) -> Array:
    """Lines over gaps of up to a third of a day (or 4 windows), the mean of the time of day in longer ones."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros_like(values)
    index = np.arange(len(values))
    line = np.interp(index, index[known], values[known])
    slots = (clock % DAY) // every
    sums = np.bincount(slots[known], weights=values[known], minlength=int(slots.max()) + 1)
    counts = np.bincount(slots[known], minlength=len(sums))
    profile = np.where(counts > 0, sums / np.maximum(counts, 1), values[known].mean())
    filled = np.where(known, values, profile[slots])
    edges = np.flatnonzero(np.diff(~known, prepend=False, append=False))
    limit = max(4, DAY // 3 // every)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - start <= limit:
            filled[start:stop] = line[start:stop]
    return filled
