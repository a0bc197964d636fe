"""What the backends share: sealed states, and weights as safetensors without the safetensors library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import CorruptState, LearningError
from headrace.records import Array
from headrace.states import pack, unpack

_SEAL = 16
"""Bytes of SHA-256 before a state: enough to notice damage, no protection against an attacker."""

DTYPES = {
    "<f8": "F64",
    "<f4": "F32",
    "<f2": "F16",
    "<i8": "I64",
    "<i4": "I32",
    "|u1": "U8",
    "|i1": "I8",
    "|b1": "BOOL",
}
"""numpy's name of a type -> that of safetensors."""
_CODES = {name: code for code, name in DTYPES.items()}


def seal(backend: str, state: Mapping[str, Any]) -> bytes:
    """The state of that backend as bytes that `unseal` can tell from damaged or foreign ones."""
    body = pack({"backend": backend, **state})
    return hashlib.sha256(body).digest()[:_SEAL] + body


def unseal(backend: str, data: bytes, *names: str) -> dict[str, Any]:
    """The state that was sealed, with exactly these names in it.

    Raises:
        CorruptState: the bytes are damaged, another backend's, or another version's.
    """
    body = bytes(data[_SEAL:])
    if hashlib.sha256(body).digest()[:_SEAL] != bytes(data[:_SEAL]):
        raise CorruptState(detail=f"the state of backend {backend!r} is damaged ({len(data)} bytes, wrong check sum)")
    state: dict[str, Any] = unpack(body)
    found = state.pop("backend", None)
    if found != backend:
        raise CorruptState(detail=f"a state of backend {found!r} was given to backend {backend!r}")
    if set(state) != set(names):
        raise CorruptState(detail=f"a state of backend {backend!r} holds {sorted(state)}, expected {sorted(names)}")
    return state


def expect(backend: str, name: str, value: Any, like: NDArray[Any]) -> NDArray[Any]:
    """`value`, an array of a loaded state, once it has the dtype and shape of `like`.

    Raises:
        CorruptState: it has not, so the state belongs to other params or another shape.
    """
    if not isinstance(value, np.ndarray) or value.dtype != like.dtype or value.shape != like.shape:
        found = f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        wanted = f"{like.dtype}{like.shape}"
        raise CorruptState(detail=f"{name!r} in a state of backend {backend!r} is {found}, expected {wanted}")
    return value


def finite_inputs(x: Array, y: Array) -> None:
    """Refuse examples that would poison a model.

    Raises:
        LearningError: an input is not finite, or a target is infinite (NaN targets are merely missing).
    """
    if not np.isfinite(x).all():
        raise LearningError(detail="an input is not a finite number")
    if np.isinf(y).any():
        raise LearningError(detail="a target is infinite")


def read_safetensors(backend: str, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays that `safetensors` wrote.

    Raises:
        CorruptState: no such bytes.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:start])
        return {name: _tensor(data[start:], about) for name, about in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptState(detail=f"weights of backend {backend!r} are damaged: {error}") from error


def _tensor(data: bytes, about: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = about["data_offsets"]
    if not 0 <= begin <= end <= len(data):
        raise ValueError("a tensor lies outside")
    return np.frombuffer(data[begin:end], _CODES[about["dtype"]]).reshape(about["shape"]).copy()


def safetensors(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays in the safetensors format, sorted by name, so that equal arrays give equal bytes.

    Source: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    end = 0
    for name in sorted(tensors):
        array = tensors[name]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        part = little.tobytes()
        header[name] = {
            "dtype": DTYPES[little.dtype.str],
            "shape": list(array.shape),
            "data_offsets": [end, end + len(part)],
        }
        parts.append(part)
        end += len(part)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + b"".join(parts)
