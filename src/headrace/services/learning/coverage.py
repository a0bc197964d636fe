"""What the bands were worth: served forecasts' bands, counted against the truths when these are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.events import Covered, Held, Measured
from headrace.records import DAY, HOUR, Array

DAYS = 30
"""The trailing window, in days of event time."""


def count(
    model: str, key: str, origin: int, band: tuple[Array, Array], truth: Array, active: NDArray[np.bool_]
) -> Covered | None:
    """One scored forecast. All in the target's unit; (horizon,) each.

    Args:
        band: lower and upper bound as they were issued.
        truth: NaN where it is not known.
        active: which targets count as active.

    Returns:
        None if no target is known.
    """
    low, high = band
    known = np.isfinite(truth)
    if not known.any():
        return None
    held, width, active = known & (low <= truth) & (truth <= high), high - low, known & active
    return Covered(
        model=model,
        key=key,
        origin=origin,
        n=int(known.sum()),
        covered=int(held.sum()),
        width=float(width[known].sum()),
        active=int(active.sum()),
        active_covered=int((held & active).sum()),
        active_width=float(width[active].sum()),
    )


class Coverage:
    """One key's sums over the trailing `DAYS`, by hour of the forecasts' origins: 720 rows at most.

    Args:
        nominal: what the bands promise.
    """

    def __init__(self, nominal: float) -> None:
        self._nominal = nominal
        self._hours: dict[int, list[float]] = {}
        """Hour since the epoch -> n, covered, width, active, active covered, active width."""

    def add(self, scored: Covered) -> None:
        """A scored forecast; what is older than the window is forgotten."""
        new = (scored.n, scored.covered, scored.width, scored.active, scored.active_covered, scored.active_width)
        hour = scored.origin // HOUR
        row = self._hours.setdefault(hour, [0.0] * len(new))
        self._hours[hour] = [known + more for known, more in zip(row, new, strict=True)]
        oldest = max(self._hours) - DAYS * DAY // HOUR
        if min(self._hours) <= oldest:
            self._hours = {hour: row for hour, row in self._hours.items() if hour > oldest}

    def measured(self, time: int) -> Measured | None:
        """The sums over the window before `time`; None if no band was scored in it."""
        since = time // HOUR - DAYS * DAY // HOUR
        rows = [row for hour, row in sorted(self._hours.items()) if hour >= since]
        if not rows:
            return None
        n, covered, width, active, active_covered, active_width = (sum(column) for column in zip(*rows, strict=True))
        daylight = Held(0, None, None)
        if active:
            daylight = Held(int(active), active_covered / active, active_width / active)
        return Measured(self._nominal, DAYS, int(n), covered / n, width / n, daylight)

    def state(self) -> dict[str, Any]:
        """The sums."""
        hours = sorted(self._hours)
        return {"hours": hours, "sums": [self._hours[hour] for hour in hours]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._hours = dict(zip(state["hours"], state["sums"], strict=True))
