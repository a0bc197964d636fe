"""Where the inputs of a fitted estimator of scikit-learn lie, as far as it knows itself: thresholds of trees, what a scaler saw.

Asked near 0, a forest that splits at 10 to 29 answers with one constant, and a comparison of constants shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.models.translators import Given

Points: TypeAlias = NDArray[np.float64]
"""(n, features) values of inputs; nan where nothing is known."""
DEVIATIONS = 3.0
"""Standard deviations around a mean that count as usual."""
BEYOND = 0.1
"""Part of a range that is asked beyond it on both sides: the outermost branches of trees lie there."""
DEPTH = 8
"""Estimators within estimators."""


def given(model: Any) -> Given | None:
    """The one input of an estimator; None: it was never fitted, or says not on how many features."""
    features = getattr(model, "n_features_in_", None)
    if features is None:
        return None
    names = tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    return Given((int(features),), "float64", span(model, int(features)), names)


def span(model: Any, features: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """(smallest, largest) usual value of each feature; None: it knows nothing of any. Of one that it does not use, -1 and 1."""
    low, high = np.full(features, np.nan), np.full(features, np.nan)
    for points in _points(model, features, DEPTH):
        finite = np.where(np.isfinite(points), points, np.nan)
        low, high = np.fmin(low, np.fmin.reduce(finite, axis=0)), np.fmax(high, np.fmax.reduce(finite, axis=0))
    known = np.isfinite(low) & (np.abs(low) < 1e30) & (np.abs(high) < 1e30)
    if not known.any():
        return None
    wide = np.where(high > low, (high - low) * BEYOND, np.maximum(np.abs(high), 1.0) * BEYOND)
    low, high = np.where(known, low - wide, -1.0), np.where(known, high + wide, 1.0)
    return tuple(low.tolist()), tuple(high.tolist())


def _points(model: Any, features: int, depth: int) -> Iterator[Points]:
    """What it says of its inputs, and what those say that it asks the same."""
    if getattr(model, "n_features_in_", None) != features or depth == 0:
        return  # what is behind a step that makes other features is about those
    if (steps := getattr(model, "steps", None)) is not None:
        first = next((step for _, step in steps if step not in (None, "passthrough")), None)
        yield from _points(first, features, depth - 1)
        return
    if hasattr(model, "tree_"):
        yield _at(model.tree_.feature, model.tree_.threshold, features)
    for predictor in _flat(getattr(model, "_predictors", ())):  # of HistGradientBoosting
        nodes = predictor.nodes[(predictor.nodes["is_leaf"] == 0) & (predictor.nodes["is_categorical"] == 0)]
        yield _at(nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], features)
    yield from (found for found in _seen(model) if found.ndim == 2 and found.shape[1] == features and len(found))
    inner = (getattr(model, "best_estimator_", None), *_flat(getattr(model, "estimators_", ())))
    for one in inner:
        yield from _points(one, features, depth - 1)


def _at(feature: NDArray[Any], threshold: NDArray[Any], features: int) -> Points:
    """Smallest and largest threshold of each feature, leaves (of a negative feature) left out."""
    low, high = np.full(features, np.inf), np.full(features, -np.inf)
    inner = (feature >= 0) & np.isfinite(threshold)
    np.minimum.at(low, feature[inner], threshold[inner])
    np.maximum.at(high, feature[inner], threshold[inner])
    return np.stack([low, high])


def _seen(model: Any) -> Iterator[Points]:
    """Samples it kept, or what it measured of its inputs."""
    kind = type(model).__name__
    if kind == "StandardScaler" and model.mean_ is not None:
        far = DEVIATIONS * (model.scale_ if model.scale_ is not None else np.ones_like(model.mean_))
        yield np.stack([model.mean_ - far, model.mean_ + far])
    if kind == "RobustScaler" and model.center_ is not None and model.scale_ is not None:
        yield np.stack([model.center_ - DEVIATIONS * model.scale_, model.center_ + DEVIATIONS * model.scale_])
    if kind == "MinMaxScaler":
        yield np.stack([model.data_min_, model.data_max_])
    if kind == "MaxAbsScaler":
        yield np.stack([-model.max_abs_, model.max_abs_])
    for name in ("support_vectors_", "cluster_centers_", "X_fit_"):
        found = getattr(model, name, None)
        if isinstance(found, np.ndarray) and found.dtype.kind == "f":
            yield found.astype(np.float64)


def _flat(found: Any) -> Iterator[Any]:
    """Estimators of a list, a list of lists, or an array."""
    for one in found if isinstance(found, list | tuple | np.ndarray) else ():
        if isinstance(one, list | tuple | np.ndarray):
            yield from _flat(one)
        else:
            yield one
