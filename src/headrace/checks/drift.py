"""The contract of a drift detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from headrace.models.drift import Detector, Signal
from headrace.records import DAY, Array
from headrace.states import pack, unpack

Make = Callable[[], Detector]
_HORIZON = 24
_DAYS = 150
_DRIFT = 90
_START = 1_541_664_000 * 10**9


def check_detector(name: str, make: Make) -> None:
    """Run the whole suite on what `make` returns, a fresh detector each time.

    Raises:
        AssertionError: the detector breaks its contract.
    """
    for check in _CHECKS:
        try:
            check(make)
        except AssertionError as error:
            raise AssertionError(f"detector {name!r}: {check.__name__[1:]}: {error}") from error


def _calm(make: Make) -> None:
    """No drift before anything is known, and none where nothing changes; signals are finite."""
    detector = make()
    for prediction, truth, time in _forecasts(0):
        signal = detector.update(prediction, truth, time)
        assert math.isfinite(signal.statistic), "a statistic that is not finite"
        assert signal.threshold > 0, "a threshold that is not positive"
        assert not signal.drifted, "drift where nothing has changed"


def _constant(make: Make) -> None:
    """A target that never moves is no drift, and no division by zero."""
    detector = make()
    for day in range(_DAYS):
        values = np.full(_HORIZON, 0.5)
        signal = detector.update(values, values, _START + day * DAY)
        assert not signal.drifted, "drift of a constant"
        assert math.isfinite(signal.statistic), "a statistic that is not finite"


def _notices(make: Make) -> None:
    """Four tenths of the target lost are noticed within two weeks, with the sign of the loss, and are over in the end."""
    signals = list(_signals(make, 0.6))
    found = [day for day, signal in enumerate(signals) if signal.drifted]
    assert found, "a large drift was not noticed"
    assert _DRIFT <= found[0] < _DRIFT + 14, f"noticed on day {found[0] - _DRIFT} of the drift"
    assert signals[found[0]].statistic < 0, "a loss with a positive statistic"
    assert not signals[-1].drifted, "what has been so for two months is no drift any more"


def _unknown(make: Make) -> None:
    """A forecast whose truth is unknown changes nothing."""
    detector = make()
    for prediction, truth, time in _forecasts(1):
        detector.update(prediction, truth, time)
    before = pack(detector.state())
    detector.update(np.zeros(_HORIZON), np.full(_HORIZON, np.nan), _START + _DAYS * DAY)
    assert pack(detector.state()) == before, "an unknown truth was remembered"


def _stops(make: Make) -> None:
    """State, saved and loaded between any two updates, goes on as if nothing had happened; the caller's arrays are left."""
    whole, stopped = make(), make()
    for prediction, truth, time in _forecasts(2, 0.6):
        prediction.flags.writeable = truth.flags.writeable = False
        saved = pack(stopped.state())
        stopped = make()
        stopped.load(unpack(saved))
        assert pack(stopped.state()) == saved, "saving and loading changed the state"
        assert whole.update(prediction, truth, time) == stopped.update(prediction, truth, time), (
            "another signal after a stop"
        )
    state = whole.state()
    saved = pack(state)
    whole.update(prediction * 2, truth * 2, _START + _DAYS * DAY)
    assert pack(state) == saved, "a state changed after it was taken"
    assert len(saved) < 1_000_000, "the state grows without end"


_CHECKS = (_calm, _constant, _notices, _unknown, _stops)


def _signals(make: Make, factor: float) -> Iterator[Signal]:
    detector = make()
    for prediction, truth, time in _forecasts(0, factor):
        yield detector.update(prediction, truth, time)


def _forecasts(seed: int, factor: float = 1.0) -> Iterator[tuple[Array, Array, int]]:
    """Prediction, truth and time of one forecast a day; from `_DRIFT` on the truth is `factor` of what it was, and a month
    later so is the prediction."""
    random, shape = np.random.default_rng(seed), np.clip(np.sin(np.linspace(-1, 5, _HORIZON)), 0, None)
    for day in range(_DAYS):
        truth = shape * random.uniform(0.8, 1.0) * (factor if day >= _DRIFT else 1)
        prediction = shape * 0.9 * (factor if day >= _DRIFT + 30 else 1)
        if seed:
            truth[random.random(_HORIZON) < 0.1] = np.nan
        yield prediction, truth, _START + day * DAY
