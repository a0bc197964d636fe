"""What is evaluated on: the shipped record, or a user's CSV or Parquet file.

A wide file has one row per time, with a time column and one or more columns of numbers. A long one has the columns time
and value, and device if there is more than one. A file with a device column is one series per device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace.evaluation.periods import Periods
from headrace.records import DAY, Array, Rows
from headrace.tables import files

SERIES = 50
"""Devices evaluated at most."""


@dataclass(frozen=True)
class Source:
    """Recorded readings of one or more devices, oldest first."""

    name: str
    series: dict[str, Rows]
    notes: list[str] = field(default_factory=list)


def trio(periods: Periods) -> Source:
    """The shipped record, in W; its missing rows as `periods` has them."""
    from headrace.examples.pv import SLOT, UTC_OFFSET, readings

    rows = readings()
    if periods.missing == "gap":
        return Source("trio", {"trio": rows})
    first = (periods.first or date(2018, 11, 8)) - date(1970, 1, 1)
    start = first.days * DAY - UTC_OFFSET
    slots = (periods.days or 224) * DAY // SLOT
    power, place = np.zeros(slots), (rows.time - start) // SLOT
    inside = (place >= 0) & (place < slots)
    power[place[inside]] = rows.columns["power"][inside]
    return Source("trio", {"trio": Rows(start + SLOT * np.arange(slots, dtype=np.int64), {"power": power})})


def read(path: Path, zone: str | None = None) -> Source:
    """A user's file, as `headrace.tables.files.read` has it; raises what that raises."""
    found = files.read(path, lambda devices: sorted(list(devices)[:SERIES]), zone)
    notes = [found.clock] if found.zoneless else []
    if len(found.devices) > SERIES:
        notes.append(f"only the {SERIES} of {len(found.devices):,} devices with most rows were evaluated")
    notes += found.notes
    series = {name if found.naming else "all": rows for name, rows in found.series.items()}
    return Source(path.stem, {key: _ordered(rows, key, notes) for key, rows in series.items()}, notes)


def _ordered(rows: Rows, key: str, notes: list[str]) -> Rows:
    """One device's rows, oldest first, each time once."""
    rows = rows.take(np.argsort(rows.time, kind="stable"))
    first = np.diff(rows.time, prepend=rows.time[:1] - 1) != 0
    _twice(rows, first, key, notes)
    return rows.take(first)


def _twice(rows: Rows, first: NDArray[np.bool_], key: str, notes: list[str]) -> None:
    """Say what repeats: the same reading twice is harmless, another value at the same time is another device."""
    again = np.flatnonzero(~first)
    if not len(again):
        return
    conflicts = int(np.any([_differ(values, again) for values in rows.columns.values()], axis=0).sum())
    where = "" if key == "all" else f" of {key}"
    if conflicts > len(rows) // 100:
        notes.append(
            f"{conflicts:,} times{where} appear more than once with different values: two devices under one key, or a local "
            "clock put back? The first value of each time was used; a `device` column tells devices apart"
        )
    else:
        notes.append(f"left out: {len(again):,} of {len(rows):,} rows{where}, whose time had been there already")


def _differ(values: Array, again: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether each of these values is another than the one before it."""
    now, before = values[again], values[again - 1]
    result: NDArray[np.bool_] = ~((now == before) | (np.isnan(now) & np.isnan(before)))
    return result
