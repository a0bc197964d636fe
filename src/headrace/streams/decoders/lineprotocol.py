"""Influx line protocol, as Telegraf and many gateways send it.

``weather,device=roof temperature=21.5,open=t 1700000000000000000``

- The **device** is the tag ``device``, ``host``, ``sensor`` or ``id`` (the first there is), else the measurement; the
  other tags are kept as texts.
- A field is called by its own name when the payload has one measurement, and ``measurement.field`` when it has several;
  `names` makes it one or the other always.
- ``21.5`` and ``3e4`` are floats, ``42i`` and ``42u`` integers, ``t T true True TRUE`` and ``f F false False FALSE``
  booleans, ``"..."`` texts; numbers become floats.
- Each line is one reading. Lines that begin with # are comments.

Grammar: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from pydantic import Field

from headrace.errors import Undecodable
from headrace.plugins import Params
from headrace.records import SECOND, Reading
from headrace.streams.decoders import rules

DEVICE_TAGS = ("device", "host", "sensor", "id")

_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": SECOND}
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)

# A backslash hides the character after it. Possessive quantifiers keep every match linear in the text and small in memory. The
# outer ones are not possessive: nothing can be given back there anyway, and Python 3.11.2, which Debian 12 ships, goes on from
# the wrong place where one possessive group stops inside another.
_MEASUREMENT = r"(?:[^\\, \n]|\\.)++"
_KEY = r"(?:[^\\,= \n]|\\.)++"
_VALUE = r'(?:"(?:[^"\\]|\\[\s\S])*+"|[^", \n]++)'
_NAMES = re.compile(rf"({_MEASUREMENT})((?:,{_KEY}={_KEY})*) +")
_FIELDS = re.compile(rf"{_KEY}={_VALUE}(?:,{_KEY}={_VALUE})*")
_TAG = re.compile(rf",({_KEY})=({_KEY})")
_FIELD = re.compile(rf"({_KEY})=({_VALUE})")
_TIME = re.compile(r" *(-?\d{1,20})?[ \r]*(?:\n|$)", re.ASCII)
_BLANK = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*+[ \t\r]*(?:#[^\n]*$)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?([iu]?)", re.ASCII)
_ESCAPE = re.compile(r"\\([,= ])")
_ESCAPED_TEXT = re.compile(r'\\(["\\])')


class LineProtocolParams(Params):
    """How to read what line protocol leaves open."""

    precision: Literal["ns", "us", "ms", "s"] = "ns"
    """Unit of the timestamps."""
    device: str | None = Field(default=None, min_length=1, max_length=rules.MAX_NAME)
    """The tag that names the device."""
    names: Literal["auto", "field", "measurement.field"] = "auto"
    """What fields are called."""


class _Line(NamedTuple):
    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | str | bool]
    time: int | None


class LineProtocolDecoder:
    """Decodes any number of lines."""

    Params = LineProtocolParams

    def __init__(self, params: LineProtocolParams) -> None:
        self.params = params
        self._tags = DEVICE_TAGS if params.device is None else (params.device,)

    def sniff(self, topic: str, payload: bytes) -> bool:
        head = payload[:4096].decode("utf-8", "replace")
        blank = _BLANK.match(head)
        names = _NAMES.match(head, blank.end() if blank else 0)
        return names is not None and _FIELD.match(head, names.end()) is not None

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        lines = _lines(rules.text_of(payload))
        several = len({line.measurement for line in lines}) > 1
        long_names = self.params.names == "measurement.field" or (self.params.names == "auto" and several)
        return [self._reading(line, long_names, received) for line in lines]

    def _reading(self, line: _Line, long_names: bool, received: int) -> Reading:
        tag = next((tag for tag in self._tags if tag in line.tags), None)
        if tag is None and self.params.device is not None:
            raise Undecodable(detail=f"a line has no tag {self.params.device!r}; check the decoder's `device`")
        device = line.tags[tag] if tag is not None else line.measurement
        fields = line.fields
        if long_names:
            fields = {rules.check_name(f"{line.measurement}.{name}"): value for name, value in fields.items()}
        for name, text in line.tags.items():
            if name != tag and len(text) <= rules.MAX_TEXT:
                fields.setdefault(name, text)
        rules.check_fields(len(fields))
        time = received
        if line.time is not None:
            time = rules.check_time(line.time * _UNITS[self.params.precision], received, "the timestamp")
        return Reading(rules.check_name(device), time, fields)


def _lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    position = _skip(text, 0)
    while position < len(text):
        line, position = _line(text, position)
        if line.fields:
            lines.append(line)
        rules.check_count(len(lines))
        position = _skip(text, position)
    if not lines:
        raise Undecodable(detail="the payload holds no line with a value; send `measurement field=1.5`")
    return lines


def _skip(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _line(text: str, position: int) -> tuple[_Line, int]:
    names = _NAMES.match(text, position)
    if names is None:
        raise _wrong(text, position, "expected `measurement,tag=value field=...`")
    values = _FIELDS.match(text, names.end())
    if values is None:
        raise _wrong(text, names.end(), "expected `field=value`")
    end = _TIME.match(text, values.end())
    if end is None:
        raise _wrong(text, values.end(), "expected a whole number as timestamp, or the end of the line")
    tags: dict[str, str] = {}
    for tag in _TAG.finditer(names[2]):
        _put(tags, _plain(tag[1]), _plain(tag[2]))
    fields: dict[str, float | str | bool] = {}
    for pair in _FIELD.finditer(values[0]):
        name = _plain(pair[1])
        value = _value(pair[2], name)
        if value is not None:
            _put(fields, name, value)
    return _Line(_plain(names[1]), tags, fields, int(end[1]) if end[1] else None), end.end()


def _put(into: dict[str, Any], name: str, value: object) -> None:
    rules.check_name(name)
    if name in into:
        raise Undecodable(detail=f"the name {rules.preview(name)} appears twice in one line; send each once")
    into[name] = value
    rules.check_fields(len(into))


def _value(text: str, name: str) -> float | str | bool | None:
    """The value of a field; None for a text too long to keep."""
    if text[0] == '"':
        spoken = _ESCAPED_TEXT.sub(r"\1", text[1:-1]) if "\\" in text else text[1:-1]
        return spoken if len(spoken) <= rules.MAX_TEXT else None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        kind = "no number" if text.lower().lstrip("+-") in ("nan", "inf", "infinity") else "no value of line protocol"
        raise Undecodable(
            detail=f"the field {rules.preview(name)} holds {rules.preview(text)}, which is {kind}; write 1.5, 1i, t "
            'or "text"'
        )
    return rules.number(float(text.rstrip("iu")), name)


def _plain(text: str) -> str:
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def _wrong(text: str, position: int, expected: str) -> Undecodable:
    line = text.count("\n", 0, position) + 1
    return Undecodable(detail=f"line {line}: {expected}, got {rules.preview(text[position : position + 32])}")
