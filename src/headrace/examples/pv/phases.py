"""What the inverter's grid meter would have sent: three phases of voltage and current, and the power factor.

**The power is real, the phases are made up** (no public data set has a plant's phases at 1 s): the 5-minute power is
interpolated to seconds with 1 % noise and each 5 minutes rescaled to the mean that was measured; the phases carry
1.01 : 1 : 0.99 of a third each; about 277 V, drifting slowly and rising with the power fed in; power factor 0.99;
current = power / (V·PF); voltages are rounded to 0.1 V, currents to 1 mA. So the hourly mean of V·I·PF is the measured
one to within 0.1 W.

At night the meter goes on reporting (zero current); inside the gaps of the measurements nothing is sent. The same
`seed` gives the same bytes for the same second, whatever the range asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.examples.pv import SLOT, readings
from headrace.records import DAY, HOUR, MINUTE, SECOND, Array, Rows

WEIGHTS = np.array([1.01, 1.0, 0.99]) / 3
POWER_FACTOR = 0.99
VOLTS = 277.0
RISE = 6.0
"""Volts by which feeding in its rated power raises the voltage at a plant: why mean(V)·mean(I) is not mean(V·I)."""
RATED = 27_600.0
NOISE = 0.01
_SHORTEST_NIGHT, _LONGEST_NIGHT = 8 * HOUR, 16 * HOUR
PER_SLOT = SLOT // SECOND
_PAYLOAD = b'{"ts":%d,"v1":%.1f,"i1":%.3f,"v2":%.1f,"i2":%.3f,"v3":%.1f,"i3":%.3f,"pf":0.99}'


class Phases(NamedTuple):
    """Readings of the meter."""

    time: NDArray[np.int64]
    volts: Array
    """(n, 3), multiples of 0.1."""
    amperes: Array
    """(n, 3), multiples of 0.001."""


class Slots(NamedTuple):
    """The measurements as one value per 5 minutes."""

    time: NDArray[np.int64]
    power: Array
    """W; 0 at night, NaN where it is not known."""


@cache
def slots() -> Slots:
    """Every 5 minutes from the first to the last measurement. What is missing for 8 to 16 hours is a night."""
    rows = readings()
    places = (rows.time - rows.time[0]) // SLOT
    power = np.full(int(places[-1]) + 1, np.nan)
    power[places] = rows.columns["power"]
    for before, after in pairwise(places.tolist()):
        if _SHORTEST_NIGHT <= (after - before - 1) * SLOT <= _LONGEST_NIGHT:
            power[before + 1 : after] = 0
    return Slots(int(rows.time[0]) + SLOT * np.arange(len(power), dtype=np.int64), power)


def history(start: int, stop: int) -> Phases:
    """One reading each 5 minutes of [start, stop)."""
    time, power = _known(start, stop)
    return _split(time, power)


def live(start: int, stop: int, seed: int = 0) -> Iterator[Phases]:
    """One reading each second of [start, stop), multiples of 5 minutes, in blocks of up to a day."""
    day = start - start % DAY
    while day < stop:
        block = _seconds(max(day, start), min(day + DAY, stop), day, seed)
        if len(block.time):
            yield block
        day += DAY


def pieces(phases: Phases, size: int) -> Iterator[Phases]:
    """The same readings, at most `size` at a time."""
    for start in range(0, len(phases.time), size):
        part = slice(start, start + size)
        yield Phases(phases.time[part], phases.volts[part], phases.amperes[part])


def rows(phases: Phases) -> Rows:
    """As a decoder would read them."""
    columns = {f"v{phase + 1}": phases.volts[:, phase] for phase in range(3)}
    columns |= {f"i{phase + 1}": phases.amperes[:, phase] for phase in range(3)}
    return Rows(phases.time, {**columns, "pf": np.full(len(phases.time), POWER_FACTOR)})


def payloads(phases: Phases) -> list[bytes]:
    """As JSON, about 100 bytes each."""
    columns: list[NDArray[Any]] = [phases.time // 1_000_000]
    for phase in range(3):
        columns += [phases.volts[:, phase], phases.amperes[:, phase]]
    return [_PAYLOAD % row for row in zip(*(column.tolist() for column in columns), strict=True)]


def _known(start: int, stop: int) -> Slots:
    """The slots of [start, stop) that are not in a gap."""
    every = slots()
    inside = (every.time >= start) & (every.time < stop) & np.isfinite(every.power)
    return Slots(every.time[inside], every.power[inside])


def _seconds(start: int, stop: int, day: int, seed: int) -> Phases:
    known = _known(start, stop)
    every = slots()
    measured = np.isfinite(every.power)
    time = (known.time[:, None] + SECOND * np.arange(PER_SLOT, dtype=np.int64)).ravel()
    centres = every.time[measured] + SLOT // 2
    smooth = np.interp(time - day, centres - day, every.power[measured])
    noise = np.random.default_rng([seed, day // DAY]).standard_normal(DAY // SECOND)
    rough = (smooth * (1 + NOISE * noise[(time - day) // SECOND])).reshape(-1, PER_SLOT)
    means = rough.mean(axis=1, keepdims=True)
    exact = np.divide(rough * known.power[:, None], means, out=np.zeros_like(rough), where=means > 0)
    return _split(time, exact.ravel())


def _split(time: NDArray[np.int64], power: Array) -> Phases:
    """Power to phases. The current is that of the rounded voltage, so that only its own rounding is lost."""
    volts = np.round(_voltage(time, power), 1)
    amperes = power[:, None] * WEIGHTS / (volts * POWER_FACTOR)
    return Phases(time, volts, np.round(amperes, 3))


def _voltage(time: NDArray[np.int64], power: Array) -> Array:
    """(n, 3): a daily and a 47-minute swing, shifted between the phases, and the rise."""
    shifts = 2 * np.pi * np.arange(3) / 3
    daily = 2 * np.pi * ((time % DAY) / DAY)
    quick = 2 * np.pi * ((time % (47 * MINUTE)) / (47 * MINUTE))
    drift = 1.2 * np.sin(daily[:, None] + shifts) + 0.5 * np.sin(quick[:, None] + 2 * shifts)
    volts: Array = VOLTS + drift + (RISE / RATED * power)[:, None]
    return volts
