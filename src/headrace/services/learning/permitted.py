"""Whether an exported model that a stranger's code may have written can be run in the serving process.

It may be damaged, but must not be a program: of an ONNX model `headrace.models.onnx_files` says what that means; no trees that
go in circles or are endlessly deep. How much a permitted ONNX graph computes is not known beforehand.
"""

from __future__ import annotations

import numpy as np

from headrace.models.backends import Servable
from headrace.models.onnx_files import check_graph
from headrace.states import unpack

BYTES = 2**25
"""Of one exported model."""
DEPTH = 256
"""Of a tree."""


def permit(servable: Servable) -> None:
    """Raises ValueError: it is a program, or too large."""
    if len(servable.data) > BYTES:
        raise ValueError(f"an exported model of {len(servable.data):,} bytes, and {BYTES:,} may be")
    if servable.format == "onnx":
        check_graph(servable.data)
    elif servable.kernel == "trees":
        _trees(servable.data)


def _trees(data: bytes) -> None:
    state = unpack(data)
    left, right, nodes = state["left"], state["right"], np.unique(state["roots"])
    own = np.arange(len(left))
    if ((left == own) != (right == own)).any():
        raise ValueError("trees that go in circles")
    for _ in range(DEPTH):
        nodes = nodes[left[nodes] != nodes]
        if not len(nodes):
            return
        nodes = np.unique(np.concatenate([left[nodes], right[nodes]]))
    raise ValueError(f"trees deeper than {DEPTH}")
