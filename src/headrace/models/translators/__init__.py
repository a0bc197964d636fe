"""Translators: a trained model of one framework -> ONNX. They run in the sandbox (`headrace.inside.translate`) only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.plugins import Family


class Translator(Protocol):
    """One framework. A fresh one per model."""

    framework: str

    def load(self, files: Path, made: Any) -> None:
        """Take in a model.

        Args:
            files: folder of its files.
            made: what the recipe's own hook made of them (docs/translation.md); None: there is none, the files have to do.

        Raises BadInput: cannot be translated, and why.
        """
        ...

    def shape(self) -> list[int] | None:
        """Of one input without its batch axis; None: unknown without an example."""
        ...

    def predict(self, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """The original's answers, one array per output."""
        ...

    def export(self, inputs: Sequence[NDArray[np.generic]], opset: int, path: Path) -> str:
        """Write the ONNX file; returns which exporter wrote it. Raises BadInput."""
        ...


TRANSLATORS = Family(
    "translators",
    {
        "torch": "headrace.models.translators.torch:TorchTranslator",
        "sklearn": "headrace.models.translators.sklearn:SklearnTranslator",
        "keras": "headrace.models.translators.keras:KerasTranslator",
    },
    {"sklearn": "onnx"},
)
