"""Exported models, run in the serving process: numpy kernels and ONNX Runtime, never the library that trained them.

Importing torch or scikit-learn costs a process 1.2 s and about 200 MB; ONNX Runtime is imported with the first ONNX
model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np

from headrace.errors import CorruptState, MissingExtra, Unsupported
from headrace.models.backends import Servable, Shape
from headrace.models.backends.baseline import hour_means
from headrace.models.backends.hist_gb import boosted
from headrace.models.backends.ridge import linear
from headrace.models.backends.trees import Trees
from headrace.models.onnx_session import open_session
from headrace.records import Array
from headrace.states import unpack


class Runner(Protocol):
    """A model that answers."""

    def predict(self, x: Array) -> Array:
        """(n, horizon) predictions for (n, *Shape.input) float64 inputs, in scaled units."""
        ...


def load(servable: Servable, shape: Shape) -> Runner:
    """The exported model, ready to answer.

    Raises:
        Unsupported: a format or kernel this version does not know.
        CorruptState: the data is damaged.
        MissingExtra: an ONNX model, and ONNX Runtime is not installed.
    """
    if servable.format == "onnx":
        return Onnx(servable.data, shape)
    if servable.format != "numpy":
        raise Unsupported(detail=f"cannot serve format {servable.format!r}; known: numpy, onnx")
    kernel = KERNELS.get(servable.kernel)
    if kernel is None:
        raise Unsupported(detail=f"cannot serve kernel {servable.kernel!r}; known: {', '.join(KERNELS)}")
    try:
        return kernel(unpack(servable.data), shape)
    except (msgspec.DecodeError, TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise CorruptState(detail=f"a served {servable.kernel!r} model is damaged: {error}") from error


class Rls:
    """Linear weights: of each target's features, or of a flattened window and a constant."""

    def __init__(self, state: dict[str, Any], shape: Shape) -> None:
        weights, self._floor = state["weights"], state["floor"]
        rows, columns = shape.input
        self._shape = (-1, shape.horizon)
        self._width = columns if shape.per_target else rows * columns
        outputs = 1 if shape.per_target else shape.horizon
        if weights.shape != (self._width + (not shape.per_target), outputs):
            raise ValueError(f"weights of shape {weights.shape}")
        self._weights = weights[: self._width]
        self._constant = None if shape.per_target else weights[self._width]

    def predict(self, x: Array) -> Array:
        result: Array = x.reshape(-1, self._width).dot(self._weights)
        if self._constant is not None:
            result += self._constant
        if self._floor is not None:
            np.maximum(result, self._floor, out=result)
        return result.reshape(self._shape)


class Ridge:
    """Linear weights of each target."""

    def __init__(self, state: dict[str, Any], shape: Shape) -> None:
        self._weights, self._constant, self._floor = state["weights"], state["constant"], state["floor"]
        rows, columns = shape.input
        width = columns if shape.per_target else rows * columns
        if self._weights.shape != (shape.horizon, width) or self._constant.shape != (shape.horizon,):
            raise ValueError(f"weights of shape {self._weights.shape}")
        self._rows = (-1, shape.horizon if shape.per_target else 1, width)

    def predict(self, x: Array) -> Array:
        return linear(x.reshape(self._rows), self._weights, self._constant, self._floor)


class Boosted:
    """Boosted trees."""

    def __init__(self, state: dict[str, Any], shape: Shape) -> None:
        rows, columns = shape.input
        self._shape, self._floor = shape, state.pop("floor")
        self._trees = Trees(state, (columns if shape.per_target else rows * columns) + 1)

    def predict(self, x: Array) -> Array:
        return boosted(self._trees, x, self._shape, self._floor)


class Persistence:
    """Feature 0 of each target."""

    def __init__(self, state: dict[str, Any], shape: Shape) -> None:
        if state:
            raise ValueError(f"unexpected {', '.join(state)}")

    def predict(self, x: Array) -> Array:
        return x[:, :, 0].copy()


class HourMean:
    """The mean of the slot in feature 0 of each target."""

    def __init__(self, state: dict[str, Any], shape: Shape) -> None:
        self._means: Array = state["means"]
        self._overall = float(state["overall"])
        if self._means.ndim != 1:
            raise ValueError(f"means of shape {self._means.shape}")

    def predict(self, x: Array) -> Array:
        return hour_means(x[:, :, 0], self._means, self._overall)


class Onnx:
    """An ONNX model on one thread."""

    def __init__(self, data: bytes, shape: Shape) -> None:
        self._empty = np.zeros((0, shape.horizon))
        try:
            self._session = open_session(data)
        except ModuleNotFoundError as error:
            raise MissingExtra(family="serving", name="onnx", module=error.name, extra="onnx") from error
        except Exception as error:  # ONNX Runtime's errors share no base but Exception.
            raise CorruptState(detail=f"a served ONNX model does not load: {error}") from error

    def predict(self, x: Array) -> Array:
        if not len(x):  # ONNX Runtime's GRU ends the whole process (std::terminate) on an empty batch.
            return self._empty.copy()
        (y,) = self._session.run(["y"], {"x": x.astype(np.float32)})
        result: Array = y.astype(np.float64)
        return result


KERNELS: dict[str, Callable[[dict[str, Any], Shape], Runner]] = {
    "rls": Rls,
    "ridge": Ridge,
    "trees": Boosted,
    "persistence": Persistence,
    "hour-mean": HourMean,
}
"""By the name a `Servable` of format "numpy" gives."""
