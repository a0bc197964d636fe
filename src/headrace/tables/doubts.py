"""What is odd about the rows of one device: times far from all others, and two devices under one name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.records import DAY, HOUR, Array, Rows

_FAR = 5 * 365 * DAY
"""A few rows further from the rest than this, and than twice the time the rest takes, come of a wrong clock."""
_FEW = 3
_SOON = 4 * HOUR
"""Readings further apart may jump to and fro because days and nights do."""
_JUMPS = 5.0
"""So many times as far from one reading to the next as to the one after that: they are of different things."""
_ENOUGH = 24
"""Readings below which nothing is said."""


def without_strays(rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """(the rows without a few whose times are years from all others, the times left out)."""
    order = np.argsort(rows.time, kind="stable")
    time = rows.time[order].astype(np.float64)  # differences of centuries are beyond int64
    few = min(max(_FEW, len(time) // 1000), len(time) // 4)
    first = max((k for k in range(1, few + 1) if _apart(time[k] - time[k - 1], time[-1 - few] - time[k])), default=0)
    ends = (len(time) - k for k in range(1, few + 1))
    stop = min((k for k in ends if _apart(time[k] - time[k - 1], time[k - 1] - time[first])), default=len(time))
    if stop - first == len(time):
        return rows, rows.time[:0]
    return rows.take(np.sort(order[first:stop])), rows.time[np.concatenate([order[:first], order[stop:]])]


def _apart(gap: float, rest: float) -> bool:
    return gap > max(_FAR, 2 * rest)


def interleaved(rows: Rows) -> list[str]:
    """The columns whose readings jump to and fro, as those of two or three devices do that take turns.

    Of one quantity two neighbours in time are closer than two with others between them, and of noise as close.
    """
    order = np.argsort(rows.time, kind="stable")
    return [name for name, values in rows.columns.items() if _jumps(rows.time[order], values[order])]


def _jumps(time: NDArray[np.int64], values: Array) -> bool:
    known = np.isfinite(values)
    time, values = time[known], values[known]
    if len(values) < _ENOUGH:
        return False
    step = float(np.median(np.abs(np.diff(values))))
    return any(
        np.median(time[turn:] - time[:-turn]) <= _SOON
        and step > _JUMPS * float(np.median(np.abs(values[turn:] - values[:-turn])))
        for turn in (2, 3)
    )
