"""Tensors in safetensors and in PyTorch's checkpoints: names, types and shapes. No value is read, and no code runs."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headrace.errors import BadInput
from headrace.inside.found import Found, tensors
from headrace.settings import InspectionSettings

HEADER = 100 * 10**6
"""Bytes of a safetensors header, at most, as its format says."""
_NESTED = 20
_SAVED_BY = {"pt": "pytorch", "tf": "tensorflow", "flax": "jax", "np": "numpy"}
_COUNTERS = {"long", "int", "bool"}
"""Types of buffers that count and mark; nothing was trained in them."""
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How ``torch.save`` began before PyTorch 1.6: several pickles in one file."""


def safetensors(path: Path, limits: InspectionSettings) -> Found:
    """The header of a safetensors file. Raises BadInput."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(HEADER, size - 8, limits.file_bytes):
            raise BadInput(
                detail=f"its safetensors header promises {length:,} bytes; the file has {size - 8:,} after it"
            )
        header = json.loads(file.read(length))
    about = header.pop("__metadata__", {})
    named = [(name, str(one["dtype"]), [int(axis) for axis in one["shape"]]) for name, one in header.items()]
    end = max((int(one["data_offsets"][1]) for one in header.values()), default=0)
    if end > size - 8 - length:
        raise BadInput(detail=f"its header promises {end:,} bytes of tensors and {size - 8 - length:,} are there")
    total, listed = tensors(named)
    framework = _SAVED_BY.get(about.get("format"), "safetensors")
    return Found(framework, None, None, total, {"format": "safetensors", **listed, "said": str(about)[:2000]})


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether it begins as one."""
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(HEADER, size)


@dataclass(frozen=True)
class _Tensor:
    kind: str
    shape: tuple[int, ...]


class _Stub:
    """Stands for every class but tensors: takes what it is given and does nothing with it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *_: Any, **__: Any) -> _Stub:
        return _Stub()

    def append(self, *_: Any) -> None:
        """As a list."""

    def extend(self, *_: Any) -> None:
        """As a list."""

    def __setitem__(self, *_: Any) -> None:
        """As a mapping."""


def _rebuild(storage: Any, _offset: Any = 0, shape: Any = (), *_: Any) -> _Tensor:
    return _Tensor(str(storage), tuple(int(axis) for axis in shape))


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Shapes(pickle.Unpickler):
    """Reads a checkpoint's pickle without importing anything: whatever it names is a stub."""

    def find_class(self, module: str, name: str) -> Any:
        """No class is looked up."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return _parameter
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return _rebuild
        if module == "torch" and name.endswith("Storage"):
            return name.removesuffix("Storage").lower()
        return type(name, (_Stub,), {})

    def persistent_load(self, pid: Any) -> Any:
        """A storage: its type is all that is wanted of it."""
        return pid[1] if isinstance(pid, tuple) and len(pid) > 1 and isinstance(pid[1], str) else "unknown"


def torch_archive(archive: zipfile.ZipFile, limits: InspectionSettings) -> Found:
    """A checkpoint of ``torch.save`` or a TorchScript archive. Raises BadInput."""
    names = archive.namelist()
    place = next(name for name in names if name.endswith("data.pkl"))
    script = any("/code/" in name or name.endswith("constants.pkl") for name in names)
    if archive.getinfo(place).file_size > limits.file_bytes:
        raise BadInput(detail=f"its data.pkl is over {limits.file_bytes:,} bytes")
    with archive.open(place) as file:
        whole = _read(file)
    total, listed = tensors(one for one in _walk(whole, "", 0) if one[1] not in _COUNTERS)
    stored = sum(info.file_size for info in archive.infolist() if "/data/" in info.filename)
    form = "torchscript" if script else "pytorch checkpoint"
    return Found("pytorch", None, None, total, {"format": form, "stored_bytes": stored, **listed})


def _read(file: IO[bytes]) -> Any:
    try:
        return _Shapes(file, encoding="utf-8").load()
    except MemoryError:
        raise
    except Exception as error:
        raise BadInput(detail=f"its data.pkl cannot be read: {type(error).__name__}") from error


def _walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Every tensor in dictionaries, lists and objects; those of an optimizer are no part of the model."""
    if isinstance(value, _Tensor):
        yield name, value.kind, value.shape
    elif depth < _NESTED and isinstance(value, Mapping):
        for key, one in value.items():
            if not str(key).startswith("optim"):
                yield from _walk(one, f"{name}.{key}" if name else str(key), depth + 1)
    elif depth < _NESTED and isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _walk(one, f"{name}.{place}" if name else str(place), depth + 1)
    elif depth < _NESTED and isinstance(value, _Stub):
        yield from _walk(value.state, name, depth + 1)
