"""What every decoder keeps to: limits on hostile payloads, plausible times, and who a topic says is talking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from headrace.errors import Undecodable
from headrace.records import DAY, SECOND

MAX_BYTES = 4 << 20
"""Longest payload; the doors refuse earlier (1 MiB for MQTT)."""
MAX_READINGS = 10_000
"""Readings in one payload."""
MAX_FIELDS = 1024
"""Fields of one reading."""
MAX_NAME = 256
"""Characters of a field's, device's or message's name."""
MAX_TEXT = 256
"""Characters of a text field; a longer text is left out of the reading."""
MAX_DEPTH = 16
"""Objects and arrays inside one another."""

OLDEST = 631_152_000 * SECOND
"""1990-01-01: a device that claims to be older has no clock."""
YOUNGEST_AHEAD = DAY
"""How far a device's clock may be ahead of ours."""

NO_UNITS: Mapping[str, str] = {}

ROLES = frozenset(
    {"telemetry", "tele", "reading", "readings", "data", "state", "status", "up", "uplink", "sensor", "sensors", "json"}
    | {"measurement", "measurements", "value", "values", "event", "events", "message", "messages"}
)
"""Last topic levels that say what a message is, not who sent it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = re.compile(r"\d{9,20}(\.\d{1,9})?", re.ASCII)


def preview(payload: bytes | str) -> str:
    """The first characters of a payload, fit for a message: enough to recognise it, too few to carry its secrets."""
    text = payload[:64].decode("utf-8", "replace") if isinstance(payload, bytes) else payload
    return repr(text[:16]) + ("…" if len(text) > 16 else "")


def check_bytes(payload: bytes) -> None:
    """Raises Undecodable for a payload that is empty or too long."""
    if len(payload) > MAX_BYTES:
        raise Undecodable(detail=f"the payload has {len(payload)} bytes, more than {MAX_BYTES}; send less at a time")
    if not payload or payload.isspace():
        raise Undecodable(detail="the payload is empty; a message without a value cannot be a reading")


def text_of(payload: bytes) -> str:
    """The payload as text; raises Undecodable if it is too long, empty or not UTF-8."""
    check_bytes(payload)
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Undecodable(
            detail=f"byte {error.start} of the payload is not UTF-8; send UTF-8 text, or name a decoder for this format"
        ) from error


def check_name(name: str) -> str:
    """`name`, if it can name a field; raises Undecodable."""
    if not name:
        raise Undecodable(detail="a field has an empty name; give every value a name")
    if len(name) > MAX_NAME:
        raise Undecodable(detail=f"the field {preview(name)} has a name of {len(name)} characters, over {MAX_NAME}")
    return name


def number(value: int | float, name: str) -> float:
    """`value` as a finite float; raises Undecodable."""
    try:
        result = float(value)
    except OverflowError as error:
        raise Undecodable(detail=f"the number in field {preview(name)} is too large for a float") from error
    if result - result != 0.0:
        raise Undecodable(
            detail=f"the field {preview(name)} holds {result}, which is no number; send null or leave the field out"
        )
    return result


def check_count(readings: int) -> None:
    """Raises Undecodable when a payload holds too many readings."""
    if readings > MAX_READINGS:
        raise Undecodable(detail=f"the payload holds more than {MAX_READINGS} readings; send them in smaller parts")


def check_fields(fields: int) -> None:
    """Raises Undecodable when a reading has too many fields."""
    if fields > MAX_FIELDS:
        raise Undecodable(detail=f"a reading has more than {MAX_FIELDS} fields; send them under several topics")


def check_time(time: int, received: int, name: str) -> int:
    """`time`, if it lies between 1990 and a day after `received`; raises Undecodable."""
    if OLDEST <= time <= received + YOUNGEST_AHEAD:
        return time
    wrong = "before 1990" if time < OLDEST else "more than a day after the message arrived"
    raise Undecodable(
        detail=f"the time in {preview(name)} is {wrong}; set the device's clock, or leave the time out to use the "
        "time of arrival"
    )


def moment(value: object, name: str) -> int:
    """Nanoseconds since the epoch of a time as devices write it.

    Numbers are seconds, milliseconds, microseconds or nanoseconds, by their size; fractions count to a microsecond.
    Text is ISO 8601, in UTC unless it names a zone, or such a number.

    >>> moment(1700000000, "ts") == moment(1700000000000, "ts") == moment("2023-11-14T22:13:20Z", "ts")
    True
    """
    if type(value) is int:
        return value * _unit(value)
    if type(value) is float:
        return (
            round(number(value, name) * (_unit(value) // 1000)) * 1000
            if abs(value) < 1e17
            else int(number(value, name))
        )
    if isinstance(value, str):
        return _spoken(value, name)
    raise Undecodable(detail=f"the time in {preview(name)} is neither a number nor a text")


def _unit(value: int | float) -> int:
    size = abs(value)
    if size < 1e11:
        return SECOND
    if size < 1e14:
        return 1_000_000
    return 1_000 if size < 1e17 else 1


def _spoken(text: str, name: str) -> int:
    text = text.strip()
    if text[4:5] != "-" and _DIGITS.fullmatch(text[:40]):
        return moment(float(text) if "." in text else int(text), name)
    try:
        when = datetime.fromisoformat(text if len(text) <= 40 else "")
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return (when - _EPOCH) // _MICROSECOND * 1000
    except (ValueError, OverflowError) as error:
        raise Undecodable(
            detail=f"the time {preview(text)} in {preview(name)} is not ISO 8601 (2024-05-31T12:00:00Z) nor a number "
            "of seconds or milliseconds; send one of these, or tell the decoder which field holds the time"
        ) from error


@lru_cache(maxsize=4096)
def device_of(topic: str) -> str:
    """Who a topic says is talking: the topic without empty levels and without a last level that names a role.

    >>> device_of("plant/inverter-7/telemetry"), device_of("zigbee2mqtt/kitchen"), device_of("tele/plug/SENSOR")
    ('plant/inverter-7', 'zigbee2mqtt/kitchen', 'tele/plug')
    """
    levels = [level for level in topic.split("/") if level]
    if len(levels) > 1 and levels[-1].lower() in ROLES:
        levels.pop()
    return "/".join(levels) or "unknown"


def split_topic(topic: str) -> tuple[str, str]:
    """Device and field of a topic whose last level names what is measured.

    >>> split_topic("home/kitchen/temperature"), split_topic("temperature")
    (('home/kitchen', 'temperature'), ('temperature', 'value'))
    """
    levels = [level for level in topic.split("/") if level]
    if len(levels) < 2:
        return (levels[0] if levels else "unknown"), "value"
    return "/".join(levels[:-1]), levels[-1]


def dig(plain: Any, path: str) -> Any:
    """What stands at the dotted `path` of nested objects, or None."""
    for part in path.split("."):
        if not isinstance(plain, dict):
            return None
        plain = plain.get(part)
    return plain
