"""PyTorch: modules that a recipe's hook makes, TorchScript (.pt), exported programs (.pt2), pickled modules.

By the TorchScript exporter, which takes about a second; its successor (dynamo) takes up to 90 s and is asked only for what the
first cannot do. Imports torch inside its methods.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.models.translators import HOOK, Arrays, Given, candidates, first_line, made_by, members, only

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pt", ".pth", ".ts", ".pt2")


class TorchTranslator:
    """See `Translator`."""

    framework = "torch"

    def accepts(self, files: Path, made: Any) -> bool:
        """See `Translator`. Keras models on torch are modules, too, and not ours."""
        if made is None:
            return bool(_found(files))
        return made_by(made, "torch") and not made_by(made, "keras")

    def load(self, files: Path, made: Any, dropout: str) -> None:
        """See `Translator`."""
        import torch

        self._given: list[Given] | None = None
        module = made if made is not None else self._read(only(files, _found(files)))
        if not isinstance(module, torch.nn.Module):
            says = f"{HOOK} gave" if made is not None else "the file holds"
            raise BadInput(detail=f"{says} a {type(module).__name__}, and a torch.nn.Module is needed")
        if dropout == "train-fixed":
            from headrace.models.translators.dropout import fix

            fix(module)
        self._scripted = isinstance(module, torch.jit.ScriptModule)
        self._network = Network(module)

    def _read(self, path: Path) -> Any:
        import torch

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is deprecated, and still what many have
                if "constants.pkl" in members(path):
                    return torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
                if path.name.endswith(".pt2"):
                    return self._program(path)
                found = torch.load(path, map_location="cpu", weights_only=False)  # a pickle: the sandbox holds it
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(detail=f"{path.name} cannot be loaded: {first_line(error)}") from error
        if isinstance(found, dict):
            raise BadInput(
                detail=f"{path.name} holds weights without their network: define {HOOK} in the recipe's entry point, or "
                "save the network with them (torch.jit.script or torch.export)"
            )
        return found

    def _program(self, path: Path) -> Any:
        import torch

        program = torch.export.load(path)
        _of_any_batch(program, path.name)
        if program.example_inputs is not None:
            examples, _ = program.example_inputs
            self._given = [Given(tuple(one.shape[1:]), str(one.numpy().dtype)) for one in examples]
        return program.module()

    def inputs(self) -> list[Given] | None:
        """See `Translator`. Known of exported programs only."""
        return self._given

    def predict(self, inputs: Arrays) -> list[NDArray[np.generic]]:
        """See `Translator`."""
        return self._network.predict(inputs)

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        """See `Translator`."""
        return self._network.export(inputs, opset, path, dynamo=not self._scripted)


def _found(files: Path) -> list[Path]:
    """What ``torch.save``, ``torch.jit.save`` or ``torch.export.save`` may have written."""
    return candidates(files, SUFFIXES, lambda path: "data.pkl" in members(path))


def _of_any_batch(program: Any, name: str) -> None:
    """Raises BadInput: it was exported for one size of batches."""
    takes = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in takes:
            shape: Any = getattr(node.meta.get("val"), "shape", ())
            if len(shape) and isinstance(shape[0], int):
                raise BadInput(
                    detail=f"{name} was exported for batches of {shape[0]} only; export it for any, with "
                    'dynamic_shapes=({0: torch.export.Dim("n")},)'
                )


class Network:
    """A module that takes and gives tensors, whatever structure its outputs have. Also what Keras on torch is.

    Args:
        call: the module as it is called, if not by its inputs one after the other.
    """

    def __init__(self, module: Any, call: Any = None) -> None:
        import torch

        class Flat(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = module

            def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
                return tuple(_flat((call or self.inner)(*inputs)))

            def train(self, mode: bool = True) -> Flat:
                with contextlib.suppress(NotImplementedError):  # a program of torch.export is what it was exported as
                    super().train(mode)
                self.training = mode
                return self

        torch.set_num_threads(1)
        self._flat: Any = Flat()
        self._traced = module if isinstance(module, torch.jit.ScriptModule) else self._flat
        """TorchScript is written as it is: it cannot be a part of what is traced."""
        self._flat.eval()
        self._kind = next((one.dtype for one in self._flat.parameters() if one.is_floating_point()), torch.float32)

    def predict(self, inputs: Arrays) -> list[NDArray[np.generic]]:
        """Its answers."""
        import torch

        with torch.no_grad():
            made = self._flat(*self._tensors(inputs))
        return [_plain(one) for one in made]

    def _tensors(self, inputs: Arrays) -> tuple[torch.Tensor, ...]:
        """Numbers with a point in the type of its weights."""
        import torch

        made = [torch.from_numpy(np.ascontiguousarray(one)) for one in inputs]
        return tuple(one.to(self._kind) if one.is_floating_point() else one for one in made)

    def export(self, inputs: Arrays, opset: int, path: Path, *, dynamo: bool) -> str:
        """See `Translator.export`."""
        self.predict(inputs)  # masks and lazy parts are made before anything is traced
        tensors = self._tensors([one[:2] for one in inputs])
        count = len(self.predict(inputs))
        takes = ["x"] if len(tensors) == 1 else [f"x{number}" for number in range(len(tensors))]
        gives = ["y"] if count == 1 else [f"y{number}" for number in range(count)]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # deprecations, and what tracing fixes: parity finds out whether that matters
            try:
                self._legacy(tensors, path, opset, takes, gives)
                return "torchscript"
            except Exception as error:
                said = first_line(error)
                if not dynamo:
                    raise BadInput(detail=f"it cannot be said in ONNX (torchscript: {said})") from error
            try:
                self._dynamo(tensors, path, opset, takes, gives)
            except Exception as error:
                more = first_line(error)
                raise BadInput(detail=f"it cannot be said in ONNX (torchscript: {said}; dynamo: {more})") from error
        return "dynamo"

    def _legacy(self, tensors: Any, path: Path, opset: int, takes: list[str], gives: list[str]) -> None:
        import torch

        torch.onnx.export(
            self._traced,
            tensors,
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=takes,
            output_names=gives,
            dynamic_axes={name: {0: "n"} for name in (*takes, *gives)},
        )

    def _dynamo(self, tensors: Any, path: Path, opset: int, takes: list[str], gives: list[str]) -> None:
        import torch

        batch = torch.export.Dim("n")
        torch.onnx.export(
            self._flat,
            tensors,
            str(path),
            dynamo=True,
            opset_version=opset,
            input_names=takes,
            output_names=gives,
            dynamic_shapes=(tuple({0: batch} for _ in tensors),),
            external_data=False,
            verbose=False,
        )
        _strip(path)


def _strip(path: Path) -> None:
    """Without where in whose files each operator comes from: the same bytes every time, and no paths."""
    import onnx

    model = onnx.load(str(path))
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, str(path))


def _flat(made: Any) -> list[Any]:
    """The tensors of an output, in order. Raises BadInput."""
    if isinstance(made, dict):
        return [inner for one in made.values() for inner in _flat(one)]
    if isinstance(made, list | tuple):
        return [inner for one in made for inner in _flat(one)]
    if not hasattr(made, "detach"):
        raise BadInput(detail=f"it gives a {type(made).__name__} where tensors are needed")
    return [made]


def _plain(tensor: torch.Tensor) -> NDArray[np.generic]:
    import torch

    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    found: NDArray[np.generic] = wide.detach().cpu().numpy()
    return found
