"""Recursive least squares: ridge regression that is exact after every record, in a few microseconds each.

With features of each target, one weight vector predicts every target and row h of an example is one record. With a
window, the flattened window and a constant are the features, and each target has its own weights; they share the
covariance.

Source: Haykin, Adaptive Filter Theory, 4th ed., chapter 9; covariance resetting: Goodwin and Sin, 1984, section 3.3.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from headrace import plugins
from headrace.errors import LearningError, Unsupported
from headrace.models.backends import Servable, Shape, parent
from headrace.models.backends.saved import expect, finite_inputs, read_safetensors, safetensors, seal, unseal
from headrace.records import Array
from headrace.states import pack


class Rls:
    """Recursive least squares with optional forgetting."""

    class Params(plugins.Params):
        """Settings of recursive least squares."""

        covariance: float = Field(default=100.0, gt=0)
        """P starts as this times the identity: the inverse of a ridge penalty on the weights."""
        forget: float = Field(default=1.0, gt=0.5, le=1)
        """Weight of the past after each record; 1 never forgets, 0.999 has a memory of about 1000 records."""
        floor: float | None = None
        """Predictions below this, in scaled units, are raised to it; null for none. Learning does not see it."""

    features: ClassVar[list[dict[str, Any]]] = [
        {
            "lags": {
                "steps": [24, 23, 25, 48],
                "means": [{"days": 7}],
                "yesterday": ["mean", "max"],
                "ahead": "season",
            }
        },
        {"calendar": {"features": ["hour_sin", "hour_cos", "constant"]}},
    ]
    rehearses: ClassVar[bool] = False
    heavy: ClassVar[bool] = False

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        rows, columns = shape.input
        self._params, self._shape = params, shape
        self._size = columns if shape.per_target else rows * columns + 1
        self._outputs = 1 if shape.per_target else shape.horizon
        self._parent: Array | None = None
        # P and, below it, the transposed weights: one product gives both the gain and the prediction of a record.
        self._both = self._fresh()

    @classmethod
    def tensors(cls, params: Params, shape: Shape) -> dict[str, parent.Tensor]:
        """As `weights` writes them: a row for each output, for a window with the constant last."""
        rows, columns = shape.input
        size = (1, columns) if shape.per_target else (shape.horizon, rows * columns + 1)
        return {"weights": parent.Tensor("F64", size)}

    def start_from(self, weights: bytes) -> None:
        """The parent's weights with a covariance that knows nothing yet: a ridge penalty on the distance from them."""
        found = parent.read(weights)
        parent.fit(found, self.tensors(self._params, self._shape))
        self._parent = found["weights"]
        self._both = self._fresh()

    def predict(self, x: Array) -> Array:
        rows, size = self._rows(x), self._size
        result = np.empty((len(rows), self._outputs))
        both = np.empty(size + self._outputs)
        # One row at a time, as `_update` does: a product of all rows at once rounds differently.
        for index, row in enumerate(rows):
            self._both.dot(row, both)
            result[index] = both[size:]
        return self._clip(result.reshape(-1, self._shape.horizon))

    def fit(self, x: Array, y: Array) -> None:
        self._train(self._fresh(), x, y)

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """Go on with the new examples; the old ones are in the covariance already."""
        self._train(self._both.copy(), x, y)

    def run(self, x: Array, y: Array) -> Array:
        """Test, then train, record by record: prediction i is made with what records 0 … i - 1 taught.

        Args:
            x: features, (n, d).
            y: targets, (n,); NaN is predicted but not learnt.

        Returns:
            The predictions, (n,). They do not depend on where a stream of records is cut into blocks.

        Raises:
            LearningError: the block would leave weights that are not finite; none of it was learnt.
        """
        if self._outputs != 1:
            raise Unsupported(detail=f"`run` takes records with one target, this model has {self._outputs}")
        both = self._both.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            predictions = self._each(both, self._biased(x), y)
        self._keep(both)
        return self._clip(np.array(predictions))

    def dump(self) -> bytes:
        return seal("rls", {"both": self._both})

    def load(self, data: bytes) -> None:
        self._both = expect("rls", "both", unseal("rls", data, "both")["both"], self._both)

    def weights(self) -> bytes:
        return safetensors({"weights": self._weights()})

    def export(self) -> Servable:
        state = {"weights": np.ascontiguousarray(self._weights().T), "floor": self._params.floor}
        return Servable("numpy", pack(state), kernel="rls")

    @property
    def floor(self) -> float | None:
        """Predictions below it are raised to it."""
        return self._params.floor

    def restore(self, weights: bytes) -> None:
        """Weights are all that predictions need; what was known of the inputs (the covariance) is not among them."""
        found = read_safetensors("rls", weights).get("weights")
        expect("rls", "weights", found, self._weights())
        both = self._fresh()
        both[self._size :] = found
        self._both = both

    def terms(self, x: Array) -> tuple[Array, Array]:
        """Weight times input; of a window's weights the last is the rest."""
        weights = self._weights()
        if self._shape.per_target:
            return x * weights[0], np.zeros(self._shape.horizon)
        each: Array = x[:, None] * weights[:, :-1].reshape(-1, *self._shape.input)
        return each, weights[:, -1].copy()

    def _fresh(self) -> Array:
        both = np.zeros((self._size + self._outputs, self._size))
        np.fill_diagonal(both, self._params.covariance)
        if self._parent is not None:
            both[self._size :] = self._parent
        return both

    def _weights(self) -> Array:
        """(outputs, d); of a window's weights the last column belongs to the constant."""
        return self._both[self._size :]

    def _rows(self, x: Array) -> Array:
        """The records of a batch of examples, (records, d), in order."""
        if self._shape.per_target:
            return x.reshape(-1, self._size)
        return self._biased(x.reshape(len(x), self._size - 1))

    def _biased(self, rows: Array) -> Array:
        if self._shape.per_target:
            return rows
        wide = np.empty((len(rows), self._size))
        wide[:, :-1], wide[:, -1] = rows, 1
        return wide

    def _clip(self, predictions: Array) -> Array:
        floor = self._params.floor
        return predictions if floor is None else np.maximum(predictions, floor, out=predictions)

    def _train(self, both: Array, x: Array, y: Array) -> None:
        finite_inputs(x, y)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._outputs == 1:
                self._each(both, self._rows(x), y.reshape(-1))
            else:
                self._every(both, self._rows(x), y)
        self._keep(both)

    def _keep(self, both: Array) -> None:
        if not np.isfinite(both).all():
            raise LearningError(detail="recursive least squares left the range of floats; are the inputs scaled?")
        self._both = both

    def _each(self, both: Array, rows: Array, targets: Array) -> list[float]:
        """Test-then-train of records with one target; `both` is updated in place.

        The update subtracts g·g', g = P·x / sqrt(1 + x'·P·x), which keeps P symmetric to the last bit, and g·e likewise
        from the weights, e = prediction - target. All of it writes into buffers made once.
        """
        size = self._size
        column, product, factor = np.empty((size + 1, 1)), np.empty((size + 1, size)), np.empty(())
        flat = column.reshape(-1)
        gain = flat[:size]
        dot, inner, item, outer, across = both.dot, gain.dot, flat.item, column.dot, gain[None]
        multiply, subtract, forgets = np.multiply, np.subtract, self._params.forget < 1
        predictions: list[float] = []
        for row, target in zip(rows, targets.tolist(), strict=True):
            dot(row, flat)
            prediction = item(size)
            predictions.append(prediction)
            if target != target:  # noqa: PLR0124 (the fastest test for NaN)
                continue
            energy = inner(row)
            if energy < 0:
                energy = self._reset(both, row, flat)
            flat[size] = prediction - target
            factor[()] = 1 / sqrt(1 + energy)
            multiply(flat, factor, flat)
            outer(across, product)  # one multiplication each, as `column * gain`, in a third of the time
            subtract(both, product, both)
            if forgets:
                self._forget(both)
        return predictions

    def _every(self, both: Array, rows: Array, targets: Array) -> None:
        """Train on records with several targets, in place.

        A missing target leaves its own weights alone; the shared covariance learns when any target is known.
        """
        size = self._size
        product, flat = np.empty_like(both), np.empty(len(both))
        gain, errors = flat[:size], flat[size:]
        for row, target in zip(rows, targets, strict=True):
            missing = np.isnan(target)
            if missing.all():
                continue
            both.dot(row, flat)
            energy = gain.dot(row)
            if energy < 0:
                energy = self._reset(both, row, flat)
            np.subtract(errors, target, errors)
            errors[missing] = 0
            np.multiply(flat, 1 / sqrt(1 + energy), flat)
            np.multiply(flat[:, None], gain, product)
            np.subtract(both, product, both)
            if self._params.forget < 1:
                self._forget(both)

    def _forget(self, both: Array) -> None:
        """Widen P by 1/forget, unless it knows no more than at the start: unexcited directions would grow for ever."""
        size, params = self._size, self._params
        if both.trace() < params.forget * size * params.covariance:
            covariance = both[:size]
            np.multiply(covariance, 1 / params.forget, covariance)

    def _reset(self, both: Array, row: Array, flat: Array) -> float:
        """Start P again: x'·P·x < 0 says that rounding (inputs of 1e9, say) has eaten it. The weights stay."""
        both[: self._size] = 0
        np.fill_diagonal(both, self._params.covariance)
        both.dot(row, flat)
        return float(flat[: self._size].dot(row))
