"""What all our intervals share: trailing residuals by slot of the day, and the limits a band is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Settings
from headrace.models.intervals.limits import Limits
from headrace.models.intervals.residuals import Residuals
from headrace.models.intervals.slots import Slots
from headrace.models.transformers import Context
from headrace.records import Array


class Trailing:
    """An interval but for `cover`."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._minimum, self._slots = settings.minimum, Slots(context)
        self._limits = Limits(settings, self._slots)
        self._residuals = Residuals(settings.days, self._slots.count)

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
