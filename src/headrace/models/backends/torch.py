"""Neural networks in PyTorch: the chapter's GRU, or the user's own module. torch is imported with the first model.

Trained in float32 on one thread with deterministic kernels. All randomness is the model's own: the process-wide
generator is put back as it was found, so what else runs in the process can neither change a model nor be changed by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from headrace import plugins
from headrace.errors import BadInput, CorruptState, HeadraceError, LearningError, MissingExtra, Unsupported
from headrace.models.backends import Servable, Shape, parent
from headrace.models.backends.saved import expect, finite_inputs, read_safetensors, safetensors, seal, unseal
from headrace.records import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-5
"""Largest difference between the module and its ONNX export, relative above 1."""


class Torch:
    """A torch module trained with Adam on the mean squared error."""

    class Params(plugins.Params):
        """Settings; the defaults are Table 4.1 of the chapter."""

        module: str = "gru"
        """"gru", or a class in a file beside the spec: `my_net.py:Net`, made by `Net(input_shape, horizon, **options)`:
        float32 (n, history, fields) in, (n, horizon) out."""
        options: dict[str, Any] = Field(default_factory=dict)
        """Arguments of the module; gru knows `hidden` and `dense`, the widths of its layers, 32 each."""
        epochs: int = Field(default=50, ge=1)
        """Passes over all examples in the first fit."""
        steps: int = Field(default=5, ge=0)
        """Gradient steps each time new examples are learnt."""
        batch: int = Field(default=128, ge=1)
        """Examples per gradient step."""
        lr: float = Field(default=0.005, gt=0)
        """Adam's learning rate."""
        betas: tuple[float, float] = (0.9, 0.99)
        """Adam's decay rates. Defaults of this and the three above: Table 4.1 of the chapter."""
        floor: float | None = None
        """Predictions below this, in scaled units, are raised to it; null for none. Learning does not see it."""

        @field_validator("module")
        @classmethod
        def _file(cls, module: str) -> str:
            if module != "gru" and not re.fullmatch(r"[\w-]+\.py:[A-Za-z_]\w*", module):
                raise ValueError(
                    f"expected gru, or a class in a file beside the spec as in my_net.py:Net, got {module!r}"
                )
            return module

        @field_validator("betas")
        @classmethod
        def _decay(cls, betas: tuple[float, float]) -> tuple[float, float]:
            if not all(0 <= beta < 1 for beta in betas):
                raise ValueError(f"expected two numbers from 0 to below 1, got {list(betas)}")
            return betas

        @model_validator(mode="after")
        def _widths(self) -> Self:
            if self.module == "gru":
                for name, value in self.options.items():
                    if name not in ("hidden", "dense") or type(value) is not int or value < 1:
                        raise ValueError(
                            f"gru has the options hidden and dense, whole numbers from 1; got {name}: {value}"
                        )
            return self

    features: ClassVar[list[dict[str, Any]]] = [{"window": {"history": 36}}]
    rehearses: ClassVar[bool] = True
    heavy: ClassVar[bool] = True

    def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None:
        self._torch = torch = _import_torch()
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        self._params, self._shape, self._seed = params, shape, seed
        self._parent: dict[str, NDArray[Any]] = {}
        self._order = torch.Generator()
        self._noise_state = torch.Generator().manual_seed(seed).get_state()
        with self._noise(keep=False):
            self._class = _module_class(params.module, folder)
        self._start()

    @classmethod
    def tensors(cls, params: Params, shape: Shape) -> dict[str, parent.Tensor] | None:
        """Those of the GRU; a user's own module has to be made to know."""
        return gru_tensors(shape, **params.options) if params.module == "gru" else None

    def start_from(self, weights: bytes) -> None:
        found, mine = parent.read(weights), _arrays(self._module.state_dict())
        parent.fit(found, {name: parent.tensor(array) for name, array in mine.items()})
        self._parent = found
        self._start()

    def predict(self, x: Array) -> Array:
        torch = self._torch
        self._module.eval()
        with torch.inference_mode(), self._noise(keep=False):
            predictions = self._module(self._tensor(x)) if len(x) else torch.zeros(0, self._shape.horizon)
        result: Array = predictions.numpy().astype(np.float64)
        floor = self._params.floor
        return result if floor is None else np.maximum(result, floor, out=result)

    def fit(self, x: Array, y: Array) -> None:
        x, y = _usable(x, y)
        with self._undo():
            self._start()
            self._train(x, y, self._params.epochs * -(-len(x) // self._params.batch))

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """`steps` gradient steps on shuffled batches of the new and the old examples together."""
        x, y = _usable(x, y)
        if not len(x):
            return
        old_x, old_y = _usable(old_x, old_y)
        with self._undo():
            self._train(np.concatenate([old_x, x]), np.concatenate([old_y, y]), self._params.steps)

    def dump(self) -> bytes:
        states = self._optimizer.state_dict()["state"]
        state = {
            "module": _arrays(self._module.state_dict()),
            "optimizer": {str(index): _arrays(states[index]) for index in sorted(states)},
            "order": self._order.get_state().numpy(),
            "noise": self._noise_state.numpy(),
        }
        return seal("torch", state)

    def load(self, data: bytes) -> None:
        state, tensors = unseal("torch", data, "module", "optimizer", "order", "noise"), self._tensors
        mine = _arrays(self._module.state_dict())
        if list(state["module"]) != list(mine):
            raise CorruptState(detail="a state of backend 'torch' belongs to another module")
        for name, array in mine.items():
            expect("torch", name, state["module"][name], array)
        groups = self._optimizer.state_dict()["param_groups"]
        optimizer = {int(index): tensors(value) for index, value in state["optimizer"].items()}
        self._module.load_state_dict(tensors(state["module"]))
        self._optimizer.load_state_dict({"state": optimizer, "param_groups": groups})
        self._order.set_state(self._torch.from_numpy(state["order"]))
        self._noise_state = self._torch.from_numpy(state["noise"])

    def weights(self) -> bytes:
        return safetensors(_arrays(self._module.state_dict()))

    def export(self) -> Servable:
        """The module and its floor as one ONNX model, compared with the original before it is handed out.

        Raises:
            Unsupported: the module cannot be exported, or its export predicts something else.
        """
        from headrace.models.backends import onnx_export

        self._module.eval()
        with self._noise(keep=False):
            try:
                data = onnx_export.export(self._module, self._shape.input, self._params.floor)
            except Exception as error:  # Whatever the exporter or a user's module raises.
                raise Unsupported(detail=f"{self._params.module} has no ONNX export: {error}") from error
        x = np.random.default_rng(0).random((7, *self._shape.input))
        worst = onnx_export.difference(data, x, self.predict(x))
        if not worst <= TOLERANCE:
            raise Unsupported(detail=f"the ONNX export of {self._params.module} is off by {worst:.1e}")
        return Servable("onnx", data, about={"opset": onnx_export.OPSET, "difference": worst})

    def restore(self, weights: bytes) -> None:
        """The module's tensors; the optimiser starts anew."""
        found, mine = read_safetensors("torch", weights), _arrays(self._module.state_dict())
        if set(found) != set(mine):
            raise CorruptState(detail="weights of backend 'torch' belong to another module")
        for name, array in mine.items():
            expect("torch", name, found[name], array)
        self._module.load_state_dict(self._tensors(found))

    def network(self) -> nn.Module:
        """A copy of the module in float64 and evaluation mode, with the floor.

        Raises:
            Unsupported: it cannot be copied, or does not run in float64.
        """
        from headrace.models.backends import onnx_export

        torch, name = self._torch, self._params.module
        try:
            with self._noise(keep=False), torch.no_grad():
                copy = deepcopy(self._module).double().eval()
                copy(torch.zeros(2, *self._shape.input, dtype=torch.float64))
        except Exception as error:  # Whatever a user's module raises.
            raise Unsupported(detail=f"{name} does not run in float64: {error}") from error
        floor = self._params.floor
        return copy if floor is None else onnx_export.Floored(copy, floor)

    def _start(self) -> None:
        """The untrained model of this seed, or the parent."""
        torch, params, shape = self._torch, self._params, self._shape
        self._order.manual_seed(self._seed)
        self._noise_state = torch.Generator().manual_seed(self._seed).get_state()
        try:
            with self._noise(keep=True):
                self._module = self._class(shape.input, shape.horizon, **params.options).float()
            if self._parent:
                self._module.load_state_dict(self._tensors(self._parent))
            self._optimizer = torch.optim.Adam(self._module.parameters(), lr=params.lr, betas=params.betas)
            found = self.predict(np.zeros((2, *shape.input))).shape
        except Exception as error:  # Whatever a user's module raises.
            raise BadInput(detail=f"{params.module} does not run with input {shape.input}: {error}") from error
        if found != (2, shape.horizon):
            raise BadInput(detail=f"{params.module} gives {found} for two inputs, expected {(2, shape.horizon)}")

    def _train(self, x: Array, y: Array, steps: int) -> None:
        inputs, targets = self._tensor(x), self._tensor(y)
        known = ~targets.isnan()
        targets = targets.where(known, 0.0)
        self._module.train()
        with self._noise(keep=True):
            for index in islice(self._batches(len(x)), steps):
                self._step(inputs[index], targets[index], known[index])
        if not all(tensor.isfinite().all() for tensor in self._module.state_dict().values()):
            raise LearningError(detail="a weight is no longer a finite number; a smaller `lr` may help")

    def _step(self, inputs: Tensor, targets: Tensor, known: Tensor) -> None:
        """One gradient step on the mean squared error of the known targets."""
        self._optimizer.zero_grad()
        loss = ((self._module(inputs) - targets).square() * known).sum() / known.sum()
        if not loss.isfinite():
            raise LearningError(detail=f"the loss became {loss.item()}; are the inputs scaled?")
        loss.backward()
        self._optimizer.step()

    def _batches(self, n: int) -> Iterator[Tensor]:
        """Batches of indices for ever, each epoch in a new order."""
        while n:
            yield from self._torch.randperm(n, generator=self._order).split(self._params.batch)

    def _tensor(self, array: Array) -> Tensor:
        """In float32, and in torch's own aligned memory: kernels may round differently on other alignments."""
        with np.errstate(over="ignore"):
            result: Tensor = self._torch.tensor(array, dtype=self._torch.float32)
        return result

    def _tensors(self, arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
        return {name: self._torch.from_numpy(array) for name, array in arrays.items()}

    @contextmanager
    def _noise(self, keep: bool) -> Iterator[None]:
        """Lend the process-wide generator this model's state, which initial weights and dropout draw from."""
        torch = self._torch
        before = torch.get_rng_state()
        torch.set_rng_state(self._noise_state)
        try:
            yield
        finally:
            if keep:
                self._noise_state = torch.get_rng_state()
            torch.set_rng_state(before)

    @contextmanager
    def _undo(self) -> Iterator[None]:
        """Go back to the state before on any error."""
        before = self.dump()
        try:
            yield
        except BaseException as error:
            self.load(before)
            if isinstance(error, HeadraceError) or not isinstance(error, Exception):
                raise
            raise LearningError(detail=f"{self._params.module} failed: {error}") from error


def gru_tensors(shape: Shape, hidden: int = 32, dense: int = 32) -> dict[str, parent.Tensor]:
    """Names and shapes of the GRU's weights, without torch: three gates, one below the other, then two dense layers."""
    fields, gates = shape.input[1], 3 * hidden
    sizes: dict[str, tuple[int, ...]] = {
        "recurrent.weight_ih_l0": (gates, fields),
        "recurrent.weight_hh_l0": (gates, hidden),
        "recurrent.bias_ih_l0": (gates,),
        "recurrent.bias_hh_l0": (gates,),
        "dense.weight": (dense, hidden),
        "dense.bias": (dense,),
        "output.weight": (shape.horizon, dense),
        "output.bias": (shape.horizon,),
    }
    return {name: parent.Tensor("F32", size) for name, size in sizes.items()}


def _import_torch() -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtra(family="backend", name="torch", module=error.name, extra="torch") from error
    return torch


def _module_class(name: str, folder: str) -> Callable[..., nn.Module]:
    """The built-in network, or the class of a user's file.

    The file is read and executed afresh: an import would cache byte code, and serve an old file after a quick edit.
    """
    if name == "gru":
        from headrace.models.backends.gru import Gru

        return Gru
    file, _, attribute = name.partition(":")
    path = Path(folder, file)
    module = ModuleType(f"headrace_user_{path.stem}")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102
        found: Callable[..., nn.Module] = getattr(module, attribute)
    except Exception as error:  # Whatever a user's file raises.
        raise BadInput(detail=f"cannot take {attribute} from {path}: {error}") from error
    return found


def _usable(x: Array, y: Array) -> tuple[Array, Array]:
    """The examples with at least one known target."""
    finite_inputs(x, y)
    some = ~np.isnan(y).all(axis=1)
    return x[some], y[some]


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Copies: a tensor's own memory changes with the next step."""
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}
