"""What a band is held to, whatever it was drawn from: the limits of the target, and its quiet slots."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Settings
from headrace.models.intervals.slots import Slots
from headrace.records import Array

NEVER = -(10**9)
"""No day of a truth."""
ENOUGH = 3
"""Days a slot must be known for before it is called quiet."""


class Limits:
    """Clips bands, and narrows them where the truth has been about zero for days.

    For the quiet rule it keeps the largest absolute truth of each slot and day: `count` x `days` numbers.
    """

    def __init__(self, settings: Settings, slots: Slots) -> None:
        self._clip, self._quiet, self._slots = settings.clip, settings.quiet, slots
        days = settings.quiet.days if settings.quiet else 0
        self._largest: Array = np.zeros((slots.count, days))
        self._day = np.full((slots.count, days), NEVER, np.int64)
        """Number of the local day that each of `_largest` is of."""

    def learn(self, truth: Array, places: NDArray[np.int64], days: NDArray[np.int64]) -> None:
        """Truths, NaN where unknown, with their slots and local days."""
        if self._quiet is None:
            return
        for value, place, day in zip(np.abs(truth).tolist(), places.tolist(), days.tolist(), strict=True):
            column = day % self._quiet.days
            if isfinite(value) and day >= self._day[place, column]:
                before = self._largest[place, column] if day == self._day[place, column] else 0.0
                self._largest[place, column] = max(before, value)
                self._day[place, column] = day

    def apply(
        self, lower: Array, upper: Array, places: NDArray[np.int64], days: NDArray[np.int64]
    ) -> tuple[Array, Array] | None:
        """The band of targets in these slots and local days; None if a bound is not finite."""
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            return None
        if self._quiet is not None and len(places):
            lower, upper = self._narrowed(lower, upper, places, int(days.min()))
        if self._clip is not None:
            low, high = self._clip.low, self._clip.high
            if low is not None or high is not None:
                lower, upper = np.clip(lower, low, high), np.clip(upper, low, high)
        return lower, upper

    def _narrowed(self, lower: Array, upper: Array, places: NDArray[np.int64], day: int) -> tuple[Array, Array]:
        """The band with 0 ± width in the slots that were quiet in the days before `day`."""
        assert self._quiet is not None
        fresh = self._day >= day - self._quiet.days
        seen = np.where(fresh, self._largest, 0.0).max(axis=1)
        most = float(seen.max())
        below = _amount(self._quiet.below, most)
        width = below if self._quiet.width is None else _amount(self._quiet.width, most)
        enough = fresh.sum(axis=1) >= min(ENOUGH, self._quiet.days)
        quiet = (enough & (seen <= below))[places]
        return np.where(quiet, -width, lower), np.where(quiet, width, upper)

    def state(self) -> dict[str, Any]:
        """The largest truths and their days."""
        return {"largest": self._largest.copy(), "day": self._day.copy()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._largest, self._day = state["largest"].copy(), state["day"].copy()


def _amount(given: float | str, most: float) -> float:
    """A number of the spec: in the target's unit, or "0.1%" of `most`."""
    return float(given.rstrip("% ")) / 100 * most if isinstance(given, str) else float(given)
