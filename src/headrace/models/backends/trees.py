"""An ensemble of regression trees as plain arrays: what a boosted model is served and saved as."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from headrace.records import Array

DTYPES: dict[str, type[np.generic]] = {
    "feature": np.int32,
    "threshold": np.float64,
    "left": np.int32,
    "right": np.int32,
    "value": np.float64,
    "roots": np.int32,
    "base": np.float64,
}
_CHUNK = 4096
"""Rows that go down the trees at once."""


class Trees:
    """Nodes of all trees end to end. A row goes left where its feature is at most the threshold.

    A leaf is its own left and right, so that rows that have arrived stay; its parent's number is smaller than its own.
    """

    names: ClassVar[tuple[str, ...]] = tuple(DTYPES)

    def __init__(self, arrays: dict[str, NDArray[Any]], features: int) -> None:
        """Raises ValueError: the arrays are no trees over that many features."""
        for name, dtype in DTYPES.items():
            if arrays[name].dtype != np.dtype(dtype) or arrays[name].ndim != 1:
                raise ValueError(f"{name} is {arrays[name].dtype}{arrays[name].shape}")
        self.arrays = arrays
        nodes = len(arrays["feature"])
        if any(len(arrays[name]) != nodes for name in ("threshold", "left", "right", "value")):
            raise ValueError("nodes of different lengths")
        own = np.arange(nodes)
        inside = all(((arrays[name] >= own) & (arrays[name] < nodes)).all() for name in ("left", "right"))
        roots = arrays["roots"]
        if not inside or ((roots < 0) | (roots >= nodes)).any() or len(arrays["base"]) != 1:
            raise ValueError("a node leads nowhere")
        if ((arrays["feature"] < 0) | (arrays["feature"] >= features)).any() or not np.isfinite(arrays["value"]).all():
            raise ValueError("a node asks for a feature that does not exist, or has no value")
        self._inner = arrays["left"] != own

    def predict(self, rows: Array) -> Array:
        """(n,) sums over all trees of (n, features) rows."""
        parts = [self._descend(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _descend(self, rows: Array) -> Array:
        feature, threshold = self.arrays["feature"], self.arrays["threshold"]
        left, right = self.arrays["left"], self.arrays["right"]
        node = np.broadcast_to(self.arrays["roots"], (len(rows), len(self.arrays["roots"]))).copy()
        place = np.arange(len(rows))[:, None]
        while self._inner[node].any():
            low = rows[place, feature[node]] <= threshold[node]
            node = np.where(low, left[node], right[node])
        result: Array = self.arrays["value"][node].sum(axis=1) + self.arrays["base"][0]
        return result


def nothing() -> dict[str, NDArray[Any]]:
    """No trees: predicts zero."""
    arrays: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in DTYPES.items()}
    return {**arrays, "base": np.zeros(1)}


def with_lead(x: Array, horizon: int, per_target: bool) -> Array:
    """(n · horizon, d + 1) rows: each target's own features, or the flattened window, and which target it is."""
    n = len(x)
    if per_target:
        wide = x
    else:
        size = x.shape[1] * x.shape[2]
        wide = np.broadcast_to(x.reshape(n, 1, size), (n, horizon, size))
    lead = np.broadcast_to(np.arange(horizon, dtype=np.float64)[None, :, None], (n, horizon, 1))
    return np.ascontiguousarray(np.concatenate([wide, lead], axis=2).reshape(n * horizon, wide.shape[2] + 1))
