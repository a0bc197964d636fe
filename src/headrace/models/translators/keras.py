"""Keras 3 on torch: ``.keras``, ``.h5``, and models that a recipe's hook makes.

On torch a Keras model is a torch module; Keras itself exports it with the TorchScript exporter when its batch has any size
(keras/src/export/onnx.py), and so does this. Imports keras inside its methods.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.models.translators import HOOK, Arrays, Given, candidates, first_line, made_by, members, only
from headrace.models.translators.torch import Network

SUFFIXES = (".keras", ".h5", ".hdf5")


class KerasTranslator:
    """See `Translator`."""

    framework = "keras"

    def accepts(self, files: Path, made: Any) -> bool:
        """See `Translator`."""
        return made_by(made, "keras") if made is not None else bool(_found(files))

    def load(self, files: Path, made: Any, dropout: str) -> None:
        """See `Translator`."""
        os.environ.setdefault("KERAS_BACKEND", "torch")
        import keras  # type: ignore[import-untyped]

        if dropout != "eval":
            raise BadInput(detail="dropout of Keras models is exported off: `dropout: eval`")
        if keras.backend.backend() != "torch":
            raise BadInput(detail=f"Keras runs on {keras.backend.backend()} here; KERAS_BACKEND=torch is needed")
        model = made if made is not None else _read(only(files, _found(files)))
        if not isinstance(model, keras.Model):
            says = f"{HOOK} gave" if made is not None else "the file holds"
            raise BadInput(detail=f"{says} a {type(model).__name__}, and a keras.Model is needed")
        self._model, self._takes = model, _takes(model)
        several = len(self._takes or []) > 1

        def call(*inputs: Any) -> Any:
            return model(list(inputs) if several else inputs[0], training=False)

        self._network = Network(model, call)

    def inputs(self) -> list[Given] | None:
        """See `Translator`."""
        return self._takes

    def predict(self, inputs: Arrays) -> list[NDArray[np.generic]]:
        """See `Translator`."""
        return self._network.predict(inputs)

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        """See `Translator`."""
        return self._network.export(inputs, opset, path, dynamo=False)


def _found(files: Path) -> list[Path]:
    """What ``model.save`` may have written."""
    return candidates(files, SUFFIXES, lambda path: "model.weights.h5" in members(path))


def _read(path: Path) -> Any:
    import keras

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise BadInput(detail=f"{path.name} cannot be loaded: {first_line(error)}") from error


def _takes(model: Any) -> list[Given] | None:
    """From its symbolic inputs; None where an axis is of any length, or it was never built."""
    try:
        found = [(tuple(one.shape[1:]), str(one.dtype)) for one in model.inputs]
    except (AttributeError, TypeError, ValueError):
        return None
    if not found or any(axis is None for shape, _ in found for axis in shape):
        return None
    return [Given(shape, dtype) for shape, dtype in found]
