"""What is said of model files, made by the libraries themselves where they are installed."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.errors import BadInput
from headrace.inside.metadata import inspect
from headrace.settings import InspectionSettings
from tests.unit.test_inside_statistics import archive

LIMITS = InspectionSettings()


def look(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(inspect(path, "", LIMITS), allow_nan=False))
    return found


def net() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))


def test_numbers_in_the_nodes_of_an_onnx_file_are_counted(tmp_path: Path) -> None:
    """A linear regression as skl2onnx writes it has no tensors; a graph without any numbers has an unknown number."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 3]) for name in "xy")
    nodes = {
        4: helper.make_node(
            "LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0, 3.0], intercepts=[0.5]
        ),
        None: helper.make_node("Relu", ["x"], ["y"]),
    }
    for count, node in nodes.items():
        onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y])), str(tmp_path / "m.onnx"))
        assert look(tmp_path / "m.onnx")["parameters"] == count


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.zeros((4, 5)), b=np.zeros(5, np.float32), steps=np.arange(7))
    np.save(tmp_path / "m.npy", np.zeros((3, 2)))
    for name, count in (("m.npz", 25), ("m.npy", 6)):
        found = look(tmp_path / name)
        assert (found["framework"], found["parameters"]) == ("numpy", count)
    assert {one["name"] for one in look(tmp_path / "m.npz")["metadata"]["tensors"]} == {"w", "b", "steps"}
    np.savez(tmp_path / "o.npz", o=np.array([{}], dtype=object))
    with pytest.raises(BadInput, match="Python objects"):
        look(tmp_path / "o.npz")


@pytest.mark.parametrize("form", ["weights", "whole", "with an optimizer", "script", "old"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pytorch(tmp_path: Path, form: str) -> None:
    torch = pytest.importorskip("torch")
    model, path = net(), tmp_path / "content"
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    if form == "script":
        torch.jit.script(model).save(str(path))
    else:
        saved = {"weights": model.state_dict(), "whole": model, "old": model.state_dict()}
        saved["with an optimizer"] = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
        torch.save(saved[form], path, _use_new_zipfile_serialization=form != "old")
    found = look(path)
    assert found["framework"] == "pytorch"
    if form == "old":
        assert found["parameters"] is None and "before 1.6" in found["metadata"]["format"]
        return
    trained = sum(one.numel() for one in model.parameters())
    assert found["parameters"] == trained + 8, "and the normalisation's mean and variance"
    assert found["metadata"]["types"] == {"float": 8}


def test_safetensors(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.zeros((3, 4), np.float32), "b": np.zeros(7, np.float64)}
    library.save_file(tensors, tmp_path / "content", metadata={"format": "pt"})
    found = look(tmp_path / "content")
    assert (found["framework"], found["parameters"]) == ("pytorch", 19)
    assert found["metadata"]["tensors"] == [
        {"name": "b", "type": "F64", "shape": [7]}, {"name": "a", "type": "F32", "shape": [3, 4]},
    ]  # fmt: skip


def onnx_model(external: Path | None = None) -> Any:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 24, 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 2])
    weights = onnx.numpy_helper.from_array(np.ones((72, 2), np.float32), "w")
    shape = onnx.numpy_helper.from_array(np.array([-1, 72]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weights, shape]), producer_name="test")


@pytest.mark.parametrize("external", [False, True])
def test_onnx(tmp_path: Path, external: bool) -> None:
    onnx = pytest.importorskip("onnx")
    kept = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if external else {}
    onnx.save(onnx_model(), str(tmp_path / "m.onnx"), **kept)
    if external:
        (tmp_path / "weights.bin").unlink()  # it is not needed to count
    found = look(tmp_path / "m.onnx")
    assert (found["framework"], found["parameters"]) == ("onnx", 144)
    assert (found["input_shape"], found["output_shape"]) == ([24, 3], [2])
    assert found["metadata"]["external_data"] is external and found["metadata"]["nodes"] == 2


KERAS = {
    "module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 24, 3], "dtype": "float32"}},
        {"class_name": "GRU", "config": {"units": 5}}, {"class_name": "Dense", "config": {"units": 2}},
    ]},
}  # fmt: skip
"""As Keras 3.15 writes it, cut to what is read; checked against the library where the extra `keras` is installed."""


def keras_weights(file: Any) -> None:
    file["layers/gru/cell/vars/0"], file["layers/gru/cell/vars/1"] = np.zeros((3, 15)), np.zeros((5, 15))
    file["layers/dense/vars/0"], file["optimizer/vars/0"] = np.zeros((5, 2)), np.zeros((900,))


@pytest.mark.parametrize("form", ["keras", "h5"])
def test_keras(tmp_path: Path, form: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        keras_weights(file)
        if form == "h5":
            file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(KERAS), "3.15.1"
    path = tmp_path / "w.h5"
    if form == "keras":
        files = {"config.json": json.dumps(KERAS).encode(), "metadata.json": b'{"keras_version": "3.15.1"}'}
        path = archive(tmp_path / "m", files | {"model.weights.h5": path.read_bytes()})
    found = look(path)
    assert (found["framework"], found["parameters"]) == ("keras", 45 + 75 + 10)
    assert (found["input_shape"], found["output_shape"]) == ([24, 3], [2])
    assert found["metadata"]["keras_version"] == "3.15.1"
    assert found["metadata"]["layers"] == ["InputLayer", "GRU", "Dense"]


@pytest.mark.parametrize("form", ["joblib", "joblib compressed", "pickle"])
def test_sklearn(tmp_path: Path, form: str) -> None:
    joblib = pytest.importorskip("joblib")
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    model = make_pipeline(StandardScaler(), Ridge()).fit(random.random((50, 7)), random.random(50))
    if form == "pickle":
        (tmp_path / "content").write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, tmp_path / "content", compress=3 if "compressed" in form else 0)
    found = look(tmp_path / "content")
    assert (found["framework"], found["input_shape"]) == ("sklearn", [7])
    named = [name for name in found["metadata"]["classes"] if name.startswith("sklearn")]
    assert named == [
        "sklearn.pipeline.Pipeline", "sklearn.preprocessing._data.StandardScaler", "sklearn.linear_model._ridge.Ridge",
    ]  # fmt: skip


XGBOOST = {
    "learner": {
        "feature_names": ["hour", "power"],
        "gradient_booster": {"name": "gbtree", "model": {"trees": [
            {"tree_param": {"num_nodes": "5"}, "split_conditions": [0.5, 1.0, 2.0, 0.25, -1.0]},
            {"tree_param": {"num_nodes": "3"}, "split_conditions": [0.5, 1.0, 2.0]},
        ]}},
        "learner_model_param": {"num_feature": "2", "num_class": "0", "num_target": "1", "base_score": "5E-1"},
        "objective": {"name": "reg:squarederror"},
    },
    "version": [3, 0, 2],
}  # fmt: skip
"""The parts of XGBoost's published model schema that are read."""


def ubj(value: Any) -> bytes:
    """UBJSON as XGBoost writes it: typed arrays of floats, lengths as L, names without a mark."""

    def text(one: str) -> bytes:
        return b"L" + struct.pack(">q", len(one.encode())) + one.encode()

    if isinstance(value, dict):
        return b"{" + b"".join(text(name) + ubj(one) for name, one in value.items()) + b"}"
    if isinstance(value, list) and value and all(isinstance(one, float) for one in value):
        return b"[$d#L" + struct.pack(f">q{len(value)}f", len(value), *value)
    if isinstance(value, list):
        return b"[" + b"".join(map(ubj, value)) + b"]"
    return b"S" + text(value) if isinstance(value, str) else b"i" + struct.pack(">b", value)


@pytest.mark.parametrize("form", ["json", "ubj"])
def test_xgboost(tmp_path: Path, form: str) -> None:
    (tmp_path / "content").write_bytes(ubj(XGBOOST) if form == "ubj" else json.dumps(XGBOOST).encode())
    found = look(tmp_path / "content")
    assert (found["framework"], found["input_shape"], found["output_shape"]) == ("xgboost", [2], [1])
    assert (found["metadata"]["trees"], found["metadata"]["nodes"]) == (2, 8)
    assert found["metadata"]["objective"] == "reg:squarederror" and found["metadata"]["version"] == [3, 0, 2]


def test_lightgbm_and_vowpal_wabbit(tmp_path: Path) -> None:
    (tmp_path / "lgb").write_text("tree\nversion=v4\nnum_class=1\nmax_feature_idx=6\nobjective=regression\n\nTree=0\n")
    assert (look(tmp_path / "lgb")["framework"], look(tmp_path / "lgb")["input_shape"]) == ("lightgbm", [7])
    (tmp_path / "vw").write_bytes(struct.pack("<I", 7) + b"9.10.0\0" + bytes(50))
    assert look(tmp_path / "vw") == {
        "framework": "vowpal_wabbit", "input_shape": None, "output_shape": None, "parameters": None,
        "metadata": {"format": "vowpal wabbit", "version": "9.10.0"},
    }  # fmt: skip


def saved_model() -> dict[str, bytes]:
    return {"m/saved_model.pb": b"\x08\x01", "m/variables/variables.data-00000-of-00001": bytes(400)}


def test_tensorflow(tmp_path: Path) -> None:
    zipped = look(archive(tmp_path / "content", saved_model()))
    for name, data in saved_model().items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    assert zipped == look(tmp_path / "folder")
    assert zipped["framework"] == "tensorflow" and zipped["metadata"]["variable_bytes"] == 400


@pytest.mark.parametrize("packed", [False, True])
def test_several_files(tmp_path: Path, packed: bool) -> None:
    library = pytest.importorskip("safetensors.numpy")
    (tmp_path / "m").mkdir()
    library.save_file({"w": np.zeros((5, 5), np.float32)}, tmp_path / "m" / "weights.safetensors")
    (tmp_path / "m" / "scaler.json").write_text('{"mean": 3}')
    (tmp_path / "m" / "damaged.onnx").write_bytes(bytes([8, 9, 0x3A, 200, 1]) + bytes(20))
    path = tmp_path / "m"
    if packed:
        path = archive(tmp_path / "z", {one.name: one.read_bytes() for one in path.iterdir()})
    found = look(path)
    assert (found["framework"], found["parameters"]) == ("safetensors", 25)
    files = found["metadata"]["files"]
    assert files["scaler.json"] == {"framework": "", "parameters": None}
    assert "no whole ONNX" in files["damaged.onnx"]["error"]


def test_a_damaged_file_among_several_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + b'{"a": 1}')
    (tmp_path / "scale.json").write_text("{}")
    assert "model.safetensors: " in inspect(tmp_path, "", LIMITS)["metadata"]["unreadable"]
    with pytest.raises(BadInput, match="damaged or cut off"):
        inspect(tmp_path / "model.safetensors", "model.safetensors", LIMITS)


def test_anything_else_has_no_framework(tmp_path: Path) -> None:
    for content in (b"", b"hello", bytes(1000), gzip.compress(b"text"), b"{}", b"[1, 2]"):
        (tmp_path / "content").write_bytes(content)
        found = look(tmp_path / "content")
        assert (found["framework"], found["parameters"]) == ("", None)
    with zipfile.ZipFile(tmp_path / "content", "w"):
        pass
    assert look(tmp_path / "content")["framework"] == ""
