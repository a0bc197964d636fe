"""A user's own Python file beside the spec: found, checked without running it, and loaded."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace.errors import BadInput


def verify(folder: str, file: str, name: str, verbs: Sequence[str]) -> Path:
    """The file's path, after all checks that do not run it.

    Args:
        verbs: methods the class must have.

    Raises:
        BadInput: the file is outside the folder, absent, no Python, or without such a class; with its line.
    """
    path = _inside(Path(folder), file)
    try:
        tree = ast.parse(path.read_bytes(), file)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BadInput(detail=f"{file}:{line}: not valid Python: {error}") from error
    _look_for(name, tree, file, verbs)
    return path


def load(path: Path, file: str, name: str, verbs: Sequence[str]) -> type[Any]:
    """The class, with the file executed. Raises BadInput, with the line at fault."""
    made = getattr(_module(path, file), name, None)
    if not isinstance(made, type):
        raise BadInput(detail=f"{file}:1: expected a class {name!r} in this file")
    missing = [verb for verb in verbs if not callable(getattr(made, verb, None))]
    if missing:
        raise BadInput(detail=f"{file}: class {name!r} has no {', '.join(missing)}")
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


def _look_for(name: str, tree: ast.Module, file: str, verbs: Sequence[str]) -> None:
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
    missing = [verb for verb in verbs if verb not in _names(found)]
    if missing and not found.bases:
        raise BadInput(detail=f"{file}:{found.lineno}: class {name!r} has no {', '.join(missing)}")


def line_of(path: Path, name: str, verb: str) -> int:
    """The line where a class of the file defines a method; 1 if it does not."""
    classes = [
        node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef) and node.name == name
    ]
    functions = [
        node for found in classes for node in found.body if isinstance(node, ast.FunctionDef) and node.name == verb
    ]
    return functions[0].lineno if functions else 1


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
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        del sys.modules[name]
        raise BadInput(detail=f"{file}:{line(error, path)}: {type(error).__name__}: {error}") from error
    return module


def line(error: BaseException, path: Path) -> int:
    """The last line of this file on the way to the error."""
    found, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
