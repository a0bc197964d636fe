"""Whether a series rises or falls, by how much a day, and whether noise would do so, too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headrace.analysis.grid import Grid
from headrace.analysis.words import WEEK, YEAR, Finding, chance, count, num, period, share, span
from headrace.records import DAY, Array

BLOCKS = 10
"""Fewest blocks a trend is told from."""
_MOST = 400
LEVEL = 0.01


@dataclass(frozen=True)
class Trend:
    """Theil-Sen slope of block means, Mann-Kendall test corrected for the correlation of neighbours.

    Source: Sen, 1968; Hamed and Rao, J. Hydrology 204, 1998, of whose correction the first-order term is used.
    """

    per_day: float
    low: float
    high: float
    """95 % interval of the slope, of the same correction."""
    p: float
    blocks: int
    block: int
    """ns."""
    covered: int
    """ns."""
    empty: float
    """Share of the grid without values."""

    @property
    def enough(self) -> bool:
        """Whether anything can be said."""
        return self.blocks >= BLOCKS and self.empty <= 0.5

    @property
    def real(self) -> bool:
        """Whether it is more than noise."""
        return self.enough and self.p < LEVEL

    def finding(self, unit: str, wandering: bool) -> Finding:
        """In a sentence; `wandering`: the series may have a unit root."""
        if self.empty > 0.5:
            return Finding("trend", f"too many gaps to tell: {share(self.empty)} of the grid is empty", 1)
        if not self.enough:
            return Finding(
                "trend",
                f"too short to tell: {count(self.blocks, 'block')} of {period(self.block)}, {BLOCKS} are needed",
                1,
            )
        of = f" {unit}" if unit else ""
        sign = -1 if self.real and self.per_day < 0 else 1  # "falls by 3", not by -3
        low, high = sorted((sign * self.low, sign * self.high))
        numbers = f"{num(sign * self.per_day)}{of} a day (95 %: {num(low)} to {num(high)}; {chance(self.p)})"
        if not self.real:
            return Finding("trend", f"none beyond noise: {numbers}", 1)
        sentence = f"{'rises' if self.per_day > 0 else 'falls'} by {numbers}, more than noise"
        if wandering:
            sentence += "; but a wandering series without any trend looks like this, too"
        elif 14 * DAY < self.covered < 2 * YEAR:
            sentence += f"; in {span(self.covered)} it cannot be told from the seasons of a year"
        return Finding("trend", sentence, 2)


def measure(grid: Grid, season: int) -> Trend:
    """Of means over blocks of `season` ns (0: none is known), at most a week long."""
    covered = grid.every * len(grid.values)
    block = season if 0 < season <= WEEK else grid.every
    block *= max(1, math.ceil(covered / block / _MOST))
    place = ((grid.clock - grid.clock[0]) // block).astype(np.int64)
    due = np.bincount(place)
    counts = np.bincount(place[grid.known], minlength=len(due))
    sums = np.bincount(place[grid.known], weights=grid.values[grid.known], minlength=len(due))
    use = counts >= np.maximum(due / 2, 1)
    x = np.flatnonzero(use) * (block / DAY)
    if len(x) < BLOCKS:
        return Trend(0.0, 0.0, 0.0, 1.0, len(x), block, covered, grid.empty)
    return Trend(*_test(x.astype(np.float64), sums[use] / counts[use]), len(x), block, covered, grid.empty)


def _test(x: Array, y: Array) -> tuple[float, float, float, float]:
    """(slope, low, high, p)."""
    n = len(x)
    i, j = np.triu_indices(n, 1)
    rises = y[j] - y[i]
    slopes = np.sort(rises / (x[j] - x[i]))
    slope = float(np.median(slopes))
    variance = n * (n - 1) * (2 * n + 5) / 18 * _inflation(y - slope * x)
    score = float(np.sign(rises).sum())
    z = (score - np.sign(score)) / math.sqrt(variance)
    reach = 1.96 * math.sqrt(variance) / 2
    low = slopes[max(0, int(len(slopes) / 2 - reach))]
    high = slopes[min(len(slopes) - 1, int(len(slopes) / 2 + reach))]
    return slope, float(low), float(high), math.erfc(abs(z) / math.sqrt(2))


def _inflation(rest: Array) -> float:
    """What the correlation of neighbours adds to the variance: (1 + r)/(1 - r), never less than 1."""
    centred = rest - rest.mean()
    total = float(centred @ centred)
    r = float(centred[:-1] @ centred[1:]) / total if total > 0 else 0.0
    r = min(
        r + (1 + 4 * r) / len(rest) if r > 0 else r, 0.99
    )  # the estimate is too small by about this (Kendall, 1954)
    return max(1.0, (1 + r) / (1 - r))
