"""Unpacks a recipe's code archive, looks at its entry point and reads what it declares: ``headrace-recipe.yaml``.

``/work/request.json``: {"archive": path, "entry_point": "train.py", "bytes": n, "files": n, "keep": bool}. What is kept is in
``/work/output/code``. ``/work/output/answer.json``: {"problems": [sentence...], "parameters": {name: declaration} or null}.
"""

from __future__ import annotations

import ast
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

REQUEST, ANSWER, CODE = Path("/work/request.json"), Path("/work/output/answer.json"), Path("/work/output/code")
DECLARED = "headrace-recipe.yaml"
DECLARED_BYTES = 64 * 1024
PIECE = 2**20


class Unsafe(Exception):
    """The archive is refused."""


def main() -> None:
    """One request, one answer."""
    request = json.loads(REQUEST.read_text())
    with tempfile.TemporaryDirectory() as private:
        code = CODE if request["keep"] else Path(private) / "code"
        code.mkdir()
        try:
            unpack(Path(request["archive"]), code, request["bytes"], request["files"])
            answer = look(code, request["entry_point"])
        except Unsafe as refused:
            answer = {"problems": [f"the code archive is refused: {refused}"], "parameters": None}
    ANSWER.write_text(json.dumps(answer))


def unpack(archive: Path, code: Path, most_bytes: int, most_files: int) -> None:
    """Regular files of a zip or tar archive, below `code`."""
    left = most_bytes
    for number, (name, file) in enumerate(_members(archive)):
        if number >= most_files:
            raise Unsafe(f"it has more than {most_files} files")
        target = code / _inside(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with file, target.open("xb") as out:
                while piece := file.read(min(PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise Unsafe(f"it is over {most_bytes} bytes unpacked")
                    out.write(piece)
        except OSError as error:
            raise Unsafe(f"{name!r} cannot be written: {error.strerror}") from error


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    try:
        if zipfile.is_zipfile(archive):
            yield from _zip(archive)
        elif tarfile.is_tarfile(archive):
            yield from _tar(archive)
        else:
            raise Unsafe("it is neither a zip nor a tar archive")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Unsafe(f"it cannot be read: {error}") from error


def _zip(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = info.external_attr >> 28
            if kind not in {0, 0o4, 0o10}:
                raise Unsafe(f"{info.filename!r} is a link or a special file")
            if not info.is_dir():
                yield info.filename, file.open(info)


def _tar(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as file:
        for info in file:
            if not info.isdir() and not info.isreg():
                raise Unsafe(f"{info.name!r} is a link or a special file")
            if info.isreg() and (opened := file.extractfile(info)):
                yield info.name, opened


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise Unsafe(f"{name!r} points out of the archive")
    return path


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
    file = code / _inside(name)
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


if __name__ == "__main__":
    main()
