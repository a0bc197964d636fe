"""The normal band: mean and standard deviation of the model's recent errors, as if all were drawn from one bell curve."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Settings
from headrace.models.intervals.trailing import Trailing
from headrace.models.transformers import Context
from headrace.records import Array


class Gaussian(Trailing):
    """The prediction plus mean ± z standard deviations of all trailing residuals, whatever the time of day.

    It holds what it promises only if the errors are normal and of one size all day. Solar power's are neither: the band
    is too wide at night and too narrow by day.
    """

    class Params(Settings):
        """Settings of the normal band."""

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__(params, context)
        self._z = NormalDist().inv_cdf(0.5 + params.nominal / 2)

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,); None before `minimum` residuals."""
        if len(self._residuals) < self._minimum:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            centre = prediction + self._residuals.values.mean()
            reach = self._z * self._residuals.values.std(ddof=1)
            return self._limits.apply(centre - reach, centre + reach, *self._slots.of(times))
