"""A translation made once more: what is run, what is compared where other bytes come of it, and what that is taken for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import onnx
import pytest

from headrace.assets import Environment, Limits, Model, Parity
from headrace.claims import Retranslated
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, Tampered, Temporary
from headrace.services.sharing.service import SharingService
from headrace.services.translation import Wish
from headrace.services.translation.again import differences, missing, wish_of
from headrace.services.translation.sandboxed import Subject
from headrace.services.translation.service import TranslationService
from headrace.services.verification.rung_translated import judged
from headrace.services.verification.rungs import Skipped
from tests.hub import ACME, BOLT, grant, opened, uploaded
from tests.translating import WEIGHTS, Canned, linear, translating

HERE, THERE = "sha256:" + "1" * 64, "sha256:" + "2" * 64
RECORDED, OTHER, THIRD = (f"sha256:{digit * 64}" for digit in "abc")
NEAR = Parity(inputs=3, real=1, edge=1, made=1, worst=1e-7, mean=1e-8, scale=2.0, tolerance=2e-5)


class Somewhere(Canned):
    """A runner in an environment that can be another one tomorrow, which gives a file after the other."""

    def __init__(self, *models: onnx.ModelProto) -> None:
        super().__init__(models[0] if models else None)
        self.models = list(models)
        self.here = {"digest": HERE, "python": "3.11.2", "packages": {"onnx": "1.0", "skl2onnx": "7"}}

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        return self.here

    async def run(self, task: Any, cancel: asyncio.Event) -> Any:
        if self.models and not task.command[-1].endswith("parity"):
            self.model = self.models.pop(0)
        return await super().run(task, cancel)


def called(name: str, weights: Any = WEIGHTS) -> onnx.ModelProto:
    """The same answers in other bytes."""
    made = linear(weights)
    made.producer_name = name
    return made


async def again(service: TranslationService, model: Model) -> Retranslated:
    said: list[str] = []
    found = await service.retranslate(ACME, model, said.append)
    assert said[:2] == ["waits for other translations to end", "translates the original once more"]
    return found


def programs(runner: Canned) -> list[str]:
    return [task.command[-1].rpartition(".")[2] for task in runner.tasks]


def content(folder: Path, model: Model) -> Path:
    name = model.files[0].stored.sha256.removeprefix("sha256:")
    return min(
        (one for one in (folder / "artifacts").rglob(f"*{name[2:]}*") if one.is_file()), key=lambda x: len(x.name)
    )


async def test_the_same_bytes_need_no_stored_file_and_no_comparison(tmp_path: Path) -> None:
    runner = Somewhere()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        made = await service.translate(ACME, (await uploaded(hub, ACME)).id, Wish(opset=17, name="x"))  # type: ignore[call-arg]
        assert (made.fingerprint, made.environment) == (HERE, {"digest": HERE, "python": "3.11.2"})
        content(tmp_path, made).unlink()
        runner.tasks.clear()
        found = await again(service, made)
        assert (found.digest, found.fingerprint, found.parity, found.steady) == (made.digest, HERE, None, None)
        assert programs(runner) == ["translate"]
        assert judged(found, made.digest, made.fingerprint) == (
            f"{made.digest} once more, in the same environment",
            False,
        )


@pytest.mark.parametrize(
    ("files", "here", "said"),
    [
        ([called("one"), called("two"), called("two")], HERE, "a second translation in the same environment gave"),
        ([called("one"), called("two"), called("three")], HERE, "where no two translations give the same bytes"),
        ([called("one"), called("two")], THERE, r"another environment \(.*python 3.11.2 then, 3.12.0 now\)"),
    ],
)
async def test_other_bytes_of_the_same_answers(tmp_path: Path, files: Any, here: str, said: str) -> None:
    runner = Somewhere(*files)
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        made = await service.translate(ACME, (await uploaded(hub, ACME)).id, Wish())  # type: ignore[call-arg]
        if here != HERE:
            runner.here = {**runner.here, "digest": here, "python": "3.12.0"}
        found = await again(service, made)
        assert found.compared == made.digest != found.digest and found.parity is not None and not found.apart
        assert found.steady is (None if here != HERE else files[1] == files[2])
        if found.steady:
            with pytest.raises(Tampered, match=said):
                judged(found, made.digest, made.fingerprint)
        else:
            words, weaker = judged(found, made.digest, made.fingerprint)
            assert weaker and words.startswith("re-derived within tolerance, in ")
        content(tmp_path, made).unlink()
        runner.models = files[1:]
        gone = await again(service, made)
        assert (gone.compared, gone.parity) == ("", None) and "not there to be compared" in gone.apart
        with pytest.raises(Tampered if found.steady else Skipped, match=said):
            judged(gone, made.digest, made.fingerprint)


async def test_a_file_that_answers_otherwise_than_its_original(tmp_path: Path) -> None:
    runner = Somewhere()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        made = await service.translate(ACME, (await uploaded(hub, ACME)).id, Wish())  # type: ignore[call-arg]
        runner.models, runner.here = [called("two", WEIGHTS * 2)], {**runner.here, "digest": THERE}
        runner.arrays = {name: one * 2 if "_y" in name else one for name, one in runner.arrays.items()}
        found = await again(service, made)
        assert found.compared == made.digest and found.parity is None and "differ by up to" in found.apart
        with pytest.raises(Skipped, match=r"says nothing: .*differ by up to"):
            judged(found, made.digest, made.fingerprint)
        with pytest.raises(Tampered, match="does not answer as its original"):
            judged(found.model_copy(update={"fingerprint": HERE, "steady": False}), made.digest, HERE)


async def test_who_may_not_derive_any_more_and_what_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, Somewhere()) as service:
        original = await uploaded(hub, ACME)
        given = await grant(hub, ACME, original.id, "bolt", "derive")
        theirs = await service.translate(BOLT, original.id, Wish())  # type: ignore[call-arg]
        assert (await service.retranslate(BOLT, theirs, lambda _: None)).digest == theirs.digest
        await hub.granting.revoke(ACME, given)
        with pytest.raises((Forbidden, NotFound)):
            await service.retranslate(BOLT, theirs, lambda _: None)
        with pytest.raises(BadInput, match="is no translation"):
            await service.retranslate(ACME, original, lambda _: None)
        said = theirs.translation
        assert said is not None
        other = theirs.model_copy(update={"translation": said.model_copy(update={"digest": OTHER})})
        with pytest.raises(Conflict, match="not the model any more"):
            await service.retranslate(ACME, other, lambda _: None)
        await hub.removing.delete(ACME, original.id)
        with pytest.raises(NotFound):
            await service.retranslate(ACME, theirs, lambda _: None)


async def test_it_ends_with_whoever_asked_and_with_the_platform(tmp_path: Path) -> None:
    runner = Somewhere()
    async with opened(tmp_path) as hub, translating(hub, tmp_path, runner) as service:
        made = await service.translate(ACME, (await uploaded(hub, ACME)).id, Wish())  # type: ignore[call-arg]
        runner.gate = asyncio.Event()
        for ends in ("caller", "platform"):
            runner.tasks.clear()
            task = asyncio.create_task(service.retranslate(ACME, made, lambda _: None))
            while not runner.tasks:
                await asyncio.sleep(0.01)
            if ends == "caller":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                service.quiet()
                with pytest.raises(Temporary, match="stopped with the platform"):
                    await task
            assert not service._running
        with pytest.raises(Temporary):
            await service.retranslate(ACME, made, lambda _: None)


async def test_what_was_asked_for_is_read_from_the_record(hub_: SharingService, tmp_path: Path) -> None:
    async with translating(hub_, tmp_path, Somewhere()) as service:
        original = (await uploaded(hub_, ACME)).id
        for wish in (Wish(), Wish(tolerance=0.25, name="another record")):  # type: ignore[call-arg]
            made = await service.translate(ACME, original, wish)
            assert wish_of(made) == wish.model_copy(update={"input_shape": [3], "name": ""})
        assert wish_of(made.model_copy(update={"input_shape": [-1, 3]})).input_shape is None
        assert wish_of(made.model_copy(update={"input_shape": None})).input_shape is None
        here = {"python": "3.11.2", "packages": {"torch": "0", "onnx": "x"}}
        named = differences(made.model_copy(update={"environment": {"python": "3.10.1", "blas": "b"}}), here)
        assert {"torch", "onnx", "onnxruntime", "numpy", "python", "blas"} == {one.split(" ")[0] for one in named}
        assert "python 3.10.1 then, 3.11.2 now" in named


@pytest.fixture
async def hub_(tmp_path: Path) -> Any:
    async with opened(tmp_path / "hub") as hub:
        yield hub


def told(**more: Any) -> Retranslated:
    return Retranslated.model_validate({"digest": OTHER, "fingerprint": HERE, **more})


@pytest.mark.parametrize(
    ("made", "fingerprint", "outcome", "words"),
    [
        (told(digest=RECORDED, fingerprint=THERE), HERE, None, "once more, in another environment"),
        (told(digest=RECORDED), "", None, "an environment that may be another"),
        (told(), HERE, Tampered, "in the same environment gave"),
        (told(steady=True, compared=RECORDED, parity=NEAR), HERE, Tampered, "in the same environment gave"),
        (told(steady=False, compared=RECORDED, parity=NEAR), HERE, "weaker", "no two translations"),
        (
            told(missing="2 of its datasets", compared=RECORDED, parity=NEAR),
            HERE,
            "weaker",
            "without 2 of its datasets",
        ),
        (told(compared=RECORDED, parity=NEAR), "", "weaker", "1.0e-07 on 3 inputs; 2.0e-05 may be"),
        (told(compared=THIRD, parity=NEAR), THERE, Tampered, "what is stored is not what was recorded"),
        (told(compared=RECORDED, apart="far"), THERE, Skipped, "says nothing: far"),
        (told(apart="it is gone"), THERE, Skipped, "it is gone"),
    ],
)
def test_what_a_second_translation_is_taken_for(made: Any, fingerprint: str, outcome: Any, words: str) -> None:
    if isinstance(outcome, type):
        with pytest.raises(outcome, match=words):
            judged(made, RECORDED, fingerprint)
        return
    said, weaker = judged(made, RECORDED, fingerprint)
    assert words in said and weaker is (outcome == "weaker")


def test_datasets_that_are_gone_are_named_where_samples_came_from_them() -> None:
    about: dict[str, Any] = {"id": "md_1", "company": "acme", "name": "n", "created_ms": 0, "created_by": "ann"}
    said = {"of": "md_0", "digest": OTHER, "framework": "torch", "exporter": "torchscript", "opset": 17}
    said |= {"dtypes": "", "versions": {}, "parity": NEAR}
    model = Model.model_validate({**about, "state": "translated", "translation": said})
    subject = Subject(Path(), "", False, None, None, None, left_out=1)
    assert missing(model, subject) == "1 of its datasets, which is gone or not to be used any more"
    assert not missing(model, Subject(Path(), "", False, None, None, None))
