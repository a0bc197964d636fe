"""Who takes part: simple forecasts, ridge, RLS, boosted trees, the chapter's network, and the user's own spec.

A contender is anything that forecasts a part (`Contender`); a model that was trained elsewhere would be one more class
here, whose `forecasts` trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.errors import HeadraceError, LearningError
from headrace.evaluation.parts import Part, scale_at
from headrace.evaluation.periods import Periods
from headrace.models.backends import BACKENDS
from headrace.models.transformers.blocks import column
from headrace.models.transformers.pipeline import Pipeline, build
from headrace.records import Array, Rows
from headrace.services.learning.plan import YARDSTICKS, Plan, default_features, make_contender
from headrace.services.learning.plan import Contender as PlanContender
from headrace.spec import OnlineModel, Plug

FOLDS = 4
"""Blocks of the training days, each forecast by a model that was fitted to the others."""


@dataclass(frozen=True)
class Forecasts:
    """What a contender foresaw of one part, in the target's own unit; NaN where it could not."""

    predictions: Array
    """(seeds, m, horizon), one row for each origin of `Part.validation`."""
    rehearsed: NDArray[np.intp]
    """Origins inside the training days, in order …"""
    rehearsals: Array
    """… and (r, horizon) forecasts by models that were fitted without the targets of those days: what an interval learns from
    (cross-conformal: Vovk 2015; Barber et al., Predictive inference with the jackknife+, 2021)."""
    seconds: float
    """CPU of the trainings, per seed."""
    failed: str = ""
    """Why there are none."""


class Contender(Protocol):
    """One that forecasts."""

    @property
    def name(self) -> str:
        """For tables; unique."""
        ...

    def forecasts(self, part: Part) -> Forecasts:
        """Train on the part's training days and forecast each of its validation origins."""
        ...


@dataclass(frozen=True)
class Fitted:
    """A fitted backend with its inputs."""

    contender: PlanContender
    inputs: Array
    """(rows, *shape.input): row i holds what is known at origin i + 1."""
    usable: NDArray[np.bool_]
    """(rows,) whether all of it is known then, and nothing of later."""
    inverse: Callable[[Array], Array]
    """Model values in the target's unit."""


@dataclass(frozen=True)
class Trained:
    """A backend that is fitted to the training days, once per seed."""

    name: str
    plan: Plan
    seeds: tuple[int, ...] = (0,)

    def forecasts(self, part: Part) -> Forecasts:
        origins = part.validation()
        began = time.process_time()
        try:
            made = [self._asked(part, origins, seed) for seed in self.seeds]
            seconds = (time.process_time() - began) / len(self.seeds)
            parted = [self._rehearsed(part, *block) for block in blocks(part)]
        except (
            Exception,
            SystemExit,
        ) as error:  # whatever a user's step or module raises: this contender has no forecasts here
            nothing = np.full((len(self.seeds), len(origins), part.horizon), np.nan)
            kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
            return Forecasts(nothing, origins[:0], nothing[0, :0], 0.0, f"{kind}{error}")
        rehearsed, rehearsals = (np.concatenate(parts) for parts in zip(*parted, strict=True))
        return Forecasts(np.stack(made), rehearsed, rehearsals, seconds)

    def _rehearsed(self, part: Part, first: int, stop: int) -> tuple[NDArray[np.intp], Array]:
        """(origins, forecasts) inside a block of training days, by a model that was fitted to the others."""
        origins = np.arange(first, stop - part.horizon + 1)
        return origins, self._asked(part, origins, self.seeds[0], (first, stop))

    def _asked(self, part: Part, origins: NDArray[np.intp], seed: int, without: tuple[int, int] | None = None) -> Array:
        """(m, horizon) forecasts at `origins`, NaN where not all inputs are known."""
        fitted = self.fit(part, seed, without)
        result = np.full((len(origins), part.horizon), np.nan)
        askable = fitted.usable[origins - 1]
        if askable.any():
            asked = fitted.inputs[origins[askable] - 1]
            result[askable] = fitted.inverse(fitted.contender.backend.predict(asked))
        return result

    def fit(self, part: Part, seed: int, without: tuple[int, int] | None = None) -> Fitted:
        """The backend, fitted to the training days, perhaps without the targets in some rows of them.

        Raises LearningError, and whatever a user's code raises.
        """
        plan = self.plan
        scaling, rows = scaled(plan, part)
        plan = Plan(plan.spec.model_copy(update={"seed": seed}), plan.folder)
        made = make_contender(plan, plan.spec.backend, plan.features)
        inputs = made.inputs(rows)
        known = np.where(part.rows.columns["masked"], np.nan, column(rows, part.target))
        complete = np.asarray(np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))
        usable = complete & part.fair
        chosen = examples(plan, part, without)
        plain = plan.spec.backend.name in YARDSTICKS  # they learn from targets alone, and these were measured
        chosen = chosen[(complete if plain else usable)[chosen - 1]]
        targets = known[chosen[:, None] + np.arange(part.horizon)]
        if not np.isfinite(targets).any():
            why = "the features look back too far" if part.fair.all() else "most lie in gaps that were interpolated"
            raise LearningError(detail=f"no complete example in the training days: {why}")
        made.backend.fit(np.ascontiguousarray(inputs[chosen - 1]), targets)
        return Fitted(made, inputs, usable, scaling.inverse)


def scaled(plan: Plan, part: Part) -> tuple[Pipeline, Rows]:
    """The steps from `scale` on, its statistics taken of the training days, and all rows of the part through them."""
    steps = build(plan.base[scale_at(plan) :], replace(plan.context, initial=part.split * part.every))
    plain = Rows(part.rows.time, dict(part.rows.columns))
    return steps, steps.apply(plain) if steps.steps else plain


def examples(plan: Plan, part: Part, without: tuple[int, int] | None = None) -> NDArray[np.intp]:
    """Origins (index of the first target) whose targets all lie before the split, as the spec's policy has them.

    A baseline learns every target once, as in a lane.

    Args:
        without: rows [first, stop) of which no target may be.
    """
    last = part.split - part.horizon
    if plan.spec.backend.name in YARDSTICKS:
        found = np.arange(last, 0, -part.horizon)[::-1].copy()
    elif plan.spec.learning.examples == "steps":
        found = np.arange(1, last + 1)
    else:
        due = scheduled(plan, len(part.rows))
        found = due[due <= last]
    if without is None:
        return found
    first, stop = without
    return found[(found + part.horizon <= first) | (found >= stop)]


def scheduled(plan: Plan, n: int) -> NDArray[np.intp]:
    """Origins on the spec's schedule, counted from the part's start, which is a local midnight."""
    schedule, every = plan.spec.forecast, plan.context.every
    step = max(1, schedule.every // every)
    return np.arange(1 + schedule.at // every % step, n, step)


def blocks(part: Part) -> list[tuple[int, int]]:
    """[first, stop) rows of the training days in blocks as long as the validation days, four at most and two at least."""
    count = min(FOLDS, max(2, (part.split - 1) // (len(part.rows) - part.split)))
    edges = np.linspace(1, part.split, count + 1).round().astype(int).tolist()
    return list(pairwise(edges))


def standard(plan: Plan, periods: Periods, floor: float | None) -> list[Trained]:
    """The contenders every spec is shown beside, on the plan's grid; their scale is minmax."""
    found = [_standard(plan, name, {}, None, "forecasts", (0,)) for name in YARDSTICKS]
    window = {"window": {"history": periods.history}}
    clip = {"floor": floor}
    found.append(_standard(plan, "ridge", clip, [window, {"calendar": {"features": ["hour"]}}], "steps", (0,)))
    found.append(_standard(plan, "rls", clip, None, "steps", (0,)))
    found.append(
        _standard(plan, "hist-gb", clip, [window, {"calendar": {"features": ["slot"]}}], "steps", periods.seeds[:1])
    )
    found.append(_standard(plan, "torch", clip, [window], "steps", periods.seeds, "gru"))
    return found


def _standard(
    plan: Plan,
    backend: str,
    params: dict[str, Any],
    features: Sequence[dict[str, Any]] | None,
    examples_: str,
    seeds: tuple[int, ...],
    name: str = "",
) -> Trained:
    season = max(1, 24 * 3_600_000_000_000 // plan.context.every)
    steps = [Plug.model_validate(one) for one in features] if features else default_features(backend, season)
    base = [*plan.base[: scale_at(plan)], Plug(name="scale"), *_after(plan)]
    learning = plan.spec.learning.model_copy(update={"examples": examples_})
    changed = {"backend": Plug(name=backend, params=params), "transform": [*base, *steps], "learning": learning}
    spec: OnlineModel = plan.spec.model_copy(update=changed)
    return Trained(name or backend, Plan(spec, plan.folder), seeds)


def _after(plan: Plan) -> list[Plug]:
    return [plug for plug in plan.base[scale_at(plan) + 1 :] if plug.name != "scale"]


def own(plan: Plan, periods: Periods) -> Trained:
    """The user's spec as it is; a heavy backend once for each of the periods' seeds, counted from its own."""
    random = bool(BACKENDS.find(plan.spec.backend.name).heavy)
    seeds = tuple(plan.spec.seed + seed for seed in periods.seeds) if random else (plan.spec.seed,)
    return Trained(plan.spec.name, plan, seeds)
