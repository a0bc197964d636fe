"""The explainer that suits a model."""

from __future__ import annotations

from typing import ClassVar

from headrace import plugins
from headrace.errors import Unsupported
from headrace.models.explainers import EXPLAINERS, Explainer, Subject
from headrace.records import Array


class Auto:
    """`linear` for models that add their inputs up, `deeplift` for networks, `sampling` for all others.

    A network with an operation for which deeplift has no rule is explained by sampling, and the answer says so.
    """

    class Params(plugins.Params):
        """No settings."""

    needs: ClassVar[str] = ""

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        self._subject, self._why = subject, subject.why
        name = "linear" if subject.additive else "deeplift" if subject.network is not None else "sampling"
        self._inner = self._made(name)

    @property
    def tolerance(self) -> float:
        return self._inner.tolerance

    @property
    def method(self) -> str:
        return self._inner.method

    @property
    def note(self) -> str:
        return "; ".join(part for part in (self._inner.note, self._why.rstrip(".")) if part)

    def explain(self, x: Array, baseline: Array) -> Array:
        try:
            return self._inner.explain(x, baseline)
        except Unsupported as error:
            if self._inner.method == "sampling":
                raise
            self._why, self._inner = str(error), self._made("sampling")
            return self._inner.explain(x, baseline)

    def _made(self, name: str) -> Explainer:
        made: Explainer = EXPLAINERS.find(name)(EXPLAINERS.params(name, {}), self._subject)
        return made
