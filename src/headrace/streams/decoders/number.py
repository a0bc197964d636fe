"""A bare number or switch state: ``21.5``, ``on``. The topic says whose it is and what it is called.

``home/kitchen/temperature`` carries the field ``temperature`` of the device ``home/kitchen``; on a topic of one level
the device is the topic and the field ``value``.
"""

from __future__ import annotations

import re

from headrace.errors import Undecodable
from headrace.plugins import Params
from headrace.records import Reading
from headrace.streams.decoders import rules

_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_STATES = {b"on": True, b"true": True, b"off": False, b"false": False}
_NOT_FINITE = frozenset({b"nan", b"inf", b"infinity"})
_LONGEST = 64


class NumberParams(Params):
    """Nothing to set."""


class NumberDecoder:
    """Decodes a payload that is one number, or one of on, off, true, false."""

    Params = NumberParams

    def __init__(self, params: NumberParams) -> None:
        self.params = params

    def sniff(self, topic: str, payload: bytes) -> bool:
        if len(payload) > _LONGEST:
            return False
        word = payload.strip()
        return bool(_NUMBER.fullmatch(word)) or word.lower() in _STATES or _not_finite(word)

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        rules.check_bytes(payload)
        device, name = rules.split_topic(topic)
        return [Reading(device, received, {rules.check_name(name): _value(payload, name)})]


def _value(payload: bytes, name: str) -> float | bool:
    word = payload.strip() if len(payload) <= _LONGEST else b""
    if _NUMBER.fullmatch(word):
        return rules.number(float(word), name)
    state = _STATES.get(word.lower())
    if state is not None:
        return state
    if _not_finite(word):
        raise Undecodable(detail=f"{rules.preview(word)} is no number; send nothing while there is no value")
    raise Undecodable(detail=f"expected one number, on, off, true or false, got {rules.preview(payload)}")


def _not_finite(word: bytes) -> bool:
    return word.lower().lstrip(b"+-") in _NOT_FINITE
