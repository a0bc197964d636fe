"""A torch module as ONNX, with input "x" (n, history, fields) and output "y" (n, horizon). Imports torch."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headrace.models.onnx_session import open_session
from headrace.records import Array

OPSET = 17
_EXPECTED: tuple[tuple[str, type[Warning]], ...] = (
    # The legacy exporter takes 1 s where its successor takes up to 90 s, and agrees with it to 2e-7.
    ("You are using the legacy TorchScript-based ONNX export", DeprecationWarning),
    ("The feature will be removed. Please remove usage of this function", DeprecationWarning),
    # A recurrent layer's initial state is made for the batch it meets, which the exporter cannot see.
    ("Exporting a model to ONNX with a batch_size other than 1", UserWarning),
    # Tracing fixes what depends on the values: a recurrent layer's checks of its input do, harmlessly; a module whose
    # predictions do is found out by `difference`.
    ("Converting a tensor to a Python", torch.jit.TracerWarning),  # type: ignore[attr-defined]
)


class Floored(nn.Module):
    """A module with its predictions raised to a floor."""

    def __init__(self, module: nn.Module, floor: float) -> None:
        super().__init__()
        self.module, self.floor = module, floor

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.module(x).clamp(min=self.floor)
        return result


def export(module: nn.Module, shape: tuple[int, int], floor: float | None) -> bytes:
    """The module in evaluation mode, with predictions raised to `floor`, for batches of any size."""
    whole = module if floor is None else Floored(module, floor)
    whole.eval()
    buffer: Any = io.BytesIO()  # A path, says its annotation; both, says its documentation.
    with warnings.catch_warnings():
        for message, category in _EXPECTED:
            warnings.filterwarnings("ignore", message, category)
        torch.onnx.export(
            whole,
            (torch.zeros(1, *shape),),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )
    data: bytes = buffer.getvalue()
    return data


def difference(data: bytes, x: Array, y: Array) -> float:
    """Largest difference between `y` and what the ONNX model gives for `x`, relative where abs(y) > 1."""
    (found,) = open_session(data).run(["y"], {"x": x.astype(np.float32)})
    return float((np.abs(found - y) / np.maximum(1, np.abs(y))).max())
