"""How far the arrays of two runs are apart: ``python -m headrace.inside.closeness``, inside the sandbox.

``/work/request.json``: {"files": [path...]}, each below ``/work/recorded`` and ``/work/made``.
``/work/output/answer.json``: {"worst": largest difference of a value, as a part of the largest recorded one in its array; null:
they cannot be compared so (other shapes, a format without arrays)}.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.inside.place import led
from headrace.models.backends import parent

Arrays = dict[str, NDArray[Any]]


def main() -> None:
    """One request, one answer."""
    request = json.loads(led("/work/request.json").read_text(encoding="utf-8"))
    recorded, made = led("/work/recorded"), led("/work/made")
    worst: float | None = 0.0
    for name in request["files"]:
        found = apart(recorded / name, made / name)
        worst = None if worst is None or found is None else max(worst, found)
    led("/work/output/answer.json").write_text(json.dumps({"worst": worst}), encoding="utf-8")


def apart(recorded: Path, made: Path) -> float | None:
    """Of two files; None: they cannot be compared."""
    try:
        one, other = arrays(recorded), arrays(made)
    except (BadInput, ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if one.keys() != other.keys():
        return None
    found = [_apart(one[name], other[name]) for name in one]
    return None if None in found else max((value for value in found if value is not None), default=0.0)


def arrays(path: Path) -> Arrays:
    """What a file of arrays holds. Raises BadInput, ValueError: it is none, or has objects in it."""
    if path.suffix == ".safetensors":
        return parent.read(path.read_bytes())
    if path.suffix == ".npy":
        return {"": np.load(path, allow_pickle=False)}
    if path.suffix == ".npz":
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    raise BadInput(detail=f"{path.name} is no file of arrays")


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Of two arrays. Infinite values and none have to stand at the same places."""
    if one.shape != other.shape or one.dtype != other.dtype or one.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(one, other) else None
    first, second = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(first)
    if not np.array_equal(first[~finite], second[~finite], equal_nan=True) or not np.isfinite(second[finite]).all():
        return None
    scale = float(np.abs(first[finite]).max(initial=0.0)) or 1.0
    return float(np.abs(first[finite] - second[finite]).max(initial=0.0)) / scale


if __name__ == "__main__":
    main()
