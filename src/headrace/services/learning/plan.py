"""From a spec to what runs: which steps, which shapes, which yardsticks. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from headrace.errors import HeadraceError, MissingExtra, Problem
from headrace.models.backends import BACKENDS, Backend, Shape
from headrace.models.intervals import INTERVALS, Interval
from headrace.models.transformers import TRANSFORMERS, Context
from headrace.models.transformers.pipeline import Pipeline, build
from headrace.records import DAY, SECOND, Array, Rows
from headrace.spec import Document, OnlineModel, Plug, explain
from headrace.states import digest
from headrace.streams.decoders import DECODERS

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
        put(self, "features", own or backend_features(spec.backend.name))
        put(
            self,
            "context",
            Context(
                target=spec.input.target,
                every=self._every(),
                horizon=spec.forecast.horizon,
                timezone=spec.input.timezone,
                initial=spec.learning.initial,
                folder=self.folder,
            ),
        )

    def _every(self) -> int:
        for plug in self.spec.transform:
            if plug.name == "resample":
                return int(TRANSFORMERS.params("resample", plug.params).every)
        return SECOND

    @property
    def digest(self) -> str:
        """Digest of the spec: part of every prediction id."""
        return digest(json.dumps(self.spec.model_dump(mode="json"), sort_keys=True).encode())

    @property
    def heavy(self) -> bool:
        """Whether the model wants a worker process of its own."""
        user_code = any(plug.name == "python" for plug in self.spec.transform)
        return user_code or bool(BACKENDS.find(self.spec.backend.name).heavy)

    def pipeline(self) -> Pipeline:
        """A fresh pipeline of the steps before the features."""
        return build(self.base, self.context)

    def contender(self) -> Contender:
        """The model itself, untrained."""
        return make_contender(self, self.spec.backend, self.features)

    def yardsticks(self) -> dict[str, Contender]:
        """The baselines, untrained."""
        if not self.grid:
            return {}
        season = max(1, DAY // self.context.every)
        lag = season * -(-self.context.horizon // season)
        return {
            "persistence": make_contender(self, Plug(name="persistence"), [_plug("lags", steps=[lag])]),
            "hour-mean": make_contender(self, Plug(name="hour-mean"), [_plug("calendar", columns=["slot"])]),
        }

    def interval(self) -> Interval:
        """A fresh interval."""
        plug = self.spec.interval
        made: Interval = INTERVALS.find(plug.name)(INTERVALS.params(plug.name, plug.params))
        return made


def _plug(name: str, **params: Any) -> Plug:
    return Plug(name=name, params=params)


def backend_features(name: str) -> list[Plug]:
    """The feature steps a backend brings with it."""
    return [Plug.model_validate(item) for item in BACKENDS.find(name).features]


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


def shape_from(plan: Plan, features: Sequence[Plug], steps: Pipeline) -> tuple[Shape, list[str]]:
    """(sizes, names of the x.* columns) of built feature steps."""
    shapes = {plug.name: step.shape() for plug, step in zip(features, steps.steps, strict=True)}
    names = [f"x.{name}" for name in shapes]
    horizon = plan.context.horizon
    if set(shapes) == {"window"}:
        return Shape(shapes["window"], horizon, False), names
    width = sum(a * b if name == "window" else b for name, (a, b) in shapes.items())
    return Shape((horizon, width), horizon, True), names


def make_contender(plan: Plan, backend: Plug, features: Sequence[Plug]) -> Contender:
    """A contender of `plan`'s context."""
    steps = build(list(features), plan.context)
    shape, names = shape_from(plan, features, steps)
    params = BACKENDS.params(backend.name, backend.params)
    made = BACKENDS.find(backend.name)(params, shape, plan.spec.seed, plan.folder)
    return Contender(steps, shape, names, made)


def check(document: Document) -> list[Problem]:
    """Everything wrong with a document's plug-ins, with lines. Loads no heavy library."""
    spec = document.spec
    problems = [
        problem
        for index, plug in enumerate(spec.transform)
        for problem in _check_plug(document, TRANSFORMERS, plug, ("transform", index))
    ]
    for family, plug, path in (
        (BACKENDS, spec.backend, ("backend",)),
        (INTERVALS, spec.interval, ("interval",)),
        (DECODERS, spec.input.decoder, ("input", "decoder")),
    ):
        problems += _check_plug(document, family, plug, path)
    return problems or _check_order(document)


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


def _check_order(document: Document) -> list[Problem]:
    spec = document.spec
    names = [plug.name for plug in spec.transform]
    problems = []
    features = [index for index, plug in enumerate(spec.transform) if is_feature(plug)]
    if features and features != list(range(len(names) - len(features), len(names))):
        problems.append(document.problem(("transform", features[0]), "feature steps come last"))
    for name in ("resample", "scale"):
        if names.count(name) > 1:
            problems.append(document.problem(("transform", names.index(name)), f"only one {name!r} step makes sense"))
    if "resample" in names and "scale" in names and names.index("scale") < names.index("resample"):
        problems.append(document.problem(("transform", names.index("scale")), "`scale` comes after `resample`"))
    if "resample" not in names and spec.forecast.horizon != 1:
        message = "without a `resample` step every reading is an example, and only horizon 1 is possible"
        problems.append(document.problem(("forecast", "horizon"), message))
    if "resample" in names and not problems:
        every = TRANSFORMERS.params("resample", spec.transform[names.index("resample")].params).every
        for section, field_ in (("forecast", spec.forecast.every), ("learning", spec.learning.every)):
            if field_ <= 0 or field_ % every:
                problems.append(document.problem((section, "every"), "expected a multiple of the resampling step"))
    return problems
