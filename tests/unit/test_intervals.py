"""The bands against numbers worked out by hand, and against a plain transcription of the paper's algorithm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from headrace.models.intervals import INTERVALS, Interval
from headrace.models.intervals.conformal import rank
from headrace.models.intervals.residuals import LEAST, MOST, Residuals
from headrace.models.intervals.slots import Slots
from headrace.models.transformers import Context
from headrace.records import DAY, HOUR, MINUTE, Array

DAILY = Context(every=DAY, horizon=1)
"""One slot a day."""


def make(name: str, context: Context | None = None, **params: Any) -> Interval:
    made: Interval = INTERVALS.find(name)(INTERVALS.params(name, params), context or Context())
    return made


def times(day: int, count: int = 24) -> NDArray[np.int64]:
    return day * DAY + HOUR * np.arange(count, dtype=np.int64)


def band(interval: Interval, prediction: Any, at: NDArray[np.int64]) -> list[list[float]]:
    found = interval.cover(np.asarray(prediction, float), at)
    assert found is not None
    return [bound.tolist() for bound in found]


def teach(interval: Interval, errors: Any, day: int = 0) -> None:
    """One forecast of zeros, one target a day from `day` on."""
    values = np.asarray(errors, float)
    interval.update(np.zeros(len(values)), values, DAY * (day + np.arange(len(values), dtype=np.int64)))


# -- gaussian and conformal


def test_gaussian_is_mean_and_deviation() -> None:
    interval = make("gaussian", minimum=4, nominal=0.95)
    interval.update(np.zeros(3), np.array([1.0, 2, 3]), times(0, 3))
    assert interval.cover(np.zeros(2), times(1, 2)) is None
    interval.update(np.zeros(1), np.array([6.0]), times(1, 1))
    reach = 1.959963984540054 * math.sqrt((4 + 1 + 0 + 9) / 3)
    assert np.allclose(band(interval, [10, 20], times(2, 2)), [[13 - reach, 23 - reach], [13 + reach, 23 + reach]])


@pytest.mark.parametrize(
    ("n", "level", "expected"), [(9, 0.1, 1), (19, 0.1, 2), (18, 0.1, 1), (39, 0.05, 2), (3, 0.05, 1), (3, 0.5, 2)]
)
def test_the_rank_has_the_finite_sample_correction(n: int, level: float, expected: int) -> None:
    assert rank(n, level) == expected


def test_conformal_takes_signed_ranks() -> None:
    interval = make("conformal", DAILY, nominal=0.5, minimum=7)
    teach(interval, [3, -1, 7, 0, 2, 1, 5])
    # 7 residuals, a quarter beyond either bound: floor(8 / 4) = the second from below, and from above
    assert band(interval, [10], np.array([8 * DAY])) == [[10], [15]]


def test_the_largest_error_bounds_what_too_few_cannot() -> None:
    interval = make("conformal", DAILY, nominal=0.99, minimum=2)
    teach(interval, [4, -2, 1])
    assert band(interval, [0], np.array([4 * DAY])) == [[-2], [4]]


def test_every_slot_has_its_own_errors() -> None:
    interval = make("conformal", minimum=20, pool=0)
    for day in range(25):
        interval.update(np.zeros(24), np.arange(24) * (-1.0) ** day, times(day))
    low, high = band(interval, np.zeros(24), times(25))
    assert (low, high) == ([-float(hour) for hour in range(24)], [float(hour) for hour in range(24)])


def test_neighbours_help_out_while_a_slot_has_too_few() -> None:
    """20 residuals are wanted, five days bring five a slot: the slot and two on either side are 25."""
    interval = make("conformal", minimum=20, pool=0)
    for day in range(5):
        interval.update(np.zeros(24), np.arange(24.0), times(day))
    low, high = band(interval, np.zeros(24), times(5))
    assert (low[12], high[12]) == (10, 14)
    assert (low[0], high[0]) == (0, 23), "hours 22, 23, 0, 1 and 2"


def test_pool_joins_neighbours_around_midnight() -> None:
    interval = make("conformal", minimum=20, pool=1)
    for day in range(30):
        interval.update(np.zeros(24), np.arange(24.0), times(day))
    low, high = band(interval, np.zeros(24), times(30))
    assert (low[5], high[5]) == (4, 6)
    assert (low[23], high[23]) == (0, 23)


def test_old_residuals_are_forgotten() -> None:
    interval = make("conformal", minimum=24, days=2, pool=12)
    for day, error in enumerate([5.0, 1.0, 1.0]):
        interval.update(np.zeros(24), np.full(24, error), times(day))
    assert band(interval, [0], times(4, 1)) == [[1], [1]]


def test_slots_are_local_also_when_the_clocks_change() -> None:
    slots = Slots(Context(timezone="Europe/Madrid"))
    noon = np.array(["2023-01-15T11:00", "2023-07-15T10:00"], "datetime64[ns]").astype(np.int64)
    assert slots.of(noon)[0].tolist() == [12, 12]
    change = np.datetime64("2023-10-29T00:00", "ns").astype(np.int64) + HOUR * np.arange(3, dtype=np.int64)
    assert slots.of(change)[0].tolist() == [2, 2, 3], "an hour that comes twice"
    assert (Slots(Context(every=DAY)).count, Slots(Context(every=7 * HOUR)).count) == (1, 4)
    assert Slots(Context(every=MINUTE)).count == 288


def test_residuals_are_bounded_by_slot() -> None:
    kept = Residuals(30, 2)
    for start in range(0, 50_000, 1000):
        numbers = np.arange(start, start + 1000)
        kept.add(numbers.astype(float), np.where(numbers % 100 == 0, 1, 0), numbers)
    assert MOST // 4 < len(kept) <= MOST
    (rare,) = kept.near(np.array([1]), 0, 1)
    assert len(rare) == 500, "the slot with few residuals keeps all of them"
    assert LEAST < MOST


# -- adaptive


def test_one_expert_is_adaptive_conformal_inference() -> None:
    """Held: the level rises by g·a; missed: it falls by g·(1 - a). Each bound by itself."""
    interval = make("adaptive", DAILY, nominal=0.5, minimum=3, steps=[0.1])
    teach(interval, [1, 2, 3])
    assert interval.state()["experts"].ravel().tolist() == [0.25, 0.25], "nothing is learnt before there is a band"
    teach(interval, [2.5], day=3)
    assert interval.state()["experts"].ravel().tolist() == pytest.approx([0.275, 0.275])
    teach(interval, [9], day=4)
    assert interval.state()["experts"].ravel().tolist() == pytest.approx([0.3, 0.2])


def plain_dtaci(errors: list[float], miss: float, steps: list[float], length: int, minimum: int) -> list[float]:
    """Algorithm 1 of Gibbs and Candès (2022) for the lower bound, one truth at a time, without a library."""
    k = len(steps)
    eta = math.sqrt(3 / length) * math.sqrt(
        (math.log(k * length) + 2) / ((1 - miss) ** 2 * miss**3 + (1 - miss) ** 3 * miss**2)
    )
    sigma, weights, levels, used = 1 / (2 * length), [1.0] * k, [miss] * k, []
    for t, error in enumerate(errors):
        used.append(sum(w * a for w, a in zip(weights, levels, strict=True)) / sum(weights))
        known = sorted(errors[:t])
        if t < minimum:
            continue
        held = [error >= known[max(1, math.floor((t + 1) * level)) - 1] for level in levels]
        grid = [n / (t + 1) for n in range(1, t + 1) if error >= known[n - 1]]
        beta = min(1.0, (grid[-1] if grid else -1 / (t + 1)) + 1 / (t + 1))  # up to the next rank, excluded
        raised = [
            w * math.exp(-eta * (miss * (beta - a) - min(0.0, beta - a))) for w, a in zip(weights, levels, strict=True)
        ]
        weights = [(1 - sigma) * w + sigma * sum(raised) / k for w in raised]
        levels = [min(0.5, max(0.0, a + g * (miss - (not ok)))) for a, g, ok in zip(levels, steps, held, strict=True)]
    return used


def test_the_experts_are_those_of_the_paper() -> None:
    random = np.random.default_rng(3)
    errors = np.concatenate([random.normal(size=150), 3 * random.normal(size=60), random.normal(size=90)]).tolist()
    steps = [0.001, 0.004, 0.016, 0.064]
    interval = make("adaptive", DAILY, minimum=20, days=3660, steps=steps, length=50)
    used = plain_dtaci(errors, (1 - 0.9) / 2, steps, 50, 20)
    for day, error in enumerate(errors):
        state = interval.state()
        level = float((state["experts"][0, 0] * state["weights"][0, 0]).sum() / state["weights"][0, 0].sum())
        assert level == pytest.approx(used[day], abs=1e-12)
        teach(interval, [error], day)
    assert min(used) < 0.03 < 0.06 < max(used), "nothing was adapted in this test"


def coverage(name: str, errors: Array, **params: Any) -> float:
    """Of one target a day, after the first 40."""
    interval, held = make(name, DAILY, **params), []
    for day, error in enumerate(errors):
        if day >= 40:
            low, high = band(interval, [0], np.array([day * DAY]))
            held.append(low[0] <= error <= high[0])
        teach(interval, [error], day)
    return float(np.mean(held))


def test_adaptive_holds_its_coverage_while_errors_grow() -> None:
    """Errors that grow by 3 % a day, as a plant's do in spring: what the last 60 days held is too narrow."""
    errors = np.random.default_rng(1).normal(size=300) * 1.03 ** np.arange(300)
    fixed, adaptive = (coverage(name, errors, days=60) for name in ("conformal", "adaptive"))
    assert fixed < 0.83
    assert abs(adaptive - 0.9) < abs(fixed - 0.9) - 0.02


# -- limits


def test_clip_is_in_the_targets_unit() -> None:
    interval = make("conformal", minimum=48, pool=12, clip={"low": 0, "high": 3})
    interval.update(np.zeros(48), np.tile([-1.0, 1.0], 24), times(0, 48))
    assert band(interval, [0.5, -3, 9], times(3, 3)) == [[0, 0, 3], [1.5, 0, 3]]


@pytest.mark.parametrize(
    ("quiet", "width"), [({"below": 5}, 5), ({"below": "1%"}, 10), ({"below": 5, "width": "2%"}, 20)]
)
def test_quiet_amounts(quiet: dict[str, Any], width: float) -> None:
    interval = make("conformal", minimum=20, quiet=quiet)
    for day in range(4):
        interval.update(np.full(24, 50.0), np.where(np.arange(24) < 8, 4.0, 1000.0), times(day))
        low, high = band(interval, np.zeros(24), times(day + 1))
        if day < 2:
            assert high[0] != width, "called quiet after a day or two"
    assert (low[:8], high[:8]) == ([-width] * 8, [width] * 8)
    assert high[8] > 900


def test_quiet_is_clipped_and_ends_with_the_first_event() -> None:
    interval = make("adaptive", minimum=20, clip={"low": 0}, quiet={"days": 4, "below": 1})
    for day in range(12):
        truth = np.full(24, -0.5)
        truth[5] = 80 if day == 6 else 0
        interval.update(np.zeros(24), truth, times(day))
        low, high = band(interval, np.full(24, 40.0), times(day + 1))
        assert (low[4], high[4]) == (0, 1) or day < 2
        assert (high[5] == 1) == (day >= 2 and not 6 <= day < 10), day


NUMBERS = st.floats(-1e300, 1e300) | st.just(float("nan")) | st.integers(-3, 3).map(float)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(INTERVALS.names()),
    st.floats(0.01, 0.999),
    st.sampled_from([Context(), Context(timezone="Europe/Madrid"), Context(every=7 * HOUR), DAILY]),
    st.lists(st.lists(NUMBERS, min_size=24, max_size=24), min_size=1, max_size=8),
    st.sampled_from([None, {"below": 1}, {"below": "0.1%", "width": 3}]),
)
def test_bounds_are_finite_and_in_order_whatever_came(
    name: str, nominal: float, context: Context, days: list[list[float]], quiet: dict[str, Any] | None
) -> None:
    interval = make(name, context, nominal=nominal, minimum=2, quiet=quiet)
    for day, values in enumerate(days):
        at = context.every * (24 * day + np.arange(24, dtype=np.int64))
        found = interval.cover(np.nan_to_num(np.array(values)), at)
        if found is not None:
            assert np.isfinite(found).all() and (found[0] <= found[1]).all()
        interval.update(np.zeros(24), np.array(values), at)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gaussian", {"nominal": 1}),
        ("gaussian", {"floor": 0}),
        ("conformal", {"clip": {"low": 2, "high": 1}}),
        ("conformal", {"clip": {"low": float("nan")}}),
        ("conformal", {"quiet": {}}),
        ("conformal", {"quiet": {"below": "a little"}}),
        ("conformal", {"quiet": {"below": "101%"}}),
        ("conformal", {"quiet": {"below": -1}}),
        ("conformal", {"pool": -1}),
        ("adaptive", {"steps": []}),
        ("adaptive", {"steps": [1.5]}),
        ("adaptive", {"length": 1}),
    ],
)
def test_what_is_no_setting(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(name, **params)
