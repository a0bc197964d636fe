"""Open Inference Protocol: tensors as JSON and as bytes, both ways. No routes here."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadTensor

_CODES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
DTYPES = {name: np.dtype(code).newbyteorder("<") for name, code in _CODES.items()}
"""Little-endian, as the binary form of tensors is."""
BINARY_HEADER = b"inference-header-content-length"


class Tensor(msgspec.Struct):
    """One input or output."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """Body of ``/infer``, ``/learn`` and ``/explain``."""

    inputs: list[Tensor] = []
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[dict[str, Any]] = []


class InstancesRequest(msgspec.Struct):
    """Body of the V1 ``:predict``."""

    instances: list[Any]
    parameters: dict[str, Any] = {}


_infer = msgspec.json.Decoder(InferRequest)
_instances = msgspec.json.Decoder(InstancesRequest)
encode = msgspec.json.Encoder().encode


def read_infer(body: bytes, header_length: int | None = None) -> InferRequest:
    """The request in a body; with `header_length`, tensors follow the JSON as raw little-endian bytes.

    Raises:
        BadTensor: not JSON, or not of the protocol's shape.
    """
    head = body if header_length is None else body[:header_length]
    if not head.strip():
        return InferRequest()
    try:
        request = _infer.decode(head)
    except msgspec.DecodeError as error:
        raise BadTensor(detail=f"the body is no inference request: {error}") from error
    if header_length is not None:
        _attach(request, body, header_length)
    return request


def _attach(request: InferRequest, body: bytes, place: int) -> None:
    for tensor in request.inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is not None:
            if not isinstance(size, int) or size < 0 or place + size > len(body):
                raise BadTensor(detail=f"input {tensor.name!r}: binary_data_size {size!r} goes beyond the body")
            tensor.data = body[place : place + size]
            place += size


def read_instances(body: bytes) -> InstancesRequest:
    """The V1 request in a body. Raises BadTensor."""
    if not body.strip():
        return InstancesRequest([])
    try:
        return _instances.decode(body)
    except msgspec.DecodeError as error:
        raise BadTensor(detail=f'expected {{"instances": [...]}}: {error}') from error


def array(tensor: Tensor) -> NDArray[Any]:
    """A numeric tensor as an array of its shape.

    Raises:
        BadTensor: unknown datatype, BYTES, or data that does not fill the shape.
    """
    code = DTYPES.get(tensor.datatype)
    if code is None:
        known = ", ".join(DTYPES)
        raise BadTensor(detail=f"input {tensor.name!r}: datatype {tensor.datatype!r} is not one of {known}")
    try:
        if isinstance(tensor.data, bytes):
            values = np.frombuffer(tensor.data, dtype=code)
        else:
            values = np.asarray(tensor.data if tensor.data is not None else [], dtype=code)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadTensor(detail=f"input {tensor.name!r}: data is not all {tensor.datatype}: {error}") from error
    count = 1
    for size in tensor.shape:
        count *= size
    if count != values.size or any(size < 0 for size in tensor.shape):
        message = f"shape {tensor.shape} wants {count} values, data has {values.size}"
        raise BadTensor(detail=f"input {tensor.name!r}: {message}")
    return values.reshape(tensor.shape)


def output(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """An output tensor in JSON form."""
    return {"name": name, "datatype": "FP64", "shape": list(values.shape), "data": values.ravel().tolist()}


def binary_response(head: dict[str, Any], outputs: list[tuple[str, NDArray[np.float64]]]) -> tuple[bytes, int]:
    """(body, length of its JSON) with the outputs as raw bytes."""
    blobs = [np.ascontiguousarray(values, dtype="<f8").tobytes() for _, values in outputs]
    head["outputs"] = [
        {"name": name, "datatype": "FP64", "shape": list(values.shape), "parameters": {"binary_data_size": len(blob)}}
        for (name, values), blob in zip(outputs, blobs, strict=True)
    ]
    text: bytes = encode(head)
    return text + b"".join(blobs), len(text)
