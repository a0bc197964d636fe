"""Intervals: how far the truth may lie from a forecast, learnt from the model's own prequential residuals."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.plugins import Family, Params
from headrace.records import Array


class Interval(Protocol):
    """The band around one key's forecasts. Scaled units; times are target times in ns."""

    @property
    def Params(self) -> type[Params]:
        """The settings: a nested class (a property here, because type checkers take a nested class for read-only)."""
        ...

    # def __init__(self, params: Params) -> None

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,); None while too few residuals are known."""
        ...

    def update(self, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
        """A scored forecast, (horizon,) each; truth is NaN where unknown."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything `cover` depends on."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


INTERVALS = Family("intervals", {"residual": "headrace.models.intervals.residual:Residual"})
