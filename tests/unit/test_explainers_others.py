"""Linear contributions are exact, sampled ones fair; completeness refuses what does not add up; profiles are means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.checks.backends import PER_TARGET, WINDOW, examples
from headrace.errors import BadInput, Unexplained, Unsupported
from headrace.models.backends import BACKENDS, Shape
from headrace.models.explainers import EXPLAINERS, Subject, completeness
from headrace.models.explainers.sampling import group
from headrace.records import DAY, HOUR, Array
from headrace.services.learning.profile import SLOTS, VALUES, Profile
from headrace.states import pack, unpack


def trained(name: str, shape: Shape, **params: Any) -> Subject:
    backend = BACKENDS.find(name)(BACKENDS.params(name, params), shape, 0)
    backend.fit(*examples(shape, 80))
    return Subject.of(backend, shape)


def explainer(name: str, about: Subject, **params: Any) -> Any:
    return EXPLAINERS.find(name)(EXPLAINERS.params(name, params), about)


# -- linear


@pytest.mark.parametrize("shape", [PER_TARGET, WINDOW], ids=["features", "window"])
def test_linear_is_weight_times_difference(shape: Shape) -> None:
    about = trained("rls", shape)
    x, _ = examples(shape, 2, seed=1)
    made = explainer("linear", about).explain(x[0], x[1])
    (weights,) = unpack(about.backend.export().data)["weights"].T[None]
    if shape.per_target:
        expected = weights[0] * (x[0] - x[1])
    else:
        expected = weights[:, :-1].reshape(shape.horizon, *shape.input) * (x[0] - x[1])
    assert np.abs(made - expected).max() < 1e-12
    prediction, base = about.predict(x)
    assert completeness.error(made, prediction, base) < 1e-12


def test_a_floor_takes_from_all_in_proportion() -> None:
    free, floored = trained("rls", PER_TARGET), trained("rls", PER_TARGET, floor=0.3)
    x, _ = examples(PER_TARGET, 1, seed=1)
    zero = np.zeros(PER_TARGET.input)
    without, with_floor = (explainer("linear", about).explain(x[0], zero) for about in (free, floored))
    rise = floored.predict(x)[0] - floored.predict(zero[None])[0]
    assert np.allclose(with_floor.sum(axis=1), rise, atol=1e-12)
    assert np.allclose(with_floor, without * (rise / without.sum(axis=1))[:, None], atol=1e-12)


def test_below_the_floor_nothing_contributes() -> None:
    about = trained("rls", PER_TARGET, floor=5.0)
    x, _ = examples(PER_TARGET, 2, seed=1)
    assert np.abs(explainer("linear", about).explain(x[0], x[1])).max() == 0
    assert completeness.explain(explainer("auto", about), about, x[0], x[1]).completeness == 0


@pytest.mark.parametrize("name", ["persistence", "hour-mean"])
def test_baselines_are_their_first_feature(name: str) -> None:
    about = trained(name, PER_TARGET)
    x, _ = examples(PER_TARGET, 2, seed=1)
    x = np.round(x * 3)
    made = explainer("auto", about)
    found = completeness.explain(made, about, x[0], x[1])
    assert made.method == "linear" and found.completeness < 1e-12
    assert np.abs(found.contributions[:, 1:]).max() == 0


# -- sampling


class Interacting:
    """Three inputs: a product of two, and a third alone. Its Shapley values are known."""

    def predict(self, x: Array) -> Array:
        flat = x.reshape(len(x), -1)
        return (flat[:, 0] * flat[:, 1] + 2 * flat[:, 2])[:, None]


def test_sampling_shares_an_interaction_equally() -> None:
    about = Subject(Interacting(), Shape((3, 1), 1))
    made = explainer("auto", about)
    contributions = made.explain(np.array([[2.0], [3.0], [1.0]]), np.zeros((3, 1)))
    assert made.method == "sampling" and "64 random orders" in made.note
    assert np.allclose(contributions.ravel(), [3, 3, 2], atol=1e-12)  # antithetic pairs make it exact here


def test_sampling_approaches_the_exact_contributions_of_a_linear_model() -> None:
    for shape in (PER_TARGET, WINDOW):
        about = trained("rls", shape)
        x, _ = examples(shape, 2, seed=2)
        exact, sampled = (explainer(name, about).explain(x[0], x[1]) for name in ("linear", "sampling"))
        assert exact.shape == sampled.shape
        assert np.abs(exact - sampled).max() < 1e-10


def test_sampling_groups_long_windows_and_says_so() -> None:
    shape = Shape((300, 1), 2)
    about = Subject(_Sum(), shape)
    sampling = explainer("sampling", about, pairs=2, groups=30)
    x = np.random.default_rng(0).random((300, 1))
    made = completeness.explain(sampling, about, x, np.zeros((300, 1)))
    assert "groups of up to 10 inputs" in made.note
    assert np.allclose(made.contributions[0], x, atol=1e-12)
    assert sampling.explain(x, np.zeros((300, 1))).tobytes() == made.contributions.tobytes()
    assert explainer("sampling", about, pairs=2, groups=30, seed=1).explain(x, np.zeros((300, 1))) is not None


class Rows:
    """Row h says something of target h alone: a sum of 60 columns, and the product of two of one group."""

    def __init__(self) -> None:
        self.weights = np.random.default_rng(2).normal(size=60)

    def predict(self, x: Array) -> Array:
        made: Array = x @ self.weights + 3 * x[:, :, 4] * x[:, :, 5]
        return made


def test_many_columns_stay_in_their_targets_row() -> None:
    shape, model = Shape((24, 60), 24, per_target=True), Rows()
    about = Subject(model, shape)
    sampling = explainer("sampling", about)
    x, zero = np.random.default_rng(1).random((24, 60)), np.zeros((24, 60))
    found = completeness.explain(sampling, about, x, zero)
    assert "within groups of up to 2 inputs" in found.note
    exact = x * model.weights
    exact[:, 4:6] += 1.5 * (x[:, 4] * x[:, 5])[:, None]
    assert found.contributions.shape == (24, 60)
    assert np.abs(found.contributions - exact).max() < 1e-9
    one = x.copy()
    one[0] = 0  # what target 0 sees is as in the baseline: nothing of the other rows may reach it
    one[:, 9] = 0  # and neither may a column that is as in the baseline get part of its group's
    made = sampling.explain(one, zero)
    assert np.abs(made[0]).max() == 0 and np.abs(made[:, 9]).max() == 0


@pytest.mark.parametrize("name", ["ridge", "rls"])
@pytest.mark.parametrize("shape", [Shape((24, 60), 24, per_target=True), Shape((70, 2), 3)], ids=["features", "window"])
def test_sampling_of_many_inputs_is_as_good_as_exact_for_a_sum(name: str, shape: Shape) -> None:
    about = trained(name, shape)
    x, _ = examples(shape, 2, seed=2)
    exact, sampled = (explainer(method, about).explain(x[0], x[1]) for method in ("linear", "sampling"))
    assert exact.shape == sampled.shape
    assert np.abs(exact - sampled).max() < 1e-9 * max(1.0, float(np.abs(exact).max()))


@pytest.mark.parametrize("shape", [PER_TARGET, WINDOW], ids=["features", "window"])
def test_ridge_is_explained_exactly(shape: Shape) -> None:
    about = trained("ridge", shape)
    x, _ = examples(shape, 2, seed=1)
    made = explainer("auto", about)
    found = completeness.explain(made, about, x[0], x[1])
    weights = unpack(about.backend.export().data)["weights"]
    difference = x[0] - x[1]
    expected = difference * weights if shape.per_target else difference * weights.reshape(-1, *shape.input)
    assert made.method == "linear" and np.abs(found.contributions - expected).max() < 1e-12


# -- asked as a function


def test_the_model_can_be_called_with_one_example_or_many() -> None:
    about = Subject(_Sum(), Shape((3, 1), 2))
    many = np.arange(12.0).reshape(4, 3, 1)
    assert about(many).tolist() == about.predict(many).tolist()
    assert about(many[1].tolist()).tolist() == [12.0, -12.0]
    for wrong in (np.zeros(3), np.zeros((3, 2)), np.zeros((1, 1, 3, 1)), 5.0):
        with pytest.raises(ValueError, match=r"the model takes \(3, 1\) or \(n, 3, 1\), got"):
            about(wrong)


class _Sum:
    def predict(self, x: Array) -> Array:
        total = x.reshape(len(x), -1).sum(axis=1)
        return np.stack([total, -total], axis=1)


@pytest.mark.parametrize(("shape", "most"), [((300, 3), 48), ((2, 100), 10), ((1, 1), 5), ((7, 2), 4), ((5, 1), 1)])
def test_groups_are_at_most_so_many_and_dense(shape: tuple[int, int], most: int) -> None:
    for per_target in (False, True):
        groups = group(Shape(shape, shape[0], per_target), most)
        assert groups.shape == shape
        assert sorted(set(groups.ravel().tolist())) == list(range(groups.max() + 1))
        assert groups.max() < most


# -- completeness


def test_the_error_is_relative_to_each_targets_difference() -> None:
    base, prediction = np.zeros(3), np.array([1.0, 0.5, 0.001])
    whole = prediction[:, None, None].copy()
    assert completeness.error(whole, prediction, base) == 0
    whole[1] += 0.005
    assert completeness.error(whole, prediction, base) == pytest.approx(0.01)
    whole[1] -= 0.005
    whole[2] += 0.001  # a forecast that hardly moves is measured by a tenth of the largest difference
    assert completeness.error(whole, prediction, base) == pytest.approx(0.01)
    whole[0] = np.nan
    assert completeness.error(whole, prediction, base) == np.inf
    assert completeness.error(np.zeros((3, 1)), base, base) == 0


def test_what_does_not_add_up_is_refused() -> None:
    class Lies:
        needs, method, note, tolerance = "", "lies", "", 1e-5

        def explain(self, x: Array, baseline: Array) -> Array:
            return np.full((2, 300, 1), 1e-3)

    about = Subject(_Sum(), Shape((300, 1), 2))
    with pytest.raises(Unexplained, match=r"'lies' do not add up .* allowed are 1e-05; ask for another"):
        completeness.explain(Lies(), about, np.ones((300, 1)), np.zeros((300, 1)))  # type: ignore[arg-type]


def test_too_large_to_look_at() -> None:
    about = Subject(_Sum(), Shape((5000, 1), 1000))
    with pytest.raises(
        BadInput, match=r"5,000,000 contributions \(1 x 1,000 targets x 5,000 inputs\), at most 1,000,000"
    ):
        completeness.explain(explainer("sampling", about), about, np.ones((5000, 1)), np.zeros((5000, 1)))


@pytest.mark.parametrize("name", ["deeplift", "integrated_gradients", "linear"])
def test_what_they_cannot_look_into_is_refused(name: str) -> None:
    with pytest.raises(Unsupported, match="use auto or sampling"):
        explainer(name, Subject(_Sum(), Shape((3, 1), 2), why="its network does not run in float64."))


# -- a user's own


def own(folder: Path, body: str, **params: Any) -> Any:
    (folder / "mine.py").write_text(
        f"import numpy as np\nclass Explainer:\n    def explain(self, model, x, baseline):\n        {body}\n"
    )
    given = EXPLAINERS.params("python", {"file": "mine.py", **params})
    return EXPLAINERS.find("python")(given, Subject(_Sum(), Shape((3, 1), 2)), str(folder))


def test_ones_own_explainer(tmp_path: Path) -> None:
    made = own(tmp_path, "return np.stack([x - baseline, baseline - x])")
    about = Subject(_Sum(), Shape((3, 1), 2))
    found = completeness.explain(made, about, np.ones((3, 1)), np.zeros((3, 1)))
    assert (found.method, found.tolerance) == ("python mine.py", 0.01)
    called = own(tmp_path, "return np.stack([x - baseline, baseline - x]) * (model(x) == [3, -3]).all()")
    assert completeness.explain(called, about, np.ones((3, 1)), np.zeros((3, 1))).completeness == 0
    flat = own(tmp_path, "return [(x - baseline).ravel().tolist(), (baseline - x).ravel().tolist()]")
    assert completeness.explain(flat, about, np.ones((3, 1)), np.zeros((3, 1))).contributions.shape == (2, 3, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('w')", "mine.py:4: KeyError: 'w'; mend the explainer"),
        ("import sys; sys.exit(2)", "mine.py:4: SystemExit: 2"),
        ("return 'because'", "mine.py:1: ValueError"),
        ("return np.ones((5, 5))", r"contributions of shape \(5, 5\), expected \(2, 3, 1\)"),
        ("return np.stack([x, x])", "do not add up"),
        ("return np.full((2, 3, 1), np.nan)", "do not add up"),
    ],
)
def test_ones_own_explainer_may_be_wrong_in_every_way(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(Unexplained, match=reason):
        completeness.explain(own(tmp_path, body), Subject(_Sum(), Shape((3, 1), 2)), np.ones((3, 1)), np.zeros((3, 1)))


def test_ones_own_explainer_needs_its_verb(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Explainer:\n    pass\n")
    params = EXPLAINERS.params("python", {"file": "mine.py"})
    with pytest.raises(BadInput, match=r"mine.py:1: class 'Explainer' has no explain"):
        EXPLAINERS.find("python").verify(params, str(tmp_path))


# -- profiles


def test_profiles_are_means_for_each_time_of_day() -> None:
    profile, random = Profile(HOUR, (2, 3)), np.random.default_rng(0)
    seen: dict[int, list[Array]] = {}
    for index in range(100):
        x = random.random((2, 3))
        profile.add(index * HOUR, x)
        seen.setdefault(index % 24, []).append(x)
    for hour in range(24):
        mean = profile.mean(7 * DAY + hour * HOUR + 1)
        assert mean is not None and np.allclose(mean, np.mean(seen[hour], axis=0))


def test_profiles_forget_nothing_in_a_checkpoint() -> None:
    whole, stopped = Profile(HOUR, (2,)), Profile(HOUR, (2,))
    for index in range(60):
        x = np.random.default_rng(index).random(2)
        saved, stopped = pack(stopped.state()), Profile(HOUR, (2,))
        stopped.load(unpack(saved))
        for profile in (whole, stopped):
            profile.add(index * 5 * HOUR, x)
        assert pack(whole.state()) == pack(stopped.state())
    empty = Profile(HOUR, (2,))
    empty.load(None)
    assert empty.mean(0) is None


def test_profiles_are_bounded_and_take_no_gaps() -> None:
    assert len({Profile(HOUR, (4,))._width, Profile(60 * 10**9, (4,))._width, DAY // SLOTS}) == 1
    large = Profile(HOUR, (VALUES, 2))
    assert large._width == DAY
    profile = Profile(DAY, (2,))
    profile.add(0, np.array([1.0, np.nan]))
    assert profile.mean(0) is None
