"""SenML JSON (RFC 8428): an array of records that share base values.

- Base values (``bn bt bu bv bs bver``) hold from the record they stand in to the end or their next appearance.
- A time below 2**28 is relative to the message's arrival (RFC 8428, section 4.5.3).
- The base name, without its last separator, is the device, the rest of the name the field; a record with no more name
  than the base name is the field ``value``. Without a base name, a name that begins with ``urn:`` is a device's.
- ``v``, ``vb``, ``vs`` and ``vd`` (as its base64 text) are values; a sum ``s`` is the field ``<name>.sum``.
- Records of one device and time become one reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headrace.errors import Undecodable
from headrace.plugins import Params
from headrace.records import SECOND, Reading
from headrace.streams.decoders import rules
from headrace.streams.decoders.json import check_names, documents

_VERSION = 10
_RELATIVE = 1 << 28
_LOOKS = re.compile(rb'\s*\[\s*\{[^{}\[\]]{0,2048}?"b?n"\s*:\s*"')
_VALUED = re.compile(rb'"(?:v|vb|vs|vd|s|bv|bs)"\s*:')


class SenmlParams(Params):
    """Nothing to set."""


class _Record(msgspec.Struct):
    bn: str | None = None
    bt: int | float | None = None
    bu: str | None = None
    bv: int | float | None = None
    bs: int | float | None = None
    bver: int | None = None
    n: str = ""
    u: str | None = None
    t: int | float = 0
    v: int | float | None = None
    vb: bool | None = None
    vs: str | None = None
    vd: str | None = None
    s: int | float | None = None
    ut: int | float | None = None


@dataclass
class _Base:
    name: str = ""
    time: int | float = 0
    unit: str | None = None
    value: int | float | None = None
    sum: int | float | None = None


@dataclass
class _Growing:
    """A reading that may get more fields."""

    device: str
    time: int
    fields: dict[str, float | str | bool] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


class SenmlDecoder:
    """Decodes a SenML pack."""

    Params = SenmlParams

    def __init__(self, params: SenmlParams) -> None:
        self.params = params

    def sniff(self, topic: str, payload: bytes) -> bool:
        head = payload[:4096]
        return bool(_LOOKS.match(head)) and bool(_VALUED.search(head))

    def decode(self, topic: str, payload: bytes, received: int) -> list[Reading]:
        plain = documents(payload)
        if not isinstance(plain, list):
            raise Undecodable(detail="expected a SenML pack, which is an array of records")
        rules.check_count(len(plain))
        check_names(plain, payload)
        base, found = _Base(), _Found(topic, received)
        for one in plain:
            record = _record(one)
            _rebase(base, record)
            for suffix, value in _values(base, record):
                found.add(base, record, suffix, value)
        if not found.readings:
            raise Undecodable(detail="the SenML pack holds no value; give at least one record v, vb, vs, vd or s")
        return [Reading(one.device, one.time, one.fields, "", one.units) for one in found.readings]


class _Found:
    """The readings of a pack, in the order in which they begin."""

    def __init__(self, topic: str, received: int) -> None:
        self.topic, self.received = topic, received
        self.readings: list[_Growing] = []
        self._open: dict[tuple[str, int], _Growing] = {}

    def add(self, base: _Base, record: _Record, suffix: str, value: float | str | bool) -> None:
        """Add a value to the reading of its device and time, or begin another if that one has the field already."""
        device, name = _names(base.name, record.n, self.topic)
        name = rules.check_name(name + suffix)
        time = _time(base.time, record.t, self.received)
        growing = self._open.get((device, time))
        if growing is None or name in growing.fields:
            growing = self._open[device, time] = _Growing(device, time)
            self.readings.append(growing)
        growing.fields[name] = value
        unit = record.u if record.u is not None else base.unit
        if unit is not None and not suffix:
            growing.units[name] = unit[: rules.MAX_NAME]
        rules.check_fields(len(growing.fields))


def _record(plain: Any) -> _Record:
    if not isinstance(plain, dict):
        raise Undecodable(detail="a SenML pack holds something that is not a record; send an array of objects")
    unknown = next((name for name in plain if name.endswith("_")), None)
    if unknown is not None:
        raise Undecodable(
            detail=f"the SenML label {rules.preview(unknown)} must be understood and is not; leave it out"
        )
    try:
        return msgspec.convert(plain, _Record)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Undecodable(detail=f"a SenML record is not as RFC 8428 has it ({error}); correct it") from error


def _rebase(base: _Base, record: _Record) -> None:
    if record.bver is not None and record.bver > _VERSION:
        raise Undecodable(detail=f"SenML version {record.bver} is newer than {_VERSION}; send version {_VERSION}")
    if record.bn is not None:
        base.name = record.bn
    if record.bt is not None:
        base.time = record.bt
    if record.bu is not None:
        base.unit = record.bu
    if record.bv is not None:
        base.value = record.bv
    if record.bs is not None:
        base.sum = record.bs


def _values(base: _Base, record: _Record) -> list[tuple[str, float | str | bool]]:
    """Field suffix and value of what one record measures."""
    name = base.name + record.n
    found: list[tuple[str, float | str | bool]] = []
    if record.v is not None:
        found.append(("", rules.number(_plus(record.v, base.value, name), name)))
    elif record.vb is not None:
        found.append(("", record.vb))
    elif (text := record.vs if record.vs is not None else record.vd) is not None:
        if len(text) <= rules.MAX_TEXT:
            found.append(("", text))
    elif base.value is not None and record.n:
        found.append(("", rules.number(base.value, name)))
    if record.s is not None:
        found.append((".sum", rules.number(_plus(record.s, base.sum, name), name)))
    return found


def _plus(value: int | float, base: int | float | None, name: str) -> float:
    return rules.number(value, name) + (rules.number(base, name) if base is not None else 0.0)


def _names(base: str, name: str, topic: str) -> tuple[str, str]:
    """Device and field."""
    device = base.rstrip(":/.")
    if not device and name.startswith("urn:"):
        device, name = name, ""
    if len(device) > rules.MAX_NAME:
        raise Undecodable(detail=f"the SenML name {rules.preview(device)} has over {rules.MAX_NAME} characters")
    return device or rules.device_of(topic), name or "value"


def _time(base: int | float, time: int | float, received: int) -> int:
    if type(base) is int and type(time) is int:
        total: int | float = base + time
    else:
        total = rules.number(base, "bt") + rules.number(time, "t")
    if abs(total) > 1 << 40:
        raise Undecodable(detail="a SenML time is not in seconds; RFC 8428 has seconds since 1970, or since now")
    nanoseconds = total * SECOND if type(total) is int else round(total * 1e6) * 1000
    if total < _RELATIVE:
        nanoseconds += received
    return rules.check_time(nanoseconds, received, "t")
