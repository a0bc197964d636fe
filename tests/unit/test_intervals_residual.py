"""The trailing-residual band against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.models.intervals.residual import Residual
from headrace.records import DAY, HOUR


def make(**params: Any) -> Residual:
    return Residual(Residual.Params.model_validate(params))


def times(day: int, count: int = 24) -> Any:
    return day * DAY + HOUR * np.arange(count, dtype=np.int64)


def test_quantiles_of_signed_residuals() -> None:
    interval = make(nominal=0.5, minimum=5)
    interval.update(np.zeros(4), np.array([-1.0, 0, 1, 2]), times(0, 4))
    assert interval.cover(np.zeros(2), times(1, 2)) is None
    interval.update(np.zeros(1), np.array([3.0]), times(1, 1))
    band = interval.cover(np.array([10.0, 20]), times(2, 2))
    assert band is not None
    assert [bound.tolist() for bound in band] == [[10, 20], [12, 22]]


def test_old_residuals_are_forgotten() -> None:
    interval = make(minimum=24, days=2)
    for day, error in enumerate([5.0, 1.0, 1.0]):
        interval.update(np.zeros(24), np.full(24, error), times(day))
    band = interval.cover(np.zeros(1), times(4, 1))
    assert band is not None
    assert (band[0].tolist(), band[1].tolist()) == ([1], [1])


def test_the_floor() -> None:
    interval = make(minimum=48, floor=0)
    errors = np.tile([-1.0, 1.0], 24)
    interval.update(np.zeros(48), errors, times(0, 48))
    band = interval.cover(np.array([0.5, -3.0]), times(3, 2))
    assert band is not None
    assert [bound.tolist() for bound in band] == [[0, 0], [1.5, 0]]


def test_params() -> None:
    with pytest.raises(ValidationError):
        make(nominal=1)
    with pytest.raises(ValidationError):
        make(floor=3)
