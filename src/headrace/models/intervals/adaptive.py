"""DtACI: conformal bands whose level follows what was missed, with several speeds at once and the best of them believed.

Source: Gibbs and Candès, Conformal Inference for Online Prediction with Arbitrary Distribution Shifts, 2022 (JMLR 25,
2024), algorithm 1 (DtACI) with the weighted mean of the experts as output.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from headrace.models.intervals.conformal import Conformal
from headrace.models.transformers import Context
from headrace.records import Array

HALF = 0.5
"""No level beyond it: the bounds would cross."""


class Adaptive(Conformal):
    """`conformal`, widened while it misses more than the nominal level allows and narrowed while it misses less.

    The share to miss is learnt online, for each slot of the day and each bound by itself, by one expert for each step
    size g. With the nominal miss a, expert i's level a_i, and b the largest level whose band would still have held the
    truth:

        weight_i  <-  weight_i · exp(-eta · (a·(b - a_i) - min(0, b - a_i))),  then mixed with sigma of the mean weight
        a_i       <-  a_i + g_i · (a - [expert i's band missed])

    and the level in use is the weighted mean of a_i. sigma = 1/(2L) and eta = sqrt(3/L · (log(K·L) + 2) /
    ((1 - a)²·a³ + (1 - a)³·a²)) for K experts and `length` L (the paper's section 3). Levels are kept in [0, 1/2]; the
    paper lets them go beyond, where bands are infinite or empty.
    """

    class Params(Conformal.Params):
        """Settings of the adaptive band by slot of the day."""

        steps: tuple[float, ...] = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
        """Step sizes g, one expert each; the default is the paper's."""
        length: int = Field(default=100, ge=2, le=100_000)
        """L: over about this many truths of a slot the best step size is looked for."""

        @field_validator("steps")
        @classmethod
        def _steps(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
            if not 1 <= len(steps) <= 32 or not all(0 <= step < 1 for step in steps):
                raise ValueError("expected 1 to 32 step sizes, each from 0 to below 1")
            return steps

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__(params, context)
        miss, count, length = self._miss, len(params.steps), params.length
        self._steps = np.array(params.steps)
        self._mix = 1 / (2 * length)
        spread = (1 - miss) ** 2 * miss**3 + (1 - miss) ** 3 * miss**2
        self._eta = sqrt(3 / length * (log(count * length) + 2) / spread)
        self._experts: Array = np.full((self._slots.count, 2, count), miss)
        """Levels of each slot, below and above."""
        self._weights: Array = np.full((self._slots.count, 2, count), 1 / count)

    def update(self, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
        """Learn from what the bands would have missed, then add the residuals.

        The bands are those that the residuals known by now give. For forecasts that do not overlap these are the ones
        that were issued; for others the outcome of the forecasts in between is known as well.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            residuals = truth - prediction
        known = np.isfinite(residuals)
        if known.any() and len(self._residuals) >= self._minimum:
            self._learn(residuals[known], self._slots.of(times)[0][known])
        super().update(prediction, truth, times)

    def _learn(self, residuals: Array, places: NDArray[np.int64]) -> None:
        near = self._near(places)
        sizes = np.array([len(known) for known in near])
        held = np.array(
            [
                [np.count_nonzero(known <= value), np.count_nonzero(known >= value)]
                for known, value in zip(near, residuals.tolist(), strict=True)
            ]
        )
        for chosen in _rounds(places):
            self._adapt(places[chosen], held[chosen], sizes[chosen])

    def _adapt(self, places: NDArray[np.int64], held: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """One truth for each of some different slots.

        Args:
            held: (n, 2), how many residuals lie at or beyond the truth, below and above: the bound of that rank held it.
            sizes: (n,), how many residuals there are.
        """
        total, ranks = (sizes + 1)[:, None, None], held[:, :, None]
        experts, weights = self._experts[places], self._weights[places]
        largest = np.where(ranks > 0, np.minimum((ranks + 1) / total, 1.0), 0.0)
        off = largest - experts
        loss = self._miss * off - np.minimum(0.0, off)
        weights = weights * _exp(-self._eta * (loss - loss.min(axis=2, keepdims=True)))
        weights /= weights.sum(axis=2, keepdims=True)
        self._weights[places] = (1 - self._mix) * weights + self._mix / len(self._steps)
        missed = np.maximum(1, np.floor(total * experts + 1e-9)) > ranks
        self._experts[places] = np.clip(experts + self._steps * (self._miss - missed), 0.0, HALF)

    def _levels(self, places: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        weights = self._weights[places]
        below, above = ((weights * self._experts[places]).sum(axis=2) / weights.sum(axis=2)).T.tolist()
        return below, above

    def state(self) -> dict[str, Any]:
        """The residuals, the limits, and the experts."""
        return {**super().state(), "experts": self._experts.copy(), "weights": self._weights.copy()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        super().load(state)
        self._experts, self._weights = state["experts"].copy(), state["weights"].copy()


def _exp(values: Array) -> Array:
    """e to the power of each, by `math` and not by numpy, whose last bit depends on the processor."""
    return np.array([exp(value) for value in values.ravel().tolist()]).reshape(values.shape)


def _rounds(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of the first target of every slot, then of the second (the hour that comes twice, the next day), ..."""
    left = np.arange(len(places))
    while len(left):
        first = np.sort(np.unique(places[left], return_index=True)[1])
        yield left[first]
        left = np.delete(left, first)
