"""The drift experiment: the real lane over a record whose readings are, from some day on, multiplied by a factor.

Each drifted run is compared with its own undrifted twin, day by day, whose squared errors are multiplied by factor² while
the drift lasts: a plant of 0.6 times the power makes 0.6 times the errors once everything is learnt.

A run goes through the very code that serves a model: readings in, prequential scores out (`GridLane`). Until the drift
begins both runs are one; so the twin is run once, its state kept at the start of each drift, and each drifted run goes on
from there, which gives the same bytes as a run from the beginning because a lane's state is a function of the readings alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from headrace import states
from headrace.errors import BadInput
from headrace.evaluation import work
from headrace.evaluation.periods import Periods
from headrace.models.transformers import TRANSFORMERS
from headrace.models.transformers.resample import standard_offset
from headrace.records import DAY, HOUR, Array, Rows
from headrace.services.learning.lane import LIVE, Effects, GridLane
from headrace.services.learning.plan import Plan

RECOVERED = 1.1
"""A ratio up to this counts as recovered."""
SMOOTH = 3
"""Days over which the ratio is taken when recovery is looked for."""
EARLY, LATE = (2, 3), (7, 13)
"""Days of a drift that are reported. It begins on day 0, whose forecast was made before anything had changed."""
SUMMER = 2 * HOUR
"""A local midnight in summer is this much before the standard one at most."""
BEFORE, AFTER = 30, 14
"""Least days between warm-up and the first start, and most days looked at after a drift's end."""


@dataclass(frozen=True)
class Runner:
    """A contender."""

    name: str
    plan: Plan
    frozen: bool = False
    """Learns nothing from the start of each drift on; until then it is `like`."""
    like: str = ""


@dataclass(frozen=True)
class Field:
    """What every run shares."""

    rows: Rows
    """Readings, oldest first."""
    columns: tuple[str, ...]
    """What drifts: the target, or what it is made of."""
    origin: int
    """Local midnight (standard time) of day 0, ns."""
    days: int
    starts: tuple[int, ...]
    factor: float
    lasting: int

    def end(self, start: int) -> int:
        """First day after a drift."""
        return min(start + self.lasting, self.days)

    def last(self, start: int) -> int:
        """First day after what is looked at."""
        return min(start + self.lasting + AFTER, self.days)

    def blocks(self, first: int, stop: int, drifted: int | None = None) -> Iterator[tuple[int, Rows]]:
        """(day, its readings) of a stretch of days; multiplied while a drift that began on `drifted` lasts."""
        edges = np.searchsorted(self.rows.time, self.origin + DAY * np.arange(self.days + 1, dtype=np.int64))
        for day in range(first, stop):
            rows = self.rows.take(slice(int(edges[day]), int(edges[day + 1])))
            factor = self.factor if drifted is not None and drifted <= day < self.end(drifted) else 1.0
            changed = {
                name: values * factor if name in self.columns else values.copy()
                for name, values in rows.columns.items()
            }
            yield day, Rows(rows.time.copy(), changed)


@dataclass(frozen=True)
class Twin:
    """A run without drift."""

    errors: Array
    """(days,) mean squared error of the forecasts that began on each day, scaled; NaN before the first."""
    checkpoints: dict[int, bytes]
    """State at the start of each drift."""
    seconds: float
    """CPU per scored day."""
    trouble: str = ""


@dataclass(frozen=True)
class Course:
    """A drifted run beside its twin."""

    start: int
    drifted: Array
    """(days from the start on,) …"""
    twin: Array
    """… of the same days without drift, times factor² while it lasts: the error of a model that has learnt all of it."""


@dataclass(frozen=True)
class Outcome:
    """One contender."""

    name: str
    mse: float
    """Undrifted, over all scored days."""
    courses: list[Course]
    seconds: float
    lasting: int
    trouble: str = ""
    early: float = field(init=False)
    late: float = field(init=False)
    after_early: float = field(init=False)
    after_late: float = field(init=False)
    recovered: int | None = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "early", self.ratio(*EARLY))
        put(self, "late", self.ratio(*LATE))
        put(self, "after_early", self.ratio(self.lasting + EARLY[0], self.lasting + EARLY[1]))
        put(self, "after_late", self.ratio(self.lasting + LATE[0], self.lasting + LATE[1]))
        put(self, "recovered", self._recovered())

    def ratio(self, first: int, last: int) -> float:
        """Drifted over undrifted error of days first to last (a drift begins on day 0), summed over all starts whose
        record reaches that far; NaN if none does."""
        pairs = [
            (one.drifted[first : last + 1], one.twin[first : last + 1]) for one in self.courses if len(one.twin) > last
        ]
        if not pairs:
            return float("nan")
        drifted, twin = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        known = np.isfinite(drifted) & np.isfinite(twin)
        below = twin[known].sum()
        return float(drifted[known].sum() / below) if below > 0 else float("nan")

    def curve(self) -> Array:
        """Ratio over the three days that end with each day (fewer at the start), over all starts."""
        longest = max((len(one.twin) for one in self.courses), default=0)
        return np.array([self.ratio(max(0, day - SMOOTH + 1), day) for day in range(longest)])

    def _recovered(self) -> int | None:
        """First day from which on the ratio over three days, ending there, stays at or below 1.1 until the drift ends."""
        days = range(SMOOTH - 1, self.lasting)
        bad = [day for day in days if not self.ratio(day - SMOOTH + 1, day) <= RECOVERED]
        first = (max(bad) + 1) if bad else 0
        return first if first < self.lasting else None


def run(runners: Sequence[Runner], ground: Field, warm: int, jobs: int) -> list[Outcome]:
    """Every contender through every start.

    Args:
        warm: days before the first one that counts for `Outcome.mse`.
    """
    learning = [one for one in runners if not one.frozen]
    twins = work.run([(_twin, (one.plan, ground)) for one in learning], "undrifted runs", jobs)
    known = {one.name: twin for one, twin in zip(learning, twins, strict=True)}
    tasks = [(_course, (one, ground, start, known[one.like or one.name])) for one in runners for start in ground.starts]
    flat = work.run(tasks, "drifted runs", jobs)
    size = len(ground.starts)
    return [
        _outcome(one, flat[index * size : (index + 1) * size], known[one.like or one.name], ground, warm)
        for index, one in enumerate(runners)
    ]


def _outcome(one: Runner, courses: list[Course], twin: Twin, ground: Field, warm: int) -> Outcome:
    errors = twin.errors[warm:]
    errors = errors[np.isfinite(errors)]
    mse = float(errors.mean()) if len(errors) else float("nan")
    return Outcome(one.name, mse, courses, 0.0 if one.frozen else twin.seconds, ground.lasting, twin.trouble)


def _twin(plan: Plan, ground: Field) -> Twin:
    """The whole record without drift, and the states the drifted runs begin with."""
    lane = GridLane(plan, "record")
    errors, checkpoints = np.full(ground.days, np.nan), {}
    warm = -(-plan.spec.learning.initial // DAY)
    began = time.process_time()
    for day, rows in ground.blocks(0, ground.days):
        if day in ground.starts:
            checkpoints[day] = states.pack(lane.state())
        if day == warm + 1:
            began = time.process_time()
        lane.process(rows)
        _collect(lane, errors, ground)
    _end(lane, errors, ground, ground.days)
    seconds = (time.process_time() - began) / max(1, ground.days - warm - 1)
    return Twin(errors, checkpoints, seconds, lane.trouble)


def _course(runner: Runner, ground: Field, start: int, twin: Twin) -> Course:
    last = ground.last(start)
    drifted = _from(runner.plan, ground, start, twin.checkpoints[start], start)[start:last]
    undrifted = _from(runner.plan, ground, start, twin.checkpoints[start], None) if runner.frozen else twin.errors
    expected = undrifted[start:last].copy()
    expected[: ground.end(start) - start] *= ground.factor**2
    return Course(start, drifted, expected)


def _from(plan: Plan, ground: Field, start: int, checkpoint: bytes, drifted: int | None) -> Array:
    """Errors by day of a run that goes on from a state; a day more than is looked at, so that the last is scored."""
    lane = GridLane(plan, "record")
    lane.load(states.unpack(checkpoint))
    errors, stop = np.full(ground.days, np.nan), min(ground.last(start) + 1, ground.days)
    for _, rows in ground.blocks(start, stop, drifted):
        lane.process(rows)
        _collect(lane, errors, ground)
    _end(lane, errors, ground, stop)
    return errors


def _end(lane: GridLane, errors: Array, ground: Field, stop: int) -> None:
    """Close the windows of the last day."""
    lane.tick(ground.origin + stop * DAY + DAY // 4)
    _collect(lane, errors, ground)


def _collect(lane: GridLane, errors: Array, ground: Field) -> None:
    """Take over the scores of the learning model, by the day their forecast began on; what else the lane did is dropped."""
    squared: dict[int, list[float]] = {}
    for score in lane.effects.scores:
        if score.contender == LIVE and score.n:
            day = (score.origin + SUMMER - ground.origin) // DAY
            total = squared.setdefault(int(day), [0.0, 0.0])
            total[0] += score.squared
            total[1] += score.n
    for day, (total_squared, n) in squared.items():
        if 0 <= day < ground.days:
            errors[day] = total_squared / n
    lane.effects = Effects()


def field_of(readings: Rows, plan: Plan, periods: Periods) -> tuple[Field, int]:
    """(what the runs share, warm-up days) for a record. Raises BadInput if it is too short."""
    drift, offset = periods.drift, standard_offset(plan.context.timezone)
    if periods.first is not None:
        origin = (periods.first - date(1970, 1, 1)).days * DAY - offset
    else:
        origin = -(-(int(readings.time[0]) + offset) // DAY) * DAY - offset
    days = int(readings.time[-1] - origin + plan.context.every) // DAY
    days = days if periods.days is None else min(days, periods.days)
    warm = -(-max(drift.warm_up, plan.spec.learning.initial) // DAY)
    first = drift.first if drift.first is not None else warm + BEFORE
    starts = [first + index * drift.every for index in range(drift.count)]
    starts = [start for start in starts if start + LATE[1] < days]
    if not starts:
        needs = (
            f"{first + LATE[1] + 1} whole days ({warm} of warm-up, {first - warm} undrifted, {LATE[1] + 1} of drift)"
        )
        raise BadInput(detail=f"the drift experiment takes at least {needs}, the record has {days}")
    columns = _columns(readings, plan)
    return Field(readings, columns, origin, days, tuple(starts), drift.factor, drift.lasting), warm


def _columns(readings: Rows, plan: Plan) -> tuple[str, ...]:
    """The columns that are multiplied. Raises BadInput if the target is made of something unknown."""
    target = plan.context.target
    if target in readings.columns:
        return (target,)
    for plug in plan.base:
        if plug.name == "three_phase_power":
            return tuple(TRANSFORMERS.params(plug.name, plug.params).current)
    seen = ", ".join(readings.columns)
    raise BadInput(detail=f"the record has no column {target!r} to drift, only {seen}")
