"""ONNX graphs nobody should run in a process that others need: each takes "x" (n, *input) and promises "y" (n, horizon)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def mean() -> bytes:
    """An honest one, of any horizon: y[h] is the mean of row h."""
    return _model([helper.make_node("ReduceMean", ["x"], ["y"], axes=[2], keepdims=0)], [])


def network(fields: int = 10, horizon: int = 24) -> bytes:
    """An honest one as PyTorch exports it: a GRU over the rows."""
    draw = np.random.default_rng(0)
    sizes = {"w": (1, 3 * horizon, fields), "r": (1, 3 * horizon, horizon)}
    weights = [_constant(name, draw.normal(0, 0.3, size).astype(np.float32)) for name, size in sizes.items()]
    nodes = [
        helper.make_node("Transpose", ["x"], ["rows"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["rows", "w", "r"], ["", "last"], hidden_size=horizon),
        helper.make_node("Squeeze", ["last", "first"], ["y"]),
    ]
    return _model(nodes, [*weights, _constant("first", np.array([0]))])


def endless() -> bytes:
    """A loop of 2**62 rounds."""
    one = helper.make_tensor_value_info("before", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Sqrt", ["before"], ["after"])],
        "body",
        [_scalar("round", TensorProto.INT64), _scalar("going", TensorProto.BOOL), one],
        [_scalar("on", TensorProto.BOOL), helper.make_tensor_value_info("after", TensorProto.FLOAT, None)],
    )
    start = helper.make_node("ReduceMean", ["x"], ["start"], axes=[2], keepdims=0)
    loop = helper.make_node("Loop", ["rounds", "true", "start"], ["y"], body=body)
    return _model([start, loop], [_constant("rounds", np.int64(2**62)), _constant("true", np.bool_(True))])


def huge(size: int = 3000, times: int = 400) -> bytes:
    """Products of large matrices: no loop, some 2 * 10**13 steps."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0)]
    nodes += [helper.make_node("Expand", ["mean", "shape"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{n}", "m0"], [f"m{n + 1}"]) for n in range(times)]
    nodes += [helper.make_node("ReduceMean", [f"m{times}"], ["all"], keepdims=0)]
    nodes += [helper.make_node("ReduceMean", ["x"], ["row"], axes=[2], keepdims=0)]
    nodes += [helper.make_node("Add", ["row", "all"], ["y"])]
    return _model(nodes, [_constant("shape", np.array([size, size]))])


def bomb(size: int = 2**36) -> bytes:
    """A quarter of a terabyte of ones."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["all"], value=_tensor(np.ones(1, np.float32))),
        helper.make_node("ReduceMean", ["all"], ["one"], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["row"], axes=[2], keepdims=0),
        helper.make_node("Add", ["row", "one"], ["y"]),
    ]
    return _model(nodes, [_constant("shape", np.array([size]))])


def short() -> bytes:
    """One number, whatever is asked."""
    return _model([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], [])


def _model(nodes: list[Any], constants: list[Any]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", None, None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    data: bytes = made.SerializeToString()
    return data


def _constant(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def _tensor(value: Any) -> Any:
    return numpy_helper.from_array(value)


def _scalar(name: str, kind: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, [])
