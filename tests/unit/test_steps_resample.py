"""Windows, gaps and clocks of `resample`, with expectations worked out by hand."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.models.transformers import Context
from headrace.models.transformers.blocks import join
from headrace.models.transformers.resample import Resample, standard_offset
from headrace.records import DAY, HOUR, MINUTE, SECOND, Rows
from headrace.states import pack, unpack

START = 1_541_664_000 * SECOND
"""2018-11-08 08:00 UTC: midnight at UTC-8."""


def make(context: Context | None = None, **params: Any) -> Resample:
    return Resample(Resample.Params.model_validate(params), context or Context())


def readings(*pairs: tuple[float, float], unit: int = HOUR) -> Rows:
    """(time in `unit` after START, value)."""
    time = np.array([START + round(at * unit) for at, _ in pairs], np.int64)
    return Rows(time, {"value": np.array([value for _, value in pairs])})


def table(rows: Rows) -> list[tuple[float, float, bool]]:
    """(hours after START, value, masked)."""
    if not len(rows):
        return []
    hours = (rows.time - START) / HOUR
    return list(zip(hours.tolist(), rows.columns["value"].tolist(), rows.columns["masked"].tolist(), strict=True))


def test_an_hour_is_the_mean_of_its_readings_and_closes_with_the_first_after_it() -> None:
    step = make()
    assert table(step.apply(readings((0, 1), (0.5, 3), (0.99, 5)))) == []
    assert table(step.apply(readings((1, 7)))) == [(0, 3, False)]


@pytest.mark.parametrize(("aggregate", "expected"), [("sum", 9), ("min", 1), ("max", 5), ("last", 3), ("mean", 3)])
def test_aggregates(aggregate: str, expected: float) -> None:
    rows = readings((0, 1), (0.2, 5), (0.9, 3), (1, 0))
    assert table(make(aggregate=aggregate).apply(rows)) == [(0, expected, False)]


def test_a_gap_of_three_hours_is_a_straight_line_once_it_ends() -> None:
    step = make()
    assert table(step.apply(readings((0, 10), (0.1, 10), (0.2, 10), (1, 20)))) == [(0, 10, False)]
    assert table(step.apply(readings((5.5, 60)))) == [(1, 20, False)]
    filled = [(2, 30, True), (3, 40, True), (4, 50, True)]
    assert table(step.apply(readings((6, 0)))) == [*filled, (5, 60, False)]


def test_a_gap_of_exactly_up_to_is_filled_and_one_window_more_is_not() -> None:
    eight = make(beyond="zero").apply(readings((0, 9), (0.1, 9), (0.2, 9), (9, 0), (10, 0)))
    assert [row[1:] for row in table(eight)] == [(9, False), *[(9 - k, True) for k in range(1, 9)], (0, False)]
    nine = make(beyond="zero").apply(readings((0, 9), (0.1, 9), (0.2, 9), (10, 5), (11, 0)))
    assert [row[1:] for row in table(nine)] == [(9, False), *[(0, False)] * 9, (5, False)]


def test_a_night_of_ten_hours_is_zero_and_true_and_an_outage_is_masked() -> None:
    rows = readings((0, 4), (0.1, 4), (0.2, 4), (11, 6), (12, 0), (42, 1), (43, 1))
    made = table(make(beyond="zero").apply(rows))
    assert made[1:11] == [(hour, 0, False) for hour in range(1, 11)]
    assert made[12:14] == [(12, 0, False), (13, 0, False)]
    assert [masked for hour, _, masked in made if 13 <= hour < 42] == [False] * 24 + [True] * 5


def test_what_falls_silent_in_full_sun_is_not_asleep() -> None:
    for last, masked in ((50.0, False), (51.0, True)):
        rows = readings((0, last), (0.1, last), (0.2, last), (10, 6), (11, 0))
        made = table(make(beyond="zero", asleep_below=50).apply(rows))
        assert made[1:10] == [(hour, 0, masked) for hour in range(1, 10)]


def test_beyond_masked_nan_and_hold_are_masked() -> None:
    rows = readings((0, 4), (0.1, 4), (0.2, 4), (11, 6), (12, 0))
    for beyond, value in (("zero", 0.0), ("hold", 4.0), ("nan", np.nan)):
        made = table(make(beyond=beyond, beyond_masked=True).apply(rows))[1:11]
        assert all(masked for _, _, masked in made)
        np.testing.assert_array_equal([found for _, found, _ in made], [value] * 10)


@pytest.mark.parametrize(("fill", "value"), [("zero", 0.0), ("hold", 4.0), ("nan", np.nan)])
def test_fills_that_do_not_wait(fill: str, value: float) -> None:
    step = make(fill=fill, up_to="2h", beyond="zero")
    made = table(step.apply(readings((0, 4), (0.1, 4), (0.2, 4)))) + table(step.tick(START + 5 * HOUR))
    assert [masked for _, _, masked in made] == [False, True, True, False, False]
    np.testing.assert_array_equal([found for _, found, _ in made], [4, value, value, 0, 0])


def test_a_tick_closes_windows_and_makes_a_long_gap_leave() -> None:
    step = make(beyond="zero", up_to="2h")
    assert table(step.apply(readings((0, 4), (0.1, 4), (0.2, 4)))) == []
    assert table(step.tick(START + HOUR)) == [(0, 4, False)]
    assert table(step.tick(START + 3 * HOUR)) == []
    assert table(step.tick(START + 4 * HOUR)) == [(1, 0, False), (2, 0, False), (3, 0, False)]
    assert step.apply(readings((3.5, 1))).time.size == 0
    assert step.counts()["late"] == 1


def test_lateness_keeps_windows_open_and_later_ones_are_counted() -> None:
    step = make(lateness="30m")
    made = step.apply(readings((0, 1), (0.5, 1), (1.2, 9), (0.7, 4), (1.49, 9), (1.5, 9), (0.9, 50)))
    assert table(made) == [(0, 2, False)]
    assert step.counts() == {"late": 1, "held": 0, "absurd": 0}


def test_a_clock_that_goes_back_gives_late_readings() -> None:
    step = make()
    step.apply(readings((0, 1), (0.1, 1), (0.2, 1), (5, 1), (-3, 7), (1, 7), (5.1, 3)))
    assert step.counts() == {"late": 2, "held": 0, "absurd": 0}
    assert table(step.apply(readings((6, 0))))[-1] == (5, 2, False)


def test_one_absurd_reading_does_not_poison_the_watermark() -> None:
    step = make()
    year = 365 * 24
    made = step.apply(readings((0, 1), (0.1, 1), (0.2, 1), (80 * year, 99), (0.5, 5), (1, 0)))
    assert table(made) == [(0, 2, False)]
    assert step.counts() == {"late": 0, "held": 0, "absurd": 1}


def test_three_that_agree_move_it() -> None:
    step = make(beyond="zero")
    step.apply(readings((0, 1), (0.1, 1), (0.2, 1)))
    assert step.apply(readings((240, 6), (240.1, 6))).time.size == 0
    assert step.counts()["held"] == 2
    made = table(step.apply(readings((240.2, 9), (241, 0))))
    assert (made[0], made[-1], len(made)) == ((0, 1, False), (240, 7, False), 241)
    assert step.counts() == {"late": 0, "held": 0, "absurd": 0}


def test_the_first_reading_is_held_too() -> None:
    step = make()
    made = step.apply(readings((700_000, 9), (0, 1), (0.1, 1), (0.2, 1), (1, 0)))
    assert table(made) == [(0, 1, False)]
    assert step.counts() == {"late": 0, "held": 0, "absurd": 1}


def test_held_readings_are_few() -> None:
    step = make()
    step.apply(readings((0, 1), (0.1, 1), (0.2, 1), *((1000.0 * k, 1) for k in range(1, 21))))
    assert step.counts() == {"late": 0, "held": 8, "absurd": 12}


def test_a_device_that_started_in_1970_does_not_fill_half_a_century() -> None:
    past, now = np.arange(0, 5 * HOUR, HOUR // 2), START + np.arange(0, 3 * HOUR, HOUR // 2)
    times = np.concatenate([past, now]).astype(np.int64)
    rows = Rows(times, {"value": np.ones(len(times))})
    step = make(beyond="zero")
    made = step.apply(rows)
    assert len(made) == 5 + 10_000 + 2
    assert made.columns["masked"][5:-2].all()
    assert (np.diff(made.time[5:]) == HOUR).all()
    by_one = make(beyond="zero")
    found = join([by_one.apply(rows.take(slice(k, k + 1))) for k in range(len(rows))])
    assert pack(dict(found.columns)) == pack(dict(made.columns))
    assert pack(by_one.state()) == pack(step.state())


def test_coverage_and_windows_with_too_little_of_it() -> None:
    step = make(expect="15m", minimum_coverage=0.5)
    made = step.apply(
        readings((0, 4), (0.25, 4), (0.5, 4), (1, 100), (2, 8), (2, 8), (2.25, 8), (2.5, 8), (2.75, 8), (3, 0))
    )
    assert table(made) == [(0, 4, False), (1, 6, True), (2, 8, False)]
    assert made.columns["coverage"].tolist() == [0.75, 0.25, 1.0]


def test_other_columns_come_along_and_zero_is_for_the_target_alone() -> None:
    rows = readings((0, 4), (0.1, 4), (0.2, 4), (4, 6), (5, 0))
    rows.columns["t"] = np.array([20.0, np.nan, 22, 30, 30])
    made = make(columns=["t"], up_to="1h", beyond="zero").apply(rows)
    assert made.columns["t"].tolist() == [21, 21, 21, 21, 30]
    assert made.columns["value"].tolist() == [4, 0, 0, 0, 6]


def test_nan_is_not_a_reading() -> None:
    made = make().apply(readings((0, np.nan), (0.1, 2), (0.2, 4), (1, np.nan), (2, 9), (3, 9)))
    assert table(made) == [(0, 3, False), (1, 6, True), (2, 9, False)]


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", 0), ("Europe/Madrid", 1), ("America/Los_Angeles", -8), ("Asia/Kolkata", 5.5), ("Australia/Sydney", 10)],
)
def test_windows_begin_at_local_midnight(zone: str, hours: float) -> None:
    assert standard_offset(zone) == hours * HOUR
    midnight = int(datetime(2021, 6 if hours > 9 else 1, 5, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND
    time = midnight + np.arange(0, 2 * DAY, HOUR, dtype=np.int64)
    day = make(Context(timezone=zone, every=DAY), every="1d").apply(Rows(time, {"value": np.arange(48.0)}))
    assert day.time.tolist() == [midnight]
    assert day.columns["value"].tolist() == [11.5]


def test_hours_on_the_days_when_the_clocks_change() -> None:
    zone = ZoneInfo("Europe/Madrid")
    for date, hours in (((2021, 3, 28), 23), ((2021, 10, 31), 25)):
        midnight = int(datetime(*date, tzinfo=zone).timestamp()) * SECOND
        following = int(
            datetime(date[0], date[1] + (date[2] == 31), 1 if date[2] == 31 else 29, tzinfo=zone).timestamp()
        )
        time = midnight + np.arange(0, 26 * HOUR, 15 * MINUTE, dtype=np.int64)
        made = make(Context(timezone="Europe/Madrid")).apply(Rows(time, {"value": np.ones(len(time))}))
        inside = (made.time >= midnight) & (made.time < following * SECOND)
        assert (int(made.time[0]), int(np.count_nonzero(inside))) == (midnight, hours)
        assert not made.columns["masked"].any()


def test_params_that_make_no_sense() -> None:
    with pytest.raises(ValidationError, match="needs `expect:`"):
        make(minimum_coverage=0.5)
    with pytest.raises(ValidationError):
        make(lateness="soon")
    with pytest.raises(ValueError, match="grid step"):
        make(every="30m")


# ── properties ────────────────────────────────────────────────────────────────────────────────────────────────────────

seconds = st.lists(st.tuples(st.integers(0, 40 * 3600), st.floats(-1e6, 1e6)), min_size=1, max_size=120)


def _rows(pairs: list[tuple[int, float]]) -> Rows:
    time = np.array([START + at * SECOND for at, _ in pairs], np.int64)
    return Rows(time, {"value": np.array([value for _, value in pairs])})


def _in_blocks(step: Resample, rows: Rows, cuts: list[int]) -> Rows:
    places = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    return join([step.apply(rows.take(slice(a, b))) for a, b in pairwise(places)])


@given(seconds, st.lists(st.integers(0, 1000), max_size=8), st.sampled_from(["0s", "20m", "3h"]))
@settings(max_examples=150, deadline=None)
def test_blocks_may_be_cut_anywhere(pairs: list[tuple[int, float]], cuts: list[int], lateness: str) -> None:
    """Any order, duplicates, gaps, clocks going back."""
    rows = _rows(pairs)
    whole, parts = make(lateness=lateness, up_to="3h"), make(lateness=lateness, up_to="3h")
    assert table_bytes(whole.apply(rows)) == table_bytes(_in_blocks(parts, rows, cuts))
    assert pack(whole.state()) == pack(parts.state())
    assert whole.counts()["late"] <= len(pairs)


@given(seconds, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_within_the_lateness_does_not_matter(pairs: list[tuple[int, float]], random: Any) -> None:
    ends = [(60 * 3600, 0.0), (60 * 3600, 1.0), (200 * 3600, 0.0)]
    shuffled = random.sample(pairs, len(pairs))
    made = [make(lateness="48h").apply(_rows(order + ends)) for order in (pairs, shuffled)]
    assert table_bytes(made[0]) == table_bytes(made[1])


@given(seconds, st.sampled_from(["mean", "sum", "min", "max"]))
@settings(max_examples=100, deadline=None)
def test_every_reading_in_time_counts_once(pairs: list[tuple[int, float]], aggregate: str) -> None:
    ends = [(300 * 3600, 0.0)] * 3
    made = make(lateness="48h", aggregate=aggregate, max_jump="500d", beyond="nan").apply(_rows([*pairs, *ends]))
    if len(pairs) < 3:
        return
    by_hour: dict[int, list[float]] = {}
    for at, value in pairs:
        by_hour.setdefault(at // 3600, []).append(value)
    plain: Any = {"mean": np.mean, "sum": np.sum, "min": np.min, "max": np.max}[aggregate]
    found = {round(hour): value for hour, value, masked in table(made) if not masked}
    found.pop(300, None)
    assert found.keys() == by_hour.keys()
    for hour, values in by_hour.items():
        assert found[hour] == pytest.approx(plain(values), rel=1e-9, abs=1e-6)


@given(seconds, st.lists(st.integers(0, 119), max_size=10), st.lists(st.integers(0, 1000), max_size=6))
@settings(max_examples=100, deadline=None)
def test_absurd_clocks(pairs: list[tuple[int, float]], places: list[int], cuts: list[int]) -> None:
    """Jumps of years forwards and back: the same wherever the blocks are cut, the grid regular, nothing unaccounted."""
    for place in places:
        at = place % len(pairs)
        pairs[at] = (pairs[at][0] + (place - 60) * 86_400 * 5, pairs[at][1])
    rows = _rows(pairs)
    whole, parts = make(lateness="1h"), make(lateness="1h")
    made, found = whole.apply(rows), _in_blocks(parts, rows, cuts)
    assert table_bytes(made) == table_bytes(found)
    assert pack(whole.state()) == pack(parts.state())
    assert (np.diff(made.time) == HOUR).all()


@given(seconds, st.integers(0, 119))
@settings(max_examples=50, deadline=None)
def test_a_stop_anywhere(pairs: list[tuple[int, float]], cut: int) -> None:
    rows, cut = _rows(pairs), cut % (len(pairs) + 1)
    whole, first, second = make(lateness="1h"), make(lateness="1h"), make(lateness="1h")
    before = first.apply(rows.take(slice(cut)))
    second.load(unpack(pack(first.state())))
    made = join([before, second.apply(rows.take(slice(cut, None)))])
    assert table_bytes(made) == table_bytes(whole.apply(rows))
    assert pack(second.state()) == pack(whole.state())


def table_bytes(rows: Rows) -> bytes:
    return pack([rows.time, dict(rows.columns) if len(rows) else {}])
