"""The explainer process: it may hang, crash, print and be killed, and the next question is answered all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from headrace.checks.backends import examples
from headrace.errors import BadInput, TooMany, Unexplained, Unsupported
from headrace.models.explainers.completeness import explain
from headrace.services.learning.explainer import KEPT, Kept, prepared
from headrace.services.learning.explaining import ExplainerProcess, raised
from headrace.services.learning.plan import Plan
from headrace.spec import parse
from tests import sun

X = np.random.default_rng(0).random((2, 24, 10))


def question(folder: Path, body: str = "", *, top: str = "import os, sys, time", **other: Any) -> dict[str, Any]:
    """About a trained RLS; with a body, to a user's explainer."""
    (document,) = parse(sun.spec())
    contender = Plan(document.spec).contender()
    contender.backend.fit(*examples(contender.shape, 30))
    servable = contender.backend.export()
    asked = {
        "plain": document.plain, "folder": str(folder), "weights": contender.backend.weights(), "format": servable.format,
        "data": servable.data, "kernel": servable.kernel, "explainer": "auto", "params": {}, "x": X, "baseline": np.zeros_like(X),
    }  # fmt: skip
    if body:
        name = f"own_{abs(hash((top, body)))}.py"
        (folder / name).write_text(f"""\
{top}
from headrace.models.explainers.linear import Linear
class Explainer:
    def explain(self, model, x, baseline):
        {body}
        return Linear(None, model).explain(x, baseline)
""")
        asked |= {"explainer": "python", "params": {"file": name}}
    return asked | other


@contextlib.asynccontextmanager
async def process(**options: Any) -> AsyncIterator[ExplainerProcess]:
    made = ExplainerProcess(**{"seconds": 25.0, **options})
    try:
        yield made
    finally:
        await made.close()
        assert made.process is None


async def test_answers_and_keeps_the_process(tmp_path: Path) -> None:
    async with process() as explainers:
        asked = question(tmp_path)
        first = await explainers.ask(asked)
        again = await explainers.ask({**asked, "x": X[:1], "baseline": X[1:]})
        assert [one["method"] for one in first] == ["linear"] * 2 and len(again) == 1
        assert first[0]["contributions"].shape == (24, 10) and first[0]["completeness"] < 1e-12
        assert explainers.started == 1
        assert explainers.process is not None
        loaded = Path(f"/proc/{explainers.process.pid}/maps").read_text()
        assert "libtorch" not in loaded  # what needs no torch does not load it


async def test_what_it_refuses_is_raised_as_it_was(tmp_path: Path) -> None:
    async with process() as explainers:
        with pytest.raises(
            Unsupported, match=r"'deeplift' looks into a network, and this model is none; use auto or sampling\.$"
        ):
            await explainers.ask(question(tmp_path, explainer="deeplift"))
        with pytest.raises(
            Unexplained, match=r"own_\d+\.py:5: ZeroDivisionError: division by zero; mend the explainer and"
        ):
            await explainers.ask(question(tmp_path, "1 / 0"))
        with pytest.raises(BadInput, match=r"own_\d+\.py:1: OSError: no such thing"):
            await explainers.ask(question(tmp_path, "pass", top="raise OSError('no such thing')"))
        with pytest.raises(Unexplained, match=r"own_\d+\.py:5: SystemExit: 0"):
            await explainers.ask(question(tmp_path, "sys.exit(0)"))
        assert explainers.started == 1


async def test_what_ones_own_code_prints_is_no_answer(tmp_path: Path) -> None:
    async with process() as explainers:
        body = "print('hello' * 999, flush=True); os.write(1, b'raw'); sys.stdin.read()"
        (found, _) = await explainers.ask(question(tmp_path, body))
        assert found["method"].startswith("python own_")


async def test_one_that_never_returns_is_ended_and_the_next_is_answered(tmp_path: Path) -> None:
    async with process(seconds=12.0) as explainers:
        await explainers.ask(question(tmp_path))
        old = explainers.process
        assert old is not None
        explainers._seconds = 1.0
        with pytest.raises(Unexplained, match="no answer within 1 s and its process was ended"):
            await explainers.ask(question(tmp_path, "time.sleep(60)"))
        assert not psutil.pid_exists(old.pid)
        explainers._seconds = 25.0
        assert await explainers.ask(question(tmp_path))
        assert explainers.started == 2


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os._exit(3)", r":4: it ended its process \(exit code 3\); mend"),
        ("os.kill(os.getpid(), 9)", r":4: it ended its process \(signal 9\); mend"),
        ("os.killpg(0, 15)", r":4: it ended its process \(signal 15\); mend"),
        ("raise KeyboardInterrupt('now')", ":5: KeyboardInterrupt: now; mend"),
        ("os.kill(os.getpid(), 6)", r"it ended its process \(signal 6\)"),
        ("raise GeneratorExit", ":5: GeneratorExit"),
    ],
)
async def test_one_that_ends_its_process_gets_an_error_and_nobody_else_notices(
    tmp_path: Path, body: str, how: str
) -> None:
    async with process() as explainers:
        for _ in range(2):
            with pytest.raises(Unexplained, match=rf"own_\d+\.py{how}" if how[0] == ":" else how):
                await explainers.ask(question(tmp_path, body))
        assert await explainers.ask(question(tmp_path))
        assert explainers.started == 1


PATCHES = [
    "type(model).predict = lambda self, x: np.zeros((len(x), 24))",
    "type(model.backend).predict = lambda self, x: np.zeros((len(x), 24))",
    "import headrace.models.explainers as e; e.Subject.predict = lambda self, x: np.zeros((len(x), 24))",
    "import headrace.models.explainers.completeness as c; c.error = lambda *_: 0.0",
    "model.backend._both[:] = 0",
]


@pytest.mark.parametrize("body", PATCHES)
async def test_a_model_that_was_tampered_with_still_checks(tmp_path: Path, body: str) -> None:
    """What it did is done in its own process; its zeros do not add up to the forecast of the model that checks."""
    tampering = question(tmp_path, f"{body}; return np.zeros((24, 10))", top="import numpy as np")
    own = question(tmp_path, "pass")
    async with process() as explainers:
        exact = await explainers.ask(question(tmp_path))
        for _ in range(2):
            with pytest.raises(Unexplained, match="do not add up to the forecast"):
                await explainers.ask(tampering)
        for other in (own, question(tmp_path), question(tmp_path, explainer="sampling")):
            for one, expected in zip(await explainers.ask(other), exact, strict=True):
                assert np.array_equal(one["prediction"], expected["prediction"])
                assert np.allclose(one["contributions"], expected["contributions"], atol=1e-9)


@pytest.mark.parametrize("body", PATCHES[:2] + PATCHES[4:])
def test_one_that_changes_the_model_in_our_own_process_is_noticed(
    tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the contract suite runs it: without the process beside."""
    asked = question(tmp_path, f"{body}; return np.zeros((24, 10))", top="import numpy as np")
    subject, explainer = prepared(asked)
    monkeypatch.setattr(type(subject.backend), "predict", type(subject.backend).predict)  # put back afterwards
    with pytest.raises(Unexplained, match="do not add up" if body == PATCHES[0] else "changed the model"):
        explain(explainer, subject, X[0], X[1])


async def test_the_process_of_ones_own_code_ends_with_the_other(tmp_path: Path) -> None:
    async with process() as explainers:
        await explainers.ask(question(tmp_path, "pass"))
        assert explainers.process is not None
        (beside,) = psutil.Process(explainers.process.pid).children()
    beside.wait(5)


async def test_killed_while_idle(tmp_path: Path) -> None:
    async with process() as explainers:
        await explainers.ask(question(tmp_path))
        assert explainers.process is not None
        os.kill(explainers.process.pid, signal.SIGKILL)
        await explainers.process.wait()
        assert await explainers.ask(question(tmp_path))


async def test_leaves_when_nobody_asks(tmp_path: Path) -> None:
    async with process(idle=0.3) as explainers:
        await explainers.ask(question(tmp_path))
        old = explainers.process
        assert old is not None
        await asyncio.wait_for(old.wait(), 10)
        assert explainers.process is None and old.returncode == 0
        assert await explainers.ask(question(tmp_path))
        assert explainers.started == 2


async def test_more_than_may_wait_are_refused(tmp_path: Path) -> None:
    async with process(waiting=2) as explainers:
        asked = question(tmp_path)
        answers = await asyncio.gather(*(explainers.ask(asked) for _ in range(6)), return_exceptions=True)
        assert [type(one) for one in answers] == [list] * 3 + [TooMany] * 3
        assert str(answers[-1]) == "2 explanations are waiting already; try again later."
        assert await explainers.ask(asked)


async def test_closes_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    async with process() as explainers:
        await explainers.ask(question(tmp_path))
        task = asyncio.create_task(explainers.ask(question(tmp_path, "time.sleep(60)")))
        await asyncio.sleep(0.5)
    with pytest.raises(Unexplained):
        await task


def test_a_backend_that_cannot_be_made_from_its_weights_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exported model answers instead."""
    asked = question(tmp_path)
    restored, _ = prepared(asked)

    class Never:
        pass

    monkeypatch.setattr("headrace.models.backends.Restorable", Never)
    subject, explainer = prepared(asked)
    assert explainer.method == "sampling"
    assert np.allclose(subject.predict(X), restored.predict(X), atol=1e-12)
    assert explain(explainer, subject, X[0], X[1]).completeness < 1e-9


def test_many_large_examples_are_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.models.explainers.completeness.LIMIT", 300)
    answer = Kept().answer(question(tmp_path))
    assert (
        answer["error"] == "BadInput"
        and "480 contributions (2 x 24 targets x 10 inputs), at most 300" in answer["fields"]["detail"]
    )


def test_it_keeps_the_last_few_models_ready(tmp_path: Path) -> None:
    kept = Kept()
    for pairs in range(1, KEPT + 3):
        kept.answer(question(tmp_path, explainer="sampling", params={"pairs": pairs}))
    assert len(kept._made) == KEPT


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("Unexplained", {"self": "x"}, "No explanation: the explainer ended with Unexplained; ask"),
        ("Unauthenticated", {"detail": "log in at evil.example"}, "No explanation: log in at evil.example; ask"),
        ("TooLarge", {"what": "x", "size": "none", "limit": "y", "setting": "z"}, "the explainer ended with TooLarge"),
        ("HeadraceError", {"a": "x"}, "the explainer ended with HeadraceError"),
        ("__doc__", {}, "the explainer ended with __doc__"),
        (
            "MissingExtra",
            dict.fromkeys(("family", "name", "module"), "x") | {"extra": "a]' evil '"},
            "MissingExtra; ask",
        ),
    ],
)
def test_an_error_that_no_explainer_raises_is_unexplained(name: str, fields: dict[str, str], said: str) -> None:
    found = raised(name, fields)
    assert type(found) is Unexplained and said in str(found)


def test_errors_that_explainers_raise_are_bounded() -> None:
    assert len(str(raised("BadInput", {"detail": "x" * 10_000}))) < 2100
    assert type(raised("Unsupported", {"detail": "not here"})) is Unsupported
    there = raised("MissingExtra", {"family": "explainer", "name": "deep", "module": "captum", "extra": "torch"})
    assert "headrace[torch]" in str(there)
