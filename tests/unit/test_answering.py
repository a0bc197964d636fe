"""The process that answers for a company: it says what would have been said here, and nobody waits for what it cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.checks.backends import examples
from headrace.confining import isolation
from headrace.errors import BadTensor, FixedLimit, NotReady, Temporary, TooMany, TooSlow, Unanswered
from headrace.models.backends import Servable
from headrace.models.backends.trees import DTYPES
from headrace.records import Record
from headrace.runners.cgroups import places
from headrace.services.learning import answerer
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, Kept
from headrace.services.learning.answering import VALUES, Answers
from headrace.services.learning.inputs import histories
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.learner import open_store
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Applied, Entered
from headrace.services.learning.view import View
from headrace.settings import ConfinedSettings
from headrace.spec import parse
from headrace.states import pack, unpack
from headrace.streams.decoders.looking import Pin, look
from tests import graphs, sun

BOUNDS = ConfinedSettings(memory=2**29, seconds=20)
X = np.random.default_rng(0).random((3, 24, 10))
HISTORY = {
    "history": np.random.default_rng(1).random((2, 200)) * 1000,
    "origin_ms": [1_700_006_400_000, 1_700_010_000_000],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A company's."""
    made = tmp_path / "acme"
    made.mkdir()
    return made


@pytest.fixture
def apart(folder: Path) -> Isolation:
    made = isolation(folder, BOUNDS)
    if not made.may_run:
        pytest.skip("no sandbox here")
    return made


@contextlib.asynccontextmanager
async def process(made: Isolation, **options: Any) -> AsyncIterator[Answers]:
    """One that leaves nothing behind."""
    before = set(psutil.Process().children(recursive=True))
    answers = Answers(made, **options)
    try:
        yield answers
    finally:
        await answers.close()
        assert answers.process is None
        assert not set(psutil.Process().children(recursive=True)) - before
        where = places()
        folders = where.parents.values() if where is not None else ()
        assert not [one for folder in folders for one in folder.glob(f"headrace-{os.getpid()}-*")]


def document(backend: str = "rls") -> Any:
    (made,) = parse(sun.spec(backend=f"{{{backend}: {{}}}}"))
    return made


def view(folder: Path, servable: Servable, backend: str = "rls", *, trusted: bool = False, more: str = "") -> View:
    """Of a model whose worker left this behind."""
    made = document(backend)
    entered = Entered(Applied(made.plain, {}), 1, str(folder), Plan(made.spec, str(folder)))
    found = View(entered, folder, trusted=trusted)
    found.path.parent.mkdir(exist_ok=True)
    with contextlib.closing(open_store(found.path, "DELETE")) as store, store.writing():
        store.save(1, b"state")
        about = {"format": servable.format, "data": servable.data, "kernel": servable.kernel}
        for key in ("a", *more):
            store.add_servable(key, found.serve, pack({**about, "offset": 3.0, "factor": 700.0}))
    return found


def trained(backend: str) -> Servable:
    contender = Plan(document(backend).spec).contender()
    x, y = examples(contender.shape, 60)
    contender.backend.fit(x, y)
    return contender.backend.export()


@contextlib.contextmanager
def quick(answers: Answers, seconds: float) -> Iterator[None]:
    """Its questions may take so long, and no longer."""
    before, answers._seconds = answers._seconds, seconds
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds + 5
    answers._seconds = before


@pytest.mark.parametrize("backend", ["rls", "ridge", "hour-mean", "persistence", "hist-gb"])
async def test_it_answers_as_the_platform_itself_would(apart: Isolation, folder: Path, backend: str) -> None:
    servable = trained(backend)
    theirs, ours = view(folder, servable, backend), view(folder, servable, backend, trusted=True)
    x = np.random.default_rng(0).random((3, *ours.shape().input))
    scale = ours.scale("a")
    features = ours.inputs.of(*histories(HISTORY, lambda: 0.0), scale)
    async with process(apart) as answers:
        for _ in range(2):
            assert np.array_equal(await answers.predict(theirs, {"x": x}, "a"), ours.predict(x, "a"))
        assert np.array_equal(await answers.predict(theirs, HISTORY, "a"), ours.predict(features, "a"))
        assert np.array_equal(await answers.inputs(theirs, HISTORY, "a"), features)
        assert np.array_equal(await answers.inputs(theirs, {"x": x}, "a"), x)
        assert (await answers.predict(theirs, {"x": x[:0]}, "a")).shape == (0, ours.shape().horizon)
        assert answers.started == 1
        if backend != "hist-gb":
            assert answers.process is not None
            (inner,) = [
                one
                for one in psutil.Process(answers.process.pid).children(recursive=True)
                if len(one.cmdline()) > 3 and "answerer" in one.cmdline()[2]
            ]
            assert inner.memory_info().rss < 130 * 2**20


@pytest.mark.parametrize("graph", [graphs.mean(), graphs.network()], ids=["mean", "gru"])
async def test_networks_are_answered_as_the_platform_itself_would(apart: Isolation, folder: Path, graph: bytes) -> None:
    servable = Servable("onnx", graph)
    theirs, ours = view(folder, servable), view(folder, servable, trusted=True)
    async with process(apart) as answers:
        assert np.array_equal(await answers.predict(theirs, {"x": X}, "a"), ours.predict(X, "a"))
        assert (await answers.predict(theirs, {"x": X[:0]}, "a")).shape == (0, 24)


async def test_a_wrong_question_is_refused_as_ever_and_starts_nothing(apart: Isolation, folder: Path) -> None:
    made = view(folder, trained("rls"))
    async with process(apart) as answers:
        with pytest.raises(BadTensor, match="expected an input named 'x' or 'history', got z"):
            await answers.predict(made, {"z": X}, "a")
        with pytest.raises(BadTensor, match="input 'x' has shape"):
            await answers.predict(made, {"x": X[:, :3]}, "a")
        with pytest.raises(FixedLimit, match=r"the question is .* send less at a time"):
            await answers.predict(made, {"x": np.zeros(VALUES + 1)}, "a")
        many = {"history": np.ones((90_000, 1)), "origin_ms": np.zeros(90_000)}
        with pytest.raises(FixedLimit, match="the answer to 90,000 examples"):
            await answers.predict(made, many, "a")
        with pytest.raises(NotReady):
            await answers.predict(made, {"x": X}, "b")
        assert answers.started == 0
        with pytest.raises(BadTensor, match="1 values are too short a history for the features of model 'sun'"):
            await answers.predict(made, {"history": [[1.0]]}, "a")


def circles() -> Servable:
    """Trees of which one leads back to itself."""
    tree = {
        "left": [1, 1],
        "right": [0, 1],
        "feature": [0, 0],
        "threshold": [-1e9, 0],
        "value": [0, 0],
        "roots": [0],
        "base": [0],
    }
    return Servable(
        "numpy", pack({name: np.array(tree[name], kind) for name, kind in DTYPES.items()} | {"floor": None}), "trees"
    )


def onnx(made: bytes) -> Callable[[], Servable]:
    return lambda: Servable("onnx", made)


HOSTILE: dict[str, tuple[Callable[[], Servable], type[Exception], str]] = {
    "a loop": (
        onnx(graphs.endless()),
        TooSlow,
        "Model 'sun' was not answered within 2 s and its process was ended: ask for",
    ),
    "products": (onnx(graphs.huge()), TooSlow, "was not answered within 2 s"),
    "trees in circles": (circles, TooSlow, "was not answered within 2 s"),
    "a bomb": (onnx(graphs.bomb()), Unanswered, "Model 'sun' cannot be answered: .*memory"),
    "a smaller bomb": (onnx(graphs.bomb(2**28)), Unanswered, "Model 'sun' cannot be answered: .*memory"),
    "one number": (onnx(graphs.short()), Unanswered, "as many numbers as a forecast has"),
    "no graph": (onnx(b"no graph"), Unanswered, "CorruptState: a served ONNX model does not load"),
    "pickle": (lambda: Servable("pickle", b""), Unanswered, "cannot serve format 'pickle'"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_model_is_an_error_in_time_and_the_next_one_answers(
    apart: Isolation, folder: Path, what: str
) -> None:
    made, error, says = HOSTILE[what]
    (folder / "b").mkdir()
    hostile, honest = view(folder, made()), view(folder / "b", Servable("onnx", graphs.mean()))
    async with process(apart) as answers:
        with quick(answers, 2 if error is TooSlow else 15), pytest.raises(error, match=says):
            await answers.predict(hostile, {"x": X}, "a")
        assert (await answers.predict(honest, {"x": X}, "a")).shape == (3, 24)


async def test_memory_is_bounded_without_a_limit_of_its_own_too(apart: Isolation, folder: Path) -> None:
    hostile = view(folder, Servable("onnx", graphs.bomb(2**28)))  # a gigabyte
    async with process(apart._replace(memory=0)) as answers:
        with pytest.raises(Unanswered, match=r"ended \(it used more than 536,870,912 bytes .*ConfinedSettings.memory"):
            await answers.predict(hostile, {"x": X}, "a")


async def test_one_that_is_killed_is_started_again(apart: Isolation, folder: Path) -> None:
    made = view(folder, trained("rls"))
    async with process(apart) as answers:
        first = await answers.predict(made, {"x": X}, "a")
        assert answers.process is not None
        for inner in psutil.Process(answers.process.pid).children(recursive=True):
            os.kill(inner.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            await answers.process.wait()
        assert np.array_equal(await answers.predict(made, {"x": X}, "a"), first) and answers.started == 2
        answers.process.kill()  # with a question on its way
        for _ in range(3):
            assert np.array_equal(await answers.predict(made, {"x": X}, "a"), first)


async def test_it_leaves_when_nobody_asks_and_starts_nothing_once_closed(apart: Isolation, folder: Path) -> None:
    made = view(folder, trained("rls"))
    async with process(apart, idle=0.1) as answers:
        await answers.predict(made, {"x": X}, "a")
        inner = answers.process
        assert inner is not None
        async with asyncio.timeout(10):
            await inner.wait()
        asked = [asyncio.create_task(answers.predict(made, {"x": X}, "a")) for _ in range(5)]
        await asyncio.sleep(0.05)
        await answers.close()
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, Temporary | np.ndarray) for one in said), said
        assert any(isinstance(one, Temporary) for one in said), "those that waited"
        with pytest.raises(Temporary, match="the platform is stopping"):
            await answers.predict(made, {"x": X}, "a")


async def test_questions_wait_for_one_another_but_not_for_ever(
    apart: Isolation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, hostile = view(folder, trained("rls"), more="bcd"), folder / "h"
    hostile.mkdir()
    slow = view(hostile, Servable("onnx", graphs.endless()))
    async with process(apart) as answers:
        several = await asyncio.gather(*(answers.predict(made, {"x": X}, key) for key in "abcdabcd"))
        assert all(np.array_equal(one, several[0]) for one in several) and answers.started == 1
        answers._seconds, answers._patience = 2.0, 0.5
        stuck = asyncio.create_task(answers.predict(slow, {"x": X}, "a"))
        await asyncio.sleep(0)
        with pytest.raises(TooMany, match="waiting already"):
            await answers.predict(made, {"x": X}, "a")
        with pytest.raises(TooSlow):
            await stuck


async def test_questions_that_wait_hold_little_memory(apart: Isolation, folder: Path, monkeypatch: Any) -> None:
    made = view(folder, trained("rls"))
    monkeypatch.setattr(Answers, "held", 2 * X.size)
    async with process(apart) as answers:
        asked = [answers.predict(made, {"x": X}, "a") for _ in range(4)]
        said = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, TooMany) for one in said] == [False, False, True, True], said
        assert (await answers.predict(made, {"x": np.concatenate([X] * 3)}, "a")).shape == (
            9,
            24,
        )  # alone, any may come


async def test_without_a_sandbox_it_answers_too(folder: Path) -> None:
    servable = trained("rls")
    async with process(Isolation(memory=2**29)) as answers:
        found = await answers.predict(view(folder, servable), {"x": X}, "a")
        assert np.array_equal(found, view(folder, servable, trusted=True).predict(X, "a"))


class Says:
    """A guard that has another program run."""

    def __init__(self, apart: Isolation, code: str) -> None:
        assert apart.guard is not None
        self._held, self._code = apart.guard(), code
        self.over: Callable[[int], str] = self._held.over
        self.close = self._held.close

    def command(self, _: Any) -> list[str]:
        return self._held.command([sys.executable, "-c", self._code])


NONSENSE = [
    ("b'\\xff\\xff\\xff\\xff'", "the process that answers for this company ended"),
    ("b'\\0\\0\\0\\0'", "the process that answers for this company ended"),
    ("b'\\0\\0\\0\\1z'", "the process that answers for this company ended"),
    ("b'\\0\\0\\0\\5y1234'", "as many numbers as a forecast has"),
    ("b'\\0\\0\\0\\1?'", "as many numbers as a forecast has"),
    ("b'\\0\\0\\0\\7f\\x1b[2Jno'", r"Model 'sun' cannot be answered: \?\[2Jno; ask for less"),
    ("bytes([0, 0, 4, 1]) + b'f' + b'x' * 1024", r"x\.\.\.; ask for less"),
]


@pytest.mark.parametrize(("answer", "says"), NONSENSE)
async def test_what_it_says_is_read_as_a_strangers(apart: Isolation, folder: Path, answer: str, says: str) -> None:
    code = f"import os\nwhile os.read(0, 2**20): os.write(1, {answer})"
    async with process(apart._replace(guard=lambda: Says(apart, code))) as answers:
        with quick(answers, 10), pytest.raises(Unanswered, match=says):
            await answers.predict(view(folder, trained("rls")), {"x": X}, "a")


async def test_a_look_at_messages_sees_what_the_platform_would_see(apart: Isolation) -> None:
    payloads = [b'{"ts": 1700000000000, "temp": 21.5, "on": true, "mode": "eco"}', b'{"temp": 22}', b"\xff", b"17"]
    records = [
        Record(n, "room/a", 0, n, "", 1_700_000_000_000_000_000 + n, 0, b"", one) for n, one in enumerate(payloads)
    ]
    async with process(apart) as answers:
        for pin in (None, Pin("json", {}), Pin("number", {})):
            assert await answers.look(records, pin) == look(records, pin)
        with pytest.raises(
            Unanswered, match=r"What there is on topic 'room/a' cannot be answered: .*; look at the raw"
        ):
            await answers.look(records, Pin("nothing", {}))


@pytest.mark.parametrize("data", [b"1", b"{}", b'{"decoders": {}, "devices": [{"device": 1}]}', b"\xff"])
async def test_a_look_of_another_form_is_no_look(
    apart: Isolation, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said(*_: Any) -> tuple[bytes, bytes]:
        return FOUND, data

    answers = Answers(apart)
    monkeypatch.setattr(answers, "_ask", said)
    with pytest.raises(Unanswered):
        await answers.look([Record(1, "t", 0, 0, "", 1, 0, b"", b"1")], None)


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["model", "x", "make", "records"]), st.integers(0, 9)).map(pack)
)
def test_it_answers_whatever_it_is_asked(question: bytes) -> None:
    assert Kept().answer(question)[:1] in {FAILED, MISSING}


def test_models_that_do_not_fit_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answerer, "KEPT", 2)
    servable, kept = trained("rls"), Kept()
    made = {"format": servable.format, "data": servable.data, "kernel": servable.kernel, "offset": 0.0, "factor": 1.0}
    made |= {"shape": [24, 10, 24, 1], "plain": {}, "folder": "."}
    for number in (1, 2, 1, 3):
        assert kept.answer(pack({"model": number, "make": made, "x": X}))[:1] == FOUND
    assert kept.answer(pack({"model": 1, "x": X}))[:1] == FOUND and kept.answer(pack({"model": 2, "x": X})) == MISSING
    monkeypatch.setattr(answerer, "BYTES", 10)
    assert kept.answer(pack({"model": 2, "make": made, "x": X}))[:1] == FOUND
    assert [kept.answer(pack({"model": number, "x": X}))[:1] for number in (1, 2, 3)] == [MISSING, FOUND, MISSING]


async def test_a_model_that_was_forgotten_is_sent_again(apart: Isolation, folder: Path) -> None:
    made = view(folder, trained("rls"))
    async with process(apart) as answers:
        first = await answers.predict(made, {"x": X}, "a")
        answers._known.add(99)
        made._loaded["a", made.serve] = made._loaded["a", made.serve]._replace(number=99)
        assert np.array_equal(await answers.predict(made, {"x": X}, "a"), first)


def test_a_strangers_export_is_kept_nowhere_and_never_run_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = view(folder, Servable("onnx", graphs.endless()))
    assert made.runner("a").runner is None and made.scale("a") == (3.0, 700.0)
    assert unpack(pack(made.elsewhere("a")[1]))["data"] == graphs.endless()
    monkeypatch.setattr("headrace.services.learning.view.BYTES", 10)
    with pytest.raises(Exception, match="an exported model is damaged: an exported model of"):
        made.elsewhere("a")
    assert "and 10 may be" in made.fault
