"""The contract of an Explainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from headrace.checks.backends import PER_TARGET, WINDOW, examples
from headrace.errors import Unsupported
from headrace.models.backends import BACKENDS, Shape
from headrace.models.explainers import Explainer, Subject
from headrace.models.explainers import completeness as complete
from headrace.records import Array

Make: TypeAlias = Callable[[Subject], Explainer]
MANY = 61
"""Inputs of a known sum: more than the groups that sampling tells apart."""
NEAR = 0.05
"""How far a contribution to a known sum may be off, as a part of the largest."""


def check_explainer(name: str, make: Make) -> int:
    """Run the whole suite on what `make` returns for each of a few trained models.

    Returns:
        How many of them it explains; the others it has to refuse.

    Raises:
        AssertionError: the explainer breaks its contract.
    """
    explained = 0
    for called, subject in subjects():
        try:
            needs = make(subject).needs
        except Unsupported as error:
            assert str(error), "a refusal without a reason"
            continue
        assert needs in {"", "terms", "network"}, f"needs {needs!r}"
        for check in _CHECKS:
            try:
                check(make, subject)
            except AssertionError as error:
                raise AssertionError(f"explainer {name!r} on {called}: {check.__name__[1:]}: {error}") from error
        explained += 1
    assert explained, f"explainer {name!r} explains none of the models"
    _exact(name, make)
    return explained


def subjects() -> Iterator[tuple[str, Subject]]:
    """(name, trained model): linear with features of each target and with a window, networks if torch is installed."""
    yield "rls", _trained("rls", PER_TARGET, {"floor": 0})
    yield "rls of a window", _trained("rls", WINDOW, {})
    yield "persistence", _trained("persistence", PER_TARGET, {})
    if find_spec("torch") is not None:
        small = {"epochs": 3, "options": {"hidden": 6, "dense": 5}}
        yield "gru", _trained("torch", Shape((12, 2), 4), {**small, "floor": 0.1})
        yield "gru of features", _trained("torch", Shape((4, 3), 4, per_target=True), small)


class _Sum:
    """A known sum of terms: (n, horizon, rows, columns) weights of a window, (horizon, columns) of features of each target."""

    floor = None

    def __init__(self, shape: Shape) -> None:
        self._own = shape.per_target
        size = (shape.horizon, shape.input[1]) if shape.per_target else (shape.horizon, *shape.input)
        self.weights = np.random.default_rng(5).normal(size=size)

    def terms(self, x: Array) -> tuple[Array, Array]:
        each: Array = x * self.weights if self._own else x[:, None] * self.weights
        return each, np.full(len(self.weights), 0.5)

    def predict(self, x: Array) -> Array:
        each, rest = self.terms(x)
        made: Array = each.reshape(len(x), len(rest), -1).sum(axis=2) + rest
        return made


class _Network(_Sum):
    """The same as a network, for explainers that look into one."""

    def network(self) -> Any:
        import torch

        weights = torch.tensor(self.weights)
        own = self._own

        class Net(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return ((x if own else x[:, None]) * weights).flatten(2).sum(dim=2) + 0.5

        return Net()


def _exact(name: str, make: Make) -> None:
    """Of many inputs that only add up, each has what it adds: features of a target in its own row, a window in its place."""
    kinds = [_Sum, _Network] if find_spec("torch") is not None else [_Sum]
    for shape in (Shape((3, MANY), 3, per_target=True), Shape((MANY, 2), 3)):
        for kind in kinds:
            backend = kind(shape)
            try:
                explainer = make(Subject.of(backend, shape))
                made = explainer.explain(*(x := np.random.default_rng(6).normal(size=(2, *shape.input))))
            except Unsupported:
                continue
            terms = backend.terms(x)[0]
            exact, own = terms[0] - terms[1], np.arange(shape.horizon)
            if shape.per_target and made.ndim == 3:
                there = np.zeros_like(made)
                there[own, own] = exact
                exact = there
            off = np.abs(np.asarray(made).reshape(exact.shape) - exact).max() / np.abs(exact).max()
            assert off <= NEAR, f"explainer {name!r}: exact: off by {off:.2f} of the largest of {MANY} contributions"


def _trained(name: str, shape: Shape, params: dict[str, object]) -> Subject:
    backend = BACKENDS.find(name)(BACKENDS.params(name, params), shape, 3)
    backend.fit(*examples(shape, 60))
    return Subject.of(backend, shape)


def _cases(subject: Subject) -> list[tuple[Array, Array]]:
    """(input, baseline): zero, and the mean of what was learnt from. Read-only."""
    x, _ = examples(subject.shape, 12, seed=4)
    mean, zero = x.mean(axis=0), np.zeros(subject.shape.input)
    mean.flags.writeable = zero.flags.writeable = False
    return [(one, baseline) for one in x[:3] for baseline in (zero, mean)]


def _complete(make: Make, subject: Subject) -> None:
    """Contributions of one of the allowed shapes, that add up to the difference within the stated tolerance."""
    explainer = make(subject)
    for x, baseline in _cases(subject):
        made = complete.explain(explainer, subject, x, baseline)
        assert 0 <= made.completeness <= made.tolerance <= 1, f"error {made.completeness}, tolerance {made.tolerance}"
        assert made.method, "a method without a name"
        assert isinstance(made.note, str), "a note that is no text"


def _nothing(make: Make, subject: Subject) -> None:
    """An example that is its own baseline has no contributions; an input that is as in the baseline has none."""
    explainer = make(subject)
    x, baseline = _cases(subject)[1]
    same = explainer.explain(x, x)
    assert np.abs(same).max() == 0, "contributions to no difference at all"
    half = x.copy()
    half[:, -1] = baseline[:, -1]
    columns = subject.shape.input[1]
    made = explainer.explain(half, baseline)
    if made.ndim == 3 and columns > 1:
        assert np.abs(made[:, :, -1]).max() < 1e-12, "contributions of inputs that are as in the baseline"
    if made.ndim == 2:
        assert np.abs(made.reshape(subject.shape.horizon, -1)[:, columns - 1 :: columns]).max() < 1e-12


def _again(make: Make, subject: Subject) -> None:
    """The same question has the same answer, also after others and from another instance; the model stays as it is."""
    first, second = make(subject), make(subject)
    cases = _cases(subject)
    x = np.stack([x for x, _ in cases])
    before = subject.predict(x)
    answers = [first.explain(*case).tobytes() for case in cases]
    assert [first.explain(*case).tobytes() for case in cases] == answers, "another answer the second time"
    assert [second.explain(*case).tobytes() for case in reversed(cases)] == answers[::-1], "another answer elsewhere"
    assert subject.predict(x).tobytes() == before.tobytes(), "explaining changed the model"


_CHECKS = (_complete, _nothing, _again)
