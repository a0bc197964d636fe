"""scikit-learn: estimators and pipelines, from a hook or from a pickle (joblib, skops), by skl2onnx.

Its numbers become float32: few operators of the runtime know float64. What its libraries get wrong is mended here, each with the
version it was seen in. Imports sklearn and skl2onnx inside its methods.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.models.translators import HOOK, Arrays, Given, candidates, first_line, made_by, only
from headrace.models.translators.sklearn_outputs import mend
from headrace.models.translators.sklearn_ranges import given

SUFFIXES = (".joblib", ".pkl", ".pickle", ".skops", ".sav")
ML_OPSET = 3
"""Of the domain ai.onnx.ml."""


class SklearnTranslator:
    """See `Translator`. Answers: of a classifier its labels, then probabilities, or else decision values; of a detector of
    outliers labels and scores; of a transformer what it makes."""

    framework = "sklearn"

    def accepts(self, files: Path, made: Any) -> bool:
        """See `Translator`."""
        return made_by(made, "sklearn") if made is not None else bool(_found(files))

    def load(self, files: Path, made: Any, dropout: str) -> None:
        """See `Translator`."""
        from sklearn.base import BaseEstimator

        if dropout != "eval":
            raise BadInput(detail="scikit-learn has no dropout: `dropout: eval`")
        model = made if made is not None else _read(only(files, _found(files)))
        if not isinstance(model, BaseEstimator):
            says = f"{HOOK} gave" if made is not None else "the file holds"
            raise BadInput(detail=f"{says} a {type(model).__name__}, and an estimator of scikit-learn is needed")
        self._model: Any = model
        self._asked = _methods(model)

    def inputs(self) -> list[Given] | None:
        """See `Translator`."""
        found = given(self._model)
        return None if found is None else [found]

    def predict(self, inputs: Arrays) -> list[NDArray[np.generic]]:
        """See `Translator`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = [np.asarray(getattr(self._model, method)(inputs[0])) for method in self._asked]
        return [one.astype(str) if one.dtype.kind == "O" else one for one in made]

    def export(self, inputs: Arrays, opset: int, path: Path) -> str:
        """See `Translator`."""
        import skl2onnx  # type: ignore[import-untyped] # where it is not installed, whoever asks says so

        example = inputs[0][:2].astype(np.float32)
        how: dict[str, Any] = {"target_opset": {"": opset, "ai.onnx.ml": ML_OPSET}, "name": "graph"}
        try:
            with warnings.catch_warnings(), _whole_numbers():
                warnings.simplefilter("ignore")
                try:
                    made = skl2onnx.to_onnx(self._model, example, options={id(self._model): {"zipmap": False}}, **how)
                except NameError:  # it knows no such option, as it gives tensors anyway
                    made = skl2onnx.to_onnx(self._model, example, **how)
        except Exception as error:
            raise BadInput(detail=f"skl2onnx cannot say it in ONNX: {first_line(error)}") from error
        mend(made, inputs[0].astype(np.float32), self.predict(inputs), named=self._asked[-1] == "decision_function")
        path.write_bytes(made.SerializeToString())
        return "skl2onnx"


def _found(files: Path) -> list[Path]:
    """Pickles, of protocol 2 or later where no name says so."""
    return candidates(files, SUFFIXES, _pickled)


def _pickled(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _read(path: Path) -> Any:
    """A pickle: the sandbox is what holds it."""
    try:
        if path.suffix.lower() == ".skops":
            import skops.io  # type: ignore[import-not-found]

            return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        import joblib  # type: ignore[import-untyped]

        return joblib.load(path)
    except ModuleNotFoundError as error:
        raise BadInput(detail=f"{path.name} needs a package that is not here: {error.name}") from error
    except Exception as error:
        raise BadInput(detail=f"{path.name} cannot be loaded: {first_line(error)}") from error


def _methods(model: Any) -> list[str]:
    """What an estimator is asked, in the order of skl2onnx's outputs. Raises BadInput."""
    from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

    if is_classifier(model):
        return ["predict", *[one for one in ("predict_proba", "decision_function") if hasattr(model, one)][:1]]
    if is_clusterer(model) and hasattr(model, "predict"):
        return ["predict", *[one for one in ("transform",) if hasattr(model, one)]]
    if is_outlier_detector(model) and hasattr(model, "decision_function"):
        return ["predict", "decision_function"]
    for method in ("predict", "transform"):
        if hasattr(model, method):
            return [method]
    raise BadInput(detail=f"a {type(model).__name__} can neither predict nor transform")


@contextlib.contextmanager
def _whole_numbers() -> Iterator[None]:
    """skl2onnx 1.20 gives booleans among whole numbers (HistGradientBoosting), which onnx 1.23 refuses."""
    import onnx.helper

    make = onnx.helper.make_attribute

    def mended(key: str, value: Any, *more: Any, **named: Any) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(one, bool | np.bool_) for one in value):
            value = [int(one) for one in value]
        return make(key, value, *more, **named)

    onnx.helper.make_attribute = mended
    try:
        yield
    finally:
        onnx.helper.make_attribute = make
