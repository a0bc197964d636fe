"""Series with known faults, as files: what `headrace analyse` has to see, or to refuse."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headrace.records import DAY, HOUR, MINUTE, Array

START = 1_700_006_400_000_000_000
"""2023-11-15T00:00Z, a Wednesday."""


def times(n: int, every: int = HOUR, start: int = START) -> NDArray[np.int64]:
    """Regular, ns."""
    return start + every * np.arange(n, dtype=np.int64)


def daily(time: NDArray[np.int64], noise: float = 0.3, seed: int = 0) -> Array:
    """A day between 8 and 12, with noise."""
    rng = np.random.default_rng(seed)
    return 10 + 2 * np.sin(2 * np.pi * (time % DAY) / DAY) + noise * rng.standard_normal(len(time))


def red(n: int, a: float = 0.9, seed: int = 0) -> Array:
    """An AR(1) process: noise that wanders, without any season or trend."""
    rng = np.random.default_rng(seed)
    values = np.zeros(n)
    for index, step in enumerate(rng.standard_normal(n)):
        values[index] = a * values[index - 1] + step
    return values


def sunny(days: int = 20, seed: int = 0) -> tuple[NDArray[np.int64], Array]:
    """A solar plant that sleeps from 18:00 to 06:00 UTC and sends nothing then, every 10 minutes."""
    time = times(days * 144, 10 * MINUTE)
    height = np.sin(((time % DAY) / DAY * 24 - 6) / 12 * np.pi)
    weather = np.random.default_rng(seed).uniform(0.4, 1, days)
    values = 20_000 * height * weather[(time - START) // DAY]
    return time[height >= 0], values[height >= 0]


def iso(time: NDArray[np.int64], end: str = "Z") -> list[str]:
    """As text."""
    return [f"{moment}{end}" for moment in time.astype("datetime64[ns]").astype("datetime64[s]")]


def csv(path: Path, columns: dict[str, Iterable[object]]) -> Path:
    """A file with these columns; NaN is an empty cell."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join("" if cell != cell else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")
    return path
