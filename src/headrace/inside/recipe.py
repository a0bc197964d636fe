"""Unpacks a recipe's code archive, looks at its entry point and reads what it declares: ``headrace-recipe.yaml``.

``/work/request.json``: {"archive": path, "entry_point": "train.py", "bytes": n, "files": n, "keep": bool}. What is kept is in
``/work/output/code``. ``/work/output/answer.json``: {"problems": [sentence...], "parameters": {name: declaration} or null}.
"""

from __future__ import annotations

import ast
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.errors import BadArchive
from headrace.inside.place import WORK, led
from headrace.runners.archive import Bounds, unpack

REQUEST, ANSWER, CODE = WORK / "request.json", WORK / "output" / "answer.json", WORK / "output" / "code"
DECLARED = "headrace-recipe.yaml"
DECLARED_BYTES = 64 * 1024


def main() -> None:
    """One request, one answer."""
    request = json.loads(REQUEST.read_text())
    with tempfile.TemporaryDirectory() as private:
        code = CODE if request["keep"] else Path(private) / "code"
        code.mkdir()
        try:
            unpack(led(request["archive"]), code, Bounds(entries=request["files"], total=request["bytes"]))
            answer = look(code, request["entry_point"])
        except BadArchive as error:
            answer = {"problems": [str(error).removesuffix(".")], "parameters": None}
    ANSWER.write_text(json.dumps(answer))


def look(code: Path, entry_point: str) -> dict[str, Any]:
    """What is wrong with the entry point and the declaration, and what that declares."""
    problems = list(_entry_point(code, entry_point))
    file, declared = code / DECLARED, None
    if file.exists():
        try:
            declared = _declared(file)
        except ValueError as error:
            problems.append(f"{DECLARED}: {error}")
    return {"problems": problems, "parameters": declared}


def _entry_point(code: Path, name: str) -> Iterator[str]:
    file = code / name  # checked by the platform: it stays below
    if not file.is_file():
        there = sorted(str(path.relative_to(code)) for path in code.rglob("*.py"))[:20]
        yield f"entry_point: there is no {name!r} in the code archive; Python files in it: {', '.join(there) or 'none'}"
        return
    try:
        ast.parse(file.read_bytes(), name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield f"entry_point: {name}:{getattr(error, 'lineno', None) or 1}: not valid Python: {error}"


def _declared(file: Path) -> Any:
    import yaml

    if file.stat().st_size > DECLARED_BYTES:
        raise ValueError(f"it is over {DECLARED_BYTES} bytes")
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {error}") from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get("parameters"), dict):
        raise ValueError("expected `parameters:` with a name for each, e.g. `epochs: {type: int, default: 20}`")  # noqa: TRY004
    return loaded["parameters"]


def defaults(code: Path) -> dict[str, Any]:
    """The defaults that unpacked code declares; it was checked when it was registered."""
    file = code / DECLARED
    declared = _declared(file) if file.is_file() else {}
    return {name: one["default"] for name, one in declared.items() if isinstance(one, dict) and "default" in one}


if __name__ == "__main__":
    main()
