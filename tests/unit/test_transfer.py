"""Online transfer learning: first weights are the parent's, and what is no parent is refused with the tensor that differs."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.access import Principal
from headrace.errors import BadInput, BadSpec, CorruptState, FixedLimit
from headrace.evaluation.plans import of_file
from headrace.models.backends import Shape, parent
from headrace.models.backends.rls import Rls
from headrace.models.backends.saved import safetensors
from headrace.models.backends.torch import Torch, gru_tensors
from headrace.records import Array
from headrace.services.learning import parents
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.parents import Parent
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Applied, Registry, apply_entry, bare, code_folder
from headrace.spec import parse
from headrace.states import digest
from headrace.streams.logs.memory import MemoryLog
from tests import hub as hubs
from tests import sun

SHAPE = Shape((36, 1), 24)
ID = "md_" + "5" * 20
OLD = "ceb7bde560f93b473cdd04368366e590241784a18bd8bec4cf0296b69d655eb9"
"""Of a plan without a parent, as it was computed before there were any."""


NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, shape, horizon):
        super().__init__()
        self.norm, self.line = nn.BatchNorm1d(shape[0]), nn.Linear(shape[0], horizon)
    def forward(self, x): return self.line(self.norm(x[:, :, 0]))
"""


def net(epochs: int = 1, seed: int = 0, folder: str = ".", **more: Any) -> Torch:
    return Torch(Torch.Params.model_validate({"epochs": epochs, **more}), SHAPE, seed, folder)


def days(n: int, level: float, shift: int = 0) -> tuple[Array, Array]:
    """Windows of a daily sine of this height: plants that are alike."""
    series = level * (0.5 + 0.5 * np.sin(2 * np.pi * (np.arange(n + 60) + shift) / 24))
    starts = np.arange(n)[:, None]
    return series[starts + np.arange(36)][:, :, None], series[starts + 36 + np.arange(24)]


def spec(backend: str = "{torch: {epochs: 1}}", id: str = ID) -> str:
    return sun.spec("child", backend) + f"parent: {id}\n"


# -- the network


def test_first_weights_are_the_parents_and_one_epoch_leads_further_than_from_scratch() -> None:
    mother = net(epochs=40, seed=3)
    mother.fit(*days(240, 1.0))
    x, y = days(120, 0.7, shift=5)
    child, scratch = net(), net()
    child.start_from(mother.weights())
    assert child.weights() == mother.weights() != scratch.weights()
    assert child.predict(x).tobytes() == mother.predict(x).tobytes()
    losses = []
    for model in (child, scratch):
        model.fit(x, y)
        losses.append(float(((model.predict(x) - y) ** 2).mean()))
    print(f"\nloss after one epoch: {losses[0]:.4f} from the parent, {losses[1]:.4f} from scratch")
    assert losses[0] < 0.5 * losses[1]


def test_seed_and_restart_do_not_matter_for_where_a_child_starts() -> None:
    mother = net(seed=3).weights()
    one, other = net(seed=1), net(seed=2)
    for model in (one, other):
        model.start_from(mother)
    assert one.weights() == other.weights() == mother
    x, y = days(40, 1.0)
    again = net(seed=1)
    again.start_from(mother)
    again.load(one.dump())  # a checkpoint from before the first fit
    for model in (one, again):
        model.fit(x, y)
    assert one.dump() == again.dump()


@pytest.mark.parametrize("options", [{}, {"hidden": 5, "dense": 7}])
@pytest.mark.parametrize("shape", [SHAPE, Shape((3, 4), 2), Shape((24, 10), 24, per_target=True)])
def test_the_gru_s_tensors_are_known_without_torch(shape: Shape, options: dict[str, int]) -> None:
    made = Torch(Torch.Params(options=options), shape, 0)
    wanted = Torch.tensors(Torch.Params(options=options), shape)
    assert wanted is not None and list(wanted) == list(made._module.state_dict())
    parent.fit(parent.read(made.weights()), wanted)


def test_a_users_own_network_starts_from_a_parent_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(NET)
    mother = net(seed=1, folder=str(tmp_path), module="my.py:Net")
    mother.fit(*days(40, 1.0))
    child = net(seed=2, folder=str(tmp_path), module="my.py:Net")
    child.start_from(mother.weights())  # with a counter, which is I64
    assert child.weights() == mother.weights()
    assert Torch.tensors(Torch.Params(module="my.py:Net"), SHAPE) is None
    with pytest.raises(
        BadInput, match=r"tensor 'norm.weight' is missing, expected F32 \[36\]; the parent has dense.bias"
    ):
        child.start_from(net().weights())


def test_rls_starts_from_weights_and_trusts_its_own_data_in_the_end() -> None:
    shape = Shape((24, 2), 24, per_target=True)
    x = np.random.default_rng(0).random((200, 24, 2))
    mother, child, scratch = (Rls(Rls.Params(covariance=1.0), shape, 0) for _ in range(3))
    mother.fit(x, x @ [1.0, -2.0])
    child.start_from(mother.weights())
    assert child.weights() == mother.weights()
    assert child.predict(x[:3]).tobytes() == mother.predict(x[:3]).tobytes()
    truth = x @ [1.1, -2.1]
    few = [
        float(((model.fit(x[:1, :], truth[:1]) or model.predict(x)) - truth).__pow__(2).mean())
        for model in (child, scratch)
    ]
    assert few[0] < few[1]
    child.fit(x, truth)
    assert np.abs(child.predict(x) - truth).max() < 0.01


# -- somebody's file


def edited(change: Any, tensors: dict[str, Any] | None = None) -> bytes:
    """A safetensors file whose header was changed."""
    data = safetensors({"a": np.ones((2, 3), np.float32), "b": np.zeros(2)} if tensors is None else tensors)
    stop = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:stop])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[stop:]


def zipped() -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(print))
    return into.getvalue()


WHOLE = edited(lambda header: header.update(__metadata__={"format": "pt"}))
BAD = {
    "empty": (b"", "no safetensors file"),
    "pickle": (pickle.dumps({"a": print}), "never opened"),
    "torch.save": (zipped(), "have its recipe write safetensors"),
    "onnx": (b"\x08\x08\x12\x07pytorch" * 9, "ONNX initialisers are not mapped"),
    "huge header": ((2**62).to_bytes(8, "little") + b"{" * 100, "no safetensors file"),
    "long header": ((2**21).to_bytes(8, "little") + b"{" + b" " * 2**21, "at most 1,048,576 are read"),
    "nested": ((60_000).to_bytes(8, "little") + b'{"a":' * 12_000, "header is damaged"),
    "truncated": (WHOLE[:-1], "another size"),
    "longer": (WHOLE + b"x", "do not fill the file"),
    "no tensors": (edited(lambda header: header.clear(), {}), "no tensors"),
    "a list": (edited(lambda header: header.update(a=[])), "badly described"),
    "negative": (edited(lambda header: header["a"].update(shape=[-2, -3])), "badly described"),
    "booleans": (edited(lambda header: header["a"].update(shape=[True, 6])), "badly described"),
    "too many": (edited(lambda header: header["a"].update(shape=[2**40, 2**40])), "another size"),
    "outside": (edited(lambda header: header["a"].update(data_offsets=[30, 54])), "another size"),
    "overlapping": (edited(lambda header: header["b"].update(data_offsets=[8, 24])), "do not fill"),
    "bfloat16": (edited(lambda header: header["a"].update(dtype="BF16")), "is BF16; save it as one of BOOL, F16, F32"),
    "not finite": (safetensors({"a": np.array([1, math.nan])}), "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_no_safetensors_is_refused_and_never_unpickled(name: str) -> None:
    data, message = BAD[name]
    with pytest.raises(BadInput, match=message):
        parent.read(data)


def test_it_is_read_as_the_safetensors_library_reads_it() -> None:
    from safetensors.numpy import load, save

    arrays = {
        "a": np.ones((2, 3), np.float32),
        "n": np.array(7),
        "h": np.zeros((0, 2), np.float16),
        "b": np.array([True]),
    }
    data = save(arrays, {"format": "np"})
    for found in (parent.read(data), load(data)):
        assert {name: (one.dtype, one.tolist()) for name, one in found.items()} == {
            name: (one.dtype, one.tolist()) for name, one in arrays.items()
        }


@given(st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(WHOLE) - 1))
    damaged = WHOLE[:place] + data.draw(st.binary(max_size=12)) + WHOLE[place + data.draw(st.integers(0, 12)) :]
    try:
        found = parent.read(damaged)
    except BadInput as error:
        assert str(error)
    else:
        assert sum(one.nbytes for one in found.values()) <= len(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense.weight": None}, "tensor 'dense.weight' is missing, expected F32 [32, 32]; the parent has dense.bias"),
        (
            {"dense.weight": np.zeros((32, 8), np.float32)},
            "tensor 'dense.weight': expected F32 [32, 32], found F32 [32, 8]",
        ),
        ({"dense.weight": np.zeros((32, 32))}, "tensor 'dense.weight': expected F32 [32, 32], found F64 [32, 32]"),
        ({"more": np.zeros(3)}, "tensor 'more' (F64 [3]) has no place here; expected recurrent.weight_ih_l0"),
    ],
)
def test_a_tensor_that_differs_is_named_with_what_was_expected_and_found(change: dict[str, Any], message: str) -> None:
    arrays = {**parent.read(net().weights()), **change}
    weights = safetensors({name: one for name, one in arrays.items() if one is not None})
    child = net()
    before = child.dump()
    with pytest.raises(BadInput) as caught:
        child.start_from(weights)
    assert message in str(caught.value) and child.dump() == before
    (document,) = parse(spec(), "my.yaml")
    (problem,) = parents.misfits([document], {"child": Parent(ID, digest(weights), weights)})
    assert str(problem).startswith(f"my.yaml:13: parent: {ID} cannot be started from: ") and message in str(problem)


# -- the log and the folder


def entered(folder: Path, weights: bytes) -> tuple[MemoryLog, Registry]:
    log = MemoryLog()
    child = Parent(ID, digest(weights), weights)
    log.submit([apply_entry(parse(spec()), {}, parents={"child": child})], lambda error: None)
    registry = Registry(folder)
    assert registry.fold(log)
    return log, registry


def test_weights_travel_in_the_entry_and_lie_beside_the_code(tmp_path: Path) -> None:
    weights = net(seed=3).weights()
    log, registry = entered(tmp_path / "a", weights)
    model = registry.models["child"]
    assert model.applied.parent == Parent(ID, digest(weights)), "the platform keeps no bytes in memory"
    assert model.plan.contender().backend.weights() == weights
    registry.close()
    other = Registry(tmp_path / "b")
    assert other.fold(log) and other.models["child"].plan.contender().backend.weights() == weights
    assert other.models["child"].plan.digest == model.plan.digest
    other.close()


def test_weights_that_were_damaged_or_lost_are_written_again_from_the_table(tmp_path: Path) -> None:
    weights = net(seed=3).weights()
    _, registry = entered(tmp_path, weights)
    model = registry.models["child"]
    file = Path(model.folder, parent.FILE)
    registry.close()
    file.write_bytes(weights[:-4] + b"evil")
    with pytest.raises(CorruptState, match="damaged"):
        parents.full(model.applied.parent, model.folder)
    Registry(tmp_path).close()
    assert file.read_bytes() == weights
    file.unlink()
    with pytest.raises(CorruptState, match="a restart of the platform writes them again"):
        model.plan.contender()
    Registry(tmp_path).close()
    assert parents.full(model.applied.parent, model.folder) == Parent(ID, digest(weights), weights)


def test_ids_cover_the_parents_content_and_are_what_they_were_without_one(tmp_path: Path) -> None:
    (document,) = parse(sun.spec("child"))
    assert Plan(document.spec).digest == "sha256:" + OLD, "every prediction of before would get another id"
    folders = set()
    for weights in (b"", b"one", b"two"):
        found = Parent(ID, digest(weights), weights) if weights else None
        folders.add(code_folder(tmp_path, Applied({}, {}, found)))
    assert len(folders) == 3
    assert code_folder(tmp_path, bare(Applied({}, {}, found))) == code_folder(tmp_path, Applied({}, {}, found))


async def test_without_a_library_a_parent_is_refused_on_its_line() -> None:
    with pytest.raises(BadSpec, match=r"my.yaml:13: parent: there is nobody here to ask for registered models"):
        await parents.fetch(parse(spec(), "my.yaml"), None, None)


def test_gru_tensors_are_float32() -> None:
    assert {kind.dtype for kind in gru_tensors(SHAPE).values()} == {"F32"}


def test_a_users_network_that_is_not_its_parent_fails_with_the_tensor_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(NET)
    (tmp_path / parent.FILE).write_bytes(net().weights())
    learner = sun.learner(tmp_path / "m.db", spec("{torch: {module: 'my.py:Net'}}"), str(tmp_path))
    log = MemoryLog()
    log.submit(sun.entries(1), lambda error: None)
    assert not learner.step(DecodedLog(log))
    assert "tensor 'norm.weight' is missing, expected F32 [36]" in learner.failed
    assert "mend it and `headrace apply` again" in learner.failed
    learner.store.close()


def test_a_comparison_from_nothing_refuses_a_parent(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(spec("rls"))
    with pytest.raises(BadInput, match=f"child starts from {ID}, and a comparison starts every model from nothing"):
        of_file(tmp_path / "my.yaml")


async def test_a_file_of_many_models_cannot_fill_the_log_with_parents() -> None:
    class Large:
        asked = 0

        async def weights(self, who: Principal, id: str) -> tuple[str, bytes]:
            self.asked += 1
            return "sha256:0", bytes(parents.MOST // 3)

    large, text = Large(), "---".join(spec().replace("child", f"child-{one}") for one in range(100))
    with pytest.raises(FixedLimit, match="what the models of this file start from"):
        await parents.fetch(parse(text), large, hubs.ACME)
    assert large.asked == 4
