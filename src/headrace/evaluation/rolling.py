"""The rolling evaluation: every contender on every period, trained anew each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.evaluation import measures, normality, work
from headrace.evaluation.contenders import Contender, Forecasts, scheduled
from headrace.evaluation.measures import Band, Measured
from headrace.evaluation.parts import Part
from headrace.records import Array
from headrace.services.learning.plan import Plan


@dataclass(frozen=True)
class Run:
    """One contender on one part."""

    forecasts: Forecasts
    low: Array
    high: Array
    """(m, horizon) bounds, own unit, NaN where there is no band."""


@dataclass(frozen=True)
class Result:
    """One contender on all parts."""

    name: str
    runs: list[Run]
    measured: list[Measured]
    bands: list[Band]
    normality: Any

    @property
    def mse(self) -> Array:
        """(parts,) scaled errors, mean over the seeds."""
        return np.array([float(np.mean(one.mse)) for one in self.measured])

    @property
    def seconds(self) -> float:
        """CPU of one training, mean over the parts."""
        return float(np.mean([run.forecasts.seconds for run in self.runs]))

    @property
    def failures(self) -> list[tuple[int, str]]:
        """(part, why) of the parts without a forecast."""
        return [(index, run.forecasts.failed) for index, run in enumerate(self.runs) if run.forecasts.failed]


def evaluate(contenders: Sequence[Contender], parts: Sequence[Part], plan: Plan, jobs: int) -> list[Result]:
    """Every contender on every part; the interval is the plan's.

    All contenders are scored on the same origins of a part: those at which each one that forecasts at least half of what
    can be forecast fairly has a forecast.
    """
    tasks = [(_run, (one, part, plan)) for part in parts for one in contenders]
    flat = work.run(tasks, "periods x contenders", jobs)
    runs = [flat[index :: len(contenders)] for index in range(len(contenders))]
    common = [_common([mine[index] for mine in runs], part) for index, part in enumerate(parts)]
    return [_result(one.name, mine, parts, common, plan) for one, mine in zip(contenders, runs, strict=True)]


def _run(contender: Contender, part: Part, plan: Plan) -> Run:
    made = contender.forecasts(part)
    if made.failed:
        nothing = np.full(made.predictions.shape[1:], np.nan)
        return Run(made, nothing, nothing)
    return Run(made, *measures.bands(part, made, plan.interval(), scheduled(plan, len(part.rows))))


def _common(runs: Sequence[Run], part: Part) -> NDArray[np.bool_]:
    """(m,) the origins at which all can be compared."""
    made = [np.asarray(np.isfinite(run.forecasts.predictions).all(axis=(0, 2))) for run in runs]
    fair = part.fair[part.validation() - 1]
    able = [one for one in made if 2 * one.sum() >= fair.sum() > 0]
    return np.all(able, axis=0) if able else np.zeros(len(made[0]), np.bool_)


def _result(
    name: str, runs: Sequence[Run], parts: Sequence[Part], common: Sequence[NDArray[np.bool_]], plan: Plan
) -> Result:
    pairs = list(zip(runs, parts, common, strict=True))
    return Result(
        name,
        list(runs),
        [measures.measure(part, run.forecasts, shared) for run, part, shared in pairs],
        [measures.covered(part, run.low, run.high) for run, part, _ in pairs],
        normality.table(np.concatenate([_residuals(run, part, plan) for run, part, _ in pairs])),
    )


def _residuals(run: Run, part: Part, plan: Plan) -> Array:
    """Scaled residuals of the forecasts the spec's schedule would have issued: each target once a day."""
    due = np.isin(part.validation(), scheduled(plan, len(part.rows)))
    off: Array = (part.targets(part.validation()[due]) - run.forecasts.predictions[0][due]) / part.span
    return off[np.isfinite(off)]
