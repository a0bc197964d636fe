"""What there is to see in some messages of one topic: which decoder understood them, which devices, which fields, how often."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from headrace.errors import Undecodable
from headrace.records import Reading, Record
from headrace.streams import decoders

DEVICES = 200
"""Devices listed."""


class Pin(NamedTuple):
    """A decoder a spec names."""

    name: str
    params: dict[str, Any]


def look(records: Sequence[Record], pin: Pin | None) -> dict[str, Any]:
    """``{"decoders": {name: messages}, "devices": [...]}``; read with the decoder a spec names, or as they look."""
    seen = [_understood(record, pin) for record in records]
    return {
        "decoders": dict(Counter(name for name, _ in seen)),
        "devices": _devices([reading for _, readings in seen for reading in readings]),
    }


def _understood(record: Record, pin: Pin | None) -> tuple[str, list[Reading]]:
    """The decoder that understands a record, and what it reads; told by the spec, the door, or in the order of detection."""
    decoder: Any = decoders.build(*(pin or ("auto", {})))
    try:
        readings = decoders.decode(decoder, record)
    except Undecodable:
        return "(quarantined)", []
    if pin is not None:
        return pin.name, readings
    return str(decoder.which(record.stream, record.payload)), readings


def _devices(readings: list[Reading]) -> list[dict[str, Any]]:
    seen: dict[str, list[Reading]] = {}
    for reading in readings:
        seen.setdefault(reading.device, []).append(reading)
    return [_device(name, several) for name, several in sorted(seen.items())[:DEVICES]]


def _device(name: str, readings: list[Reading]) -> dict[str, Any]:
    times = sorted({reading.time for reading in readings})
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    fields: dict[str, dict[str, Any]] = {}
    for reading in readings:
        for field, value in reading.fields.items():
            known = fields.setdefault(field, {"type": type(value).__name__, "unit": reading.units.get(field, "")})
            known["last"] = value
            if isinstance(value, float):
                known["low"], known["high"] = min(known.get("low", value), value), max(known.get("high", value), value)
    return {
        "device": name,
        "readings": len(readings),
        "every_seconds": statistics.median(steps) / 1e9 if steps else None,
        "last_time_ms": times[-1] // 1_000_000,
        "fields": fields,
    }
