"""How a field goes with its own past, and with the other fields."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headrace.analysis.grid import Grid
from headrace.analysis.words import WEEK, Finding, period, span
from headrace.records import DAY, Array

PAIRS = 30
"""Fewest pairs of windows a correlation is told from."""


@dataclass(frozen=True)
class Lag:
    """Correlation of a series with itself."""

    lag: int
    """ns."""
    r: float
    pairs: int
    """Pairs of measured windows."""

    @property
    def bound(self) -> float:
        """|r| that 95 % of white noise stay below."""
        return 1.96 / math.sqrt(self.pairs)


@dataclass(frozen=True)
class Pair:
    """The strongest correlation of two fields."""

    first: str
    second: str
    r: float
    lag: int
    """ns; positive: `second` follows `first`."""
    r_rest: float
    """The strongest once the mean profile of the season and the trend are taken out of both..."""
    lag_rest: int
    bound: float
    """...and what 95 % of unrelated series with the same persistence stay below, at one lag, after that."""
    pairs: int

    @property
    def related(self) -> bool:
        """Whether more than a common season ties them: 1.6 times the bound allows for looking at many lags."""
        return abs(self.r_rest) > 1.6 * self.bound

    def finding(self) -> Finding:
        """In a sentence."""
        when = (
            "at the same time"
            if not self.lag
            else f"with {self.second if self.lag > 0 else self.first} {span(abs(self.lag))} later"
        )
        sentence = f"{self.first} and {self.second}: r = {self.r:.2f} {when}"
        rest = f"r = {self.r_rest:.2f}" + (f" at {_signed(self.lag_rest)}" if self.lag_rest != self.lag else "")
        if self.related:
            return Finding(
                "together", f"{sentence}; without season and trend {rest}", 2 if abs(self.r_rest) > 0.3 else 1
            )
        return Finding(
            "together", f"{sentence}; without season and trend {rest}, no more than chance (n = {self.pairs:,})", 1
        )


def own(grid: Grid) -> tuple[Lag, ...]:
    """At one window, a day and a week, where these exist and enough measured pairs are that far apart."""
    lags = dict.fromkeys(lag for lag in (grid.every, DAY, WEEK) if lag % grid.every == 0)
    found = []
    for lag in lags:
        r, pairs = _at(grid.values, lag // grid.every)
        if pairs >= PAIRS and 3 * lag <= grid.every * len(grid.values):
            found.append(Lag(lag, r, pairs))
    return tuple(found)


def finding(lags: tuple[Lag, ...]) -> Finding:
    """In a sentence."""
    if not lags:
        return Finding("memory", f"too short for an autocorrelation: {PAIRS} pairs of windows are needed", 1)
    parts = [f"{one.r:.2f} after {period(one.lag)}" for one in lags]
    weak = all(abs(one.r) < one.bound for one in lags)
    end = f"; noise stays below {max(one.bound for one in lags):.2f}" + (
        ": at these lags the past says nothing" if weak else ""
    )
    return Finding("memory", f"autocorrelation {', '.join(parts)}{end}", 2 if weak else 1, weak)


def curve(values: Array, most: int) -> Array:
    """(most + 1,) autocorrelation of a complete series, by FFT."""
    centred = values - values.mean()
    size = 1 << (2 * len(values) - 1).bit_length()
    both = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: most + 1]
    zero: Array = both / both[0] if both[0] > 0 else np.zeros(most + 1)
    return zero


def pair(first: str, second: str, a: Grid, b: Grid, rest_a: Array, rest_b: Array, most: int) -> Pair | None:
    """Two fields over lags of up to `most` windows either way; None where too few windows are common."""
    common = int((a.known & b.known).sum())
    if common < PAIRS or not a.values[a.known].std() > 0 or not b.values[b.known].std() > 0:
        return None
    lag, r = _strongest(a.filled, b.filled, most)
    lag_rest, r_rest = _strongest(rest_a, rest_b, most)
    near = [max(0.0, float(curve(values, 1)[1])) for values in (rest_a, rest_b)]
    effective = max(4.0, common * (1 - near[0] * near[1]) / (1 + near[0] * near[1]))  # Bartlett, 1935
    return Pair(first, second, r, lag * a.every, r_rest, lag_rest * a.every, 1.96 / math.sqrt(effective), common)


def _strongest(a: Array, b: Array, most: int) -> tuple[int, float]:
    """(lag in windows, r) of the largest |r|; the smallest lag of equals."""
    lags = np.array(sorted(range(-most, most + 1), key=abs))
    a, b = a - a.mean(), b - b.mean()
    size = 1 << (2 * len(a) - 1).bit_length()
    products = np.fft.irfft(np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size), size)[lags]
    norm = math.sqrt(float(a @ a) * float(b @ b)) * (1 - np.abs(lags) / len(a))
    found = np.clip(products / norm, -1, 1) if float(a @ a) * float(b @ b) > 0 else np.zeros(len(lags))
    best = int(np.argmax(np.round(np.abs(found), 6)))
    return int(lags[best]), float(found[best])


def _r(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def _at(values: Array, lag: int) -> tuple[float, int]:
    if not 0 < lag < len(values) - 2:
        return 0.0, 0
    a, b = values[:-lag], values[lag:]
    both = np.isfinite(a) & np.isfinite(b)
    return (_r(a[both], b[both]) if both.sum() > 2 else 0.0), int(both.sum())


def _signed(lag: int) -> str:
    return "the same time" if not lag else f"{'-' if lag < 0 else '+'}{span(abs(lag))}"
