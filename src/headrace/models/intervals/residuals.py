"""Trailing residuals by slot of the day: what every interval draws its band from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.records import DAY, Array

MOST = 16_384
"""Residuals kept of one key: with more, only the newest of each slot stay, half as many in all, ..."""
LEAST = 32
"""...but of each slot at least this many. Only forecasts issued much more often than once a day come near it."""


class Residuals:
    """Truth - prediction of the last `days` of targets.

    Args:
        days: kept this long, counted back from the latest target time.
        slots: how many slots a day has.
    """

    def __init__(self, days: int, slots: int) -> None:
        self._keep, self._slots = days * DAY, slots
        self._times = np.empty(0, np.int64)
        self._places = np.empty(0, np.int16)  # numpy sorts these, and no longer ones, in linear time
        self.values: Array = np.empty(0)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, residuals: Array, places: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Residuals with their slots and target times; those that are not finite are left out, old ones forgotten."""
        known = np.isfinite(residuals)
        if not known.any():
            return
        self._times = np.concatenate([self._times, times[known]])
        self._places = np.concatenate([self._places, places[known].astype(np.int16)])
        self.values = np.concatenate([self.values, residuals[known]])
        self._only(self._times > self._times.max() - self._keep)
        if len(self) > MOST:
            self._only(self._newest(max(LEAST, MOST // 2 // self._slots)))

    def near(self, places: NDArray[np.int64], reach: int, wanted: int) -> list[Array]:
        """The residuals for each of some slots, in any order: its own, those of the `reach` slots on either side, and of
        as many more as it takes to have `wanted`, or all there are.
        """
        order = np.argsort(self._places, kind="stable")
        counts = np.bincount(self._places, minlength=self._slots)
        own = np.split(self.values[order], np.cumsum(counts)[:-1])
        known = {place: self._around(own, counts, place, reach, wanted) for place in set(places.tolist())}
        return [known[place] for place in places.tolist()]

    def _around(self, own: list[Array], counts: NDArray[np.int64], place: int, reach: int, wanted: int) -> Array:
        while 2 * reach + 1 < self._slots:
            around = [(place + step) % self._slots for step in range(-reach, reach + 1)]
            if counts[around].sum() >= wanted:
                return np.concatenate([own[index] for index in around])
            reach += 1
        return self.values

    def state(self) -> dict[str, Any]:
        """The residuals, their slots and times."""
        return {"times": self._times, "places": self._places, "values": self.values}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._times, self._places, self.values = state["times"], state["places"], state["values"]

    def _only(self, chosen: NDArray[np.bool_]) -> None:
        if not chosen.all():
            self._times, self._places, self.values = self._times[chosen], self._places[chosen], self.values[chosen]

    def _newest(self, most: int) -> NDArray[np.bool_]:
        """The last `most` of each slot, by the order in which they came."""
        order = np.argsort(self._places, kind="stable")
        ends = np.cumsum(np.bincount(self._places, minlength=self._slots))
        chosen = np.empty(len(order), dtype=bool)
        chosen[order] = ends[self._places[order]] - np.arange(len(order)) <= most
        return chosen
