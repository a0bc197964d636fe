"""Record-wise predictions as they are stored: 16 bytes each, and the JSON of one when somebody asks for it.

A stream of 100,000 readings a second would otherwise write 13 MB of JSON a second, most of it names.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.records import Array

_MARK = b"\0"
"""No JSON begins so."""
_encode = msgspec.json.Encoder().encode
_PREFIX = re.compile(r"[0-9a-f]{1,64}")
HEAD = 2**16
"""Bytes of the head of a run that a stranger packed."""
SIZE = 2**17
"""Lines in one of a stranger's runs..."""
BODY = 2**20
"""...bytes of one of them: a forecast of 10,000 steps with its band has 600,000; and..."""
RENDERED = 2**26
"""...bytes of all that are made at a time."""


class Whose(NamedTuple):
    """What a run must be that a stranger's worker may have written."""

    model: str
    key: str
    size: int | None
    """Predictions in it; None: it is not known."""


def packed(model: str, key: str, prefix: str, first: int, times: NDArray[np.int64], values: Array) -> bytes:
    """Predictions of one key whose ids are ``prefix-first``, ``prefix-(first + 1)`` and so on.

    Args:
        times: ns, of the readings they were made after.
        values: in the target's unit, finite.
    """
    head = msgspec.msgpack.encode([model, key, prefix, first, len(times)])
    stamps = (times // 1_000_000).astype("<i8").tobytes()
    return _MARK + len(head).to_bytes(4, "big") + head + stamps + values.astype("<f8").tobytes()


def lines(stored: bytes, start: int | None = None, stop: int | None = None, whose: Whose | None = None) -> list[bytes]:
    """The JSON bodies of a stored run, those from `start` to `stop` as in a slice.

    Args:
        whose: it may be a stranger's, and must be that.

    Raises:
        ValueError, TypeError, MsgspecError: it is not.
    """
    if whose is not None and (not isinstance(stored, bytes) or not isinstance(whose.key, str)):
        raise ValueError("a run of predictions that is none")
    if stored[:1] != _MARK:
        return (stored if whose is None else _checked(stored, whose)).split(b"\n")[start:stop]
    body = 5 + int.from_bytes(stored[1:5], "big")
    model, key, prefix, first, size = _head(stored, body) if whose is None else _own_head(stored, body, whose)
    stamps = np.frombuffer(stored, "<i8", size, body)[start:stop]
    values = np.frombuffer(stored, "<f8", size, body + 8 * size)[start:stop]
    begin = first + range(size)[start:stop].start
    if whose is not None and len(stamps) * (len(_encode(key)) + len(_encode(model)) + 200) > RENDERED:
        raise ValueError(f"a run of more than {RENDERED:,} bytes")
    return rendered(model, key, prefix, begin, stamps, values).split(b"\n") if len(stamps) else []


def lined(bodies: bytes, size: int) -> bool:
    """Whether these are so many lines, none too long; looked at before they are cut."""
    if not 1 <= size <= SIZE or bodies.count(b"\n") != size - 1:
        return False
    return len(bodies) <= BODY or max(map(len, bodies.split(b"\n"))) <= BODY


def _checked(stored: bytes, whose: Whose) -> bytes:
    size = stored.count(b"\n") + 1 if whose.size is None else whose.size
    if not lined(stored, size):
        raise ValueError("a run whose lines are not those of its predictions")
    return stored


def _head(stored: bytes, body: int) -> Any:
    return msgspec.msgpack.decode(stored[5:body])


_strict = msgspec.msgpack.Decoder(tuple[str, str, str, int, int])


def _own_head(stored: bytes, body: int, whose: Whose) -> tuple[str, str, str, int, int]:
    if body > HEAD:
        raise ValueError(f"a run with a head of more than {HEAD:,} bytes")
    model, key, prefix, first, size = _strict.decode(stored[5:body])
    if (model, key) != (whose.model, whose.key) or size != (size if whose.size is None else whose.size):
        raise ValueError("a run that is another's, or of another size than its row says")
    if not (0 <= first <= 2**53 and size > 0 and _PREFIX.fullmatch(prefix) and len(stored) == body + 16 * size):
        raise ValueError("a run whose length or ids cannot be")
    return model, key, prefix, first, size


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
