"""What goes in and out of a deployed model, and the frames in which it is asked: a small JSON head, then raw little-endian bytes.

A frame's content is four bytes with the length of the head, the head, and the tensors' bytes one after the other (and a model's
last, in a question). Whoever reads one checks every length before anything is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.services.learning.oip import DIMENSIONS, DTYPES, NAMES

Array = NDArray[np.generic]
VALUES = 2**20
"""Numbers of one question, and of one answer."""
HEAD = 2**16
"""Bytes of a head."""
MOST = 8 * VALUES + HEAD
"""Bytes of an answer."""
TENSORS = 64
"""Inputs, and outputs, of one model."""
NAMED = 200
"""Characters of the name of one."""
_TYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
}  # fmt: skip
"""ONNX Runtime's word for an element -> the protocol's."""


class Port(msgspec.Struct, frozen=True):
    """An input or output of a model."""

    name: str
    datatype: str
    shape: list[int]
    """-1: an axis of any length. Of a model that does not say how many axes it takes: []."""


class Part(msgspec.Struct, frozen=True):
    """A tensor whose bytes follow."""

    name: str
    datatype: str
    shape: list[int]


class Question(msgspec.Struct):
    """The head of a question. Without `model`: which providers there are."""

    model: str = ""
    """Digest of its bytes."""
    providers: list[str] = []
    size: int = 0
    """Bytes of the model at the end; 0: it was sent before."""
    inputs: list[Part] = []
    outputs: list[str] = []
    about: bool = False
    """Asks what the model is, not what it says."""


class Reply(msgspec.Struct):
    """The head of an answer."""

    provider: str = ""
    """Which one is in use, by its short name."""
    outputs: list[Part] = []


class About(msgspec.Struct):
    """What a model is, and what it runs on."""

    inputs: list[Port] = []
    outputs: list[Port] = []
    providers: list[str] = []
    """Providers that are here; of a model, those in use."""


Head = TypeVar("Head", bound=msgspec.Struct)


def datatype(kind: str) -> str:
    """The protocol's word for ONNX Runtime's type of an input or output. Raises ValueError.

    >>> datatype("tensor(float)")
    'FP32'
    >>> datatype("seq(map(int64,tensor(float)))")
    Traceback (most recent call last):
        ...
    ValueError: seq(map(int64,tensor(float))), and only tensors of numbers are served (tensor(float), tensor(int64), ...)
    """
    found = _TYPES.get(kind.removeprefix("tensor(").removesuffix(")")) if kind.startswith("tensor(") else None
    if found is None:
        raise ValueError(f"{kind}, and only tensors of numbers are served (tensor(float), tensor(int64), ...)")
    return found


def port(name: str, kind: str, shape: Sequence[object] | None) -> Port:
    """An input or output as ONNX Runtime tells of it. Raises ValueError."""
    axes = [axis if isinstance(axis, int) and axis >= 0 else -1 for axis in shape or ()]
    made = Port(name, datatype(kind), axes)
    if why := impossible(made):
        raise ValueError(why)
    return made


def impossible(one: Port) -> str:
    """Why it cannot be served, whoever tells of it; "" if it can."""
    if len(one.shape) > DIMENSIONS or len(one.name) > NAMED:
        sizes = f"{len(one.shape)} axes and a name of {len(one.name)} characters"
        return f"of {sizes}; {DIMENSIONS} and {NAMED} may be"
    if any(axis < -1 for axis in one.shape) or math.prod(max(axis, 1) for axis in one.shape) > VALUES:
        return f"of more than {VALUES:,} numbers"
    return "" if one.datatype in DTYPES else "of an unknown type"


def packed(head: msgspec.Struct, parts: Iterable[Array] = (), rest: bytes = b"") -> bytes:
    """The content of a frame; `head` tells of the parts, in their order."""
    about = msgspec.json.encode(head)
    raw = [np.ascontiguousarray(one, one.dtype.newbyteorder("<")).tobytes() for one in parts]
    return b"".join([len(about).to_bytes(4, "big"), about, *raw, rest])


def part(name: str, array: Array) -> Part:
    """A tensor as a head tells of it."""
    return Part(name, NAMES[array.dtype], list(array.shape))


def opened(data: bytes | memoryview, kind: type[Head]) -> tuple[Head, memoryview]:
    """(head, bytes after it) of a frame's content. Raises ValueError, msgspec.MsgspecError."""
    view = memoryview(data)
    size = int.from_bytes(view[:4], "big")
    if len(view) < 4 or size > min(HEAD, len(view) - 4):
        raise ValueError("a head of an impossible length")
    return msgspec.json.decode(view[4 : 4 + size], type=kind), view[4 + size :]


def arrays(parts: Sequence[Part], raw: memoryview) -> dict[str, Array]:
    """The tensors that a head tells of, of exactly these bytes. Raises ValueError."""
    if len(parts) > TENSORS or len({one.name for one in parts}) < len(parts):
        raise ValueError("more tensors than a model has, or two of one name")
    made: dict[str, Array] = {}
    place = values = 0
    for one in parts:
        kind = DTYPES.get(one.datatype)
        if kind is None or len(one.shape) > DIMENSIONS or any(not 0 <= axis <= VALUES for axis in one.shape):
            raise ValueError("a tensor of an unknown type, or an impossible shape")
        count = math.prod(one.shape)
        values += count
        end = place + count * kind.itemsize
        if values > VALUES or end > len(raw):
            raise ValueError("a tensor of more bytes than there are")
        made[one.name] = _array(raw[place:end], kind).reshape(one.shape)
        place = end
    if place != len(raw):
        raise ValueError("bytes that belong to no tensor")
    return made


def _array(raw: memoryview, kind: np.dtype[np.generic]) -> Array:
    if kind.kind == "b":
        return np.frombuffer(raw, np.uint8).astype(np.bool_)  # a byte that is neither 0 nor 1 is no bool
    return np.frombuffer(raw, kind)


def count(tensors: Mapping[str, Array]) -> int:
    """Numbers of them all."""
    return sum(one.size for one in tensors.values())
