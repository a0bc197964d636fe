"""When readings come: how often, how regularly, what is missing, and which silence is regular and so no gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.clocks import local
from headrace.analysis.words import Finding, count, share, span, time_of_day
from headrace.records import DAY, HOUR, MINUTE, SECOND

NICE = tuple(
    [unit * SECOND for unit in (1, 2, 5, 10, 15, 20, 30)]
    + [unit * MINUTE for unit in (1, 2, 5, 10, 15, 20, 30)]
    + [unit * HOUR for unit in (1, 2, 3, 4, 6, 12, 24)]
)
"""Steps a grid may have: each divides a day."""
SILENCE = 2 * HOUR
"""A shorter hole is no nightly silence."""
_LATE = 1.5
"""A step longer than this many usual ones leaves something out..."""
_LATE_IRREGULAR = 10.0
"""...and this many where the steps are not regular: chance makes some of them long."""
_SLOT = 15 * MINUTE


@dataclass(frozen=True)
class Silence:
    """A hole that comes back every day at the same time: nothing is missing there."""

    nights: int
    shortest: int
    longest: int
    centre: int
    """Local time of day of its middle, ns since midnight."""
    spans: tuple[tuple[int, int], ...]
    """(last reading before, first after) of each, UTC."""


@dataclass(frozen=True)
class Sampling:
    """The readings of a device in time."""

    readings: int
    first: int
    last: int
    step: int
    """Median time between readings, ns; 0 if there is only one."""
    jitter: float
    """Half of the range that holds the middle 80 % of the steps between gaps, as a share of `step`."""
    regular: float
    """Share of steps within a tenth of `step`."""
    gaps: int
    gap_total: int
    """What is missing in them, ns."""
    gap_longest: int
    gap_ordinary: int
    """The longest of all but the longest hundredth of them, ns."""
    absent: float
    """Share of the readings due (outside the silence) that are missing."""
    duplicates: int
    """Readings with the time of another..."""
    conflicting: int
    """...and another value."""
    backward: int
    """Readings older than one that came before."""
    delay: int
    """How much older at most, ns."""
    silence: Silence | None
    holes: tuple[tuple[int, int], ...]
    """(last reading before, first after) of the longest gaps, UTC, at most 1000."""

    @property
    def covered(self) -> int:
        """From the first reading to the last."""
        return self.last - self.first

    def findings(self) -> list[Finding]:
        """In sentences."""
        return [*self._rate(), *self._gaps(), *self._silence(), *self._order()]

    def _rate(self) -> list[Finding]:
        if not self.step:
            return [Finding("rate", "one reading: nothing can be said of a rate", 3, True)]
        base = f"a reading every {span(self.step)} (median) over {span(self.covered)}"
        if self.regular < 0.5:
            return [
                Finding(
                    "rate", f"{base}, irregular: {share(self.regular)} of the steps are within a tenth of it", 3, True
                )
            ]
        return [Finding("rate", f"{base}; {share(self.regular)} of the steps are within a tenth of it", 3)]

    def _gaps(self) -> list[Finding]:
        if not self.gaps:
            return [Finding("gaps", "no gaps", 1)] if self.step else []
        beside = " beside the silence" if self.silence else ""
        sentence = (
            f"{count(self.gaps, 'gap')}{beside}, the longest {span(self.gap_longest)}, {span(self.gap_total)} in all: "
            f"{share(self.absent)} of the readings due are missing"
        )
        return [Finding("gaps", sentence, 3 if self.absent > 0.05 else 2, self.absent > 0.05)]

    def _silence(self) -> list[Finding]:
        if (quiet := self.silence) is None:
            return []
        sentence = (
            f"silent every day around {time_of_day(quiet.centre)} for {span(quiet.shortest)} to {span(quiet.longest)} "
            f"({count(quiet.nights, 'time')}): a sleeping device, not a gap"
        )
        return [Finding("silence", sentence, 3)]

    def _order(self) -> list[Finding]:
        found = []
        if self.duplicates:
            sentence = f"{count(self.duplicates, 'reading')} with a time that was there already"
            if self.conflicting:
                sentence += f", {self.conflicting:,} of them with another value"
            two = self.conflicting > 0.2 * self.readings
            sentence += ": two devices under one name?" if two else ""
            found.append(Finding("duplicates", sentence, 3 if two else 1, self.conflicting > 0))
        if self.backward:
            sentence = f"{count(self.backward, 'reading')} came out of order, by up to {span(self.delay)}"
            found.append(Finding("order", sentence, 1, False))
        return found


def measure(arrival: NDArray[np.int64], values: NDArray[np.float64], zone: str) -> Sampling:
    """Times in the order in which they came, and their values (to tell repeated readings from conflicting ones)."""
    order = np.argsort(arrival, kind="stable")
    time = arrival[order]
    unique = time[np.diff(time, prepend=time[:1] - 1) > 0]
    steps = np.diff(unique)
    step = int(np.median(steps)) if len(steps) else 0
    regular = float(np.mean(np.abs(steps - step) <= 0.1 * step)) if len(steps) else 0.0
    late = (
        np.flatnonzero(steps > step * (_LATE if regular >= 0.5 else _LATE_IRREGULAR)) if step else np.empty(0, np.int64)
    )
    silence = _silence(unique, late, zone)
    quiet = {start for start, _ in silence.spans} if silence else set()
    holes = [(int(unique[i]), int(unique[i + 1])) for i in late.tolist() if int(unique[i]) not in quiet]
    lengths = np.array(sorted(stop - start - step for start, stop in holes), np.int64)
    due = (
        (int(unique[-1] - unique[0]) - sum(b - a for a, b in (silence.spans if silence else ()))) / step if step else 0
    )
    absent = float(lengths.sum() / step / max(due, 1)) if step else 0.0
    peaks = np.maximum.accumulate(arrival)
    short = steps[steps <= _LATE * step]
    low, high = np.quantile(short, [0.1, 0.9]) if len(short) else (0.0, 0.0)
    duplicates, conflicting = _twice(time, values[order])
    return Sampling(
        readings=len(arrival),
        first=int(unique[0]),
        last=int(unique[-1]),
        step=step,
        jitter=float((high - low) / 2 / step) if step else 0.0,
        regular=regular,
        gaps=len(holes),
        gap_total=int(lengths.sum()),
        gap_longest=int(lengths[-1]) if len(lengths) else 0,
        gap_ordinary=int(lengths[int(0.99 * (len(lengths) - 1))]) if len(lengths) else 0,
        absent=min(absent, 1.0),
        duplicates=duplicates,
        conflicting=conflicting,
        backward=int(np.count_nonzero(arrival < peaks)),
        delay=int((peaks - arrival).max()),
        silence=silence,
        holes=tuple(sorted(sorted(holes, key=lambda one: one[0] - one[1])[:1000])),
    )


def _twice(time: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[int, int]:
    """(readings with an earlier one's time, those of them with another value)."""
    same = np.diff(time) == 0
    before, after = values[:-1][same], values[1:][same]
    other = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return int(np.count_nonzero(same)), int(np.count_nonzero(other))


def _silence(unique: NDArray[np.int64], late: NDArray[np.int64], zone: str) -> Silence | None:
    """Holes of at least `SILENCE` around one time of day, on most days.

    That time is the quarter of an hour that most holes cover. They have to be there on 60 % of at least 5 days; one half
    as long again as is usual among them is a gap.
    """
    clock = local(unique, zone)
    long = [i for i in late.tolist() if SILENCE <= unique[i + 1] - unique[i] < DAY]
    days = len(np.unique(clock // DAY))
    if days < 5 or len(long) < 5:
        return None
    covers = np.zeros(DAY // _SLOT, np.int64)
    for i in long:
        covers[np.arange(clock[i] // _SLOT + 1, clock[i + 1] // _SLOT) % len(covers)] += 1
    middle = int(np.median(np.flatnonzero(covers == covers.max()))) if covers.max() else 0
    inside = [
        i
        for i in long
        if (middle - clock[i] // _SLOT - 1) % len(covers) < clock[i + 1] // _SLOT - clock[i] // _SLOT - 1
    ]
    if len(inside) < 0.6 * (days - 1):
        return None
    usual = float(np.median([unique[i + 1] - unique[i] for i in inside]))
    kept = [i for i in inside if unique[i + 1] - unique[i] <= 1.5 * usual]
    spans = tuple((int(unique[i]), int(unique[i + 1])) for i in kept)
    lengths = [stop - start for start, stop in spans]
    turns = np.array([(clock[i] + clock[i + 1]) / 2 % DAY for i in kept]) / DAY * 2 * np.pi
    centre = float(np.arctan2(np.sin(turns).mean(), np.cos(turns).mean())) / (2 * np.pi) * DAY % DAY
    return Silence(len(kept), min(lengths), max(lengths), round(centre), spans)
