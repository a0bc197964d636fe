"""What a model is asked: its inputs, given as such or made of the last values of its target. In whichever process answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadTensor
from headrace.models.transformers.pipeline import Pipeline, build
from headrace.records import Array, Rows
from headrace.services.learning.plan import Plan, assemble, shape_from

HISTORIES = 100_000
"""Values of all histories of one request; more would hold up everybody else for seconds."""
ORIGINS = (0, 9_000_000_000_000)
"""Times in ms that fit into 64 bits of ns, with room for a history before and a horizon after."""
MS = 1_000_000


def pipeline_of(plan: Plan) -> Pipeline:
    """The feature steps alone."""
    return build(list(plan.features), plan.context)


class Inputs:
    """Makes the inputs of one plan's model. Loads no heavy library: shapes come from the feature steps alone."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.shape, self._names = shape_from(plan, pipeline_of(plan))

    def check(self, x: Any) -> Array:
        """Inputs of the right shape, as float64. Raises BadTensor."""
        shape = self.shape.input
        array = np.ascontiguousarray(x, dtype=np.float64)
        if array.shape == shape:
            array = array[None]
        if array.ndim == 2 and array.shape[1] == shape[0] * shape[1]:
            array = array.reshape(-1, *shape)
        if array.shape[1:] != shape:
            raise BadTensor(detail=f"input 'x' has shape {list(array.shape)}, expected [n, {shape[0]}, {shape[1]}]")
        if not np.isfinite(array).all():
            raise BadTensor(detail="input 'x' holds values that are not finite")
        return array

    def of(self, histories: Array, origins: NDArray[np.int64], scale: tuple[float, float]) -> Array:
        """Model-space inputs (n, *shape.input) from the last values of the target.

        Args:
            histories: (n, L), in the target's own unit.
            origins: (n,) starts of the first forecast windows, ns.
            scale: (offset, factor) between the target's unit and the model's.

        Raises:
            BadTensor: too short a history for this model's features.
        """
        offset, factor = scale
        rows = [
            self._one((one - offset) / factor, origin) for one, origin in zip(histories, origins.tolist(), strict=True)
        ]
        return np.concatenate(rows)

    def _one(self, values: Array, origin: int) -> Array:
        try:
            x = self._features(values, origin)
        except (ValueError, OverflowError, OSError) as error:
            raise BadTensor(detail=f"history and origin_ms make no model inputs: {error}") from error
        if not len(x) or not np.isfinite(x).all():
            name = self._plan.spec.name
            detail = f"{len(values)} values are too short a history for the features of model {name!r}, or not finite"
            raise BadTensor(detail=detail)
        return x

    def _features(self, values: Array, origin: int) -> Array:
        context = self._plan.context
        times = origin - context.every * np.arange(len(values), 0, -1, dtype=np.int64)
        rows = Rows(times, {context.target: values, "masked": np.zeros(len(values), dtype=bool)})
        return assemble(pipeline_of(self._plan).apply(rows), self._names, self.shape)[-1:]


def histories(inputs: dict[str, Any], default_ms: Callable[[], float]) -> tuple[Array, NDArray[np.int64]]:
    """(histories (n, L), origins (n,) in ns) of a request that brings no model inputs. Raises BadTensor.

    Args:
        default_ms: the origin of those that name none.
    """
    if "history" not in inputs:
        named = ", ".join(sorted(inputs)) or "nothing"
        raise BadTensor(detail=f"expected an input named 'x' or 'history', got {named[:200]}")
    history = np.atleast_2d(np.asarray(inputs["history"], dtype=np.float64))
    if history.ndim != 2 or not 0 < history.size <= HISTORIES:
        detail = f"history has shape {list(history.shape)}, expected [n, steps], 1 to {HISTORIES} values in all"
        raise BadTensor(detail=detail)
    given = inputs.get("origin_ms")
    if given is None:
        given = np.full(len(history), default_ms())
    origins = np.asarray(given, dtype=np.float64).ravel()
    if len(origins) != len(history):
        raise BadTensor(detail=f"{len(history)} histories need as many origin_ms, got {len(origins)}")
    if not ((origins >= ORIGINS[0]) & (origins <= ORIGINS[1])).all():
        raise BadTensor(detail=f"origin_ms is in ms since 1970, {ORIGINS[0]} to {ORIGINS[1]}")
    return history, origins.astype(np.int64) * MS
