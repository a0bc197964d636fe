"""Split conformal prediction by slot of the day: as many recent errors beyond each bound as the nominal level allows.

Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; for each tail by itself: Romano,
Patterson and Candès, Conformalized Quantile Regression, 2019, theorem 2.
"""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace.models.intervals import Settings
from headrace.models.intervals.trailing import Trailing
from headrace.models.transformers import Context
from headrace.records import Array


class Conformal(Trailing):
    """The prediction plus a low and a high signed residual of the same slot of the local day, of the last `days`.

    Of n residuals and a miss of a = (1 - nominal)/2 on either side, these are the k-th from below and the k-th from
    above, k = floor((n + 1)·a): if a new residual is equally likely to fall anywhere among the old ones, at most a of
    them lie beyond either. Where n is too small for that (k = 0) the formal bound is infinite; slots further away are
    added, and if even all of them are too few the bound is the largest error seen.
    """

    class Params(Settings):
        """Settings of the band by slot of the day."""

        pool: int = Field(default=1, ge=0)
        """Slots on either side whose residuals count as the slot's own; half a day or more: one band for all slots."""

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__(params, context)
        self._pool = params.pool
        self._miss = (1 - params.nominal) / 2
        self._wanted = max(params.minimum, ceil(1 / self._miss - 1 - 1e-9))

    def cover(self, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
        """Lower and upper bound, each (horizon,); None before `minimum` residuals."""
        if len(self._residuals) < self._minimum:
            return None
        places, days = self._slots.of(times)
        below, above = self._levels(places)
        errors = np.empty((2, len(places)))
        for index, known in enumerate(self._near(places)):
            low, high = rank(len(known), below[index]) - 1, len(known) - rank(len(known), above[index])
            errors[:, index] = np.partition(known, (low, high))[[low, high]]
        with np.errstate(over="ignore", invalid="ignore"):
            return self._limits.apply(prediction + errors[0], prediction + errors[1], places, days)

    def _levels(self, places: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """The share of truths to miss below and above, for each of some slots."""
        return [self._miss] * len(places), [self._miss] * len(places)

    def _near(self, places: NDArray[np.int64]) -> list[Array]:
        """The residuals that count for each of some slots."""
        return self._residuals.near(places, self._pool, self._wanted)


def rank(n: int, level: float) -> int:
    """Which of n ordered residuals, counted from the outermost, is missed with probability `level` <= 1/2, from 1.

    >>> rank(19, 0.05), rank(99, 0.05), rank(5, 0.05)
    (1, 5, 1)
    """
    return max(1, floor((n + 1) * level + 1e-9))
