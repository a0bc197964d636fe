"""The shipped contract suite, run on every explainer found by discovery; and that the suite notices what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.checks import check_explainer
from headrace.errors import HeadraceError
from headrace.models.explainers import EXPLAINERS, Explainer, Subject
from headrace.models.explainers.sampling import Sampling

OWN = """
import numpy as np
from headrace.models.explainers.sampling import Sampling

class Explainer:
    def explain(self, model, x, baseline):
        return Sampling(Sampling.Params(pairs=2), model).explain(x, baseline)
"""
EXPLAINED = {"linear": 3, "deeplift": 2, "integrated_gradients": 2}
"""Of the suite's five models; the others explain all."""


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_contract(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    params: dict[str, Any] = {"python": {"file": "own.py"}, "sampling": {"pairs": 4}}.get(name, {})

    def make(subject: Subject) -> Explainer:
        made: Explainer = EXPLAINERS.find(name)(EXPLAINERS.params(name, params), subject, str(tmp_path))
        return made

    assert check_explainer(name, make) == EXPLAINED.get(name, 5)


class Wrong:
    needs, tolerance, method, note = "", 0.01, "wrong", ""

    def __init__(self, subject: Subject) -> None:
        self._subject, self._calls = subject, 0

    def explain(self, x: Any, baseline: Any) -> Any:
        self._calls += 1
        shape = self._subject.shape
        base, prediction = self._subject.predict(np.stack([baseline, x]))
        whole = np.zeros((shape.horizon, *shape.input))
        whole[:] = ((prediction - base) / x.size)[:, None, None]
        return self.spoil(whole)

    def spoil(self, whole: Any) -> Any:
        return whole


class Short(Wrong):
    def spoil(self, whole: Any) -> Any:
        return whole * 0.9


class Moody(Wrong):
    def explain(self, x: Any, baseline: Any) -> Any:
        self._calls += 1
        return Sampling(Sampling.Params(pairs=1, seed=self._calls), self._subject).explain(x, baseline)


class Odd(Wrong):
    def spoil(self, whole: Any) -> Any:
        return whole[:, :1]


class Spread(Wrong):
    """Exact for few inputs; of more, neighbours are given the mean of their group."""

    def explain(self, x: Any, baseline: Any) -> Any:
        made = Sampling(Sampling.Params(pairs=2), self._subject).explain(x, baseline)
        if self._subject.shape.input[1] > 48:
            made = np.repeat(made.mean(axis=1)[:, None], made.shape[1], axis=1)
        return made


class Leaks(Wrong):
    """Gives a target's contributions to the rows of all targets."""

    def explain(self, x: Any, baseline: Any) -> Any:
        made = Sampling(Sampling.Params(pairs=2), self._subject).explain(x, baseline)
        if self._subject.shape.input[1] > 48:
            made = np.repeat(made[:, None], len(x), axis=1) / len(x)
        return made


@pytest.mark.parametrize("kind", [Spread, Leaks])
def test_the_suite_compares_with_exact_values(kind: type[Wrong]) -> None:
    with pytest.raises(AssertionError, match=r"exact: off by .* of 61 contributions"):
        check_explainer("wrong", kind)


@pytest.mark.parametrize(
    ("kind", "reason"), [(Wrong, "nothing"), (Short, "add up"), (Moody, "again"), (Odd, "contributions of shape")]
)
def test_the_suite_notices(kind: type[Wrong], reason: str) -> None:
    with pytest.raises((AssertionError, HeadraceError), match=reason):
        check_explainer("wrong", kind)
