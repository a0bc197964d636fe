"""One file means the same to `headrace analyse FILE` and to `headrace evaluate --data FILE`."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.analysis.files import read_file
from headrace.errors import BadInput
from headrace.evaluation import data, plans
from headrace.evaluation.asked import Options, inputs
from headrace.evaluation.periods import Periods
from headrace.examples.pv import readings
from headrace.records import HOUR, SECOND, Rows
from headrace.tables import doubts, files
from tests import series

N = 48
T = series.times(N)
X = series.daily(T).round(3)
MADRID = "Europe/Madrid"


def written(time: NDArray[np.int64], pattern: str, zone: str = "UTC") -> list[str]:
    """As a clock in a zone shows it."""
    return [datetime.fromtimestamp(t / 1e9, UTC).astimezone(ZoneInfo(zone)).strftime(pattern) for t in time.tolist()]


def decimal_commas(path: Path) -> Path:
    cells = [f"{t};{str(x).replace('.', ',')}" for t, x in zip(series.iso(T), X, strict=True)]
    path.write_text("\n".join(["Zeit;power", *cells, "never;3,5", ";"]) + "\n")
    return path


def out_of_order(path: Path) -> Path:
    order = np.r_[np.arange(N)[::-1], 5, 5]
    return series.csv(path, {"time": series.iso(T[order] + 2 * HOUR, "+02:00"), "power": X[order]})


def compressed(path: Path) -> Path:
    plain = series.csv(
        path, {"topic": ["a", "b"] * N, "timestamp": np.repeat(T // SECOND, 2), "value": np.repeat(X, 2)}
    )
    zipped = path.with_suffix(".csv.gz")
    zipped.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    return zipped


def parquet(path: Path) -> Path:
    import duckdb

    cells = "make_timestamptz(range * 1000) AS at, sin(range) AS power, range % 2 = 0 AS flag, [1] AS nested"
    start, file = series.START // 1_000_000, path.with_suffix(".PARQUET")
    with duckdb.connect() as database:
        query = f"SELECT {cells} FROM range({start}, {start + N * 3_600_000}, 3600000)"
        database.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return file


def plain(**columns: Any) -> Callable[[Path], Path]:
    return lambda path: series.csv(path, columns)


YEAR = series.times(24 * 250, HOUR, 1_710_000_000 * SECOND)
"""9 March to November 2024: both changes of the clocks."""
BOTH = {"a": T, "b": T}
ODD: dict[str, tuple[Callable[[Path], Path], dict[str, NDArray[np.int64]], list[str]]] = {
    "decimal commas, rows without a time": (decimal_commas, {"": T}, ["power"]),
    "out of order, twice, with an offset": (out_of_order, {"": T}, ["power"]),
    "compressed, long, in seconds": (compressed, BOTH, ["value"]),
    "Parquet with a flag, and what is no number": (parquet, {"": T}, ["power", "flag", "nested"]),
    "seconds with decimals": (plain(power=X, ts=T / SECOND + 0.25), {"": T + SECOND // 4}, ["power"]),
    "milliseconds in a column of any name": (plain(x=X, moment=T // 1_000_000), {"": T}, ["x"]),
    "microseconds": (plain(utc=T // 1000, x=X, y=X), {"": T}, ["x", "y"]),
    "nanoseconds": (plain(Time=T + 7, x=X), {"": T + 7}, ["x"]),
    "seconds since the start": (plain(time=np.arange(N) * 3600, x=X), {"": T - T[0]}, ["x"]),
    "American dates": (plain(day=written(YEAR, "%m/%d/%Y %H:%M"), x=YEAR % 7), {"": YEAR}, ["x"]),
    "ISO 8601 without dashes": (plain(when=written(T, "%Y%m%dT%H%M%SZ"), x=X), {"": T}, ["x"]),
    "a clock on the wall": (plain(time=written(YEAR, "%F %T", MADRID), x=YEAR % 7), {"": YEAR}, ["x"]),
    "a temperature called t": (plain(t=X, recorded=series.iso(T), x=X), {"": T}, ["t", "x"]),
    "a word for the state is no device": (plain(time=series.iso(T), x=X, state=["on", "off"] * 24), {"": T}, ["x"]),
    "rows of one time are of several devices": (
        plain(time=np.repeat(T // SECOND, 2), house=["a", "b"] * N, x=np.repeat(X, 2)),
        BOTH,
        ["x"],
    ),
    "numbered rows are no devices": (plain(id=np.arange(N), time=series.iso(T), x=X), {"": T}, ["id", "x"]),
    "devices of different sizes": (
        plain(time=series.iso(np.r_[T, T[:9]]), sensor=["b"] * N + ["a"] * 9, x=np.r_[X, X[:9]]),
        {"b": T, "a": T[:9]},
        ["x"],
    ),
}


@pytest.mark.parametrize("name", list(ODD))
def test_both_commands_take_a_file_for_the_same(tmp_path: Path, name: str) -> None:
    make, wanted, fields = ODD[name]
    file = make(tmp_path / "odd.csv")
    source = data.read(file, MADRID)
    assert set(source.series) == {device or "all" for device in wanted}
    for device, time in wanted.items():
        table = read_file(file, device or None, MADRID)
        assert list(table.devices) == list(wanted) and table.device == device
        rows = source.series[device or "all"]
        assert list(table.columns) == list(rows.columns) == fields
        assert np.array_equal(np.unique(table.time), rows.time) and np.array_equal(rows.time, time)
        first = np.unique(table.time, return_index=True)[1]
        for field in fields:
            assert np.array_equal(table.columns[field][first], rows.columns[field], equal_nan=True)
        assert all(note in table.notes or note.startswith("left out: ") for note in source.notes)


def test_the_hour_that_comes_twice_is_told_from_all_devices(tmp_path: Path) -> None:
    """A device that is too short to show the clock's changes is of the same clock as the others."""
    time, device = np.r_[YEAR, YEAR[:24]], ["long"] * len(YEAR) + ["short"] * 24
    file = plain(time=written(time, "%F %T", MADRID), device=device, x=time % 5)(tmp_path / "a.csv")
    assert np.array_equal(read_file(file, "short", MADRID).time, YEAR[:24])
    assert np.array_equal(data.read(file, MADRID).series["short"].time, YEAR[:24])
    contradicted = read_file(file, "long", "America/New_York").notes[0]
    assert "read as UTC: no clock of America/New_York ever shows 2024-03-10 02:00" in contradicted


@pytest.mark.parametrize("start", ["2024-01-10T00:00", "2024-10-20T00:00"])
def test_a_zone_that_is_given_applies(tmp_path: Path, start: str) -> None:
    """Whether or not the clocks change in the file; in autumn the hour that comes twice is kept."""
    first = int(np.datetime64(start, "ns").astype(np.int64))
    time = series.times(24 * 14, HOUR, first)
    file = plain(time=written(time, "%FT%T", MADRID), x=np.arange(len(time)))(tmp_path / "a.csv")
    table, source = read_file(file, zone=MADRID), data.read(file, MADRID)
    assert np.array_equal(table.time, time) and np.array_equal(source.series["all"].time, time)
    assert all(f"read as wall-clock time of {MADRID}, as told" in notes[0] for notes in (table.notes, source.notes))
    assert "--timezone says whose clock it is" in read_file(file).notes[0]


def test_the_zone_of_a_spec_is_that_of_its_file(tmp_path: Path) -> None:
    file, spec = plain(time=written(YEAR, "%F %T", MADRID), x=YEAR % 7)(tmp_path / "a.csv"), tmp_path / "spec.yaml"
    head = f"kind: OnlineModel\nmetadata: {{name: m}}\ninput: {{topics: [a], target: x, timezone: {MADRID}}}\n"
    spec.write_text(head + "transform: [resample: {every: 1h}, scale]\nbackend: {rls: {floor: 0}}\n")
    source = inputs(Options(file=spec, data=file))[1]
    assert np.array_equal(source.series["all"].time, YEAR)
    assert source.notes == [f"time is column 'time', without a zone, read as wall-clock time of {MADRID}, as told"]
    assert "its times go back by up to an hour" in " ".join(inputs(Options(data=file))[1].notes)


def test_a_column_of_nothing_is_no_target(tmp_path: Path) -> None:
    source = data.read(plain(time=series.iso(T), note=[""] * N, x=X)(tmp_path / "a.csv"))
    assert plans.of_data(source, "", Periods()).plan.context.target == "x"


def test_dates_have_no_zone(tmp_path: Path) -> None:
    file = plain(date=["2024-01-01", "2024-01-02"], x=[1, 2])(tmp_path / "a.csv")
    assert "read as UTC" in read_file(file).notes[0] and "read as UTC" in data.read(file).notes[0]
    mixed = plain(time=["2024-01-01T00:00:00", "2024-01-01T02:00:00+01:00"], x=[1, 2])(tmp_path / "b.csv")
    assert "where it has none" in read_file(mixed).notes[0] and "where it has none" in data.read(mixed).notes[0]
    assert np.diff(read_file(mixed).time) == HOUR


def test_no_more_rows_than_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plain(time=series.iso(T), x=X)(tmp_path / "a.csv")
    monkeypatch.setattr(files, "ROWS", N - 1)
    note = f"only the first {N - 1} rows were read"
    assert note in read_file(file).notes and note in data.read(file).notes
    assert np.array_equal(read_file(file).time, T[:-1]) and np.array_equal(data.read(file).series["all"].time, T[:-1])
    monkeypatch.setattr(files, "ROWS", N)
    assert note not in str(read_file(file).notes) and len(data.read(file).series["all"]) == N


def test_no_more_memory_than_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kB that unpack to much more are refused, and nothing is written in their place."""
    row = f"2024-01-01T00:00:00Z,{'9' * 1000}\n".encode()
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"time,x\n" + row * 100_000))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "MEMORY", "50MB")
    for read in (read_file, data.read):
        with pytest.raises(BadInput, match="takes more than 50MB of memory; thin it out first"):
            read(tmp_path / "bomb.csv.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.csv.gz"]


@pytest.mark.parametrize(
    ("name", "words"), [("none.csv", "there is no file"), (".", "is a directory"), ("pipe", "is no file")]
)
def test_what_is_no_file(tmp_path: Path, name: str, words: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_file, data.read):
        with pytest.raises(BadInput, match=words):
            read(tmp_path / name)


def test_what_cannot_be_a_time_is_left_out(tmp_path: Path) -> None:
    """Numbers too large for ns since 1970 cost their row, not the file."""
    file = plain(ts=[1e300, "inf", *(T[2:] // 1000)], x=X)(tmp_path / "a.csv")
    assert np.array_equal(read_file(file).time, T[2:])
    assert "2 rows without a readable time were left out" in data.read(file).notes


def test_one_time_far_beyond_is_left_out_with_a_note(tmp_path: Path) -> None:
    rows = [f"{t},{x}" for t, x in zip(series.iso(T), X, strict=True)]
    for stray, words in (("2999-01-01T00:00:00Z", "without a readable time"), ("1970-01-01T00:00:00Z", "years away")):
        file = tmp_path / f"{stray[:4]}.csv"
        file.write_text("\n".join(["time,power", rows[0], f"{stray},3", *rows[1:]]) + "\n")
        found, table = data.read(file), read_file(file)
        assert len(found.series["all"]) == len(table.time) == N
        assert any(words in note for note in found.notes) and any(words in note for note in table.notes)


def test_a_file_of_two_years_keeps_both(tmp_path: Path) -> None:
    """A gap of years with a series on each side is a gap, not a wrong clock; nor are three readings in all strays."""
    later = T + 8 * 365 * 24 * HOUR
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["time,power", *(f"{t},1.5" for t in [*series.iso(T), *series.iso(later)])]) + "\n")
    assert len(data.read(file).series["all"]) == 2 * N
    file.write_text("time,power\n1999-01-01T00:00:00Z,1\n2010-01-01T00:00:00Z,2\n2024-01-01T00:00:00Z,3\n")
    assert len(data.read(file).series["all"]) == 3


def test_two_devices_that_take_turns_are_told(tmp_path: Path) -> None:
    random, n = np.random.default_rng(1), 400
    minutes = 30 * np.arange(n)
    daily = 20 + 3 * np.sin(minutes / 1440 * 2 * np.pi) + random.normal(0, 1, n)
    shapes = {
        "two": daily + 50 * (np.arange(n) % 2),
        "three": daily + 50 * (np.arange(n) % 3 == 1),
        "one": daily,
        "noise": random.normal(0, 1, n),
        "steps": np.floor(np.arange(n) / 7),
        "onoff": (np.arange(n) // 5) % 2,
        "still": np.ones(n),
    }
    time = (1_700_006_400_000_000_000 + minutes * 60 * SECOND).astype(np.int64)
    rows = Rows(time, {name: values.astype(np.float64) for name, values in shapes.items()})
    assert doubts.interleaved(rows) == ["two", "three"]
    halves = Rows(time[0] + (time - time[0]) * 24, {"days_and_nights": shapes["two"]})
    assert doubts.interleaved(halves) == []
    assert doubts.interleaved(readings()) == []
    file = tmp_path / "a.csv"
    cells = (f"{t},{x:.3f}" for t, x in zip(series.iso(time), shapes["two"], strict=True))
    file.write_text("\n".join(["time,temp", *cells]) + "\n")
    for notes in (data.read(file).notes, read_file(file).notes):
        assert any("temp jump to and fro" in note and "two devices" in note for note in notes), notes


def test_a_date_and_a_time_of_day_apart_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for names, dates in (("date,time", "2024-01-{:02}"), ("day,clock", "{:02}.01.2024")):
        rows = [f"{dates.format(1 + hour // 24)},{hour % 24:02}:00:00,{hour}" for hour in range(72)]
        file.write_text("\n".join([f"{names},temp", *rows]) + "\n")
        with pytest.raises(BadInput, match="time of day in a column of its own"):
            files.read(file)
