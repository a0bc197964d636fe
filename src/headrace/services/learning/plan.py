"""From a spec to what runs: which steps, which shapes, which yardsticks. No I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headrace.errors import HeadraceError, MissingExtra, Problem
from headrace.models.backends import BACKENDS, Backend, Shape, Startable, parent
from headrace.models.explainers import EXPLAINERS
from headrace.models.intervals import INTERVALS, Interval
from headrace.models.transformers import TRANSFORMERS, Context
from headrace.models.transformers import pipeline as steps_
from headrace.models.transformers.pipeline import Pipeline, build, grid_step
from headrace.records import DAY, HOUR, SECOND, Array, Rows
from headrace.services.learning import addresses
from headrace.services.learning.rules import check_rules
from headrace.spec import Document, OnlineModel, Plug, explain
from headrace.states import digest
from headrace.streams.decoders import DECODERS

HOURS = 24
SMALL = 2000
"""Model inputs up to which a backend is built for a check; larger ones cost memory."""
BESIDE = ("alerts", "alert", "explain", "shadow")
"""Sections of a spec that change no forecast, and so no prediction id."""
YARDSTICKS = ("persistence", "hour-mean")
"""Baselines every grid forecast is shown beside."""


def is_feature(plug: Plug) -> bool:
    """Whether a step adds model inputs."""
    return hasattr(TRANSFORMERS.find(plug.name), "shape")


@dataclass(frozen=True)
class Plan:
    """One model, ready to be built as often as it has keys."""

    spec: OnlineModel
    folder: str = "."
    context: Context = field(init=False)
    base: list[Plug] = field(init=False)
    """Steps before the features."""
    features: list[Plug] = field(init=False)
    grid: bool = field(init=False)
    """Readings are resampled; otherwise every reading is an example of its own."""

    def __post_init__(self) -> None:
        spec, put = self.spec, object.__setattr__
        put(self, "grid", any(plug.name == "resample" for plug in spec.transform))
        put(self, "base", [plug for plug in spec.transform if not is_feature(plug)])
        own = [plug for plug in spec.transform if is_feature(plug)]
        season = max(1, DAY // grid_step(spec.transform))
        put(self, "features", own or default_features(spec.backend.name, season))
        put(
            self,
            "context",
            Context(
                target=spec.input.target,
                every=grid_step(spec.transform) if self.grid else SECOND,
                horizon=spec.forecast.horizon,
                timezone=spec.input.timezone,
                initial=spec.learning.initial,
                folder=self.folder,
            ),
        )

    @property
    def digest(self) -> str:
        """Digest of the spec, the user's files and the parent's weights (their folder is named by its content): part of
        every prediction id."""
        beside = {*BESIDE} if self.spec.parent else {*BESIDE, "parent"}  # ids of before there were parents stay
        spec = json.dumps(self.spec.model_dump(mode="json", exclude=beside), sort_keys=True)
        return digest(f"{spec}\0{Path(self.folder).name}".encode())

    @property
    def heavy(self) -> bool:
        """Whether the model wants a worker process of its own."""
        user_code = any(plug.name == "python" for plug in self.spec.transform)
        return user_code or bool(BACKENDS.find(self.spec.backend.name).heavy)

    @property
    def alone(self) -> bool:
        """Whether its worker runs nothing else: heavy models, and shadows, whose faults are nobody else's business."""
        return self.heavy or bool(self.spec.shadow)

    def pipeline(self) -> Pipeline:
        """A fresh pipeline of the steps before the features."""
        return build(self.base, self.context)

    def contender(self) -> Contender:
        """The model itself, untrained: with first weights of its own, or its parent's."""
        made = make_contender(self, self.spec.backend, self.features)
        if self.spec.parent:
            assert isinstance(made.backend, Startable)
            made.backend.start_from(parent.weights(self.folder))
        return made

    def yardsticks(self) -> dict[str, Contender]:
        """The baselines, untrained."""
        if not self.grid:
            return {}
        season = max(1, DAY // self.context.every)
        return {name: make_contender(self, Plug(name=name), default_features(name, season)) for name in YARDSTICKS}

    def interval(self) -> Interval:
        """A fresh interval."""
        plug = self.spec.interval
        made: Interval = INTERVALS.find(plug.name)(INTERVALS.params(plug.name, plug.params), self.context)
        return made

    @property
    def nominal(self) -> float:
        """The share of the truths that the band promises to hold."""
        return float(INTERVALS.params(self.spec.interval.name, self.spec.interval.params).nominal)


def default_features(backend: str, season: int) -> list[Plug]:
    """The feature steps a backend brings with it; lags written for an hourly grid are moved to a day of `season` steps."""
    plugs = [Plug.model_validate(item) for item in BACKENDS.find(backend).features]
    return [_moved(plug, season) if plug.name == "lags" else plug for plug in plugs]


def _moved(plug: Plug, season: int) -> Plug:
    """A lag of k days and d hours becomes one of k seasons and d steps."""
    days = [(round(lag / HOURS), lag - HOURS * round(lag / HOURS)) for lag in plug.params.get("steps", ())]
    steps = [max(1, count * season + rest) for count, rest in days]
    return Plug(name=plug.name, params={**plug.params, "steps": steps})


class Contender:
    """A backend with the feature steps that feed it."""

    def __init__(self, steps: Pipeline, shape: Shape, names: Sequence[str], backend: Backend) -> None:
        self.steps, self.shape, self.backend = steps, shape, backend
        self._names = names

    def inputs(self, rows: Rows) -> Array:
        """(n, *shape.input) model inputs of grid rows; NaN where history is missing. Advances the feature steps."""
        plain = {name: column for name, column in rows.columns.items() if not name.startswith("x.")}
        return assemble(self.steps.apply(Rows(rows.time, plain)), self._names, self.shape)


def assemble(rows: Rows, names: Sequence[str], shape: Shape) -> Array:
    """The columns ``x.*`` as one array; beside per-target features, a window is repeated for every target."""
    import numpy as np

    columns = [rows.columns[name] for name in names]
    if not shape.per_target:
        return np.ascontiguousarray(columns[0], dtype=np.float64)
    n, horizon = len(rows), shape.horizon
    wide = [
        column
        if name != "x.window"
        else np.broadcast_to(column.reshape(n, 1, -1), (n, horizon, column.shape[1] * column.shape[2]))
        for name, column in zip(names, columns, strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(wide, axis=2), dtype=np.float64)


def shape_from(plan: Plan, steps: Pipeline) -> tuple[Shape, list[str]]:
    """(sizes, names of the x.* columns) of built feature steps."""
    shapes = steps.shapes()
    horizon = plan.context.horizon
    if set(shapes) == {"x.window"}:
        return Shape(shapes["x.window"], horizon, False), list(shapes)
    width = sum(a * b if name == "x.window" else b for name, (a, b) in shapes.items())
    return Shape((horizon, width), horizon, True), list(shapes)


def make_contender(plan: Plan, backend: Plug, features: Sequence[Plug]) -> Contender:
    """A contender of `plan`'s context."""
    steps = build(list(features), plan.context)
    shape, names = shape_from(plan, steps)
    params = BACKENDS.params(backend.name, backend.params)
    made = BACKENDS.find(backend.name)(params, shape, plan.spec.seed, plan.folder)
    return Contender(steps, shape, names, made)


def check(document: Document, folder: str = ".") -> list[Problem]:
    """Everything wrong with a document's plug-ins, with lines. Loads no heavy library, runs no user's code.

    Args:
        folder: where the spec's own Python files lie.
    """
    spec = document.spec
    problems: list[Problem] = []
    for family, plug, path in (
        (BACKENDS, spec.backend, ("backend",)),
        (INTERVALS, spec.interval, ("interval",)),
        (DECODERS, spec.input.decoder, ("input", "decoder")),
        (EXPLAINERS, spec.explain, ("explain",)),
    ):
        problems += _check_plug(document, family, plug, path)
    if not problems:
        problems = _check_explainer(document, folder) + _check_parent(document)
    try:
        every = grid_step(spec.transform)
    except ValidationError:
        every = HOUR
    context = Context(target=spec.input.target, every=every, horizon=spec.forecast.horizon, folder=folder)
    problems += [
        document.problem(("transform", *path), message) for path, message in steps_.check(spec.transform, context)
    ]
    grid = any(plug.name == "resample" for plug in spec.transform)
    if spec.alert.webhook is not None and (message := addresses.wrong(spec.alert.webhook)):
        problems.append(document.problem(("alert", "webhook"), message))
    problems += check_rules(document, every=every if grid else None)
    return problems or _check_schedule(document, context) or _check_whole(document, folder)


def _check_whole(document: Document, folder: str) -> list[Problem]:
    """Whether the parts fit together: the plan can be made, and a light and small backend takes its inputs."""
    try:
        plan = Plan(document.spec, folder)
        shape, _ = shape_from(plan, build(plan.features, plan.context))
        if not plan.heavy and math.prod(shape.input) <= SMALL:
            make_contender(plan, plan.spec.backend, plan.features)
    except MissingExtra:
        return []
    except (HeadraceError, ValueError, ArithmeticError, MemoryError) as error:
        return [document.problem(("backend",), str(error))]
    return []


def _check_plug(document: Document, family: Any, plug: Plug, path: tuple[str | int, ...]) -> list[Problem]:
    try:
        family.params(plug.name, plug.params)
    except ValidationError as error:
        found = [explain(item) for item in error.errors()]
        return [document.problem((*path, plug.name, *inner), message) for inner, message in found]
    except MissingExtra:
        return []  # its worker will say so; the process that checks specs need not have the library
    except HeadraceError as error:
        return [document.problem(path, str(error))]
    return []


def _check_explainer(document: Document, folder: str) -> list[Problem]:
    """Whether the explainer can explain the backend, and a user's own has its class; nothing of it is run."""
    plug, backend = document.spec.explain, document.spec.backend.name
    try:
        member, kind = EXPLAINERS.find(plug.name), BACKENDS.find(backend)
        params = EXPLAINERS.params(plug.name, plug.params)
        getattr(member, "verify", lambda *_: None)(params, folder)
    except MissingExtra:
        return []
    except HeadraceError as error:
        return [document.problem(("explain", plug.name), str(error))]
    if member.needs and not hasattr(kind, member.needs):
        what = "networks" if member.needs == "network" else "sums of terms"
        message = (
            f"{plug.name!r} explains {what}, and backend {backend!r} is none; leave `explain` out, or use sampling"
        )
        return [document.problem(("explain",), message)]
    return []


def _check_parent(document: Document) -> list[Problem]:
    """Whether the backend can start from other weights."""
    name = document.spec.backend.name
    try:
        if not document.spec.parent or hasattr(BACKENDS.find(name), "start_from"):
            return []
    except MissingExtra:
        return []
    message = f"backend {name!r} cannot start from a parent's weights; leave `parent` out, or use torch or rls"
    return [document.problem(("parent",), message)]


def _check_schedule(document: Document, context: Context) -> list[Problem]:
    spec = document.spec
    if not any(plug.name == "resample" for plug in spec.transform):
        if spec.forecast.horizon != 1:
            message = "without a `resample` step every reading is an example, and only horizon 1 is possible"
            return [document.problem(("forecast", "horizon"), message)]
        return []
    return [
        document.problem((section, "every"), "expected a multiple of the resampling step")
        for section, every in (("forecast", spec.forecast.every), ("learning", spec.learning.every))
        if every <= 0 or every % context.every
    ]
