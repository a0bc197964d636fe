"""The normal band: mean and standard deviation of the model's recent errors, as if all were drawn from one bell curve."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Settings
from headrace.models.intervals.limits import Limits
from headrace.models.intervals.residuals import Residuals
from headrace.models.intervals.slots import Slots
from headrace.models.transformers import Context
from headrace.records import Array


class Gaussian:
    """The prediction plus mean ± z standard deviations of all trailing residuals, whatever the time of day.

    It holds what it promises only if the errors are normal and of one size all day. Solar power's are neither: the band
    is too wide at night and too narrow by day.
    """

    class Params(Settings):
        """Settings of the normal band."""

    def __init__(self, params: Params, context: Context) -> None:
        self._params, self._slots = params, Slots(context)
        self._limits = Limits(params, self._slots)
        self._residuals = Residuals(params.days, self._slots.count)
        self._z = NormalDist().inv_cdf(0.5 + params.nominal / 2)

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,); None before `minimum` residuals."""
        if len(self._residuals) < self._params.minimum:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            centre = prediction + self._residuals.values.mean()
            reach = self._z * self._residuals.values.std(ddof=1)
            return self._limits.apply(centre - reach, centre + reach, *self._slots.of(times))

    def update(self, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
        """Add a scored forecast's residuals where both are known, and forget the old ones."""
        places, days = self._slots.of(times)
        self._limits.learn(truth, places, days)
        with np.errstate(over="ignore", invalid="ignore"):
            self._residuals.add(truth - prediction, places, times)

    def state(self) -> dict[str, Any]:
        """The residuals, and what the limits are learnt from."""
        return {"residuals": self._residuals.state(), "limits": self._limits.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._residuals.load(state["residuals"])
        self._limits.load(state["limits"])
