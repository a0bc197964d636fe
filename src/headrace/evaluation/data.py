"""What is evaluated on: the shipped record, or a user's CSV or Parquet file, read with DuckDB.

A wide file has one row per time, with a time column and one or more columns of numbers. A long one has the columns time
and value, and device if there is more than one. A file with a device column is one series per device.
Times are ISO 8601 (without an offset: UTC, as everywhere in Headrace) or numbers since the epoch in s, ms, us or ns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput, MissingExtra
from headrace.evaluation.periods import Periods
from headrace.records import DAY, HOUR, Array, Rows

TIME_NAMES = ("time", "timestamp", "ts", "date_time", "datetime", "date", "utc", "t", "zeit", "fecha")
DEVICE_NAMES = ("device", "device_id", "deveui", "sensor", "meter", "id", "key", "topic")
Column: TypeAlias = list[Any] | NDArray[Any]
"""Texts (None where there is none), or numbers."""
SERIES = 50
"""Devices evaluated at most."""
_LARGEST = 20_000_000
"""Rows of a file."""
_UNITS = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (0, 1_000_000_000))
"""Numbers from this size on count in units of so many ns."""


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


def read(path: Path) -> Source:
    """A user's file. Raises BadInput if it holds no series, MissingExtra without DuckDB."""
    names, columns = _table(path)
    if not len(columns[0]):
        raise BadInput(detail=f"{path} holds no rows")
    time_name, time, rest, notes = _time(path, names, columns)
    devices = next((name for name in names if name.lower() in DEVICE_NAMES and name != time_name), None)
    labels = [str(value) for value in columns[names.index(devices)]] if devices else None
    found = {name: _numbers(columns[names.index(name)]) for name in rest if name != devices}
    numbers = {name: values for name, values in found.items() if values is not None}
    if not numbers:
        raise BadInput(detail=f"{path} has no column of numbers beside {time_name!r}; its columns: {', '.join(names)}")
    series = {key: _series(time, numbers, chosen, key, notes) for key, chosen in _split(labels, len(time), notes)}
    return Source(path.stem, series, notes)


def _table(path: Path) -> tuple[list[str], list[Column]]:
    """Names and columns; timestamps as ns, texts as they are."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise MissingExtra(family="reader", name="duckdb", module=error.name, extra="evaluate") from error
    if not path.is_file():
        raise BadInput(detail=f"there is no file {path}")
    reader = "read_parquet(?)" if path.suffix.lower() in {".parquet", ".pq"} else "read_csv(?, all_varchar = true)"
    with duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "1"}) as db:
        try:
            described = db.execute(f"DESCRIBE SELECT * FROM {reader}", [str(path)]).fetchall()
            wanted = ", ".join(_column(str(name), str(kind)) for name, kind, *_ in described)
            found = db.execute(f"SELECT {wanted} FROM {reader} LIMIT {_LARGEST + 1}", [str(path)]).fetchnumpy()
        except duckdb.Error as error:
            raise BadInput(
                detail=f"{path} cannot be read as a table: {str(error).splitlines()[0].rstrip('.')}"
            ) from error
    names = [str(name) for name, *_ in described]
    columns = [_plain(found[name]) for name in names]
    if len(columns[0]) > _LARGEST:
        raise BadInput(detail=f"{path} has more than {_LARGEST:,} rows; thin it out first")
    return names, columns


def _column(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_ns({quoted}) AS {quoted}"
    return f"CAST({quoted} AS DOUBLE) AS {quoted}" if kind != "VARCHAR" else quoted


def _plain(values: Any) -> Column:
    """Masked entries as None (texts) or NaN (numbers)."""
    gone = np.ma.getmaskarray(values)
    plain: NDArray[Any] = np.ma.getdata(values)
    if plain.dtype.kind == "O":
        return [None if lost else value for value, lost in zip(plain.tolist(), gone.tolist(), strict=True)]
    return np.where(gone, np.nan, plain.astype(np.float64)) if gone.any() else plain


def _time(path: Path, names: list[str], columns: list[Column]) -> tuple[str, NDArray[np.int64], list[str], list[str]]:
    """(name, ns, the other columns, notes) of the time column: by its name, else the first that can be read as times."""
    by_name = [name for known in TIME_NAMES for name in names if name.lower() == known]
    notes: list[str] = []
    for name in [*by_name, *(name for name in names if name not in by_name)]:
        found = _times(columns[names.index(name)], notes, number=name in by_name)
        if found is not None:
            return name, found, [other for other in names if other != name], notes
    wanted = "a column of ISO 8601 times such as 2024-03-31T01:00:00Z, or one called `time` with seconds since 1970"
    raise BadInput(detail=f"{path} has no time column: expected {wanted}; its columns: {', '.join(names)}")


def _times(values: Column, notes: list[str], *, number: bool) -> NDArray[np.int64] | None:
    """A column as ns, unreadable entries as the least integer; None if it holds no times."""
    missing = np.iinfo(np.int64).min
    if isinstance(values, np.ndarray) and values.dtype.kind == "i":
        return values.astype(np.int64)
    if number and (numbers := _numbers(values)) is not None:
        size = float(np.nanmedian(np.abs(numbers)))
        unit = next(unit for least, unit in _UNITS if size >= least)
        known = np.isfinite(numbers) & (np.abs(numbers) * unit < 9e18)
        return np.where(known, np.round(np.where(known, numbers, 0) * unit), missing).astype(np.int64)
    if isinstance(values, np.ndarray):
        return None
    moments = [_moment(value) for value in values]
    known_count = sum(moment is not None for moment in moments)
    if known_count < max(1, len(moments) // 2):
        return None
    if known_count < len(moments):
        notes.append(f"{len(moments) - known_count:,} rows without a readable time were left out")
    naive = [moment is not None and moment.tzinfo is None for moment in moments]
    found = np.array([missing if moment is None else _ns(moment) for moment in moments], np.int64)
    if any(naive):
        _local_clock(found[found > missing], notes)
    return found


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None


def _ns(moment: datetime) -> int:
    whole = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = whole - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def _local_clock(time: NDArray[np.int64], notes: list[str]) -> None:
    """Times without an offset are read as UTC. If they go back by an hour, they were of a clock that is put back."""
    notes.append("times without an offset were read as UTC")
    back = np.diff(time)
    if ((back <= 0) & (back >= -HOUR)).any() and ((back > HOUR // 2) & (back <= 2 * HOUR)).any():
        notes.append(
            "its times go back by up to an hour: if they are of a local clock with summer time, write them with their "
            "offset (2024-10-27T02:30:00+01:00); as they are, an hour is doubled in autumn and missing in spring"
        )


def _numbers(values: Column) -> Array | None:
    """A column as floats; None if fewer than half of its entries that are there are numbers."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    there = [value for value in values if value is not None and str(value).strip()]
    numbers = np.array([_number(value) for value in values])
    good = sum(not np.isnan(_number(value)) or str(value).strip().lower() == "nan" for value in there)
    return numbers if good >= max(1, len(there) / 2) else None


def _number(value: object) -> float:
    try:
        found = float(str(value))
    except ValueError:
        return np.nan
    return found if np.isfinite(found) else np.nan


def _split(labels: list[str] | None, n: int, notes: list[str]) -> list[tuple[str, NDArray[np.intp]]]:
    """(device, its rows)."""
    if labels is None:
        return [("all", np.arange(n))]
    index: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        index.setdefault(label, []).append(place)
    if len(index) > SERIES:
        notes.append(f"only the first {SERIES} of {len(index):,} devices were evaluated")
    return [(key, np.array(places, np.intp)) for key, places in list(index.items())[:SERIES]]


def _series(
    time: NDArray[np.int64], numbers: dict[str, Array], chosen: NDArray[np.intp], key: str, notes: list[str]
) -> Rows:
    """One device's rows, oldest first, each time once."""
    own = time[chosen]
    known = own > np.iinfo(np.int64).min
    order = chosen[known][np.argsort(own[known], kind="stable")]
    times = time[order]
    first = np.diff(times, prepend=times[:1] - 1) != 0
    rows = Rows(times, {name: values[order] for name, values in numbers.items()})
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
