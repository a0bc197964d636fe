"""Each measure against series whose truth is known: it finds what is there, and claims nothing of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from headrace.analysis import correlation, outliers, quality, sampling, seasons, stationary, trend, words
from headrace.analysis.grid import MOST, Grid, step_for, to_grid
from headrace.records import DAY, HOUR, MINUTE, SECOND, Array
from tests import series


def grid(values: Array, every: int = HOUR) -> Grid:
    """Complete, UTC."""
    time = series.times(len(values), every)
    return Grid(every, time, time, values, values.copy())


def sampled(time: NDArray[np.int64], values: Array | None = None, zone: str = "UTC") -> sampling.Sampling:
    return sampling.measure(time, np.zeros(len(time)) if values is None else values, zone)


def test_a_regular_series_has_no_gaps() -> None:
    rate = sampled(series.times(500, 5 * MINUTE))
    assert (rate.step, rate.gaps, rate.regular, rate.jitter, rate.duplicates, rate.backward) == (
        5 * MINUTE,
        0,
        1,
        0,
        0,
        0,
    )
    assert rate.silence is None and rate.absent == 0


def test_gaps_are_counted_and_measured() -> None:
    time = np.delete(series.times(500, 5 * MINUTE), [*range(100, 112), 300])
    rate = sampled(time)
    assert (rate.gaps, rate.gap_total, rate.gap_longest) == (2, 65 * MINUTE, 60 * MINUTE)
    assert rate.absent == pytest.approx(13 / 499)
    assert rate.holes[1] == (series.START + 299 * 5 * MINUTE, series.START + 301 * 5 * MINUTE)


def test_a_nightly_silence_is_no_gap_but_an_outage_is() -> None:
    time, _ = series.sunny(20)
    rate = sampled(time)
    assert rate.gaps == 0 and rate.silence is not None
    assert rate.silence.nights == 19 and abs(rate.silence.centre - DAY) % DAY < 30 * MINUTE
    day = (time - series.START) // DAY
    noon = abs(time % DAY - 12 * HOUR) < HOUR
    rate = sampled(time[(day != 9) & ~((day == 14) & noon)])  # a day off, and two hours of another
    assert rate.silence is not None and rate.silence.nights == 17
    assert rate.gaps == 2 and 24 * HOUR < rate.gap_longest < 37 * HOUR


def test_a_changed_rate_is_no_gap() -> None:
    slow, fast = series.times(5 * 288, 5 * MINUTE), series.times(6000, 30 * SECOND, series.START + 5 * DAY)
    rate = sampled(np.concatenate([slow, fast]))
    assert rate.gaps == 0 and (rate.fastest, rate.slowest) == (30 * SECOND, 5 * MINUTE)
    assert "the rate was not always the same: from 30 s to 5 min" in rate.findings()[0].sentence


def test_order_and_duplicates() -> None:
    time = series.times(100)
    late = np.concatenate([time[:50], time[40:42], time[50:]])
    rate = sampled(late, np.concatenate([np.zeros(51), [1.0], np.zeros(50)]))
    assert (rate.duplicates, rate.conflicting, rate.backward, rate.delay) == (2, 1, 2, 9 * HOUR)


def test_irregular_times_are_told_and_not_taken_for_gaps() -> None:
    steps = np.random.default_rng(0).exponential(10 * MINUTE, 3000).astype(np.int64)
    rate = sampled(series.START + np.cumsum(steps))
    assert rate.regular < 0.2 and rate.gaps < 10
    assert rate.findings()[0].flag and "irregular" in rate.findings()[0].sentence


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40 * DAY // SECOND), min_size=1, max_size=60))
def test_any_times_can_be_measured(seconds: list[int]) -> None:
    time = series.START + np.array(seconds, np.int64) * SECOND
    rate = sampled(time)
    assert 0 <= rate.absent <= 1 and rate.gap_total <= rate.covered
    made = to_grid(np.unique(time), np.ones(len(np.unique(time))), (rate.first, rate.last), step_for(rate), "UTC", None)
    assert len(made.values) <= MOST + 2 and np.isfinite(made.filled).all()
    assert all(finding.sentence for finding in rate.findings())


@pytest.mark.parametrize(("length", "steps"), [(DAY, 24), (20 * HOUR, 20), (7 * DAY, 168)])
def test_a_season_is_found(length: int, steps: int) -> None:
    n = 24 * 60
    values = np.sin(2 * np.pi * np.arange(n) / steps) + 0.5 * series.red(n, 0.6)
    found = seasons.find(grid(values)).found
    assert [one.period for one in found] == [length]
    assert found[0].p < 0.001 and 0.2 < found[0].holds <= found[0].explains < 0.9


def test_two_seasons_are_told_apart() -> None:
    n = 24 * 70
    weekend = (np.arange(n) // 24) % 7 >= 5
    made = grid(10 + np.sin(2 * np.pi * np.arange(n) / 24) + weekend + 0.2 * series.red(n, 0.3))
    found = seasons.find(made)
    assert [one.period for one in found.found] == [DAY, 7 * DAY] and found.found[1].rest
    parts = seasons.take_apart(made, found.found)
    assert parts is not None and parts.seasonal.shape == (n, 2)
    strong = seasons.with_strengths(found, parts, HOUR)
    assert all(one.strength is not None and one.strength > 0.7 for one in strong.found)


@pytest.mark.parametrize("a", [0.0, 0.9, 1.0])
def test_noise_has_no_season_and_no_trend(a: float) -> None:
    """At p < 0.01 a few in a hundred may still; here none of 20, of white, red and wandering noise."""
    made = [grid(lfilter([1], [1, -a], np.random.default_rng(seed).standard_normal(960))) for seed in range(20)]
    assert [bool(seasons.find(one).found) for one in made].count(True) <= 1
    if a < 1:
        assert [trend.measure(one, 0).real for one in made].count(True) <= 1


def test_too_short_or_too_empty_for_a_season_says_so() -> None:
    assert "too short" in seasons.find(grid(np.sin(np.arange(20.0)))).why_none
    made = grid(series.daily(series.times(500)))
    made.values[100:400] = np.nan
    assert "too many gaps" in seasons.find(made).why_none


def test_a_trend_is_measured() -> None:
    values = 0.02 * np.arange(24 * 40) + series.daily(series.times(24 * 40), 1.0)
    found = trend.measure(grid(values), DAY)
    assert found.real and found.low < 0.48 < found.high and found.per_day == pytest.approx(0.48, abs=0.02)
    assert "rises by 0.4" in found.finding("W", False).sentence
    falling = trend.measure(grid(-values), DAY).finding("W", False).sentence
    assert "falls by 0.4" in falling and "-" not in falling.partition(";")[0]
    assert not trend.measure(grid(values[:100]), DAY).enough


def test_autocorrelation_of_measured_pairs_only() -> None:
    made = grid(series.daily(series.times(24 * 30), 0.01))
    made.values[50:60] = np.nan
    lags = correlation.own(made)
    assert [one.lag for one in lags] == [HOUR, DAY, 7 * DAY]
    assert [one.pairs for one in lags] == [708, 676, 542]
    assert lags[1].r > 0.99 and 0.9 < lags[0].r < 0.99
    assert correlation.own(grid(np.arange(20.0))) == ()


def test_a_field_that_follows_another() -> None:
    n = 2000
    cause = series.red(n, 0.5)
    effect = np.concatenate([np.zeros(3), 0.8 * cause[:-3]]) + 0.3 * series.red(n, 0.5, seed=1)
    found = correlation.pair("cause", "effect", grid(cause), grid(effect), cause, effect, 24)
    assert found is not None and found.lag == 3 * HOUR and found.r > 0.8 and found.related
    assert "with effect 3 h later" in found.finding().sentence
    other = series.red(n, 0.5, seed=7)
    apart = correlation.pair("cause", "other", grid(cause), grid(other), cause, other, 24)
    assert apart is not None and not apart.related and "no more than chance" in apart.finding().sentence


@pytest.mark.parametrize(
    ("values", "meaning"),
    [
        (series.red(600, 0.5), "stationary: both"),
        (np.cumsum(series.red(600, 0.0)), "not stationary: both"),
        (series.red(600, 0.3) + 0.01 * np.arange(600), "a level that itself moves"),
    ],
)
def test_stationarity_is_read_from_both_tests(values: Array, meaning: str) -> None:
    found = stationary.test(values)
    assert found is not None and meaning in found.finding(False).sentence
    assert stationary.test(values[:30]) is None and stationary.test(np.ones(100)) is None


def test_outliers_against_their_time_of_day() -> None:
    time = series.times(24 * 40)
    values = series.daily(time, 0.2)
    values[500] = 11.5  # ordinary at another hour
    place, every = seasons.slots(time, DAY, HOUR), np.ones(len(time), np.bool_)
    found = outliers.find(time, values, place, True, every)
    assert found.n == 1 and found.times == (int(time[500]),) and found.few and not found.absurd
    assert outliers.find(time, values, np.zeros(len(time), np.int64), False, every).n == 0
    values[700] = 400
    assert outliers.sane(values).sum() == len(values) - 1
    assert outliers.find(time, values, place, True, every).absurd


def test_quality() -> None:
    time = series.times(500)
    values = series.daily(time)
    values[100:160] = 9.5
    values[:5], values[400] = 0, np.nan
    found = quality.measure(time, values)
    assert (found.n, found.run, found.run_span, found.run_value) == (499, 60, 59 * HOUR, 9.5)
    assert found.zeros == pytest.approx(5 / 499) and not found.counter and not found.constant
    assert quality.measure(time, np.cumsum(np.abs(series.daily(time)))).counter
    assert quality.measure(time, np.full(500, 2.0)).constant


def test_words() -> None:
    assert words.span(7 * HOUR + 5 * MINUTE) == "7 h 05" and words.period(7 * DAY) == "a week"
    assert words.time_of_day(-HOUR) == "23:00" and words.time_of_day(DAY - 1) == "00:00"
    assert words.yaml_duration(90 * MINUTE) == "90m" and words.num(float("nan")) == "unknown"
