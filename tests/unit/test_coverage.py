"""What bands held is counted and summed over the trailing window, by hand."""

from __future__ import annotations

import numpy as np

from headrace.events import Covered, Held, Measured
from headrace.records import DAY, HOUR, MINUTE
from headrace.services.learning.coverage import DAYS, Coverage, count
from headrace.states import pack, unpack

NAN = float("nan")


def scored(origin: int, n: int = 2, covered: int = 1, active: int = 1) -> Covered:
    return Covered("m", "k", origin, n, covered, 10.0 * n, active, active, 5.0 * active)


def test_bounds_count_as_inside_and_unknown_truths_do_not_count() -> None:
    low, high = np.array([0.0, 0, 0, 0, 0]), np.array([1.0, 2, 3, 4, 5])
    truth = np.array([0.0, 2, 3.5, NAN, -1])
    active = np.array([False, True, True, True, False])
    found = count("m", "k", 7, (low, high), truth, active)
    assert found == Covered("m", "k", 7, n=4, covered=2, width=11, active=2, active_covered=1, active_width=5)
    assert count("m", "k", 7, (low, high), np.full(5, NAN), active) is None


def test_sums_over_the_window() -> None:
    coverage = Coverage(0.8)
    assert coverage.measured(0) is None
    coverage.add(scored(0))
    coverage.add(scored(20 * MINUTE, n=4, covered=4, active=0))
    assert coverage.measured(DAY) == Measured(0.8, DAYS, 6, 5 / 6, 10, Held(1, 1, 5))
    coverage.add(scored(31 * DAY, active=0))
    assert coverage.measured(31 * DAY + HOUR) == Measured(0.8, DAYS, 2, 0.5, 10, Held(0, None, None))
    assert coverage.measured(400 * DAY) is None, "after a year without a forecast nothing is known"


def test_the_state_goes_on_and_is_bounded() -> None:
    whole, stopped = Coverage(0.9), Coverage(0.9)
    for index in range(3000):
        saved = unpack(pack(stopped.state()))
        if index % 100 == 0:
            stopped = Coverage(0.9)
            stopped.load(saved)
        for one in (whole, stopped):
            one.add(scored(index * 20 * MINUTE, covered=index % 3))
    assert pack(whole.state()) == pack(stopped.state())
    assert len(whole.state()["hours"]) == 24 * DAYS
    assert whole.measured(10**15) == stopped.measured(10**15)
