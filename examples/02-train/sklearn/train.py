"""A multi-layer perceptron of scikit-learn; its weights leave as plain arrays (npz): nobody needs pickle to read them."""

import os
from pathlib import Path

import numpy as np

from series import MODE, OUTPUT, PARAMETERS, Scale, answer, asked, cut, progress, tell, windows


def train(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(PARAMETERS["hidden"],), random_state=int(os.environ["SEED"]))
    for epoch in range(PARAMETERS["epochs"]):
        model.partial_fit(x, y)
        progress(epoch + 1, "loss", model.loss_)
    layers = zip(model.coefs_, model.intercepts_, strict=True)
    return {f"{what}{n}": value for n, layer in enumerate(layers) for what, value in zip("wb", layer, strict=True)}


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """What the arrays mean: a layer with ReLU, then one without."""
    return np.maximum(x @ weights["w0"] + weights["b0"], 0) @ weights["w1"] + weights["b1"]


def error(weights: dict[str, np.ndarray], scale: Scale, x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error, scaled."""
    return float(np.mean((predict(weights, scale(x)) - scale(y)) ** 2))


def headrace_model(folder: Path, parameters: dict) -> object:
    """What `headrace translate` writes as ONNX: the network in the column's own unit, its scale in its first and last layer."""
    from sklearn.neural_network import MLPRegressor

    weights, scale = dict(np.load(folder / "model.npz", allow_pickle=False)), Scale.load()
    model = MLPRegressor(hidden_layer_sizes=(parameters["hidden"],))
    model.partial_fit(np.zeros((1, parameters["history"])), np.zeros((1, parameters["horizon"])))  # to have its shape
    first, last = weights["w0"] / scale.span, weights["w1"] * scale.span
    model.coefs_ = [first, last]
    model.intercepts_ = [weights["b0"] - scale.low * first.sum(axis=0), weights["b1"] * scale.span + scale.low]
    return model


def headrace_inputs(files: list[str], parameters: dict) -> np.ndarray:
    """What it compares the answers on: windows of the datasets."""
    return cut(files)[0]


if __name__ == "__main__":
    metrics = {}
    if MODE == "train":
        x, y = windows("HEADRACE_DATA")
        scale = Scale.of(x, y)
        scale.save()
        weights = train(scale(x), scale(y))
        np.savez(OUTPUT / "model.npz", **weights)
        metrics["train_mse"] = error(weights, scale, x, y)
    else:
        scale = Scale.load()
        weights = dict(np.load(Path(os.environ["HEADRACE_MODEL"], "model.npz"), allow_pickle=False))
    if MODE == "predict":
        answer(scale.inverse(predict(weights, scale(asked()))))
    else:
        if os.environ["HEADRACE_EVALUATION"]:
            metrics["mse"] = error(weights, scale, *windows("HEADRACE_EVALUATION"))
        tell(metrics)
