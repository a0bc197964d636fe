"""Which column of a table is the time, which names the device, which are numbers: by what they hold, then by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headrace.records import SECOND

DEVICES = 10_000
"""Different values a column may have to be taken for the devices' names."""
TIMES = (
    *("time", "timestamp", "ts", "datetime", "date_time", "date", "t", "utc", "created_at", "received", "when"),
    *("zeit", "fecha"),
)
DEVICE = (
    *("device", "device_id", "deviceid", "deveui", "sensor", "sensor_id", "id", "meter", "meter_id", "node", "station"),
    *("name", "key", "topic"),
)
_SHARE = 0.5
"""Share of a column's entries that must read as a time, or as numbers, for it to be one."""
_SHARED = 0.9
"""Different times per row below which rows share their times, as those of several devices do."""
_YEARS = (631_152_000, 4_102_444_800)
"""1990 to 2100, seconds."""
_UNITS = ((1e17, 1), (1e14, 1_000), (1e11, 1_000_000), (0, SECOND))
"""Numbers from this size on count from 1970 in units of so many ns."""
_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y")
_FORMATS = (
    *(f"{date} {time}" for date in _DATES for time in ("%H:%M:%S", "%H:%M")),
    *(f"%Y%m%dT%H%M%S{zone}" for zone in ("", "Z", "%z")),
)
_MISSING = "('', 'na', 'n/a', 'nan', 'null', 'none', '-')"
_ZONED = r"(?i)(\dz|\d\s?utc|:\d{2}(\.\d+)?[+-]\d{2}(:?\d{2})?|t\d{6}[+-]\d{4})$|[a-z]+/[a-z_]+$"


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
    """Times with their zone."""

    @property
    def numeric(self) -> bool:
        """Whether it is a field: numbers, or nothing at all."""
        return max(self.numbers, self.commas) >= _SHARE * self.filled

    @property
    def counted(self) -> bool:
        """Whether it can be numbers since 1970."""
        return bool(self.filled) and self.numbers >= _SHARE * self.filled

    @property
    def unit(self) -> int:
        """ns of the unit in which such numbers count, by their size."""
        return next(unit for least, unit in _UNITS if abs(self.median) >= least)

    @property
    def dated(self) -> bool:
        """Whether its numbers are times of these years."""
        return self.counted and _YEARS[0] <= self.median * self.unit / SECOND <= _YEARS[1]

    @property
    def timely(self) -> bool:
        """Whether it holds times."""
        return bool(self.filled and (self.dated or self.moments >= _SHARE * self.filled or self.spoken))

    def number(self) -> str:
        """SQL of its numbers."""
        text = f"replace({cell(self.name)}, ',', '.')" if self.commas > self.numbers else cell(self.name)
        return f"try_cast({text} AS DOUBLE)"

    def moment(self) -> str:
        """SQL of its times, ns since 1970; of those without a zone as the clock showed them."""
        text = cell(self.name)
        if self.counted and self.unit == 1:
            return f"try_cast({text} AS BIGINT)"
        if self.counted:  # to the microsecond: a DOUBLE holds no more
            exact = f"round(try_cast({text} AS DOUBLE) * {self.unit // 1000})"
            return _within(exact)
        if self.spoken:
            return _within(f"epoch_us(try_strptime({text}, '{self.spoken}'))")
        return _within(f"epoch_us(try_cast({text} AS TIMESTAMPTZ))")


def _within(micros: str) -> str:
    """SQL of µs as ns, of 1685 to 2255: others are none."""
    return f"CASE WHEN abs({micros}) < 9e15 THEN {micros}::BIGINT * 1000 END"


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def cell(name: str) -> str:
    """SQL of a column's text."""
    return f"trim({quoted(name)})"


def look(database: Any, name: str) -> Column:
    """What a column of the table `readings` holds."""
    text = cell(name)
    row = database.execute(
        f"WITH v AS (SELECT {text} AS x FROM readings WHERE {text} IS NOT NULL AND lower({text}) NOT IN {_MISSING}) "
        "SELECT count(*), count(try_cast(x AS DOUBLE)), count(try_cast(replace(x, ',', '.') AS DOUBLE)), "
        "count(CASE WHEN try_cast(x AS DOUBLE) IS NULL THEN try_cast(x AS TIMESTAMPTZ) END), "
        "approx_count_distinct(x), median(try_cast(x AS DOUBLE)), count(CASE WHEN regexp_matches(x, ?) THEN 1 END) FROM v",
        [_ZONED],
    ).fetchone()
    filled, numbers, commas, moments, distinct, median, zoned = row
    spoken = "" if numbers or moments or not filled else _spoken(database, text, filled)
    return Column(name, filled, numbers, commas, moments, spoken, distinct, float(median or 0), zoned)


def _spoken(database: Any, text: str, filled: int) -> str:
    """The pattern that fits most entries: 3/4 may be in March or in April, 25/4 is not."""
    counts = ", ".join(f"count(try_strptime({text}, '{pattern}'))" for pattern in _FORMATS)
    found = database.execute(f"SELECT {counts} FROM readings").fetchone()
    return _FORMATS[found.index(max(found))] if max(found) >= _SHARE * filled else ""


def time_column(columns: Sequence[Column]) -> Column | None:
    """The one called so that holds times, else the first that does; else numbers of any size in one called so."""
    timely = [column for column in columns if column.timely]
    named = [column for name in TIMES for column in columns if column.name.strip().lower() == name]
    best = [column for column in named if column.timely]
    best = best or [column for column in timely if not column.dated] or timely
    best = best or [column for column in named if column.counted]
    return best[0] if best else None


def hour_column(database: Any, columns: Sequence[Column], clock: Column | None) -> str:
    """Name of the column that holds the time of day, if the date stands in another; "" if it does not."""
    if clock is not None and (clock.counted or _share(database, clock, "contains({}, ':')") >= _SHARE):
        return ""
    rest = [column for column in columns if column is not clock and column.filled and not column.numeric]
    pattern = r"regexp_full_match({}, '\d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?')"
    return next((column.name for column in rest if _share(database, column, pattern) >= _SHARE), "")


def _share(database: Any, column: Column, test: str) -> float:
    """Of a column's entries that pass a test in SQL."""
    query = f"SELECT count(*) FROM readings WHERE {test.format(cell(column.name))}"
    return float(database.execute(query).fetchone()[0] / max(1, column.filled))


def device_column(database: Any, columns: Sequence[Column], clock: Column) -> Column | None:
    """The one called so whose values repeat, else the only column of text, if its few values tell rows of one time apart."""
    rest = [column for column in columns if column is not clock and 0 < column.distinct <= DEVICES]
    for name in DEVICE:
        for column in rest:
            if column.name.strip().lower() == name and column.distinct * 2 <= column.filled + 1:
                return column
    texts = [column for column in rest if not column.numeric and not column.timely]
    if len(texts) != 1 or texts[0].distinct > min(200, texts[0].filled / 10):
        return None
    rows, times = database.execute(f"SELECT count(*), approx_count_distinct({clock.moment()}) FROM readings").fetchone()
    return texts[0] if times < _SHARED * rows else None
