"""Gradient-boosted trees (scikit-learn's HistGradientBoostingRegressor). sklearn is imported with the first fit.

One ensemble for all targets: each example gives a row per target, with the number of the target as one more feature. The
trees are kept, saved and served as plain arrays (no pickle), and this process predicts with the very code that serves
them. Trees cannot be continued: `learn` grows new ones on the old examples and the new, so what it remembers is what
`learning.replay` keeps.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import plugins
from headrace.errors import CorruptState, LearningError, MissingExtra
from headrace.models.backends import Servable, Shape
from headrace.models.backends.saved import finite_inputs, safetensors, seal, unseal
from headrace.models.backends.trees import DTYPES, Trees, nothing, with_lead
from headrace.records import Array
from headrace.states import pack


class HistGb:
    """Boosted regression trees on binned features, grown anew on everything remembered."""

    class Params(plugins.Params):
        """Settings; the defaults are scikit-learn's."""

        iterations: int = Field(default=100, ge=1, le=10_000)
        """Trees."""
        rate: float = Field(default=0.1, gt=0, le=1)
        """Learning rate: the weight of each tree."""
        leaves: int = Field(default=31, ge=2, le=1000)
        """Most leaves of a tree."""
        smallest: int = Field(default=20, ge=1)
        """Fewest rows (examples times targets) in a leaf."""
        floor: float | None = None
        """Predictions below this, in scaled units, are raised to it; null for none. Learning does not see it."""

    features: ClassVar[list[dict[str, Any]]] = [{"window": {"history": 36}}, {"calendar": {"features": ["slot"]}}]
    rehearses: ClassVar[bool] = True
    heavy: ClassVar[bool] = True

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        rows, columns = shape.input
        self._params, self._shape, self._seed = params, shape, seed
        self._width = (columns if shape.per_target else rows * columns) + 1
        self._trees = Trees(nothing(), self._width)

    def predict(self, x: Array) -> Array:
        return boosted(self._trees, x, self._shape, self._params.floor)

    def fit(self, x: Array, y: Array) -> None:
        finite_inputs(x, y)
        self._grow(x, y)

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """Grow the trees anew on the old examples and these."""
        finite_inputs(x, y)
        if np.isfinite(y).any():
            self._grow(np.concatenate([old_x, x]), np.concatenate([old_y, y]))

    def dump(self) -> bytes:
        return seal("hist-gb", self._trees.arrays)

    def load(self, data: bytes) -> None:
        state = unseal("hist-gb", data, *Trees.names)
        try:
            self._trees = Trees(state, self._width)
        except (ValueError, AttributeError, IndexError) as error:
            raise CorruptState(detail=f"a state of backend 'hist-gb' holds no trees of this shape: {error}") from error

    def weights(self) -> bytes:
        return safetensors(self._trees.arrays)

    def export(self) -> Servable:
        return Servable("numpy", pack({**self._trees.arrays, "floor": self._params.floor}), kernel="trees")

    def _grow(self, x: Array, y: Array) -> None:
        known = np.isfinite(y).reshape(-1)
        if not known.any():
            self._trees = Trees(nothing(), self._width)
            return
        rows = with_lead(x, self._shape.horizon, self._shape.per_target)[known]
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                grown = Trees(_arrays(self._fitted(rows, y.reshape(-1)[known])), self._width)
        except (ValueError, FloatingPointError, OverflowError) as error:
            raise LearningError(detail=f"boosted trees cannot be fitted: {error}") from error
        self._trees = grown

    def _fitted(self, rows: Array, targets: Array) -> Any:
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
            from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise MissingExtra(family="backend", name="hist-gb", module=error.name, extra="sklearn") from error
        params = self._params
        model = HistGradientBoostingRegressor(
            max_iter=params.iterations,
            learning_rate=params.rate,
            max_leaf_nodes=params.leaves,
            min_samples_leaf=params.smallest,
            early_stopping=False,
            random_state=self._seed,
        )
        with threadpool_limits(1):  # one thread a model, as for every other: two take more CPU and give the same trees
            return model.fit(rows, targets)


def _arrays(model: Any) -> dict[str, NDArray[Any]]:
    """The nodes of scikit-learn's trees, end to end."""
    trees = [group[0].nodes for group in model._predictors]
    firsts = np.cumsum([0, *(len(nodes) for nodes in trees)])
    roots = firsts[:-1]
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in ("feature", "threshold", "left", "right", "value")}
    for nodes, first in zip(trees, roots, strict=True):
        own, leaf = first + np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
        found["feature"].append(np.where(leaf, 0, nodes["feature_idx"]))
        found["threshold"].append(np.where(leaf, 0.0, nodes["num_threshold"]))
        found["left"].append(np.where(leaf, own, first + nodes["left"]))
        found["right"].append(np.where(leaf, own, first + nodes["right"]))
        found["value"].append(nodes["value"])
    base = np.asarray(model._baseline_prediction, np.float64).reshape(-1)
    if not np.isfinite(base).all():
        raise ValueError("the mean of the targets is not a finite number")
    joined = {name: np.concatenate(parts) for name, parts in found.items()} | {"roots": roots, "base": base}
    return {name: joined[name].astype(dtype) for name, dtype in DTYPES.items()}


def boosted(trees: Trees, x: Array, shape: Shape, floor: float | None) -> Array:
    """(n, horizon) predictions of (n, *shape.input) inputs."""
    result = trees.predict(with_lead(x, shape.horizon, shape.per_target)).reshape(-1, shape.horizon)
    return result if floor is None else np.maximum(result, floor, out=result)
