"""Everything about one field, and about all fields of a table together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headrace.analysis import correlation, outliers, quality, sampling, seasons, stationary, trend
from headrace.analysis.clocks import local
from headrace.analysis.correlation import Lag, Pair
from headrace.analysis.grid import Grid, step_for, to_grid
from headrace.analysis.outliers import Outliers
from headrace.analysis.quality import Quality
from headrace.analysis.sampling import Sampling
from headrace.analysis.seasons import Parts, Seasons
from headrace.analysis.stationary import Stationarity
from headrace.analysis.tables import Progress, Table, silent
from headrace.analysis.trend import Trend
from headrace.analysis.words import WEEK, Finding, clock, count, span
from headrace.records import DAY, Array

ASLEEP = 0.05
"""Values below this share of the range, on both sides of a silence, are as good as zero."""
ALIKE = 20
"""Cycles of a season whose values are compared to find outliers."""
LEAST_ALIKE = 8
"""Fewest values a slot of a season should have for that."""
_ACROSS = 60
"""Lags looked at between fields, either way, at most."""


@dataclass(frozen=True)
class Field:
    """One field, measured."""

    name: str
    unit: str
    sampling: Sampling
    quality: Quality
    seasons: Seasons
    parts: Parts | None
    trend: Trend
    lags: tuple[Lag, ...]
    stationarity: Stationarity | None
    outliers: Outliers
    grid: Grid
    time: NDArray[np.int64]
    """Of the values: sorted, one per time."""
    values: Array
    zero: bool
    """Whether the silence means zero."""
    findings: tuple[Finding, ...]
    """The most important first."""

    @property
    def forecastable(self) -> float:
        """What is known a day (or the shortest season) before, 0 to 1: to choose a target, not a promise."""
        day = max((one.r for one in self.lags[1:2]), default=0.0)
        return 0.0 if self.quality.constant else max([day * abs(day), 0.0, *(one.holds for one in self.seasons.found)])


@dataclass(frozen=True)
class Analysis:
    """All fields of a table."""

    table: Table
    zone: str
    fields: tuple[Field, ...]
    pairs: tuple[Pair, ...]
    """The most related first."""

    @property
    def target(self) -> Field:
        """The field a model would forecast: three-phase power, else the most forecastable."""
        derived = [one for one in self.fields if one.name in self.table.derived]
        return derived[0] if derived else max(self.fields, key=lambda one: one.forecastable)


def analyse(table: Table, zone: str, progress: Progress = silent) -> Analysis:
    """Measure every field of a table. Times are told on the clock of `zone`."""
    fields = []
    for index, name in enumerate(table.columns):
        progress(f"looking at {name}", index / len(table.columns))
        fields.append(measure(table, name, zone))
    progress("comparing fields", 1.0)
    return Analysis(table, zone, tuple(fields), _pairs(fields))


def measure(table: Table, name: str, zone: str) -> Field:
    """One field of a table."""
    raw = table.columns[name]
    with_value = np.isfinite(raw)
    missing = 0 if table.recorded else int(np.count_nonzero(~with_value))  # a message need not carry every field
    rate = sampling.measure(table.time[with_value], raw[with_value], zone)
    time, values = _in_order(table.time[with_value], raw[with_value])
    facts = replace(quality.measure(time, values), missing=missing)
    zero = rate.silence is not None and _asleep(rate, time, values, facts)
    sane = outliers.sane(values)
    silence = rate.silence if zero else None
    grid = to_grid(time[sane], values[sane], _range(table, rate), step_for(rate), zone, silence)
    found = seasons.find(grid)
    parts = seasons.take_apart(grid, found.found)
    found = seasons.with_strengths(found, parts, grid.every) if parts else found
    lengths = [one.period for one in found.found if one.period <= WEEK]
    full = [length for length in lengths if len(time) * grid.every >= LEAST_ALIKE * length]
    dense = len(grid.values) >= seasons.WINDOWS and grid.empty <= 0.5
    calm = grid.filled - parts.seasonal.sum(axis=1) if parts else grid.filled
    level = stationary.test(calm) if dense else None
    place = _usual(time, zone, max(full, default=0), grid.every)
    field = Field(
        name=name,
        unit=table.units.get(name, ""),
        sampling=rate,
        quality=facts,
        seasons=found,
        parts=parts,
        trend=trend.measure(grid, max(lengths, default=0)),
        lags=correlation.own(grid),
        stationarity=level,
        outliers=outliers.find(time, values, place, bool(full), _evenly(time, grid)),
        grid=grid,
        time=time,
        values=values,
        zero=zero,
        findings=(),
    )
    return replace(field, findings=tuple(sorted(_findings(field, zone), key=lambda one: (-one.weight, not one.flag))))


def _findings(field: Field, zone: str) -> list[Finding]:
    found = [*field.quality.findings(field.unit), *field.sampling.findings()]
    if field.zero:
        found.append(Finding("silence", "the values fade out before it and in after it: it means zero", 3))
    if field.quality.constant:
        return found
    found += field.seasons.findings()
    wandering = field.stationarity is not None and field.stationarity.wandering
    found += [field.trend.finding(field.unit, wandering), correlation.finding(field.lags)]
    if field.stationarity:
        found.append(field.stationarity.finding(field.parts is not None))
    else:
        found.append(Finding("level", "stationarity was not tested: too few values on the grid, or too many gaps", 1))
    if field.parts:
        found.append(
            Finding("level", f"STL strength of the trend: {field.parts.trend_strength:.2f} (0 none, 1 all)", 1)
        )
    found.append(field.outliers.finding(field.unit, clock(field.outliers.worst_time, zone)))
    absurd = len(field.values) - int(np.count_nonzero(outliers.sane(field.values)))
    if absurd:
        sentence = f"{count(absurd, 'absurd value')} left out of all but the outliers: they would hide everything else"
        found.append(Finding("method", sentence, 1))
    if field.grid.every > 1.5 * field.sampling.step > 0:
        sentence = (
            f"{count(len(field.time), 'value')} were averaged to {count(len(field.grid.values), 'window')} of "
            f"{span(field.grid.every)} for season, trend and correlation; rate, gaps and outliers are of every value"
        )
        found.append(Finding("method", sentence, 1))
    return found


def _usual(time: NDArray[np.int64], zone: str, season: int, every: int) -> NDArray[np.int64]:
    """Which values are compared with one another: one slot of the season, within `ALIKE` cycles (the season may drift)."""
    if not season:
        return np.zeros(len(time), np.int64)
    clock = local(time, zone)
    cycle = (clock - clock[0] // season * season) // season
    size = max(1, round(season / every))
    blocks = max(1, min(int(cycle[-1] + 1) // ALIKE, len(time) // (size * 3 * ALIKE)))
    block = cycle * blocks // int(cycle[-1] + 1)
    place: NDArray[np.int64] = seasons.slots(clock, season, every) + size * block
    return place


def _evenly(time: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """About as many values of every grid window: a day that was read every second must not decide what is normal."""
    window = (time - grid.start[0]) // grid.every
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    counts = np.diff(starts, append=len(time))
    place: NDArray[np.int64] = np.arange(len(time)) - np.repeat(starts, counts)
    return place < max(1, int(np.median(counts)))


def _range(table: Table, rate: Sampling) -> tuple[int, int]:
    """(first, last) of a field's grid: the table's, so that fields can be compared, unless the field is there less than half."""
    first, last = int(table.time.min()), int(table.time.max())
    return (first, last) if 2 * rate.covered >= last - first else (rate.first, rate.last)


def _in_order(arrival: NDArray[np.int64], raw: Array) -> tuple[NDArray[np.int64], Array]:
    """Sorted by time; of several values at one time the last that came."""
    order = np.argsort(arrival, kind="stable")
    time, values = arrival[order], raw[order]
    last = np.diff(time, append=time[-1:] + 1) > 0
    return time[last], values[last]


def _asleep(rate: Sampling, time: NDArray[np.int64], values: Array, facts: Quality) -> bool:
    """Whether values go down to (near) zero before the silence and come up from it after."""
    assert rate.silence is not None
    if facts.constant:
        return False
    before = np.searchsorted(time, [start for start, _ in rate.silence.spans], side="right") - 1
    after = np.searchsorted(time, [stop for _, stop in rate.silence.spans])
    ends = np.abs(np.concatenate([values[before[before >= 0]], values[after[after < len(values)]]]))
    scale = float(np.quantile(np.abs(values), 0.95))
    return len(ends) > 0 and float(np.median(ends)) <= ASLEEP * scale


def _pairs(fields: list[Field]) -> tuple[Pair, ...]:
    """Every two fields of one grid that vary."""
    found = []
    for a, b in itertools.combinations([field for field in fields if not field.quality.constant], 2):
        if not np.array_equal(a.grid.start, b.grid.start):
            continue
        most = min(_ACROSS, max(1, DAY // a.grid.every), len(a.grid.values) // 4)
        one = correlation.pair(a.name, b.name, a.grid, b.grid, rest(a), rest(b), most)
        if one is not None:
            found.append(one)
    return tuple(sorted(found, key=lambda one: -abs(one.r_rest)))


def rest(field: Field) -> Array:
    """What is left without trend and season."""
    if field.parts:
        return field.parts.rest
    return field.grid.filled - seasons.line(field.grid.filled)
