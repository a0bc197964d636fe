"""A parent's weights: somebody's safetensors file, read and held against the network that is to start from them.

Only the header and plain arrays are read: no pickle, no code, nothing beyond the given bytes.
Source of the format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput, CorruptState
from headrace.models.backends.saved import DTYPES

FILE = "parent.safetensors"
"""Name of the weights in the folder of a model's code."""
HEADER = 2**20
"""Bytes of a header: some thousand tensors."""
ADVICE = (
    "have its recipe write safetensors: safetensors.torch.save_file(model.state_dict(), 'model.safetensors'). Pickles "
    "(.pt, .pkl) are never opened here, and ONNX initialisers are not mapped"
)
_CODES = {name: code for code, name in DTYPES.items()}


class Tensor(NamedTuple):
    """What a tensor has to be."""

    dtype: str
    """As safetensors writes it: F32."""
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def tensor(array: NDArray[Any]) -> Tensor:
    """What an array is."""
    return Tensor(DTYPES.get(array.dtype.newbyteorder("<").str, str(array.dtype)), array.shape)


def weights(folder: str) -> bytes:
    """A parent's weights in the folder of a model's code. Raises CorruptState."""
    path = Path(folder, FILE)
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptState(
            detail=f"the parent's weights cannot be read ({path}: {error.strerror}); a restart of the platform writes them again"
        ) from error


def read(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file, each in memory of its own.

    Raises:
        BadInput: it is none, or not one a network can start from; the message says what to do.
    """
    header = _header(data)
    start = 8 + int.from_bytes(data[:8], "little")
    found: dict[str, NDArray[Any]] = {}
    ends: list[tuple[int, int]] = []
    for name, about in header.items():
        kind, begin, end = _about(name, about, len(data) - start)
        ends.append((begin, end))
        array = np.frombuffer(data, _CODES[kind.dtype], math.prod(kind.shape), start + begin).reshape(kind.shape).copy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadInput(detail=f"tensor {name[:80]!r} holds values that are not finite numbers")
        found[name] = array
    _whole(sorted(ends), len(data) - start)
    return found


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or data[8:9] != b"{" or length > len(data) - 8:
        raise BadInput(detail=f"it is no safetensors file; {ADVICE}")
    if length > HEADER:
        raise BadInput(detail=f"its safetensors header is {length:,} bytes; at most {HEADER:,} are read")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise BadInput(detail=f"its safetensors header is damaged: {error}") from error
    header.pop("__metadata__", None)
    if not header:
        raise BadInput(detail="it holds no tensors")
    return dict(header)


def _about(name: str, about: Any, size: int) -> tuple[Tensor, int, int]:
    """(type and shape, begin, end) of one tensor, once they fit together."""
    entry = about if isinstance(about, dict) else {}
    dtype, shape, place = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not _counts(shape) or not _counts(place) or len(place) != 2 or not isinstance(dtype, str):
        raise BadInput(detail=f"tensor {name[:80]!r} is badly described in its safetensors header")
    if dtype not in _CODES:
        raise BadInput(detail=f"tensor {name[:80]!r} is {dtype[:20]}; save it as one of {', '.join(sorted(_CODES))}")
    begin, end = place
    if not begin <= end <= size or math.prod(shape) * np.dtype(_CODES[dtype]).itemsize != end - begin:
        raise BadInput(detail=f"tensor {name[:80]!r} has another size than its safetensors header says; is it whole?")
    return Tensor(dtype, tuple(shape)), begin, end


def _counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _whole(ends: list[tuple[int, int]], size: int) -> None:
    """The tensors fill the file, without holes and without a byte that is two tensors' (as the format asks)."""
    place = 0
    for begin, end in ends:
        if begin != place:
            break
        place = end
    if place != size:
        raise BadInput(detail="its tensors do not fill the file as the safetensors format asks; is it whole?")


def fit(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, Tensor]) -> None:
    """Hold a parent's tensors against those of the network that is to start from them.

    Raises:
        BadInput: names the first tensor that differs, what was expected and what was found.
    """
    for name, kind in wanted.items():
        if name not in found:
            known = ", ".join(sorted(found)[:8])
            raise BadInput(detail=f"tensor {name!r} is missing, expected {kind}; the parent has {known[:300]}")
        if tensor(found[name]) != kind:
            raise BadInput(detail=f"tensor {name!r}: expected {kind}, found {tensor(found[name])}")
    if more := sorted(set(found) - set(wanted)):
        raise BadInput(
            detail=f"tensor {more[0][:80]!r} ({tensor(found[more[0]])}) has no place here; expected {', '.join(wanted)[:300]}"
        )
