"""Intervals: how far the truth may lie from a forecast, learnt from the model's own prequential residuals."""

from __future__ import annotations

import re
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from headrace.plugins import Family, Params
from headrace.records import Array


class Clip(Params):
    """Limits no truth lies beyond, in the target's own unit."""

    low: float | None = Field(default=None, allow_inf_nan=False)
    """Both bounds are at least this: 0 for solar power."""
    high: float | None = Field(default=None, allow_inf_nan=False)
    """Both bounds are at most this: what an inverter or a fuse lets through."""

    @model_validator(mode="after")
    def _in_order(self) -> Clip:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low <= high, got {self.low:g} and {self.high:g}")
        return self


class Quiet(Params):
    """Slots of the day in which nothing happens, such as the night of a solar plant."""

    days: int = Field(default=14, ge=1, le=366)
    """A slot is quiet while every truth of this many days before was..."""
    below: float | str
    """...at most this, up or down: in the target's unit, or as a share of the largest truth of those days, "0.1%"."""
    width: float | str | None = None
    """The band is then from minus this to this, clipped; null for the same as `below`."""

    @field_validator("below", "width")
    @classmethod
    def _amount(cls, value: float | str | None) -> float | str | None:
        if value is None:
            return None
        if isinstance(value, str):
            match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)\s*%", value.strip())
            if match is None or float(match[1]) > 100:
                raise ValueError(f"expected a number in the target's unit, or a share such as 0.1%, got {value!r}")
        elif not 0 <= value < float("inf"):
            raise ValueError("expected a number from 0 on")
        return value


class Settings(Params):
    """What every interval can be told. Bounds and limits are in the target's own unit."""

    nominal: float = Field(default=0.9, gt=0, lt=1)
    """Share of the truths the band should hold, as much missing below as above."""
    days: int = Field(default=30, ge=1, le=3660)
    """Residuals are kept this long, counted back from the latest scored target time."""
    minimum: int = Field(default=20, ge=2, le=10_000)
    """No band is drawn from fewer residuals; a slot that has fewer takes those of the slots around it, too."""
    clip: Clip | None = None
    """Limits of the bounds, ``{low: 0, high: 27600}``; either may be left out."""
    quiet: Quiet | None = None
    """For slots of the day in which nothing happens, ``{days: 14, below: 0.1%, width: 10}``: while a slot's truths of
    the last `days` (14; of three at least) were at most `below`, its band is 0 ± `width` (the same as `below`), clipped.
    Both are amounts or shares of the largest truth of those days. null: there is no such slot."""


class Interval(Protocol):
    """The band around one key's forecasts. All values in the target's own unit; times are target times in ns."""

    @property
    def Params(self) -> type[Settings]:
        """The settings: a nested class (a property here, because type checkers take a nested class for read-only)."""
        ...

    # def __init__(self, params: Params, context: headrace.models.transformers.Context) -> None

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,), finite and in order; None while too few residuals are known."""
        ...

    def update(self, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
        """A scored forecast, (horizon,) each; truth is NaN where unknown."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything `cover` depends on; of a size that does not grow for ever."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


INTERVALS = Family(
    "intervals",
    {
        "gaussian": "headrace.models.intervals.gaussian:Gaussian",
        "conformal": "headrace.models.intervals.conformal:Conformal",
        "adaptive": "headrace.models.intervals.adaptive:Adaptive",
    },
)
