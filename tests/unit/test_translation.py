"""Translation without a sandbox: what is asked of both models, how answers are compared, and what the service makes of it."""

from __future__ import annotations

import asyncio
import errno
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from headrace.assets import Model, Parity, Snapshot
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, StorageUnavailable, Temporary, TooLarge, TooMany
from headrace.inside import cases, parity, translate
from headrace.listening import listen, served
from headrace.models import onnx_files
from headrace.models.onnx_files import CLASSIC, check_apart, check_graph
from headrace.models.translators import Given
from headrace.services.sharing.fence import Page
from headrace.services.translation import Wish, sandboxed
from headrace.services.translation.http import create_app
from headrace.services.translation.service import TranslationService
from tests import hub as hubs
from tests.hub import ACME, BOLT, CODA, Trainer, grant, opened, person, uploaded
from tests.running import scrubbed
from tests.translating import WEIGHTS, Canned, asked, finished, linear, translating
from tests.translating import cases as arrays
from tests.unit.test_training_http import entered

WISH = Wish()  # type: ignore[call-arg]

# -- what is asked


def test_recorded_inputs_edges_and_made_ones_alone_and_many_at_once() -> None:
    real = np.linspace(-3, 7, 400).reshape(200, 2)
    found = list(cases.batches([Given((2,))], [real.astype(np.float32)]))
    sizes = [(one.group, len(one.inputs[0])) for one in found]
    assert sizes == [("real", 1), ("real", 64), *[("edge", 1)] * 5, ("made", 1), ("made", 32)]
    edges = [float(one.inputs[0].flat[0]) for one in found if one.group == "edge"]
    assert edges[:4] == [0.0, 1.0, -3.0, 7.0] and 0 < edges[4] < np.finfo(np.float32).tiny
    made = np.concatenate([one.inputs[0] for one in found if one.group == "made"])
    assert made.dtype == np.float32 and -3 <= made.min() < made.max() <= 7
    again = list(cases.batches([Given((2,))], [real.astype(np.float32)]))
    assert all((one.inputs[0] == two.inputs[0]).all() for one, two in zip(found, again, strict=True))
    assert found[1].inputs[0][-1].tolist() == real[-1].astype(np.float32).tolist()


def test_without_recorded_inputs_they_are_of_a_normal_distribution_and_words_stay_words() -> None:
    found = list(cases.batches([Given((3,)), Given((2,), "int64")], None))
    assert {one.group for one in found} == {"edge", "made"}
    numbers = [one.inputs[1] for one in found]
    assert {int(value) for one in numbers for value in one.ravel()} == {0, 1}
    seen = list(cases.batches([Given((2,), "int64")], [np.array([[4, 9], [5, 6]])]))
    assert all(4 <= one.inputs[0].min() <= one.inputs[0].max() <= 9 for one in seen)


def test_where_the_model_knows_its_inputs_they_are_made_there() -> None:
    takes = Given((2,), "float64", ((10.0, -2.0), (30.0, -1.0)))
    found = list(cases.batches([takes], None))
    made = np.concatenate([one.inputs[0] for one in found if one.group == "made"])
    assert (made >= [10, -2]).all() and (made <= [30, -1]).all() and made[:, 0].max() > 25
    edges = [one.inputs[0][0].tolist() for one in found if one.group == "edge"]
    assert edges[:4] == [[0, 0], [1, 1], [10, -2], [30, -1]]
    seen = list(cases.batches([takes], [np.array([[5.0, 5.0], [6.0, 6.0]])]))
    assert all(5 <= one.inputs[0].min() <= one.inputs[0].max() <= 6 for one in seen if one.group == "made")


def test_columns_by_the_names_of_the_features(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("when,b,target,a\nnoon,1,9,2\nnight,3,9,4\n")
    takes = Given((2,), names=("a", "b"))
    (found,) = cases.fitting([str(tmp_path / "x.csv")], [takes]) or []
    assert found.tolist() == [[2, 1], [4, 3]]
    assert cases.fitting([str(tmp_path / "x.csv")], [Given((2,), names=("a", "other"))]) is None


def test_large_inputs_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "BYTES", 2**14)
    found = list(cases.batches([Given((3, 32, 32))], np.zeros((90, 3, 32, 32), np.float32)[None]))
    assert [len(one.inputs[0]) for one in found] == [1, 2, *[1] * 5, 1, 2]


def test_files_whose_arrays_or_columns_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((4, 5)))
    np.savez(tmp_path / "two.npz", a=np.zeros(3), x=np.arange(6.0).reshape(3, 2))
    (tmp_path / "two.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "words.csv").write_text("a,b\n1,x\n")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    names = {name: str(tmp_path / name) for name in ("other.npy", "two.npz", "two.csv", "words.csv", "broken.npy")}
    takes = [Given((2,))]
    (found,) = (
        cases.fitting([names["other.npy"], names["broken.npy"], names["words.csv"], names["two.npz"]], takes) or []
    )
    assert found.tolist() == [[0, 1], [2, 3], [4, 5]] and found.dtype == np.float32
    assert cases.fitting([names["two.csv"]], takes)[0].tolist() == [[1, 2], [3, 4]]  # type: ignore[index]
    assert cases.fitting([names["other.npy"], str(tmp_path / "gone.npy")], takes) is None
    assert cases.fitting([names["two.csv"]], [Given((2,)), Given((2,))]) is None


# -- how it is compared


def compare(
    folder: Path, model: onnx.ModelProto, told: dict[str, Any], tolerance: float | None = None, opset: int = 17
) -> dict[str, Any]:
    """What the comparing program answers."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "cases.npz", **told)
    request = {"opset": opset, "tolerance": tolerance, "framework": "torch"}
    return parity.compare(request, folder / "model.onnx", folder / "cases.npz")


def test_the_same_answers(tmp_path: Path) -> None:
    found = compare(tmp_path, linear(), asked())
    counts = {name: found["parity"][name] for name in ("inputs", "real", "edge", "made")}
    assert counts == {"inputs": 6, "real": 1, "edge": 0, "made": 5}
    assert found["parity"]["worst"] <= found["parity"]["tolerance"] == pytest.approx(1e-5 * found["parity"]["scale"])
    assert found["inputs"] == [{"name": "x", "datatype": "float32", "shape": [-1, 3]}]
    assert (found["input_shape"], found["output_shape"], found["parameters"]) == ([3], [2], 6)
    assert found["dtypes"] == "float32 kept" and set(found["versions"]) == {"torch", "onnx", "onnxruntime", "numpy"}
    assert json.loads(json.dumps(found)) == found


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), st.floats(1e-4, 1.0))
def test_the_worst_difference_is_the_worst(
    tmp_path_factory: pytest.TempPathFactory, off: list[float], tolerance: float
) -> None:
    folder = tmp_path_factory.mktemp("worst")
    x = np.zeros((4, 3), np.float32)
    y = np.array([[0, 0], off, [0, 0], [0, 0]])
    worst = float(np.abs(y).max())
    told = arrays(all=("real", x, y))
    if worst > tolerance:
        with pytest.raises(BadInput, match=r"answers differ by up to .* is allowed \(output 'y', real input 2 of 4"):
            compare(folder, linear(), told, tolerance)
    else:
        found = compare(folder, linear(), told, tolerance)["parity"]
        assert found["worst"] == worst and found["mean"] == pytest.approx(float(np.abs(y).mean()))


def test_shorter_numbers_may_differ_more_and_the_certificate_says_so(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    y = x @ WEIGHTS.astype(float) + 1e-4
    found = compare(tmp_path, linear(), arrays(all=("real", x, y)))
    assert found["dtypes"] == "float64 to float32" and found["parity"]["worst"] > 9e-5
    with pytest.raises(BadInput, match="larger `--tolerance`"):
        compare(tmp_path, linear(), arrays(all=("real", x, y.astype(np.float32))))


def test_no_number_on_both_sides_is_no_difference_but_on_one(tmp_path: Path) -> None:
    x = np.array([[np.inf, 0, 0], [1, 1, 1]], np.float32)
    with np.errstate(invalid="ignore"):
        y = x @ WEIGHTS
    assert not np.isfinite(y[0]).all()
    assert compare(tmp_path, linear(), arrays(all=("edge", x, y)))["parity"]["worst"] < 1e-6
    y[1, 0] = np.nan
    with pytest.raises(BadInput, match="differ by up to inf"):
        compare(tmp_path, linear(), arrays(all=("edge", x, y)))


def labels(words: bool = False) -> onnx.ModelProto:
    """x -> whether x[0] > 0, as a number or a word."""
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    kind = TensorProto.STRING if words else TensorProto.INT64
    gives = helper.make_tensor_value_info("label", kind, ["n", 1])
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    nodes = [helper.make_node("Greater", ["x", "zero"], ["b"]), helper.make_node("Cast", ["b"], ["i"], to=7)]
    if words:
        named: dict[str, Any] = {"keys_int64s": [0, 1], "values_strings": ["low", "high"]}
        nodes.append(helper.make_node("LabelEncoder", ["i"], ["label"], domain="ai.onnx.ml", **named))
    else:
        nodes.append(helper.make_node("Identity", ["i"], ["label"]))
    return finished(nodes, [takes], [gives], [zero])


@pytest.mark.parametrize("words", [False, True])
def test_labels_are_equal_or_not_whatever_the_tolerance(words: bool, tmp_path: Path) -> None:
    x = np.array([[-1.0], [2.0]])
    right = np.array(["low", "high"]) if words else np.array([0, 1])
    found = compare(tmp_path, labels(words), arrays(all=("real", x, right)), 5.0)
    assert found["parity"]["worst"] == 0 and found["outputs"][0]["datatype"] == ("string" if words else "int64")
    with pytest.raises(BadInput, match="its answers differ"):
        compare(tmp_path, labels(words), arrays(all=("real", x, right[::-1])), 5.0)


def test_what_was_exported_wrongly(tmp_path: Path) -> None:
    for model, told, words in (
        (linear(batch=5), asked(), "the batch of 'x' has a fixed size"),
        (linear(), arrays(all=("real", np.zeros((2, 3)), np.zeros((2, 4)))), r"shape \[2, 2\] in ONNX, \[2, 4\]"),
        (linear(opset=15), asked(), "wrote opset 15 instead of 17"),
        (linear(), {**asked(), "0_real_x1": np.zeros((1, 2))}, "1 inputs in ONNX, and the original 2"),
        (linear(), {**asked(), "0_real_y1": np.zeros((1, 2))}, "1 outputs in ONNX, and the original 2"),
        (linear(), {}, "nothing could be compared"),
        (finished([helper.make_node("Nonsense", ["x"], ["y"])], *_ends()), asked(), "no valid ONNX model"),
    ):
        with pytest.raises(BadInput, match=words):
            compare(tmp_path, model, told)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BadInput, match="no valid ONNX model"):
        parity.compare({"opset": 17, "tolerance": None, "framework": "torch"}, tmp_path / "model.onnx", tmp_path / "x")


def test_a_certificate_says_when_a_constant_would_have_passed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = compare(tmp_path, linear(), arrays(all=("made", x, x @ WEIGHTS)))["parity"]
    assert found["constant"] == []
    (doubt,) = Parity(**found).doubts()
    assert doubt.startswith("Nothing recorded was compared")
    same = np.repeat(x[:1], 5, axis=0)
    found = compare(
        tmp_path, linear(), arrays(one=("real", x[:1], x[:1] @ WEIGHTS), all=("made", same, same @ WEIGHTS))
    )
    assert found["parity"]["constant"] == ["y"]
    (doubt,) = Parity(**found["parity"]).doubts()
    assert doubt.startswith("The original's answers were all the same (output 'y')")
    wide = compare(tmp_path, linear(), arrays(all=("real", x, x @ WEIGHTS)), tolerance=100.0)["parity"]
    assert wide["constant"] == ["y"], "within what was allowed"
    for right, constant in (([0, 1, 1, 0, 1], []), ([1, 1, 1, 1, 1], ["label"])):
        z = np.where(right, 2.0, -1.0)[:, None]
        assert compare(tmp_path, labels(), arrays(all=("real", z, np.array(right))))["parity"]["constant"] == constant
    older = Parity(inputs=1, real=1, edge=0, made=0, worst=0, mean=0, scale=1, tolerance=1)
    assert older.constant is None and not older.doubts()


def _ends() -> tuple[Any, Any]:
    return tuple([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])] for name in "xy")  # type: ignore[return-value]


def test_answers_in_pieces_of_code_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(linear().SerializeToString())
    odd: dict[str, Any] = {"0_real_x0": np.array([object()], dtype=object)}
    np.savez(tmp_path / "cases.npz", **odd)
    with pytest.raises(BadInput, match="cannot be read: Object arrays"):
        parity.compare(
            {"opset": 17, "tolerance": None, "framework": "torch"}, tmp_path / "model.onnx", tmp_path / "cases.npz"
        )


# -- what is loaded, without a sandbox; what has code, in a process of its own


def program(folder: Path, code: str = "", shape: list[int] | None = None, **files: bytes) -> dict[str, Any]:
    """The answer of ``python -m headrace.inside.translate`` about a model of these files and its recipe's code."""
    for name in ("model", "output", "data"):
        (folder / name).mkdir()
    for name, data in files.items():
        (folder / "model" / name.replace("__", ".")).write_bytes(data)
    np.save(folder / "data" / "x.npy", np.arange(12.0).reshape(4, 3))
    if code:
        with zipfile.ZipFile(folder / "code.archive", "w") as archive:
            archive.writestr("train.py", code)
            archive.writestr("headrace-recipe.yaml", "parameters: {rows: {type: int, default: 3}}")
    request = {
        "entry_point": "train.py", "parameters": {}, "online": False, "shape": shape, "training": ["/work/data/x.npy"],
        "held_out": [], "wish": {"opset": 17, "dropout": "eval", "input_shape": None},
    }  # fmt: skip
    if not code:  # nothing of others runs: here will do
        try:
            return translate.translate(request, folder / "model", folder / "code.archive", folder / "output")
        except BadInput as error:
            return {"error": str(error)}
    (folder / "request.json").write_text(json.dumps(request))
    command = [sys.executable, "-m", "headrace.inside.translate"]
    env = scrubbed() | {"HEADRACE_WORK": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "output" / "answer.json").read_text())
    return found


RIDGE = """
import numpy as np
from sklearn.linear_model import Ridge
def headrace_model(folder, parameters):
    x = np.eye(parameters["rows"])
    return Ridge().fit(x, x[0])
"""


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"saved_model__pb": b"x"}, "", "a TensorFlow SavedModel needs TensorFlow"),
        ({"w__safetensors": b"x"}, "", r"none holds a network: upload it as TorchScript \(\.pt\)"),
        ({"w__safetensors": b"x"}, "pass", r"\(w\.safetensors\) none holds a network: define headrace_model"),
        ({"a__pt": b"x", "b__pt": b"x"}, "", r"2 files that could be the model \(a\.pt, b\.pt\)"),
        ({"w__pkl": b"x"}, "", r"w\.pkl cannot be loaded"),
        (
            {},
            "import nothing_of_that_name",
            r"train\.py cannot be imported: the package nothing_of_that_name is not here",
        ),
        ({}, "raise SystemExit('no column')", r"train\.py cannot be imported: no column"),
        ({}, "headrace_model = lambda folder, parameters: None", "headrace_model gave nothing"),
        ({}, "headrace_model = lambda folder, parameters: {}", "gave a dict: neither PyTorch's"),
        ({}, "headrace_model = lambda folder: 1", "headrace_model failed: TypeError"),
        ({}, RIDGE + "headrace_inputs = lambda files, parameters: 'abc'", "has to return an array of numbers"),
        ({}, RIDGE + "headrace_inputs = lambda files, parameters: np.zeros((4, 2))", r"samples of shape \[\(2,\)\]"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, files: dict[str, bytes], code: str, words: str) -> None:
    assert re.search(words, program(tmp_path, code, **files)["error"])


def test_a_hook_and_a_dataset_that_fits(tmp_path: Path) -> None:
    assert program(tmp_path, RIDGE) == {"framework": "sklearn", "exporter": "skl2onnx"}
    made = [tmp_path / "output" / name for name in ("model.onnx", "cases.npz")]
    found = parity.compare({"opset": 17, "tolerance": None, "framework": "sklearn"}, *made)
    assert found["parity"]["real"] == 4 and found["dtypes"] == "float64 to float32"
    assert found["versions"]["skl2onnx"] and found["input_shape"] == [3]


# -- what may be registered


def looping() -> onnx.ModelProto:
    """A graph within a graph."""
    body = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "body", [], _ends()[1])
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    return finished([node], *_ends(), [condition])


def beside() -> onnx.ModelProto:
    """Weights in a file beside it."""
    model = linear()
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return model


def sparse(*, value: bool = False) -> onnx.ModelProto:
    """Sparse weights, whose values lie in a file beside it; or those of a node."""
    values = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    values.external_data.add(key="location", value="/etc/passwd")
    tensor = helper.make_sparse_tensor(values, helper.make_tensor("at", TensorProto.INT64, [1], [0]), [3])
    model = linear()
    if value:
        model.graph.node.append(helper.make_node("Constant", [], ["w"], sparse_value=tensor))
    else:
        model.graph.sparse_initializer.append(tensor)
    return model


def test_only_plain_graphs_are_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = helper.make_function("own", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], [])
    foreign = finished([helper.make_node("F", ["x"], ["y"], domain="own")], *_ends())
    check_graph(linear().SerializeToString())
    check_graph(labels(words=True).SerializeToString(), CLASSIC)
    twice = linear().SerializeToString()
    for data, words in (
        (labels(words=True).SerializeToString(), "operators of another domain"),
        (foreign.SerializeToString(), "operators of another domain"),
        (looping().SerializeToString(), "a graph within its graph"),
        (beside().SerializeToString(), "a file beside it"),
        (sparse().SerializeToString(), "sparse tensors"),
        (sparse(value=True).SerializeToString(), "sparse tensors"),
        (finished([], *_ends(), functions=[function]).SerializeToString(), "functions of its own"),
        (twice + twice, "several graphs"),
        (b"\x12", "no protobuf"),
        (b"\x3a\x7f", "ends too early"),
    ):
        with pytest.raises(ValueError, match=words):
            check_graph(data)
        (tmp_path / "model.onnx").write_bytes(data)
        with pytest.raises(ValueError, match=words):
            check_apart(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(labels(words=True).SerializeToString())
    check_apart(tmp_path / "model.onnx", CLASSIC)
    monkeypatch.setattr(onnx_files, "FIELDS", 10)
    with pytest.raises(ValueError, match="more than 10 parts"):
        check_graph(linear().SerializeToString())


# -- the service


async def test_a_translation_is_a_new_model_whose_parent_is_the_original(tmp_path: Path) -> None:
    runner = Canned()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME, description="of the roof")
        made = await service.translate(ACME, original.id, WISH)
        assert (made.id != original.id, made.parent, made.state) == (True, original.id, "translated")
        assert (made.name, made.description, made.framework) == ("net (ONNX)", "of the roof", "onnx")
        assert made.translation is not None and made.translation.digest == original.digest
        assert made.translation.parity.inputs == 6 and made.translation.opset == 17
        assert made.metadata["original"].startswith("unverified: uploaded as it is")
        assert (made.input_shape, made.output_shape, made.parameters) == ([3], [2], 6)
        assert await hubs.read(hub, ACME, made.id) == runner.model.SerializeToString()
        found = await hub.lineage(ACME, made.id)
        assert (original.id, made.id) in found.edges
        (entry,) = [one for one in await hub.audit(ACME, 10) if one.action == "translate"]
        assert (entry.asset, entry.detail) == (made.id, original.id)


async def test_what_was_asked_for_otherwise_is_called_otherwise(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, Canned()) as service:
        original = await uploaded(hub, ACME)
        names = [
            (await service.translate(ACME, original.id, Wish(dropout=one))).name  # type: ignore[call-arg]
            for one in ("eval", "train-fixed", "train-fixed")
        ]
        assert names == ["net (ONNX)", "net (ONNX, train-fixed)", "net (ONNX, train-fixed)"]


async def test_the_same_wish_gives_the_same_model_another_another(tmp_path: Path) -> None:
    runner = Canned()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME)
        made = await service.translate(ACME, original.id, WISH)
        assert await service.translate(ACME, original.id, WISH) == made and len(runner.tasks) == 2
        other = await service.translate(ACME, original.id, Wish(name="mine"))  # type: ignore[call-arg]
        assert other.id != made.id and other.name == "mine" and other.digest == made.digest
        stricter = Wish(tolerance=0.5)  # type: ignore[call-arg]
        assert (await service.translate(ACME, original.id, stricter)).id == made.id, "the same bytes are the same model"
        for note in (tmp_path / "translation" / "known").iterdir():
            note.unlink()
        assert (await service.translate(ACME, original.id, WISH)).id == made.id, "also when nobody remembers the wish"
        await hub.removing.delete(ACME, made.id)
        again = await service.translate(ACME, original.id, WISH)
        assert again.id != made.id and again.state == "translated"


async def test_who_asks_meanwhile_gets_the_same_and_who_goes_away_stops_nothing(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME)
        gone, stays = (asyncio.create_task(service.translate(ACME, original.id, WISH)) for _ in range(2))
        while not runner.tasks:
            await asyncio.sleep(0.01)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        runner.gate.set()
        made = await stays
        assert len(runner.tasks) == 2 and made.state == "translated"
        runner.gate = asyncio.Event()
        other = Wish(name="x", tolerance=0.5)  # type: ignore[call-arg]
        alone = asyncio.create_task(service.translate(ACME, original.id, other))
        while len(runner.tasks) < 3:
            await asyncio.sleep(0.01)
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await alone
        runner.gate.set()
        while service._running:
            await asyncio.sleep(0.01)
        assert (await service.translate(ACME, original.id, other)).name == "x"
        assert len(runner.tasks) == 4, "it had been made although nobody waited"


async def test_there_is_an_end_to_waiting_and_stopping_stops(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub:
        async with translating(hub, tmp_path, runner, waiting=1) as service:
            models = [await uploaded(hub, ACME, data=b"%d" % number) for number in range(3)]
            first, second = (asyncio.create_task(service.translate(ACME, one.id, WISH)) for one in models[:2])
            while not runner.tasks:
                await asyncio.sleep(0.01)
            with pytest.raises(TooMany, match="2 translations are waiting already"):
                await service.translate(ACME, models[2].id, WISH)
            assert len(runner.tasks) == 1
        for one in (first, second):
            with pytest.raises(Temporary, match="stopped with the platform"):
                await one
        assert not [*(tmp_path / "translation" / "runs").iterdir()]


async def reached(service: TranslationService, count: int) -> None:
    """So many wait or run."""
    async with asyncio.timeout(20):
        while len(service._running) != count or sum(one.asking for one in service._running.values()) < count:
            await asyncio.sleep(0.01)


async def test_the_same_work_is_done_once_whatever_it_is_called(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner, waiting=0) as service:
        original = await uploaded(hub, ACME)
        wishes = [Wish(name=name) for name in ("a", "b", "", "a")]  # type: ignore[call-arg]
        tasks = [asyncio.create_task(service.translate(ACME, original.id, wish)) for wish in wishes]
        await reached(service, 1)
        runner.gate.set()
        made = await asyncio.gather(*tasks)
        assert [one.name for one in made] == ["a", "b", "net (ONNX)", "a"] and made[0].id == made[3].id
        assert len({one.id for one in made}) == 3 and len({one.digest for one in made}) == 1
        later = await service.translate(ACME, original.id, Wish(name="c"))  # type: ignore[call-arg]
        assert later.name == "c" and later.translation == made[0].translation and later.metadata == made[0].metadata
        assert (later.input_shape, later.output_shape, later.parameters) == ([3], [2], 6) and len(runner.tasks) == 2


async def test_what_has_not_begun_is_dropped_when_nobody_waits_and_others_have_places(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner, waiting=2) as service:
        models = [await uploaded(hub, ACME, data=b"%d" % number) for number in range(3)]
        theirs = await uploaded(hub, BOLT)
        tasks = []
        for count, one in enumerate(models, 1):
            tasks.append(asyncio.create_task(service.translate(ACME, one.id, WISH)))
            await reached(service, count)
        assert await asyncio.wait_for(_refused(service, await uploaded(hub, ACME, data=b"more")), 5)
        last = asyncio.create_task(service.translate(BOLT, theirs.id, WISH))
        await reached(service, 4)
        tasks[1].cancel()
        await reached(service, 3)
        runner.gate.set()
        await asyncio.gather(tasks[2], last, tasks[0])
        assert len(runner.tasks) == 6, "the one that nobody waited for was not made"
        assert not service._turns._places and not service._running


async def _refused(service: TranslationService, model: Model) -> bool:
    with pytest.raises(TooMany, match="3 translations are waiting already"):
        await service.translate(ACME, model.id, WISH)
    return True


@pytest.mark.parametrize("tolerance", ["1e400", "Infinity", "-Infinity", "NaN", "0", "-1"])
async def test_a_tolerance_is_a_number(tmp_path: Path, tolerance: str) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, Canned()) as service:
        model, transport = await uploaded(hub, ACME), httpx.ASGITransport(entered(create_app(service), ACME))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            json = {"content-type": "application/json"}
            answer = await http.post(f"/translate/{model.id}", content=f'{{"tolerance": {tolerance}}}', headers=json)
        assert answer.status_code == 400 and answer.json()["error"].startswith("tolerance: ")


async def test_over_http_who_hangs_up_no_longer_waits(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        app, models = create_app(service), [await uploaded(hub, ACME, data=b"%d" % number) for number in range(2)]

        async def door(scope: Any, receive: Any, send: Any) -> None:
            scope["headrace.principal"] = ACME
            await app(scope, receive, send)

        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/translate/"
        async with served(door, listener), httpx.AsyncClient(trust_env=False) as http:
            first = asyncio.create_task(http.post(url + models[0].id, timeout=20))
            await reached(service, 1)
            second = asyncio.create_task(http.post(url + models[1].id, timeout=20))
            await reached(service, 2)
            second.cancel()
            await reached(service, 1)
            runner.gate.set()
            assert (await first).status_code == 201


async def test_figures_of_other_inputs_than_are_asked_are_refused(tmp_path: Path) -> None:
    x = np.zeros((66, 3), np.float32)
    endless = np.full((4, 3), np.inf, np.float32)
    with np.errstate(invalid="ignore"):
        none = endless @ WEIGHTS
    assert {"real": cases.REAL + 1, "edge": 5, "made": cases.MADE + 1} == sandboxed.MOST
    async with opened(tmp_path) as hub:
        original = await uploaded(hub, ACME)
        for told, words in (
            (arrays(all=("real", x, x @ WEIGHTS)), "66 real inputs are not what is asked"),
            (arrays(all=("made", x[:34], x[:34] @ WEIGHTS)), "34 made inputs"),
            (arrays(all=("real", endless, none)), "never answered with a finite number"),
        ):
            runner = Canned()
            runner.arrays = told
            async with translating(hub, tmp_path, runner) as service:
                with pytest.raises(BadInput, match=words):
                    await service.translate(ACME, original.id, WISH)
        with pytest.raises(BadInput, match="no number within the tolerance"):
            sandboxed._bounded(Parity(inputs=1, real=1, edge=0, made=0, worst=0, mean=np.inf, scale=1, tolerance=1))
        async with translating(hub, tmp_path, Canned()) as service:
            made = (await service.translate(ACME, original.id, WISH)).translation
        assert made is not None and (made.parity.real, made.parity.made, made.parity.inputs) == (0, 6, 6), "no dataset"


async def test_what_was_killed_leaves_nothing(tmp_path: Path) -> None:
    left = tmp_path / "translation" / "runs" / "tmp123" / "first"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    async with opened(tmp_path) as hub, translating(hub, tmp_path, Canned()):
        assert not [*(tmp_path / "translation" / "runs").iterdir()]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("registered", r"waits in the queue"),
        ("running", "is being trained"),
        ("failed", "its training failed"),
        ("cancelled", "was cancelled"),
    ],
)
async def test_until_training_has_completed_there_is_nothing_to_translate(
    tmp_path: Path, state: str, words: str
) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub, translating(hub, tmp_path, Canned()) as service:
        model = await hubs.recipe(hub, ACME)
        if state != "registered":
            await hub.began(trainer.jobs[model.id].model_copy(update={"state": state}))
        with pytest.raises(Conflict, match=words):
            await service.translate(ACME, model.id, WISH)
        if state == "running":
            await hubs.train(hub, trainer, model.id, tmp_path / "out")
            made = await service.translate(ACME, model.id, WISH)
            assert made.metadata["original"] == f"trained here by job {trainer.jobs[model.id].id}"
            assert made.metrics == {"loss": 0.5}
            with pytest.raises(Conflict, match=f"a translation itself, in ONNX: .* {model.id}"):
                await service.translate(ACME, made.id, WISH)


async def test_rights(tmp_path: Path) -> None:
    runner = Canned()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME)
        with pytest.raises(NotFound):
            await service.translate(BOLT, original.id, WISH)
        with pytest.raises(Forbidden, match="may not write"):
            await service.translate(person("acme", "viewer"), original.id, WISH)
        for right in ("read", "train"):
            given = await grant(hub, ACME, original.id, "bolt", right)
            with pytest.raises(Forbidden, match="not granted 'bolt' to derive"):
                await service.translate(BOLT, original.id, WISH)
            await hub.granting.revoke(ACME, given)
        assert not runner.tasks
        await grant(hub, ACME, original.id, "bolt", "derive")
        made = await service.translate(BOLT, original.id, WISH)
        assert (made.company, made.created_by, made.parent) == ("bolt", "bob", original.id)
        with pytest.raises(NotFound):
            await hub.model(CODA, made.id)
        own = await service.translate(ACME, original.id, WISH)
        assert own.id != made.id and own.company == "acme"


async def test_a_right_taken_back_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    runner = Canned()
    runner.gate = asyncio.Event()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME)
        given = await grant(hub, ACME, original.id, "bolt", "derive")
        task = asyncio.create_task(service.translate(BOLT, original.id, WISH))
        while not runner.tasks:
            await asyncio.sleep(0.01)
        await hub.granting.revoke(ACME, given)
        runner.gate.set()
        with pytest.raises((Forbidden, NotFound)):
            await task
        assert not [*(tmp_path / "artifacts").rglob("bolt/*/*")]


async def test_a_held_model_is_not_translated(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub, translating(hub, tmp_path, Canned()) as service:
        data = await hubs.dataset(hub, BOLT)
        await grant(hub, BOLT, data.id, "acme", "train")
        model = await hubs.recipe(hub, ACME, datasets=[data.id])
        await hubs.train(hub, trainer, model.id, tmp_path / "out")
        with pytest.raises(Conflict, match="held until they release it"):
            await service.translate(ACME, model.id, WISH)
        await hub.granting.release(BOLT, model.id)
        made = await service.translate(ACME, model.id, WISH)
        assert made.held_for == [] and made.datasets == [data.id]
        task = service._translations._runner.tasks[0]  # type: ignore[attr-defined]
        assert not [one for one in task.inputs if one.startswith("/work/data")], "he may train on them, not derive"
        assert "/work/code.archive" in task.inputs


async def test_datasets_he_may_use_are_there_and_the_code_of_others_is_not(tmp_path: Path) -> None:
    trainer, runner = Trainer(), Canned()
    async with opened(tmp_path, trainer=trainer) as hub, translating(hub, tmp_path, runner) as service:
        data, held_out = await hubs.dataset(hub, ACME), await hubs.dataset(hub, ACME, b"a,b\n3,4\n")
        model = await hubs.recipe(hub, ACME, datasets=[data.id], evaluation=[held_out.id], parameters={"rate": 0.5})
        await hubs.train(hub, trainer, model.id, tmp_path / "out", weights=b"w", more=b"m")
        await service.translate(ACME, model.id, WISH)
        inputs = dict(runner.tasks[0].inputs)
        assert {"/work/data/0/plant.csv", "/work/evaluation/0/plant.csv", "/work/code.archive"} <= set(inputs)
        await grant(hub, ACME, model.id, "bolt", "derive")
        await service.translate(BOLT, model.id, WISH)
        assert set(runner.tasks[2].inputs) == {"/work/model", "/work/request.json"}


async def test_answers_of_a_strangers_program_are_believed_in_their_form_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        original = await uploaded(hub, ACME)
        for spoil, words in (
            (lambda runner: runner.said.update(parity={"worst": 0}), "has no form we know"),
            (lambda runner: runner.said.update(framework="mine"), "has no form we know"),
            (lambda runner: runner.said.update(error="because"), "has no form we know"),
            (lambda runner: setattr(runner, "said", {"error": "because."}), "it cannot be translated: because\\.$"),
            (lambda runner: setattr(runner, "model", looping()), "became an ONNX model with a graph within its graph"),
            (lambda runner: setattr(runner, "model", beside()), "became an ONNX model with a file beside it"),
            (lambda runner: setattr(runner, "model", linear(WEIGHTS * 1.01)), "answers differ by up to"),
            (lambda runner: setattr(runner, "how", "memory"), "more memory than a translation may use"),
            (lambda runner: setattr(runner, "how", "time"), "longer than a translation may"),
            (lambda runner: setattr(runner, "leave", _without("model.onnx")), "without an ONNX file"),
            (
                lambda runner: setattr(runner, "leave", _without("cases.npz")),
                "without saying what the original answers",
            ),
            (lambda runner: setattr(runner, "leave", _without("answer.json")), "ended the program that does it"),
            (lambda runner: setattr(runner, "leave", _linked), "ended the program that does it"),
            (lambda runner: setattr(runner, "leave", _empty), "became no ONNX model"),
        ):
            runner = Canned()
            spoil(runner)
            async with translating(hub, tmp_path, runner) as service:
                with pytest.raises(BadInput, match=words):
                    await service.translate(ACME, original.id, WISH)
        async with translating(hub, tmp_path, Canned(), onnx_bytes=10) as service:
            with pytest.raises(TooLarge, match="the ONNX file is"):
                await service.translate(ACME, original.id, WISH)
        assert [one.id for one in await hub.page(ACME, "model", Page())] == [original.id]


async def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    def full(output: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    runner = Canned()
    runner.leave = full
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        original = await uploaded(hub, ACME)
        with pytest.raises(StorageUnavailable, match="no room for a translation"):
            await service.translate(ACME, original.id, WISH)
        runner.leave = lambda output: None
        assert (await service.translate(ACME, original.id, WISH)).state == "translated"


def _without(name: str) -> Any:
    return lambda output: (output / name).unlink()


def _empty(output: Path) -> None:
    (output / "model.onnx").write_bytes(b"")


def _linked(output: Path) -> None:
    (output / "answer.json").unlink()
    (output / "answer.json").symlink_to("/etc/passwd")


SNAPSHOT = Snapshot(
    model="roof", generation="g", spec="sha256:1", published_ms=1, first_position=0, last_position=9, records=10,
    root="sha256:2", environment="sha256:3",
)  # fmt: skip


async def test_a_snapshot_is_a_model_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, Canned()) as service:
        model = await hub.snapshot("acme", SNAPSHOT, "roof", b"weights", {"framework": "torch"})
        made = await service.translate(ACME, model.id, WISH)
        assert made.metadata["original"].startswith("online snapshot")
