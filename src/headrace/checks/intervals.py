"""The contract of an Interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Interval
from headrace.records import DAY, HOUR, Array
from headrace.states import pack, unpack

Make = Callable[[], Interval]
_HORIZON = 24
_DAYS = 60
_START = 1_541_664_000 * 10**9


def check_interval(name: str, make: Make, *, nominal: float = 0.9) -> None:
    """Run the whole suite on what `make` returns, a fresh interval each time, made for `nominal` coverage.

    Raises:
        AssertionError: the interval breaks its contract.
    """
    for check in _CHECKS:
        try:
            check(make, nominal)
        except AssertionError as error:
            raise AssertionError(f"interval {name!r}: {check.__name__[1:]}: {error}") from error


def _unknown(make: Make, nominal: float) -> None:
    """No band before there are residuals; forecasts whose truth is unknown add none."""
    interval, times = make(), _times(0)
    assert interval.cover(np.zeros(_HORIZON), times) is None, "a band out of nothing"
    before = pack(interval.state())
    interval.update(np.zeros(_HORIZON), np.full(_HORIZON, np.nan), times)
    assert pack(interval.state()) == before, "an unknown truth was remembered"


def _band(make: Make, nominal: float) -> None:
    """Finite bounds, lower below upper, and about the nominal coverage on errors that do not change."""
    interval, hits = make(), []
    for prediction, truth, times in _forecasts(0):
        band = interval.cover(prediction, times)
        if band is not None:
            lower, upper = band
            assert lower.shape == upper.shape == prediction.shape, "bounds of another shape than the prediction"
            assert np.isfinite(lower).all(), "a lower bound that is not finite"
            assert np.isfinite(upper).all(), "an upper bound that is not finite"
            assert (lower <= upper).all(), "a lower bound above the upper"
            hits.append((lower <= truth) & (truth <= upper))
        interval.update(prediction, truth, times)
    assert hits, f"no band after {_DAYS} days"
    coverage = float(np.mean(hits[5:]))
    assert abs(coverage - nominal) < 0.05, f"coverage {coverage:.3f} instead of {nominal}"


def _stops(make: Make, nominal: float) -> None:
    """State, saved and loaded between any two calls, goes on as if nothing had happened; `cover` changes nothing."""
    whole, stopped = make(), make()
    for prediction, truth, times in _forecasts(1):
        saved = pack(stopped.state())
        stopped = make()
        stopped.load(unpack(saved))
        stopped.cover(prediction, times)
        assert pack(stopped.state()) == saved, "cover, or saving and loading, changed the state"
        for interval in (whole, stopped):
            interval.update(prediction, truth, times)
        assert pack(whole.state()) == pack(stopped.state()), "another state after a stop"
        assert pack(_bounds(whole, prediction, times)) == pack(_bounds(stopped, prediction, times)), "another band"


def _input(make: Make, nominal: float) -> None:
    """The caller's arrays are neither changed nor kept."""
    interval = make()
    for prediction, truth, times in _forecasts(2):
        for values in (prediction, truth, times):
            values.flags.writeable = False
        interval.cover(prediction, times)
        interval.update(prediction, truth, times)
    state = interval.state()
    saved = pack(state)
    prediction, truth, times = np.ones(_HORIZON), np.zeros(_HORIZON), _times(_DAYS)
    interval.update(prediction, truth, times)
    after = pack(interval.state())
    prediction[:], truth[:], times[:] = 7, 7, 7
    assert pack(interval.state()) == after, "the interval keeps the caller's arrays, not copies"
    assert pack(state) == saved, "a state changed after it was taken"


_CHECKS = (_unknown, _band, _stops, _input)


def _times(day: int) -> NDArray[np.int64]:
    return _START + day * DAY + HOUR * np.arange(_HORIZON, dtype=np.int64)


def _forecasts(seed: int) -> Iterator[tuple[Array, Array, NDArray[np.int64]]]:
    """Prediction, truth (partly unknown but for seed 0) and target times of one forecast a day."""
    random = np.random.default_rng(seed)
    for day in range(_DAYS):
        prediction = random.uniform(0.2, 1, _HORIZON)
        truth = prediction + random.normal(0.02, 0.1, _HORIZON)
        if seed:
            truth[random.random(_HORIZON) < 0.1] = np.nan
        yield prediction, truth, _times(day)


def _bounds(interval: Interval, prediction: Array, times: NDArray[np.int64]) -> list[Array] | None:
    band = interval.cover(prediction, times)
    return None if band is None else list(band)
