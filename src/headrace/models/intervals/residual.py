"""Trailing residuals: quantiles of the model's own recent signed errors, pooled over all targets."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import plugins
from headrace.records import DAY, Array


class Residual:
    """The prediction plus the lower and upper quantile of truth - prediction over the last `days` of scored targets.

    The residuals are signed: a model that has been too high of late gets a band below its prediction.
    """

    class Params(plugins.Params):
        nominal: float = Field(default=0.9, gt=0, lt=1)
        """Share of the truths the band should hold, as much missing below as above."""
        days: int = Field(default=30, ge=1)
        """Residuals are kept this long, counted back from the latest scored target time."""
        minimum: int = Field(default=48, ge=2)
        """No band before there are this many."""
        floor: Literal[0] | None = None
        """0: clip both bounds at the scaled unit's zero. This is the target's zero with `scale: max`, and with minmax
        if the smallest training value was zero, as for solar power."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._times = np.empty(0, np.int64)
        self._residuals: Array = np.empty(0)

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,); None before `minimum` residuals."""
        if len(self._residuals) < self._params.minimum:
            return None
        miss = (1 - self._params.nominal) / 2
        below, above = np.quantile(self._residuals, [miss, 1 - miss])
        lower, upper = prediction + below, prediction + above
        if self._params.floor is None:
            return lower, upper
        return np.maximum(lower, self._params.floor), np.maximum(upper, self._params.floor)

    def update(self, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
        """Add a scored forecast's residuals where both are known, and forget the old ones."""
        residuals = truth - prediction
        known = np.isfinite(residuals)
        self._times = np.concatenate([self._times, times[known]])
        self._residuals = np.concatenate([self._residuals, residuals[known]])
        if len(self._times):
            recent = self._times > self._times.max() - self._params.days * DAY
            self._times, self._residuals = self._times[recent], self._residuals[recent]

    def state(self) -> dict[str, Any]:
        """The residuals and their times."""
        return {"times": self._times, "residuals": self._residuals}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._times, self._residuals = state["times"], state["residuals"]
