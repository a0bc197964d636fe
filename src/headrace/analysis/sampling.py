"""When readings come: how often, how regularly, what is missing, and which silence is regular and so no gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.clocks import local
from headrace.analysis.grouped import medians
from headrace.analysis.words import Finding, count, share, span, time_of_day
from headrace.records import DAY, HOUR, MINUTE, SECOND, Array

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
_MANY = 4
"""Fewest steps of a day for a median of its own."""
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
    """Usual time between readings, ns: the median of a day's median; 0 if there is only one reading."""
    fastest: int
    slowest: int
    """Range of the daily medians, but for a twentieth of the days at either end."""
    jitter: float
    """Half of the range that holds the middle 80 % of the steps between gaps, as a share of what is usual that day."""
    regular: float
    """Share of steps within a tenth of what is usual that day."""
    gaps: int
    gap_total: int
    """What is missing in them, ns."""
    gap_longest: int
    gap_ordinary: int
    """The longest of all but the longest hundredth of them, ns."""
    absent: float
    """Share of the time (outside the silence) that lies in gaps."""
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
        sentence = f"a reading every {span(self.step)} (median) over {span(self.covered)}"
        if self.regular < 0.5:
            sentence += f", irregular: {share(self.regular)} of the steps are within a tenth of it"
            return [Finding("rate", sentence, 3, True)]
        sentence += f"; {share(self.regular)} of the steps are within a tenth of what is usual that day"
        if self.slowest > _LATE * self.fastest:
            sentence += f"; the rate was not always the same: from {span(self.fastest)} to {span(self.slowest)}"
            return [Finding("rate", sentence, 3, True)]
        return [Finding("rate", f"{sentence}, jitter ±{share(self.jitter)}", 3)]

    def _gaps(self) -> list[Finding]:
        if not self.gaps:
            return [Finding("gaps", "no gaps", 1)] if self.step else []
        beside = " beside the silence" if self.silence else ""
        sentence = (
            f"{count(self.gaps, 'gap')}{beside}, the longest {span(self.gap_longest)}, {span(self.gap_total)} in all: "
            f"{share(self.absent)} of the time"
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
    usual, slow, fast = _usual(unique, steps)
    regular = float(np.mean(np.abs(steps - usual) <= 0.1 * usual)) if len(steps) else 0.0
    late = np.flatnonzero(steps > usual * (_LATE if regular >= 0.5 else _LATE_IRREGULAR))
    silence = _silence(unique, late, zone)
    quiet = {start for start, _ in silence.spans} if silence else set()
    gaps = np.array([i for i in late.tolist() if int(unique[i]) not in quiet], np.int64)
    lengths = np.sort(steps[gaps] - usual[gaps].astype(np.int64))
    awake = int(unique[-1] - unique[0]) - sum(stop - start for start, stop in (silence.spans if silence else ()))
    peaks = np.maximum.accumulate(arrival)
    duplicates, conflicting = _twice(time, values[order])
    longest = gaps[np.argsort(-steps[gaps], kind="stable")][:1000]
    return Sampling(
        readings=len(arrival),
        first=int(unique[0]),
        last=int(unique[-1]),
        step=_typical(unique, usual),
        fastest=fast,
        slowest=slow,
        jitter=_jitter(steps / usual) if len(steps) else 0.0,
        regular=regular,
        gaps=len(gaps),
        gap_total=int(lengths.sum()),
        gap_longest=int(lengths[-1]) if len(lengths) else 0,
        gap_ordinary=int(lengths[int(0.99 * (len(lengths) - 1))]) if len(lengths) else 0,
        absent=min(1.0, float(lengths.sum() / awake)) if awake > 0 else 0.0,
        duplicates=duplicates,
        conflicting=conflicting,
        backward=int(np.count_nonzero(arrival < peaks)),
        delay=int((peaks - arrival).max()),
        silence=silence,
        holes=tuple((int(unique[i]), int(unique[i + 1])) for i in np.sort(longest).tolist()),
    )


def _usual(unique: NDArray[np.int64], steps: NDArray[np.int64]) -> tuple[Array, int, int]:
    """(usual step where each step is, ns; the longest and the shortest usual step of 90 % of the days).

    Usual is the median of the day, or of all steps where a day has few: a device may have been set to another rate.
    """
    if not len(steps):
        return np.empty(0), 0, 0
    day = unique[:-1] // DAY - unique[0] // DAY
    many = np.bincount(day)[day] >= _MANY
    overall = float(np.median(steps))
    usual = np.where(many, medians(steps.astype(np.float64), day)[day], overall)
    days = usual[many & (np.diff(day, prepend=-1) > 0)]
    if len(days) < 3:
        return usual, round(overall), round(overall)
    fast, slow = np.quantile(days, [0.05, 0.95], method="nearest")
    return usual, round(float(slow)), round(float(fast))


def _typical(unique: NDArray[np.int64], usual: Array) -> int:
    """The usual step of most of the *time*, whatever the number of readings in it; 0 of one reading."""
    if not len(usual):
        return 0
    days, place = np.unique(unique[:-1] // DAY, return_index=True)
    return round(float(np.median(usual[place]))) if len(days) >= 3 else round(float(np.median(usual)))


def _jitter(relative: Array) -> float:
    """Half of the range of the middle 80 % of the steps that are no gaps."""
    low, high = np.quantile(relative[relative <= max(_LATE, relative.min())], [0.1, 0.9])
    return float((high - low) / 2)


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
