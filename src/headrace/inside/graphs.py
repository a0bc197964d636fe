"""ONNX, Keras and TensorFlow files: what goes in, what comes out, and how many numbers were trained."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.errors import BadInput
from headrace.inside.found import Found, sample, tensors
from headrace.settings import InspectionSettings

_NOT_TRAINED = {"INT64", "INT32", "BOOL", "STRING"}
"""Types of constants such as shapes and axes."""
_FLOATS = {1, 10, 11, 16}
"""TensorProto's float, float16, double, bfloat16."""
_COEFFICIENTS = {
    "coefficients", "intercepts", "support_vectors", "rho", "nodes_values", "target_weights", "class_weights", "base_values",
}  # fmt: skip
"""Attributes of linear models, support vector machines and trees."""


def is_onnx(head: bytes) -> bool:
    """Whether it begins as a ModelProto: its version, then one of its other fields."""
    return (
        len(head) > 3 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in {0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42}
    )


def onnx(path: Path, limits: InspectionSettings) -> Found:
    """A model; weights kept in files beside it are counted by their shapes. Raises BadInput."""
    import onnx as library
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if path.stat().st_size > limits.memory_bytes // 3:
        return Found("onnx", metadata={"format": "onnx", "note": "too large to be looked into"})
    try:
        model = library.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise BadInput(detail="it is no whole ONNX file") from error
    graph = model.graph
    if not graph.node:
        return Found()
    names = {one.name: library.TensorProto.DataType.Name(one.data_type) for one in graph.initializer}
    trained = [(one.name, names[one.name], list(one.dims)) for one in graph.initializer]
    total, listed = tensors(one for one in trained if one[1] not in _NOT_TRAINED)
    inner = sum(map(_in_attributes, graph.node))
    inputs = {one.name[:200]: _shape(one) for one in list(graph.input)[:500] if one.name not in names}
    outputs = {one.name[:200]: _shape(one) for one in list(graph.output)[:500]}
    about: dict[str, Any] = {
        "format": "onnx",
        "ir_version": int(model.ir_version),
        "opsets": {one.domain or "ai.onnx": int(one.version) for one in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip()[:200],
        "inputs": inputs,
        "outputs": outputs,
        "nodes": len(graph.node),
        "external_data": any(one.data_location == library.TensorProto.EXTERNAL for one in graph.initializer),
        **({"in_attributes": inner} if inner else {}),
        **listed,
    }
    return Found("onnx", _only(inputs), _only(outputs), total + inner or None, about)


def _in_attributes(node: Any) -> int:
    """Trained numbers a node carries itself: constants, and the coefficients of classic models (``ai.onnx.ml``)."""
    if node.domain == "ai.onnx.ml":
        return sum(len(one.floats) for one in node.attribute if one.name in _COEFFICIENTS)
    if node.op_type != "Constant":
        return 0
    return sum(math.prod(one.t.dims) for one in node.attribute if one.name == "value" and one.t.data_type in _FLOATS)


def _shape(value: Any) -> list[int]:
    axes = value.type.tensor_type.shape.dim
    return sample([int(axis.dim_value) if axis.HasField("dim_value") else None for axis in axes])


def _only(shapes: dict[str, list[int]]) -> list[int] | None:
    return next(iter(shapes.values())) if len(shapes) == 1 else None


def keras_archive(archive: zipfile.ZipFile, limits: InspectionSettings) -> Found:
    """A ``.keras`` file: configuration and weights. Raises BadInput."""
    if archive.getinfo("config.json").file_size > limits.file_bytes:
        raise BadInput(detail=f"its config.json is over {limits.file_bytes:,} bytes")
    config = json.loads(archive.read("config.json"))
    about: dict[str, Any] = {"format": "keras"}
    if "metadata.json" in archive.namelist() and archive.getinfo("metadata.json").file_size < 2**16:
        about["keras_version"] = str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    found = _configured(config)
    weights = archive.getinfo("model.weights.h5")
    if weights.file_size <= limits.memory_bytes // 4:
        found.parameters, listed = tensors(_datasets(io.BytesIO(archive.read(weights))))
        about |= listed
    found.metadata |= about
    return found


def keras_h5(path: Path, limits: InspectionSettings) -> Found:
    """An ``.h5`` of Keras, or any other HDF5 file (framework ""). Raises BadInput."""
    import h5py  # type: ignore[import-untyped]

    total, listed = tensors(_datasets(path))
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        version = str(file.attrs.get("keras_version", ""))
    if text is None and not version:
        return Found("", None, None, total, {"format": "hdf5", **listed})
    found = _configured(json.loads(text)) if text is not None else Found("keras")
    found.parameters = total
    found.metadata |= {"format": "keras h5", "keras_version": version, **listed}
    return found


def _datasets(source: Path | io.BytesIO) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Every array of numbers but those of the optimizer."""
    import h5py

    names: list[str] = []
    with h5py.File(source, "r") as file:
        file.visit(lambda name: names.append(name) if len(names) < 100_000 else True)
        for name in names:
            one = file.get(name, getlink=False) if not name.startswith(("optimizer", "model_optimizer")) else None
            if isinstance(one, h5py.Dataset) and one.dtype.kind in "fiub":
                yield name, str(one.dtype), tuple(one.shape)


def _configured(config: dict[str, Any]) -> Found:
    """What a Keras configuration says."""
    inner = config.get("config", {})
    layers = [one for one in inner.get("layers", []) if isinstance(one, dict)]
    found = Found("keras", metadata={"class": str(config.get("class_name", "")), "layers": _layers(layers)})
    given = [_batch_shape(one) for one in layers if one.get("class_name") == "InputLayer"]
    built = inner.get("build_input_shape") or config.get("build_config", {}).get("input_shape")
    first = given[0] if given else built
    if len(given) < 2 and isinstance(first, list) and all(axis is None or isinstance(axis, int) for axis in first):
        found.input_shape = sample(first)
    units = layers[-1].get("config", {}).get("units") if layers else None
    if isinstance(units, int) and layers[-1].get("class_name") == "Dense":
        found.output_shape = [units]
    return found


def _batch_shape(layer: dict[str, Any]) -> Any:
    config = layer.get("config", {})
    return config.get("batch_shape") or config.get("batch_input_shape")


def _layers(layers: list[dict[str, Any]]) -> list[str]:
    return [str(one.get("class_name", ""))[:100] for one in layers[:500]]


def saved_model(names: dict[str, int]) -> Found:
    """A TensorFlow SavedModel: its files; its graph needs TensorFlow to be read.

    Args:
        names: path -> size in bytes of its files.
    """
    weights = sum(size for name, size in names.items() if "variables/variables.data" in name)
    about = {"format": "tensorflow savedmodel", "files": len(names), "variable_bytes": weights}
    return Found("tensorflow", metadata=about)
