"""Figures of columns of numbers, exact, in passes over blocks: the memory does not grow with the rows.

Pass 1 counts and takes means and squares: within a block the corrected two-pass form, between blocks the merge of
Chan, Golub and LeVeque ("Algorithms for computing the sample variance", The American Statistician 37, 1983).
Pass 2 takes products of what is centred on those means, and begins to close in on the quantiles (`ranks.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.inside.ranks import Ranks
from headrace.inside.work import rounded

Array: TypeAlias = NDArray[np.float64]
Blocks: TypeAlias = Callable[[], Iterator[Array]]
"""Gives all rows, in blocks of shape (rows, columns), every time it is called. Missing is NaN."""
BLOCK = 2**21
"""Values of a block: 16 MiB."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Moments:
    """Counts, range, mean and squared deviations of each column."""

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.count, self.missing, self.infinite = (np.zeros(columns, np.int64) for _ in range(3))
        self.mean, self.squares = np.zeros(columns), np.zeros(columns)
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.whole = np.ones(columns, bool)
        """Columns of whole numbers only."""

    def add(self, block: Array) -> None:
        """Take in more rows."""
        known = np.isfinite(block)
        full = bool(known.all())
        count = known.sum(0)
        values = block if full else np.where(known, block, 0.0)
        self.rows += len(block)
        self.missing += np.isnan(block).sum(0) if not full else 0
        self.infinite += np.isinf(block).sum(0) if not full else 0
        self.low = np.minimum(self.low, block.min(0, initial=np.inf, where=known))
        self.high = np.maximum(self.high, block.max(0, initial=-np.inf, where=known))
        self.whole &= (np.floor(values) == values).all(0)
        self._merge(count, *_centred(values, known, count))

    def _merge(self, count: NDArray[np.int64], mean: Array, squares: Array) -> None:
        total = np.maximum(self.count + count, 1)
        delta = mean - self.mean
        self.squares += squares + delta**2 * (self.count * (count / total))
        self.mean += delta * (count / total)
        self.count += count

    def figures(self, column: int) -> dict[str, Any]:
        """Of one column. std is that of a sample (n - 1)."""
        count, constant = int(self.count[column]), self.low[column] == self.high[column]
        found: dict[str, Any] = {"count": count, "missing": int(self.missing[column])}
        found["infinite"] = int(self.infinite[column])
        if not count:
            return found | {"min": None, "max": None, "mean": None, "std": None}
        mean = self.low[column] if constant else rounded(self.mean[column])
        square = 0.0 if constant else self.squares[column]
        std = rounded(float(np.sqrt(square / (count - 1)))) if count > 1 else None
        return found | {
            "min": float(self.low[column]),
            "max": float(self.high[column]),
            "mean": float(mean),
            "std": std,
        }


def _centred(values: Array, known: NDArray[np.bool_], count: NDArray[np.int64]) -> tuple[Array, Array]:
    """(mean, sum of squared deviations) of each column of a block; what is not known is 0 in `values`."""
    some = np.maximum(count, 1)
    mean = values.sum(0) / some
    off = values - mean
    if not known.all():
        off[~known] = 0.0
    left = off.sum(0)
    squares = np.einsum("ij,ij->j", off, off) - left**2 / some
    return mean + left / some, squares


class Products:
    """Covariance and correlation of every two columns over the rows that have both."""

    def __init__(self, moments: Moments, columns: int) -> None:
        self.mean, self.constant = moments.mean[:columns], (moments.low == moments.high)[:columns]
        shape = (columns, columns)
        self.both, self.sums, self.squares, self.products = (np.zeros(shape) for _ in range(4))

    def add(self, block: Array) -> None:
        """Take in the same rows again."""
        part = block[:, : len(self.mean)]
        known = np.isfinite(part)
        off = np.where(known, part - self.mean, 0.0)
        self.products += off.T @ off
        if known.all():
            self.both += len(part)
            self.sums += off.sum(0)[:, None]
            self.squares += np.einsum("ij,ij->j", off, off)[:, None]
            return
        there = known.astype(np.float64)
        self.both += there.T @ there
        self.sums += off.T @ there
        self.squares += (off * off).T @ there

    def matrices(self) -> tuple[list[list[float | None]], list[list[float | None]]]:
        """(covariance (n - 1), correlation); null where fewer than two rows have both, or a column does not vary."""
        n = np.maximum(self.both, 1)
        spread = self.squares - self.sums**2 / n
        spread[spread <= 1e-13 * self.squares] = np.nan  # constant but for rounding
        spread[self.constant] = np.nan
        covariance = (self.products - self.sums * self.sums.T / n) / (self.both - 1)
        covariance[self.constant], covariance[:, self.constant] = 0.0, 0.0
        correlation = np.clip(covariance * (self.both - 1) / np.sqrt(spread * spread.T), -1, 1)
        few = self.both < 2
        return _cells(np.where(few, np.nan, covariance)), _cells(np.where(few, np.nan, correlation))


def _cells(matrix: Array) -> list[list[float | None]]:
    return [[rounded(cell) if np.isfinite(cell) else None for cell in row] for row in matrix.tolist()]


def describe(blocks: Blocks, columns: int, matrix: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None, int]:
    """(figures of each column, matrices of the first `matrix` columns or None for a single one, rows)."""
    with np.errstate(all="ignore"):
        moments = Moments(columns)
        for block in blocks():
            moments.add(block)
        ranks = Ranks(moments, QUANTILES)
        products = Products(moments, min(columns, matrix))
        again = matrix > 1 and columns > 1
        while again or ranks.open:
            for block in blocks():
                ranks.add(block)
                if again:
                    products.add(block)
            ranks.narrow()
            again = False
        found = [moments.figures(column) | {"quantiles": ranks.quantiles(column)} for column in range(columns)]
        if len(products.mean) < 2:
            return found, None, moments.rows
        covariance, correlation = products.matrices()
        return found, {"covariance": covariance, "correlation": correlation}, moments.rows
