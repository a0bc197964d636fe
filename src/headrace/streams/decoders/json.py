"""JSON as devices send it: flat or nested objects, arrays of them, one a line, and ThingsBoard's shapes.

- Nested names are joined with a dot: ``{"ENERGY": {"Power": 12}}`` is the field ``ENERGY.Power``; the members of an
  array inside a reading are numbered: ``phase.0``.
- ``{"ts": 1700000000000, "values": {...}}`` holds its fields in ``values``; a gateway's ``{"Dev A": [{"ts": ...,
  "values": {...}}], "Dev B": [...]}`` holds readings of several devices.
- The **time** is the first of `TIMES` that is there. ``t`` counts as a time only if it can be one: ``{"t": 21.5}`` is a
  temperature.
- The **device** is the first of `DEVICES` that holds a text, else the topic (`rules.device_of`).
- A **message id** is the first of `IDS`.
- Numbers become floats, booleans stay, null is left out, texts of up to 256 characters are kept.
- Of a name that appears twice in one object only one value could be meant: such a payload is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import msgspec
from pydantic import Field

from headrace.errors import Undecodable
from headrace.plugins import Params
from headrace.records import Reading
from headrace.streams.decoders import rules
from headrace.streams.decoders.columnar import MS_1990, Columns, FlatShape, Plan
from headrace.streams.decoders.rules import MAX_BYTES, MAX_NAME, NO_UNITS, OLDEST, YOUNGEST_AHEAD, device_of

TIMES = ("ts", "time", "timestamp", "t", "_time", "Time", "datetime")
DEVICES = ("device", "device_id", "deviceId", "dev", "sensor", "sensor_id", "id", "name")
IDS = ("message_id", "messageId", "msg_id", "uuid")

_MAX_PLANS = 1024
_EXACT_FLOAT = float(1 << 53)
_MAX_PLAN_FIELDS = 64
_BOM = b"\xef\xbb\xbf"
_WORD = re.compile(rb"[:\[,\s]-?(NaN|nan|Infinity|inf)\b")
_T_IS_TIME = rules.OLDEST // 1_000_000_000

_Flat: TypeAlias = dict[str, float | str | bool | None]

_parse = msgspec.json.Decoder().decode
_parse_flat: Callable[[bytes], _Flat] = msgspec.json.Decoder(dict[str, float | str | bool]).decode  # type: ignore[assignment]
_parse_holed = msgspec.json.Decoder(_Flat).decode
_parse_lines = msgspec.json.Decoder().decode_lines
_new = tuple.__new__


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise Undecodable(detail=f"the name {rules.preview(name)} appears twice in one object; send each once")
        seen.add(name)


_EXACT = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str)
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonParams(Params):
    """Where a payload keeps what is not a field; dotted paths reach into nested objects."""

    time: str | None = Field(default=None, max_length=rules.MAX_NAME)
    """The field with the event time; "" if none is, so that the time of arrival counts."""
    device: str | None = Field(default=None, min_length=1, max_length=rules.MAX_NAME)
    """The field with the device's name."""
    root: str | None = Field(default=None, min_length=1, max_length=rules.MAX_NAME)
    """The object that holds the fields, such as ``uplink_message.decoded_payload``."""


class JsonDecoder:
    """Decodes JSON; flat objects of a shape seen before take a short cut with the same result."""

    Params = JsonParams

    def __init__(self, params: JsonParams) -> None:
        self.params = params
        self._times = TIMES if params.time is None else (params.time,) if params.time else ()
        self._devices = DEVICES if params.device is None else (params.device,)
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._shapes: dict[tuple[tuple[str, type], ...], FlatShape | None] = {}
        self._plain = params.root is None and not any("." in name for name in (*self._times, *self._devices))

    def sniff(self, topic: str, payload: bytes) -> bool:
        return payload[:64].removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        if len(payload) > MAX_BYTES:
            rules.check_bytes(payload)
        tidy = False
        try:
            plain = _parse_flat(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                plain = _parse_holed(payload) if b"null" in payload else {}
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                plain = {}
            tidy = True
        plan = self._plans.get(tuple(plain)) or self._planned(plain)
        if plan is not None:
            reading = _flat(plan, plain, tidy, topic, payload, received)
            if reading is not None:
                return [reading]
        return self._general(topic, payload, received)

    def columns(self, topics: Sequence[str], payloads: Sequence[bytes], received: Sequence[int]) -> Columns | None:
        """What `decode` gives for each of many messages, at once, if all are flat objects of one shape; else None."""
        try:
            one = _parse_flat(payloads[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        kind = tuple((name, type(value)) for name, value in one.items())
        if kind not in self._shapes:
            if len(self._shapes) >= _MAX_PLANS:
                self._shapes.clear()
            self._shapes[kind] = self._shape(one)
        shape = self._shapes[kind]
        return None if shape is None else shape.columns(topics, payloads, received)

    def _shape(self, one: _Flat) -> FlatShape | None:
        """How to read many flat objects like this at once; None if they are read by the long way, or too many."""
        plan = self._planned(one) if len(one) <= _MAX_PLAN_FIELDS else None
        if plan is None:
            return None
        try:
            return FlatShape(one, plan, partial(_spoken, plan.time or "", plan.sure))
        except ValueError:
            return None

    def _planned(self, plain: _Flat) -> Plan | None:
        """How to read flat objects with these keys, remembered unless they are many; None if by the long way."""
        keys = tuple(plain)
        named = self.params.device
        if (
            not keys
            or not self._plain
            or not all(0 < len(key) <= MAX_NAME for key in keys)
            or (named and named not in keys)
        ):
            return None
        device, identity = _first(self._devices, keys), _first(IDS, keys)
        quotes = 2 * (len(keys) + (device is not None) + (identity is not None))
        colons = len(keys) + sum(key.count(":") for key in keys)
        plan = Plan(_first(self._times, keys), self.params.time is not None, device, identity, quotes, colons)
        if len(keys) <= _MAX_PLAN_FIELDS:
            if len(self._plans) >= _MAX_PLANS:  # somebody invents names: start again rather than grow
                self._plans.clear()
            self._plans[keys] = plan
        return plan if len(keys) <= rules.MAX_FIELDS else None

    def _general(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        plain = documents(payload)
        if isinstance(plain, list):
            rules.check_count(len(plain))
        check_names(plain, payload)
        readings = []
        for device, one in _each(plain):
            readings.append(self._one(one, device, topic, received))
            rules.check_count(len(readings))
        if not readings:
            raise Undecodable(detail="the JSON holds no reading; send an object of named values")
        return readings

    def _one(self, one: dict[str, Any], device: str, topic: str, received: int) -> Reading:
        used: set[str] = set()
        time = self._time(one, received, used)
        device = self._device(one, used) or device or rules.device_of(topic)
        identity = _id(one, used)
        fields: dict[str, float | str | bool] = {}
        if self.params.root is not None:
            one, used = self._rooted(one), set()
        for name, value in one.items():
            if name in used:
                continue
            _flatten("" if name == "values" and isinstance(value, dict) else name, value, fields)
        if not fields:
            raise Undecodable(detail="the object holds no value besides its time and names; send at least one")
        return Reading(device, time, fields, identity)

    def _rooted(self, one: dict[str, Any]) -> dict[str, Any]:
        found = rules.dig(one, self.params.root or "")
        if not isinstance(found, dict):
            raise Undecodable(detail=f"there is no object at {self.params.root!r}; check the decoder's `root`")
        return found

    def _time(self, one: dict[str, Any], received: int, used: set[str]) -> int:
        for name in self._times:
            value = one[name] if name in one else rules.dig(one, name) if "." in name else None
            if _is_time(name, value, self.params.time is not None):
                used.add(name)
                return rules.check_time(rules.moment(value, name), received, name)
        return received

    def _device(self, one: dict[str, Any], used: set[str]) -> str:
        named = self.params.device
        for name in self._devices:
            value = one[name] if name in one else rules.dig(one, name) if "." in name else None
            if named is not None and type(value) is int:
                value = str(value) if abs(value) < 1 << 64 else None
            if isinstance(value, str) and 0 < len(value) <= rules.MAX_NAME:
                used.add(name)
                return value
        if named is not None:
            raise Undecodable(detail=f"the field {named!r} names no device; check the decoder's `device`")
        return ""


def _first(candidates: tuple[str, ...], keys: tuple[str, ...]) -> str | None:
    return next((name for name in candidates if name in keys), None)


def _is_time(name: str, value: object, sure: bool) -> bool:
    """Whether `value` is a time; `sure` when the user named the field, else ``t`` may be a temperature."""
    if type(value) is int or type(value) is float:
        return sure or name != "t" or value >= _T_IS_TIME
    if type(value) is str:
        return sure or name != "t" or (len(value) >= 8 and value[0].isdigit())
    return False


def _spoken(name: str, sure: bool, when: float | str | bool | None) -> int | None:
    """Nanoseconds of a time that is not in milliseconds; None if it is none, or too large for a float to hold."""
    if (type(when) is float and when > _EXACT_FLOAT) or not _is_time(name, when, sure):
        return None
    try:
        return rules.moment(when, name)
    except Undecodable:
        return None


def _flat(plan: Plan, plain: _Flat, tidy: bool, topic: str, payload: bytes, received: int) -> Reading | None:
    """The reading of a flat object, or None if anything about it is out of the ordinary. Consumes `plain`."""
    time_name, sure, device_name, id_name, quotes, colons = plan
    if payload.count(b'"') != quotes:  # texts among the values, or a name that appears twice
        if _repeats(plain, payload, colons):
            return None
        tidy = tidy or len(payload) > rules.MAX_TEXT
    time, device, identity = received, "", ""
    if time_name is not None:
        when = plain.pop(time_name)
        if type(when) is float and MS_1990 <= when < 1e14:
            time = round(when * 1e3) * 1000
        elif (spoken := _spoken(time_name, sure, when)) is None:
            return None
        else:
            time = spoken
        if not OLDEST <= time <= received + YOUNGEST_AHEAD:
            return None
    if device_name is not None:
        device = plain.pop(device_name)  # type: ignore[assignment]
        if type(device) is not str or not 0 < len(device) <= MAX_NAME:
            return None
    if id_name is not None:
        identity = plain.pop(id_name)  # type: ignore[assignment]
        if type(identity) is not str or not 0 < len(identity) <= MAX_NAME:
            return None
    if tidy:
        plain = _tidied(plain)
    return _new(Reading, (device or device_of(topic), time, plain, identity, NO_UNITS)) if plain else None


def _repeats(plain: _Flat, payload: bytes, colons: int) -> bool:
    """Whether a name may appear twice in a flat object: each is followed by a colon, so counting colons tells."""
    for value in plain.values():
        if type(value) is str:
            colons += value.count(":")
    return payload.count(b":") != colons or (colons > len(plain) and b"\\" in payload)


def _tidied(plain: _Flat) -> _Flat:
    """Without nulls and long texts."""
    return {
        name: value
        for name, value in plain.items()
        if value is not None and (type(value) is not str or len(value) <= rules.MAX_TEXT)
    }


def _id(one: dict[str, Any], used: set[str]) -> str:
    for name in IDS:
        value = one.get(name)
        if type(value) is int and abs(value) < 1 << 128:
            value = str(value)
        if isinstance(value, str) and 0 < len(value) <= rules.MAX_NAME:
            used.add(name)
            return value
    return ""


def _each(plain: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that is a reading, with the device a gateway's message files it under."""
    if isinstance(plain, dict):
        if plain and all(_is_batch(value) for value in plain.values()):
            for device, several in plain.items():
                rules.check_name(device)
                yield from ((device, one) for one in several)
        else:
            yield "", plain
        return
    for one in plain if isinstance(plain, list) else [plain]:
        if not isinstance(one, dict):
            raise Undecodable(detail=f"expected an object of named values or an array of them, got {_kind(one)}")
        yield "", one


def _is_batch(value: object) -> bool:
    """Whether `value` is what a gateway sends for one device: ``[{"ts": ..., "values": {...}}]``."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(one, dict) and isinstance(one.get("values"), dict) for one in value)


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "a boolean", str: "a text", list: "an array in an array"}
    return names.get(type(value), "a number")


def _flatten(name: str, value: Any, fields: dict[str, float | str | bool]) -> None:
    if type(value) is dict or type(value) is list:
        for key, inner in value.items() if type(value) is dict else enumerate(value):
            _flatten(f"{name}.{key}" if name else str(key), inner, fields)
        return
    if value is None or (type(value) is str and len(value) > rules.MAX_TEXT):
        return
    if not 0 < len(name) <= MAX_NAME:
        rules.check_name(name)
    if name in fields:
        raise Undecodable(detail=f"two values are called {rules.preview(name)}; give each its own name")
    fields[name] = rules.number(value, name) if type(value) is int else value
    if len(fields) > rules.MAX_FIELDS:
        rules.check_fields(len(fields))


def documents(payload: bytes) -> Any:
    """What JSON holds: one document, perhaps after a byte order mark, or a list of those on lines of their own."""
    rules.check_bytes(payload)
    try:
        return _parse(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mistake: Exception = error
    try:
        if payload.startswith(_BOM):
            return _parse(payload[len(_BOM) :])
        if b"\n" in payload.strip():
            return _parse_lines(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mistake = error
    raise Undecodable(detail=_complaint(payload, mistake)) from mistake


def _complaint(payload: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"the JSON is nested more than {rules.MAX_DEPTH} deep; send flatter objects"
    if isinstance(error, UnicodeDecodeError):
        return f"the JSON holds a text that is not UTF-8 (byte {error.start} of it); send UTF-8"
    if _WORD.search(payload):
        return "the JSON holds NaN or Infinity, which are no numbers; send null or leave the field out"
    where = str(error).removeprefix("JSON is malformed: ")
    return f"the payload is not JSON ({where}): it starts {rules.preview(payload)}"


def check_names(plain: Any, payload: bytes) -> None:
    """Refuse deep nesting and names that appear twice.

    Every name is followed by a colon, so that counting colons settles nearly every payload; the rest is read again.
    """
    colons = _count_colons(plain, 0)
    if payload.count(b":") == colons and b"\\" not in payload:
        return
    text, position = payload.removeprefix(_BOM).decode("utf-8", "replace"), 0
    try:
        while (position := _SPACE.match(text, position).end()) < len(text):  # type: ignore[union-attr]
            _, position = _EXACT.raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        raise Undecodable(detail=_complaint(payload, error)) from error


def _count_colons(plain: Any, depth: int) -> int:
    if depth > rules.MAX_DEPTH:
        raise Undecodable(detail=f"the JSON is nested more than {rules.MAX_DEPTH} deep; send flatter objects")
    colons, inner = 0, plain
    if type(plain) is dict:
        colons, inner = len(plain) + "".join(plain).count(":"), plain.values()
    elif type(plain) is not list:
        return plain.count(":") if type(plain) is str else 0
    for one in inner:
        kind = type(one)
        if kind is str:
            colons += one.count(":")
        elif kind is dict or kind is list:
            colons += _count_colons(one, depth + 1)
    return colons
