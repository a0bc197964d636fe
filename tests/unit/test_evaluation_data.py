"""Series a user may bring, good and bad: each gives a result, a flagged result, or one clear line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli import app
from headrace.evaluation import data
from headrace.records import HOUR, MINUTE

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 21


def sun(hour: int) -> float:
    """A plant in changing weather."""
    return max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi)) * 1000 * (0.6 + 0.4 * math.sin(hour / 70))


def hours(count: int = 24 * DAYS, start: datetime = START) -> Iterator[tuple[int, datetime]]:
    for index in range(count):
        yield index, start + timedelta(hours=index)


def csv(path: Path, lines: list[str], head: str = "time,value") -> Path:
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def ask(path: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", "--jobs", "1", "--only", "ridge", "--data", str(path), *more])


def good(path: Path, *more: str) -> dict[str, Any]:
    found = ask(path, "--json", *more)
    assert found.exit_code == 0, found.output
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def bad(path: Path) -> str:
    """The one line."""
    found = ask(path)
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit), found.output
    (line,) = found.stderr.splitlines()
    assert line.startswith("headrace: ")
    return line


def notes(report: dict[str, Any]) -> str:
    """What is said about the data; what is said of every evaluation is left out."""
    standing = ("Trained anew", "The interval is", "Single periods", "Normality of")
    return " | ".join(note for note in report["notes"] if not note.startswith(standing))


def test_a_good_series_has_nothing_to_say(tmp_path: Path) -> None:
    report = good(csv(tmp_path / "a.csv", [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours()]))
    assert notes(report) == "" and report["rows"][1]["mse"] < report["rows"][0]["mse"]


def test_constant(tmp_path: Path) -> None:
    report = good(
        csv(tmp_path / "a.csv", [f"{t.isoformat()},5" for _, t in hours()]), "--html", str(tmp_path / "a.html")
    )
    assert "<svg" in (tmp_path / "a.html").read_text()
    assert "constant in the training days, so that errors are not scaled" in notes(report)
    assert report["rows"][1]["mse"] == pytest.approx(0, abs=1e-12) and report["rows"][1]["skill"] is None


@pytest.mark.parametrize("text", ["", "time,value\n", "\n\n"])
def test_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert "holds no rows" in bad(path) or "has no time column" in bad(path)


@pytest.mark.parametrize("cell", ["NaN", "", "null", "inf"])
def test_nothing_but_missing_values(tmp_path: Path, cell: str) -> None:
    line = bad(csv(tmp_path / "a.csv", [f"{t.isoformat()},{cell}" for _, t in hours()]))
    assert "no reading leads to a value" in line or "no column of numbers" in line


def test_three_points(tmp_path: Path) -> None:
    line = bad(csv(tmp_path / "a.csv", [f"{t.isoformat()},{i}" for i, t in hours(3)]))
    assert "a period takes 20 whole days (UTC), the series has 3 readings over 0.1 days" in line
    assert "2024-01-01 00:00 to 2024-01-01 03:00" in line


def test_days_that_begin_in_the_afternoon(tmp_path: Path) -> None:
    """20 days from 16:00 on are enough for a period of 20 days; one hour less is not."""
    start = datetime(2024, 1, 1, 16, tzinfo=UTC)
    lines = [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours(24 * 20, start)]
    report = good(csv(tmp_path / "a.csv", lines))
    assert report["rows"][0]["periods"] == 1 and "its days begin at 16:00 UTC" in notes(report)
    assert "a period takes 20 whole days (UTC)" in bad(csv(tmp_path / "b.csv", lines[1:]))


def test_a_year_of_gaps(tmp_path: Path) -> None:
    """Little islands of readings are no series; a silent year between two good stretches is left out and named."""
    islands = [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours(24 * 365) if i % 500 < 30]
    assert "in none of its 17 periods at least 50% of the training" in bad(csv(tmp_path / "a.csv", islands))
    silent = [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours(24 * 405) if not 24 * 21 < i < 24 * 380]
    report = good(csv(tmp_path / "b.csv", silent))
    assert "left out, for less than 50% of their training" in notes(report)
    assert report["rows"][0]["periods"] >= 1 and report["rows"][1]["mse"] < 0.05


def test_negative_powers(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", [f"{t.isoformat()},{sun(i) - 200:.2f}" for i, t in hours()])
    assert "values of value are negative: nothing was clipped at zero" in notes(good(path))
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "kind: OnlineModel\nmetadata: {name: mine}\ninput: {topics: [a], target: value}\n"
        "transform: [resample: {every: 1h}, scale]\nbackend: {rls: {floor: 0}}\n"
    )
    assert "is that meant?" in notes(good(path, "-f", str(spec)))


def test_clocks_that_change(tmp_path: Path) -> None:
    """With offsets nothing happens; without, an hour is doubled, and that is said."""
    zone, start = ZoneInfo("Europe/Madrid"), datetime(2024, 10, 10, tzinfo=UTC)
    local = [(i, t.astimezone(zone)) for i, t in hours(24 * 22, start)]
    told = good(csv(tmp_path / "a.csv", [f"{t.isoformat()},{sun(i):.2f}" for i, t in local]))
    plain = good(csv(tmp_path / "b.csv", [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours(24 * 22, start)]))
    assert told["rows"] == plain["rows"] and notes(told) == ""
    naive = good(csv(tmp_path / "c.csv", [f"{t.replace(tzinfo=None).isoformat()},{sun(i):.2f}" for i, t in local]))
    assert "read as UTC" in notes(naive) and "its times go back by up to an hour" in notes(naive)


def test_summer_time_in_the_spec(tmp_path: Path) -> None:
    """Periods across a change of the clocks, in a zone that has them."""
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "kind: OnlineModel\nmetadata: {name: mine}\ninput: {topics: [a], target: value, timezone: Europe/Madrid}\n"
        "transform: [resample: {every: 1h}, scale]\nbackend: {rls: {floor: 0}}\n"
    )
    start = datetime(2024, 3, 14, tzinfo=UTC)
    path = csv(tmp_path / "a.csv", [f"{t.isoformat()},{sun(i):.2f}" for i, t in hours(24 * 23, start)])
    report = good(path, "-f", str(spec), "--only", "mine,persistence")
    assert [row["n"] for row in report["rows"]] == [73 * 24] * 3


def test_two_devices_under_one_key(tmp_path: Path) -> None:
    both = [f"{t.isoformat()},{v:.2f}" for i, t in hours() for v in (sun(i), sun(i + 5) + 50)]
    assert "two devices under one key" in notes(good(csv(tmp_path / "a.csv", both)))
    apart = [f"{t.isoformat()},{k},{v:.2f}" for i, t in hours() for k, v in (("a", sun(i)), ("b", sun(i + 5) + 50))]
    report = good(csv(tmp_path / "b.csv", apart, "time,device,value"))
    assert "two devices" not in notes(report) and report["rows"][0]["periods"] == 2
    assert {row["period"].split()[0] for row in report["details"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"time,value\nhello,1\nworld,2\n", "has no time column"),
        (bytes(range(256)) * 30, "cannot be read as CSV or Parquet"),
        (b"time,value\n2024-01-01T00:00:00Z,red\n2024-01-01T01:00:00Z,green\n", "no column of numbers beside 'time'"),
    ],
)
def test_what_is_no_series(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert words in bad(path)
    assert "there is no file" in bad(tmp_path / "none.csv")


def test_several_columns_want_a_name(tmp_path: Path) -> None:
    lines = [f"{t.isoformat()},{sun(i):.2f},{i % 24}" for i, t in hours()]
    path = csv(tmp_path / "a.csv", lines, "when,power,temp")
    assert "several columns of numbers (power, temp)" in bad(path)
    assert good(path, "--target", "power")["settings"]["target"] == "power"
    assert "has no column 'pwer'" in ask(path, "--target", "pwer").stderr


MOMENTS: list[tuple[str, Callable[[datetime], str]]] = [
    ("Timestamp", lambda t: t.isoformat()),
    ("ts", lambda t: str(int(t.timestamp()))),
    ("ts", lambda t: str(int(t.timestamp() * 1000))),
    ("t", lambda t: f"{t.timestamp():.3f}"),
    ("when", lambda t: t.strftime("%Y-%m-%d %H:%M:%S")),
]


@pytest.mark.parametrize(("name", "write"), MOMENTS)
@pytest.mark.parametrize("separator", [",", ";"])
def test_times_are_recognised(tmp_path: Path, name: str, write: Callable[[datetime], str], separator: str) -> None:
    path = csv(tmp_path / "a.csv", [f"{i}.5{separator}{write(t)}" for i, t in hours(5)], f"power{separator}{name}")
    (rows,) = data.read(path).series.values()
    assert (rows.time == int(START.timestamp()) * 10**9 + HOUR * np.arange(5)).all()
    assert rows.columns["power"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_parquet(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "a.parquet"
    with duckdb.connect() as db:
        db.execute(
            "COPY (SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_minutes(CAST(i * 10 AS INT)) AS at, i / 2.0 AS power, "
            f"CASE WHEN i = 3 THEN NULL ELSE i END AS other FROM range(6) t(i)) TO '{path}' (FORMAT parquet)"
        )
    (rows,) = data.read(path).series.values()
    assert (np.diff(rows.time) == 10 * MINUTE).all() and rows.time[0] == int(START.timestamp()) * 10**9
    assert rows.columns["power"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert np.isnan(rows.columns["other"][3]) and rows.columns["other"][5] == 5


def test_rows_out_of_order_are_sorted_and_repeated_ones_dropped(tmp_path: Path) -> None:
    lines = [f"{t.isoformat()},{i}" for i, t in hours(300)]
    found = data.read(csv(tmp_path / "a.csv", [*lines[::-1], lines[7]]))
    (rows,) = found.series.values()
    assert len(rows) == 300 and (np.diff(rows.time) > 0).all()
    assert found.notes == ["left out: 1 of 301 rows, whose time had been there already"]


@pytest.mark.parametrize(
    ("cell", "words"), [("5", "there is no ratio"), ("NaN", "no reading so far has led to a value")]
)
def test_drift_of_nothing(tmp_path: Path, cell: str, words: str) -> None:
    path = csv(tmp_path / "a.csv", [f"{t.isoformat()},{cell}" for _, t in hours(24 * 90)])
    found = ask(path, "--only", "rls", "--drift", "--html", str(tmp_path / "a.html"))
    assert found.exit_code == 0 and words in found.stdout and "nan" not in found.stdout, found.output


@pytest.mark.parametrize("seed", range(3))
def test_noise_with_holes_gives_a_result(tmp_path: Path, seed: int) -> None:
    """Values of any size, a third of the rows missing at random: numbers, or one line."""
    random = np.random.default_rng(seed)
    size = 10.0 ** random.integers(-9, 12)
    lines = [f"{t.isoformat()},{random.normal() * size:.6g}" for _, t in hours() if random.random() > 0.3]
    report = good(csv(tmp_path / "a.csv", lines), "--only", "ridge,rls,persistence", "--html", str(tmp_path / "a.html"))
    assert all(row["mse"] is not None and math.isfinite(row["mse"]) for row in report["rows"])
