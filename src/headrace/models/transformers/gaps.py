"""Closed windows to rows without holes: which window comes next, and what stands in the empty ones."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.records import Array

Closed = tuple[int, Array, NDArray[np.bool_], NDArray[np.bool_], Array]
"""First window, (n, columns) values, which rows were filled in, which of them from a reading after them, coverage."""


class Policy(Protocol):
    """What `Resample.Params` says about gaps."""

    @property
    def fill(self) -> str: ...
    @property
    def up_to(self) -> int: ...
    @property
    def beyond(self) -> str: ...
    @property
    def beyond_masked(self) -> bool: ...
    @property
    def asleep_below(self) -> float | None: ...
    @property
    def outage(self) -> int: ...
    @property
    def minimum_coverage(self) -> float: ...


class Grid:
    """Starts at the first window that is not empty. Column 0 decides whether one is."""

    def __init__(self, policy: Policy, every: int, columns: int) -> None:
        self._policy = policy
        self._limit = policy.up_to // every
        self._outage = -(-policy.outage // every)
        self._next: int | None = None
        self._gap = 0
        self._last: Array = np.full(columns, np.nan)
        self._waiting: Array = np.empty(0)

    def behind(self, closed: int) -> bool:
        """Whether windows before `closed` are still to be dealt with."""
        return self._next is not None and self._next + len(self._waiting) < closed

    def close(self, found: NDArray[np.int64], values: Array, coverage: Array, closed: int) -> Closed:
        """The rows that can leave when all windows before `closed` are closed; `found` are those with readings."""
        full = np.isfinite(values[:, 0]) & (coverage >= self._policy.minimum_coverage)
        if self._next is None and full.any():
            self._next = int(found[full][0])
        if self._next is None:
            return 0, values[:0], np.empty(0, np.bool_), np.empty(0, np.bool_), coverage[:0]
        first = self._next
        seen = np.concatenate([self._waiting, np.zeros(closed - first - len(self._waiting))])
        dense = np.full((len(seen), values.shape[1]), np.nan)
        inside = found >= first
        seen[found[inside] - first] = coverage[inside]
        dense[found[full] - first] = values[full]
        return self._fill(first, dense, seen)

    def skip(self, window: int) -> None:
        """Forget the gap so far: the next row is that of `window`, far inside it."""
        if self._next is not None:
            self._next, self._waiting = window, np.empty(0)
            self._gap = max(self._limit, self._outage) + 1

    def state(self) -> dict[str, Any]:
        """The next window, and the gap before it."""
        return {"next": self._next, "gap": self._gap, "last": self._last, "waiting": self._waiting}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._next, self._gap = state["next"], state["gap"]
        self._last, self._waiting = state["last"], state["waiting"]

    def _fill(self, first: int, values: Array, seen: Array) -> Closed:
        """Fill the gaps; keep back one that has not ended and may yet be interpolated."""
        empty = ~np.isfinite(values[:, 0])
        masked, ahead, ready = empty.copy(), np.zeros(len(values), np.bool_), len(values)
        before, self._gap = self._gap, 0
        for start, stop in _runs(empty):
            length = stop - start + (before if start == 0 else 0)
            left = values[start - 1].copy() if start else self._last
            if stop == len(values):
                self._last, self._gap = left, length
            if stop < len(values) and self._policy.fill == "interpolate" and length <= self._limit:
                values[start:stop], ahead[start:stop] = _between(left, values[stop], length), True
            elif stop == len(values) and self._policy.fill == "interpolate" and length <= self._limit:
                ready, self._gap = start, 0
            else:
                place = np.arange(length - (stop - start), length)
                masked[start:stop] = self._alone(values[start:stop], place, left)
        if len(values) and not empty[-1]:
            self._last = values[-1].copy()
        self._next, self._waiting = first + ready, seen[ready:]
        return first, values[:ready], masked[:ready], ahead[:ready], seen[:ready]

    def _alone(self, values: Array, place: NDArray[np.int64], left: Array) -> NDArray[np.bool_]:
        """Fill windows at these places of a gap from its left side alone; which of them are masked."""
        policy = self._policy
        near = (place < self._limit) & (policy.fill != "interpolate")
        values[near] = _constant(policy.fill, left)
        values[~near] = _constant(policy.beyond, left)
        if policy.beyond == "zero" and not policy.beyond_masked:
            awake = policy.asleep_below is not None and bool(left[0] > policy.asleep_below)
            return near | (place >= self._outage) | awake
        return np.ones(len(place), np.bool_)


def _runs(empty: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(empty, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _between(left: Array, right: Array, count: int) -> Array:
    """`count` rows on the straight line from left to right."""
    share = np.arange(1, count + 1)[:, None] / (count + 1)
    line: Array = left + (right - left) * share
    return line


def _constant(kind: str, left: Array) -> Array:
    """The row that fills a gap: zero (column 0; the others hold), hold, or nan."""
    if kind == "nan":
        return np.full(len(left), np.nan)
    return np.concatenate([[0.0], left[1:]]) if kind == "zero" else left
