"""A column of CSV files as windows, and its scale: numpy only."""

import csv
import json
import os
from pathlib import Path

import numpy as np

OUTPUT = Path(os.environ["HEADRACE_OUTPUT"])
PARAMETERS = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
MODE = os.environ["HEADRACE_MODE"]
"""train, evaluate (metrics of a trained model on other data), predict (its forecasts for given windows), translate (to ONNX)"""


def read(path: str) -> np.ndarray:
    """The column as numbers, NaN where there is none."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    name = PARAMETERS["column"]
    if not rows or name not in rows[0]:
        names = ", ".join(rows[0]) if rows else "no rows"
        raise SystemExit(
            f"there is no column {name!r} in {Path(path).name} ({names}); choose one with --set column=NAME"
        )
    return np.array([float(row[name] or "nan") for row in rows])


def windows(variable: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, history) inputs and (n, horizon) targets of all files a variable names, without those that have gaps."""
    if not os.environ[variable]:
        raise SystemExit(f"{variable} is empty: this recipe needs a dataset, as in --data ds_...")
    return cut(os.environ[variable].split(":"))


def cut(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The same of files."""
    history, horizon = PARAMETERS["history"], PARAMETERS["horizon"]
    series = [read(path) for path in paths]
    short = [len(one) for one in series if len(one) < history + horizon]
    if short:
        raise SystemExit(f"a dataset has {short[0]} rows; {history + horizon} are needed for one window")
    whole = np.concatenate([np.lib.stride_tricks.sliding_window_view(one, history + horizon) for one in series])
    whole = whole[np.isfinite(whole).all(axis=1)]
    return whole[:, :history], whole[:, history:]


class Scale:
    """The training data to 0..1. It is a file of the model: what was trained with it has to be asked with it."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.span = low, max(high - low, 1e-12)

    @classmethod
    def of(cls, *values: np.ndarray) -> "Scale":
        return cls(float(min(map(np.min, values))), float(max(map(np.max, values))))

    @classmethod
    def load(cls) -> "Scale":
        return cls(**json.loads(Path(os.environ["HEADRACE_MODEL"], "scale.json").read_text()))

    def save(self) -> None:
        OUTPUT.joinpath("scale.json").write_text(json.dumps({"low": self.low, "high": self.low + self.span}))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (values - self.low) / self.span

    def inverse(self, values: np.ndarray) -> np.ndarray:
        return values * self.span + self.low


def asked() -> np.ndarray:
    """(n, history) windows somebody wants forecasts for, in the column's own unit."""
    x = np.load(os.environ["HEADRACE_DATA"], allow_pickle=False)["x"]
    history = PARAMETERS["history"]
    if x.shape[1] < history:
        raise SystemExit(
            f"windows of {x.shape[1]} steps are too short, {history} are needed: choose --history {history}"
        )
    return x[:, -history:]


def answer(forecasts: np.ndarray) -> None:
    """(n, horizon), in the column's own unit."""
    np.save(OUTPUT / "predictions.npy", forecasts)


def progress(epoch: int, what: str, value: float) -> None:
    """The line that moves the bar."""
    print(f"::progress {epoch / PARAMETERS['epochs']:.3f} epoch {epoch}: {what} {value:.5f}", flush=True)


def tell(metrics: dict) -> None:
    """What is written down with the model."""
    OUTPUT.joinpath("metrics.json").write_text(json.dumps(metrics))
