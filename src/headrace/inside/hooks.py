"""A recipe's own code, imported inside the sandbox and asked what only it knows: how its files become a model, its data inputs.

It sees what it sees when it trains (docs/training.md), with ``HEADRACE_MODE=translate``; nothing of it runs as ``__main__``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.inside.recipe import defaults
from headrace.inside.work import reason
from headrace.runners.archive import unpack

MODEL, INPUTS = "headrace_model", "headrace_inputs"
"""What an entry point may define."""

EXTRAS = {"torch": "torch", "keras": "keras", "skl2onnx": "onnx", "onnx": "onnx", "onnxscript": "torch"}
"""package -> extra of Headrace it comes with"""


class Hooks:
    """The entry point of a recipe; without one, a code that defines nothing.

    Args:
        folder: of the model's files.
        training, held_out: files of its datasets.
    """

    def __init__(self, folder: Path, training: Sequence[str], held_out: Sequence[str]) -> None:
        self._folder, self._training, self._held_out = folder, list(training), list(held_out)
        self._module: ModuleType | None = None
        self._parameters: dict[str, Any] = {}

    def open(self, archive: Path, entry: str, given: dict[str, Any]) -> None:
        """Unpack and import. Raises BadInput with what its import raised."""
        place = Path(tempfile.mkdtemp(prefix="recipe-"))
        code, output = place / "code", place / "output"
        code.mkdir()
        output.mkdir()
        unpack(archive, code)
        self._parameters = {**defaults(code), **given}
        parameters = place / "parameters.json"
        parameters.write_text(json.dumps(self._parameters, sort_keys=True))
        os.environ |= {
            "HEADRACE_MODE": "translate",
            "HEADRACE_CODE": str(code),
            "HEADRACE_PARAMETERS": str(parameters),
            "HEADRACE_OUTPUT": str(output),
            "HEADRACE_MODEL": str(self._folder),
            "HEADRACE_DATA": ":".join(self._training),
            "HEADRACE_EVALUATION": ":".join(self._held_out),
        }
        os.chdir(code)
        sys.path.insert(0, str((code / entry).parent))
        self._module = said(f"{entry} cannot be imported", lambda: _imported(code / entry))

    @property
    def opened(self) -> bool:
        """Whether there is a code."""
        return self._module is not None

    def model(self) -> Any:
        """What its hook makes of the files; None: it has no such hook. Raises BadInput."""
        make = getattr(self._module, MODEL, None)
        if make is None:
            return None
        made = said(f"{MODEL} failed", lambda: make(self._folder, dict(self._parameters)))
        if made is None:
            raise BadInput(detail=f"{MODEL} gave nothing: it has to return the model")
        return made

    def inputs(self) -> list[NDArray[np.generic]] | None:
        """Samples of its datasets as the model takes them; None: no hook, or no data. Raises BadInput."""
        make = getattr(self._module, INPUTS, None)
        files = self._held_out + self._training
        if make is None or not files:
            return None
        made = said(f"{INPUTS} failed", lambda: make(list(files), dict(self._parameters)))
        every = list(made) if isinstance(made, list | tuple) else [made]
        found = [np.asarray(one) for one in every]
        if not found or any(one.ndim < 1 or one.dtype.kind not in "fiub" or not len(one) for one in found):
            raise BadInput(
                detail=f"{INPUTS} has to return an array of numbers for each input, one sample after the other"
            )
        if len({len(one) for one in found}) > 1:
            raise BadInput(detail=f"{INPUTS} returned arrays of different numbers of samples")
        return found


def said(what: str, work: Callable[[], Any]) -> Any:
    """What `work` returns; whatever somebody's code raises is his BadInput."""
    try:
        return work()
    except BadInput:
        raise
    except ModuleNotFoundError as error:
        extra = (
            f": the operator installs it with pip install 'headrace[{EXTRAS[error.name]}]'"
            if error.name in EXTRAS
            else ""
        )
        raise BadInput(detail=f"{what}: the package {error.name} is not here{extra}") from error
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
        raise BadInput(detail=f"{what}: {kind}{reason(error)}") from error


def _imported(path: Path) -> ModuleType:
    """The module; its names are also those of ``__main__``, where pickles of a training look for them."""
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise BadInput(detail=f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module
    found.loader.exec_module(module)
    main = sys.modules["__main__"]
    for name, value in vars(module).items():
        if not hasattr(main, name):
            setattr(main, name, value)
    return module
