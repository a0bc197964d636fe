"""Who takes part: simple forecasts, ridge, RLS, boosted trees, the chapter's network, and the user's own spec.

A contender is anything that forecasts a part (`Contender`); a model that was trained elsewhere would be one more class
here, whose `forecasts` trains nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Forecasts:
    """What a contender foresaw of one part, in the target's own unit; NaN where it could not."""

    predictions: Array
    """(seeds, m, horizon), one row for each origin of `Part.validation`."""
    rehearsed: NDArray[np.intp]
    """Origins inside the training days …"""
    rehearsals: Array
    """… and (r, horizon) forecasts of them by a model that knew nothing from there on: what an interval learns from."""
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
    """(rows,) whether all of it is known."""
    inverse: Callable[[Array], Array]
    """Model values in the target's unit."""


@dataclass(frozen=True)
class Trained:
    """A backend that is fitted to the training days, once per seed."""

    name: str
    plan: Plan
    seeds: tuple[int, ...] = (0,)

    def forecasts(self, part: Part) -> Forecasts:
        split, origins = part.split, part.validation()
        early = rehearsal_split(part)
        began = time.process_time()
        try:
            made = [self._trained(part, split, origins, seed) for seed in self.seeds]
            seconds = (time.process_time() - began) / len(self.seeds)
            inner = np.arange(early, split - part.horizon + 1)
            rehearsals = self._trained(part, early, inner, self.seeds[0])
        except Exception as error:  # whatever a user's step or module raises: this contender has no forecasts here
            nothing = np.full((len(self.seeds), len(origins), part.horizon), np.nan)
            kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
            return Forecasts(nothing, origins[:0], nothing[0, :0], 0.0, f"{kind}{error}")
        return Forecasts(np.stack(made), inner, rehearsals, seconds)

    def _trained(self, part: Part, split: int, origins: NDArray[np.intp], seed: int) -> Array:
        """(m, horizon) forecasts at `origins` by a model fitted to what is before `split`."""
        fitted = self.fit(part, split, seed)
        result = np.full((len(origins), part.horizon), np.nan)
        askable = fitted.usable[origins - 1]
        if askable.any():
            asked = fitted.inputs[origins[askable] - 1]
            result[askable] = fitted.inverse(fitted.contender.backend.predict(asked))
        return result

    def fit(self, part: Part, split: int, seed: int) -> Fitted:
        """The backend, fitted to what is before `split`. Raises LearningError, and whatever a user's code raises."""
        plan = self.plan
        scaling, rows = scaled(plan, part, split)
        plan = Plan(plan.spec.model_copy(update={"seed": seed}), plan.folder)
        made = make_contender(plan, plan.spec.backend, plan.features)
        inputs = made.inputs(rows)
        known = np.where(part.rows.columns["masked"], np.nan, column(rows, part.target))
        usable = np.asarray(np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1))
        chosen = examples(plan, part, split)
        chosen = chosen[usable[chosen - 1]]
        targets = known[chosen[:, None] + np.arange(part.horizon)]
        if not np.isfinite(targets).any():
            raise LearningError(detail="no complete example in the training days: the features look back too far")
        made.backend.fit(np.ascontiguousarray(inputs[chosen - 1]), targets)
        return Fitted(made, inputs, usable, scaling.inverse)


def scaled(plan: Plan, part: Part, split: int) -> tuple[Pipeline, Rows]:
    """The steps from `scale` on, its statistics taken of the rows before `split`, and all rows of the part through them."""
    initial = split * part.every
    steps = build(plan.base[scale_at(plan) :], replace(plan.context, initial=initial))
    plain = Rows(part.rows.time, dict(part.rows.columns))
    return steps, steps.apply(plain) if steps.steps else plain


def examples(plan: Plan, part: Part, split: int) -> NDArray[np.intp]:
    """Origins (index of the first target) whose targets all lie before `split`, as the spec's policy has them.

    A baseline learns every target once, as in a lane.
    """
    last = split - part.horizon
    if plan.spec.backend.name in YARDSTICKS:
        return np.arange(last, 0, -part.horizon)[::-1].copy()
    if plan.spec.learning.examples == "steps":
        return np.arange(1, last + 1)
    due = scheduled(plan, len(part.rows))
    return due[due <= last]


def scheduled(plan: Plan, n: int) -> NDArray[np.intp]:
    """Origins on the spec's schedule, counted from the part's start, which is a local midnight."""
    schedule, every = plan.spec.forecast, plan.context.every
    step = max(1, schedule.every // every)
    return np.arange(1 + schedule.at // every % step, n, step)


def rehearsal_split(part: Part) -> int:
    """Where the rehearsal's training ends: as many steps before the split as there are validation steps, a third at most."""
    return part.split - min(len(part.rows) - part.split, (part.split - 1) // 3)


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
    """The user's spec as it is."""
    random = bool(BACKENDS.find(plan.spec.backend.name).heavy)
    return Trained(plan.spec.name, plan, periods.seeds if random else (plan.spec.seed,))
