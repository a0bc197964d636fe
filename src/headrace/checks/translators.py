"""The contract of a Translator."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.models.onnx_files import CLASSIC, check_graph
from headrace.models.translators import Arrays, Given, Translator

Make: TypeAlias = Callable[[], Translator]
OPSET, COUNT = 17, 7
NEAR = 1e-4
"""How far an answer may be from the original's, as a part of the largest."""


@dataclass(frozen=True)
class Subject:
    """A trained model.

    Args:
        made: the object a recipe's hook would give; None: its files have to do.
        write: puts its files into a folder.
        takes: its inputs, where no translator can know.
    """

    name: str
    made: Any = None
    write: Callable[[Path], object] = lambda folder: None
    takes: tuple[Given, ...] = ()


def check_translator(name: str, make: Make, subjects: Iterator[Subject] | None = None) -> int:
    """Run the whole suite on what `make` returns for each of a few trained models of its framework.

    Args:
        subjects: of a framework that this suite does not know.

    Returns:
        How many models were translated.

    Raises:
        AssertionError: the translator breaks its contract.
    """
    count = 0
    known: dict[str, Callable[[], Iterator[Subject]]] = {"torch": _torch, "sklearn": _sklearn, "keras": _keras}
    for subject in subjects if subjects is not None else known[name]():
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "files"
            files.mkdir()
            subject.write(files)
            try:
                _translates(make, subject, files, Path(folder))
            except (AssertionError, BadInput) as error:
                raise AssertionError(f"translator {name!r} on {subject.name}: {error}") from error
        count += 1
    _refuses(make)
    assert count, f"translator {name!r} has no model to translate"
    return count


def _translates(make: Make, subject: Subject, files: Path, folder: Path) -> None:
    translator = make()
    assert translator.framework, "it does not say of which framework it is"
    assert translator.accepts(files, subject.made), "it does not accept its own model"
    translator.load(files, subject.made, "eval")
    given = translator.inputs()
    assert given is None or all(isinstance(one, Given) for one in given), f"inputs() gives {given}"
    inputs = _samples(given or list(subject.takes))
    answers = translator.predict(inputs)
    _same(answers, translator.predict(inputs), "asked again, the original answers otherwise")
    assert all(len(one) == COUNT for one in answers), "an answer's first axis is not the batch"
    _same([one[:1] for one in answers], translator.predict([one[:1] for one in inputs]), "alone it answers otherwise")
    path, again = folder / "model.onnx", folder / "again.onnx"
    assert translator.export(inputs, OPSET, path), "it does not say who exported"
    _same(answers, translator.predict(inputs), "after the export the original answers otherwise")
    _onnx(path, inputs, answers)
    other = make()
    other.load(files, subject.made, "eval")
    other.export(inputs, OPSET, again)
    assert again.read_bytes() == path.read_bytes(), "exported again, it is another file"


def _onnx(path: Path, inputs: Arrays, answers: Arrays) -> None:
    """A plain graph of that opset, for batches of any size, with the same answers."""
    import onnx
    import onnxruntime

    check_graph(path.read_bytes(), CLASSIC)
    onnx.checker.check_model(str(path), full_check=True)
    opsets = {one.domain: one.version for one in onnx.load(str(path)).opset_import}
    assert opsets.get("") == OPSET, f"opset {opsets}"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8"}
    for count in (1, COUNT):
        given = {
            one.name: value[:count].astype(kinds[one.type])
            for one, value in zip(session.get_inputs(), inputs, strict=True)
        }
        found = [np.asarray(one) for one in session.run(None, given)]
        wanted = [one[:count] for one in answers]
        shaped = [one.reshape(like.shape) for one, like in zip(found, wanted, strict=True)]
        _same(wanted, shaped, f"a batch of {count} is answered otherwise in ONNX")


def _same(wanted: Arrays, found: Arrays, otherwise: str) -> None:
    assert len(wanted) == len(found), f"{otherwise}: {len(found)} outputs instead of {len(wanted)}"
    for one, other in zip(wanted, found, strict=True):
        if one.dtype.kind == "U":
            assert (one == other.astype(str)).all(), otherwise
            continue
        distance = np.abs(one.astype(float) - other.astype(float)).max()
        scale = max(float(np.abs(one.astype(float)).max()), 1e-12)
        assert distance <= NEAR * scale, f"{otherwise}: by {distance:.3g}, where answers reach {scale:.3g}"


def _refuses(make: Make) -> None:
    """What is none of its models."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        assert not make().accepts(files, None), "it accepts an empty folder"
        assert not make().accepts(files, object()), "it accepts any object"
        for name in ("w.pt", "w.pt2", "w.keras", "w.h5", "w.pkl", "w.joblib", "w"):
            (files / name).write_bytes(b"no model")
            translator = make()
            if translator.accepts(files, None):
                try:
                    translator.load(files, None, "eval")
                except BadInput as error:
                    assert str(error), "it refuses without a reason"
                else:
                    raise AssertionError(f"it takes a damaged {name}")
            (files / name).unlink()


def _samples(given: list[Given]) -> list[NDArray[np.generic]]:
    random = np.random.default_rng(1)
    return [
        random.normal(size=(COUNT, *one.shape)).astype(one.dtype)
        if np.dtype(one.dtype).kind == "f"
        else random.integers(0, 3, (COUNT, *one.shape)).astype(one.dtype)
        for one in given
    ]


# -- models


def _torch() -> Iterator[Subject]:
    import torch

    from headrace.checks.torch_modules import Forecaster, Pair, Words

    torch.manual_seed(0)
    window, image = Given((12,)), Given((3, 8, 8))
    dense = torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 4))
    convolution = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    yield Subject("a dense module", dense, takes=(window,))
    yield Subject("a recurrent module", Forecaster(), takes=(window,))
    yield Subject("a module of two inputs and outputs", Pair(), takes=(window, Given((5,))))
    yield Subject("a module of words", Words(), takes=(Given((6,), "int64"),))
    dense.eval(), convolution.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still what many have
        scripted: Any = torch.jit.script(dense)
        traced: Any = torch.jit.trace(convolution, torch.zeros(2, 3, 8, 8))  # type: ignore[no-untyped-call]
    yield Subject("scripted", write=lambda folder: scripted.save(str(folder / "net.pt")), takes=(window,))
    yield Subject("traced", write=lambda folder: traced.save(str(folder / "net.pt")), takes=(image,))
    batch = {0: torch.export.Dim("n")}
    program = torch.export.export(dense, (torch.zeros(3, 12),), dynamic_shapes=(batch,))
    yield Subject("an exported program", write=lambda folder: torch.export.save(program, folder / "net.pt2"))
    yield Subject("a pickled module", write=lambda folder: torch.save(dense, folder / "net.pth"), takes=(window,))
    yield Subject("scripted, of no name", write=lambda folder: scripted.save(str(folder / "net")), takes=(window,))


def _sklearn() -> Iterator[Subject]:
    import joblib  # type: ignore[import-untyped]
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    random = np.random.default_rng(0)
    x = random.normal(size=(200, 6))
    y = x @ random.normal(size=(6, 3))
    kind = np.array(["low", "middle", "high"])[(y[:, 0] > 0).astype(int) + (y[:, 0] > 1)]
    words = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and need not
        network = MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0).fit(x, y)
    yield Subject("a network of several outputs", network)
    yield Subject("ridge", Ridge().fit(x, y))
    yield Subject("a pipeline with labels that are words", words)
    yield Subject("a forest", RandomForestClassifier(5, random_state=0).fit(x, y[:, 0] > 0))
    yield Subject("boosting", HistGradientBoostingRegressor(max_iter=5).fit(x, y[:, 0]))
    yield Subject("a classifier without probabilities", LinearSVC().fit(x, kind))
    yield Subject("two classes without probabilities", SVC().fit(x, y[:, 0] > 0))
    yield Subject("two classes, stochastic", SGDClassifier(random_state=0).fit(x, y[:, 0] > 0))
    yield Subject("two classes in one column", RidgeClassifier().fit(x, y[:, 0] > 0))
    yield Subject("outliers", IsolationForest(n_estimators=5, random_state=0).fit(x))
    yield Subject("clusters", KMeans(3, n_init=1, random_state=0).fit(x))
    yield Subject("a transformer", PCA(2, random_state=0).fit(x))
    yield Subject("a file of joblib", write=lambda folder: joblib.dump(words, folder / "net.joblib"))


def _keras() -> Iterator[Subject]:
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras  # type: ignore[import-untyped]

    keras.utils.set_random_seed(0)
    layers = keras.layers
    dense = keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(3)])
    recurrent = keras.Sequential([keras.Input((9, 2)), layers.LSTM(4), layers.Dense(3)])
    image = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    one, other = keras.Input((4,)), keras.Input((5,))
    both = layers.Dense(2)(layers.Concatenate()([one, other]))
    yield Subject("a dense model", dense)
    yield Subject("a recurrent model", recurrent)
    yield Subject("convolutions", keras.Model(image, layers.Dense(2, "softmax")(pooled)))
    yield Subject("a model of two inputs", keras.Model([one, other], [both, layers.Dense(1)(both)]))
    yield Subject("a .keras file", write=lambda folder: _save(dense, folder / "net.keras"))
    yield Subject("an .h5 file", write=lambda folder: _save(recurrent, folder / "net.h5"))


def _save(model: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy about torch, and of .h5, which many still have
        model.save(path)
