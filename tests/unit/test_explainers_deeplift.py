"""DeepLIFT: complete on every network it takes, for every target and both baselines; refusing what it has no rule for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from headrace.errors import Unexplained, Unsupported
from headrace.models.backends import BACKENDS, Shape
from headrace.models.explainers import EXPLAINERS, Subject, completeness
from headrace.records import Array

HISTORY, HORIZON, WINDOWS = 36, 24, 100
SHAPE = Shape((HISTORY, 1), HORIZON)
NETS = """
from torch import nn

class Lstm(nn.Module):
    def __init__(self, input_shape, horizon, hidden=10, layers=1):
        super().__init__()
        self.lstm = nn.LSTM(input_shape[1], hidden, num_layers=layers, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 12), nn.Tanh(), nn.Linear(12, horizon))
    def forward(self, x):
        states, (h, c) = self.lstm(x)
        return self.head(h[-1])

class Mlp(nn.Module):
    def __init__(self, input_shape, horizon):
        super().__init__()
        size = input_shape[0] * input_shape[1]
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 24), nn.ELU(),
                                    nn.Linear(24, horizon))
    def forward(self, x):
        return self.layers(x)
"""


class Backend:
    """A bare module as a backend."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module.double().eval()

    def network(self) -> nn.Module:
        return self._module


def subject(module: nn.Module, shape: Shape = SHAPE) -> Subject:
    return Subject(Backend(module), shape, module.double().eval())


def explainer(name: str, about: Subject, **params: Any) -> Any:
    return EXPLAINERS.find(name)(EXPLAINERS.params(name, params), about)


def days(n: int, seed: int = 0) -> Array:
    """Windows of solar power, scaled: most of them night or cloud, as in life."""
    random = np.random.default_rng(seed)
    hours = random.integers(0, 24, n)[:, None] + np.arange(HISTORY + HORIZON)[None]
    sun = np.clip(np.sin((hours - 6) / 12 * np.pi), 0, None)
    weather = random.uniform(0.2, 1, (n, 3))
    return sun * np.repeat(weather, 20, axis=1)


@pytest.fixture(scope="module", params=["gru", "lstm", "mlp"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A network that has just learnt a little."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "nets.py").write_text(NETS)
    module = {"gru": "gru", "lstm": "nets.py:Lstm", "mlp": "nets.py:Mlp"}[request.param]
    params = BACKENDS.params("torch", {"module": module, "epochs": 6, "floor": 0.02})
    backend = BACKENDS.find("torch")(params, SHAPE, 5, str(folder))
    series = days(300)
    backend.fit(series[:, :HISTORY, None], series[:, HISTORY:])
    return Subject.of(backend, SHAPE)


def baselines() -> list[Array]:
    return [np.zeros((HISTORY, 1)), days(300)[:, :HISTORY, None].mean(axis=0)]


def test_complete_on_a_hundred_windows_and_all_targets(trained: Subject) -> None:
    deeplift, worst = explainer("deeplift", trained), 0.0
    for x in days(WINDOWS, seed=1)[:, :HISTORY, None]:
        for baseline in baselines():
            made = completeness.explain(deeplift, trained, x, baseline)
            assert made.contributions.shape == (HORIZON, HISTORY, 1)
            worst = max(worst, made.completeness)
    assert worst <= 1e-9, worst  # allowed are 1e-5; what is left is rounding


def test_the_network_explained_is_the_one_that_predicts(trained: Subject) -> None:
    x = days(20, seed=2)[:, :HISTORY, None]
    assert np.allclose(trained.predict(x), trained.backend.predict(x), atol=2e-6)
    assert trained.predict(x).min() >= 0.02


@pytest.fixture(scope="module")
def recipe() -> Subject:
    """The chapter's GRU after its 50 epochs."""
    backend = BACKENDS.find("torch")(BACKENDS.params("torch", {}), SHAPE, 5)
    series = days(256)
    backend.fit(series[:, :HISTORY, None], series[:, HISTORY:])
    return Subject.of(backend, SHAPE)


@pytest.mark.parametrize("against", [0, 1], ids=["zero", "profile"])
def test_captum_fails_the_check_on_a_fused_gru_and_ours_passes(recipe: Subject, against: int) -> None:
    """That is why there is a rule set of our own: Captum's contributions miss about all of the difference, without a word."""
    import captum.attr

    baseline, errors = baselines()[against], []
    deeplift, theirs = explainer("deeplift", recipe), captum.attr.DeepLift(recipe.network)
    for x in days(5, seed=3)[:, :HISTORY, None]:
        base, prediction = recipe.predict(np.stack([baseline, x]))
        inputs, reference = (torch.tensor(one)[None].repeat(HORIZON, 1, 1) for one in (x, baseline))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = theirs.attribute(inputs, reference, target=torch.arange(HORIZON)).detach().numpy()
        errors.append(completeness.error(found, prediction, base))
        assert completeness.error(deeplift.explain(x, baseline), prediction, base) < 1e-9
    assert min(errors) > 0.1 and np.median(errors) > 0.5, errors


def test_captum_agrees_where_it_is_right() -> None:
    """On a plain perceptron both are the same DeepLIFT."""
    import captum.attr

    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(HISTORY, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, HORIZON)
    )
    about, x = subject(module, SHAPE), days(1, seed=4)[0, :HISTORY, None]
    baseline = baselines()[1]
    inputs, reference = (torch.tensor(one)[None].repeat(HORIZON, 1, 1) for one in (x, baseline))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = (
            captum.attr.DeepLift(module).attribute(inputs, reference, target=torch.arange(HORIZON)).detach().numpy()
        )
    assert np.allclose(explainer("deeplift", about).explain(x, baseline), theirs, rtol=1e-6, atol=1e-9)


def test_agrees_with_shapley_values(trained: Subject) -> None:
    """Of the inputs that matter (a tenth of the largest) at least nine in ten have the same sign, and the order is alike."""
    deeplift, sampling = explainer("deeplift", trained), explainer("sampling", trained, pairs=40)
    agree, ranks = [], []
    for x, baseline in zip(days(4, seed=5)[:, :HISTORY, None], baselines() * 2, strict=True):
        ours, shapley = deeplift.explain(x, baseline)[:, :, 0], sampling.explain(x, baseline)[:, :, 0]
        for mine, theirs in zip(ours, shapley, strict=True):
            if np.abs(theirs).max() < 1e-3:
                continue
            matter = np.abs(theirs) > 0.1 * np.abs(theirs).max()
            agree += (np.sign(mine) == np.sign(theirs))[matter].tolist()
            ranks.append(float(np.corrcoef(mine, theirs)[0, 1]))
    assert np.mean(agree) > 0.9, np.mean(agree)
    assert np.median(ranks) > 0.95, np.median(ranks)


def test_agrees_with_integrated_gradients(trained: Subject) -> None:
    deeplift, gradients = explainer("deeplift", trained), explainer("integrated_gradients", trained)
    for x, baseline in zip(days(2, seed=6)[:, :HISTORY, None], baselines(), strict=True):
        ours, theirs = (one.explain(x, baseline).reshape(-1) for one in (deeplift, gradients))
        assert np.corrcoef(ours, theirs)[0, 1] > 0.95


class Net(nn.Module):
    """Five inputs of three steps; `rule` is the part that is tried."""

    def __init__(self, rule: Callable[[Tensor], Tensor], size: int = 4) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last, self.rule = nn.Linear(15, size), nn.Linear(size, 2), rule

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.rule(self.first(x.flatten(1))))
        return result


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module], **options: Any) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = kind(5, 6, **options)
        self.last = nn.Linear(6 * (2 if options.get("bidirectional") else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer.batch_first
        states = self.layer(x if first else x.transpose(0, 1))[0]
        result: Tensor = self.last(states[:, -1] if first else states[-1])
        return result


class Cells(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.cell, self.last = kind(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step]) if state is None else self.cell(x[:, step], state)
        result: Tensor = self.last(state[0] if isinstance(state, tuple) else state)
        return result


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.keys, self.queries, self.last = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(5, 2)
        self.norm = nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        weights = F.softmax(self.queries(x) @ self.keys(x).transpose(1, 2) / 2, dim=-1)
        result: Tensor = self.last(self.norm(weights @ x).mean(dim=1))
        return result


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.layers = nn.Sequential(
            nn.Conv1d(5, 4, 2), nn.BatchNorm1d(4), nn.SiLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten()
        )
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.layers(x.transpose(1, 2)))
        return result


def gate(u: Tensor) -> Tensor:
    return u.sigmoid() * u.tanh() + 2 * u


def filled_in(u: Tensor) -> Tensor:
    made = torch.zeros_like(u)
    for place in range(u.shape[1]):
        made[:, place] = u[:, place].sigmoid() * u[:, 0]
    made[:, 1] += 3
    return made


def in_place(u: Tensor) -> Tensor:
    v = u * 1.5
    v = v.relu_()
    v *= u
    return v


KNOWN: dict[str, Callable[[], nn.Module]] = {
    "gate": lambda: Net(gate),
    "filled in": lambda: Net(filled_in),
    "in place": lambda: Net(in_place),
    "relu in place": lambda: Net(nn.ReLU(inplace=True)),
    "clamp, power, exp": lambda: Net(lambda u: u.clamp(-0.3, 0.3) ** 2 + (-u.abs()).exp() - 2**u),
    "gelu, softplus": lambda: Net(lambda u: F.gelu(u) + F.softplus(u) + F.leaky_relu(u, 0.2)),
    "quotient": lambda: Net(lambda u: u / (1 + u.square()) + 1 / (2 + u.cos())),
    "square by itself": lambda: Net(lambda u: u * u),
    "gru": lambda: Recurrent(nn.GRU, batch_first=True),
    "gru without biases": lambda: Recurrent(nn.GRU, batch_first=True, bias=False),
    "gru, time first": lambda: Recurrent(nn.GRU),
    "stacked gru": lambda: Recurrent(nn.GRU, batch_first=True, num_layers=3),
    "gru both ways": lambda: Recurrent(nn.GRU, batch_first=True, num_layers=2, bidirectional=True),
    "lstm": lambda: Recurrent(nn.LSTM, batch_first=True),
    "stacked lstm": lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "rnn": lambda: Recurrent(nn.RNN, batch_first=True, nonlinearity="relu"),
    "gru cells": lambda: Cells(nn.GRUCell),
    "lstm cells": lambda: Cells(nn.LSTMCell),
    "attention": Attention,
    "convolution": Convolved,
    "constant": lambda: Net(lambda u: torch.ones_like(u).detach()),
}


@pytest.mark.parametrize("name", KNOWN)
def test_rules(name: str) -> None:
    module = KNOWN[name]().double().eval()
    about, random = subject(module, Shape((3, 5), 2)), np.random.default_rng(8)
    deeplift = explainer("deeplift", about)
    for _ in range(5):
        x, baseline = random.normal(size=(2, 3, 5))
        assert completeness.explain(deeplift, about, x, baseline).completeness < 1e-9


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([nn.GRU, nn.LSTM, nn.RNN]),
    history=st.integers(1, 7),
    fields=st.integers(1, 3),
    horizon=st.integers(1, 70),
    layers=st.integers(1, 2),
    scale=st.sampled_from([1e-6, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_any_recurrent_network_of_any_size(
    kind: type[nn.Module], history: int, fields: int, horizon: int, layers: int, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)

    class Any_(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = kind(fields, 3, batch_first=True, num_layers=layers), nn.Linear(3, horizon)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.last(self.layer(x)[0][:, -1].relu())
            return result

    shape = Shape((history, fields), horizon)
    about, random = subject(Any_(), shape), np.random.default_rng(seed)
    x, baseline = random.normal(size=(2, history, fields)) * scale
    x[0] = baseline[0]  # a night: no difference there
    made = completeness.explain(explainer("deeplift", about), about, x, baseline)
    assert made.completeness <= 1e-5
    assert np.abs(made.contributions[:, 0]).max() == 0


def test_unrolled_layers_give_what_fused_ones_give() -> None:
    """The mode changes how a network is computed, never what it gives."""
    from headrace.models.explainers.multipliers import Rules

    x = torch.randn(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for name in ("gru both ways", "gru, time first", "stacked lstm", "rnn", "gru cells", "lstm cells"):
        module = KNOWN[name]().double().eval()
        with Rules():
            unrolled = module(x.clone().requires_grad_())
        assert torch.allclose(unrolled, module(x), rtol=0, atol=1e-14), name


UNKNOWN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "maximum": (lambda: Net(lambda u: torch.maximum(u, u.flip(1))), "'Maximum'"),
    "where": (lambda: Net(lambda u: torch.where(u > 0, u, 2 * u)), "'Where'"),
    "max pool": (lambda: Net(lambda u: F.max_pool1d(u[:, None], 2).flatten(1).repeat(1, 2)), "'MaxPool"),
    "norm": (lambda: Net(lambda u: u / u.norm(dim=1, keepdim=True)), "LinalgVectorNorm|Norm"),
    "two tensors": (lambda: Net(lambda u: u.abs().pow(u)), "'Pow'"),
    "branch": (lambda: Net(lambda u: u.tanh() if u.sum() > 0 else u * u), "same way"),
    "one branch": (lambda: Net(lambda u: u.tanh().sin() if u.sum() > 0 else u.tanh()), "same way"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_is_refused_by_name(name: str) -> None:
    make, reason = UNKNOWN[name]
    about = subject(make(), Shape((3, 5), 2))
    x = np.random.default_rng(9).normal(size=(3, 5))
    with pytest.raises(Unsupported, match=reason):
        explainer("deeplift", about).explain(x, -x)
    made = completeness.explain(
        automatic := explainer("auto", Subject(about.backend, about.shape, about.network)), about, x, -x
    )
    assert automatic.method == made.method == "sampling"
    assert "deeplift" in made.note


def test_a_module_that_fails_under_the_rules_says_so() -> None:
    class Fails(Net):
        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                raise ValueError("no gradients here")
            return super().forward(x)

    about = subject(Fails(torch.tanh), Shape((3, 5), 2))
    with pytest.raises(Unexplained, match="no gradients here"):
        explainer("deeplift", about).explain(np.ones((3, 5)), np.zeros((3, 5)))


def test_the_documented_time_is_of_this_order(trained: Subject) -> None:
    """About 14 ms for a GRU of 32 on a free core; a test machine is never free."""
    import time

    deeplift, x = explainer("deeplift", trained), days(5, seed=7)[:, :HISTORY, None]
    deeplift.explain(x[0], baselines()[0])
    took = []
    for one in x:
        begin = time.process_time()
        deeplift.explain(one, baselines()[1])
        took.append(time.process_time() - begin)
    assert min(took) < 0.2


def test_a_network_that_does_not_run_in_float64_is_explained_by_sampling(tmp_path: Path) -> None:
    (tmp_path / "narrow.py").write_text("""
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, horizon):
        super().__init__()
        self.last = nn.Linear(input_shape[0], horizon)
        self.fixed = torch.eye(input_shape[0])  # no buffer: stays in float32
    def forward(self, x):
        return self.last(x[:, :, 0] @ self.fixed).tanh()
""")
    params = BACKENDS.params("torch", {"module": "narrow.py:Net", "epochs": 2})
    backend = BACKENDS.find("torch")(params, Shape((4, 1), 3), 0, str(tmp_path))
    about = Subject.of(backend, Shape((4, 1), 3))
    assert about.network is None and "does not run in float64" in about.why
    automatic = explainer("auto", about)
    made = completeness.explain(automatic, about, np.ones((4, 1)), np.zeros((4, 1)))
    assert made.method == "sampling" and "does not run in float64" in made.note
    with pytest.raises(Unsupported, match="float64"):
        explainer("deeplift", about)
