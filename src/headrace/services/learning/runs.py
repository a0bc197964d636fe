"""Record-wise predictions as they are stored: 16 bytes each, and the JSON of one when somebody asks for it.

A stream of 100,000 readings a second would otherwise write 13 MB of JSON a second, most of it names.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.records import Array

_MARK = b"\0"
"""No JSON begins so."""
_encode = msgspec.json.Encoder().encode


def packed(model: str, key: str, prefix: str, first: int, times: NDArray[np.int64], values: Array) -> bytes:
    """Predictions of one key whose ids are ``prefix-first``, ``prefix-(first + 1)`` and so on.

    Args:
        times: ns, of the readings they were made after.
        values: in the target's unit, finite.
    """
    head = msgspec.msgpack.encode([model, key, prefix, first, len(times)])
    stamps = (times // 1_000_000).astype("<i8").tobytes()
    return _MARK + len(head).to_bytes(4, "big") + head + stamps + values.astype("<f8").tobytes()


def lines(stored: bytes, start: int | None = None, stop: int | None = None) -> list[bytes]:
    """The JSON bodies of a stored run, those from `start` to `stop` as in a slice."""
    if stored[:1] != _MARK:
        return stored.split(b"\n")[start:stop]
    body = 5 + int.from_bytes(stored[1:5], "big")
    model, key, prefix, first, size = msgspec.msgpack.decode(stored[5:body])
    stamps = np.frombuffer(stored, "<i8", size, body)[start:stop]
    values = np.frombuffer(stored, "<f8", size, body + 8 * size)[start:stop]
    begin = first + range(size)[start:stop].start
    return rendered(model, key, prefix, begin, stamps, values).split(b"\n") if len(stamps) else []


def rendered(model: str, key: str, prefix: str, first: int, stamps: NDArray[Any], values: NDArray[Any]) -> bytes:
    """The JSON bodies, one a line, in the shape of `store.body`; times in ms.

    All numbers are rendered by one call: one by one they would take as long as everything else here.
    """
    begin = f'{{"id":"{prefix}-'
    middle = f'","model":{_encode(model).decode()},"key":{_encode(key).decode()},"origin_ms":'
    numbers = _encode(values.tolist()).decode()[1:-1].split(",")
    made = [
        f'{begin}{ordinal}{middle}{stamp},"step_ms":0,"values":[{number}],"by":"live"}}'
        for ordinal, stamp, number in zip(count(first), stamps.tolist(), numbers, strict=False)
    ]
    return "\n".join(made).encode()
