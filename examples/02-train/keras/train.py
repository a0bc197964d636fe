"""A small dense network of Keras (on PyTorch), saved as .keras."""

import json
import os
import re
import zipfile
from pathlib import Path

import keras
import numpy as np

from series import MODE, OUTPUT, PARAMETERS, Scale, answer, asked, cut, progress, tell, windows


def build() -> keras.Model:
    layers = [keras.layers.Dense(PARAMETERS["hidden"], activation="relu"), keras.layers.Dense(PARAMETERS["horizon"])]
    model = keras.Sequential([keras.Input((PARAMETERS["history"],)), *layers])
    model.compile(optimizer="adam", loss="mse")
    return model


class Told(keras.callbacks.Callback):
    """Progress lines."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        progress(epoch + 1, "loss", (logs or {}).get("loss", 0.0))


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


def error(model: keras.Model, scale: Scale, x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error, scaled."""
    return float(model.evaluate(scale(x), scale(y), verbose=0))


def headrace_model(folder: Path, parameters: dict) -> keras.Model:
    """What `headrace translate` writes as ONNX: the network in the column's own unit."""
    scale = Scale.load()
    to_unit = keras.layers.Rescaling(1 / scale.span, -scale.low / scale.span)
    back = keras.layers.Rescaling(scale.span, scale.low)
    trained = keras.saving.load_model(folder / "model.keras")
    return keras.Sequential([keras.Input((parameters["history"],)), to_unit, trained, back])


def headrace_inputs(files: list[str], parameters: dict) -> np.ndarray:
    """What it compares the answers on: windows of the datasets."""
    return cut(files)[0]


if __name__ == "__main__":
    keras.utils.set_random_seed(int(os.environ["SEED"]))
    metrics = {}
    if MODE == "train":
        model = build()
        x, y = windows("HEADRACE_DATA")
        scale = Scale.of(x, y)
        scale.save()
        model.fit(scale(x), scale(y), epochs=PARAMETERS["epochs"], batch_size=128, verbose=0, callbacks=[Told()])
        metrics["train_mse"] = error(model, scale, x, y)
        save(model, OUTPUT / "model.keras")
    else:
        scale = Scale.load()
        model = keras.saving.load_model(Path(os.environ["HEADRACE_MODEL"], "model.keras"))
    if MODE == "predict":
        answer(scale.inverse(model.predict(scale(asked()), verbose=0)))
    else:
        if os.environ["HEADRACE_EVALUATION"]:
            metrics["mse"] = error(model, scale, *windows("HEADRACE_EVALUATION"))
        tell(metrics)
