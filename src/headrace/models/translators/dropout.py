"""Dropout that is on and always the same: each layer's mask is drawn once, from its number, and is a constant of the network.

For networks that use dropout when they are asked, too, such as generators without another source of variety (Isola et al. 2017,
"Image-to-Image Translation with Conditional Adversarial Networks", section 3.2). The mask is the same for every sample.
Imports torch.
"""

from __future__ import annotations

import torch

from headrace.errors import BadInput

_BY_CHANNEL = (torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d)
_ALL = (torch.nn.Dropout, *_BY_CHANNEL)


class Fixed(torch.nn.Module):
    """In the place of a dropout layer.

    Args:
        number: of the layer, the seed of its mask.
        rate: part of the values that are dropped; the others are raised by as much.
        channels: whole channels are dropped.
    """

    def __init__(self, number: int, rate: float, *, channels: bool) -> None:
        super().__init__()
        self._number, self._rate, self._channels = number, rate, channels
        self._masks: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Values of one sample, masked."""
        shape = tuple(int(size) for size in x.shape[1:])
        if shape not in self._masks:
            size = (shape[0], *[1] * (len(shape) - 1)) if self._channels else shape
            drawn = torch.rand(size, generator=torch.Generator().manual_seed(self._number))
            self._masks[shape] = ((drawn >= self._rate) / max(1 - self._rate, 1e-12)).to(x.dtype)
        return x * self._masks[shape]


def fix(module: torch.nn.Module) -> None:
    """Replace every dropout layer. Raises BadInput: it has none that could be."""
    if isinstance(module, torch.jit.ScriptModule):
        raise BadInput(
            detail="dropout of TorchScript cannot be fixed: translate the module itself, by the recipe's code"
        )
    found = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _ALL):
                setattr(parent, name, Fixed(found, child.p, channels=isinstance(child, _BY_CHANNEL)))
                found += 1
    if not found:
        raise BadInput(detail="it has no dropout layers that could be kept on (`dropout: train-fixed`)")
