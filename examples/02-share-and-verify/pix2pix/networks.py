"""The two networks of Pix2Pix (P. Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017)."""

import torch
from torch import nn


def down(before: int, after: int, *, norm: bool = True) -> nn.Sequential:
    """Half the side."""
    layers = [nn.Conv2d(before, after, 4, 2, 1, bias=not norm)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(after)] if norm else []), nn.LeakyReLU(0.2))


def up(before: int, after: int, dropout: float = 0.0) -> nn.Sequential:
    """Twice the side."""
    layers = [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []), nn.ReLU())


class Generator(nn.Module):
    """A U-Net: label maps (n, 3, h, w) to pictures of the same shape, -1 to 1; h and w are multiples of 32.

    Dropout is on while it is trained and off when it is asked (`eval`), so that it gives one picture for one label map. The paper
    leaves it on, as the only noise there is, and reports that it changes little.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList(
            [
                down(3, w, norm=False),
                down(w, 2 * w),
                down(2 * w, 4 * w),
                down(4 * w, 4 * w),
                down(4 * w, 4 * w, norm=False),
            ]
        )
        self.up = nn.ModuleList([up(4 * w, 4 * w, dropout), up(8 * w, 4 * w, dropout), up(8 * w, 2 * w), up(4 * w, w)])
        self.last = nn.ConvTranspose2d(2 * w, 3, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed = []
        for layer in self.down:
            x = layer(x)
            passed.append(x)
        passed.pop()
        for layer in self.up:
            x = torch.cat([layer(x), passed.pop()], 1)
        return torch.tanh(self.last(x))


class Discriminator(nn.Module):
    """A PatchGAN: label map and picture, each (n, 3, h, w), to a logit for each patch: is this picture of that map a real one?"""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            down(6, w, norm=False), down(w, 2 * w), down(2 * w, 4 * w), nn.Conv2d(4 * w, 1, 4, 1, 1)
        )

    def forward(self, label: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([label, picture], 1))


class InColours(nn.Module):
    """The generator as others ask it: colours from 0 to 255 in and out. What `headrace translate` writes as ONNX."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.generator(x / 127.5 - 1) + 1) * 127.5
