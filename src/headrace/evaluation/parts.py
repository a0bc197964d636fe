"""From readings to periods: the grid once over the whole record, as a lane would see it, then one part per period.

Nothing of a part is from before its start, its scale is that of its training days, no training target is after the split
and no validation target before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput, HeadraceError
from headrace.evaluation.data import Source
from headrace.evaluation.periods import Periods
from headrace.models.transformers import TRANSFORMERS
from headrace.models.transformers.blocks import ahead, column, join
from headrace.models.transformers.pipeline import build
from headrace.models.transformers.resample import standard_offset
from headrace.records import DAY, HOUR, Array, Rows
from headrace.services.learning.learner import bound, user_line
from headrace.services.learning.plan import Plan
from headrace.spec import Plug

KNOWN = 0.5
"""Least share of known targets in the training and in the validation days of a period that is used."""


@dataclass(frozen=True, eq=False)
class Part:
    """One period of one series. Row 0 is the step before it, blank: the first origin is the period's start."""

    label: str
    """Local date of the start, with the device if there are several."""
    key: str
    rows: Rows
    """On the grid, without holes, not yet scaled; ``masked`` where nothing was measured, ``ahead`` where a later reading was
    used."""
    target: str
    every: int
    horizon: int
    split: int
    """Index of the first row of the validation days."""
    low: float
    span: float
    """Least value of the training days, and the distance to their greatest (1 if they are constant)."""
    constant: bool

    @property
    def known(self) -> tuple[float, float]:
        """Shares of the training and of the validation targets that were measured."""
        there = np.isfinite(self.truth)
        return float(there[1 : self.split].mean()), float(there[self.split :].mean())

    @property
    def truth(self) -> Array:
        """(n,) targets in their own unit, NaN where unknown."""
        return np.where(self.rows.columns["masked"], np.nan, column(self.rows, self.target))

    def scaled(self, values: Array) -> Array:
        """Own unit to the training days' 0..1."""
        result: Array = (values - self.low) / self.span
        return result

    def targets(self, origins: NDArray[np.intp]) -> Array:
        """(m, horizon) what happened after each origin (the index of its first target), own unit."""
        result: Array = self.truth[origins[:, None] + np.arange(self.horizon)]
        return result

    def times(self, origin: int) -> NDArray[np.int64]:
        """(horizon,) times of an origin's targets."""
        found: NDArray[np.int64] = self.rows.time[origin : origin + self.horizon]
        return found

    @property
    def fair(self) -> NDArray[np.bool_]:
        """(n,) whether a forecast made right after a row knows nothing of what comes after it: see `resample`."""
        return ~ahead(self.rows)

    def validation(self) -> NDArray[np.intp]:
        """Every origin whose targets all lie in the validation days."""
        return np.arange(self.split, len(self.rows) - self.horizon + 1)


def grid(plan: Plan, readings: Rows) -> Rows:
    """All windows of a record, by the plan's steps before `scale`."""
    target = plan.context.target
    if not len(readings):
        raise BadInput(detail="the series holds no readings")
    rows = Rows(readings.time, {name: values.copy() for name, values in readings.columns.items()})
    bound(rows, plan.spec.input.valid)
    steps = build(before_scale(plan), plan.context)
    try:
        made = join([steps.apply(rows), steps.tick(int(rows.time[-1]) + _patience(plan))])
    except HeadraceError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's own step raises
        where = user_line(error, plan.folder)
        raise BadInput(detail=f"a step of the spec failed: {where}{type(error).__name__}: {error}") from error
    made = made.take(made.time <= rows.time[-1]) if len(made) else made
    if not len(made) or not np.isfinite(column(made, target)).any():
        seen = ", ".join(sorted(readings.columns))
        raise BadInput(detail=f"no reading leads to a value of {target!r}: the columns of numbers are {seen}")
    return made


def before_scale(plan: Plan) -> list[Plug]:
    """The steps up to `scale`."""
    return plan.base[: scale_at(plan)]


def scale_at(plan: Plan) -> int:
    """Where `scale` stands among the steps before the features, or would stand."""
    return next((index for index, plug in enumerate(plan.base) if plug.name == "scale"), len(plan.base))


def _patience(plan: Plan) -> int:
    """ns after which the last windows have closed, gaps at the end decided."""
    (plug,) = (plug for plug in plan.base if plug.name == "resample")
    params = TRANSFORMERS.params(plug.name, plug.params)
    return int(params.lateness + params.up_to + 2 * plan.context.every)


def cut(plan: Plan, source: Source, periods: Periods, notes: list[str]) -> list[Part]:
    """Every part of every series that can be used; why others cannot is added to `notes`.

    Raises:
        BadInput: no part is left; the message has the reasons.
    """
    every = plan.context.every
    for name, length in (("train", periods.train), ("validation", periods.validation), ("every", periods.step)):
        if length % every:
            raise BadInput(detail=f"{name} of {_days(length)} days is no multiple of the grid step, {every / HOUR:g} h")
    if periods.validation < plan.context.horizon * every:
        raise BadInput(detail=f"validation days are shorter than the horizon of {plan.context.horizon} steps")
    parts, reasons = [], []
    for key, readings in source.series.items():
        where = f"{key}: " if len(source.series) > 1 else ""
        try:
            found, said = _of_one(plan, key if where else "", readings, periods)
        except BadInput as error:
            found, said = [], [str(error).rstrip(".")]
        parts += found
        reasons += [where + one for one in said]
    if not parts:
        raise BadInput(detail=f"nothing to evaluate in {source.name}: {'; '.join(reasons[:5])}")
    notes += _brief(reasons + _unfair(parts))
    return parts


def _unfair(parts: list[Part]) -> list[str]:
    """What to say of validation origins at which nothing is scored."""
    fair = np.concatenate([part.fair[part.validation() - 1] for part in parts])
    if fair.all():
        return []
    return [
        f"left out: {int((~fair).sum()):,} of {len(fair):,} origins of validation days, and such of training days, for they lie "
        "in a gap that was interpolated: what ends it comes after them"
    ]


def _of_one(plan: Plan, key: str, readings: Rows, periods: Periods) -> tuple[list[Part], list[str]]:
    rows = grid(plan, readings)
    starts, notes = list(_starts(plan, rows, periods, _midnight(plan, rows, periods))), []
    if not starts and periods.first is None:
        starts = list(_starts(plan, rows, periods, int(rows.time[0])))
        notes = [_from_the_first(plan, rows, periods)] if starts else []
    if not starts:
        raise BadInput(detail=_short(plan, readings, rows, periods))
    parts = [_part(plan, key, rows, start, periods) for start in starts]
    usable = [part for part in parts if min(part.known) >= KNOWN]
    if not usable:
        train, after = (max(part.known[index] for part in parts) for index in (0, 1))
        raise BadInput(
            detail=f"in none of its {len(parts)} periods at least {KNOWN:.0%} of the training and of the validation hours are "
            f"known; at best {train:.0%} and {after:.0%}"
        )
    flat = [part for part in usable if part.constant]
    return usable, notes + _told([part for part in parts if part not in usable], flat)


def _short(plan: Plan, readings: Rows, rows: Rows, periods: Periods) -> str:
    """Why a series has no period."""
    days = ((int(rows.time[-1]) - int(rows.time[0])) + plan.context.every) / DAY
    first, last = (_written(time, plan) for time in (int(rows.time[0]), int(rows.time[-1]) + plan.context.every))
    return (
        f"a period takes {_days(periods.train + periods.validation)} whole days ({plan.context.timezone}), the series has "
        f"{len(readings):,} readings over {days:.1f} days, {first} to {last} (shorten --train and --validate)"
    )


def _from_the_first(plan: Plan, rows: Rows, periods: Periods) -> str:
    """What to say of a series that is long enough, but not from one midnight on."""
    return (
        f"its days begin at {_written(int(rows.time[0]), plan)[-5:]} {plan.context.timezone}, with its first reading: counted "
        f"from midnight, it has no {_days(periods.train + periods.validation)} whole days (a spec's `timezone` says whose "
        "midnight)"
    )


def _written(time: int, plan: Plan) -> str:
    """Local standard time, to the minute."""
    local = np.datetime64(time + standard_offset(plan.context.timezone), "ns").astype("datetime64[m]")
    return str(local).replace("T", " ")


def _told(left: list[Part], constant: list[Part]) -> list[str]:
    """What to say of periods that are not there and of those that are flat."""
    notes = []
    if left:
        why = f"less than {KNOWN:.0%} of their training or validation hours are known"
        notes.append(f"left out, for {why}: {len(left)} periods, {_listed(left)}")
    if constant:
        notes.append(f"constant in the training days, so that errors are not scaled: the periods {_listed(constant)}")
    return notes


def _listed(parts: list[Part], most: int = 6) -> str:
    more = f" and {len(parts) - most:,} more" if len(parts) > most else ""
    return ", ".join(part.label for part in parts[:most]) + more


def _midnight(plan: Plan, rows: Rows, periods: Periods) -> int:
    """The local midnight (standard time) at which the first period begins."""
    offset, begin = standard_offset(plan.context.timezone), int(rows.time[0])
    if periods.first is not None:
        return (periods.first - date(1970, 1, 1)).days * DAY - offset
    return -(-(begin + offset) // DAY) * DAY - offset


def _starts(plan: Plan, rows: Rows, periods: Periods, start: int) -> Iterator[int]:
    """That time, and the same time of later days, with room for a whole period."""
    every = plan.context.every
    start += (int(rows.time[0]) - start) % every
    end = int(rows.time[-1]) + every
    if periods.days is not None:
        end = min(end, start + periods.days * DAY)
    made = 0
    while start + periods.train + periods.validation <= end and (periods.count is None or made < periods.count):
        yield start
        made, start = made + 1, start + periods.step


def _part(plan: Plan, key: str, rows: Rows, start: int, periods: Periods) -> Part:
    every, target = plan.context.every, plan.context.target
    before = periods.train // every
    n = 1 + before + periods.validation // every
    time = start - every + every * np.arange(n, dtype=np.int64)
    place = (rows.time - time[0]) // every
    inside = (place >= 1) & (place < n)
    columns = {name: _placed(values[inside], place[inside], n) for name, values in rows.columns.items()}
    masked = columns["masked"]
    if "ahead" in columns:
        columns["ahead"] &= np.isin(np.arange(n), place[inside])  # what is not there was not filled in
    columns["masked"] = np.where(np.isnan(columns[target].astype(np.float64)), True, masked).astype(bool)
    values = np.where(columns["masked"], np.nan, columns[target].astype(np.float64))[1 : 1 + before]
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    day = str(np.datetime64(start + standard_offset(plan.context.timezone), "ns").astype("datetime64[D]"))
    return Part(
        label=f"{key} {day}" if key else day,
        key=key,
        rows=Rows(time, columns),
        target=target,
        every=every,
        horizon=plan.context.horizon,
        split=1 + before,
        low=low,
        span=high - low if high > low else 1.0,
        constant=not high > low,
    )


def _placed(values: NDArray[Any], place: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Values at their places, what is missing elsewhere: masked, or NaN."""
    whole = np.full(n, True) if values.dtype.kind == "b" else np.full(n, np.nan)
    whole[place] = values
    return whole


def _days(length: int) -> str:
    return f"{length / DAY:g}"


def _brief(reasons: list[str], most: int = 20) -> list[str]:
    """A few reasons, and how many more there are."""
    more = [f"and {len(reasons) - most:,} more like these"] if len(reasons) > most else []
    return reasons[:most] + more
