"""Persistence and the hour mean."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.errors import CorruptState, LearningError, Unsupported
from headrace.models.backends import Shape
from headrace.models.backends.baseline import SLOTS, HourMean, Persistence
from headrace.models.backends.saved import seal
from headrace.records import Array

SHAPE = Shape((4, 1), 4, per_target=True)


def hour_mean() -> HourMean:
    return HourMean(HourMean.Params(), SHAPE, 0)


def slots(*values: float) -> Array:
    return np.array(values, float).reshape(-1, 4, 1)


def test_persistence_predicts_the_first_feature() -> None:
    x = np.arange(24.0).reshape(2, 4, 3)
    backend = Persistence(Persistence.Params(), Shape((4, 3), 4, per_target=True), 0)
    assert backend.predict(x).tolist() == [[0, 3, 6, 9], [12, 15, 18, 21]]


@pytest.mark.parametrize("kind", [Persistence, HourMean])
def test_baselines_need_features_per_target(kind: type[Persistence | HourMean]) -> None:
    with pytest.raises(Unsupported, match="not a window"):
        kind(kind.Params(), Shape((36, 1), 24), 0)  # type: ignore[arg-type]


def test_hour_mean_is_the_mean_of_each_slot() -> None:
    backend = hour_mean()
    backend.fit(slots(0, 1, 2, 3), np.array([[1.0, 2, 3, 4]]))
    backend.learn(slots(0, 1, 2, 3), np.array([[3.0, np.nan, 5, 4]]), slots(), np.zeros((0, 4)))
    assert backend.predict(slots(0, 1, 2, 3)).tolist() == [[2, 2, 4, 4]]


def test_a_slot_never_seen_has_the_overall_mean() -> None:
    backend = hour_mean()
    assert backend.predict(slots(0, 1, 2, 3)).tolist() == [[0, 0, 0, 0]]
    backend.fit(slots(0, 1, 5, 0), np.array([[1.0, 2, np.nan, 3]]))
    assert backend.predict(slots(0, 1, 5, 99)).tolist() == [[2, 2, 2, 2]]
    assert backend.predict(slots(np.nan, -1, 1e30, 3)).tolist() == [[2, 2, 2, 2]]


def test_hour_mean_does_not_depend_on_the_cuts() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 24, (50, 4, 1)).astype(float), generator.random((50, 4))
    whole, parts = hour_mean(), hour_mean()
    whole.fit(x, y)
    for i in range(50):
        parts.learn(x[i : i + 1], y[i : i + 1], x[:0], y[:0])
    assert parts.dump() == whole.dump()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (slots(0, 1, 2, -1), 1.0),
        (slots(0, 1, 2, SLOTS), 1.0),
        (slots(0, 1, 2, np.nan), 1.0),
        (slots(0, 0, 0, 0), 1e308),
    ],
)
def test_hour_mean_refuses_what_it_cannot_count(x: Array, y: float) -> None:
    backend = hour_mean()
    backend.fit(slots(0, 1, 2, 3), np.ones((1, 4)))
    before = backend.dump()
    with pytest.raises(LearningError, match="nothing was learnt"):
        backend.learn(x, np.full((1, 4), y), x[:0], np.zeros((0, 4)))
    assert backend.dump() == before


def test_the_state_of_another_backend_is_refused() -> None:
    with pytest.raises(CorruptState, match=r"holds \['means'\], expected \['counts', 'sums'\]"):
        hour_mean().load(seal("hour-mean", {"means": 1}))
    with pytest.raises(CorruptState, match="'persistence' was given to backend 'hour-mean'"):
        hour_mean().load(Persistence(Persistence.Params(), SHAPE, 0).dump())
