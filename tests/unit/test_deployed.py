"""Deployed models: what a file may say, what runs them, what comes back, and what stays on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from headrace.access import LOCAL, Principal
from headrace.errors import (
    BadSpec,
    BadTensor,
    FixedLimit,
    MissingExtra,
    NotReady,
    StorageUnavailable,
    Temporary,
    TooSlow,
    Unanswered,
    UnknownAsset,
    UnknownModel,
    Unsupported,
)
from headrace.services.learning import oip
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, REFUSED
from headrace.services.learning.catalogue import Catalogue
from headrace.services.learning.deployed import doors, program, providers, tensors
from headrace.services.learning.deployed.asking import Runs, _answers
from headrace.services.learning.deployed.service import Deployments
from headrace.services.learning.deployed.tensors import About, Part, Question, Reply, packed
from headrace.services.learning.isolation import Isolation
from headrace.settings import DeployedSettings
from headrace.spec import DeploymentDocument, parse, parse_all
from headrace.states import digest
from tests import graphs, sun
from tests.translating import WEIGHTS, finished, linear

ANN = Principal(LOCAL, "ann", "user", frozenset({"admin"}))
FIRST, SECOND = "md_" + "0" * 20, "md_" + "1" * 20
X = np.arange(6, dtype=np.float32).reshape(2, 3)
QUICK = Isolation(trusted=True, reason="", seconds=2.0)
"""Two seconds for a question."""


class Hub:
    """Registered models: id -> bytes."""

    def __init__(self, **models: bytes) -> None:
        self.models, self.asked = models, list[str]()

    async def onnx(self, who: Principal, id: str) -> tuple[str, bytes]:
        self.asked.append(id)
        if id not in self.models:
            raise UnknownAsset(kind="model", id=id)
        return digest(self.models[id]), self.models[id]


def line(**more: Any) -> bytes:
    return bytes(linear(**more).SerializeToString())


def written(name: str = "line", model: str = FIRST, more: str = "") -> str:
    return f"kind: Deployment\nmetadata: {{name: {name}}}\nmodel: {model}\n{more}"


def document(*texts: str) -> list[DeploymentDocument]:
    found = parse_all("---\n".join(texts or (written(),)), "my.yaml")
    return [one for one in found if isinstance(one, DeploymentDocument)]


@contextlib.asynccontextmanager
async def opened(folder: Path, hub: Hub | None = None, **options: Any) -> AsyncIterator[Deployments]:
    async with Deployments(folder, hub or Hub(**{FIRST: line()}), **options) as made:
        yield made


async def applied(made: Deployments, *texts: str) -> dict[str, str]:
    prepared = await made.prepare(document(*texts), ANN)
    await made.commit(prepared)
    await made.sweep()
    return prepared.changes


def asked(*inputs: tuple[str, Any], **more: Any) -> oip.InferRequest:
    parts = [oip.Tensor(name, list(np.shape(x)), oip.NAMES[x.dtype], x.ravel().tolist()) for name, x in inputs]
    return oip.InferRequest(parts, **more)


# -- what a file may say


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Deployment\nmetadata: {name: a}\n", "my.yaml:1: model: this field is required"),
        (
            written(model="ds_1"),
            "my.yaml:3: model: expected the id of a registered model, md_ and 20 hex digits, got 'ds_1'",
        ),
        (written(name="A b"), "my.yaml:2: metadata.name: string should match pattern"),
        (written(more="gpu: yes\n"), "my.yaml:4: gpu: no such field here"),
        (written(more="providers: []\n"), "my.yaml:4: providers: list should have at least 1 item"),
        (written() + "---\n" + written(), "my.yaml:6: metadata.name: 'line' appears twice in this file"),
    ],
)
def test_mistakes_of_a_file_are_named_with_their_place(text: str, said: str) -> None:
    with pytest.raises(BadSpec) as found:
        parse_all(text, "my.yaml")
    assert str(found.value).startswith(said)


def test_a_deployment_is_no_online_model() -> None:
    with pytest.raises(
        BadSpec, match=r"my.yaml:1: kind: expected OnlineModel here; a Deployment is for `headrace apply`"
    ):
        parse(written(), "my.yaml")


async def test_providers_are_checked_before_the_hub_is_asked(tmp_path: Path) -> None:
    hub = Hub(**{FIRST: line()})
    async with opened(tmp_path, hub) as made:
        for name, said in (
            ("[cdua]", r"my.yaml:4: providers.0: no execution provider 'cdua'; did you mean 'cuda'\? Known: acl"),
            ("[cpu, azure]", r"my.yaml:4: providers.1: the provider 'azure' sends what a model is asked to another company"),
            ("[AzureExecutionProvider]", "it is not offered"),
            ("[tensorrt, rocm]", r"my.yaml:4: providers: none of tensorrt, rocm is on this machine, which has .*cpu.*; "
             "tensorrt comes with the package onnxruntime-gpu, in the place of onnxruntime; rocm comes with"),
        ):  # fmt: skip
            with pytest.raises(BadSpec, match=said):
                await made.prepare(document(written(more=f"providers: {name}\n")), ANN)
        assert hub.asked == []
        assert "cpu" in await made.here()
        assert await applied(made, written(more="providers: [CUDAExecutionProvider, cuda, cpu]\n")) == {
            "line": "created"
        }
        entry = made.get("line").known()
        assert entry.providers == ["cuda", "cpu"] and entry.provider == "cpu", (
            "what is in use is said, not what was wished"
        )


# -- in service


async def test_it_is_read_once_and_answers_again_after_a_restart(tmp_path: Path) -> None:
    hub = Hub(**{FIRST: line(), SECOND: line(weights=-WEIGHTS)})
    async with opened(tmp_path, hub) as made:
        assert await applied(made) == {"line": "created"}
        assert await applied(made) == {"line": "unchanged"}
        assert hub.asked == [FIRST]
    async with opened(tmp_path, hub) as made:
        for model, y in ((FIRST, X @ WEIGHTS), (SECOND, -X @ WEIGHTS)):
            if model == SECOND:
                assert await applied(made, written(model=SECOND)) == {"line": "changed"}
            _, head, found = await doors.infer(made, "line", asked(("x", X), id="7"))
            assert head == {
                "model_name": "line", "model_version": model, "id": "7", "parameters": {"model": model, "provider": "cpu"},
            }  # fmt: skip
            assert found["y"].dtype == np.float32 and np.array_equal(found["y"], y)
        assert made.get("line").answers == 1 and made.listed()[0]["state"] == "ready"
        assert len([*(tmp_path / "deployments").glob("*.onnx")]) == 1, "the first one's bytes are gone"
        await made.delete("line")
        with pytest.raises(UnknownModel):
            made.get("line")
    assert [*(tmp_path / "deployments").iterdir()] == []


async def test_what_is_damaged_says_so_and_is_mended_by_applying_it_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await applied(made, written("a"), written("b"))
    folder = tmp_path / "deployments"
    (bytes_,) = folder.glob("*.onnx")
    bytes_.write_bytes(bytes_.read_bytes()[:-1] + b"!")
    (folder / "b.json").write_text("{")
    async with opened(tmp_path) as made:
        for name, said in (("b", "its record is damaged"), ("a", "are not those that were applied; apply it again")):
            with pytest.raises(NotReady, match=said):
                await doors.infer(made, name, asked(("x", X)))
            assert doors.index(made.get(name))["state"] == "UNAVAILABLE" and doors.ready(made.get(name))[1] == 503
        assert [one["state"] for one in made.listed()] == ["failed", "failed"]
        assert await applied(made, written("a"), written("b")) == {"a": "changed", "b": "changed"}
        for name in "ab":
            assert doors.ready(made.get(name)) == ({"name": name, "ready": True}, 200)
            await doors.infer(made, name, asked(("x", X)))


async def test_all_of_a_file_or_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, settings=DeployedSettings(count=2)) as made:
        with pytest.raises(UnknownAsset, match=SECOND):
            await made.prepare(document(written("a"), written("b", SECOND)), ANN)
        assert made.known == {}
        with pytest.raises(BadSpec, match=r"3 models would be deployed, and 2 may be \(DeployedSettings.count\)"):
            await made.prepare(document(*map(written, "abc")), ANN)
        prepared = await made.prepare(document(*map(written, "ab")), ANN)
        put, kept = made._shelf.put, list[str]()

        def full(entry: Any) -> None:
            if kept:
                raise StorageUnavailable(detail="no space")
            kept.append(entry.name)
            put(entry)

        made._shelf.put = full  # type: ignore[method-assign]
        with pytest.raises(StorageUnavailable):
            await made.commit(prepared)
        assert made.known == {} and not [*(tmp_path / "deployments").glob("*.json")]


class FullDisk:
    """A learning service whose log takes nothing."""

    views: ClassVar[dict[str, Any]] = {}

    async def diff(self, documents: Any, files: Any, who: Any) -> dict[str, str]:
        return {one.spec.name: "created" for one in documents}

    async def apply(self, documents: Any, files: Any, who: Any) -> dict[str, str]:
        raise StorageUnavailable(detail="no space")


async def test_what_cannot_be_applied_beside_it_leaves_what_answered_before(tmp_path: Path) -> None:
    hub = Hub(**{FIRST: line(), SECOND: line(weights=-WEIGHTS), "md_" + "2" * 20: b"no graph"})
    async with opened(tmp_path, hub) as made:
        await applied(made)
        catalogue = Catalogue(FullDisk(), made)  # type: ignore[arg-type]
        texts = written(model=SECOND), written("new", SECOND), sun.spec()
        with pytest.raises(StorageUnavailable):
            await catalogue.apply(parse_all("---\n".join(texts)), {}, ANN)
        with pytest.raises(BadSpec, match="cannot be deployed"):
            await catalogue.apply(parse_all(written(model="md_" + "2" * 20)), {}, ANN)
        assert made._runs.process is not None
        made._runs.process.kill()  # it has to be given the bytes again
        _, head, found = await doors.infer(made, "line", asked(("x", X)))
        assert head["model_version"] == FIRST and np.array_equal(found["y"], X @ WEIGHTS)
    async with opened(tmp_path, hub) as made:
        assert [(one["name"], one["model"]) for one in made.listed()] == [("line", FIRST)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no graph", "cannot be deployed: InvalidProtobuf"),
        (bytes(finished(
            [helper.make_node("Identity", ["x"], ["y"])],
            [helper.make_tensor_value_info("x", TensorProto.STRING, ["n"])],
            [helper.make_tensor_value_info("y", TensorProto.STRING, ["n"])],
        ).SerializeToString()), r"cannot be deployed: input 'x' is tensor\(string\), and only tensors of numbers are served"),
    ],
)  # fmt: skip
async def test_what_cannot_be_served_is_refused_with_its_place(tmp_path: Path, data: bytes, said: str) -> None:
    async with opened(tmp_path, Hub(**{FIRST: data})) as made:
        with pytest.raises(BadSpec, match=f"my.yaml:3: model: {FIRST} {said}"):
            await made.prepare(document(), ANN)


async def test_companies_without_a_sandbox_deploy_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, isolation=Isolation(reason="no user namespaces")) as made:
        with pytest.raises(
            BadSpec, match=r"my.yaml:3: model: models cannot be run here, isolated .* \(no user namespaces\)"
        ):
            await made.prepare(document(), ANN)


# -- questions


def several() -> bytes:
    """Two inputs, two outputs, of three types."""
    takes = [
        helper.make_tensor_value_info("a", TensorProto.INT64, ["n", 2]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT16, ["n", 2]),
    ]
    gives = [
        helper.make_tensor_value_info("more", TensorProto.BOOL, ["n", 2]),
        helper.make_tensor_value_info("sum", TensorProto.FLOAT16, ["n", 2]),
    ]
    nodes = [
        helper.make_node("Cast", ["a"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("Greater", ["c", "b"], ["more"]),
        helper.make_node("Add", ["c", "b"], ["sum"]),
    ]
    return bytes(finished(nodes, takes, gives).SerializeToString())


async def test_several_inputs_and_outputs_of_other_types_than_float(tmp_path: Path) -> None:
    a, b = np.array([[1, 2], [3, 2**52]]), np.array([[0.5, 2.0], [7.0, 0.0]], np.float16)
    a[1, 1] = 4
    async with opened(tmp_path, Hub(**{FIRST: several()})) as made:
        await applied(made)
        assert [(one["name"], one["datatype"], one["shape"]) for one in doors.metadata(made.get("line"))["inputs"]] == [
            ("a", "INT64", [-1, 2]), ("b", "FP16", [-1, 2]),
        ]  # fmt: skip
        wanted, head, found = await doors.infer(made, "line", asked(("b", b), ("a", a)))
        assert list(found) == ["more", "sum"] and found["more"].tolist() == [[True, False], [False, True]]
        assert oip.output("sum", found["sum"]) == {
            "name": "sum", "datatype": "FP16", "shape": [2, 2], "data": [1.5, 4.0, 10.0, 4.0],
        }  # fmt: skip
        body, length = oip.binary_response(dict(head), found, {"more": True, "sum": True})
        assert len(body) - length == 4 + 8 and body[length : length + 4] == b"\1\0\0\1"
        only = oip.RequestedOutput("sum", {"binary_data": True})
        wanted, _, found = await doors.infer(made, "line", asked(("a", a), ("b", b), outputs=[only]))
        assert wanted == {"sum": True} and list(found) == ["sum"]
        rows = [{"a": x.tolist(), "b": y.tolist()} for x, y in zip(a, b, strict=True)]
        assert await doors.predict(made, "line", rows) == [
            {"more": [True, False], "sum": [1.5, 4.0]}, {"more": [False, True], "sum": [10.0, 4.0]},
        ]  # fmt: skip
        with pytest.raises(
            BadTensor, match=r'instances of \'line\' are objects \{"a": ..., "b": ...\}: it takes \'a\' INT64'
        ):
            await doors.predict(made, "line", [[1, 2]])
        with pytest.raises(BadTensor, match=r"input 'a': expected INT64 \[n, 2\]: not every value is one of that type"):
            await doors.predict(made, "line", [{"a": [0.5, 1], "b": [1, 2]}])


async def test_a_question_that_does_not_fit_is_told_what_would(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await applied(made)
        for request, said in (
            (asked(), r"'line' is a deployed model and has no last forecast: it takes 'x' FP32 \[n, 3\]"),
            (asked(("z", X)), r"'line' takes 'x' FP32 \[n, 3\], got z"),
            (asked(("x", X.astype(np.float64))), r"input 'x': expected FP32 \[n, 3\], got FP64 \[2, 3\]"),
            (asked(("x", X.T)), r"input 'x': expected FP32 \[n, 3\], got FP32 \[3, 2\]"),
            (asked(("x", X[:, :0])), r"got FP32 \[2, 0\]"),
            (asked(("x", X), outputs=[oip.RequestedOutput("low")]), "there is no output 'low', only y"),
        ):
            with pytest.raises(BadTensor, match=said):
                await doors.infer(made, "line", request)
        with pytest.raises(BadTensor, match="has no last forecast"):
            await doors.predict(made, "line", [])
        assert made._runs.started == 1 and made.get("line").answers == 0
        _, _, found = await doors.infer(made, "line", asked(("x", X[:0])))
        assert found["y"].shape == (0, 2) and found["y"].dtype == np.float32
        assert await doors.predict(made, "line", X.tolist()) == (X @ WEIGHTS).tolist()
        assert await doors.predict(made, "line", [{"x": [1, 2, 3]}]) == [[2.0, 7.0]]
        for action in ("learn", "feedback", "explain"):
            with pytest.raises(Unsupported, match="is a deployed model, as it was registered, and"):
                doors.refuse("line", action)
        large = np.zeros((tensors.VALUES // 3 + 1, 3), np.float32)
        with pytest.raises(FixedLimit, match="the question is"):
            await made.ask(made.get("line"), {"x": large}, ["y"])


async def test_an_answer_of_too_many_numbers_is_not_sent(tmp_path: Path) -> None:
    times = helper.make_tensor("times", TensorProto.INT64, [2], [4096, 512])
    nodes = [
        helper.make_node("Shape", ["x"], ["of"]),
        helper.make_node("Mul", ["of", "times"], ["shape"]),
        helper.make_node("Expand", ["x", "shape"], ["y"]),
    ]
    takes = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    data = finished(nodes, [takes], [gives], [times]).SerializeToString()
    async with opened(tmp_path, Hub(**{FIRST: bytes(data)})) as made:
        await applied(made)
        with pytest.raises(BadTensor, match=r"the answer has 2,097,152 numbers, and 1,048,576 may be"):
            await doors.infer(made, "line", asked(("x", X[:1, :1])))


# -- models that mean no good


async def test_a_graph_that_computes_for_ever_ends_after_its_seconds_and_others_are_answered(tmp_path: Path) -> None:
    hub = Hub(**{FIRST: line(), SECOND: graphs.huge()})
    x = np.zeros((1, 24, 10), np.float32)
    async with opened(tmp_path, hub, isolation=QUICK) as made:
        await applied(made, written("good"), written("bad", SECOND))
        begin = time.monotonic()
        bad = asyncio.create_task(doors.infer(made, "bad", asked(("x", x))))
        await asyncio.sleep(0.1)
        good = asyncio.create_task(doors.infer(made, "good", asked(("x", X))))
        with pytest.raises(TooSlow, match=r"Model 'bad' was not answered within 2 s and its process was ended"):
            await bad
        _, _, found = await good
        assert np.array_equal(found["y"], X @ WEIGHTS) and time.monotonic() - begin < QUICK.seconds + 5


async def test_a_graph_that_wants_all_memory_meets_the_limit_of_its_process(tmp_path: Path) -> None:
    hub, x = Hub(**{FIRST: line(), SECOND: graphs.bomb()}), np.zeros((1, 24, 10), np.float32)
    async with opened(tmp_path, hub, settings=DeployedSettings(memory=2**29)) as made:
        await applied(made, written("good"), written("bad", SECOND))
        with pytest.raises(Unanswered, match=r"Model 'bad' cannot be answered: .*(alloc|memory)"):
            await doors.infer(made, "bad", asked(("x", x)))
        await doors.infer(made, "good", asked(("x", X)))
        assert made._runs.started == 1, "it met the limit in its own process, which goes on"


async def test_a_process_that_was_killed_is_started_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await applied(made)
        for _ in range(2):
            assert made._runs.process is not None
            os.kill(made._runs.process.pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
            _, _, found = await doors.infer(made, "line", asked(("x", X)))
            assert np.array_equal(found["y"], X @ WEIGHTS)
        assert made._runs.started == 3


# -- what goes between the two processes


def test_the_process_asks_for_a_model_it_has_not_got_and_keeps_those_asked_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = line()
    kept = program.Kept(3 * len(data))
    part = tensors.part("x", X)

    def ask(model: str, *, whole: bool = False) -> bytes:
        question = Question(model, ["cpu"], len(data) if whole else 0, [part], ["y"])
        return kept.answer(packed(question, [X], data if whole else b""))

    assert ask("a") == MISSING
    first = ask("a", whole=True)
    provider, found = _answers(first[1:], {"y": "FP32"})
    assert first[:1] == FOUND and provider == "cpu" and np.array_equal(found["y"], X @ WEIGHTS)
    assert ask("a") == first
    assert [ask(name, whole=True)[:1] for name in "bcd"] == [FOUND] * 3
    assert ask("a") == MISSING and ask("d") == first
    wrong = packed(Question("d", ["cpu"], inputs=[tensors.part("x", X.T)], outputs=["y"]), [X.T])
    assert kept.answer(wrong)[:1] == REFUSED and b"InvalidArgument" in kept.answer(wrong)
    for bad in (b"", b"\0\0\0\1{", packed(Question("d", ["cpu"], inputs=[part], outputs=["y"])), packed(Reply())):
        assert kept.answer(bad)[:1] in {FAILED, FOUND}
    none = kept.answer(packed(Question("e", ["cuda"], len(data)), rest=data))
    assert none[:1] == FAILED and b"none of cuda is on this machine, which has" in none


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    for kind in (Reply, About, Question):
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            tensors.opened(data, kind)
    with contextlib.suppress(ValueError, msgspec.MsgspecError):
        _answers(data, {"y": "FP32"})


@given(
    st.lists(
        st.builds(
            Part,
            st.sampled_from(["y", "z"]),
            st.sampled_from([*oip.DTYPES, "BYTES"]),
            st.lists(st.integers(-2, 5) | st.sampled_from([2**20, 2**21, 2**40, 2**62]), max_size=9),
        ),
        max_size=3,
    ),
    st.binary(max_size=60),
)
def test_what_a_head_promises_has_to_be_there(parts: list[Part], raw: bytes) -> None:
    try:
        made = tensors.arrays(parts, memoryview(raw))
    except ValueError:
        return
    assert sum(one.nbytes for one in made.values()) == len(raw)
    assert [(list(one.shape), oip.NAMES[one.dtype.newbyteorder("=")]) for one in made.values()] == [
        (part.shape, part.datatype) for part in parts
    ]


class Liar(Runs):
    """Its process says what it is told to say."""

    def __init__(self, *said: bytes) -> None:
        super().__init__(QUICK, 0)
        self.said = list(said)

    async def answer(self, question: Any, most: int, read: Any) -> Any:
        return read(self.said.pop(0))


async def test_a_process_that_lies_is_not_believed() -> None:
    async def whole() -> bytes:
        return b"model"

    y = np.ones((2, 2), np.float32)
    two = Reply("cpu", [tensors.part("y", y), tensors.part("z", y)])
    for said in (
        packed(Reply("cpu", [tensors.part("y", y)]), [y, y]),
        packed(Reply("cpu", [tensors.part("y", y)]), [y[:1]]),
        packed(Reply("cpu", [Part("y", "FP64", [2, 1])]), [y[:, :1].astype(np.float64)]),
        packed(Reply("cpu", [Part("y", "FP32", [2**20, 2**20])]), [y]),
        packed(two, [y, y]),
        packed(Reply()),
        b"no frame",
    ):
        with pytest.raises(Unanswered, match="Model 'a' cannot be answered: its answer is none"):
            await Liar(FOUND + said).ask("Model 'a'", ("d", ["cpu"]), {"x": X}, {"y": "FP32"}, whole)
    good = FOUND + packed(Reply("c\x1bpu", [tensors.part("y", y)]), [y])
    provider, found = await Liar(MISSING, good).ask("Model 'a'", ("d", ["cpu"]), {"x": X}, {"y": "FP32"}, whole)
    assert provider == "c?pu" and np.array_equal(found["y"], y)
    with pytest.raises(Unanswered, match="its process asks for it again"):
        await Liar(MISSING, MISSING).ask("Model 'a'", ("d", ["cpu"]), {"x": X}, {"y": "FP32"}, whole)
    port = tensors.Port("x", "FP32", [-1, 3])
    for about in (
        About(),
        About(providers=["cpu"] * 100),
        About([port] * 200, [port], ["cpu"]),
        About([port], [tensors.Port("y", "FP32", [0, 2**62, 2**62])], ["cpu"]),
        About([port], [tensors.Port("y", "BYTES", [1])], ["cpu"]),
        About([tensors.Port("x" * 300, "FP32", [1])], [port], ["cpu"]),
        About([tensors.Port("x", "FP32", [-2])], [port], ["cpu"]),
    ):
        with pytest.raises(Unanswered, match="its process says something else than asked"):
            await Liar(FOUND + packed(about)).look("d", b"model", ["cpu"])
    assert await Liar(FOUND + packed(About(providers=["c\x1bpu" + "u" * 100]))).here() == ["c?pu" + "u" * 36]


async def test_without_onnx_runtime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.services.learning.deployed.asking.find_spec", lambda name: None)
    async with opened(tmp_path) as made:
        with pytest.raises(MissingExtra, match=r"pip install 'headrace\[onnx\]'"):
            await made.prepare(document(), ANN)


async def test_a_disk_that_cannot_be_read_now_is_no_damage(tmp_path: Path) -> None:
    async with opened(tmp_path) as made:
        await applied(made)
    (file,) = (tmp_path / "deployments").glob("*.onnx")
    data = file.read_bytes()
    file.unlink()
    file.mkdir()  # reading it fails, and it is there
    async with opened(tmp_path) as made:
        with pytest.raises(Temporary, match="cannot be read now") as found:
            await doors.infer(made, "line", asked(("x", X)))
        assert not isinstance(found.value, NotReady) and made.get("line").fault == ""
        file.rmdir()
        file.write_bytes(data)
        await doors.infer(made, "line", asked(("x", X)))


def test_every_provider_has_one_short_name_and_every_package_a_provider() -> None:
    assert {providers.short(name) for name in providers.NAMES.values()} == set(providers.NAMES)
    assert set(providers.PACKAGES) <= set(providers.NAMES)
    assert all(not providers.wrong(name) for pair in providers.NAMES.items() for name in pair)


# -- bounds


async def test_all_of_a_company_have_a_bound_and_what_was_not_applied_leaves_nothing(tmp_path: Path) -> None:
    settings = DeployedSettings(total=len(line()) + 10)
    hub = Hub(**{FIRST: line(), SECOND: line(weights=-WEIGHTS)})  # a doc string more
    async with opened(tmp_path, hub, settings=settings) as made:
        with pytest.raises(BadSpec, match=r"my.yaml:7: model: all deployed models would be .*DeployedSettings.total"):
            await made.prepare(document(written(), written("two", SECOND)), ANN)
        await made.sweep()
        assert not list((tmp_path / "deployments").glob("*.onnx"))
        await applied(made)
        await applied(made, written("again"))  # the same bytes


async def test_what_could_not_be_taken_back_keeps_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, Hub(**{FIRST: line(), SECOND: line(weights=-WEIGHTS)})) as made:
        await applied(made)
        before = dict(made.known)
        prepared = await made.prepare(document(written(model=SECOND)), ANN)
        await made.commit(prepared)

        def full(*_: object) -> None:
            raise StorageUnavailable(detail="no space left")

        with monkeypatch.context() as patched:
            patched.setattr(made._shelf, "put", full)
            await made.revert(prepared, before)
        await made.sweep()
        assert made.get("line").known().model == FIRST
        assert len(list((tmp_path / "deployments").glob("*.onnx"))) == 2
    async with opened(tmp_path) as made:  # the disk has the other record: it answers
        assert made.get("line").known().model == SECOND and not made.get("line").fault


async def test_questions_in_json_have_a_bound_and_nulls_are_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(FixedLimit, match="raw bytes"):
        doors.bounded("line", doors.JSON + 1)
    async with opened(tmp_path) as made:
        await applied(made)
        with pytest.raises(BadTensor, match="there is a null in it"):
            await doors.predict(made, "line", [[1, None, 2]])
        with pytest.raises(BadTensor, match="rows of different lengths"):
            await doors.predict(made, "line", [[1, 2, 3], [3]])
        many = np.zeros((doors.NUMBERS + 1, len(WEIGHTS)), np.float32)
        with pytest.raises(FixedLimit, match="binary_data"):
            await doors.infer(made, "line", asked(("x", many)))
        wanted, _, found = await doors.infer(made, "line", asked(("x", many), parameters={"binary_data_output": True}))
        assert all(wanted.values()) and len(found["y"]) == len(many)
