"""Shapley values by sampling: what an input adds to a forecast, averaged over random orders in which inputs come in.

Source: Castro, Gomez and Tejada, Computers & Operations Research 36 (2009); antithetic pairs (each order and its
reverse): Mitchell et al., JMLR 23 (2022), section 3.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import plugins
from headrace.models.backends import Shape
from headrace.models.explainers import Subject
from headrace.records import Array

BATCH = 4_000_000
"""Input values predicted from at a time, 32 MB."""


class Sampling:
    """Shapley values by permutation sampling: asks the model for predictions and nothing else, so it explains any model.

    Complete by construction. With features of each target, a feature is switched from baseline to input in the rows of all
    targets at once, and what it changes in a target is the contribution of the target's own row. Of more than `groups`
    inputs neighbours are switched together; each then gets what it changes alone (added to the baseline, and taken from the
    input, averaged), and what is left of its group's contribution in proportion: exact where inputs only add up.
    """

    class Params(plugins.Params):
        pairs: int = Field(default=32, ge=1, le=10_000)
        """Random orders; each is used forwards and backwards."""
        groups: int = Field(default=48, ge=1, le=1000)
        """Most groups of inputs that are told apart."""
        seed: int = 0
        """Of the orders."""

    needs: ClassVar[str] = ""
    method: ClassVar[str] = "sampling"
    tolerance: ClassVar[float] = 1e-5

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        self._params, self._subject = params, subject
        self._groups = group(subject.shape, params.groups)
        rows, columns = subject.shape.input
        count = columns if subject.shape.per_target else rows * columns
        self._inputs: NDArray[np.int64] = np.broadcast_to(np.arange(count).reshape(-1, columns), subject.shape.input)
        """Number of each input; that of a feature in all rows."""
        self._owner: NDArray[np.int64] = self._groups.reshape(-1)[:count]
        """Group of each input."""
        size = int(np.bincount(self._owner).max())
        shared = f"; within groups of up to {size} inputs shared by what each changes alone" if size > 1 else ""
        self.note = f"estimated from {2 * params.pairs} random orders of the inputs{shared}"

    def explain(self, x: Array, baseline: Array) -> Array:
        shape, count = self._subject.shape, int(self._owner.max()) + 1
        base, prediction = self._subject.predict(np.stack([baseline, x]))
        total, random = np.zeros((count, shape.horizon)), np.random.default_rng(self._params.seed)
        for _ in range(self._params.pairs):
            order = random.permutation(count)
            for way in (order, order[::-1]):
                total[way] += np.diff(self._walk(way, x, baseline, base, prediction), axis=0)
        total /= 2 * self._params.pairs
        each = self._apart(total, x, baseline, base, prediction) if count < len(self._owner) else total[self._owner]
        result: Array = np.ascontiguousarray(each.T)
        return result if shape.per_target else result.reshape(shape.horizon, *shape.input)

    def _apart(self, total: Array, x: Array, baseline: Array, base: Array, last: Array) -> Array:
        """Contributions of the inputs, (inputs, horizon), from those of their groups, (groups, horizon)."""
        alone = self._alone(x, baseline) - base
        lacking = last - self._alone(baseline, x)
        differs = np.zeros(len(alone))
        np.maximum.at(differs, self._inputs, x != baseline)
        effect = (alone + lacking) / 2 * differs[:, None]
        weight = np.abs(effect)
        weight = np.where(self._summed(weight)[self._owner] > 0, weight, differs[:, None])
        whole = self._summed(weight)[self._owner]
        share = weight / np.where(whole > 0, whole, 1)
        result: Array = effect + (total - self._summed(effect))[self._owner] * share
        return result

    def _alone(self, x: Array, baseline: Array) -> Array:
        """Predictions with one input at a time taken from `x`, (inputs, horizon)."""
        count, step = len(self._owner), max(1, BATCH // max(1, x.size))
        made = []
        for start in range(0, count, step):
            here = np.arange(start, min(start + step, count))[:, None, None]
            made.append(self._subject.predict(np.where(self._inputs[None] == here, x[None], baseline[None])))
        return np.concatenate(made)

    def _summed(self, values: Array) -> Array:
        """(inputs, horizon) summed over each group."""
        sums = np.zeros((int(self._owner.max()) + 1, values.shape[1]))
        np.add.at(sums, self._owner, values)
        return sums

    def _walk(self, order: NDArray[np.int64], x: Array, baseline: Array, base: Array, last: Array) -> Array:
        """Predictions while the groups come in one after the other, (groups + 1, horizon), baseline first."""
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        places = rank[self._groups]
        made, step = [base[None]], max(1, BATCH // max(1, x.size))
        for start in range(1, len(order), step):
            here = np.arange(start, min(start + step, len(order)))[:, None, None]
            made.append(self._subject.predict(np.where(places[None] < here, x[None], baseline[None])))
        made.append(last[None])
        return np.concatenate(made)


def group(shape: Shape, most: int) -> NDArray[np.int64]:
    """Number of the group of each input, shape `Shape.input`.

    >>> group(Shape((6, 1), 2), 3).ravel()
    array([0, 0, 1, 1, 2, 2])
    """
    rows, columns = shape.input
    if shape.per_target:
        width = -(-columns // most)
        return np.broadcast_to(np.arange(columns) // width, shape.input)
    steps = max(1, most // columns)
    length = -(-rows // steps)
    blocks = -(-rows // length)
    places = (np.arange(rows) // length)[:, None] + blocks * (np.arange(columns) // -(-columns // most))[None, :]
    _, dense = np.unique(places, return_inverse=True)
    groups: NDArray[np.int64] = dense.reshape(shape.input).astype(np.int64)
    return groups
