"""Values far from what is usual at their time of the season."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.grouped import medians
from headrace.analysis.words import Finding, count, num, share
from headrace.records import Array

FAR = 6.0
"""Robust standard deviations."""
LEAST = 50
_MAD = 1.4826
"""Of a normal distribution: standard deviation over median absolute deviation."""


@dataclass(frozen=True)
class Outliers:
    """More than `FAR` robust standard deviations from the median of their slot of the season."""

    n: int
    of: int
    worst: float
    worst_time: int
    worst_distance: float
    """In robust standard deviations."""
    low: float
    high: float
    """Range of all other values."""
    times: tuple[int, ...]
    """The worst, at most 500."""
    seasonal: bool

    @property
    def few(self) -> bool:
        """Whether they are exceptions, and not how the series is."""
        return 0 < self.n <= max(5, 0.002 * self.of)

    @property
    def absurd(self) -> bool:
        """Whether the furthest lies beyond anything else that was seen."""
        return self.few and not self.low <= self.worst <= self.high

    def finding(self, unit: str, when: str) -> Finding:
        """In a sentence; `when`: the worst one's time, as text."""
        if self.of < LEAST:
            return Finding("outliers", f"too few to tell: {count(self.of, 'value')}, {LEAST} are needed", 1)
        against = "its time of the season" if self.seasonal else "the whole"
        if not self.n:
            return Finding("outliers", f"none beyond {FAR:g} robust standard deviations of the median of {against}", 1)
        of = f" {unit}" if unit else ""
        sentence = (
            f"{count(self.n, 'value')} ({share(self.n / self.of)}) beyond {FAR:g} robust standard deviations of the median "
            f"of {against}; the furthest is {num(self.worst)}{of} on {when}, all others are {num(self.low)} to "
            f"{num(self.high)}{of}"
        )
        end = "" if self.few else "; so many are rather a heavy tail"
        return Finding("outliers", sentence + end, 2, self.few)


def sane(values: Array) -> NDArray[np.bool_]:
    """All values but the absurd: a few beyond three times the range of 98 % of them. They would hide everything else."""
    low, high = np.quantile(values, [0.01, 0.99])
    reach = 3 * (high - low)
    good: NDArray[np.bool_] = (values >= low - reach) & (values <= high + reach)
    few = np.count_nonzero(~good) <= max(5, 0.002 * len(values))
    return good if reach > 0 and few and len(values) >= LEAST else np.ones(len(values), np.bool_)


def find(
    time: NDArray[np.int64], values: Array, place: NDArray[np.int64], seasonal: bool, usual: NDArray[np.bool_]
) -> Outliers:
    """Of finite values, each in slot `place` of its season; what is `usual` decides what is normal."""
    size = int(place.max()) + 1
    middle = medians(values[usual], place[usual], size)
    off = values - middle[place]
    spread = _MAD * medians(np.abs(off[usual]), place[usual], size)
    low, high = np.quantile(values, [0.05, 0.95])
    floor = max(0.05 * float(high - low), 0.8 * _MAD * float(np.median(np.abs(off))))  # few values have a chance MAD
    if not floor > 0:
        floor = _MAD * float(np.median(np.abs(values - np.median(values)))) or float(values.std())
    distance = np.abs(off) / np.maximum(spread, floor)[place] if floor > 0 else np.zeros(len(values))
    far = np.flatnonzero(distance > FAR)
    if len(values) < LEAST or not len(far):
        return Outliers(0, len(values), 0.0, 0, 0.0, float(values.min()), float(values.max()), (), seasonal)
    rest = np.delete(values, far)
    order = far[np.argsort(-distance[far], kind="stable")]
    return Outliers(
        n=len(far),
        of=len(values),
        worst=float(values[order[0]]),
        worst_time=int(time[order[0]]),
        worst_distance=float(distance[order[0]]),
        low=float(rest.min()),
        high=float(rest.max()),
        times=tuple(sorted(time[order[:500]].tolist())),
        seasonal=seasonal,
    )
