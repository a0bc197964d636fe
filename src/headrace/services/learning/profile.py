"""The mean profile: what a model usually sees when it forecasts at this time of day. What explanations compare with."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.records import DAY, Array

SLOTS = 24
"""Most slots of a day that are told apart."""
VALUES = 2**15
"""Most values kept over all slots, 256 kB; one slot is kept whatever its size."""


class Profile:
    """Running means of the inputs, for each local time of day at which forecasts are made.

    Args:
        every: ns between forecasts.
        shape: of the inputs.
    """

    def __init__(self, every: int, shape: tuple[int, ...]) -> None:
        slots = max(1, min(SLOTS, VALUES // max(1, int(np.prod(shape))), DAY // max(1, every)))
        self._shape, self._width = shape, DAY // slots
        self._sums: dict[int, Array] = {}
        self._counts: dict[int, int] = {}

    def add(self, local: int, x: Array) -> None:
        """The inputs of a forecast made at a local time, ns; those that are not finite are left out."""
        if not np.isfinite(x).all():
            return
        slot = local % DAY // self._width
        self._sums[slot] = self._sums[slot] + x if slot in self._sums else x.copy()
        self._counts[slot] = self._counts.get(slot, 0) + 1

    def mean(self, local: int) -> Array | None:
        """The mean inputs at a local time; None if there were none yet."""
        slot = local % DAY // self._width
        return self._sums[slot] / self._counts[slot] if slot in self._sums else None

    def state(self) -> dict[str, Any]:
        """Everything."""
        order = sorted(self._sums)
        sums = np.array([self._sums[slot] for slot in order]).reshape(-1, *self._shape)
        return {"width": self._width, "slots": order, "counts": [self._counts[slot] for slot in order], "sums": sums}

    def load(self, state: dict[str, Any] | None) -> None:
        """Go on from a `state`; None is that of a checkpoint made before there were profiles."""
        if state is None:
            return
        self._width = state["width"]
        self._sums = dict(zip(state["slots"], state["sums"], strict=True))
        self._counts = dict(zip(state["slots"], state["counts"], strict=True))
