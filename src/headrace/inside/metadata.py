"""What a model file is: framework, shapes, number of parameters, as far as its format tells. Nothing of it is run.

``python -m headrace.inside.metadata``: reads a request, looks into the file or folder, writes an answer (see `work.py`).
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headrace.errors import BadInput
from headrace.inside import arrays, boosters, graphs, pickles, weights, work
from headrace.inside.found import Found, tensors
from headrace.inside.media import NPY
from headrace.settings import InspectionSettings

HEAD = 4096
SEVERAL = 50
"""Files of a folder or archive that are looked at."""
_READERS: tuple[tuple[Callable[[bytes, int], bool], Callable[[Path, InspectionSettings], Found]], ...] = (
    (lambda head, _: head.startswith(NPY), lambda path, limits: _arrays(path, limits)),
    (lambda head, _: head.startswith(b"\x89HDF\r\n\x1a\n"), graphs.keras_h5),
    (weights.is_safetensors, weights.safetensors),
    (lambda head, _: graphs.is_onnx(head), graphs.onnx),
    (lambda head, _: pickles.is_pickle(head), pickles.look),
    (lambda head, _: boosters.is_ubj(head), boosters.tree_ubj),
    (lambda head, _: head.lstrip()[:1] == b"{", boosters.tree_json),
    (lambda head, _: head.startswith(b"tree\nversion="), boosters.lightgbm),
)
"""(whether a file beginning with these bytes, of this size, is one; what reads it), the surest first."""


def inspect(path: Path, media: str, limits: InspectionSettings) -> dict[str, Any]:
    """``framework`` ("": not known), ``input_shape``, ``output_shape``, ``parameters``, ``metadata``.

    Args:
        path: one file, or a folder with the files of one model.
        media: the file's name. Models are known by their content; but one called safetensors that is none is damaged.

    Raises:
        BadInput: damaged, or over a bound.
    """
    return (_folder(path, limits) if path.is_dir() else _as_named(media, _file(path, limits))).answer()


def _as_named(name: str, found: Found) -> Found:
    """What was found in a file of that name. Raises BadInput."""
    if name.lower().endswith(".safetensors") and not found.framework:
        raise BadInput(detail="it is called .safetensors and does not begin with a header of one: damaged or cut off")
    return found


def _arrays(path: Path, _: InspectionSettings) -> Found:
    """Weights as plain arrays; those of whole numbers count and mark, and nothing was trained in them."""
    named = [(name, one.dtype.name, one.shape) for name, one in arrays.headers(path).items() if one.numeric]
    total, _listed = tensors(one for one in named if one[1].startswith("float"))
    return Found("numpy", None, None, total or None, {"format": "arrays", **tensors(named)[1]})


def _file(path: Path, limits: InspectionSettings, *, archives: bool = True) -> Found:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, limits) if archives else Found()
    if head.startswith(weights.LEGACY):
        return Found("pytorch", metadata={"format": "pytorch checkpoint of before 1.6: not looked into"})
    reader = next((read for fits, read in _READERS if fits(head, size)), None)
    return reader(path, limits) if reader else boosters.vowpal_wabbit(head) or Found()


def _zip(path: Path, limits: InspectionSettings) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
                return weights.torch_archive(archive, limits)
            if {"config.json", "model.weights.h5"} <= names:
                return graphs.keras_archive(archive, limits)
            if any(name.rpartition("/")[2] == "saved_model.pb" for name in names):
                return graphs.saved_model({info.filename: info.file_size for info in archive.infolist()})
            if names and all(name.endswith(".npy") for name in names):
                return _arrays(path, limits)
            with tempfile.TemporaryDirectory() as folder:
                return _several(_unzipped(archive, Path(folder) / "member", limits), limits)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadInput(detail=f"the archive is damaged or cut off: {work.reason(error)}") from error


def _unzipped(archive: zipfile.ZipFile, place: Path, limits: InspectionSettings) -> Iterator[tuple[str, Path]]:
    """(name, file) of each member that is not too large; the file is the same every time, never the member's name."""
    for info in archive.infolist()[:SEVERAL]:
        if not info.is_dir() and info.file_size <= limits.file_bytes:
            with archive.open(info) as file:
                place.write_bytes(file.read(limits.file_bytes))
            yield info.filename, place


def _folder(path: Path, limits: InspectionSettings) -> Found:
    every = sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
    names = {str(one.relative_to(path)): one for one in every}
    if any(one.name == "saved_model.pb" for one in every):
        return graphs.saved_model({name: one.stat().st_size for name, one in names.items()})
    return _several(iter(list(names.items())[:SEVERAL]), limits)


def _several(files: Iterator[tuple[str, Path]], limits: InspectionSettings) -> Found:
    """What the file with most parameters says, and of every other one its framework or why it cannot be read."""
    best = Found()
    about: dict[str, Any] = {}
    for name, file in files:
        try:
            found = _as_named(name, _file(file, limits, archives=file.name != "member"))
        except MemoryError:
            raise
        except (BadInput, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            about[name] = {"error": str(error) if isinstance(error, BadInput) else work.reason(error)}
            continue
        about[name] = {"framework": found.framework, "parameters": found.parameters}
        if bool(found.framework) > bool(best.framework) or (found.parameters or 0) > (best.parameters or 0):
            best = found
    bad = [f"{name}: {one['error']}" for name, one in about.items() if "error" in one]
    unreadable = {"unreadable": "; ".join(bad)[:2000]} if bad else {}
    best.metadata = {**best.metadata, **unreadable, "files": about}
    return best


if __name__ == "__main__":
    work.main(inspect)
