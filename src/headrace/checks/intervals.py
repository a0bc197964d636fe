"""The contract of an Interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.intervals import Interval
from headrace.models.transformers import Context
from headrace.records import DAY, HOUR, MINUTE, Array
from headrace.states import pack, unpack

Make = Callable[[Mapping[str, Any], Context], Interval]
_HORIZON = 24
_DAYS = 90
_START = 1_541_664_000 * 10**9
_STATE = 2 * 2**20
"""Bytes of one key's state at most, however often it is forecast."""


def check_interval(name: str, make: Make, *, nominal: float = 0.9) -> None:
    """Run the whole suite on what `make` returns: a fresh interval with some settings, in some context.

    Args:
        make: is given `headrace.models.intervals.Settings` as a mapping, without those that stay at their defaults.
        nominal: the coverage to ask for.

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
    interval, times = _fresh(make, nominal), _times(0)
    assert interval.cover(np.zeros(_HORIZON), times) is None, "a band out of nothing"
    before = pack(interval.state())
    interval.update(np.zeros(_HORIZON), np.full(_HORIZON, np.nan), times)
    assert pack(interval.state()) == before, "an unknown truth was remembered"


def _holes(make: Make, nominal: float) -> None:
    """A target whose truth is unknown is as one that was never forecast."""
    whole, part = _fresh(make, nominal), _fresh(make, nominal)
    for prediction, truth, times in _forecasts(1):
        known = np.isfinite(truth)
        whole.update(prediction, truth, times)
        part.update(prediction[known], truth[known], times[known])
    assert pack(whole.state()) == pack(part.state()), "unknown truths changed the state"


def _band(make: Make, nominal: float) -> None:
    """Finite bounds, lower below upper, and about the nominal coverage on errors that do not change."""
    interval, hits = _fresh(make, nominal), []
    for prediction, truth, times in _forecasts(0):
        band = _checked(interval, prediction, times)
        if band is not None:
            hits.append((band[0] <= truth) & (truth <= band[1]))
        interval.update(prediction, truth, times)
    assert hits, f"no band after {_DAYS} days"
    coverage = float(np.mean(hits[5:]))
    assert abs(coverage - nominal) < 0.04, f"coverage {coverage:.3f} instead of {nominal}"


def _stops(make: Make, nominal: float) -> None:
    """State, saved and loaded between any two calls, goes on as if nothing had happened; `cover` changes nothing."""
    whole, stopped = _fresh(make, nominal, _LIMITS), _fresh(make, nominal, _LIMITS)
    for prediction, truth, times in _forecasts(1):
        truth[:6] = 0  # a night
        saved = pack(stopped.state())
        stopped = _fresh(make, nominal, _LIMITS)
        stopped.load(unpack(saved))
        stopped.cover(prediction, times)
        assert pack(stopped.state()) == saved, "cover, or saving and loading, changed the state"
        for interval in (whole, stopped):
            interval.update(prediction, truth, times)
        assert pack(whole.state()) == pack(stopped.state()), "another state after a stop"
        assert pack(_bounds(whole, prediction, times)) == pack(_bounds(stopped, prediction, times)), "another band"


def _input(make: Make, nominal: float) -> None:
    """The caller's arrays are neither changed nor kept."""
    interval = _fresh(make, nominal, _LIMITS)
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


def _clip(make: Make, nominal: float) -> None:
    """No bound beyond `clip`, wherever the prediction lies."""
    interval = _fresh(make, nominal, {"clip": {"low": 0.3, "high": 0.9}})
    for prediction, truth, times in _forecasts(0):
        for shift in (-5, 0, 5):
            band = _checked(interval, prediction + shift, times)
            if band is not None:
                assert min(band[0].min(), band[1].min()) >= 0.3, "a bound below clip.low"
                assert max(band[0].max(), band[1].max()) <= 0.9, "a bound above clip.high"
        interval.update(prediction, truth, times)


def _quiet(make: Make, nominal: float) -> None:
    """The band is 0 ± width in slots that were quiet for days, and in no others; one event ends the quiet for as long."""
    settings = {"quiet": {"days": 5, "below": 0.01, "width": 0.02}}
    interval, night = _fresh(make, nominal, settings), np.arange(_HORIZON) < 6
    for day, (prediction, truth, times) in enumerate(_forecasts(0)):
        narrow = _narrow(_checked(interval, prediction, times))
        if narrow is not None and day > 5:
            expected = night & ~((np.arange(_HORIZON) == 3) & (20 < day <= 25))
            assert (narrow == expected).all(), f"quiet in the slots {np.flatnonzero(narrow)} on day {day}"
        truth[night] = 0.005
        if day == 20:
            truth[3] = 1
        interval.update(prediction, truth, times)


def _degenerate(make: Make, nominal: float) -> None:
    """Whatever the series: a finite band in order, or none, and never an error."""
    for what, context, forecasts in _odd():
        interval = _fresh(make, nominal, {"quiet": {"below": "0.1%"}}, context)
        for prediction, truth, times in forecasts:
            try:
                band = _checked(interval, prediction, times)
                interval.update(prediction, truth, times)
                pack(interval.state())
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
            except Exception as error:
                raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        if what == "constant":
            assert band is not None and (band[0] == 7).all() and (band[1] == 7).all(), f"a constant's band is {band}"


def _bounded(make: Make, nominal: float) -> None:
    """The state stops growing, also where a day is forecast anew every five minutes."""
    interval = _fresh(make, nominal, _LIMITS, Context(every=5 * MINUTE, horizon=288))
    random = np.random.default_rng(5)
    for index in range(300):
        times = _START + 5 * MINUTE * (index + np.arange(288, dtype=np.int64))
        interval.update(np.zeros(288), random.normal(size=288), times)
    size = len(pack(interval.state()))
    assert size < _STATE, f"a state of {size:,} bytes"


_CHECKS = (_unknown, _holes, _band, _stops, _input, _clip, _quiet, _degenerate, _bounded)
_LIMITS = {"clip": {"low": 0}, "quiet": {"below": "0.1%"}}


def _fresh(
    make: Make, nominal: float, more: Mapping[str, Any] | None = None, context: Context | None = None
) -> Interval:
    return make({"nominal": nominal, **(more or {})}, context or Context())


def _checked(interval: Interval, prediction: Array, times: NDArray[np.int64]) -> tuple[Array, Array] | None:
    band = interval.cover(prediction, times)
    if band is not None:
        lower, upper = band
        assert lower.shape == upper.shape == prediction.shape, "bounds of another shape than the prediction"
        assert np.isfinite(lower).all(), "a lower bound that is not finite"
        assert np.isfinite(upper).all(), "an upper bound that is not finite"
        assert (lower <= upper).all(), "a lower bound above the upper"
    return band


def _narrow(band: tuple[Array, Array] | None) -> NDArray[np.bool_] | None:
    return None if band is None else (band[0] == -0.02) & (band[1] == 0.02)


def _times(day: int) -> NDArray[np.int64]:
    return _START + day * DAY + HOUR * np.arange(_HORIZON, dtype=np.int64)


Forecasts = Iterator[tuple[Array, Array, NDArray[np.int64]]]


def _forecasts(seed: int) -> Forecasts:
    """Prediction, truth (partly unknown but for seed 0) and target times of one forecast a day."""
    random = np.random.default_rng(seed)
    for day in range(_DAYS):
        prediction = random.uniform(0.2, 1, _HORIZON)
        truth = prediction + random.normal(0.02, 0.1, _HORIZON)
        if seed:
            truth[random.random(_HORIZON) < 0.1] = np.nan
        yield prediction, truth, _times(day)


def _odd() -> Iterator[tuple[str, Context, Forecasts]]:
    """(what is odd, context, forecasts) of series no one wants to meet."""
    plain, ones, unknown = Context(), np.ones(_HORIZON), np.full(_HORIZON, np.nan)
    days = [_times(day) for day in range(40)]
    yield "constant", plain, iter([(7 * ones, 7 * ones, times) for times in days])
    yield "all unknown", plain, iter([(ones, unknown, times) for times in days])
    yield "all zero", plain, iter([(0 * ones, 0 * ones, times) for times in days])
    three = np.where(np.arange(_HORIZON) < 3, 1.0, np.nan)
    yield "three points", plain, iter([(ones, three, days[0]), (ones, unknown, days[1])])
    yield "negative", plain, iter([(-ones, -ones * (index % 5), times) for index, times in enumerate(days)])
    yield "a year without a value", plain, iter([(ones, 2 * ones, days[0]), (ones, 3 * ones, days[1] + 365 * DAY)] * 2)
    yield "out of order", plain, iter([(ones, 2 * ones, times) for times in reversed(days)])
    yield "a prediction that is no number", plain, iter([(ones, ones, days[0]), (unknown, ones, days[1])])
    huge = 1.7e308 * ones
    yield "huge", plain, iter([(-huge, huge, days[0]), (huge, -huge, days[1]), (ones, ones, days[2])])
    yield "alternating", plain, iter([(0 * ones, 1e6 * (-1.0) ** i * ones, times) for i, times in enumerate(days)])
    madrid = Context(timezone="Europe/Madrid")
    for what, start in (("spring", 1_585_000_000), ("autumn", 1_603_400_000)):
        times = [start * 10**9 // HOUR * HOUR + day * DAY + days[0] - _START for day in range(8)]
        yield f"clocks change in {what}", madrid, iter([(ones, day * ones, at) for day, at in enumerate(times)])
    yield "a week a step", Context(every=7 * DAY, horizon=1), iter([(ones[:1], ones[:1], at[:1] * 7) for at in days])
    yield "seven hours a step", Context(every=7 * HOUR), iter([(ones, 2 * ones, 7 * at) for at in days])
    yield "a second a step", Context(every=10**9), iter([(ones, 2 * ones, _START + at // 3600) for at in days])


def _bounds(interval: Interval, prediction: Array, times: NDArray[np.int64]) -> list[Array] | None:
    band = interval.cover(prediction, times)
    return None if band is None else list(band)
