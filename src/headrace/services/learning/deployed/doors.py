"""Deployments as the inference doors give them: Open Inference Protocol V1 and V2. No routes here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from headrace.errors import BadTensor, FixedLimit, NotFound, NotReady, Unsupported
from headrace.services.learning import oip
from headrace.services.learning.deployed.service import Deployed, Deployments
from headrace.services.learning.deployed.shelf import Entry
from headrace.services.learning.deployed.tensors import Array, Port

PLATFORM = "onnxruntime_onnx"
JSON = 2**20
"""Bytes of a question in JSON: to read many numbers from text, and write them, would hold up everybody."""


NUMBERS = 2**17
"""Numbers of an answer in JSON."""


def metadata(one: Deployed) -> dict[str, Any]:
    """V2 metadata. Raises NotReady."""
    entry = one.known()
    return {
        "name": one.name,
        "versions": [entry.model],
        "platform": PLATFORM,
        "inputs": [_told(port) for port in entry.inputs],
        "outputs": [_told(port) for port in entry.outputs],
        "parameters": {"provider": one.provider},
    }


def _told(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": port.shape}


def index(one: Deployed) -> dict[str, str]:
    """Its line of the V2 repository index."""
    version = "" if one.entry is None else one.entry.model
    state = "UNAVAILABLE" if one.fault else "READY"
    return {"name": one.name, "version": version, "state": state, "reason": one.fault}


def known_version(one: Deployed, version: str) -> None:
    """Raises NotFound, NotReady."""
    if version != one.known().model:
        raise NotFound(detail=f"model {one.name!r} has no version {version!r}; it has {one.known().model!r}")


def bounded(name: str, size: int) -> None:
    """Raises FixedLimit: a question has too much of JSON."""
    if size > JSON:
        what = (
            f"a question to {name!r} in JSON (send tensors as raw bytes, `binary_data_size`; or ask for less at once)"
        )
        raise FixedLimit(what=what, size=size, limit=JSON)


def refuse(name: str, action: str) -> None:
    """What a deployment does not do. Raises Unsupported."""
    why = "is not explained: explanations are of online models" if action == "explain" else "does not learn"
    raise Unsupported(detail=f"{name!r} is a deployed model, as it was registered, and {why}")


async def infer(
    deployments: Deployments, name: str, request: oip.InferRequest
) -> tuple[dict[str, bool], dict[str, Any], dict[str, Array]]:
    """(outputs that are wanted -> whether as raw bytes, head, outputs). Raises BadTensor, and what `Deployments.ask` does."""
    one = deployments.get(name)
    entry = one.known()
    inputs, wanted = _inputs(entry, oip.arrays(request)), _wanted(entry, request)
    provider, made = await deployments.ask(one, inputs, list(wanted))
    _writable(name, [values for output, values in made.items() if not wanted[output]])
    head = {
        "model_name": name,
        "model_version": entry.model,
        "id": request.id or os.urandom(16).hex(),
        "parameters": {"model": entry.model, "provider": provider},
    }
    return wanted, head, made


async def predict(deployments: Deployments, name: str, instances: list[Any]) -> list[Any]:
    """V1 predictions: of one output its rows, of several objects by name. Raises BadTensor, and what `Deployments.ask` does."""
    one = deployments.get(name)
    entry = one.known()
    given = _columns(entry, instances)
    inputs = _inputs(entry, {port.name: _cast(port, given[port.name]) for port in entry.inputs})
    _, made = await deployments.ask(one, inputs, [port.name for port in entry.outputs])
    _writable(name, list(made.values()))
    rows = {output: values.tolist() for output, values in made.items()}
    for output, values in rows.items():
        if not isinstance(values, list) or len(values) != len(instances):
            raise BadTensor(
                detail=f"output {output!r} has not one answer per instance: ask over V2 (POST /v2/models/{name}/infer)"
            )
    if len(rows) == 1:
        (only,) = rows.values()
        return list(only)
    return [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


def _writable(name: str, made: list[Array]) -> None:
    """Raises FixedLimit: an answer has too many numbers for JSON."""
    count = sum(values.size for values in made)
    if count > NUMBERS:
        what = (
            f"the count of numbers of {name!r}'s answer in JSON (ask for raw bytes, `binary_data`; or for less at once)"
        )
        raise FixedLimit(what=what, size=count, limit=NUMBERS)


def _wanted(entry: Entry, request: oip.InferRequest) -> dict[str, bool]:
    binary = bool((request.parameters or {}).get("binary_data_output"))
    names = [port.name for port in entry.outputs]
    if not request.outputs:
        return dict.fromkeys(names, binary)
    for asked in request.outputs:
        if asked.name not in names:
            raise BadTensor(detail=f"there is no output {asked.name[:80]!r}, only {', '.join(names)}")
    return {asked.name: bool((asked.parameters or {}).get("binary_data", binary)) for asked in request.outputs}


def _inputs(entry: Entry, given: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs a model takes, each as it takes it. Raises BadTensor."""
    if not given:
        raise BadTensor(
            detail=f"{entry.name!r} is a deployed model and has no last forecast: it takes {_takes(entry.inputs)}"
        )
    names = [port.name for port in entry.inputs]
    if set(given) != set(names):
        raise BadTensor(detail=f"{entry.name!r} takes {_takes(entry.inputs)}, got {', '.join(given)[:200]}")
    for port in entry.inputs:
        values = given[port.name]
        kind = oip.NAMES[values.dtype.newbyteorder("=")]
        if kind != port.datatype or not _fits(port, values):
            raise BadTensor(
                detail=f"input {port.name!r}: expected {_take(port)}, got {kind} {_axes(list(values.shape))}"
            )
    return {name: given[name] for name in names}


def _fits(port: Port, values: Array) -> bool:
    """Whether an array has a shape that is taken: -1 stands for any length; only a batch may be empty."""
    if not port.shape:
        return values.size > 0
    if len(port.shape) != values.ndim:
        return False
    fixed = all(axis in {-1, size} for axis, size in zip(port.shape, values.shape, strict=True))
    return fixed and 0 not in values.shape[1:]


def _takes(ports: list[Port]) -> str:
    return "; ".join(f"{port.name!r} {_take(port)}" for port in ports)


def _take(port: Port) -> str:
    return f"{port.datatype} {_axes(port.shape)}"


def _axes(shape: list[int]) -> str:
    """A shape for people.

    >>> _axes([-1, 3, 64])
    '[n, 3, 64]'
    """
    return f"[{', '.join('n' if axis < 0 else str(axis) for axis in shape)}]"


def _columns(entry: Entry, instances: list[Any]) -> dict[str, list[Any]]:
    """What each input is given, of all instances: of one input they are its values, of several objects by name."""
    names = [port.name for port in entry.inputs]
    if not instances:
        _inputs(entry, {})
    named = [isinstance(one, dict) for one in instances]
    if len(names) == 1 and not any(named):
        return {names[0]: instances}
    if not all(named) or any(set(one) != set(names) for one in instances):
        form = ", ".join(f'"{name}": ...' for name in names)
        raise BadTensor(detail=f"instances of {entry.name!r} are objects {{{form}}}: it takes {_takes(entry.inputs)}")
    return {name: [one[name] for one in instances] for name in names}


def _cast(port: Port, values: list[Any]) -> Array:
    try:
        if np.asarray(values).dtype.kind == "O":
            raise ValueError("there is a null in it")  # NumPy would make it "not a number"
    except ValueError as error:
        why = "rows of different lengths" if "inhomogeneous" in str(error) else str(error)
        raise BadTensor(detail=f"input {port.name!r}: expected {_take(port)}: {why}") from error
    try:
        return oip.from_json(values, oip.DTYPES[port.datatype])
    except (ValueError, TypeError, OverflowError) as error:
        raise BadTensor(detail=f"input {port.name!r}: expected {_take(port)}: {error}") from error


def ready(one: Deployed) -> tuple[dict[str, Any], int]:
    """(whether it can answer, status)."""
    try:
        one.known()
    except NotReady as error:
        return {"name": one.name, "ready": False, "reason": str(error)}, 503
    return {"name": one.name, "ready": True}, 200
