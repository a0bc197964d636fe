"""Trailing signed bias: have the forecasts begun to miss to one side?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from headrace import plugins
from headrace.models.drift import Signal
from headrace.records import Array


class Bias:
    """The mean signed error of the last `recent` forecasts against that of the `reference` forecasts before them.

    The statistic is Student's t of two samples with the reference's variance (NIST/SEMATECH e-Handbook of Statistical
    Methods, section 1.3.5.3), ``(mean(recent) - mean(reference)) / (s * sqrt(1/n + 1/m))``, on one number per forecast:
    the mean of truth - prediction. A model that learns on corrects its bias within days, and then there is nothing to see.
    """

    class Params(plugins.Params):
        recent: int = Field(default=7, ge=2, le=1000)
        """Forecasts that are judged."""
        reference: int = Field(default=60, ge=5, le=10_000)
        """Forecasts before them that tell what is usual..."""
        minimum: int = Field(default=14, ge=5)
        """...of which there must be at least this many."""
        threshold: float = Field(default=3.0, gt=0)
        """Drift begins at this size of the statistic..."""
        clear: float = Field(default=1.5, ge=0)
        """...and ends below this one."""

        @model_validator(mode="after")
        def _order(self) -> Bias.Params:
            if self.clear > self.threshold:
                raise ValueError(f"expected `clear` at or below `threshold` ({self.threshold:g}), got {self.clear:g}")
            return self

    def __init__(self, params: Params) -> None:
        self._params = params
        self._biases: list[float] = []
        self._drifted = False

    def update(self, prediction: Array, truth: Array, time: int) -> Signal:
        """One scored forecast; one without a known outcome changes nothing."""
        params, errors = self._params, truth - prediction
        errors = errors[np.isfinite(errors)]
        if len(errors):
            self._biases.append(float(errors.mean()))
            del self._biases[: -(params.recent + params.reference)]
        statistic = self._statistic()
        if len(errors):
            self._drifted = abs(statistic) >= (params.clear if self._drifted else params.threshold)
        return Signal(self._drifted, statistic, params.threshold)

    def _statistic(self) -> float:
        recent, before = self._biases[-self._params.recent :], self._biases[: -self._params.recent]
        if len(before) < self._params.minimum:
            return 0.0
        usual = np.array(before)
        spread = float(usual.std(ddof=1)) * math.sqrt(1 / len(recent) + 1 / len(before))
        shift = float(np.mean(recent) - usual.mean())
        return shift / spread if spread > abs(shift) * 1e-9 else 0.0

    def state(self) -> dict[str, Any]:
        """The biases and whether drift is on."""
        return {"biases": list(self._biases), "drifted": self._drifted}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._biases, self._drifted = list(state["biases"]), bool(state["drifted"])
