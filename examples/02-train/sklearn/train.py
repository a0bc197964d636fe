"""A multi-layer perceptron of scikit-learn; its weights leave as plain arrays (npz): nobody needs pickle to read them."""

import json
import os
from pathlib import Path

import numpy as np

from series import read, windows

OUTPUT = Path(os.environ["HEADRACE_OUTPUT"])
PARAMETERS = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())


def data(variable: str) -> tuple[np.ndarray, np.ndarray]:
    values = [read(path, PARAMETERS["column"]) for path in os.environ[variable].split(":")]
    return windows(values, PARAMETERS["history"], PARAMETERS["horizon"])


def train() -> dict[str, np.ndarray]:
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(PARAMETERS["hidden"],), random_state=int(os.environ["SEED"]))
    x, y = data("HEADRACE_DATA")
    for epoch in range(PARAMETERS["epochs"]):
        model.partial_fit(x, y)
        print(
            f"::progress {(epoch + 1) / PARAMETERS['epochs']:.3f} epoch {epoch + 1}: loss {model.loss_:.5f}", flush=True
        )
    layers = zip(model.coefs_, model.intercepts_, strict=True)
    return {f"{what}{n}": value for n, layer in enumerate(layers) for what, value in zip("wb", layer, strict=True)}


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """What the arrays mean: a layer with ReLU, then one without."""
    return np.maximum(x @ weights["w0"] + weights["b0"], 0) @ weights["w1"] + weights["b1"]


if __name__ == "__main__":
    metrics = {}
    if os.environ["HEADRACE_MODE"] == "evaluate":
        weights = dict(np.load(Path(os.environ["HEADRACE_MODEL"], "model.npz"), allow_pickle=False))
    else:
        weights = train()
        np.savez(OUTPUT / "model.npz", **weights)
        x, y = data("HEADRACE_DATA")
        metrics["train_mse"] = float(np.mean((predict(weights, x) - y) ** 2))
    if os.environ["HEADRACE_EVALUATION"]:
        x, y = data("HEADRACE_EVALUATION")
        metrics["mse"] = float(np.mean((predict(weights, x) - y) ** 2))
    OUTPUT.joinpath("metrics.json").write_text(json.dumps(metrics))
