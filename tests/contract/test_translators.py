"""The shipped contract suite, run on every translator found by discovery; and that the suite notices what it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.checks import check_translator
from headrace.checks.translators import Subject
from headrace.errors import BadInput
from headrace.models.onnx_files import check_graph
from headrace.models.translators import TRANSLATORS, Arrays, Given
from headrace.models.translators.sklearn import SklearnTranslator
from headrace.models.translators.sklearn_ranges import span
from headrace.models.translators.torch import TorchTranslator

MODELS = {"torch": 9, "sklearn": 13, "keras": 6}


@pytest.mark.parametrize("name", TRANSLATORS.names())
def test_contract(name: str) -> None:
    assert check_translator(name, TRANSLATORS.find(name)) == MODELS[name]


def one() -> Iterator[Subject]:
    import torch

    torch.manual_seed(0)
    yield Subject("one layer", torch.nn.Linear(4, 2), takes=(Given((4,)),))


@pytest.mark.parametrize("number", [1, 2])
def test_decision_values_are_not_called_probabilities(tmp_path: Path, number: int) -> None:
    import onnxruntime
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    x = np.random.default_rng(number).normal(size=(100, 3))
    for kind in (SVC(), SGDClassifier(random_state=0)):
        model = make_pipeline(StandardScaler(), kind).fit(x, np.digitize(x[:, 0], [0.0, 0.8][:number]))
        translator = SklearnTranslator()
        translator.load(tmp_path, model, "eval")
        translator.export([x[:5]], 17, tmp_path / "m.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
        assert [one.name for one in session.get_outputs()] == ["label", "decision_values"]
        columns = 1 if number == 1 else 3
        assert session.get_outputs()[1].shape[1] == columns
        _, got = session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})
        assert np.allclose(got.reshape(100, -1), model.decision_function(x).reshape(100, -1), rtol=1e-4, atol=1e-4)


def test_estimators_know_where_their_inputs_lie() -> None:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    random = np.random.default_rng(0)
    x = random.uniform([10, -1, 0], [29, 1, 1e6], (300, 3))
    y = x[:, 0] + 5 * x[:, 1] + x[:, 2] / 1e6
    for model in (
        RandomForestRegressor(5, random_state=0).fit(x, y),
        GradientBoostingClassifier(n_estimators=5, random_state=0).fit(x, np.digitize(y, [15, 20])),
        HistGradientBoostingRegressor(max_iter=20).fit(x, y),
        MultiOutputRegressor(DecisionTreeRegressor(random_state=0)).fit(x, np.stack([y, -y], 1)),
        make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y > 20),
        make_pipeline(MinMaxScaler(), LinearRegression()).fit(x, y),
    ):
        found = span(model, 3)
        assert found is not None
        low, high = np.array(found)
        assert (low < [20, 0.2, 6e5]).all() and (high > [19, -0.2, 4e5]).all() and (low < high).all(), model
        assert low[0] > -15 and high[0] < 55, model
    assert span(LinearRegression().fit(x, y), 3) is None
    beyond = make_pipeline(PolynomialFeatures(), RandomForestRegressor(2, random_state=0)).fit(x, y)
    assert span(beyond, 3) is None, "what is behind a step of other features is not about the inputs"
    nothing = DecisionTreeRegressor().fit(x, np.ones(300))
    assert span(nothing, 3) is None, "a tree without a branch"


class Moody(TorchTranslator):
    def predict(self, inputs: Arrays) -> list[Any]:
        self.asked = getattr(self, "asked", 0) + 1
        return [made + self.asked for made in super().predict(inputs)]


class Rounded(TorchTranslator):
    """Not what it exports."""

    def predict(self, inputs: Arrays) -> list[Any]:
        return [np.round(made, 1) for made in super().predict(inputs)]


class Greedy(TorchTranslator):
    def accepts(self, files: Path, made: Any) -> bool:
        return True


class Blind(TorchTranslator):
    def accepts(self, files: Path, made: Any) -> bool:
        return False


class Dated(TorchTranslator):
    count = 0

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        import onnx

        said = super().export(inputs, opset, path)
        model = onnx.load(str(path))
        Dated.count += 1
        model.doc_string = str(Dated.count)
        onnx.save(model, str(path))
        return said


class Fixed(TorchTranslator):
    """For batches of two."""

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        import torch

        tensors = (torch.zeros(2, 4),)
        torch.onnx.export(self._network._flat, tensors, str(path), dynamo=False, opset_version=opset)
        return "mine"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Moody, "asked again"),
        (Rounded, "a batch of 1 is answered otherwise in ONNX"),
        (Greedy, "accepts an empty folder"),
        (Blind, "does not accept its own"),
        (Dated, "another file"),
        (Fixed, "Got invalid dimensions"),
    ],
)
def test_the_suite_notices(kind: type[TorchTranslator], reason: str) -> None:
    with pytest.raises(Exception, match=reason) as raised:
        check_translator("wrong", kind, one())
    assert isinstance(raised.value, AssertionError) or kind is Fixed


def test_dropout_that_stays_on_is_the_same_in_onnx(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    def net() -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 50), torch.nn.Dropout(0.5), torch.nn.Linear(50, 2))

    off, on = TorchTranslator(), TorchTranslator()
    off.load(tmp_path, net(), "eval")
    on.load(tmp_path, net(), "train-fixed")
    x = np.ones((3, 4), np.float32)
    (still,), (masked,) = off.predict([x]), on.predict([x])
    assert not np.allclose(still, masked) and np.allclose(masked[0], masked[1])
    on.export([x], 17, tmp_path / "net.onnx")
    (found,) = onnxruntime.InferenceSession(str(tmp_path / "net.onnx")).run(None, {"x": x})
    assert np.allclose(found, masked, atol=1e-6)
    with pytest.raises(BadInput, match="no dropout layers"):
        TorchTranslator().load(tmp_path, torch.nn.Linear(4, 2), "train-fixed")


def test_what_torchscript_cannot_say_its_successor_can(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    class Entropy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.entr(x.abs()).sum(-1, keepdim=True)

    paths, x = [tmp_path / "one.onnx", tmp_path / "two.onnx"], np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
    for path in paths:
        translator = TorchTranslator()
        translator.load(tmp_path, Entropy(), "eval")
        assert translator.export([x], 18, path) == "dynamo"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    check_graph(paths[0].read_bytes())
    assert str(Path(__file__).name).encode() not in paths[0].read_bytes(), "nothing of where its code stands"
    (found,) = onnxruntime.InferenceSession(str(paths[0])).run(None, {"x": x})
    assert np.allclose(found, translator.predict([x])[0], atol=1e-6)
