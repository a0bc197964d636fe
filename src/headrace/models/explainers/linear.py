"""Exact contributions of models that add their inputs up: recursive least squares, ridge, the baselines."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headrace import plugins
from headrace.errors import Unsupported
from headrace.models.explainers import Subject
from headrace.records import Array

FLAT = 1e-12
"""Where the sum of all terms moves less than this there is nothing to divide by."""


class Linear:
    """Term of the input minus term of the baseline: w * (x - baseline).

    Where the floor takes something away from a forecast, it takes it from every contribution in proportion (the rescale
    rule of DeepLIFT for the floor).
    """

    class Params(plugins.Params):
        """No settings."""

    needs: ClassVar[str] = "terms"
    method: ClassVar[str] = "linear"
    note: ClassVar[str] = ""
    tolerance: ClassVar[float] = 1e-5

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        if subject.additive is None:
            raise Unsupported(
                detail="method 'linear' explains sums of terms, and this model is none; use auto or sampling"
            )
        self._model = subject.additive

    def explain(self, x: Array, baseline: Array) -> Array:
        terms, rest = self._model.terms(np.stack([x, baseline]))
        contributions: Array = terms[0] - terms[1]
        floor = self._model.floor
        if floor is None:
            return contributions
        sums = terms.reshape(2, len(rest), -1).sum(axis=2) + rest
        moved, shown = sums[0] - sums[1], np.maximum(sums[0], floor) - np.maximum(sums[1], floor)
        flat = np.abs(moved) < FLAT
        above = (sums.mean(axis=0) > floor).astype(np.float64)
        share = np.where(flat, above, shown / np.where(flat, 1.0, moved))
        contributions *= share.reshape(-1, *[1] * (contributions.ndim - 1))
        return contributions
