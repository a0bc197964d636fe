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
from headrace.models.translators.torch import TorchTranslator

MODELS = {"torch": 9, "sklearn": 9, "keras": 6}


@pytest.mark.parametrize("name", TRANSLATORS.names())
def test_contract(name: str) -> None:
    assert check_translator(name, TRANSLATORS.find(name)) == MODELS[name]


def one() -> Iterator[Subject]:
    import torch

    torch.manual_seed(0)
    yield Subject("one layer", torch.nn.Linear(4, 2), takes=(Given((4,)),))


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
