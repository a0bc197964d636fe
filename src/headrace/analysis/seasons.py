"""What comes back: periods that stand out of the noise, hold from one half to the other, and how strong they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.grid import Grid
from headrace.analysis.words import WEEK, YEAR, Finding, chance, count, period, share
from headrace.records import DAY, HOUR, Array

CYCLES = 3
"""A period that was seen fewer times is no season yet."""
WINDOWS = 48
"""Fewest grid windows for a periodogram."""
LEVEL = 0.01
HOLDS = 0.02
"""Least share of the other half that a profile has to explain."""
MOST = 3
"""Seasons told."""
NATURAL = (DAY, WEEK, YEAR, HOUR)


@dataclass(frozen=True)
class Season:
    """One period."""

    period: int
    """ns."""
    p: float
    """Of its peak in the periodogram against red noise, for all frequencies looked at together; for hours, days, weeks and
    years, which are asked for beforehand, for these alone."""
    explains: float
    """Share of the variance that its mean profile explains..."""
    holds: float
    """...and of the other half of the time, when the profile is taken of one half."""
    rest: bool
    """Whether that is of what other seasons leave."""
    cycles: int
    strength: float | None
    """STL: 1 - Var(remainder)/Var(season + remainder) (Hyndman and Athanasopoulos, Forecasting, 3rd ed., 4.3)."""

    def sentence(self) -> str:
        """With its numbers."""
        strong = "" if self.strength is None else f"; STL strength {self.strength:.2f}"
        return (
            f"repeats every {period(self.period).removeprefix('a ')} ({chance(self.p)} against red noise, "
            f"{count(self.cycles, 'cycle')}): its profile explains {share(self.explains)} of the "
            f"variance{' the other leaves' if self.rest else ''}, and "
            f"{share(self.holds)} in the half of the time it was not taken from{strong}"
        )


@dataclass(frozen=True)
class Spectrum:
    """Periodogram and the noise it has to stand out of."""

    frequency: Array
    """Cycles per ns."""
    power: Array
    noise: Array


@dataclass(frozen=True)
class Seasons:
    """All of them, the longest last."""

    found: tuple[Season, ...]
    why_none: str
    """ "" when there are some."""
    spectrum: Spectrum | None

    @property
    def shortest(self) -> Season | None:
        """The one a grid step has to resolve."""
        return self.found[0] if self.found else None

    def findings(self) -> list[Finding]:
        """In sentences."""
        if not self.found:
            return [Finding("season", self.why_none, 3)]
        return [Finding("season", one.sentence(), 3) for one in self.found]


def find(grid: Grid) -> Seasons:
    """The seasons of a grid; none where too much is missing or it is too short."""
    n = len(grid.values)
    if n < WINDOWS:
        return Seasons((), f"too short to tell: {count(n, 'grid window')}, a periodogram needs {WINDOWS}", None)
    if grid.empty > 0.5:
        return Seasons((), f"too many gaps to tell: {share(grid.empty)} of the grid is empty", None)
    trendless = grid.filled - line(grid.filled)
    if not trendless.std() > 1e-9 * max(1.0, float(np.abs(grid.filled).max())):
        return Seasons((), "none: the values do not vary", None)
    spectrum = _spectrum(trendless, grid.every)
    found = tuple(sorted(_accepted(grid, trendless, spectrum), key=lambda one: one.period))
    longest = grid.every * n / CYCLES
    none = f"none stands out of red noise at p < {LEVEL} and holds in both halves (looked up to {period(longest)})"
    return Seasons(found, "" if found else none, spectrum)


def slots(clock: NDArray[np.int64], length: int, every: int) -> NDArray[np.int64]:
    """Which slot of a season each local time is in."""
    size = max(1, round(length / every))
    place: NDArray[np.int64] = np.minimum(((clock % length) / length * size).astype(np.int64), size - 1)
    return place


def profile(values: Array, known: NDArray[np.bool_], place: NDArray[np.int64]) -> Array:
    """(slots,) mean of each slot; the mean of all where nothing is known."""
    size = int(place.max()) + 1
    counts = np.bincount(place[known], minlength=size)
    sums = np.bincount(place[known], weights=values[known], minlength=size)
    overall = float(values[known].mean()) if known.any() else 0.0
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall)


def _accepted(grid: Grid, trendless: Array, spectrum: Spectrum) -> list[Season]:
    """Natural periods first, then by power; each has to hold in what the ones before leave."""
    rest = trendless.copy()
    found: list[Season] = []
    for length, p in _candidates(spectrum, grid):
        if len(found) == MOST or any(_harmonic(length, one.period, grid) for one in found):
            continue
        place = slots(grid.clock, length, grid.every)
        explains, holds = _explains(rest, grid.known, place)
        if holds < HOLDS:
            continue
        cycles = int(len(rest) * grid.every // length)
        found.append(Season(length, p, explains, holds, bool(found), cycles, None))
        rest = rest - (profile(rest, grid.known, place) - rest[grid.known].mean())[place]
    return found


def _candidates(spectrum: Spectrum, grid: Grid) -> list[tuple[int, float]]:
    """(period ns, p) of significant peaks, in the order in which they are tried."""
    ratio = spectrum.power / spectrum.noise
    p = _none_of(ratio, len(ratio))
    seen = len(grid.values) * grid.every
    usable = (spectrum.frequency >= CYCLES / seen * 0.98) & (spectrum.frequency <= 1 / (4 * grid.every))
    found: list[tuple[int, float]] = []
    for natural in NATURAL:
        near = usable & (np.abs(spectrum.frequency - 1 / natural) <= 1 / seen)
        if near.any():
            expected = _none_of(
                float(ratio[near].max()), len(NATURAL) * int(near.sum())
            )  # asked beforehand: few to look at
            found += [(natural, expected)] if expected < LEVEL else []
    peaks = np.flatnonzero(usable & (p < LEVEL))
    for index in peaks[np.argsort(-spectrum.power[peaks], kind="stable")][:40].tolist():
        frequency = float(spectrum.frequency[index])
        if all(abs(frequency - 1 / known) > 2 / seen for known, _ in found):
            found.append((round(1 / frequency / grid.every) * grid.every, float(p[index])))
    return found


def _none_of(ratio: Any, looked_at: int) -> Any:
    """Chance that the noise reaches so many times its mean at any of the frequencies looked at."""
    return -np.expm1(looked_at * np.log1p(-np.exp(-np.clip(ratio, 1e-12, 700))))


def _harmonic(length: int, known: int, grid: Grid) -> bool:
    """Whether a period is what another one's profile has in it already: a whole part of it."""
    if length in NATURAL and known not in NATURAL:
        return False
    seen = len(grid.values) * grid.every
    times = known / length
    return times > 0.9 and abs(1 / length - round(times) / known) <= 2 / seen


def _spectrum(values: Array, every: int) -> Spectrum:
    """Periodogram of a tapered series, with the noise of Mann and Lees (1996): an AR(1) fitted to its running median."""
    from scipy.signal import periodogram
    from scipy.signal.windows import tukey

    frequency, power = periodogram(values, window=tukey(len(values), 0.1), detrend=False)
    frequency, power = frequency[1:-1], np.maximum(power[1:-1], 1e-300)
    median = _running_median(power) / math.log(2)  # of an exponential distribution: its mean times ln 2
    noise = np.maximum(_red(frequency, median), median)
    return Spectrum(frequency / every, power, noise)


def _running_median(power: Array) -> Array:
    from scipy.ndimage import median_filter

    width = max(9, len(power) // 20) | 1
    smooth: Array = median_filter(power, size=width, mode="nearest")
    return smooth


def _red(frequency: Array, level: Array) -> Array:
    """The AR(1) spectrum nearest to a smooth one, by the sum of absolute differences of the logarithms."""
    target, error = np.log(level), np.inf
    best: Any = level
    for a in np.concatenate([np.linspace(0, 0.98, 50), [0.985, 0.99, 0.995, 0.999]]):
        shape = -np.log(1 + a * a - 2 * a * np.cos(2 * np.pi * frequency))
        height = np.median(target - shape)
        off = float(np.abs(target - shape - height).sum())
        if off < error:
            best, error = np.asarray(np.exp(shape + height), np.float64), off
    return np.asarray(best, np.float64)


def _explains(values: Array, known: NDArray[np.bool_], place: NDArray[np.int64]) -> tuple[float, float]:
    """Share of variance a profile explains of its own time, and of the other half (the mean of both directions)."""
    whole = _share(values, known, profile(values, known, place), place)
    middle = np.arange(len(values)) < len(values) / 2
    both = []
    for here in (known & middle, known & ~middle):
        there = known & ~here
        if here.sum() < 2 or there.sum() < 2:
            return whole, 0.0
        both.append(_share(values, there, profile(values, here, place), place))
    return whole, max(0.0, float(np.mean(both)))


def _share(values: Array, known: NDArray[np.bool_], shape: Array, place: NDArray[np.int64]) -> float:
    """1 - squared error of a profile (moved to these values' mean) over their variance."""
    clean, fitted = values[known], shape[place[known]]
    total = float(((clean - clean.mean()) ** 2).sum())
    error = float(((clean - clean.mean() - fitted + fitted.mean()) ** 2).sum())
    return 1 - error / total if total > 0 else 0.0


def line(values: Array) -> Array:
    """The straight line nearest to a series."""
    index = np.arange(len(values))
    return np.asarray(np.polyval(np.polyfit(index, values, 1), index), np.float64)


@dataclass(frozen=True)
class Parts:
    """A series taken apart by STL (Cleveland et al., 1990), or MSTL for several seasons (Bandara et al., 2021)."""

    trend: Array
    seasonal: Array
    """(n, seasons)."""
    rest: Array

    @property
    def trend_strength(self) -> float:
        """1 - Var(remainder)/Var(trend + remainder)."""
        return _strength(self.trend, self.rest)


def take_apart(grid: Grid, found: tuple[Season, ...]) -> Parts | None:
    """STL by the seasons that are a whole number of grid windows; None without one."""
    from statsmodels.tsa.seasonal import MSTL, STL

    lengths = [one.period // grid.every for one in found if one.period % grid.every == 0]
    lengths = [length for length in lengths if 2 <= length <= len(grid.values) // 2]
    if not lengths:
        return None
    jump = max(
        1, min(lengths) // 10
    )  # smooth curves are evaluated at every tenth of a season, and joined: ten times as fast
    jumps = {"trend_jump": jump, "low_pass_jump": jump}
    if len(lengths) == 1:
        done = STL(grid.filled, period=lengths[0], seasonal=13, **jumps).fit()
        return Parts(done.trend, done.seasonal[:, None], done.resid)
    done = MSTL(grid.filled, periods=lengths, iterate=2, stl_kwargs=jumps).fit()
    return Parts(done.trend, done.seasonal, done.resid)


def with_strengths(seasons: Seasons, parts: Parts, every: int) -> Seasons:
    """The seasons, each with what STL says of it."""
    whole = [one.period for one in seasons.found if one.period % every == 0]
    known = {
        length: _strength(parts.seasonal[:, i], parts.rest) for i, length in enumerate(whole[: parts.seasonal.shape[1]])
    }
    return replace(seasons, found=tuple(replace(one, strength=known.get(one.period)) for one in seasons.found))


def _strength(part: Array, rest: Array) -> float:
    total = float(np.var(part + rest))
    return max(0.0, 1 - float(np.var(rest)) / total) if total > 0 else 0.0
