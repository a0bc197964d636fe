"""Medians of many groups at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.records import Array


def medians(values: Array, place: NDArray[np.int64], size: int = 0) -> Array:
    """(slots,) median of each; NaN where a slot is empty."""
    order = np.lexsort((values, place))
    ordered = values[order]
    counts = np.bincount(place, minlength=size)
    starts = np.cumsum(counts) - counts
    found = np.full(len(counts), np.nan)
    full = counts > 0
    low, high = starts[full] + (counts[full] - 1) // 2, starts[full] + counts[full] // 2
    found[full] = (ordered[low] + ordered[high]) / 2
    return found
