"""Integrated gradients, by Captum: the cross-check of DeepLIFT.

Source: Sundararajan, Taly and Yan, ICML 2017.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from headrace import plugins
from headrace.errors import MissingExtra
from headrace.models.explainers import Subject
from headrace.models.explainers.deeplift import network
from headrace.records import Array

BATCH = 4096
"""Points of all paths evaluated at a time."""


class IntegratedGradients:
    """The gradient averaged along the straight line from the baseline to the input, times the difference."""

    class Params(plugins.Params):
        steps: int = Field(default=50, ge=2, le=10_000)
        """Points on the line."""
        tolerance: float = Field(default=0.1, gt=0, le=1)
        """Largest completeness error: the integral is a sum, and bends of the network between two points are missed."""

    needs: ClassVar[str] = "network"
    method: ClassVar[str] = "integrated_gradients"

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        self._network, self._horizon = network(self.method, subject), subject.shape.horizon
        self._steps, self.tolerance = params.steps, params.tolerance
        self.note = f"integrated over {params.steps} points"

    def explain(self, x: Array, baseline: Array) -> Array:
        import torch

        captum = _captum()
        gradients, parts = captum.IntegratedGradients(self._network), []
        for targets in torch.split(torch.arange(self._horizon), max(1, BATCH // self._steps)):
            here, there = (torch.tensor(one).double().expand(len(targets), *x.shape).clone() for one in (x, baseline))
            parts.append(gradients.attribute(here, baselines=there, target=targets, n_steps=self._steps).detach())
        result: Array = torch.cat(parts).numpy()
        return result


def _captum() -> Any:
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise MissingExtra(family="explainer", name="integrated_gradients", module=error.name, extra="torch") from error
    return captum.attr
