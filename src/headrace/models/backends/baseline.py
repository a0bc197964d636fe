"""The two forecasts every model is shown against: the same time yesterday, and the mean of that time of day."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from headrace import plugins
from headrace.errors import CorruptState, LearningError, Unsupported
from headrace.models.backends import Servable, Shape
from headrace.models.backends.saved import expect, finite_inputs, read_safetensors, safetensors, seal, unseal
from headrace.records import Array
from headrace.states import pack

SLOTS = 90_000
"""Most slots a day may have: a 25-hour day at one second."""


class Persistence:
    """Predicts feature 0 of each target, by default the value 24 grid steps before it. Learns nothing."""

    class Params(plugins.Params):
        """No settings: choose another lag in `transform`."""

    features: ClassVar[list[dict[str, Any]]] = [{"lags": {"steps": [24], "ahead": "season"}}]
    rehearses: ClassVar[bool] = False
    heavy: ClassVar[bool] = False

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        _per_target("persistence", shape)

    def predict(self, x: Array) -> Array:
        return x[:, :, 0].copy()

    def fit(self, x: Array, y: Array) -> None:
        """Nothing to fit."""

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """Nothing to learn."""

    def dump(self) -> bytes:
        return seal("persistence", {})

    def load(self, data: bytes) -> None:
        unseal("persistence", data)

    def weights(self) -> bytes:
        return safetensors({})

    def export(self) -> Servable:
        return Servable("numpy", pack({}), kernel="persistence")

    floor: ClassVar[None] = None

    def restore(self, weights: bytes) -> None:
        """There are none."""
        read_safetensors("persistence", weights)

    def terms(self, x: Array) -> tuple[Array, Array]:
        """Feature 0 is all there is."""
        return _first_alone(x, x[:, :, 0])


class HourMean:
    """Predicts the mean of every target seen in the same slot of the day; the mean of all in a slot never seen.

    Feature 0 of each target is its slot: 0, 1, … counted in grid steps from local midnight.
    """

    class Params(plugins.Params):
        """No settings."""

    features: ClassVar[list[dict[str, Any]]] = [{"calendar": {"features": ["slot"]}}]
    rehearses: ClassVar[bool] = False
    heavy: ClassVar[bool] = False

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        _per_target("hour-mean", shape)
        self._sums: Array = np.zeros(0)
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)

    def predict(self, x: Array) -> Array:
        return hour_means(x[:, :, 0], *self._means())

    def fit(self, x: Array, y: Array) -> None:
        self._add(x, y, np.zeros(0), np.zeros(0, np.int64))

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        self._add(x, y, self._sums, self._counts)

    def dump(self) -> bytes:
        return seal("hour-mean", {"sums": self._sums, "counts": self._counts})

    def load(self, data: bytes) -> None:
        state = unseal("hour-mean", data, "sums", "counts")
        counts = expect("hour-mean", "counts", state["counts"], np.zeros(np.size(state["counts"]), np.int64))
        sums = expect("hour-mean", "sums", state["sums"], np.zeros(len(counts)))
        if (counts < 0).any() or not np.isfinite(sums).all():
            raise CorruptState(detail="a state of backend 'hour-mean' holds impossible sums or counts")
        self._sums, self._counts = sums, counts

    def weights(self) -> bytes:
        return safetensors({"sums": self._sums, "counts": self._counts})

    def export(self) -> Servable:
        means, overall = self._means()
        return Servable("numpy", pack({"means": means, "overall": overall}), kernel="hour-mean")

    floor: ClassVar[None] = None

    def restore(self, weights: bytes) -> None:
        """Sums and counts are all there is."""
        state = read_safetensors("hour-mean", weights)
        if set(state) != {"sums", "counts"}:
            raise CorruptState(detail=f"weights of backend 'hour-mean' hold {sorted(state)}")
        self.load(seal("hour-mean", {name: state[name] for name in ("sums", "counts")}))

    def terms(self, x: Array) -> tuple[Array, Array]:
        """The slot in feature 0 is all there is."""
        return _first_alone(x, self.predict(x))

    def _means(self) -> tuple[Array, float]:
        """Mean of each slot, and of everything (0 before the first target)."""
        total = int(self._counts.sum())
        overall = float(self._sums.sum() / total) if total else 0.0
        means = np.where(self._counts > 0, self._sums / np.maximum(self._counts, 1), overall)
        return means, overall

    def _add(self, x: Array, y: Array, sums: Array, counts: NDArray[np.int64]) -> None:
        """Sums and counts after those given and these examples; one after the other, so that no cut shows."""
        finite_inputs(x, y)
        known = np.isfinite(y)
        slots = np.rint(x[:, :, 0][known]).astype(np.int64)
        if slots.size and not 0 <= slots.min() <= slots.max() < SLOTS:
            raise LearningError(detail=f"feature 0 is a slot of the day, expected 0 to {SLOTS - 1}, got {slots.max()}")
        size = max(len(sums), int(slots.max()) + 1 if slots.size else 0)
        sums, counts = (np.concatenate([old, np.zeros(size - len(old), old.dtype)]) for old in (sums, counts))
        with np.errstate(over="ignore", invalid="ignore"):
            np.add.at(sums, slots, y[known])
        np.add.at(counts, slots, 1)
        if not np.isfinite(sums).all():
            raise LearningError(detail="the sum of the targets is too large for a float")
        self._sums, self._counts = sums, counts


def hour_means(slots: Array, means: Array, overall: float) -> Array:
    """The mean of each slot, `overall` where there is none."""
    table = np.append(means, overall)
    index = np.rint(slots)
    known = (index >= 0) & (index < len(means))
    result: Array = table[np.where(known, index, len(means)).astype(np.int64)]
    return result


def _first_alone(x: Array, values: Array) -> tuple[Array, Array]:
    """Terms of which only those of feature 0 are not zero, and no rest."""
    terms = np.zeros_like(x)
    terms[:, :, 0] = values
    return terms, np.zeros(x.shape[1])


def _per_target(name: str, shape: Shape) -> None:
    if not shape.per_target:
        raise Unsupported(detail=f"backend {name!r} needs features of each target (lags, calendar), not a window")
