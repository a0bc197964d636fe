"""States as bytes: MessagePack with numpy arrays, no pickle, the same bytes for the same state.

Everything a checkpoint holds goes through here: None, bool, int (any size up to 64 bits), float, str, bytes, list,
dict with str keys, and numpy arrays.

>>> import numpy as np
>>> unpack(pack({"n": 3, "w": np.arange(2.0)}))
{'n': 3, 'w': array([0., 1.])}
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np

_ARRAY = 1


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        head = msgspec.msgpack.encode([value.dtype.str, list(value.shape)])
        data = np.ascontiguousarray(value).tobytes()
        return msgspec.msgpack.Ext(_ARRAY, len(head).to_bytes(2, "big") + head + data)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a state may not hold a {type(value).__name__}")


def _decode(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code} in a state")
    raw = bytes(data)
    start = 2 + int.from_bytes(raw[:2], "big")
    name, shape = _head.decode(raw[2:start])
    if len(name) > 16 or len(shape) > 32:  # numpy takes long to read a long one
        raise ValueError("an array of objects in a state")
    dtype = np.dtype(name)
    if dtype.hasobject:
        raise ValueError("an array of objects in a state")
    return np.frombuffer(raw, dtype=dtype, offset=start).reshape(shape).copy()


_head = msgspec.msgpack.Decoder(tuple[str, list[int]])
_encoder = msgspec.msgpack.Encoder(enc_hook=_encode)
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode)


def pack(state: Any) -> bytes:
    """The state as bytes; equal states give equal bytes (dicts keep their insertion order)."""
    return _encoder.encode(state)


def unpack(data: bytes) -> Any:
    """The state back; arrays are fresh and writable."""
    return _decoder.decode(data)


def digest(data: bytes) -> str:
    """``sha256:…`` of some bytes: the name of a content-addressed object."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
