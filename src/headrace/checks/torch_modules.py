"""Modules that the suite of translators asks for. Imports torch."""

from __future__ import annotations

import torch
from torch import Tensor


class Forecaster(torch.nn.Module):
    """(n, 12) -> (n, 4), as the GRU of the examples."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.output = torch.nn.GRU(1, 6, batch_first=True), torch.nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Forecasts of windows."""
        made: Tensor = self.output(self.recurrent(x.unsqueeze(-1))[0][:, -1])
        return made


class Pair(torch.nn.Module):
    """(n, 12), (n, 5) -> {"sum": (n, 3), "parts": [(n, 3), (n, 3)]}"""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Linear(12, 3), torch.nn.Linear(5, 3)

    def forward(self, x: Tensor, z: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Its outputs have a structure."""
        parts = [self.one(x), self.other(z)]
        return {"sum": parts[0] + parts[1], "parts": parts}


class Words(torch.nn.Module):
    """(n, 6) numbers of words -> (n, 2) probabilities and (n,) labels"""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.output = torch.nn.Embedding(10, 4), torch.nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Answers of two kinds."""
        made = torch.softmax(self.output(self.words(x).mean(1)), 1)
        return made, made.argmax(1)
