"""A multi-layer perceptron of scikit-learn; its weights leave as plain arrays (npz): nobody needs pickle to read them."""

import os
from pathlib import Path

import numpy as np

from series import MODE, OUTPUT, PARAMETERS, Scale, answer, asked, progress, tell, windows


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
