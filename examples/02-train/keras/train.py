"""A small dense network of Keras (on PyTorch), saved as .keras."""

import json
import os
import re
import zipfile
from pathlib import Path

import keras
import numpy as np

from series import read, windows

OUTPUT = Path(os.environ["HEADRACE_OUTPUT"])
PARAMETERS = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())


def data(variable: str) -> tuple[np.ndarray, np.ndarray]:
    values = [read(path, PARAMETERS["column"]) for path in os.environ[variable].split(":")]
    return windows(values, PARAMETERS["history"], PARAMETERS["horizon"])


def build() -> keras.Model:
    layers = [keras.layers.Dense(PARAMETERS["hidden"], activation="relu"), keras.layers.Dense(PARAMETERS["horizon"])]
    model = keras.Sequential([keras.Input((PARAMETERS["history"],)), *layers])
    model.compile(optimizer="adam", loss="mse")
    return model


class Told(keras.callbacks.Callback):
    """Progress lines."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        print(f"::progress {(epoch + 1) / PARAMETERS['epochs']:.3f} epoch {epoch + 1}: loss {loss:.5f}", flush=True)


def numbered(config: bytes) -> bytes:
    known: dict[bytes, int] = {}
    pattern = rb'"shared_object_id": (\d+)'
    return re.sub(pattern, lambda found: b'"shared_object_id": %d' % known.setdefault(found[1], len(known)), config)


def save(model: keras.Model, path: Path) -> None:
    """As `model.save`, but the same bytes for the same weights: a .keras file is a zip that holds the time it was written, and
    in its config.json addresses in memory (``shared_object_id``), which are numbered here in order."""
    written = Path("/tmp/written.keras")
    model.save(written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": "1980-01-01@00:00:00"}).encode()
            elif name == "config.json":
                content = numbered(content)
            target.writestr(zipfile.ZipInfo(name), content)


if __name__ == "__main__":
    keras.utils.set_random_seed(int(os.environ["SEED"]))
    metrics = {}
    if os.environ["HEADRACE_MODE"] == "evaluate":
        model = keras.saving.load_model(Path(os.environ["HEADRACE_MODEL"], "model.keras"))
    else:
        model = build()
        x, y = data("HEADRACE_DATA")
        model.fit(x, y, epochs=PARAMETERS["epochs"], batch_size=128, verbose=0, callbacks=[Told()])
        metrics["train_mse"] = float(model.evaluate(x, y, verbose=0))
        save(model, OUTPUT / "model.keras")
    if os.environ["HEADRACE_EVALUATION"]:
        metrics["mse"] = float(model.evaluate(*data("HEADRACE_EVALUATION"), verbose=0))
    OUTPUT.joinpath("metrics.json").write_text(json.dumps(metrics))
