"""Which spec is evaluated: the user's, or one that suits the data."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from headrace import spec as specs
from headrace.errors import BadInput, BadSpec
from headrace.evaluation.data import Source
from headrace.evaluation.periods import Periods
from headrace.models.intervals import INTERVALS
from headrace.services.learning.plan import Plan, check


@dataclass(frozen=True)
class Chosen:
    """What takes part beside the standard contenders, and whose grid all share."""

    plan: Plan
    """The first spec: target, steps, schedule, interval."""
    own: list[Plan]
    """Every spec of the user's file."""
    floor: float | None
    """Below this, in scaled units, the standard contenders forecast nothing; the first spec's."""


def of_file(path: Path) -> Chosen:
    """The specs of a user's file. Raises BadInput, BadSpec."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(detail=f"{path} cannot be read as text: {error}") from error
    documents = specs.parse(text, str(path))
    folder = str(path.parent)
    problems = [problem for document in documents for problem in check(document, folder)]
    if problems:
        raise BadSpec(problems)
    plans = [Plan(document.spec, folder) for document in documents]
    for plan in plans:
        if plan.spec.parent:
            raise BadInput(
                detail=f"{plan.spec.name} starts from {plan.spec.parent}, and a comparison starts every model from nothing: "
                "take `parent` out of this file, or apply it as a `shadow` of a model without"
            )
        if not plan.grid:
            raise BadInput(detail=f"{plan.spec.name} has no `resample` step: only forecasts on a grid can be evaluated")
        if _grid(plan) != _grid(plans[0]):
            names = f"{plans[0].spec.name} and {plan.spec.name}"
            raise BadInput(
                detail=f"{names} differ in target, time zone, horizon or grid step and cannot be compared; give them files of "
                "their own"
            )
    return Chosen(plans[0], plans, _floor(plans[0]))


def _grid(plan: Plan) -> tuple[object, ...]:
    context = plan.context
    return context.target, context.timezone, context.horizon, context.every


def _floor(plan: Plan) -> float | None:
    floor = plan.spec.backend.params.get("floor")
    return None if floor is None else float(floor)


def of_record() -> Chosen:
    """The shipped record: transform, schedule and interval of the shipped spec."""
    text = files("headrace.examples.pv").joinpath("headrace.yaml").read_text(encoding="utf-8")
    plan = Plan(specs.parse(text)[0].spec)
    return Chosen(plan, [], _floor(plan))


def of_data(source: Source, target: str, periods: Periods) -> Chosen:
    """Hourly means of a file's only column of numbers, or of the one named. Raises BadInput."""
    every = list(next(iter(source.series.values())).columns)
    names = [name for name in every if np.isfinite(least(source, name))] or every
    if not target and len(names) != 1 and "value" not in names:
        raise BadInput(
            detail=f"{source.name} has several columns of numbers ({', '.join(names)}); name one with --target"
        )
    target = target or (names[0] if len(names) == 1 else "value")
    if target not in names:
        raise BadInput(detail=f"{source.name} has no column {target!r} of numbers; it has {', '.join(names)}")
    stops = least(source, target) == 0
    plain: dict[str, Any] = {
        "kind": "OnlineModel",
        "metadata": {"name": "data"},
        "input": {"topics": ["data"], "target": target},
        "transform": [{"resample": {"every": "1h"}}, "scale"],
        "forecast": {"horizon": periods.horizon},
        "backend": {"rls": {"floor": 0 if stops else None}},
    }
    spec = specs.from_plain(plain).spec
    if stops:
        spec = spec.model_copy(update={"interval": _clipped(spec.interval)})
    return Chosen(Plan(spec), [], 0.0 if stops else None)


def _clipped(plug: specs.Plug) -> specs.Plug:
    """The default interval, never below zero."""
    known = INTERVALS.find(plug.name).Params.model_fields
    params = {"clip": {"low": 0}} if "clip" in known else {"floor": 0} if "floor" in known else {}
    return replace_params(plug, params)


def replace_params(plug: specs.Plug, params: dict[str, Any]) -> specs.Plug:
    """A plug with further parameters."""
    return specs.Plug(name=plug.name, params={**plug.params, **params})


def least(source: Source, target: str) -> float:
    """Least value of a column over all series, NaN if there is none."""
    values = [rows.columns[target] for rows in source.series.values() if target in rows.columns]
    known = np.concatenate([one[np.isfinite(one)] for one in values]) if values else np.empty(0)
    return float(known.min()) if len(known) else float("nan")


def negatives(source: Source, chosen: Chosen) -> list[str]:
    """What to say of values below zero."""
    target = chosen.plan.context.target
    values = [rows.columns[target] for rows in source.series.values() if target in rows.columns]
    known = np.concatenate([one[np.isfinite(one)] for one in values]) if values else np.empty(0)
    below = int((known < 0).sum())
    if not below:
        return []
    what = f"{below:,} of {len(known):,} values of {target} are negative"
    if chosen.floor is None:
        return [f"{what}: nothing was clipped at zero"]
    return [f"{what}, and the spec's `floor` raises forecasts to the least value of the training days: is that meant?"]


def with_history(periods: Periods, history: int | None, train: int | None, validate: int | None) -> Periods:
    """The periods with what the command line says. Raises BadInput."""
    given = {"history": history, "train": train, "validation": validate}
    changes = {name: value for name, value in given.items() if value is not None}
    changed = periods.model_copy(update=changes)
    if changed.train < 2 * changed.validation:
        raise BadInput(detail="expected at least twice as much --train as --validate")
    return changed
