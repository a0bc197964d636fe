"""A column of CSV files as windows: numpy only."""

import csv

import numpy as np


def read(path: str, column: str) -> np.ndarray:
    """The column as numbers, NaN where there is none."""
    with open(path, newline="") as file:
        return np.array([float(row[column] or "nan") for row in csv.DictReader(file)])


def windows(series: list[np.ndarray], history: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, history) inputs and (n, horizon) targets, without those that have gaps; scaled to 0..1 by all of the series."""
    low, high = min(map(np.nanmin, series)), max(map(np.nanmax, series))
    cut = [np.lib.stride_tricks.sliding_window_view(one, history + horizon) for one in series]
    whole = (np.concatenate(cut) - low) / max(high - low, 1e-12)
    whole = whole[np.isfinite(whole).all(axis=1)]
    return whole[:, :history], whole[:, history:]
