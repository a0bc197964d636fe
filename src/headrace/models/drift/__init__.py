"""Drift: noticing that the target, or the model's error, is no longer what it was. Nothing but an alert follows from it.

On the shipped inverter every reaction that was tried (a reset, a faster forgetting) ended worse than doing nothing, and
detectors on one daily squared error missed or cried wolf; see docs/adr/0013-alerts.md for what these members do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from headrace.plugins import Family, Params
from headrace.records import Array


@dataclass(frozen=True, slots=True)
class Signal:
    """What a detector says after an update."""

    drifted: bool
    statistic: float
    """Signed: positive where the truth is higher than it was, or than the forecasts."""
    threshold: float
    """The size of the statistic at which drift is said to begin."""


class Detector(Protocol):
    """Watches the scored forecasts of one key, in scaled units, each outcome once."""

    @property
    def Params(self) -> type[Params]:
        """The settings: a nested class (a property here, because type checkers take a nested class for read-only)."""
        ...

    # def __init__(self, params: Params) -> None

    def update(self, prediction: Array, truth: Array, time: int) -> Signal:
        """One scored forecast, (n,) each, truth NaN where unknown; `time`, ns, is when the last outcome was known."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything the next signal depends on."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


DETECTORS = Family(
    "detectors",
    {
        "bias": "headrace.models.drift.bias:Bias",
        "peak": "headrace.models.drift.peak:Peak",
    },
)
