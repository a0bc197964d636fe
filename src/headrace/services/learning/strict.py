"""What a stranger's worker packed (`headrace.states.pack`), unpacked only after it was counted.

A byte can stand for an empty list: 30 MB of them would be gigabytes of objects and seconds of the event loop. So the values
are counted first, without making any; an honest exported model has ten, the evidence of a forecast some thousands.

MessagePack: github.com/msgpack/msgpack, "Message Pack specification".
"""

from __future__ import annotations

from typing import Any

from headrace import states

BYTES = 2**26
"""Of one packed value: what `distrust` lets through."""
VALUES = 10_000
"""Values in it: numbers, texts, arrays of numbers; each takes a microsecond to count."""
DEPTH = 8
"""Of dicts and lists in each other."""
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of bin and str."""
_EXT = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED = {
    0xC0: 0,
    0xC2: 0,
    0xC3: 0,
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
_FIXED |= {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_MANY = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Bytes of the length of array and map, and values of each of its members."""


def unpack(data: Any, values: int = VALUES) -> dict[str, Any]:
    """A state of at most so many values. Raises ValueError and what `states.unpack` raises."""
    if not isinstance(data, bytes) or len(data) > BYTES:
        raise ValueError("no packed state, or too long a one")
    count(data, values)
    found = states.unpack(data)
    if not isinstance(found, dict):
        raise ValueError("no packed dict")  # noqa: TRY004 whoever reads files is told of values
    return found


def exported(data: bytes) -> dict[str, Any]:
    """An exported model as its worker stored it; what a numpy kernel takes is counted too. Raises as `unpack`."""
    state = unpack(data, 100)
    if state["format"] == "numpy":
        unpack(state["data"], 100)
    return state


def count(data: bytes, most: int) -> int:
    """How many values a packed state has. Raises ValueError: more than `most`, too deep, or it ends too early.

    >>> count(states.pack({"n": [1, 2.5, "three"]}), 100)
    6
    """
    place, seen = 0, 0
    waiting = [1]
    while waiting:
        if not waiting[-1]:
            waiting.pop()
            continue
        waiting[-1] -= 1
        seen += 1
        place, members = _skip(data, place)
        if members:
            waiting.append(members)
        if seen > most or members > most or len(waiting) > DEPTH:
            raise ValueError(f"a state of more than {most:,} values, or deeper than {DEPTH}")
    return seen


def _skip(data: bytes, place: int) -> tuple[int, int]:
    """(place after the head, and the bytes if it has any, of the value that begins here; values that are its members)."""
    if place >= len(data):
        raise ValueError("a state that ends too early")
    head, place = data[place], place + 1
    if head < 0x80 or head >= 0xE0:
        return place, 0
    if head < 0xA0:
        return place, (head & 15) * (2 if head < 0x90 else 1)
    if head < 0xC0:
        return place + (head & 31), 0
    if head in _FIXED:
        return place + _FIXED[head], 0
    if head in _MANY:
        width, each = _MANY[head]
        return place + width, each * int.from_bytes(data[place : place + width], "big")
    if (width := _SIZED.get(head) or _EXT.get(head, 0)) == 0:
        raise ValueError("no packed state")
    return place + width + (head in _EXT) + int.from_bytes(data[place : place + width], "big"), 0
