"""The chapter's forecasting network (section 4.3.4, figure 4.8): a GRU and two dense layers. Imports torch."""

from __future__ import annotations

from torch import Tensor, nn


class Gru(nn.Module):
    """GRU over the window; its last state through a dense ReLU layer to one output per target."""

    def __init__(self, input_shape: tuple[int, int], horizon: int, hidden: int = 32, dense: int = 32) -> None:
        super().__init__()
        self.recurrent = nn.GRU(input_shape[1], hidden, batch_first=True)
        self.dense = nn.Linear(hidden, dense)
        self.output = nn.Linear(dense, horizon)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x)
        result: Tensor = self.output(self.dense(states[:, -1]).relu())
        return result
