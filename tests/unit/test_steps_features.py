"""Power, scale, window, lags and calendar against numbers worked out by hand."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.models.transformers import TRANSFORMERS, Context
from headrace.records import DAY, HOUR, MINUTE, SECOND, Rows

START = 1_541_664_000 * SECOND
"""2018-11-08 08:00 UTC, a Thursday: midnight at UTC-8."""


def make(name: str, context: Context | None = None, **params: Any) -> Any:
    return TRANSFORMERS.find(name)(TRANSFORMERS.params(name, params), context or Context())


def hourly(values: Any, **columns: Any) -> Rows:
    series = np.asarray(values, float)
    return Rows(START + HOUR * np.arange(len(series), dtype=np.int64), {"value": series, **columns})


# ── three_phase_power ─────────────────────────────────────────────────────────────────────────────────────────────────


def phases(volts: list[float], amperes: list[float], **other: list[float]) -> Rows:
    """The same on all three phases."""
    columns = {f"v{phase}": np.array(volts) for phase in (1, 2, 3)}
    columns |= {f"i{phase}": np.array(amperes) for phase in (1, 2, 3)}
    columns |= {name: np.array(values) for name, values in other.items()}
    return Rows(START + SECOND * np.arange(len(volts), dtype=np.int64), columns)


def test_power_is_volts_times_amperes_times_power_factor() -> None:
    made = make("three_phase_power").apply(phases([230, 231], [10, 20], pf=[0.99, 0.5]))
    assert made.columns["power"].tolist() == pytest.approx([3 * 230 * 10 * 0.99, 3 * 231 * 20 * 0.5])


def test_multiply_before_averaging() -> None:
    rows = phases([220, 240], [5, 25], pf=[1, 1])
    power = make("three_phase_power").apply(rows).columns["power"]
    assert power.mean() == 3 * (220 * 5 + 240 * 25) / 2 == 10650
    assert 3 * rows.columns["v1"].mean() * rows.columns["i1"].mean() == 10350


def test_a_power_factor_for_each_phase() -> None:
    rows = phases([100], [1], pf1=[0.9], pf2=[0.8], pf3=[0.7])
    power = make("three_phase_power", pf=["pf1", "pf2", "pf3"]).apply(rows).columns["power"]
    assert power.tolist() == pytest.approx([240])


def test_a_constant_where_no_power_factor_came() -> None:
    step = make("three_phase_power", power_factor=0.5)
    assert step.apply(phases([100, 100], [1, 1], pf=[0.9, math.nan])).columns["power"].tolist() == [270, 150]
    assert make("three_phase_power", pf=None, power_factor=1).apply(phases([100], [1])).columns["power"].tolist() == [
        300
    ]


def test_without_a_power_factor_there_is_no_power() -> None:
    with pytest.raises(ValidationError, match="apparent power"):
        make("three_phase_power", pf=None)
    assert np.isnan(make("three_phase_power").apply(phases([100], [1])).columns["power"]).all()


def test_a_power_that_is_there_already_passes() -> None:
    rows = phases([math.nan, 100], [math.nan, 1], pf=[math.nan, 1], power=[7.0, 9.0])
    assert make("three_phase_power").apply(rows).columns["power"].tolist() == [7, 300]


def test_other_names() -> None:
    rows = Rows(np.array([0]), {name: np.array([2.0]) for name in ("a", "b", "c", "d", "e", "f", "g")})
    step = make("three_phase_power", voltage=["a", "b", "c"], current=["d", "e", "f"], pf="g", into="w")
    assert step.apply(rows).columns["w"].tolist() == [24]


# ── scale ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_minmax_of_the_first_day_only_and_all_rows_leave_at_once() -> None:
    step = make("scale", Context(initial=DAY))
    values = [*np.linspace(100, 200, 24), 300, 50]
    assert len(step.apply(hourly(values).take(slice(23)))) == 0
    made = step.apply(hourly(values).take(slice(23, None)))
    assert len(made) == 26
    assert made.columns["value"][[0, 23, 24, 25]].tolist() == [0, 1, 2, -0.5]
    assert step.inverse(made.columns["value"]).tolist() == pytest.approx(values)


def test_the_last_training_row_releases_the_first_forecast() -> None:
    step = make("scale", Context(initial=DAY))
    assert len(step.apply(hourly(np.arange(23.0)))) == 0
    assert len(step.apply(hourly(np.arange(24.0)).take(slice(23, None)))) == 24


def test_filled_rows_do_not_count() -> None:
    masked = np.array([False] * 20 + [True] * 10)
    step = make("scale", Context(initial=DAY), method="max")
    made = step.apply(hourly([4.0] * 20 + [100.0] * 10, masked=masked))
    assert made.columns["value"].tolist() == [1] * 20 + [25] * 10


def test_standard_and_further_columns() -> None:
    step = make("scale", Context(initial=2 * HOUR), method="standard", columns=["t"])
    made = step.apply(hourly([1.0, 3.0, 7.0], t=np.array([10.0, 30.0, 20.0])))
    assert made.columns["value"].tolist() == [-1, 1, 5]
    assert made.columns["t"].tolist() == [-1, 1, 0]


@pytest.mark.parametrize(("method", "expected"), [("minmax", 0), ("standard", 0), ("max", 1), ("none", 5)])
def test_a_constant_series(method: str, expected: float) -> None:
    step = make("scale", Context(initial=DAY), method=method)
    made = step.apply(hourly([5.0] * 30))
    assert made.columns["value"].tolist() == [expected] * 30
    assert step.inverse(made.columns["value"]).tolist() == [5] * 30


@pytest.mark.parametrize("values", [[0.0] * 30, [math.nan] * 30])
def test_nothing_to_learn_a_scale_from(values: list[float]) -> None:
    made = make("scale", Context(initial=DAY), method="max").apply(hourly(values))
    np.testing.assert_array_equal(made.columns["value"], values)


def test_none_does_not_wait() -> None:
    assert make("scale", method="none").apply(hourly([3.0])).columns["value"].tolist() == [3]


# ── window ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_window_is_the_row_and_those_before_it() -> None:
    step = make("window", history=3, columns=["value", "t"])
    made = step.apply(hourly([1, 2, 3, 4], t=np.array([10.0, 20, 30, 40])))
    assert step.shape() == (3, 2)
    assert made.columns["x.window"][3].tolist() == [[2, 20], [3, 30], [4, 40]]
    np.testing.assert_array_equal(made.columns["x.window"][1, :, 0], [np.nan, 1, 2])
    assert step.apply(hourly([5], t=np.array([50.0]))).columns["x.window"][0, :, 0].tolist() == [3, 4, 5]


# ── lags ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lags_count_from_the_target() -> None:
    step = make("lags", steps=[24, 25, 48])
    made = step.apply(hourly(np.arange(100.0)))
    row = made.columns["x.lags"][60]
    assert step.shape() == (24, 3)
    assert row[0].tolist() == [61 - 24, 61 - 25, 61 - 48]
    assert row[23].tolist() == [84 - 24, 84 - 25, 84 - 48]
    assert np.isnan(made.columns["x.lags"][22, 0, 0])
    assert made.columns["x.lags"][23, 0, 0] == 0


@pytest.mark.parametrize(("ahead", "expected"), [("nan", math.nan), ("last", 60), ("season", 84 - 23 - 24)])
def test_a_lag_that_reaches_beyond_the_row(ahead: str, expected: float) -> None:
    made = make("lags", steps=[23], ahead=ahead).apply(hourly(np.arange(100.0)))
    np.testing.assert_array_equal(made.columns["x.lags"][60, [22, 23], 0], [83 - 23, expected])


def test_the_same_hour_of_the_last_seven_days() -> None:
    values = np.arange(24.0 * 9)
    made = make("lags", means=[{"days": 7}]).apply(hourly(values))
    row = 24 * 8 - 1
    for target in (1, 24):
        same = [values[row + target - 24 * day] for day in range(1, 8)]
        assert made.columns["x.lags"][row, target - 1, 0] == pytest.approx(np.mean(same))
    assert np.isnan(made.columns["x.lags"][24 * 7 - 2, 0, 0])
    assert not np.isnan(made.columns["x.lags"][24 * 7 - 1]).any()


def test_beyond_a_day_ahead_the_mean_is_of_the_days_that_are_known() -> None:
    made = make("lags", Context(horizon=48), means=[{"days": 2}]).apply(hourly(np.arange(100.0)))
    row = made.columns["x.lags"][60, :, 0]
    assert row[0] == (61 - 24 + 61 - 48) / 2
    assert row[24] == row[0]


def test_yesterday_is_the_last_season_up_to_the_row() -> None:
    made = make("lags", yesterday=["mean", "max", "min"]).apply(hourly(np.arange(50.0)))
    assert made.columns["x.lags"][30, 5].tolist() == [18.5, 30, 7]
    assert np.isnan(made.columns["x.lags"][22]).all()
    short = make("lags", yesterday=["max"], season=2).apply(hourly([3, 1, 2]))
    assert short.columns["x.lags"][1:, 0, 0].tolist() == [3, 2]


def test_lags_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one of"):
        make("lags")
    with pytest.raises(ValidationError):
        make("lags", steps=[0])


def test_the_ten_features_of_the_rls() -> None:
    """Known at midnight, for each target hour; nine days of a made-up sun."""
    random = np.random.default_rng(7)
    days = random.uniform(0, 1, (9, 24))
    rows = hourly(days.ravel())
    steps: dict[str, Any] = {
        "steps": [24, 23, 25, 48],
        "means": [{"days": 7}],
        "yesterday": ["mean", "max"],
        "ahead": "season",
    }
    rows = make("lags", **steps).apply(rows)
    rows = make("calendar", Context(timezone="Etc/GMT+8"), features=["hour_sin", "hour_cos", "constant"]).apply(rows)
    features = np.concatenate([rows.columns["x.lags"], rows.columns["x.calendar"]], axis=2)[-1]
    for hour in range(24):
        expected = [
            days[8, hour],
            days[8, (hour + 1) % 24] if hour < 23 else days[8, 0],
            days[8, hour - 1] if hour else days[7, 23],
            days[7, hour],
            days[2:, hour].mean(),
            days[8].mean(),
            days[8].max(),
            math.sin(2 * math.pi * hour / 24),
            math.cos(2 * math.pi * hour / 24),
            1,
        ]
        assert features[hour].tolist() == pytest.approx(expected, abs=1e-12)


# ── calendar ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def at(zone: str, *date: int) -> Rows:
    """A row that begins one hour before that local time."""
    time = int(datetime(*date, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND - HOUR  # type: ignore[misc, arg-type]
    return Rows(np.array([time], np.int64))


def calendar(rows: Rows, zone: str, features: list[str], horizon: int = 24, every: int = HOUR) -> Any:
    context = Context(timezone=zone, horizon=horizon, every=every)
    return make("calendar", context, features=features).apply(rows).columns["x.calendar"][0]


def test_hours_of_the_targets_in_local_time() -> None:
    made = calendar(at("America/Los_Angeles", 2019, 1, 7), "America/Los_Angeles", ["hour", "weekday", "slot"])
    assert made.shape == (24, 32)
    assert made[:, :24].argmax(axis=1).tolist() == list(range(24))
    assert made[:, 24:31].argmax(axis=1).tolist() == [0] * 24
    assert made[:, 31].tolist() == list(range(24))
    assert (made[:, :24].sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("day", "hours"),
    [(10, [0, 1, *range(3, 24), 0]), (9, list(range(24)))],
)
def test_spring_forward(day: int, hours: list[int]) -> None:
    made = calendar(at("America/Los_Angeles", 2019, 3, day), "America/Los_Angeles", ["hour"])
    assert made.argmax(axis=1).tolist() == hours


def test_fall_back() -> None:
    made = calendar(at("Europe/Madrid", 2021, 10, 31), "Europe/Madrid", ["slot"], horizon=25)
    assert made[:, 0].tolist() == [0, 1, 2, 2, *range(3, 24)]


def test_half_an_hour_of_daylight_saving() -> None:
    """Lord Howe Island: at 02:00 of 3 October 2021 the clocks went to 02:30."""
    made = calendar(at("Australia/Lord_Howe", 2021, 10, 3, 1), "Australia/Lord_Howe", ["hour_sin"], horizon=3)
    turns = np.array([1, 2.5, 3.5]) / 24
    assert made[:, 0].tolist() == pytest.approx(np.sin(2 * np.pi * turns))


def test_slots_of_five_minutes_and_the_angle_of_the_year() -> None:
    rows = Rows(np.array([int(datetime(2019, 7, 2, tzinfo=ZoneInfo("UTC")).timestamp()) * SECOND], np.int64))
    features = ["slot", "day_of_year_sin", "day_of_year_cos", "constant"]
    made = calendar(rows, "UTC", features, horizon=2, every=5 * MINUTE)
    angle = 2 * math.pi * 182 / 365.25
    assert made[1].tolist() == pytest.approx([2, math.sin(angle), math.cos(angle), 1])


# ── what features are called ──────────────────────────────────────────────────────────────────────────────────────────


def test_features_have_names_for_people() -> None:
    lags = make("lags", steps=(24, 23, 48, 1), means=({"days": 7},), yesterday=("mean", "max"))
    assert lags.labels() == [
        "yesterday, same hour", "value 23 h before", "2 days before, same hour", "value 1 h before", "mean of 7 days, same hour",
        "mean of the last day", "largest of the last day",
    ]  # fmt: skip
    quarters = make("lags", Context(every=15 * MINUTE, horizon=4), steps=(96, 2), column="power")
    assert quarters.labels() == ["yesterday, same time", "power 30 min before"]
    window = make("window", history=2, columns=("power", "sun"))
    assert window.labels() == ["power 2 h before", "sun 2 h before", "power 1 h before", "sun 1 h before"]
    calendar = make("calendar", features=["hour_sin", "weekday", "constant"])
    assert calendar.labels()[:2] == ["sine of the hour", "Monday"] and len(calendar.labels()) == calendar.shape()[1]


@pytest.mark.parametrize("name", TRANSFORMERS.names())
def test_every_feature_step_names_every_input(name: str) -> None:
    kind = TRANSFORMERS.find(name)
    if hasattr(kind, "shape"):
        made = make(name, **({"steps": (1, 2)} if name == "lags" else {}))
        rows, columns = made.shape()
        labels = made.labels()
        assert len(labels) == (rows * columns if name == "window" else columns)
        assert len(set(labels)) == len(labels)
