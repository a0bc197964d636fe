"""Explainers: how much each input of a forecast contributed to it, compared with the forecast for a baseline.

What is explained is the difference f(x) - f(baseline), for every target at once: the contributions of the inputs should add
up to it (completeness). `headrace.models.explainers.completeness` checks that for every answer and refuses those that do
not. Everything is in the model's own scaled units. `headrace.checks.check_explainer` tests each member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from headrace.errors import Unsupported
from headrace.models.backends import Additive, Networked, Shape
from headrace.plugins import Family, Params
from headrace.records import Array


@dataclass(frozen=True)
class Subject:
    """A trained model as explainers see it; nothing of it changes while it is explained."""

    backend: Any
    """Has `predict(x)`, and perhaps the verbs of `Additive` or `Networked`."""
    shape: Shape
    network: Any = None
    """torch.nn.Module in float64, floor included; None if there is none or `why` says that it cannot be used."""
    why: str = ""

    @classmethod
    def of(cls, backend: Any, shape: Shape) -> Subject:
        """The model of a backend, with its network if it has one."""
        if not isinstance(backend, Networked):
            return cls(backend, shape)
        try:
            return cls(backend, shape, backend.network())
        except Unsupported as error:
            return cls(backend, shape, why=str(error))

    @property
    def additive(self) -> Additive | None:
        """The backend, if its predictions are sums of terms."""
        return self.backend if isinstance(self.backend, Additive) else None

    def __call__(self, inputs: Any) -> Array:
        """What the model forecasts for one example or for many, as ``model(inputs)`` in a user's explainer.

        Args:
            inputs: numbers of shape `Shape.input`, (rows, columns), or (n, rows, columns).

        Returns:
            (horizon,) for one example, (n, horizon) for many.

        Raises:
            ValueError: another shape.
        """
        x = np.ascontiguousarray(inputs, dtype=np.float64)
        rows, columns = self.shape.input
        if x.shape == self.shape.input:
            one: Array = self.predict(x[None])[0]
            return one
        if x.ndim != 3 or x.shape[1:] != self.shape.input:
            raise ValueError(f"the model takes ({rows}, {columns}) or (n, {rows}, {columns}), got {x.shape}")
        return self.predict(x)

    def predict(self, x: Array) -> Array:
        """(n, horizon) for (n, *input): of the network in float64 if there is one, else what the backend predicts."""
        if self.network is None:
            made: Array = np.asarray(self.backend.predict(x), dtype=np.float64)
            return made
        import torch

        with torch.no_grad():
            result: Array = self.network(torch.tensor(x, dtype=torch.float64)).numpy()
        return result


class Explainer(Protocol):
    """One way to share a difference out among the inputs."""

    Params: ClassVar[type[Params]]
    needs: ClassVar[str]
    """What a backend must offer: "terms" (`Additive`), "network" (`Networked`), or "" for nothing but predictions."""

    # def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None; raises Unsupported

    @property
    def tolerance(self) -> float:
        """Largest completeness error it is allowed: `completeness.error`."""
        ...

    @property
    def method(self) -> str:
        """Name of what explains, for the answer; after `explain`, of what did."""
        ...

    @property
    def note(self) -> str:
        """What else a reader has to know about its contributions, or ""."""
        ...

    def explain(self, x: Array, baseline: Array) -> Array:
        """Contributions of one example's inputs.

        Args:
            x: inputs, shape `Shape.input`.
            baseline: what they are compared with, of the same shape.

        Returns:
            (horizon, *Shape.input); or (horizon, features) if the model has features of each target and contributions
            are those of the target's own row (or of a feature over all rows).

        Raises:
            Unsupported: not possible for this model.
            Unexplained: it failed.
        """
        ...


EXPLAINERS = Family(
    "explainers",
    {
        "auto": "headrace.models.explainers.auto:Auto",
        "linear": "headrace.models.explainers.linear:Linear",
        "deeplift": "headrace.models.explainers.deeplift:DeepLift",
        "integrated_gradients": "headrace.models.explainers.integrated_gradients:IntegratedGradients",
        "sampling": "headrace.models.explainers.sampling:Sampling",
        "python": "headrace.models.explainers.python:PythonExplainer",
    },
    extras={"integrated_gradients": "torch", "deeplift": "torch"},
)
