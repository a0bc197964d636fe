"""What a model and its translation are both asked: recorded inputs, edge cases, inputs made at random. The same every time."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.models.translators import Given

Group: TypeAlias = Literal["real", "edge", "made"]
Bound: TypeAlias = "float | NDArray[np.float64]"
"""Of all values of an input, or of each of its features."""
REAL, MADE = 64, 32
"""Most inputs of a group, beside one that is asked alone."""
BYTES = 2**26
"""Most bytes of one group's inputs."""
ROWS = 100_000
"""Rows of a CSV file that are read."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs that are asked at once."""

    group: Group
    inputs: list[NDArray[np.generic]]
    """One array per input, (n, *shape)."""
    may_fail: bool = False
    """An edge case the original itself may refuse."""


def batches(given: Sequence[Given], real: Sequence[NDArray[np.generic]] | None) -> Iterator[Batch]:
    """All of them: of each group one input alone and then many at once, for a batch has any size.

    Args:
        real: recorded samples, one array per input.
    """
    if real is not None:
        yield from _split("real", [_spread(one, _count(given, REAL) + 1) for one in real])
    ranges = [_range(one, None if real is None else real[place]) for place, one in enumerate(given)]
    for kind in range(5):
        edge = [_edge(kind, one, low, high) for one, (low, high) in zip(given, ranges, strict=True)]
        if all(one is not None for one in edge):
            yield Batch("edge", [one for one in edge if one is not None], may_fail=True)
    random = np.random.default_rng(0)
    count = _count(given, MADE) + 1
    made = [
        _random(random, count, one, None if real is None and one.span is None else span)
        for one, span in zip(given, ranges, strict=True)
    ]
    yield from _split("made", made)


def _split(group: Group, arrays: list[NDArray[np.generic]]) -> Iterator[Batch]:
    yield Batch(group, [one[:1] for one in arrays])
    if len(arrays[0]) > 1:
        yield Batch(group, [one[1:] for one in arrays])


def _count(given: Sequence[Given], most: int) -> int:
    size = sum(int(np.prod(one.shape, dtype=np.int64)) * np.dtype(one.dtype).itemsize for one in given)
    return int(max(2, min(most, BYTES // max(size, 1))))


def _spread(samples: NDArray[np.generic], most: int) -> NDArray[np.generic]:
    """At most so many, from the first to the last."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int))
    return np.ascontiguousarray(samples[places])


def _range(given: Given, seen: NDArray[np.generic] | None) -> tuple[Bound, Bound]:
    """Smallest and largest finite value seen; else what the model says of each feature; else usual ones."""
    if seen is not None:
        finite = seen[np.isfinite(seen)]
        if finite.size:
            return float(finite.min()), float(finite.max())
    if given.span is not None:
        return np.array(given.span[0]), np.array(given.span[1])
    return (-8.0, 8.0) if np.dtype(given.dtype).kind == "f" else (0.0, 1.0)


def _edge(kind: int, given: Given, low: Bound, high: Bound) -> NDArray[np.generic] | None:
    """Zeros, ones, smallest, largest, subnormal; None where whole numbers have no such value, or none was seen."""
    dtype = np.dtype(given.dtype)
    number = dtype.kind == "f"
    small = float(np.finfo(dtype).tiny) / 16 if number else None
    value = (0.0, 1.0, low, high, small)[kind]
    if value is None or (not number and not np.all((low <= value) & (value <= high))):
        return None
    return np.full((1, *given.shape), value, dtype)


def _random(
    random: np.random.Generator, count: int, given: Given, span: tuple[Bound, Bound] | None
) -> NDArray[np.generic]:
    shape, dtype = (count, *given.shape), np.dtype(given.dtype)
    low, high = span or (0.0, 1.0)
    if dtype.kind != "f":
        return random.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
    values = random.normal(size=shape) if span is None else random.uniform(low, high, shape)
    return values.astype(dtype)


def fitting(files: Sequence[str], given: Sequence[Given]) -> list[NDArray[np.generic]] | None:
    """Samples of the first file whose arrays or columns are just what a model of one input takes; None: none is.

    npy and npz: an array (n, *shape). CSV: the columns of its features' names, where the model knows them; else as many columns
    of numbers as a vector has.
    """
    if len(given) != 1:
        return None
    for name in files:
        with contextlib.suppress(OSError, ValueError, EOFError):  # not what its name says
            for array in _arrays(Path(name), given[0].names):
                if array.ndim > 0 and array.shape[1:] == given[0].shape and len(array) and array.dtype.kind in "fiub":
                    return [array.astype(given[0].dtype)]
    return None


def _arrays(path: Path, columns: Sequence[str]) -> Iterator[NDArray[np.generic]]:
    """Raises OSError, ValueError."""
    if path.suffix == ".npy":
        yield np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                yield archive[name]
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = list(islice(csv.reader(file), ROWS))
        named = [head.index(name) for name in columns if name in head]
        places = named if len(named) == len(columns) > 0 else range(len(head))
        if any(len(row) != len(head) for row in rows):
            return
        yield np.array([[float(row[place]) for place in places] for row in rows])
