"""The outputs of what skl2onnx writes, made those of the estimator. Each mended thing with the version it was seen in.

Imports onnx and ONNX Runtime inside its functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.translators import Arrays

DECISION = "decision_values"


def mend(made: Any, inputs: NDArray[np.float32], answers: Arrays, *, named: bool) -> None:
    """Change an ONNX model in place.

    Args:
        inputs: an example; `answers`: of the original to it.
        named: the last answers are decision values, and its name is to say so: skl2onnx calls all probabilities.
    """
    graph = made.graph
    del graph.output[len(answers) :]  # outputs that nobody compares
    _columns(graph, answers)
    if len(answers) < 2:
        return
    got = _asked(made, inputs)[-1]
    output, answer = graph.output[-1], answers[-1]
    if got.ndim == 2 and output.type.tensor_type.shape.dim:
        output.type.tensor_type.shape.dim[1].dim_value = got.shape[1]  # 1.20 says 2 of a binary RidgeClassifier
    if named and output.name == "probabilities":
        _decided(graph, got, answer)


def _columns(graph: Any, answers: Arrays) -> None:
    """skl2onnx 1.20 gives an MLPRegressor of several outputs as one column."""
    import onnx

    constants = {one.name: one for one in graph.initializer}
    for output, answer in zip(graph.output, answers, strict=False):
        columns = answer.shape[1] if answer.ndim == 2 else 1
        last = next((node for node in graph.node if output.name in node.output), None)
        if columns < 2 or last is None or last.op_type != "Reshape" or last.input[1] not in constants:
            continue
        shape = constants[last.input[1]]
        if onnx.numpy_helper.to_array(shape).tolist() == [-1, 1]:
            shape.CopyFrom(onnx.numpy_helper.from_array(np.array([-1, columns]), shape.name))
            output.type.tensor_type.shape.dim[1].dim_value = columns


def _decided(graph: Any, got: NDArray[np.generic], answer: NDArray[np.generic]) -> None:
    """The last output by its right name. Of two classes skl2onnx 1.20 gives two columns, of which the original has one: which,
    depends on the estimator."""
    from onnx import helper, numpy_helper

    output = graph.output[-1]
    if answer.ndim == 1 and got.ndim == 2 and got.shape[1] == 2:
        far = np.abs(got.astype(np.float64) - answer.astype(np.float64)[:, None]).sum(axis=0)
        column = numpy_helper.from_array(np.array([int(far.argmin())]), f"{DECISION}_column")
        graph.initializer.append(column)
        graph.node.append(helper.make_node("Gather", [output.name, column.name], [DECISION], axis=1))
        output.type.tensor_type.shape.dim[1].dim_value = 1
    else:
        graph.node.append(helper.make_node("Identity", [output.name], [DECISION]))
    output.name = DECISION


def _asked(made: Any, inputs: NDArray[np.float32]) -> list[NDArray[np.generic]]:
    from headrace.models.onnx_session import open_session

    session = open_session(made.SerializeToString())
    return [np.asarray(one) for one in session.run(None, {session.get_inputs()[0].name: inputs})]
