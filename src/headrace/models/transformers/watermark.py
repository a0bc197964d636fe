"""How far event time has come, and which readings may move it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.records import Array

_AGREE = 3
"""Readings that have to agree before event time jumps."""
_HELD = 8
"""Readings held at most; the oldest goes first."""
_SLICE = 4096


class Block(NamedTuple):
    """Readings in arrival order."""

    time: NDArray[np.int64]
    values: Array
    """(n, columns)."""

    def part(self, index: Any) -> Block:
        """The readings selected by a slice or mask."""
        return Block(self.time[index], self.values[index])


class Watermark:
    """The running maximum of event time, safe from single readings with an absurd clock.

    A reading more than `jump` ahead of the maximum, and the very first, is held until three such readings in a row lie
    within `jump` of each other; these then count, in the order in which they came. As soon as an ordinary reading comes
    instead, the held ones are dropped as absurd.
    """

    def __init__(self, jump: int) -> None:
        self._jump = jump
        self.peak: int | None = None
        self.absurd = 0
        self._held: list[tuple[int, Array]] = []

    @property
    def held(self) -> int:
        """Readings waiting for others to agree."""
        return len(self._held)

    def steady(self, block: Block) -> int:
        """How many readings at the start of the block are ordinary; if any are, those held are dropped."""
        count = self._ordinary(block.time)
        if count and self._held:
            self.absurd += len(self._held)
            self._held = []
        return count

    def hold(self, time: int, values: Array) -> Block | None:
        """Hold one reading that is far ahead; the readings that now agree with each other, if there are enough."""
        self._held.append((time, values.copy()))
        agreed = [reading for reading in self._held if abs(reading[0] - time) <= self._jump]
        if len(agreed) >= _AGREE:
            self.absurd += len(self._held) - len(agreed)
            self._held = []
            return _block(agreed)
        if len(self._held) > _HELD:
            del self._held[0]
            self.absurd += 1
        return None

    def pass_by(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """The maximum as it was when each reading had come; it stays at the last."""
        peaks: NDArray[np.int64] = np.maximum.accumulate(time)
        if self.peak is not None:
            peaks = np.maximum(peaks, self.peak)
        self.peak = int(peaks[-1])
        return peaks

    def state(self) -> dict[str, Any]:
        """The maximum, the counter and the held readings."""
        return {"peak": self.peak, "absurd": self.absurd, "held": [[time, values] for time, values in self._held]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.peak, self.absurd = state["peak"], state["absurd"]
        self._held = [(time, values) for time, values in state["held"]]

    def _ordinary(self, time: NDArray[np.int64]) -> int:
        if self.peak is None:
            return 0
        if int(time.max()) - self.peak <= self._jump:
            return len(time)
        peak = self.peak
        for start in range(0, len(time), _SLICE):
            part = time[start : start + _SLICE]
            before = np.maximum(np.concatenate([[peak], part[:-1]]), peak)
            before = np.maximum.accumulate(before)
            ahead = np.flatnonzero(part > before + self._jump)
            if len(ahead):
                return start + int(ahead[0])
            peak = max(peak, int(part.max()))
        return len(time)


def _block(readings: list[tuple[int, Array]]) -> Block:
    return Block(np.array([time for time, _ in readings], np.int64), np.stack([values for _, values in readings]))
