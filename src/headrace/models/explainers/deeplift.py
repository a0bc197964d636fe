"""DeepLIFT for networks in torch: GRU, LSTM, dense and whatever a user's module makes of operations with a rule.

On a fused recurrent layer the usual implementations miss nearly all of the difference; why, and the rules that do not, are
told in `headrace.models.explainers.multipliers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from headrace import plugins
from headrace.errors import HeadraceError, Unexplained, Unsupported
from headrace.models.explainers import Subject
from headrace.records import Array

if TYPE_CHECKING:
    import torch


class DeepLift:
    """DeepLIFT with the rescale rule for activations and the product rule for gates, in float64, all targets at once."""

    class Params(plugins.Params):
        """No settings."""

    needs: ClassVar[str] = "network"
    method: ClassVar[str] = "deeplift"
    note: ClassVar[str] = ""
    tolerance: ClassVar[float] = 1e-5

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        self._network = network(self.method, subject)
        self._horizon, self._checked = subject.shape.horizon, False

    def explain(self, x: Array, baseline: Array) -> Array:
        import torch

        from headrace.models.explainers.multipliers import contributions

        here, there = torch.tensor(x, dtype=torch.float64), torch.tensor(baseline, dtype=torch.float64)
        try:
            found = contributions(self._network, here, there, self._horizon, check=not self._checked)
        except HeadraceError:
            raise
        except Exception as error:  # whatever a user's module raises under our rules
            raise Unexplained(detail=f"deeplift failed on this network: {error}", instead="use sampling") from error
        self._checked = True
        result: Array = found.numpy()
        return result


def network(method: str, subject: Subject) -> torch.nn.Module:
    """The subject's network with its weights fixed. Raises Unsupported if it has none."""
    if subject.network is None:
        why = f" ({subject.why.rstrip('.')})" if subject.why else ""
        raise Unsupported(
            detail=f"method {method!r} looks into a network, and this model is none{why}; use auto or sampling"
        )
    module: torch.nn.Module = subject.network.requires_grad_(False)
    return module
