"""A user's own step: one Python file beside the spec.

The class it names has the verbs of a Transformer and is built with its `params` (a dict) and the `Context`::

    class Step:
        def __init__(self, params, context): ...
        def apply(self, rows): ...      # -> headrace.records.Rows
        def state(self): ...            # -> dict
        def load(self, state): ...

It may have ``tick(time)`` and ``counts()``, too.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from headrace import plugins
from headrace.errors import BadInput
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import nothing
from headrace.records import Rows

_VERBS = ("__init__", "apply", "state", "load")


class PythonStep:
    """Loads the file and stands before the user's object."""

    class Params(plugins.Params):
        file: str
        """Path of the file, relative to the spec's folder and inside it."""
        class_: str = Field(default="Step", alias="class")
        """Name of the class."""
        params: dict[str, Any] = Field(default_factory=dict)
        """Handed to the class as they are."""

    def __init__(self, params: Params, context: Context) -> None:
        self._where = params.file
        path = self.verify(params, context)
        made = getattr(_module(path, params.file), params.class_, None)
        if not isinstance(made, type):
            raise BadInput(detail=f"{params.file}:1: expected a class {params.class_!r} in this file")
        missing = [verb for verb in _VERBS if not callable(getattr(made, verb, None))]
        if missing:
            raise BadInput(detail=f"{params.file}: class {params.class_!r} has no {', '.join(missing)}")
        self._step: Any = made(dict(params.params), context)

    @staticmethod
    def verify(params: Params, context: Context) -> Path:
        """The file's path, after all checks that do not run it.

        Raises:
            BadInput: the file is outside the folder, absent, no Python, or without such a class; with its line.
        """
        path = _inside(Path(context.folder), params.file)
        try:
            tree = ast.parse(path.read_bytes(), params.file)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            raise BadInput(detail=f"{params.file}:{line}: not valid Python: {error}") from error
        _look_for(params.class_, tree, params.file)
        return path

    def apply(self, rows: Rows) -> Rows:
        """What the user's step makes of the rows."""
        return self._rows(self._step.apply(rows), "apply")

    def tick(self, time: int) -> Rows:
        """What the user's step has to say about the time."""
        tick = getattr(self._step, "tick", None)
        return nothing() if tick is None else self._rows(tick(time), "tick")

    def counts(self) -> dict[str, int]:
        """The user's counters, if any."""
        counts = getattr(self._step, "counts", dict)
        return dict(counts())

    def state(self) -> dict[str, Any]:
        """The user's state."""
        state = self._step.state()
        if not isinstance(state, dict):
            raise BadInput(detail=f"{self._where}: state() must return a dict, got {type(state).__name__}")
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._step.load(state)

    def _rows(self, made: Any, verb: str) -> Rows:
        if not isinstance(made, Rows):
            raise BadInput(
                detail=f"{self._where}: {verb}() must return headrace.records.Rows, got {type(made).__name__}"
            )
        for name, values in made.columns.items():
            if len(values) != len(made):
                raise BadInput(
                    detail=f"{self._where}: {verb}() returned {len(values)} values of {name!r} for {len(made)} rows"
                )
        return made


def _inside(folder: Path, file: str) -> Path:
    """The file as an absolute path, links resolved."""
    home = folder.resolve()
    path = (home / file).resolve()
    if not path.is_relative_to(home):
        raise BadInput(detail=f"{file!r} lies outside the spec's folder {home}; put the file beside the spec")
    if not path.is_file():
        raise BadInput(detail=f"there is no file {file!r} in the spec's folder {home}")
    return path


def _look_for(name: str, tree: ast.Module, file: str) -> None:
    """That the file has the class, and the class its verbs (unless they may be inherited)."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        imported = any(
            isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.If | ast.Try) for node in tree.body
        )
        if classes or not imported:
            known = f"; there are: {', '.join(classes)}" if classes else ""
            raise BadInput(detail=f"{file}:1: expected a class {name!r} in this file{known}")
        return
    found = classes[name]
    missing = [verb for verb in _VERBS if verb not in _names(found)]
    if missing and not found.bases:
        raise BadInput(detail=f"{file}:{found.lineno}: class {name!r} has no {', '.join(missing)}")


def _names(found: ast.ClassDef) -> set[str]:
    functions = {node.name for node in found.body if isinstance(node, ast.FunctionDef)}
    targets = [target for node in found.body if isinstance(node, ast.Assign) for target in node.targets]
    return functions | {target.id for target in targets if isinstance(target, ast.Name)}


def _module(path: Path, file: str) -> ModuleType:
    name = "headrace_user_" + hashlib.sha256(bytes(path) + path.read_bytes()).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(detail=f"{file!r} is no Python file (expected a name that ends in .py)")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise BadInput(detail=f"{file}:{_line(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _line(error: Exception, path: Path) -> int:
    """The last line of this file on the way to the error."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
