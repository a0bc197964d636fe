"""What is measured of forecasts: errors scaled and in the target's unit, active hours apart, interval coverage and width."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.evaluation.contenders import Forecasts
from headrace.evaluation.parts import Part
from headrace.models.intervals import Interval
from headrace.records import Array
from headrace.services.learning.lane import ACTIVE

GOOD = 0.009
"""The scaled error the chapter reports for its network."""


@dataclass(frozen=True)
class Measured:
    """One contender on one part. Sums are left to `overall`; everything is NaN where there was no forecast."""

    n: int
    """Targets scored."""
    mse: tuple[float, ...]
    """Scaled, per seed."""
    mae: float
    """In the target's unit, mean of the seeds."""
    active: int
    """Targets above 2 % of the scale (daylight, for PV)."""
    active_mse: float
    """Scaled, of those."""


@dataclass(frozen=True)
class Band:
    """How an interval did on one part."""

    n: int = 0
    covered: int = 0
    width: float = 0.0
    """Sum, in the target's unit."""
    active: int = 0
    active_covered: int = 0
    active_width: float = 0.0


def measure(part: Part, made: Forecasts, common: NDArray[np.bool_]) -> Measured:
    """Errors at the origins marked in `common`, (m,)."""
    truth = part.targets(part.validation())[common]
    known = np.isfinite(truth)
    active = known & (part.scaled(truth) > ACTIVE)
    off = made.predictions[:, common] - truth
    squares = (off / part.span) ** 2
    return Measured(
        n=int(known.sum()),
        mse=tuple(_mean(one[known]) for one in squares),
        mae=float(np.mean([_mean(np.abs(one[known])) for one in off])),
        active=int(active.sum()),
        active_mse=float(np.mean([_mean(one[active]) for one in squares])),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def bands(part: Part, made: Forecasts, learner: Interval, due: NDArray[np.intp]) -> tuple[Array, Array]:
    """(m, horizon) lower and upper bounds of the first seed's forecasts, NaN where none is due or the interval is silent.

    The (fresh) interval sees what it would see in a lane: the forecasts on the spec's schedule. It learns from the
    rehearsals first; then, at each validation origin, from the forecasts whose last target has happened by then, and from
    no others.

    Args:
        due: origins on the schedule.
    """
    origins, predictions = part.validation(), made.predictions[0]
    for index in np.flatnonzero(np.isin(made.rehearsed, due)).tolist():
        _update(learner, part, int(made.rehearsed[index]), made.rehearsals[index])
    low, high = np.full(predictions.shape, np.nan), np.full(predictions.shape, np.nan)
    waiting: deque[int] = deque()
    for index in np.flatnonzero(np.isin(origins, due)).tolist():
        while waiting and origins[waiting[0]] + part.horizon <= origins[index]:
            past = waiting.popleft()
            _update(learner, part, int(origins[past]), predictions[past])
        waiting.append(index)
        if np.isfinite(predictions[index]).all():
            band = learner.cover(predictions[index], part.times(int(origins[index])))
            if band is not None:
                low[index], high[index] = band
    return low, high


def _update(learner: Interval, part: Part, origin: int, forecast: Array) -> None:
    if np.isfinite(forecast).all():
        learner.update(forecast, part.targets(np.array([origin]))[0], part.times(origin))


def covered(part: Part, low: Array, high: Array) -> Band:
    """How often the truth was inside, and how wide the band."""
    truth = part.targets(part.validation())
    known = np.isfinite(truth) & np.isfinite(low)
    active = known & (part.scaled(truth) > ACTIVE)
    inside, width = (truth >= low) & (truth <= high), high - low
    return Band(
        int(known.sum()),
        int((inside & known).sum()),
        float(width[known].sum()),
        int(active.sum()),
        int((inside & active).sum()),
        float(width[active].sum()),
    )


def share(part_of: float, whole: float) -> float | None:
    """A ratio, None of nothing."""
    return part_of / whole if whole else None


def total(found: list[Band]) -> dict[str, Any]:
    """Coverage and mean width over all parts, all hours and active ones."""
    n, active = sum(one.n for one in found), sum(one.active for one in found)
    return {
        "coverage": share(sum(one.covered for one in found), n),
        "width": share(sum(one.width for one in found), n),
        "active_coverage": share(sum(one.active_covered for one in found), active),
        "active_width": share(sum(one.active_width for one in found), active),
    }
