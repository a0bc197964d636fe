"""One CSV or Parquet file, read with DuckDB: times, devices, fields, and what has to be known about them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput, MissingExtra
from headrace.records import SECOND, Array, Rows
from headrace.tables.clocks import in_skipped_hours, put_back, wall_to_utc
from headrace.tables.columns import DEVICES, Column, cell, device_column, hour_column, look, quoted, time_column
from headrace.tables.doubts import interleaved, without_strays

ROWS = 20_000_000
"""Rows read of one file."""
MEMORY = "4GB"
"""What its text may take; it is not written to a disk."""
_LARGEST = 1e30
"""Larger values are none."""
_TWICE = (
    "its times go back by up to an hour: if they are of a local clock with summer time, name its time zone, or write them "
    "with their offset (2024-10-27T02:30:00+01:00); as they are, an hour is doubled in autumn and missing in spring"
)
_PARQUET = {".parquet", ".pq"}
Pick = Callable[[dict[str, int]], Collection[str]]
"""Of all devices and their numbers of rows, the most frequent first, those to read; it may raise BadInput."""


@dataclass(frozen=True)
class File:
    """A file as it was understood."""

    clock: str
    """Which column is the time and how it was understood, in words."""
    zoneless: bool
    """Whether any of them has no zone, so that somebody had to say, or guess, whose clock it was."""
    naming: str
    """Name of the column that tells devices apart, or ""."""
    devices: dict[str, int]
    """Rows of every device, the most frequent first; of "" where none is named."""
    series: dict[str, Rows]
    """Of the devices that were picked, in the order of the file: ns since 1970 UTC, values finite or NaN."""
    notes: list[str]
    """What else has to be known."""


def read(path: Path, pick: Pick = list, zone: str | None = None) -> File:
    """A file as it is.

    Args:
        zone: times without a zone are of this zone's clock, unless it never shows one of them; those, and without one, UTC.

    Raises:
        BadInput: it cannot be read, holds no rows, no times or no numbers.
        MissingExtra: duckdb is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise MissingExtra(family="reader of", name="CSV and Parquet", module=error.name, extra="evaluate") from error
    alone: Any = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "temp_directory": ""}
    with duckdb.connect(config={**alone, "threads": "2", "memory_limit": MEMORY}) as database:
        try:
            database.execute("SET TimeZone = 'UTC'")
            _load(database, path)
            columns = [look(database, str(name)) for name, *_ in database.execute("DESCRIBE readings").fetchall()]
            return _understood(database, path, columns, pick, zone)
        except duckdb.OutOfMemoryException as error:
            raise BadInput(detail=f"{path} takes more than {MEMORY} of memory; thin it out first") from error
        except (duckdb.Error, OSError) as error:
            why = str(error).strip().splitlines()[0][:200].rstrip(".")
            raise BadInput(detail=f"{path} cannot be read as CSV or Parquet: {why}") from error


def _load(database: Any, path: Path) -> None:
    """The table `readings`: every column as text, in the order of the file."""
    if not path.is_file():
        why = "is a directory; name one CSV or Parquet file" if path.is_dir() else "is no file"
        raise BadInput(detail=f"{path} {why}" if path.exists() else f"there is no file {path}")
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise BadInput(detail=f"{path} is empty: it holds no rows")
    name = str(path)
    if start == b"PAR1" or path.suffix.lower() in _PARQUET:
        described = database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [name]).fetchall()
        cells = ", ".join(_parquet_cell(column, kind) for column, kind, *_ in described)
        query, given = f"SELECT {cells} FROM read_parquet(?)", [name]
    else:
        sniffed = database.execute("SELECT Delimiter, HasHeader FROM sniff_csv(?, sample_size = 2000)", [name])
        query = "SELECT * FROM read_csv(?, all_varchar = true, delim = ?, header = ?, null_padding = true)"
        given = [name, *sniffed.fetchone()]
    database.execute(f"CREATE TABLE readings AS {query} LIMIT {ROWS + 1}", given)


def _parquet_cell(column: str, kind: str) -> str:
    """A typed column as text that loses nothing; what is no number, text or time is left empty."""
    name, text = quoted(column), f"{quoted(column)}::VARCHAR"
    if kind.startswith(("STRUCT", "MAP", "BLOB")) or kind.endswith("[]"):
        text = "NULL::VARCHAR"
    elif kind == "TIMESTAMP WITH TIME ZONE":
        text = f"epoch_us({name})::VARCHAR"
    elif kind == "BOOLEAN":
        text = f"{name}::INT::VARCHAR"
    return f"{text} AS {name}"


def _understood(database: Any, path: Path, columns: Sequence[Column], pick: Pick, zone: str | None) -> File:
    clock, notes = time_column(columns), _cut_short(database, path)
    listed = ", ".join(column.name for column in columns[:10]) + (" …" if len(columns) > 10 else "")
    if hours := hour_column(database, columns, clock):
        joined = "write date and time into one, as in 2024-03-31T01:00:00Z"
        raise BadInput(detail=f"{path} has the time of day in a column of its own, {hours!r}: {joined}")
    if clock is None:
        wanted = "ISO 8601 such as 2024-03-31T01:00:00Z, or s, ms, µs or ns since 1970 in a column called time"
        raise BadInput(detail=f"{path} has no time column: expected {wanted}; its columns: {listed}")
    naming = device_column(database, columns, clock)
    fields = [column for column in columns if column not in (clock, naming) and column.numeric]
    if not fields:
        raise BadInput(detail=f"{path} has no column of numbers beside {clock.name!r}; its columns: {listed}")
    if texts := [column.name for column in columns if column not in (clock, naming, *fields)]:
        notes.append(f"not numbers, left out: {', '.join(texts[:10])}{' …' if len(texts) > 10 else ''}")
    lost = f"SELECT count(*) - count({clock.moment()}) FROM readings"
    if without := database.execute(lost).fetchone()[0]:
        notes.append(f"{without:,} rows without a readable time were left out")
    devices = _devices(database, naming)
    series = {device: _rows(database, clock, fields, naming, device) for device in pick(devices)}
    if not any(map(len, series.values())):
        raise BadInput(detail=f"{path}: no row of {', '.join(series) or 'it'} has a readable time")
    series, words, zoneless, as_utc = _understand(database, clock, zone, series)
    series = _doubted(series, notes)
    if as_utc and any(put_back(rows.time) for rows in series.values()):
        notes.append(_TWICE)
    described = f"time is column {clock.name!r}, {words}"
    return File(described, zoneless, naming.name if naming else "", devices, series, notes)


def _doubted(series: dict[str, Rows], notes: list[str]) -> dict[str, Rows]:
    """The series without stray rows; what was odd is added to `notes`."""
    kept, strays, mixed = {}, [], []
    for device, rows in series.items():
        kept[device], left = without_strays(rows)
        strays += [str(np.datetime64(time, "ns").astype("datetime64[s]")) for time in left.tolist()]
        mixed += [f"{name}{f' of {device}' if device else ''}" for name in interleaved(kept[device])]
    if strays:
        listed = ", ".join(strays[:3]) + (" …" if len(strays) > 3 else "")
        rows_of = "1 row" if len(strays) == 1 else f"{len(strays):,} rows"
        notes.append(f"left out: {rows_of} years away from all others, {listed}")
    if mixed:
        listed = ", ".join(mixed[:5]) + (" …" if len(mixed) > 5 else "")
        notes.append(
            f"the readings of {listed} jump to and fro from each to the next: two devices under one key? They were taken for "
            "one; a `device` column tells devices apart"
        )
    return kept


def _cut_short(database: Any, path: Path) -> list[str]:
    """A note if there are too many rows; the one too many goes. Raises BadInput if there are none."""
    (count,) = database.execute("SELECT count(*) FROM readings").fetchone()
    if not count:
        raise BadInput(detail=f"{path} holds no rows")
    if count <= ROWS:
        return []
    database.execute(f"DELETE FROM readings WHERE rowid >= {ROWS}")
    return [f"only the first {ROWS:,} rows were read"]


def _device(naming: Column) -> str:
    return f"coalesce({cell(naming.name)}, '')"


def _devices(database: Any, naming: Column | None) -> dict[str, int]:
    name = _device(naming) if naming else "''"
    rows = database.execute(f"SELECT {name}, count(*) FROM readings GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {DEVICES}")
    return {str(name): int(n) for name, n in rows.fetchall()}


def _rows(database: Any, clock: Column, fields: Sequence[Column], naming: Column | None, device: str) -> Rows:
    """A device's rows that have a time, as it is written: not yet moved to UTC."""
    cells = [f"{clock.moment()} AS _time", *(f"{column.number()} AS _{i}" for i, column in enumerate(fields))]
    where, given = (f" WHERE {_device(naming)} = ?", [device]) if naming else ("", [])
    found = database.execute(f"SELECT {', '.join(cells)} FROM readings{where}", given).fetchnumpy()
    time = np.ma.masked_array(found["_time"])
    known = ~np.ma.getmaskarray(time)
    values = {column.name: _plain(found[f"_{i}"])[known] for i, column in enumerate(fields)}
    return Rows(np.asarray(time.data, np.int64)[known], values)


def _plain(found: Any) -> Array:
    raw: Array = np.ma.filled(np.ma.masked_array(found, dtype=np.float64), np.nan)
    return np.where(np.abs(raw) < _LARGEST, raw, np.nan)


def _understand(
    database: Any, clock: Column, zone: str | None, series: dict[str, Rows]
) -> tuple[dict[str, Rows], str, bool, bool]:
    """(the series in UTC, how their times were understood, whether any has no zone, whether those were read as UTC)."""
    if clock.counted:
        unit = {SECOND: "seconds", 1_000_000: "milliseconds", 1_000: "microseconds", 1: "nanoseconds"}[clock.unit]
        return series, f"{unit} since 1970{'' if clock.dated else ', though not of 1990 to 2100'}", False, False
    if clock.zoned:
        part = clock.zoned < clock.moments
        return series, f"with its zone{', read as UTC where it has none' if part else ''}", part, part
    written = f", written as {clock.spoken}" if clock.spoken else ""
    if zone is None or zone == "UTC":
        return series, f"without a zone, read as UTC{written}", True, True
    impossible = in_skipped_hours(_times(database, clock), zone)  # of all devices together
    if len(impossible):
        first = str(impossible.min().astype("datetime64[ns]").astype("datetime64[m]")).replace("T", " ")
        why = f"no clock of {zone} ever shows {first}, which is among them"
        return series, f"without a zone, read as UTC{written}: {why}", True, True
    moved = {device: Rows(wall_to_utc(rows.time, zone), rows.columns) for device, rows in series.items()}
    return moved, f"without a zone, read as wall-clock time of {zone}, as told{written}", True, False


def _times(database: Any, clock: Column) -> NDArray[np.int64]:
    found = database.execute(f"SELECT DISTINCT {clock.moment()} AS _time FROM readings").fetchnumpy()["_time"]
    return np.asarray(np.ma.masked_array(found).compressed(), np.int64)
