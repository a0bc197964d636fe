"""Pix2Pix on pairs of label map and picture. One thread and fixed seeds: the same bytes each time."""

import json
import os
from pathlib import Path

import numpy as np
import torch
from networks import Discriminator, Generator, InColours
from pictures import read, rows
from safetensors.torch import load, save
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

SHOWN = 4
"""Held-out facades in samples.png."""


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values) / 127.5 - 1


def judged(logits: torch.Tensor, real: bool) -> torch.Tensor:
    """The adversarial loss: how far the discriminator is from saying so."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class Training:
    """Both networks and their optimisers."""

    def __init__(self, parameters: dict) -> None:
        torch.manual_seed(int(os.environ["SEED"]))
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        self.parameters = parameters
        self.generator = Generator(parameters["width"], parameters["dropout"])
        self.discriminator = Discriminator(parameters["width"])
        rate = {"lr": parameters["rate"], "betas": (0.5, 0.999)}
        self.makes = torch.optim.Adam(self.generator.parameters(), **rate)
        self.tells = torch.optim.Adam(self.discriminator.parameters(), **rate)

    def epoch(self, labels: torch.Tensor, pictures: torch.Tensor) -> dict[str, float]:
        """All pairs once, each mirrored at random. Returns the mean losses."""
        sums = torch.zeros(3)
        batches = torch.randperm(len(labels)).split(self.parameters["batch"])
        for batch in batches:
            label, real = labels[batch], pictures[batch]
            if torch.rand(()) < 0.5:
                label, real = label.flip(3), real.flip(3)
            sums += self.step(label, real)
        return dict(zip(("discriminator", "adversarial", "l1"), (sums / len(batches)).tolist(), strict=True))

    def step(self, label: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        made = self.generator(label)
        told = (
            judged(self.discriminator(label, real), True) + judged(self.discriminator(label, made.detach()), False)
        ) / 2
        self.tells.zero_grad()
        told.backward()
        self.tells.step()
        fooled, apart = judged(self.discriminator(label, made), True), l1_loss(made, real)
        self.makes.zero_grad()
        (fooled + self.parameters["closeness"] * apart).backward()
        self.makes.step()
        return torch.stack([told, fooled, apart]).detach()

    def settle(self, rate: float) -> None:
        for optimiser in (self.makes, self.tells):
            optimiser.param_groups[0]["lr"] = rate


def train(parameters: dict, output: Path) -> tuple[Generator, dict[str, float]]:
    labels, pictures = map(tensor, read(os.environ["HEADRACE_DATA"].split(":")))
    training, epochs = Training(parameters), parameters["epochs"]
    losses: dict[str, float] = {}
    for epoch in range(epochs):
        training.settle(
            parameters["rate"] * min(1, 2 * (1 - epoch / epochs))
        )  # as in the paper: falls in the second half
        losses = training.epoch(labels, pictures)
        said = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        print(f"::progress {(epoch + 1) / epochs:.3f} epoch {epoch + 1} of {epochs}: {said}", flush=True)
    output.joinpath("generator.safetensors").write_bytes(save(training.generator.state_dict()))
    return training.generator, {f"train_{name}": round(value, 6) for name, value in losses.items()}


def measured(generator: Generator, output: Path) -> dict[str, float]:
    """On held-out facades: mean absolute error (of -1 to 1, as it is trained, and of 0 to 255); a picture of some of them."""
    labels, pictures = read(os.environ["HEADRACE_EVALUATION"].split(":"))
    network = InColours(generator.eval())
    with torch.no_grad():
        made = np.concatenate([network(torch.from_numpy(one)).numpy() for one in np.array_split(labels, len(labels))])
    rows([labels[:SHOWN], pictures[:SHOWN], made[:SHOWN]]).save(output / "samples.png")
    apart = float(np.abs(made - pictures).mean())
    plain = float(np.abs(pictures - pictures.mean((2, 3), keepdims=True)).mean())
    return {"l1": round(apart / 127.5, 6), "l1_of_255": round(apart, 4), "l1_of_255_one_colour": round(plain, 4)}


def headrace_model(folder: Path, parameters: dict) -> torch.nn.Module:
    """The trained generator in colours, dropout off unless it is asked for: what `headrace translate` writes as ONNX."""
    generator = Generator(parameters["width"], parameters["dropout"])
    generator.load_state_dict(load(Path(folder, "generator.safetensors").read_bytes()))
    return InColours(generator)


def headrace_inputs(files: list[str], parameters: dict) -> np.ndarray:
    """Label maps of the datasets: what the translation is compared on."""
    return read(files)[0]


def main() -> None:
    parameters = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
    output, mode = Path(os.environ["HEADRACE_OUTPUT"]), os.environ["HEADRACE_MODE"]
    if mode == "predict":
        raise SystemExit("this recipe makes pictures, not forecasts: there is nothing to predict for a stream")
    if mode == "train":
        generator, metrics = train(parameters, output)
    else:
        generator, metrics = headrace_model(Path(os.environ["HEADRACE_MODEL"]), parameters).generator, {}
    if os.environ["HEADRACE_EVALUATION"]:
        metrics |= measured(generator, output)
    output.joinpath("metrics.json").write_text(json.dumps(metrics))


if __name__ == "__main__":
    main()
