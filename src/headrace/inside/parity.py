"""Inside a sandbox of its own, beside no code of others: asks an ONNX file what its original was asked, and compares the answers.

``python -m headrace.inside.parity``. ``/work/request.json``: {"opset", "tolerance" or null, "framework", "dropout"};
``/work/made``: model.onnx and cases.npz as `translate.py` wrote them. ``/work/output/answer.json``: {"parity", "inputs",
"outputs", "input_shape", "output_shape", "parameters", "opset", "dtypes", "versions"} or {"error"}.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.inside import graphs
from headrace.inside.place import WORK
from headrace.inside.work import encoded, reason
from headrace.settings import InspectionSettings

REQUEST, MADE, ANSWER = WORK / "request.json", WORK / "made", WORK / "output" / "answer.json"
NEAR, NARROWED = 1e-5, 1e-3
"""Largest difference as a part of the largest answer; the second where numbers became shorter."""
_NAME = re.compile(r"(\d+)_(real|edge|made)_([xy])(\d+)")
_PACKAGES = {
    "torch": ("torch",),
    "sklearn": ("scikit-learn", "skl2onnx"),
    "keras": ("keras", "torch"),
}
_WHY = (
    "Usual reasons: answers that depend on values, control flow or random numbers a tracing exporter cannot see, or numbers "
    "too large for float32; a larger `--tolerance` (over HTTP `tolerance`) takes it as it is"
)


def main() -> None:
    """One request, one answer."""
    try:
        answer = compare(json.loads(REQUEST.read_text()), MADE / "model.onnx", MADE / "cases.npz")
    except BadInput as error:
        answer = {"error": str(error)}
    ANSWER.write_bytes(encoded(answer))


def compare(request: dict[str, Any], model: Path, cases: Path) -> dict[str, Any]:
    """See above. Raises BadInput: no ONNX model, not for batches of any size, or not near enough."""
    about = _checked(model, request["opset"])
    session = _session(model)
    takes, gives = ([_tensor(one) for one in many] for many in (session.get_inputs(), session.get_outputs()))
    fixed = [one["name"] for one in (*takes, *gives) if not one["shape"] or one["shape"][0] != -1]
    if fixed:
        raise BadInput(detail=f"the batch of {fixed[0]!r} has a fixed size in ONNX: the original takes one size only")
    found = [_Answers(one["name"]) for one in gives]
    counts = dict.fromkeys(("real", "edge", "made"), 0)
    for group, inputs, answers in _cases(cases):
        told = _run(session, inputs)
        if len(told) != len(answers):
            raise BadInput(detail=f"it has {len(told)} outputs in ONNX, and the original {len(answers)}")
        counts[group] += len(inputs[0])
        for one, wanted, got in zip(found, answers, told, strict=True):
            one.add(group, wanted, np.asarray(got))
    return {
        "parity": {**_judged(found, request["tolerance"]), "inputs": sum(counts.values()), **counts},
        "inputs": takes,
        "outputs": gives,
        "input_shape": about.input_shape,
        "output_shape": about.output_shape,
        "parameters": about.parameters or None,
        "opset": request["opset"],
        "dtypes": _dtypes(found),
        "versions": _versions(request["framework"]),
    }


def _checked(model: Path, opset: int) -> Any:
    """What the file is, by ONNX's own checker. Raises BadInput."""
    import onnx

    try:
        onnx.checker.check_model(str(model))
        found = graphs.onnx(model, InspectionSettings(memory_bytes=2**40))
    except Exception as error:  # hostile files find what a library forgot
        raise BadInput(detail=f"what was exported is no valid ONNX model: {reason(error)}") from error
    if found.framework != "onnx" or found.metadata.get("external_data"):
        raise BadInput(detail="what was exported is no ONNX model in one file")
    is_ = found.metadata["opsets"].get("ai.onnx")
    if is_ != opset:
        raise BadInput(detail=f"the exporter wrote opset {is_} instead of {opset}: ask for that one")
    return found


def _session(model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadInput(detail=f"ONNX Runtime cannot load what was exported: {reason(error)}") from error


def _tensor(one: Any) -> dict[str, Any]:
    """Name, type and shape; axes of any length are -1. Raises BadInput for what is no tensor."""
    kind = re.fullmatch(r"tensor\((\w+)\)", one.type)
    if kind is None:
        raise BadInput(detail=f"{one.name!r} is no tensor in ONNX but a {one.type}")
    shape = [axis if isinstance(axis, int) else -1 for axis in one.shape or []]
    return {
        "name": one.name,
        "datatype": {"float": "float32", "double": "float64"}.get(kind[1], kind[1]),
        "shape": shape,
    }


def _cases(path: Path) -> Any:
    """(group, inputs, answers) of each batch. Raises BadInput."""
    parts: dict[int, tuple[str, dict[str, NDArray[np.generic]]]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                found = _NAME.fullmatch(name)
                if found is not None:
                    parts.setdefault(int(found[1]), (found[2], {}))[1][found[3] + found[4]] = archive[name]
    except Exception as error:
        raise BadInput(detail=f"what the original answered cannot be read: {reason(error)}") from error
    for _, (group, arrays) in sorted(parts.items()):
        yield group, *([arrays[one] for one in sorted(arrays, key=_place) if one[0] == letter] for letter in "xy")


def _place(name: str) -> int:
    return int(name[1:])


def _run(session: Any, inputs: Sequence[NDArray[np.generic]]) -> list[Any]:
    kinds = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4"}
    takes = session.get_inputs()
    if len(takes) != len(inputs):
        raise BadInput(detail=f"it has {len(takes)} inputs in ONNX, and the original {len(inputs)}")
    given = {one.name: value.astype(kinds.get(one.type, value.dtype)) for one, value in zip(takes, inputs, strict=True)}
    try:
        found: list[Any] = session.run(None, given)
    except Exception as error:
        raise BadInput(
            detail=f"ONNX Runtime cannot answer a batch of {len(inputs[0])}, which the original could: {reason(error)}"
        ) from error
    return found


@dataclass
class _Answers:
    """One output over all batches."""

    name: str
    worst: float = 0.0
    where: str = ""
    total: float = 0.0
    count: int = 0
    finite: bool = False
    """Of the original's answers at least one is a number."""
    scale: float = 0.0
    spread: float = 0.0
    """How far the original's answers were from its first one."""
    kinds: tuple[str, str] = ("", "")
    _first: NDArray[np.generic] | None = None

    def add(self, group: str, wanted: NDArray[np.generic], got: NDArray[np.generic]) -> None:
        """Compare one batch. Raises BadInput: another shape."""
        if wanted.squeeze().shape != got.squeeze().shape:
            shapes = f"{list(got.shape)} in ONNX, {list(wanted.shape)} in the original"
            raise BadInput(detail=f"output {self.name!r} has shape {shapes}")
        self.kinds = (str(wanted.dtype), "text" if got.dtype.kind == "O" else str(got.dtype))
        distance, scale = _distance(wanted, got.reshape(wanted.shape))
        self.finite |= bool(wanted.size) and (wanted.dtype.kind not in "fc" or bool(np.isfinite(wanted).any()))
        if not distance.size:
            return
        self._spread(wanted)
        place = int(distance.argmax())
        if float(distance.flat[place]) > self.worst or not self.where:
            row = place // (distance.size // len(distance))
            self.worst, self.where = float(distance.flat[place]), f"{group} input {row + 1} of {len(distance)}"
        self.total += float(distance.sum())
        self.count += distance.size
        self.scale = max(self.scale, scale)

    def _spread(self, wanted: NDArray[np.generic]) -> None:
        if self._first is None:
            self._first = wanted[:1]
        other = self._first.shape[1:] != wanted.shape[1:]
        far = np.inf if other else _distance(wanted, np.broadcast_to(self._first, wanted.shape))[0].max()
        self.spread = max(self.spread, float(far))

    @property
    def exact(self) -> bool:
        """Labels are equal or not."""
        return not self.kinds[0].startswith("float")


def _distance(wanted: NDArray[np.generic], got: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """(absolute differences, largest finite answer). The same infinity, or no number on both sides, is no difference."""
    if wanted.dtype.kind in "US" or got.dtype.kind == "O":
        return (wanted.astype(str) != got.astype(str)).astype(float), 1.0
    one, other = wanted.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    distance = np.where(same, 0.0, np.where(np.isfinite(distance), distance, np.inf))
    finite = np.abs(one[np.isfinite(one)])
    return distance, float(finite.max()) if finite.size else 0.0


def _judged(found: Sequence[_Answers], asked: float | None) -> dict[str, Any]:
    """The figures of the output that is nearest to its tolerance, the mean of all, and which were always the same. Raises
    BadInput."""
    nearest, figures = -1.0, dict.fromkeys(("worst", "scale", "tolerance"), 0.0)
    constant = []
    for one in found:
        if not one.count:
            raise BadInput(detail="nothing could be compared")
        if not one.finite:
            raise BadInput(detail=f"the original never answered with a finite number (output {one.name!r})")
        part = NARROWED if _narrowed(one) else NEAR
        tolerance = asked if asked is not None else part * (one.scale or 1.0)
        allowed = min(tolerance, 0.5) if one.exact else tolerance
        if not one.worst <= allowed:
            by = "differ" if one.exact else f"differ by up to {one.worst:.3g} where {tolerance:.3g} is allowed"
            raise BadInput(
                detail=f"its answers {by} (output {one.name!r}, {one.where}; answers reach {one.scale:.3g}). {_WHY}"
            )
        if one.spread <= allowed:
            constant.append(one.name)
        if one.worst / allowed > nearest:
            nearest = one.worst / allowed
            figures = {"worst": one.worst, "scale": one.scale, "tolerance": tolerance}
    mean = sum(one.total for one in found) / sum(one.count for one in found)
    return {**figures, "mean": mean, "constant": constant}


def _narrowed(one: _Answers) -> bool:
    return one.kinds[0] == "float64" and one.kinds[1] != "float64"


def _dtypes(found: Sequence[_Answers]) -> str:
    """What became of number types."""
    pairs = dict.fromkeys(one.kinds for one in found)
    said = [f"{was} to {is_}" if was != is_ else f"{was} kept" for was, is_ in pairs if not was.startswith("<U")]
    return ", ".join(said) or "text kept"


def _versions(framework: str) -> dict[str, str]:
    names = (*_PACKAGES.get(framework, ()), "onnx", "onnxruntime", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


if __name__ == "__main__":
    main()
