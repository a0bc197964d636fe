"""The torch backend: training, determinism, users' modules, refusals."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from headrace.errors import BadInput, CorruptState, LearningError, MissingExtra, Unsupported
from headrace.models.backends import Shape
from headrace.models.backends.torch import Torch
from headrace.records import Array
from headrace.services.learning import serving

SHAPE = Shape((36, 1), 24)


def make(shape: Shape = SHAPE, seed: int = 0, folder: str = ".", **params: Any) -> Torch:
    return Torch(Torch.Params.model_validate(params), shape, seed, folder)


def sine(n: int) -> tuple[Array, Array]:
    """Windows of a sine of period 24 between 0 and 1."""
    series = 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(n + 60) / 24)
    starts = np.arange(n)[:, None]
    return series[starts + np.arange(36)][:, :, None], series[starts + 36 + np.arange(24)]


def test_table_4_1_are_the_defaults() -> None:
    params = Torch.Params()
    assert (params.epochs, params.lr, params.betas, params.batch) == (50, 0.005, (0.9, 0.99), 128)


def test_gru_learns_a_sine() -> None:
    x, y = sine(240)
    backend = make()
    assert ((backend.predict(x) - y) ** 2).mean() > 0.05
    backend.fit(x, y)
    assert ((backend.predict(x) - y) ** 2).mean() < 1e-3


def test_learning_goes_on_and_rehearsal_remembers() -> None:
    x, y = sine(96)
    backend = make(epochs=20)
    backend.fit(x, y)
    state = backend.dump()
    errors = []
    for old in (0, 96):
        backend.load(state)
        for _ in range(10):
            backend.learn(x[:24], 0.5 * y[:24], x[:old], y[:old])
        errors.append(((backend.predict(x[24:]) - y[24:]) ** 2).mean())
    assert errors[1] < errors[0]


def test_seeds_differ_and_the_global_generator_does_not_matter() -> None:
    import torch

    first = make(seed=1).weights()
    torch.manual_seed(99)
    assert make(seed=1).weights() == first
    assert make(seed=2).weights() != first


def test_weights_are_safetensors_of_the_state_dict() -> None:
    from safetensors.numpy import load

    backend = make()
    tensors = load(backend.weights())
    expected = backend._module.state_dict()
    assert set(tensors) == set(expected)
    assert all((tensors[name] == value.numpy()).all() for name, value in expected.items())


def test_missing_targets_do_not_count() -> None:
    x, y = sine(40)
    spoilt = y.copy()
    spoilt[:, 12:] = np.nan
    backend = make(epochs=150)
    backend.fit(x, spoilt)
    error = ((backend.predict(x) - y) ** 2).mean(axis=0)
    assert error[:12].max() < 0.01 < error[12:].max()


@pytest.mark.parametrize("huge", [1e25, 1e300, np.inf])
def test_a_loss_that_is_not_finite_is_refused(huge: float) -> None:
    x, y = sine(40)
    backend = make(epochs=2)
    backend.fit(x, y)
    before = backend.dump()
    with pytest.raises(LearningError, match="stays as it was"):
        backend.learn(x, y * huge if huge < np.inf else np.full_like(y, huge), x[:0], y[:0])
    with pytest.raises(LearningError, match="stays as it was"):
        backend.fit(x, np.full_like(y, huge))
    assert backend.dump() == before
    backend.learn(x, y, x[:0], y[:0])
    assert np.isfinite(backend.predict(x)).all()


def test_inputs_that_are_not_finite_are_refused() -> None:
    x, y = sine(4)
    x[1, 3] = np.nan
    with pytest.raises(LearningError, match="not a finite number"):
        make().fit(x, y)


def test_floor_is_served_too() -> None:
    x, y = sine(30)
    for floor in (None, 0.0, 0.3):
        backend = make(epochs=3, floor=floor)
        backend.fit(x, y - 1)
        lowest = backend.predict(x).min()
        served = serving.load(backend.export(), SHAPE).predict(x).min()
        assert served == pytest.approx(lowest, abs=1e-6)
        assert lowest < 0 if floor is None else lowest == pytest.approx(floor)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"module": "nets"}, "expected gru, or a class in a file"),
        ({"module": "../net.py:Net"}, "expected gru, or a class in a file"),
        ({"options": {"layers": 2}}, "hidden and dense"),
        ({"options": {"hidden": 0}}, "hidden and dense"),
        ({"options": {"hidden": True}}, "hidden and dense"),
        ({"betas": [0.9, 1.0]}, "below 1"),
        ({"lr": 0}, "greater than 0"),
    ],
)
def test_params_say_what_is_expected(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Torch.Params.model_validate(params)


NET = """
    import torch
    from torch import nn

    torch.manual_seed(4)  # Rude, and without effect outside.

    class Net(nn.Module):
        def __init__(self, input_shape, horizon, width=8, drop=0.2):
            super().__init__()
            size = input_shape[0] * input_shape[1]
            self.layers = nn.Sequential(
                nn.Flatten(), nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU(),
                nn.Dropout(drop), nn.Linear(width, horizon),
            )

        def forward(self, x):
            return self.layers(x)

    class Narrow(Net):
        def forward(self, x):
            return super().forward(x)[:, 1:]

    class Broken(Net):
        def forward(self, x):
            raise RuntimeError("no good")

    class Moody(Net):
        def forward(self, x):
            y = super().forward(x)
            return y * 2 if x.mean() > 0.3 else y

    class Tired(Net):
        def forward(self, x):
            if self.training:
                raise RuntimeError("out of breath")
            return super().forward(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "my_net.py").write_text(textwrap.dedent(NET))
    return str(tmp_path)


def test_a_users_module(folder: str) -> None:
    import torch

    before = torch.get_rng_state()
    x, y = sine(60)
    parts, whole = (make(folder=folder, module="my_net.py:Net", options={"width": 6}, epochs=3) for _ in range(2))
    whole.fit(x, y)
    parts.fit(x, y)
    parts.load(parts.dump())
    for backend in (whole, parts):
        backend.learn(x[:9], y[:9], x[:0], y[:0])
    assert whole.dump() == parts.dump(), "dropout and batch norm are part of the state"
    served = serving.load(whole.export(), SHAPE)
    assert np.abs(served.predict(x) - whole.predict(x)).max() < 1e-6
    assert (torch.get_rng_state() == before).all()


def test_a_users_edit_is_seen_at_once(folder: str) -> None:
    first = make(folder=folder, module="my_net.py:Net").weights()
    path = Path(folder, "my_net.py")
    path.write_text(path.read_text().replace("width=8", "width=9"))
    assert len(make(folder=folder, module="my_net.py:Net").weights()) > len(first)
    assert list(Path(folder).iterdir()) == [path], "no byte code beside the user's file"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("absent.py:Net", "cannot take Net from .*absent.py"),
        ("my_net.py:Nat", "cannot take Nat from .*my_net.py"),
        ("my_net.py:Narrow", r"gives \(2, 23\) for two inputs, expected \(2, 24\)"),
        ("my_net.py:Broken", r"does not run with input \(36, 1\): no good"),
    ],
)
def test_a_users_mistakes_are_named(folder: str, module: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make(folder=folder, module=module)


def test_a_module_that_fails_in_training_stays_as_it_was(folder: str) -> None:
    x, y = sine(9)
    backend = make(folder=folder, module="my_net.py:Tired")
    before = backend.dump()
    with pytest.raises(LearningError, match="out of breath"):
        backend.fit(x, y)
    assert backend.dump() == before


def test_an_export_that_predicts_something_else_is_refused(folder: str) -> None:
    backend = make(folder=folder, module="my_net.py:Moody", floor=None)
    with pytest.raises(Unsupported, match="is off by"):
        backend.export()


def test_the_state_of_another_module_is_refused(folder: str) -> None:
    state = make(folder=folder, module="my_net.py:Net").dump()
    with pytest.raises(CorruptState, match="another module"):
        make().load(state)
    with pytest.raises(CorruptState, match=r"'recurrent\.weight_ih_l0'"):
        make(options={"hidden": 8}).load(make().dump())


def test_torch_is_imported_with_the_first_model_only() -> None:
    code = """
        import sys
        from headrace.models.backends import BACKENDS
        import headrace.services.learning.serving
        kinds = [BACKENDS.find(name) for name in BACKENDS.names()]
        [(kind.Params(), kind.features) for kind in kinds]
        heavy = {"torch", "onnxruntime", "onnx", "sklearn", "safetensors"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_without_torch_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'headrace\[torch\]'"):
        make()
