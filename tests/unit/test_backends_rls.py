"""Recursive least squares against the closed form, and `run` against one record at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import CorruptState, LearningError, Unsupported
from headrace.models.backends import Shape
from headrace.models.backends.rls import Rls
from headrace.records import Array

RECORD = Shape((1, 10), 1, per_target=True)
NONE_X, NONE_Y = np.zeros((0, 1, 10)), np.zeros((0, 1))


def make(shape: Shape = RECORD, **params: object) -> Rls:
    return Rls(Rls.Params.model_validate({"floor": None, **params}), shape, 0)


def records(n: int, d: int = 10, seed: int = 0) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x = generator.random((n, d))
    y: Array = x @ generator.normal(size=d) + 0.1 * generator.normal(size=n)
    return x, y


def ridge(x: Array, y: Array, covariance: float = 100.0) -> Array:
    return np.asarray(np.linalg.solve(x.T @ x + np.eye(x.shape[1]) / covariance, x.T @ y), np.float64)


def test_equals_ridge_regression_per_target() -> None:
    shape = Shape((24, 10), 24, per_target=True)
    x, y = records(240)
    backend = make(shape)
    backend.fit(x[:120].reshape(5, 24, 10), y[:120].reshape(5, 24))
    backend.learn(x[120:].reshape(5, 24, 10), y[120:].reshape(5, 24), np.zeros((0, 24, 10)), np.zeros((0, 24)))
    expected = x @ ridge(x, y)
    assert np.abs(backend.predict(x.reshape(10, 24, 10)).reshape(-1) - expected).max() < 1e-9


def test_equals_ridge_regression_on_a_window() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.random((90, 6, 2)), generator.random((90, 3))
    backend = make(Shape((6, 2), 3))
    backend.fit(x, y)
    rows = np.column_stack([x.reshape(90, -1), np.ones(90)])
    assert np.abs(backend.predict(x) - rows @ ridge(rows, y)).max() < 1e-9


def test_missing_targets_are_left_out() -> None:
    x, y = records(50)
    holes = y.copy()
    holes[::3] = np.nan
    backend = make()
    backend.fit(x[:, None, :], holes[:, None])
    known = ~np.isnan(holes)
    assert np.abs(backend.predict(x[:, None, :])[:, 0] - x @ ridge(x[known], y[known])).max() < 1e-9


def test_run_is_one_record_at_a_time_to_the_byte() -> None:
    x, y = records(300)
    y[::7] = np.nan
    block, single = make(floor=0.0), make(floor=0.0)
    expected = []
    for row, target in zip(x, y, strict=True):
        expected.append(single.predict(row[None, None, :])[0, 0])
        single.learn(row[None, None, :], np.array([[target]]), NONE_X, NONE_Y)
    assert block.run(x, y).tobytes() == np.array(expected).tobytes()
    assert block.dump() == single.dump()


@given(cuts=st.lists(st.integers(0, 120), max_size=12), forget=st.sampled_from([1.0, 0.97]), lag=st.integers(0, 9))
def test_run_does_not_depend_on_the_cuts(cuts: list[int], forget: float, lag: int) -> None:
    x, y = records(120)
    y[5::11] = np.nan
    whole, parts = make(forget=forget), make(forget=forget)
    expected = whole.run(x, y)
    found = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 120], strict=True):
        elsewhere = np.empty((stop - start) * 10 + lag)[lag:].reshape(-1, 10)  # Also at another alignment.
        elsewhere[:] = x[start:stop]
        found.append(parts.run(elsewhere, y[start:stop]))
    assert np.concatenate(found).tobytes() == expected.tobytes()
    assert parts.dump() == whole.dump()


@given(cuts=st.lists(st.integers(0, 30), max_size=6))
def test_learning_a_window_does_not_depend_on_the_cuts(cuts: list[int]) -> None:
    generator = np.random.default_rng(1)
    x, y = generator.random((30, 6, 2)), generator.random((30, 3))
    whole, parts = make(Shape((6, 2), 3)), make(Shape((6, 2), 3))
    whole.fit(x, y)
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 30], strict=True):
        parts.learn(x[start:stop], y[start:stop], x[:0], y[:0])
    assert parts.dump() == whole.dump()


def test_run_takes_windows_with_one_target() -> None:
    generator = np.random.default_rng(2)
    x, y = generator.random((40, 4, 2)), generator.random((40, 1))
    block, learnt = make(Shape((4, 2), 1)), make(Shape((4, 2), 1))
    block.run(x.reshape(40, 8), y[:, 0])
    learnt.fit(x, y)
    assert block.dump() == learnt.dump()
    with pytest.raises(Unsupported, match="one target"):
        make(Shape((4, 2), 3)).run(x.reshape(40, 8), y[:, 0])


def test_covariance_stays_symmetric_to_the_bit_and_positive() -> None:
    backend = make(forget=0.98)
    backend.run(*records(5000))
    covariance = backend._both[:10]
    assert (covariance == covariance.T).all()
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_forgetting_weighs_the_past_down() -> None:
    x, y = records(400)
    backend = make(forget=0.95)
    backend.run(x, y)
    weights: Array = 0.95 ** np.arange(399, -1, -1.0)
    root = np.sqrt(weights)[:, None]
    expected = np.linalg.solve((root * x).T @ (root * x), (root * x).T @ (root[:, 0] * y))
    assert np.abs(backend._weights()[0] - expected).max() < 1e-6


def test_forgetting_follows_a_change() -> None:
    x, y = records(600)
    y[300:] *= 0.6
    errors = {}
    for forget in (1.0, 0.95):
        predictions = make(forget=forget).run(x, y)
        errors[forget] = float(((predictions - y)[400:] ** 2).mean())
    assert errors[0.95] < errors[1.0] / 2


def test_forgetting_without_news_does_not_wind_up() -> None:
    x, y = records(20_000)
    x[100:, 1:] = 0
    backend = make(forget=0.9)
    backend.run(x, y)
    assert np.trace(backend._both[:10]) <= 10 * 100
    assert np.isfinite(backend._both).all()


@pytest.mark.parametrize("scale", [1e-9, 1e6, 1e9])
def test_unscaled_inputs_do_not_break_it(scale: float) -> None:
    x, y = records(2000)
    predictions = make().run(x * scale, y)
    assert np.isfinite(predictions).all()
    if scale == 1e6:  # At 1e9, the covariance needs more digits than a float has.
        assert ((predictions - y)[1000:] ** 2).mean() < y.var()


@pytest.mark.parametrize(("where", "value"), [("x", np.nan), ("x", np.inf), ("y", np.inf), ("y", 1e308)])
def test_run_refuses_poison_and_stays_as_it_was(where: str, value: float) -> None:
    x, y = records(20)
    backend = make()
    backend.run(x, y)
    before = backend.dump()
    if where == "x":
        x[7, 3] = value
    else:
        y[7:9] = value
    try:
        backend.run(x, y)
    except LearningError as error:
        assert "nothing was learnt" in str(error)
        assert backend.dump() == before
    assert np.isfinite(backend._both).all()
    assert np.isfinite(make().run(*records(3))).all()


def test_floor() -> None:
    x, y = records(50)
    backend = make(floor=0.0)
    assert backend.run(x, y - 5).min() == 0
    assert make(floor=None).run(x, y - 5).min() < 0


def test_a_state_of_another_shape_is_refused() -> None:
    with pytest.raises(CorruptState, match=r"is float64\(11, 10\), expected float64\(4, 3\)"):
        make(Shape((1, 3), 1, per_target=True)).load(make().dump())
