"""Trailing peak: have the highest values of the target moved?"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from headrace import plugins
from headrace.models.drift import Signal
from headrace.records import Array


class Peak:
    """The highest outcome of the last `recent` forecasts against that of the `reference` forecasts before them.

    The statistic is their difference as a share of the reference's range. What varies from day to day - clouds, for PV -
    lowers a day's peak and hardly raises it, so that over a week the peak tells the plant apart from the weather: the idea
    behind clear-sky normalisation (e.g. Jordan, Deline, Kurtz, Kimball, Anderson: Robust PV Degradation Methodology and
    Application, IEEE J. Photovoltaics 8(2), 2018), without a model of the sky. It does not look at the forecasts.
    """

    class Params(plugins.Params):
        recent: int = Field(default=7, ge=1, le=1000)
        """Forecasts that are judged; for daily ones, a week has a clear day in it."""
        reference: int = Field(default=28, ge=2, le=10_000)
        """Forecasts before them that tell what is usual..."""
        minimum: int = Field(default=14, ge=2)
        """...of which there must be at least this many."""
        threshold: float = Field(default=0.25, gt=0)
        """Drift begins when the peak has moved by this share of the reference's range..."""
        clear: float = Field(default=0.1, ge=0)
        """...and ends below this one."""

        @model_validator(mode="after")
        def _order(self) -> Peak.Params:
            if self.clear > self.threshold:
                raise ValueError(f"expected `clear` at or below `threshold` ({self.threshold:g}), got {self.clear:g}")
            return self

    def __init__(self, params: Params) -> None:
        self._params = params
        self._ranges: list[tuple[float, float]] = []
        """(lowest, highest) outcome of each forecast."""
        self._drifted = False

    def update(self, prediction: Array, truth: Array, time: int) -> Signal:
        """One scored forecast; one without a known outcome changes nothing."""
        params, known = self._params, truth[np.isfinite(truth)]
        if len(known):
            self._ranges.append((float(known.min()), float(known.max())))
            del self._ranges[: -(params.recent + params.reference)]
        statistic = self._statistic()
        if len(known):
            self._drifted = abs(statistic) >= (params.clear if self._drifted else params.threshold)
        return Signal(self._drifted, statistic, params.threshold)

    def _statistic(self) -> float:
        recent, before = self._ranges[-self._params.recent :], self._ranges[: -self._params.recent]
        if len(before) < self._params.minimum:
            return 0.0
        low, high = min(low for low, _ in before), max(high for _, high in before)
        return (max(high for _, high in recent) - high) / (high - low) if high > low else 0.0

    def state(self) -> dict[str, Any]:
        """The ranges and whether drift is on."""
        return {"ranges": [list(one) for one in self._ranges], "drifted": self._drifted}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._ranges = [(low, high) for low, high in state["ranges"]]
        self._drifted = bool(state["drifted"])
