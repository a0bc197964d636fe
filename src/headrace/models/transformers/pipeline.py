"""The steps of one key, one after the other; and what is wrong with a list of steps, before any is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pydantic import ValidationError

from headrace.errors import CorruptState, HeadraceError
from headrace.models.transformers import TRANSFORMERS, Context, FeatureStep, Scaler, Transformer
from headrace.models.transformers.blocks import join, nothing
from headrace.records import HOUR, Array, Rows
from headrace.spec import Plug, explain

Path: TypeAlias = tuple[str | int, ...]
"""Place in `transform:`: (index, step, field, …)."""
_ORDER = ("row steps", "resample", "scale", "feature steps")
_GRID = 1
_GRIDLESS = {"window"}
"""Steps that also make sense on readings as they come."""


@runtime_checkable
class _Counts(Protocol):
    def counts(self) -> dict[str, int]: ...


@runtime_checkable
class _Ticks(Protocol):
    def tick(self, time: int) -> Rows: ...


@runtime_checkable
class _Inverts(Protocol):
    def inverse(self, values: Array) -> Array: ...


@runtime_checkable
class _Labels(Protocol):
    def labels(self) -> list[str]: ...


@runtime_checkable
class _Shapes(Protocol):
    def shape(self) -> tuple[int, int]: ...


class Pipeline:
    """Named steps with the verbs of one: `apply`, `state`, `load`. A result without rows may lack columns."""

    def __init__(self, steps: Sequence[tuple[str, Transformer]]) -> None:
        self.steps: list[tuple[str, Transformer | FeatureStep | Scaler]] = list(steps)
        self._inverting = [step for _, step in reversed(steps) if isinstance(step, _Inverts)]

    def apply(self, rows: Rows) -> Rows:
        """The rows that leave the last step."""
        for _, step in self.steps:
            if not len(rows):
                return nothing()
            rows = step.apply(rows)
        return rows

    def tick(self, time: int) -> Rows:
        """The rows that leave because it is `time`, ns."""
        rows = nothing()
        for _, step in self.steps:
            if len(rows):
                rows = step.apply(rows)
            if isinstance(step, _Ticks):
                rows = join([rows, step.tick(time)])
        return rows

    def inverse(self, values: Array) -> Array:
        """Values of the target as they leave the pipeline, in its own unit."""
        for step in self._inverting:
            values = step.inverse(values)
        return values

    def counts(self) -> dict[str, int]:
        """Readings that did not make it, by reason: late, held, absurd and a user's own."""
        total: dict[str, int] = {}
        for _, step in self.steps:
            if isinstance(step, _Counts):
                for name, count in step.counts().items():
                    total[name] = total.get(name, 0) + count
        return total

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shape of one row of each ``x.*`` column, in the order of the steps."""
        return {f"x.{name}": step.shape() for name, step in self.steps if isinstance(step, _Shapes)}

    def labels(self) -> dict[str, list[str]]:
        """What people call the inputs of each ``x.*`` column: see `FeatureStep.labels`; numbers where a step has no words."""
        found = {}
        for name, step in self.steps:
            if isinstance(step, _Shapes):
                rows, columns = step.shape()
                count = rows * columns if name == "window" else columns
                given = step.labels() if isinstance(step, _Labels) else []
                found[f"x.{name}"] = given if len(given) == count else [f"{name} {n}" for n in range(1, count + 1)]
        return found

    def state(self) -> dict[str, Any]:
        """Every step's state with its name."""
        return {"steps": [[name, step.state()] for name, step in self.steps]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a pipeline with the same steps."""
        saved, mine = [name for name, _ in state["steps"]], [name for name, _ in self.steps]
        if saved != mine:
            raise CorruptState(detail=f"the state is of the steps {saved}, these are {mine}")
        for (_, step), (_, inner) in zip(self.steps, state["steps"], strict=True):
            step.load(inner)


def build(plugs: Sequence[Plug], context: Context) -> Pipeline:
    """The steps of a spec; `check` them first for errors that say where."""
    steps = []
    for plug in plugs:
        params = TRANSFORMERS.params(plug.name, plug.params)
        steps.append((plug.name, TRANSFORMERS.find(plug.name)(params, context)))
    return Pipeline(steps)


def grid_step(plugs: Sequence[Plug]) -> int:
    """The grid step that `resample` names, ns; an hour if none does.

    Raises:
        ValidationError: the parameters of resample are wrong.
    """
    for plug in plugs:
        if plug.name == "resample":
            every: int | None = TRANSFORMERS.params(plug.name, plug.params).every
            return every or HOUR
    return HOUR


def check(plugs: Sequence[Plug], context: Context) -> list[tuple[Path, str]]:
    """Everything wrong with the steps: where in `transform:` and what. No user's code is run."""
    problems: list[tuple[Path, str]] = []
    for index, plug in enumerate(plugs):
        problems += [((index, plug.name, *field), message) for field, message in _step(plug, context)]
    return problems + list(_order(plugs))


def _step(plug: Plug, context: Context) -> Iterator[tuple[Path, str]]:
    """What is wrong with one step by itself."""
    try:
        member = TRANSFORMERS.find(plug.name)
        params = TRANSFORMERS.params(plug.name, plug.params)
        getattr(member, "verify", member)(params, context)
    except ValidationError as error:
        yield from (explain(item) for item in error.errors())
    except (HeadraceError, ValueError) as error:
        yield (), str(error)


def _order(plugs: Sequence[Plug]) -> Iterator[tuple[Path, str]]:
    """Row steps, resample, scale, feature steps; python steps stand anywhere."""
    highest, seen = 0, set()
    for index, plug in enumerate(plugs):
        rank = _rank(plug.name)
        if rank is None:
            continue
        if rank < highest:
            yield (index, plug.name), f"{plug.name!r} stands too late: the order is {', '.join(_ORDER)}"
        elif rank > _GRID and plug.name not in _GRIDLESS and "resample" not in seen:
            yield (index, plug.name), f"{plug.name!r} needs a regular grid: put `resample` before it"
        if rank >= _GRID and plug.name in seen:
            yield (index, plug.name), f"{plug.name!r} appears twice"
        highest = max(highest, rank)
        seen.add(plug.name)


def _rank(name: str) -> int | None:
    try:
        rank: int | None = getattr(TRANSFORMERS.find(name), "order", None)
    except HeadraceError:
        return None
    return rank
