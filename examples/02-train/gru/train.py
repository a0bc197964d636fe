"""A GRU that forecasts the next rows of a column from the last ones; goes on from a parent's weights if there is a parent."""

import hashlib
import json
import os
from pathlib import Path

import torch
from safetensors.torch import load, save

from series import read, windows

OUTPUT = Path(os.environ["HEADRACE_OUTPUT"])
PARAMETERS = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())


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


def tensors(variable: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of all files that a variable names."""
    values = [read(path, PARAMETERS["column"]) for path in os.environ[variable].split(":")]
    x, y = windows(values, PARAMETERS["history"], PARAMETERS["horizon"])
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def error(model: Forecaster, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float(torch.nn.functional.mse_loss(model(x), y))


def start() -> Forecaster:
    """Seeded weights, or what is there already: a parent's, or (to evaluate) the trained model's."""
    torch.manual_seed(int(os.environ["SEED"]))
    torch.use_deterministic_algorithms(True)
    model = Forecaster()
    folder = os.environ.get("HEADRACE_MODEL") or os.environ.get("HEADRACE_PARENT")
    if folder:
        model.load_state_dict(load(Path(folder, "model.safetensors").read_bytes()))
    return model


def train(model: Forecaster) -> dict[str, float | str]:
    x, y = tensors("HEADRACE_DATA")
    metrics: dict[str, float | str] = {"initial_weights": hashlib.sha256(save(model.state_dict())).hexdigest()}
    optimiser = torch.optim.Adam(model.parameters(), lr=PARAMETERS["rate"], betas=(0.9, 0.99))
    for epoch in range(PARAMETERS["epochs"]):
        for batch in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(x[batch]), y[batch]).backward()
            optimiser.step()
        metrics["train_mse"] = error(model, x, y)
        metrics.setdefault("train_mse_after_1", metrics["train_mse"])
        print(
            f"::progress {(epoch + 1) / PARAMETERS['epochs']:.3f} epoch {epoch + 1}: mse {metrics['train_mse']:.5f}",
            flush=True,
        )
    OUTPUT.joinpath("model.safetensors").write_bytes(save(model.state_dict()))
    return metrics


if __name__ == "__main__":
    model = start()
    metrics = {} if os.environ["HEADRACE_MODE"] == "evaluate" else train(model)
    if os.environ["HEADRACE_EVALUATION"]:
        metrics["mse"] = error(model, *tensors("HEADRACE_EVALUATION"))
    OUTPUT.joinpath("metrics.json").write_text(json.dumps(metrics))
