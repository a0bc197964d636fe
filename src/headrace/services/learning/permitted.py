"""Whether an exported model that a stranger's code may have written can be run in the serving process.

It may be damaged, but must not be a program: no ONNX graph within a graph (Loop, If and Scan run for ever), no function, no
operator of another domain, no file beside it; no trees that go in circles or are endlessly deep. How much a permitted ONNX
graph computes is not known beforehand.

Field numbers: onnx.proto3 of ONNX; wire format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headrace.models.backends import Servable
from headrace.states import unpack

BYTES = 2**25
"""Of one exported model."""
NODES = 10_000
"""Operators of one ONNX graph."""
DEPTH = 256
"""Of a tree."""
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
_NODE, _INITIALIZER = 1, 5
_OP, _ATTRIBUTE, _DOMAIN = 4, 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_EXTERNAL, _LOCATION = 13, 14


def permit(servable: Servable) -> None:
    """Raises ValueError: it is a program, or too large."""
    if len(servable.data) > BYTES:
        raise ValueError(f"an exported model of {len(servable.data):,} bytes, and {BYTES:,} may be")
    if servable.format == "onnx":
        _model(memoryview(servable.data))
    elif servable.kernel == "trees":
        _trees(servable.data)


def _model(data: memoryview) -> None:
    for number, value in fields(data):
        if number in (_TRAINING, _FUNCTIONS):
            raise ValueError("an ONNX model with functions of its own")
        if number == _GRAPH:
            _graph(_message(value))


def _graph(data: memoryview) -> None:
    nodes = 0
    for number, value in fields(data):
        if number == _NODE:
            nodes += 1
            _node(_message(value))
        elif number == _INITIALIZER:
            _tensor(_message(value))
    if nodes > NODES:
        raise ValueError(f"an ONNX model of {nodes:,} operators, and {NODES:,} may be")


def _node(data: memoryview) -> None:
    for number, value in fields(data):
        if number == _DOMAIN and bytes(_message(value)) not in (b"", b"ai.onnx"):
            raise ValueError("an ONNX model with operators of another domain")
        for kind, inner in fields(_message(value)) if number == _ATTRIBUTE else ():
            if kind in (_SUBGRAPH, _SUBGRAPHS):
                raise ValueError("an ONNX model with a graph within its graph")
            if kind in (_TENSOR, _TENSORS):
                _tensor(_message(inner))


def _tensor(data: memoryview) -> None:
    if any(number == _EXTERNAL or (number == _LOCATION and value) for number, value in fields(data)):
        raise ValueError("an ONNX model with a file beside it")


def fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of a protobuf message: bytes, or a number. Raises ValueError.

    >>> [(number, bytes(value)) for number, value in fields(memoryview(b"\\x12\\x02ok"))]
    [(2, b'ok')]
    """
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _number(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _number(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf message")
        if place + size > len(data):
            raise ValueError("a protobuf message that ends too early")
        yield key >> 3, data[place : place + size]
        place += size


def _number(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no protobuf message")


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("no ONNX model")  # noqa: TRY004 whoever reads files is told of values
    return value


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
