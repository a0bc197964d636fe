"""What the steps share: a column as floats, blocks put end to end, and the tail of a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.records import DAY, HOUR, MINUTE, SECOND, Array, Rows


def nothing() -> Rows:
    """No rows (and so no columns: an empty block need not name them)."""
    return Rows(np.empty(0, np.int64))


def column(rows: Rows, name: str) -> Array:
    """A column as float64; NaN where a value is no number, or everywhere if there is no such column."""
    found = rows.columns.get(name)
    if found is None:
        return np.full(len(rows), np.nan)
    if found.dtype.kind in "fiub":
        return found.astype(np.float64, copy=False)
    return np.array([value if isinstance(value, (int, float)) else np.nan for value in found.tolist()], np.float64)


def masked(rows: Rows) -> NDArray[np.bool_]:
    """Which rows were filled in."""
    return _flags(rows, "masked")


def ahead(rows: Rows) -> NDArray[np.bool_]:
    """Which rows were filled in with the help of a reading that came after them."""
    return _flags(rows, "ahead")


def _flags(rows: Rows, name: str) -> NDArray[np.bool_]:
    found = rows.columns.get(name)
    return np.zeros(len(rows), np.bool_) if found is None else found.astype(np.bool_, copy=False)


def join(blocks: Sequence[Rows]) -> Rows:
    """Blocks end to end; a number missing from one of them is NaN there. Blocks without rows are left out."""
    full = [block for block in blocks if len(block)]
    if len(full) < 2:
        return full[0] if full else nothing()
    names = list(dict.fromkeys(name for block in full for name in block.columns))
    columns = {name: np.concatenate([_or_missing(block, name, full) for block in full]) for name in names}
    return Rows(np.concatenate([block.time for block in full]), columns)


def _or_missing(block: Rows, name: str, others: Sequence[Rows]) -> NDArray[np.generic]:
    if name in block.columns:
        return block.columns[name]
    like = next(other.columns[name] for other in others if name in other.columns)
    missing = np.nan if like.dtype.kind == "f" else np.zeros((), like.dtype)
    return np.full((len(block), *like.shape[1:]), missing, like.dtype)


class Tail:
    """The last `size` rows of a series, NaN before its first: what a feature step remembers between blocks."""

    def __init__(self, size: int, fields: int = 1) -> None:
        self.values: Array = np.full((size, fields), np.nan)

    def extend(self, block: Array) -> Array:
        """The tail followed by the block, (size + n, fields); the tail moves on."""
        joined = np.concatenate([self.values, block])
        self.values = joined[len(block) :].copy()
        return joined

    def load(self, values: Array) -> None:
        """Go on from another tail's `values`."""
        if values.shape != self.values.shape:
            raise ValueError(f"expected a tail of shape {self.values.shape}, got {values.shape}")
        self.values = values


def period(length: int) -> str:
    """A length of time for people.

    >>> period(36 * HOUR), period(90 * MINUTE), period(7 * DAY)
    ('36 h', '90 min', '7 days')
    """
    for name, unit, least in (("days", DAY, 3 * DAY), ("h", HOUR, HOUR), ("min", MINUTE, MINUTE)):
        if length >= least and length % unit == 0:
            return f"{length // unit} {name}"
    return f"{length / SECOND:g} s"
