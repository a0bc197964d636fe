"""Translators: a trained model of one framework -> ONNX. They run in the sandbox (`headrace.inside.translate`) only."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.plugins import Family

Arrays: TypeAlias = Sequence[NDArray[np.generic]]
"""One array per input or output of a model; the first axis of each is the batch."""
HOOK = "headrace_model(folder, parameters)"
"""What a recipe's entry point defines to say how its files become a model (docs/translation.md)."""


@dataclass(frozen=True, slots=True)
class Given:
    """One input of a model: its shape without the batch axis, and its type as numpy calls it."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    span: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """(smallest, largest) usual value of each of its features, if the model knows them itself."""
    names: tuple[str, ...] = ()
    """Of its features, in their order, if the model knows them."""


class Translator(Protocol):
    """One framework. A fresh one per model."""

    framework: str

    def accepts(self, files: Path, made: Any) -> bool:
        """Whether `load` is to be called with these. Imports nothing and reads no more than names and first bytes."""
        ...

    def load(self, files: Path, made: Any, dropout: str) -> None:
        """Take in a model.

        Args:
            files: folder of its files.
            made: what the recipe's own hook made of them; None: there is none, the files have to do.
            dropout: "eval": off, as in evaluation; "train-fixed": on, with masks drawn once.

        Raises BadInput: cannot be translated, and why.
        """
        ...

    def inputs(self) -> list[Given] | None:
        """What it takes; None: unknown without an example."""
        ...

    def predict(self, inputs: Arrays) -> list[NDArray[np.generic]]:
        """The original's answers, one array per output."""
        ...

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        """Write an ONNX file for batches of any size.

        Args:
            inputs: an example, two samples or more.

        Returns:
            Which exporter wrote it.

        Raises BadInput: the message names what cannot be said in ONNX.
        """
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


def made_by(made: Any, package: str) -> bool:
    """Whether an object's class, or one it comes from, is of that package. Nothing is imported for it.

    >>> from fractions import Fraction
    >>> made_by(Fraction(1, 2), "numbers"), made_by(Fraction(1, 2), "torch")
    (True, False)
    """
    return any(one.__module__.partition(".")[0] == package for one in type(made).__mro__)


def candidates(files: Path, suffixes: Sequence[str], looks: Callable[[Path], bool]) -> list[Path]:
    """The files below a folder whose names end so; where no name does, those that look so."""
    every = sorted(one for one in files.rglob("*") if one.is_file())
    named = [one for one in every if one.name.lower().endswith(tuple(suffixes))]
    return named or [one for one in every if looks(one)]


def only(files: Path, found: Sequence[Path]) -> Path:
    """The one candidate. Raises BadInput when there are several."""
    if len(found) != 1:
        names = ", ".join(one.relative_to(files).as_posix() for one in found[:8])
        raise BadInput(
            detail=f"it has {len(found)} files that could be the model ({names}); {HOOK} in its code chooses"
        )
    return found[0]


def members(path: Path) -> set[str]:
    """Last names of what a zip file holds; none if it is none."""
    if not zipfile.is_zipfile(path):
        return set()
    with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        return {name.rpartition("/")[2] for name in archive.namelist()}
    return set()


def first_line(error: BaseException, most: int = 300) -> str:
    """What a library said, short enough to be shown."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:most].rstrip('.')}" if lines else type(error).__name__
