"""NumPy's npy and npz. Never with pickle: an array of objects is refused."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from headrace.errors import BadInput
from headrace.inside.figures import BLOCK, Array, describe
from headrace.inside.work import reason
from headrace.settings import InspectionSettings

HEADER = 2**16
"""Bytes of the longest header."""
MOST = 100
"""Arrays of an npz that are looked at."""
Open: TypeAlias = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Header:
    """What an npy file says it is."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int
    """Byte at which the values begin."""

    @property
    def values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def numeric(self) -> bool:
        """Whether figures can be made of it."""
        return self.dtype.kind in "biuf"


def look_npy(path: Path, limits: InspectionSettings) -> dict[str, Any]:
    """Samples run along the first axis. Raises BadInput."""
    header = _header(lambda: path.open("rb"), path.stat().st_size)
    about = _array(lambda: path.open("rb"), header, limits)
    samples, shape = _sample(header)
    return {"samples": samples, "sample_shape": shape, "statistics": about}


def look_npz(path: Path, limits: InspectionSettings) -> dict[str, Any]:
    """Samples, if all arrays agree on how many; the shape of one in the largest of them. Raises BadInput."""
    arrays: dict[str, Header] = {}
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            for info in infos[:MOST]:
                name = info.filename.removesuffix(".npy")
                opened: Open = lambda info=info: archive.open(info)  # type: ignore[misc]  # noqa: E731
                arrays[name] = _header(opened, info.file_size)
                found[name] = _array(opened, arrays[name], _left(limits, found))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadInput(detail=f"the npz is damaged or cut off: {reason(error)}") from error
    statistics: dict[str, Any] = {"arrays": found}
    if len(infos) > MOST:
        statistics["note"] = f"the first {MOST} of {len(infos):,} arrays"
    counts = {header.shape[0] for header in arrays.values() if header.shape}
    if len(counts) != 1:
        return {"samples": None, "sample_shape": None, "statistics": statistics}
    largest = max(arrays.values(), key=lambda header: header.values)
    return {"samples": counts.pop(), "sample_shape": list(largest.shape[1:]), "statistics": statistics}


def headers(path: Path) -> dict[str, Header]:
    """Of an npy file, or of the first `MOST` arrays of an npz: no value is read. Raises BadInput."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return {"": _header(lambda: path.open("rb"), path.stat().st_size)}
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()][:MOST]
        return {
            info.filename.removesuffix(".npy"): _header(lambda info=info: archive.open(info), info.file_size)  # type: ignore[misc]
            for info in infos
        }


def _left(limits: InspectionSettings, found: dict[str, Any]) -> InspectionSettings:
    """The arrays share the bounds of one table."""
    columns = sum(len(one.get("features", [])) for one in found.values())
    matrix = sum(len(one["matrix"]["columns"]) for one in found.values() if "matrix" in one)
    return dataclasses.replace(limits, columns=max(1, limits.columns - columns), matrix=max(1, limits.matrix - matrix))


def _sample(header: Header) -> tuple[int, list[int]]:
    return (header.shape[0], list(header.shape[1:])) if header.shape else (1, [])


def _header(opened: Open, size: int) -> Header:
    """Raises BadInput: no npy, an array of objects, or not the bytes its header promises."""
    with opened() as file:
        try:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in readers:
                raise BadInput(detail=f"it is npy version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
            _check_length(file, 2 * version[0])
            shape, fortran, dtype = readers[version](file)
        except (ValueError, EOFError, SyntaxError, TypeError) as error:
            raise BadInput(detail=f"its npy header cannot be read: {reason(error)}") from error
        header = Header(tuple(shape), fortran, dtype, file.tell())
    if dtype.hasobject:
        raise BadInput(detail="it holds Python objects, which only unpickling would read: save plain numbers")
    if min(header.shape, default=0) < 0:
        raise BadInput(detail=f"its npy header names a negative shape {header.shape}")
    wanted, there = header.values * dtype.itemsize, size - header.start
    if there < wanted:
        raise BadInput(detail=f"its header promises {wanted:,} bytes of values and {there:,} are there: it was cut off")
    return header


def _check_length(file: IO[bytes], size: int) -> None:
    """Refuse a header no array needs; the file stands where it stood."""
    length = int.from_bytes(file.read(size), "little")
    if length > HEADER:
        raise BadInput(detail=f"it has an npy header of {length:,} bytes; {HEADER:,} are the most")
    file.seek(-size, 1)


def _array(opened: Open, header: Header, limits: InspectionSettings) -> dict[str, Any]:
    """Figures of one array: of every feature if the last axis is short, else of all values together."""
    about: dict[str, Any] = {"shape": list(header.shape), "type": header.dtype.name}
    if not header.numeric:
        return about | {"note": f"no figures of values of type {header.dtype.name}"}
    width = header.shape[-1] if len(header.shape) > 1 else 1
    features = width if 0 < width <= limits.columns and not (header.fortran and width > 1) else 1
    if header.fortran and 1 < width <= limits.columns and header.values <= BLOCK:
        return about | _figures(lambda: iter([_whole(opened, header)]), width, limits)
    if header.fortran and 1 < width <= limits.columns:
        about["note"] = "figures of all values together: it is stored column by column"
    return about | _figures(lambda: _blocks(opened, header, features), features, limits)


def _figures(blocks: Callable[[], Iterator[Array]], features: int, limits: InspectionSettings) -> dict[str, Any]:
    figures, matrices, _ = describe(blocks, features, limits.matrix)
    if features == 1:
        return {"values": figures[0]}
    found: dict[str, Any] = {"features": figures}
    if matrices is not None:
        found["matrix"] = {"columns": list(range(min(features, limits.matrix))), **matrices}
    return found


def _whole(opened: Open, header: Header) -> Array:
    """A small array that is stored column by column, as (anything, last axis)."""
    with opened() as file:
        file.read(header.start)
        values = np.frombuffer(_read(file, header.values * header.dtype.itemsize), header.dtype)
    return values.reshape(header.shape, order="F").astype(np.float64).reshape(-1, header.shape[-1])


def _blocks(opened: Open, header: Header, features: int) -> Iterator[Array]:
    """All values in the order of the file as (rows, features), piece by piece."""
    rows = max(1, BLOCK // features) * features
    with opened() as file:
        file.read(header.start)
        for first in range(0, header.values, rows):
            count = min(rows, header.values - first)
            raw = np.frombuffer(_read(file, count * header.dtype.itemsize), header.dtype)
            yield raw.astype(np.float64).reshape(-1, features)


def _read(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BadInput(detail="it ends before its header says so")
    return data
