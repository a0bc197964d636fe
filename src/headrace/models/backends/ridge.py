"""Ridge regression on a window: each target has its own weights; exact after every batch, whatever came before.

What is kept are the sums of the normal equations, not the examples. With a window and the calendar of each target, the
default, target h is regressed on the last values and on the hour it falls into, which is the same for all targets as the
hour of the first one.

Source: Hoerl and Kennard, Ridge Regression, Technometrics 12 (1970); the constant is not penalised.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from headrace import plugins
from headrace.errors import LearningError, Unsupported
from headrace.models.backends import Servable, Shape
from headrace.models.backends.saved import expect, finite_inputs, read_safetensors, safetensors, seal, unseal
from headrace.records import Array
from headrace.states import pack

LARGEST = 8_000_000
"""Numbers in the sums: 64 MB."""
_SUMS = ("count", "x", "y", "xx", "xy")


class Ridge:
    """Linear regression with a penalty on the weights, one set of weights for each target."""

    class Params(plugins.Params):
        """Settings of ridge regression."""

        alpha: float = Field(default=1.0, gt=0)
        """The penalty on the sum of squared weights; the constant is free."""
        floor: float | None = None
        """Predictions below this, in scaled units, are raised to it; null for none. Learning does not see it."""

    features: ClassVar[list[dict[str, Any]]] = [{"window": {"history": 36}}, {"calendar": {"features": ["hour"]}}]
    rehearses: ClassVar[bool] = False
    heavy: ClassVar[bool] = False

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        rows, columns = shape.input
        self._params, self._shape = params, shape
        self._size = columns if shape.per_target else rows * columns
        if shape.horizon * self._size**2 > LARGEST:
            wanted = f"{shape.horizon} targets of {self._size} inputs"
            raise Unsupported(detail=f"{wanted} are too many for backend 'ridge'; shorten the window or use rls")
        self._weights: Array
        self._constant: Array
        self._sums = self._zero()
        self._solve()

    def predict(self, x: Array) -> Array:
        return linear(self._rows(x), self._weights, self._constant, self._params.floor)

    def fit(self, x: Array, y: Array) -> None:
        self._add(self._zero(), x, y)

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """Add the new examples; the old ones are in the sums already."""
        self._add({name: value.copy() for name, value in self._sums.items()}, x, y)

    def dump(self) -> bytes:
        return seal("ridge", self._sums)

    def load(self, data: bytes) -> None:
        state, like = unseal("ridge", data, *_SUMS), self._zero()
        self._sums = {name: expect("ridge", name, state[name], like[name]) for name in _SUMS}
        self._solve()

    def weights(self) -> bytes:
        return safetensors(self._solution())

    def export(self) -> Servable:
        return Servable("numpy", pack({**self._solution(), "floor": self._params.floor}), kernel="ridge")

    @property
    def floor(self) -> float | None:
        """Predictions below it are raised to it."""
        return self._params.floor

    def restore(self, weights: bytes) -> None:
        """Weights and constants are all that predictions need; the sums are not among them."""
        found = read_safetensors("ridge", weights)
        made = {name: expect("ridge", name, found.get(name), like) for name, like in self._solution().items()}
        self._sums, self._weights, self._constant = self._zero(), made["weights"], made["constant"]

    def terms(self, x: Array) -> tuple[Array, Array]:
        """Weight times input of the target; the rest is its constant."""
        if self._shape.per_target:
            each: Array = x * self._weights
        else:
            each = x[:, None] * self._weights.reshape(-1, *self._shape.input)
        return each, self._constant.copy()

    def _solution(self) -> dict[str, Array]:
        return {"weights": self._weights, "constant": self._constant}

    def _zero(self) -> dict[str, Array]:
        targets, size = self._shape.horizon, self._size
        shapes = ((targets,), (targets, size), (targets,), (targets, size, size), (targets, size))
        return {name: np.zeros(shape) for name, shape in zip(_SUMS, shapes, strict=True)}

    def _rows(self, x: Array) -> Array:
        """(n, horizon, d), or (n, 1, d) where all targets share a window."""
        return x if self._shape.per_target else x.reshape(len(x), 1, self._size)

    def _add(self, sums: dict[str, Array], x: Array, y: Array) -> None:
        finite_inputs(x, y)
        rows = self._rows(x)
        with np.errstate(over="ignore", invalid="ignore"):
            for target in range(self._shape.horizon):
                known = np.isfinite(y[:, target])
                a, b = rows[known, target if self._shape.per_target else 0], y[known, target]
                sums["count"][target] += len(b)
                sums["x"][target] += a.sum(axis=0)
                sums["y"][target] += b.sum()
                # Plain loops: BLAS may add up in another order with another number of threads.
                sums["xx"][target] += np.einsum("ni,nj->ij", a, a)
                sums["xy"][target] += np.einsum("ni,n->i", a, b)
        if not all(np.isfinite(value).all() for value in sums.values()):
            raise LearningError(detail="the sums of ridge regression left the range of floats; are the inputs scaled?")
        before, self._sums = self._sums, sums
        try:
            self._solve()
        except LearningError:
            self._sums = before
            raise

    def _solve(self) -> None:
        """(X'X - n·x̄x̄' + αI)·w = X'y - n·x̄ȳ, with the sums as they stand."""
        count, x, y, xx, xy = (self._sums[name] for name in _SUMS)
        n = np.maximum(count, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = xx - x[:, :, None] * x[:, None, :] / n[:, None, None] + self._params.alpha * np.eye(self._size)
            against = xy - x * (y / n)[:, None]
            try:
                weights = np.linalg.solve(spread, against[:, :, None])[:, :, 0]
            except np.linalg.LinAlgError as error:
                raise LearningError(detail="the inputs are too large for ridge regression; are they scaled?") from error
            constant = (y - np.einsum("hd,hd->h", weights, x)) / n
        if not (np.isfinite(weights).all() and np.isfinite(constant).all()):
            raise LearningError(detail="ridge regression left the range of floats; are the inputs scaled?")
        self._weights, self._constant = np.asarray(weights, np.float64), np.asarray(constant, np.float64)


def linear(rows: Array, weights: Array, constant: Array, floor: float | None) -> Array:
    """(n, horizon) predictions of (n, horizon or 1, d) inputs, (horizon, d) weights and (horizon,) constants."""
    if rows.shape[1] == 1:
        result: Array = np.einsum("nd,hd->nh", rows[:, 0], weights) + constant
    else:
        result = np.einsum("nhd,hd->nh", rows, weights) + constant
    return result if floor is None else np.maximum(result, floor, out=result)
