"""A GRU that forecasts the next rows of a column from the last ones; goes on from a parent's weights if there is a parent."""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

from series import MODE, OUTPUT, PARAMETERS, Scale, answer, asked, cut, progress, tell, windows


class Forecaster(torch.nn.Module):
    """(n, history) -> (n, horizon)"""

    def __init__(self) -> None:
        super().__init__()
        hidden = PARAMETERS["hidden"]
        self.recurrent = torch.nn.GRU(1, hidden, batch_first=True)
        self.dense = torch.nn.Linear(hidden, hidden)
        self.output = torch.nn.Linear(hidden, PARAMETERS["horizon"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = self.recurrent(x.unsqueeze(-1))[0][:, -1]
        return self.output(torch.relu(self.dense(last)))


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def start() -> Forecaster:
    """Seeded weights, or what is there already: a parent's, or (to evaluate and predict) the trained model's."""
    torch.manual_seed(int(os.environ["SEED"]))
    torch.use_deterministic_algorithms(True)
    model = Forecaster()
    folder = os.environ.get("HEADRACE_MODEL") or os.environ.get("HEADRACE_PARENT")
    if folder:
        model.load_state_dict(load(Path(folder, "model.safetensors").read_bytes()))
    return model


def error(model: Forecaster, scale: Scale, x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error, scaled."""
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(model(tensor(scale(x))), tensor(scale(y))))


def train(model: Forecaster) -> tuple[Scale, dict[str, float | str]]:
    past, future = windows("HEADRACE_DATA")
    scale = Scale.of(past, future)
    scale.save()
    x, y = tensor(scale(past)), tensor(scale(future))
    metrics: dict[str, float | str] = {"initial_weights": hashlib.sha256(save(model.state_dict())).hexdigest()}
    optimiser = torch.optim.Adam(model.parameters(), lr=PARAMETERS["rate"], betas=(0.9, 0.99))
    for epoch in range(PARAMETERS["epochs"]):
        for batch in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
            optimiser.step()
        metrics["train_mse"] = error(model, scale, past, future)
        metrics.setdefault("train_mse_after_1", metrics["train_mse"])
        progress(epoch + 1, "mse", metrics["train_mse"])
    OUTPUT.joinpath("model.safetensors").write_bytes(save(model.state_dict()))
    return scale, metrics


class InUnits(torch.nn.Module):
    """The forecaster in the column's own unit: what a runtime is given that reads no scale.json."""

    def __init__(self, forecaster: Forecaster, scale: Scale) -> None:
        super().__init__()
        self.forecaster, self.scale = forecaster, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale.inverse(self.forecaster(self.scale(x)))


def headrace_model(folder: Path, parameters: dict) -> torch.nn.Module:
    """What `headrace translate` writes as ONNX."""
    return InUnits(start(), Scale.load())


def headrace_inputs(files: list[str], parameters: dict) -> np.ndarray:
    """What it compares the answers on: windows of the datasets."""
    return cut(files)[0]


if __name__ == "__main__":
    model = start()
    if MODE == "predict":
        scale = Scale.load()
        with torch.no_grad():
            answer(scale.inverse(model(tensor(scale(asked()))).numpy().astype(float)))
    else:
        scale, metrics = train(model) if MODE == "train" else (Scale.load(), {})
        if os.environ["HEADRACE_EVALUATION"]:
            metrics["mse"] = error(model, scale, *windows("HEADRACE_EVALUATION"))
        tell(metrics)
