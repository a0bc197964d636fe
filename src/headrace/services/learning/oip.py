"""Open Inference Protocol: tensors as JSON and as bytes, both ways. No routes here."""

from __future__ import annotations

import contextlib
import math
from array import array as doubles
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadTensor
from headrace.services.http import DAMAGED

_CODES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip
DTYPES = {name: np.dtype(code).newbyteorder("<") for name, code in _CODES.items()}
"""Little-endian, as the binary form of tensors is."""
NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}
"""The protocol's word for numpy's."""
BINARY_HEADER = b"inference-header-content-length"
OUTPUTS = ("y", "low", "high")
"""What can be asked for; the band only of the last forecast, and only if it has one."""
DIMENSIONS = 8
"""Most axes of a tensor; ours have two or three."""


class Tensor(msgspec.Struct):
    """One input or output."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct):
    """An output the client asks for, and how."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """Body of ``/infer``, ``/learn`` and ``/explain``."""

    inputs: list[Tensor] = []
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None

    @property
    def key(self) -> str:
        """Which device is asked about."""
        return key_of(self.parameters)

    def wanted(self) -> dict[str, bool]:
        """The outputs that are asked for, by default "y" alone -> whether as raw bytes.

        Raises:
            BadTensor: an output that no model has, or one of the band for inputs of the caller's own.
        """
        binary = bool((self.parameters or {}).get("binary_data_output"))
        if not self.outputs:
            return {"y": binary}
        for asked in self.outputs:
            if asked.name not in OUTPUTS:
                raise BadTensor(detail=f"there is no output {asked.name!r}, only {', '.join(OUTPUTS)}")
            if asked.name != "y" and any(0 not in tensor.shape for tensor in self.inputs):
                raise BadTensor(detail=f"output {asked.name!r} belongs to an issued forecast: ask without inputs")
        return {asked.name: bool((asked.parameters or {}).get("binary_data", binary)) for asked in self.outputs}


class InstancesRequest(msgspec.Struct):
    """Body of the V1 ``:predict``."""

    instances: list[Any]
    parameters: dict[str, Any] | None = None


def key_of(parameters: dict[str, Any] | None) -> str:
    """The parameter ``key``: which device is asked about. Raises BadTensor."""
    key = parameters.get("key", "") if parameters else ""
    if not isinstance(key, str):
        raise BadTensor(detail="the parameter 'key' is the name of a device, a text")
    return key


_infer = msgspec.json.Decoder(InferRequest)
_instances = msgspec.json.Decoder(InstancesRequest)
encode = msgspec.json.Encoder().encode


def read_infer(body: bytes, header_length: int | None = None) -> InferRequest:
    """The request in a body; with `header_length`, tensors follow the JSON as raw little-endian bytes.

    Raises:
        BadTensor: not JSON, or not of the protocol's shape.
    """
    head = body if header_length is None else body[:header_length]
    if not body.strip():
        return InferRequest()
    try:
        request = _infer.decode(head)
    except DAMAGED as error:
        raise BadTensor(detail=f"the body is no inference request: {error}") from error
    if header_length is not None:
        _attach(request, body, header_length)
    return request


def _attach(request: InferRequest, body: bytes, place: int) -> None:
    for tensor in request.inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is not None:
            if not isinstance(size, int) or size < 0 or place + size > len(body):
                raise BadTensor(detail=f"input {tensor.name!r}: binary_data_size {size!r} goes beyond the body")
            tensor.data = body[place : place + size]
            place += size
    if place != len(body):
        raise BadTensor(detail=f"{len(body) - place} bytes of the body belong to no input")


def read_instances(body: bytes) -> InstancesRequest:
    """The V1 request in a body. Raises BadTensor."""
    if not body.strip():
        return InstancesRequest([])
    try:
        return _instances.decode(body)
    except DAMAGED as error:
        raise BadTensor(detail=f'expected {{"instances": [...]}}: {error}') from error


def arrays(request: InferRequest) -> dict[str, NDArray[Any]]:
    """The inputs by name. Raises BadTensor, also for a name that is given twice."""
    inputs = {tensor.name: array(tensor) for tensor in request.inputs}
    if len(inputs) != len(request.inputs):
        raise BadTensor(detail="two inputs have the same name")
    return inputs


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
            values = from_json(tensor.data if tensor.data is not None else [], np.dtype(code))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadTensor(detail=f"input {tensor.name!r}: data is not all {tensor.datatype}: {error}") from error
    try:
        return _shaped(values, tensor.shape)
    except ValueError as error:
        raise BadTensor(detail=f"input {tensor.name!r}: {error}") from error


def from_json(data: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """JSON data, nested or flat, without the conversions NumPy would do silently: of text, and of fractions to integers."""
    if dtype == np.float64 and type(data) is list and data:
        # Twice as fast as np.asarray, which would have to find out the type.
        with contextlib.suppress(TypeError):  # nested, or with nulls or text in it
            return np.frombuffer(doubles("d", data))
    found = np.asarray(data)
    if found.dtype == dtype or not found.size:
        return found.astype(dtype)
    kind = found.dtype.kind
    if kind == "U" or (kind == "O" and any(isinstance(value, str) for value in found.flat)):
        raise ValueError("there is text in it")
    with np.errstate(over="ignore", invalid="ignore"):
        whole = dtype.kind not in "iu" or kind in "iub" or (kind == "f" and not (found % 1).any())
        if not whole or (dtype.kind == "b" and not np.isin(found, (0, 1)).all()):
            raise ValueError("not every value is one of that type")
        return np.asarray(data, dtype=dtype)


def _shaped(values: NDArray[Any], shape: list[int]) -> NDArray[Any]:
    if len(shape) > DIMENSIONS or any(not 0 <= size <= 2**40 for size in shape):
        raise ValueError(f"the shape has more than {DIMENSIONS} axes, or an impossible one")
    count = math.prod(shape)
    if count != values.size:
        raise ValueError(f"shape {shape} wants {count} values, data has {values.size}")
    return values.reshape(shape)


def output(name: str, values: NDArray[Any]) -> dict[str, Any]:
    """An output tensor in JSON form."""
    return {"name": name, "datatype": NAMES[values.dtype], "shape": list(values.shape), "data": values.ravel().tolist()}


def binary_response(
    head: dict[str, Any], outputs: dict[str, NDArray[Any]], binary: dict[str, bool]
) -> tuple[bytes, int]:
    """(body, length of its JSON); the outputs that `binary` says as raw bytes, the others in the JSON."""
    blobs = []
    head["outputs"] = [output(name, values) for name, values in outputs.items() if not binary[name]]
    for name, values in outputs.items():
        if binary[name]:
            blobs.append(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
            about = {"binary_data_size": len(blobs[-1])}
            shape, kind = list(values.shape), NAMES[values.dtype]
            head["outputs"].append({"name": name, "datatype": kind, "shape": shape, "parameters": about})
    text: bytes = encode(head)
    return text + b"".join(blobs), len(text)
