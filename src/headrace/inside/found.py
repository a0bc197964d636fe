"""What is found out of a model file. None of it is a promise of the model: it is what its format says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

LISTED = 500
"""Tensors that are listed one by one."""


@dataclass
class Found:
    """Shapes are of one sample where the format marks the batch (a first axis of any length is left out); other axes of any
    length are -1."""

    framework: str = ""
    input_shape: list[int] | None = None
    output_shape: list[int] | None = None
    parameters: int | None = None
    """Numbers in trained tensors."""
    metadata: dict[str, Any] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """As the answer of the program has it."""
        return {
            "framework": self.framework,
            "input_shape": self.input_shape,
            "output_shape": self.output_shape,
            "parameters": self.parameters,
            "metadata": self.metadata,
        }


def tensors(named: Iterable[tuple[str, str, Sequence[int]]]) -> tuple[int, dict[str, Any]]:
    """(numbers in all of them, what to say of them), from (name, type, shape) of each."""
    every = list(named)
    total = sum(math.prod(shape) for _, _, shape in every)
    types = Counter(kind for _, kind, _ in every)
    listed = [{"name": name[:200], "type": kind, "shape": list(shape)} for name, kind, shape in every[:LISTED]]
    about: dict[str, Any] = {"count": len(every), "types": dict(sorted(types.items())), "tensors": listed}
    return total, about


def sample(shape: Sequence[int | None]) -> list[int]:
    """A shape without the axis of the batch.

    >>> sample([None, 24, 3]), sample([1, 3, -1])
    ([24, 3], [1, 3, -1])
    """
    whole = [-1 if axis is None else axis for axis in shape]
    return whole[1:] if whole and whole[0] == -1 else whole
