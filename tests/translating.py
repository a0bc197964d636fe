"""Small ONNX files and a runner that leaves what it is told to: for tests of translations that need no sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headrace.assets import Environment, Limits
from headrace.errors import BadInput
from headrace.inside import parity
from headrace.inside.work import encoded
from headrace.runners import Ended, Task
from headrace.services.sharing.service import SharingService
from headrace.services.translation.service import TranslationService
from headrace.settings import TranslationSettings

WEIGHTS = np.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]], np.float32)


def linear(weights: NDArray[Any] = WEIGHTS, opset: int = 17, batch: int | str = "n") -> onnx.ModelProto:
    """y = x @ weights."""
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, len(weights)])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, weights.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return finished([node], [takes], [gives], [numpy_helper.from_array(weights, "w")], opset)


def line() -> bytes:
    """(n, 3) -> (n, 2), as TorchScript."""
    import torch

    torch.manual_seed(0)
    into = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what many have
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), into)  # type: ignore[no-untyped-call]
    return into.getvalue()


def finished(nodes: Any, takes: Any, gives: Any, held: Any = (), opset: int = 17, **more: Any) -> onnx.ModelProto:
    """A model of a graph."""
    graph = helper.make_graph(nodes, "graph", takes, gives, list(held))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def cases(**more: tuple[str, NDArray[Any], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays of batches of one input and one output: name -> (group, x, y)."""
    found: dict[str, NDArray[Any]] = {}
    for number, (group, x, y) in enumerate(more.values()):
        found |= {f"{number}_{group}_x0": x, f"{number}_{group}_y0": y}
    return found


def asked(weights: NDArray[Any] = WEIGHTS) -> dict[str, NDArray[Any]]:
    """What a linear model was asked, and answered."""
    x = np.random.default_rng(0).normal(size=(5, len(weights))).astype(np.float32)
    return cases(one=("real", x[:1], x[:1] @ weights), many=("made", x, x @ weights))


class Canned:
    """A runner: the first program leaves `files` and says `said`; the second compares, here in this process."""

    def __init__(self, model: onnx.ModelProto | None = None, said: dict[str, Any] | None = None) -> None:
        self.model = model or linear()
        self.said = said or {"framework": "torch", "exporter": "torchscript"}
        self.arrays = asked()
        self.tasks: list[Task] = []
        self.gate: asyncio.Event | None = None
        self.how: Any = "exit"
        self.leave: Callable[[Path], object] = lambda output: None

    def check(self, environment: Environment) -> None:
        """Anything goes."""

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """Nothing."""
        return {}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """See the class."""
        self.tasks.append(task)
        if task.command[-1].endswith("parity"):
            request = json.loads(task.inputs["/work/request.json"].read_text())
            made = [task.inputs[f"/work/made/{name}"] for name in ("model.onnx", "cases.npz")]
            try:
                answer = parity.compare(request, *made)
            except BadInput as error:
                answer = {"error": str(error)}
            (task.output / "answer.json").write_bytes(encoded(answer))
            return Ended("exit", 0, 0.0, None)
        if self.gate is not None:
            waits = [asyncio.ensure_future(one.wait()) for one in (self.gate, cancel)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()
        if cancel.is_set():
            return Ended("cancelled", 137, 0.0, None)
        (task.output / "model.onnx").write_bytes(self.model.SerializeToString())
        np.savez(task.output / "cases.npz", **self.arrays)  # type: ignore[arg-type]
        (task.output / "answer.json").write_text(json.dumps(self.said))
        self.leave(task.output)
        return Ended(self.how, 0, 0.0, None)


@contextlib.asynccontextmanager
async def translating(
    hub: SharingService, folder: Path, runner: Any, **settings: Any
) -> AsyncIterator[TranslationService]:
    """The service over a hub."""
    async with TranslationService(hub, runner, folder / "translation", TranslationSettings(**settings)) as service:
        yield service
        assert not [*(folder / "translation" / "runs").iterdir()] or service._running
