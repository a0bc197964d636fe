"""Ridge and boosted trees against scikit-learn's own, and what makes them ours: exact sums, trees as arrays."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.checks.backends import examples
from headrace.errors import CorruptState, LearningError, Unsupported
from headrace.models.backends import BACKENDS, Servable, Shape
from headrace.models.backends.hist_gb import HistGb
from headrace.models.backends.ridge import Ridge
from headrace.models.backends.trees import Trees, nothing, with_lead
from headrace.services.learning import serving
from headrace.states import pack, unpack

WINDOW, TARGETS = Shape((36, 1), 24), Shape((6, 5), 6, per_target=True)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 30.0])
def test_ridge_is_scikit_learns(alpha: float) -> None:
    from sklearn.linear_model import Ridge as Theirs

    x, y = examples(WINDOW, 120)
    mine = Ridge(Ridge.Params(alpha=alpha), WINDOW, 0)
    mine.fit(x, y)
    theirs = Theirs(alpha=alpha).fit(x[:, :, 0], y)
    assert mine.predict(x) == pytest.approx(theirs.predict(x[:, :, 0]), abs=1e-9)


def test_each_target_has_its_own_weights_and_its_own_missing_values() -> None:
    from sklearn.linear_model import Ridge as Theirs

    x, y = examples(TARGETS, 80)
    y = np.where(np.random.default_rng(3).random(y.shape) < 0.3, np.nan, y)
    mine = Ridge(Ridge.Params(), TARGETS, 0)
    mine.fit(x, y)
    for target in range(TARGETS.horizon):
        known = np.isfinite(y[:, target])
        theirs = Theirs(alpha=1).fit(x[known, target], y[known, target])
        assert mine.predict(x)[:, target] == pytest.approx(theirs.predict(x[:, target]), abs=1e-9)


def test_ridge_learns_in_pieces_what_it_fits_at_once() -> None:
    x, y = examples(WINDOW, 90)
    whole, pieces = Ridge(Ridge.Params(), WINDOW, 0), Ridge(Ridge.Params(), WINDOW, 0)
    whole.fit(x, y)
    for start in range(0, 90, 7):
        pieces.learn(x[start : start + 7], y[start : start + 7], x[:0], y[:0])
    assert pieces.predict(x) == pytest.approx(whole.predict(x), abs=1e-9)


def test_ridge_refuses_what_would_not_fit_into_memory() -> None:
    with pytest.raises(Unsupported, match="too many for backend 'ridge'"):
        Ridge(Ridge.Params(), Shape((1000, 10), 24), 0)


def test_ridge_stays_as_it_was_when_inputs_are_absurd() -> None:
    x, y = examples(WINDOW, 50)
    mine = Ridge(Ridge.Params(), WINDOW, 0)
    mine.fit(x, y)
    before = mine.dump()
    with pytest.raises(LearningError):
        mine.learn(x * 1e200, y, x[:0], y[:0])
    assert mine.dump() == before and np.isfinite(mine.predict(x)).all()


@pytest.mark.parametrize("shape", [WINDOW, TARGETS], ids=["window", "per-target"])
def test_our_trees_are_scikit_learns(shape: Shape) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = examples(shape, 60)
    mine = HistGb(HistGb.Params(iterations=20), shape, 5)
    mine.fit(x, y)
    rows = with_lead(x, shape.horizon, shape.per_target)
    theirs = HistGradientBoostingRegressor(max_iter=20, early_stopping=False, random_state=5).fit(rows, y.reshape(-1))
    fresh, _ = examples(shape, 40, seed=9)
    expected = theirs.predict(with_lead(fresh, shape.horizon, shape.per_target)).reshape(-1, shape.horizon)
    assert mine.predict(fresh) == pytest.approx(expected, abs=1e-9)
    assert np.ptp(expected) > 0.1, "trees that say the same to all prove nothing"


def test_learning_trees_grows_them_anew_on_old_and_new() -> None:
    x, y = examples(WINDOW, 60)
    learnt, fitted = HistGb(HistGb.Params(iterations=5), WINDOW, 0), HistGb(HistGb.Params(iterations=5), WINDOW, 0)
    learnt.fit(x[:20], y[:20])
    learnt.learn(x[40:], y[40:], x[:40], y[:40])
    fitted.fit(x, y)
    assert learnt.dump() == fitted.dump()


def test_trees_without_the_library_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from headrace.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    x, y = examples(WINDOW, 30)
    with pytest.raises(MissingExtra, match=r"pip install 'headrace\[sklearn\]'"):
        HistGb(HistGb.Params(), WINDOW, 0).fit(x, y)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(left=state["left"] - 1),
        lambda state: state.update(right=state["right"] + 10**6),
        lambda state: state.update(feature=state["feature"] + 99),
        lambda state: state.update(roots=state["roots"].astype(float)),
        lambda state: state.update(value=state["value"] * np.nan),
        lambda state: state.pop("base"),
        lambda state: state.update(threshold="x"),
    ],
)
def test_served_trees_that_lead_nowhere_are_refused(damage: object) -> None:
    x, y = examples(WINDOW, 40)
    mine = HistGb(HistGb.Params(iterations=3, smallest=2), WINDOW, 0)
    mine.fit(x, y)
    state = unpack(mine.export().data)
    assert callable(damage)
    damage(state)
    with pytest.raises(CorruptState, match="damaged"):
        serving.load(Servable("numpy", pack(state), "trees"), WINDOW)


def test_no_trees_predict_zero() -> None:
    assert Trees(nothing(), 3).predict(np.ones((4, 3))).tolist() == [0, 0, 0, 0]
    assert BACKENDS.extras["hist-gb"] == "sklearn"
