"""Files as people have them: which column is the time, the device, a field; and what is refused, in one line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from headrace.analysis.files import read_file
from headrace.errors import BadInput
from headrace.records import DAY, HOUR, MINUTE, SECOND
from tests import series

T = series.times(200)
X = series.daily(T).round(6)


@pytest.mark.parametrize(
    ("name", "cells", "note"),
    [
        ("time", series.iso(T), "with its zone"),
        ("when", series.iso(T + 2 * HOUR, "+02:00"), "with its zone"),
        ("when", series.iso(T - 5 * HOUR, "-0500"), "with its zone"),
        ("t", series.iso(T, ""), "taken for UTC"),
        ("ts", T // SECOND, "seconds"),
        ("ts", T // SECOND + 0.0, "seconds"),
        ("ts", T // 1_000_000, "milliseconds"),
        ("ts", T // 1_000, "microseconds"),
        ("ts", T, "nanoseconds"),
        ("datum", [datetime.fromtimestamp(t / 1e9, UTC).strftime("%d.%m.%Y %H:%M") for t in T.tolist()], "written as"),
        ("x1", [datetime.fromtimestamp(t / 1e9, UTC).strftime("%d/%m/%Y %H:%M:%S") for t in T.tolist()], "written as"),
    ],
)
def test_times(tmp_path: Path, name: str, cells: list[object], note: str) -> None:
    table = read_file(series.csv(tmp_path / "a.csv", {"load": X, name: cells}))
    assert (table.time == T).all()
    assert list(table.columns) == ["load"] and np.allclose(table.columns["load"], X)
    assert note in table.notes[0]


def wall(time: np.ndarray, zone: str) -> list[str]:
    """What a clock on the wall shows."""
    return [datetime.fromtimestamp(t / 1e9, UTC).astimezone(ZoneInfo(zone)).strftime("%F %T") for t in time.tolist()]


def test_wall_clock_times_across_both_changes(tmp_path: Path) -> None:
    time = series.times(24 * 4 * 240, 15 * MINUTE, 1_710_000_000 * SECOND)  # 9 March to November 2024
    file = series.csv(tmp_path / "a.csv", {"time": wall(time, "Europe/Madrid"), "x": np.arange(len(time))})
    there = read_file(file, zone="Europe/Madrid")
    assert (there.time == time).all() and "wall-clock" in there.notes[0]
    elsewhere = read_file(file, zone="America/New_York")  # its clocks change on other days: nothing shows it
    assert "taken for UTC" in elsewhere.notes[0] and (np.diff(elsewhere.time) < 0).any()


def test_utc_without_a_zone_stays_utc(tmp_path: Path) -> None:
    time = series.times(24 * 30, HOUR, 1_710_000_000 * SECOND)
    file = series.csv(tmp_path / "a.csv", {"time": series.iso(time, ""), "x": np.arange(len(time))})
    assert (read_file(file, zone="Europe/Madrid").time == time).all()


def test_two_devices(tmp_path: Path) -> None:
    columns = {"time": series.iso(np.repeat(T, 2))[1:], "meter": ["a", "b"] * 199 + ["b"], "x": np.repeat(X, 2)[1:]}
    file = series.csv(tmp_path / "a.csv", columns)
    table = read_file(file)
    assert table.device == "b" and table.devices == {"b": 200, "a": 199} and len(table.time) == 200
    assert "2 devices" in table.notes[1]
    assert len(read_file(file, "a").time) == 199
    with pytest.raises(BadInput, match="no device 'c'; it has 'b', 'a'"):
        read_file(file, "c")


def test_what_is_no_number(tmp_path: Path) -> None:
    columns = {"time": series.iso(T), "state": ["on", "off"] * 100, "x": ["NA", *X[1:-1], "1e40"], "note": ["ä"] * 200}
    table = read_file(series.csv(tmp_path / "a.csv", columns))
    assert list(table.columns) == ["x"]
    assert np.isnan(table.columns["x"][[0, -1]]).all() and np.isfinite(table.columns["x"][1:-1]).all()
    assert "left out: state, note" in table.notes[1]


def test_decimal_commas_and_rows_without_a_time(tmp_path: Path) -> None:
    lines = [f"{t};{str(x).replace('.', ',')}" for t, x in zip(series.iso(T), X, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["Zeit;Leistung", *lines, "never;3,5"]) + "\n")
    table = read_file(tmp_path / "a.csv")
    assert np.allclose(table.columns["Leistung"], X)
    assert table.notes[1] == "1 rows without a readable time were left out"


def test_parquet(tmp_path: Path) -> None:
    import duckdb

    for kind in ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_NS", "BIGINT"):
        moment = "epoch_ms(range)" if kind != "BIGINT" else "range"
        cells = f"({moment})::{kind} AS time, sin(range) AS x, [1] AS nested, range % 2 = 0 AS flag, 'a' AS name"
        start = series.START // 1_000_000
        query = f"SELECT {cells} FROM range({start}, {start + 50 * 60_000}, 60000)"
        duckdb.connect().execute(f"COPY ({query}) TO '{tmp_path / 'a.parquet'}' (FORMAT parquet)")
        table = read_file(tmp_path / "a.parquet")
        assert (table.time == series.times(50, MINUTE)).all(), kind
        assert set(table.columns) >= {"x", "flag"} and table.columns["flag"].sum() == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,x\n", "no rows"),
        ("a,b\n1,2\n3,4\n", "no column of times"),
        ("time,x\n2024-01-01T00:00:00Z,foo\n2024-01-02T00:00:00Z,bar\n", "no column of numbers"),
        ("\0\0\0\0", "no rows|no column of times|cannot be read"),
        ("PAR1 but not really", "cannot be read"),
        ("x\n1\n2\n", "no column of times"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(BadInput, match=message) as error:
        read_file(tmp_path / "bad.csv")
    assert "\n" not in str(error.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a directory"):
        read_file(tmp_path)


def test_a_day_is_a_time_too(tmp_path: Path) -> None:
    days = series.times(40, DAY)
    cells = [f"{one}" for one in days.astype("datetime64[ns]").astype("datetime64[D]")]
    assert (read_file(series.csv(tmp_path / "a.csv", {"date": cells, "x": range(40)})).time == days).all()
