"""Explanations as the doors give them: Open Inference Protocol V1 and V2. No routes here."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np

from headrace.errors import BadTensor
from headrace.services.learning import oip
from headrace.services.learning.explanations import Ask, Explanations

ABOUT = (
    "key", "origin_ms", "step_ms", "by", "weights", "method", "baseline", "completeness", "tolerance", "note", "targets",
)  # fmt: skip
"""What the parameters of a V2 answer say, of the first example."""


def ask_of(parameters: dict[str, Any] | None) -> Ask:
    """The parameters ``key``, ``method``, ``baseline`` and ``targets`` (steps ahead from 1). Raises BadTensor."""
    given = parameters or {}
    words = {name: given.get(name, "") for name in ("method", "baseline")}
    for name, value in words.items():
        if not isinstance(value, str):
            raise BadTensor(detail=f"the parameter {name!r} is a text")
    targets = given.get("targets", [])
    targets = targets if isinstance(targets, list) else [targets]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in targets):
        raise BadTensor(detail="the parameter 'targets' is a list of steps ahead, from 1")
    return Ask(oip.key_of(parameters), words["method"], words["baseline"], tuple(targets))


async def v1(
    explanations: Explanations, name: str, inputs: dict[str, Any], parameters: dict[str, Any] | None
) -> dict[str, Any]:
    """One explanation for each instance; for none, that of the last issued forecast."""
    return {"explanations": await explained(explanations, name, inputs, parameters)}


async def v2(explanations: Explanations, name: str, request: oip.InferRequest, head: dict[str, Any]) -> dict[str, Any]:
    """Contributions [n, targets, features], base and prediction [n, targets], and what the features are called."""
    made = await explained(explanations, name, oip.arrays(request), request.parameters)
    return await asyncio.to_thread(_v2, made, head)


def _v2(made: list[dict[str, Any]], head: dict[str, Any]) -> dict[str, Any]:
    first = made[0]
    labels = [feature["label"] for feature in first["features"]]
    rows = b",".join(bytes(row)[1:-1] for one in made for row in one["contributions"])
    shape = [len(made), len(first["targets"]), len(labels)]
    outputs = [{"name": "contributions", "datatype": "FP64", "shape": shape, "data": msgspec.Raw(b"[" + rows + b"]")}]
    outputs += [oip.output(part, np.array([one[part] for one in made])) for part in ("base", "prediction")]
    outputs.append({"name": "features", "datatype": "BYTES", "shape": [len(labels)], "data": labels})
    return {**head, "parameters": {item: first[item] for item in ABOUT}, "outputs": outputs}


async def explained(
    explanations: Explanations, name: str, inputs: dict[str, Any], parameters: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Explanations of given inputs, or of the last issued forecast."""
    ask = ask_of(parameters)
    if not inputs or all(np.size(one) == 0 for one in inputs.values()):
        return [await explanations.issued(name, ask)]
    return await explanations.of(name, inputs, ask)
