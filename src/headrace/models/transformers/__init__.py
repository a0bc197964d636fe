"""Transformers: steps from a device's readings to a model's inputs, the chapter's Transformer boundary.

A pipeline is a list of steps; rows of one key flow through them in log order, in blocks of any size. The result must
not depend on where the blocks are cut (**chunk invariance**: one block of 1000 rows gives the same bytes as 1000 blocks
of one), and `state`/`load` must allow a stop anywhere. `headrace.checks.check_transformer` tests both.

Three sorts of steps share the Protocol:

- *row steps* (three_phase_power, python) change columns of readings as they come;
- *grid steps* (resample, scale) put readings on a regular grid. After `resample`, `Rows.time` is the **start** of each
  grid window, rows come in time order without holes, and the boolean column ``masked`` says that a row's value was
  filled in and must not be learnt or scored;
- *feature steps* (window, lags, calendar) add columns ``x.*``: what the model may see when it forecasts the `horizon`
  grid windows that follow the row. They hold NaN where there is not enough history.

A step may also have ``tick(time: int) -> Rows`` (what leaves because it is that late, without a reading) and
``counts() -> dict[str, int]`` (readings that did not make it, by reason). A result without rows may lack columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from headrace.plugins import Family, Params
from headrace.records import DAY, HOUR, Array, Rows


@dataclass(frozen=True)
class Context:
    """What every step of one pipeline may know about the whole."""

    target: str = "value"
    """The column that is forecast."""
    every: int = HOUR
    """Grid step, ns."""
    horizon: int = 24
    """Grid steps ahead."""
    timezone: str = "UTC"
    initial: int = 16 * DAY
    """Event time of training data: what a scaler may be fitted on."""
    folder: str = "."
    """Where the spec's own files (python steps, modules) lie."""


class Transformer(Protocol):
    """One step for one key."""

    @property
    def Params(self) -> type[Params]:
        """The settings: a nested class (a property here, because type checkers take a nested class for read-only)."""
        ...

    # def __init__(self, params: Params, context: Context) -> None

    def apply(self, rows: Rows) -> Rows:
        """The rows that leave the step for those that enter: fewer, more or none. May reuse the input's columns."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything `apply` depends on, as `headrace.states.pack` can hold it."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


class FeatureStep(Transformer, Protocol):
    """A step that adds a column ``x.<name>``."""

    def shape(self) -> tuple[int, int]:
        """Shape of one row's ``x.<name>``: (history, fields) of a window, else (horizon, features)."""
        ...

    def labels(self) -> list[str]:
        """What people call these inputs: history x fields of a window, oldest first, else one for each feature."""
        ...


class Scaler(Transformer, Protocol):
    """A step that changes the target's unit and can change it back."""

    def inverse(self, values: Array) -> Array:
        """Scaled target values in the target's own unit."""
        ...


TRANSFORMERS = Family(
    "transformers",
    {
        "three_phase_power": "headrace.models.transformers.three_phase_power:ThreePhasePower",
        "resample": "headrace.models.transformers.resample:Resample",
        "scale": "headrace.models.transformers.scale:Scale",
        "window": "headrace.models.transformers.window:Window",
        "lags": "headrace.models.transformers.lags:Lags",
        "calendar": "headrace.models.transformers.calendar:Calendar",
        "python": "headrace.models.transformers.python:PythonStep",
    },
)
