"""Slots of the day: which part of the local day a target lies in."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from headrace.models.transformers import Context
from headrace.models.transformers.calendar import offsets
from headrace.records import DAY

MOST = 288
"""Slots of a day at most (5 minutes each): finer grids share them, so that states stay small."""


class Slots:
    """The local day cut into parts of the grid step's length, or of 5 minutes if that is longer.

    When the clocks change, a day has a slot twice, or one not at all.
    """

    def __init__(self, context: Context) -> None:
        self._width = max(context.every, DAY // MOST)
        self._zone = ZoneInfo(context.timezone)
        self.count = -(-DAY // self._width)

    def of(self, times: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(slot, number of the local day) of each time."""
        day, clock = np.divmod(times + offsets(times, self._zone), DAY)
        return clock // self._width, day
