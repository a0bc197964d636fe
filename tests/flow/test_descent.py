"""Nothing is made of a record that was changed, and what was made of something revoked says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.assets import REVOKED, Model
from headrace.claims import Report
from headrace.commands import records
from headrace.commands import train as trains
from headrace.commands.records import state_of
from headrace.errors import Conflict, Tampered
from headrace.services.sharing.fence import Page
from headrace.services.sharing.lineage import SAID
from headrace.services.translation import Wish
from headrace.services.translation.service import TranslationService
from tests.flow.test_anchoring_downloads import change
from tests.hub import ACME, BOLT, Trainer, dataset, grant, recipe, train
from tests.ladders import SNAPSHOT
from tests.notary import House, house, impatient
from tests.translating import Canned, translating

WISH = Wish()  # type: ignore[call-arg]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@dataclass
class Made:
    """A house with a trained model on its ledger, and who translates it without a sandbox."""

    here: House
    trainer: Trainer
    translations: TranslationService
    model: Model

    async def report(self, id: str, who: Any = ACME) -> Report:
        """Of a verification up to L1."""
        words = [one async for one in self.here.notary.verify(who, id, "L1")]
        assert isinstance(words[-1], Report)
        return words[-1]

    async def trained(self, name: str, **given: Any) -> Model:
        """A model of a recipe, recorded."""
        made = await recipe(self.here.hub, ACME, code=f"PK {name}".encode(), **given)
        await train(self.here.hub, self.trainer, made.id, self.here.folder / name)
        await self.here.settled()
        return await self.here.hub.model(ACME, made.id)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Made]:
    trainer = Trainer()
    async with (
        house(tmp_path, trainer=trainer) as here,
        translating(here.hub, tmp_path, Canned()) as translations,
    ):
        found = Made(here, trainer, translations, None)  # type: ignore[arg-type]
        data = await dataset(here.hub, ACME)
        found.model = await found.trained("first", datasets=[data.id])
        yield found


CHANGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "metrics": lambda record: record.update(metrics={"loss": 0.1}),
    "name": lambda record: record.update(name="better"),
    "datasets": lambda record: record.update(datasets=[]),
}


async def test_a_changed_record_is_copied_into_no_translation(made: Made) -> None:
    """Also where the work was done before, so that nothing is read of its files."""
    hub, id = made.here.hub, made.model.id
    first = await made.translations.translate(ACME, id, WISH)
    for changed in CHANGED.values():
        before = await change(made.here, id, changed)
        for wish in (Wish(name="o2"), Wish(opset=18)):  # type: ignore[call-arg]
            with pytest.raises(Tampered):
                await made.translations.translate(ACME, id, wish)
        with pytest.raises(Tampered):
            async with hub.content(ACME, first.id, "read") as onnx:
                assert first.translation is not None
                await hub.translated(ACME, id, first.translation, onnx, {}, "o3")
        await change(made.here, id, lambda record, before=before: record.update(before))  # type: ignore[misc]
    assert [one.id for one in await hub.page(ACME, "model", Page())] == [first.id, id]
    assert (await made.translations.translate(ACME, id, Wish(name="o2"))).metrics == {"loss": 0.5}  # type: ignore[call-arg]


async def test_a_claim_names_no_digest_of_an_input_that_the_ledger_does_not_have(made: Made) -> None:
    data = made.model.datasets[0]
    await change(made.here, data, lambda record: record["stored"].update(sha256="sha256:" + "0" * 64))
    child = await recipe(made.here.hub, ACME, datasets=[data])
    await made.here.settled()
    child = await made.here.hub.model(ACME, child.id)
    assert (child.anchoring, child.contract) == ("failed", "") and "sha256" in child.anchoring_note


async def test_a_revoked_model_is_not_translated(made: Made) -> None:
    hub, id = made.here.hub, made.model.id
    there = await made.translations.translate(ACME, id, WISH)
    await hub.anchoring.revoke(ACME, id, "trained on the wrong meter")
    for wish in (WISH, Wish(name="o2"), Wish(opset=18)):  # type: ignore[call-arg]
        with pytest.raises(Conflict, match=r"its owner revoked it .trained on the wrong meter."):
            await made.translations.translate(ACME, id, wish)
    async with hub.content(ACME, there.id, "read") as onnx:
        assert there.translation is not None
        with pytest.raises(Conflict, match="revoked"):
            await hub.translated(ACME, id, there.translation, onnx, {}, "o3")


async def test_what_was_made_of_something_revoked_is_not_intact(made: Made) -> None:
    hub, here = made.here.hub, made.here
    translation = await made.translations.translate(ACME, made.model.id, WISH)
    child = await made.trained("child", parent=made.model.id)
    grandchild = await made.trained("grandchild", parent=child.id)
    found = {"framework": "torch", "parent": made.model.id}
    snapshot = await hub.snapshot("acme", SNAPSHOT, "pv", b"weights", found)
    below = [translation.id, child.id, grandchild.id, snapshot.id]
    await here.done()
    for id in below:
        report = await made.report(id)
        assert (report.level, report.passed) == ("L1", True), report
        check = next(one for one in report.checks if one.name == "what it was made of")
        assert "nobody revoked" in check.detail
    await hub.anchoring.revoke(ACME, made.model.id, "the wrong meter")
    await here.done()
    for id in below:
        await change(here, made.model.id, lambda record: record.update(anchoring_note=""))  # the ledger is asked
        report = await made.report(id)
        assert (report.level, report.passed) == ("L0", False), report
        check = next(one for one in report.checks if one.name == "what it was made of")
        assert check.state == "failed" and f"{made.model.id}: the wrong meter" in check.detail
        assert "what it was made of was revoked" in report.says


async def test_a_stranger_hears_that_something_further_up_was_revoked_and_not_what(made: Made) -> None:
    child = await made.trained("child", parent=made.model.id)
    grandchild = await made.trained("grandchild", parent=child.id)
    await grant(made.here.hub, ACME, grandchild.id, "bolt", "read")
    await made.here.hub.anchoring.revoke(ACME, made.model.id, "the wrong meter")
    await made.here.done()
    check = next(one for one in (await made.report(grandchild.id, BOLT)).checks if one.name == "what it was made of")
    assert "something further up that you may not see: the wrong meter" in check.detail
    assert made.model.id not in check.detail
    nodes = [node for node in (await made.here.hub.lineage(BOLT, grandchild.id)).nodes if node.revoked]
    assert [(node.id.startswith("hidden_"), node.company, node.revoked) for node in nodes] == [(True, "", SAID)]


async def test_a_dataset_that_was_deleted_later_says_nothing_against_its_models(made: Made) -> None:
    await made.here.hub.removing.delete(ACME, made.model.datasets[0])
    await made.here.done()
    report = await made.report(made.model.id)
    assert (report.level, report.passed) == ("L1", True)
    check = next(one for one in report.checks if one.name == "what it was made of")
    assert f"{made.model.datasets[0]}: deleted by its owner" in check.detail


async def test_cards_bills_and_lineages_say_what_was_revoked(made: Made) -> None:
    hub, here = made.here.hub, made.here
    child = await made.trained("child", parent=made.model.id)
    assert "evoked" not in await here.notary.card(ACME, child.id) + str(await here.notary.bom(ACME, child.id))
    await hub.anchoring.revoke(ACME, made.model.id, "the wrong meter")
    await here.done()
    text, bill = await here.notary.card(ACME, made.model.id), await here.notary.bom(ACME, made.model.id)
    assert text.splitlines()[2] == "**Revoked** by its owner, and not to be relied upon any more: the wrong meter"
    assert {"name": "headrace:revoked", "value": "the wrong meter"} in bill["metadata"]["component"]["properties"]
    assert f"{made.model.id}: the wrong meter" in (await here.notary.card(ACME, child.id)).splitlines()[2].replace(
        "\\", ""
    )
    bill = await here.notary.bom(ACME, child.id)
    said = bill["metadata"]["component"]
    assert {"name": "headrace:made_of_revoked", "value": f"{made.model.id}: the wrong meter"} in said["properties"]
    assert "Made of what was revoked" in said["modelCard"]["considerations"]["technicalLimitations"][0]
    nodes = {node.id: node.revoked for node in (await hub.lineage(ACME, child.id)).nodes}
    assert (nodes[made.model.id], nodes[child.id]) == ("the wrong meter", "")
    assert any("description" in left for left in (await made.report(child.id)).not_checked)


async def test_a_row_that_is_no_record_any_more_breaks_no_list_and_no_start(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        good, bad = await dataset(here.hub, ACME), await dataset(here.hub, ACME, b"other", name="lost")
        await here.settled()
        weather = here.weather
        await here.hub._hub.book.write(
            lambda connection: connection.exec_driver_sql(
                "UPDATE datasets SET record = substr(record, 1, 40) WHERE id = ?", (bad.id,)
            )
        )
    async with house(tmp_path, weather) as here:
        listed = {one.id: one for one in await here.hub.page(ACME, "dataset", Page())}
        assert listed.keys() == {good.id, bad.id}
        assert (listed[bad.id].name, listed[bad.id].anchoring_note[:10]) == ("lost", "unreadable")
        with pytest.raises(Tampered, match="cannot be read any more"):
            await here.hub.dataset(ACME, bad.id)
        with pytest.raises(Tampered):
            _ = [one async for one in here.notary.verify(ACME, bad.id, "L1")]
        assert (await here.hub.lineage(ACME, good.id)).nodes[0].id == good.id
        assert state_of(listed[bad.id].model_dump()) == "UNREADABLE"


def test_words_that_commands_know_without_importing_them() -> None:
    assert (records.REVOKED, records.DATASET.keys()) == (REVOKED, {"pending", "done", "failed", "none"})


async def test_what_was_deleted_still_says_what_was_recorded(made: Made) -> None:
    hub, notary, data = made.here.hub, made.here.notary, made.model.datasets[0]
    alone = await dataset(hub, ACME, b"alone")
    await made.here.settled()
    assert await hub.removing.delete(ACME, data) and not await hub.removing.delete(ACME, alone.id)
    await made.here.done()
    for id in (data, alone.id):
        (said,) = await notary.contracts(ACME, id)
        assert said.revoked == "deleted by its owner"
    assert (await hub.dataset(ACME, data)).anchoring_note == "revoked: deleted by its owner"
    report = await made.report(data)
    assert (report.level, report.passed) == ("none", False)
    assert next(one for one in report.checks if one.name == "revocation").detail == "revoked: deleted by its owner"


def test_training_on_what_was_revoked_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {
        "/datasets/ds_1": httpx.Response(200, json={"anchoring_note": "revoked: the wrong meter"}),
        "/models/md_1": httpx.Response(200, json={"anchoring_note": "waits for the ledger"}),
        "/datasets/ds_2": httpx.Response(404, json={"error": "gone"}),
    }
    monkeypatch.setattr(trains, "ask", lambda url, method, path: known[path])
    trains._warn("", {"datasets": ["ds_1"], "evaluation": ["ds_1", "ds_2"], "parent": "md_1"})
    assert capsys.readouterr().err == (
        "warning: ds_1 is revoked (the wrong meter): what is made of it is not verified beyond L0\n"
    )
