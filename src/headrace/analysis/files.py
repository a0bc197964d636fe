"""CSV and Parquet files: which column is the time, which names the device, which are numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.analysis.clocks import wall_to_utc
from headrace.analysis.tables import Table, choose
from headrace.errors import BadInput, MissingExtra
from headrace.records import SECOND, Array

ROWS = 10_000_000
"""Rows read of one file."""
DEVICES = 10_000
"""Different values a column may have to be taken for the devices' names."""
TIMES = (
    "time",
    "timestamp",
    "ts",
    "datetime",
    "date_time",
    "date",
    "t",
    "utc",
    "created_at",
    "received",
    "when",
    "zeit",
)
DEVICE = (
    "device",
    "device_id",
    "deviceid",
    "sensor",
    "sensor_id",
    "id",
    "meter",
    "meter_id",
    "node",
    "station",
    "name",
)
_PARQUET = {".parquet", ".pq"}
_SHARE = 0.9
"""Share of a column's entries that must read as a time, or as numbers, for it to be one."""
_EPOCH = (631_152_000, 4_102_444_800)
"""1990 to 2100, seconds."""
_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y")
_FORMATS = tuple(f"{date} {time}" for date in _DATES for time in ("%H:%M:%S", "%H:%M"))
_MISSING = "('', 'na', 'n/a', 'nan', 'null', 'none', '-')"
_ZONED = r"(?i)\d(z|\s?utc|[+-]\d{2}(:?\d{2})?)$|[a-z]+/[a-z_]+$"


@dataclass(frozen=True)
class Column:
    """What one column holds, by counts of its entries that are not missing."""

    name: str
    filled: int
    numbers: int
    commas: int
    """Numbers with a decimal comma."""
    moments: int
    """ISO 8601 and the like."""
    spoken: str
    """Another way of writing times that fits, or ""."""
    distinct: int
    median: float
    zoned: int

    @property
    def numeric(self) -> bool:
        """Whether it is a field: numbers, or nothing at all."""
        return self.filled == 0 or max(self.numbers, self.commas) >= _SHARE * self.filled

    @property
    def epoch(self) -> int:
        """Nanoseconds of one unit if these numbers can be times since 1970, else 0."""
        for unit in (SECOND, 1_000_000, 1_000, 1):
            seconds = self.median * unit / SECOND
            if self.numbers >= _SHARE * max(self.filled, 1) and _EPOCH[0] <= seconds <= _EPOCH[1]:
                return unit
        return 0

    @property
    def timely(self) -> bool:
        """Whether it can be the time."""
        return bool(self.filled and (self.epoch or self.moments >= _SHARE * self.filled or self.spoken))


def read_file(path: Path, device: str | None = None, zone: str | None = None) -> Table:
    """The readings of a file; of its largest device if it has several and none is named.

    Args:
        zone: times without a zone are of this zone's clock if its clock changes show in them, else UTC.

    Raises:
        BadInput: it cannot be read, holds no rows, no time or no numbers.
        MissingExtra: duckdb is not installed.
    """
    source, database = f"file {path.name}", _database()
    try:
        _load(database, path)
        columns = [_look(database, name) for (name, *_) in database.execute("DESCRIBE readings").fetchall()]
        return _table(database, path, source, columns, device, zone)
    except _duckdb().Error as error:
        raise BadInput(detail=f"{path} cannot be read as CSV or Parquet: {_first_line(error)}") from error
    finally:
        database.close()


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise MissingExtra(family="command", name="analyse", module=error.name, extra="evaluate") from error
    return duckdb


def _database() -> Any:
    """In memory, and it fetches nothing."""
    quiet = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "2"}
    database = _duckdb().connect(config=quiet)
    database.execute("SET TimeZone = 'UTC'")
    return database


def _load(database: Any, path: Path) -> None:
    """The table `readings`: every column as text, in the order of the file."""
    if path.is_dir():
        raise BadInput(detail=f"{path} is a directory; name one CSV or Parquet file")
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise BadInput(detail=f"{path} is empty")
    name = str(path)
    if start == b"PAR1" or path.suffix in _PARQUET:
        cells = [
            _parquet_cell(column, kind)
            for column, kind, *_ in database.execute("DESCRIBE SELECT * FROM read_parquet(?)", [name]).fetchall()
        ]
        query, given = f"SELECT {', '.join(cells)} FROM read_parquet(?)", [name]
    else:
        sniffed = database.execute(
            "SELECT Delimiter, HasHeader FROM sniff_csv(?, sample_size = 2000)", [name]
        ).fetchone()
        query = "SELECT * FROM read_csv(?, all_varchar = true, delim = ?, header = ?, null_padding = true)"
        given = [name, *sniffed]
    database.execute(f"CREATE TABLE readings AS {query} LIMIT {ROWS}", given)
    if not database.execute("SELECT count(*) FROM readings").fetchone()[0]:
        raise BadInput(detail=f"{path} has no rows")


def _parquet_cell(column: str, kind: str) -> str:
    """A typed column as text that loses nothing; what is no number, text or time is left empty."""
    quoted = _quoted(column)
    if kind.startswith(("STRUCT", "MAP", "BLOB")) or kind.endswith("[]"):
        return f"NULL::VARCHAR AS {quoted}"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({quoted})::VARCHAR AS {quoted}"
    if kind == "BOOLEAN":
        return f"{quoted}::INT::VARCHAR AS {quoted}"
    return f"{quoted}::VARCHAR AS {quoted}"


def _look(database: Any, name: str) -> Column:
    cell = f"trim({_quoted(name)})"
    row = database.execute(
        f"WITH v AS (SELECT {cell} AS x FROM readings WHERE {cell} IS NOT NULL AND lower({cell}) NOT IN {_MISSING}) "
        "SELECT count(*), count(try_cast(x AS DOUBLE)), count(try_cast(replace(x, ',', '.') AS DOUBLE)), "
        "count(CASE WHEN try_cast(x AS DOUBLE) IS NULL THEN try_cast(x AS TIMESTAMPTZ) END), "
        "approx_count_distinct(x), median(try_cast(x AS DOUBLE)), count(CASE WHEN regexp_matches(x, ?) THEN 1 END) FROM v",
        [_ZONED],
    ).fetchone()
    filled, numbers, commas, moments, distinct, median, zoned = row
    spoken = "" if numbers or moments or not filled else _spoken(database, cell, filled)
    return Column(name, filled, numbers, commas, moments, spoken, distinct, float(median or 0), zoned)


def _spoken(database: Any, cell: str, filled: int) -> str:
    for pattern in _FORMATS:
        found = database.execute(f"SELECT count(try_strptime({cell}, ?)) FROM readings", [pattern]).fetchone()[0]
        if found == filled:
            return pattern
    return ""


def _table(
    database: Any, path: Path, source: str, columns: list[Column], device: str | None, zone: str | None
) -> Table:
    clock, notes = _time_column(columns, source), []
    naming = _device_column(columns, clock)
    fields = [column for column in columns if column not in (clock, naming) and column.numeric]
    if not fields:
        raise BadInput(detail=f"{source} has no column of numbers beside the time {clock.name!r}")
    texts = [column.name for column in columns if column not in (clock, naming, *fields)]
    if texts:
        notes.append(f"not numbers, left out: {', '.join(texts[:10])}{' …' if len(texts) > 10 else ''}")
    names = _names(database, naming)
    chosen = choose(names, device, source) if naming else ""
    if device is not None and naming is None:
        raise BadInput(detail=f"{source} has no column that names devices; leave out --device")
    if len(names) > 1:
        notes.append(
            f"{len(names):,} devices in column {naming.name if naming else ''}; this is {chosen!r}, --device chooses"
        )
    time, values, dropped = _values(database, clock, fields, naming, chosen)
    if dropped:
        notes.append(f"{dropped:,} rows without a readable time were left out")
    if not len(time):
        raise BadInput(detail=f"{source}: no row of {chosen or 'it'} has a readable time")
    time, note = _zoned(time, clock, zone)
    if len(time) >= ROWS:
        notes.append(f"only the first {ROWS:,} rows were read")
    return Table(
        source=source,
        topic=f"{re.sub('[^a-z0-9]+', '-', path.name.partition('.')[0].lower()).strip('-') or 'site'}/+/reading",
        device=chosen,
        devices=names or {"": len(time)},
        time=time,
        columns=values,
        notes=(f"time is column {clock.name!r}, {note}", *notes),
    )


def _time_column(columns: list[Column], source: str) -> Column:
    """By name if what it holds can be times, else the first that can."""
    timely = [column for column in columns if column.timely]
    if not timely:
        raise BadInput(
            detail=f"{source} has no column of times; expected ISO 8601, or s, ms, µs or ns since 1970, in a column such as "
            f"'time' (columns: {', '.join(column.name for column in columns[:10])})"
        )
    named = [column for name in TIMES for column in timely if column.name.strip().lower() == name]
    return (named or [column for column in timely if not column.epoch] or timely)[0]


def _device_column(columns: list[Column], clock: Column) -> Column | None:
    """By name, else the only text column whose few values repeat."""
    rest = [column for column in columns if column is not clock and 0 < column.distinct <= DEVICES]
    for name in DEVICE:
        for column in rest:
            if column.name.strip().lower() == name and column.distinct * 2 <= column.filled + 1:
                return column
    texts = [column for column in rest if not column.numeric and not column.timely]
    few = [column for column in texts if column.distinct <= min(200, column.filled / 10)]
    return few[0] if len(texts) == 1 and few else None


def _names(database: Any, naming: Column | None) -> dict[str, int]:
    if naming is None:
        return {}
    cell = f"coalesce(trim({_quoted(naming.name)}), '')"
    rows = database.execute(f"SELECT {cell}, count(*) FROM readings GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {DEVICES}")
    return {str(name): int(n) for name, n in rows.fetchall()}


def _values(
    database: Any, clock: Column, fields: list[Column], naming: Column | None, chosen: str
) -> tuple[NDArray[np.int64], dict[str, Array], int]:
    """Times in ns (as written: not yet moved to UTC), the fields, and the number of rows without a time."""
    cells = [f"{_moment(clock)} AS t"]
    for index, column in enumerate(fields):
        cell = f"trim({_quoted(column.name)})"
        cell = f"replace({cell}, ',', '.')" if column.commas > column.numbers else cell
        cells.append(f"try_cast({cell} AS DOUBLE) AS f{index}")
    where, given = "", []
    if naming is not None:
        where, given = f" WHERE coalesce(trim({_quoted(naming.name)}), '') = ?", [chosen]
    found = database.execute(f"SELECT {', '.join(cells)} FROM readings{where}", given).fetchnumpy()
    time = np.ma.masked_array(found["t"])
    known = ~np.ma.getmaskarray(time)
    values = {}
    for index, column in enumerate(fields):
        raw = np.ma.masked_array(found[f"f{index}"]).astype(np.float64)
        plain = np.where(np.ma.getmaskarray(raw), np.nan, raw.data)[known]
        values[column.name] = np.where(np.isfinite(plain) & (np.abs(plain) < 1e30), plain, np.nan)
    return np.asarray(time.data, np.int64)[known], values, int(len(known) - known.sum())


def _moment(clock: Column) -> str:
    """SQL for ns since 1970."""
    cell = f"trim({_quoted(clock.name)})"
    if clock.epoch == 1:
        return f"try_cast({cell} AS BIGINT)"
    if clock.epoch:
        return f"try_cast(round(try_cast({cell} AS DOUBLE) * {clock.epoch // 1000 or 1}) AS BIGINT) * {min(1000, clock.epoch)}"
    if clock.spoken:
        return f"epoch_us(try_strptime({cell}, '{clock.spoken}')) * 1000"
    return f"epoch_us(try_cast({cell} AS TIMESTAMPTZ)) * 1000"


def _zoned(time: NDArray[np.int64], clock: Column, zone: str | None) -> tuple[NDArray[np.int64], str]:
    if clock.epoch:
        unit = {SECOND: "seconds", 1_000_000: "milliseconds", 1_000: "microseconds", 1: "nanoseconds"}[clock.epoch]
        return time, f"{unit} since 1970"
    if clock.zoned:
        return time, "with its zone"
    if zone is not None and (moved := wall_to_utc(time, zone)) is not None:
        return moved, f"wall-clock time of {zone}: the hour its clocks skip is empty"
    written = f", written as {clock.spoken}" if clock.spoken else ""
    hint = "" if zone else " (--timezone reads wall-clock times)"
    return time, f"without a zone, taken for UTC{hint}{written}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
