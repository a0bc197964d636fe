"""Inside the sandbox: loads a model, writes it as ONNX, and writes down what the original answers.

``python -m headrace.inside.translate``. ``/work/request.json``: {"entry_point", "parameters", "online", "network", "wish":
{"opset", "dropout", "input_shape"}, "shape": known or null, "training": [file...], "held_out": [file...]}; ``/work/model``: its
files; ``/work/code.archive``: its recipe's code, if it has one. Gives ``/work/output/model.onnx``, ``cases.npz`` (inputs and
answers of each batch) and ``answer.json``: {"framework", "exporter"} or {"error"}. Other people's code runs in this process: who
compares is another program (`parity.py`), which sees files only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput, HeadraceError
from headrace.inside import graphs
from headrace.inside.cases import Batch, batches, fitting
from headrace.inside.hooks import INPUTS, MODEL, Hooks, said
from headrace.inside.place import WORK, led
from headrace.inside.snapshots import network
from headrace.models.translators import TRANSLATORS, Given, Translator

REQUEST, OUTPUT = WORK / "request.json", WORK / "output"
LEAST = 3
"""Inputs that are asked at once when an example is needed: neither one, nor two, which are often sizes of something else."""


def main() -> None:
    """One request, one answer."""
    try:
        answer = translate(json.loads(REQUEST.read_text()), WORK / "model", WORK / "code.archive", OUTPUT)
    except (HeadraceError, MemoryError) as error:
        answer = {"error": str(error).removesuffix(".") or "it takes more memory than a translation may use"}
    (OUTPUT / "answer.json").write_text(json.dumps(answer))


def translate(request: dict[str, Any], files: Path, code: Path, output: Path) -> dict[str, Any]:
    """See above. Raises BadInput."""
    training, held_out = ([str(led(path)) for path in request[name]] for name in ("training", "held_out"))
    hooks = Hooks(files, training, held_out)
    if code.is_file():
        hooks.open(code, request["entry_point"], request["parameters"])
    made, wish = hooks.model(), request["wish"]
    if made is None and request["online"]:
        made = network(files, request["network"])
    translator = _translator(files, made, hooked=code.is_file())
    said("it cannot be loaded", lambda: translator.load(files, made, wish["dropout"]))
    given, real = _inputs(translator, hooks, wish["input_shape"] or request["shape"], [*held_out, *training])
    _as_wished(given, wish["input_shape"])
    asked = list(_answered(translator, batches(given, real)))
    example = next(one.inputs for one, _ in reversed(asked) if len(one.inputs[0]) >= min(LEAST, 2))
    exporter = said(
        "it cannot be translated", lambda: translator.export(example, int(wish["opset"]), output / "model.onnx")
    )
    np.savez(output / "cases.npz", **_named(asked))  # type: ignore[arg-type] # numpy's stub takes keywords for flags
    return {"framework": translator.framework, "exporter": exporter}


def _translator(files: Path, made: Any, *, hooked: bool) -> Translator:
    """The one whose model it is. Raises BadInput, with what would help."""
    for name in TRANSLATORS.names():
        found: Translator = TRANSLATORS.find(name)()
        if found.accepts(files, made):
            return found
    if made is not None:
        raise BadInput(
            detail=f"{MODEL} gave a {type(made).__name__}: neither PyTorch's, nor scikit-learn's, nor Keras's"
        )
    found_files = [one for one in sorted(files.rglob("*")) if one.is_file()]
    names = [one.relative_to(files).as_posix() for one in found_files]
    if any(_is_onnx(one) for one in found_files):
        raise BadInput(detail="it is an ONNX model already: download it as it is")
    if any(name.endswith("saved_model.pb") for name in names):
        raise BadInput(
            detail="a TensorFlow SavedModel needs TensorFlow, which is not here: save the model with Keras 3 as .keras"
        )
    has = f"of its files ({', '.join(names[:8])[:300]}) none holds a network"
    help_ = f"define {MODEL}(folder, parameters) in the recipe's entry point"
    if not hooked:
        help_ = "upload it as TorchScript (.pt), .pt2, .keras, or a scikit-learn pickle, or train it from a recipe that says how"
    raise BadInput(detail=f"{has}: {help_} (docs/translation.md)")


def _is_onnx(path: Path) -> bool:
    with path.open("rb") as file:
        return graphs.is_onnx(file.read(64))


def _inputs(
    translator: Translator, hooks: Hooks, shape: Sequence[int] | None, files: Sequence[str]
) -> tuple[list[Given], list[NDArray[np.generic]] | None]:
    """What the model takes, and recorded samples of it, if there are any. Raises BadInput."""
    given, real = translator.inputs(), hooks.inputs()
    if given is None and real is not None:
        given = [Given(tuple(one.shape[1:]), "float32" if one.dtype.kind == "f" else str(one.dtype)) for one in real]
    if given is None and shape is not None and all(axis > 0 for axis in shape):
        given = [Given(tuple(shape))]
    if given is None:
        hook = f", or define {INPUTS}(files, parameters) in the recipe's entry point" if hooks.opened else ""
        raise BadInput(
            detail=f"the shape of its inputs is not known: give it (`--input-shape`; over HTTP `input_shape`){hook}"
        )
    if real is not None:
        wanted, found = [one.shape for one in given], [one.shape[1:] for one in real]
        if wanted != found:
            raise BadInput(detail=f"{INPUTS} gave samples of shape {found}; the model takes {wanted}")
        return given, [one.astype(kind.dtype) for one, kind in zip(real, given, strict=True)]
    return given, fitting(files, given)


def _as_wished(given: Sequence[Given], wished: Sequence[int] | None) -> None:
    """Raises BadInput: what it takes is known, and is not what was asked for."""
    takes = [one.shape for one in given]
    if wished is not None and takes != [tuple(wished)]:
        found = ", ".join(str(list(shape)) for shape in takes)
        raise BadInput(detail=f"it takes inputs of shape {found}, not {list(wished)}: leave the shape out")


def _answered(translator: Translator, asked: Iterable[Batch]) -> Iterator[tuple[Batch, list[NDArray[np.generic]]]]:
    """Each batch with the original's answers. Raises BadInput."""
    for batch in asked:
        try:
            answers = said("the original cannot be asked", partial(translator.predict, batch.inputs))
        except BadInput:
            if batch.may_fail:
                continue
            raise
        count = len(batch.inputs[0])
        for number, answer in enumerate(answers):
            if answer.ndim < 1 or len(answer) != count:
                raise BadInput(
                    detail=f"output {number} has shape {list(answer.shape)} for {count} inputs: its first axis is not the "
                    "batch, or the model takes one batch size only"
                )
        yield batch, answers


def _named(asked: Sequence[tuple[Batch, list[NDArray[np.generic]]]]) -> dict[str, NDArray[np.generic]]:
    """Arrays ``3_real_x0``: batch, group, input or answer."""
    found: dict[str, NDArray[np.generic]] = {}
    for number, (batch, answers) in enumerate(asked):
        for letter, arrays in (("x", batch.inputs), ("y", answers)):
            found |= {f"{number}_{batch.group}_{letter}{place}": one for place, one in enumerate(arrays)}
    return found


if __name__ == "__main__":
    main()
