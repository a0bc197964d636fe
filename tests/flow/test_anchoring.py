"""The lifecycle of what is recorded: registered, trained, revoked; a ledger that is gone, slow, or dies in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace import claims, merkle
from headrace.access import Principal
from headrace.assets import Model, Parity, Translation
from headrace.errors import Conflict, Forbidden, NotFound, Tampered, UnknownContract, Unsupported
from headrace.trust.ledgers import Anchor, Deploy, Record, Revoke
from tests.hub import ACME, BOLT, Inspector, Trainer, dataset, grant, opened, person, recipe, train, uploaded
from tests.notary import House, Weather, house, impatient, until
from tests.snapshots import snapshot

VIEWER = person("acme", "viewer", name="vic")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
async def here(tmp_path: Path, trainer: Trainer) -> AsyncIterator[House]:
    async with house(tmp_path, trainer=trainer) as found:
        yield found


async def claim_of(here: House, id: str, who: Principal = ACME) -> dict[str, Any]:
    [said] = await here.notary.contracts(who, id)
    return said.claim


async def test_a_dataset_is_recorded_with_its_statistics(tmp_path: Path) -> None:
    inspector = Inspector(samples=3, statistics={"columns": [{"name": "a", "mean": 0.5}]})
    inspector.gate = asyncio.Event()
    async with house(tmp_path, inspect=inspector) as here:
        made = await dataset(here.hub, ACME)
        assert (made.anchoring, made.contract) == ("waiting", "")
        await asyncio.sleep(0.1)
        assert not here.weather.acts  # it is looked into first
        inspector.gate.set()
        await here.settled()
        now = await here.hub.dataset(ACME, made.id)
        assert now.anchoring == "anchored" and now.contract.startswith("0x")
        claim = await claim_of(here, made.id)
        signer = (await here.notary.keys(ACME, "acme")).signer
        assert claim == json.loads(claims.canonical(claims.signed(claims.dataset_claim(now), signer)))
        assert (claim["samples"], claim["statistics"]) == (3, {"columns": [{"name": "a", "mean": 0.5}]})
        assert [type(act) for act in here.weather.acts] == [Deploy]
        assert await here.notary.recorded(now) == now.stored.sha256


async def test_a_recipe_is_recorded_when_it_is_registered_and_when_it_is_trained(here: House, trainer: Trainer) -> None:
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id], parameters={"rate": 0.5})
    assert model.anchoring == "waiting"
    await here.settled()
    model = await here.hub.model(ACME, model.id)
    assert model.anchoring == "anchored"
    claim = await claim_of(here, model.id)
    data = await here.hub.dataset(ACME, data.id)
    assert claim["datasets"] == [
        {"id": data.id, "sha256": data.stored.sha256, "root": data.stored.root, "contract": data.contract}
    ]
    assert claim["recipe"]["parameters"] == {"rate": 0.5} and "digest" not in claim
    with pytest.raises(UnknownContract):
        await here.notary.recorded(model)
    made = await train(here.hub, trainer, model.id, here.folder / "out")
    assert made.anchoring == "waiting"
    await here.settled()
    made = await here.hub.model(ACME, model.id)
    assert (made.anchoring, made.contract) == ("anchored", model.contract)
    [said] = await here.notary.contracts(ACME, model.id)
    assert said.result is not None and said.result["digest"] == made.digest and said.result["metrics"] == {"loss": 0.5}
    assert await here.notary.recorded(made) == made.digest
    assert [type(act) for act in here.weather.acts] == [Deploy, Deploy, Record]


async def test_later_evaluations_are_no_part_of_the_result(here: House, trainer: Trainer) -> None:
    data, held_out = await dataset(here.hub, ACME), await dataset(here.hub, ACME, b"a\n1\n")
    model = await recipe(here.hub, ACME, datasets=[data.id])
    await train(here.hub, trainer, model.id, here.folder / "out")
    await here.settled()
    job = trainer.jobs[model.id].model_copy(update={"id": "jb_2", "kind": "evaluate", "dataset": held_out.id})
    made = await here.hub.evaluated(job, {"loss": 0.1})
    assert made.metrics[held_out.id]["loss"] == 0.1
    assert await here.notary.recorded(made) == made.digest


async def test_an_upload_says_all_at_once(here: House) -> None:
    made = await uploaded(here.hub, ACME)
    await here.settled()
    claim = await claim_of(here, made.id)
    assert (claim["kind"], claim["digest"]) == ("model_unverified", made.digest)
    assert await here.notary.recorded(await here.hub.model(ACME, made.id)) == made.digest


async def test_nothing_is_anchored_while_the_ledger_is_gone(here: House, trainer: Trainer) -> None:
    here.weather.gone = True
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id])

    async def waits() -> bool:
        found = await here.hub.dataset(ACME, data.id), await here.hub.model(ACME, model.id)
        return all(one.anchoring_note for one in found)

    await until(waits)
    first, second = await here.hub.dataset(ACME, data.id), await here.hub.model(ACME, model.id)
    assert (first.anchoring, first.contract, second.anchoring, second.contract) == ("waiting", "", "waiting", "")
    assert "the ledger does not answer" in first.anchoring_note and data.id in second.anchoring_note
    await train(here.hub, trainer, model.id, here.folder / "out")
    assert not here.weather.acts
    here.weather.gone = False

    async def anchored() -> bool:
        return (await here.hub.model(ACME, model.id)).anchoring == "anchored"

    await until(anchored)
    assert [type(act) for act in here.weather.acts] == [Deploy, Deploy, Record]
    assert (await here.hub.dataset(ACME, data.id)).anchoring_note == ""


async def test_a_slow_ledger_keeps_nobody_waiting(here: House) -> None:
    here.weather.slow = 0.3
    made = [await dataset(here.hub, ACME, b"a\n%d\n" % number) for number in range(5)]
    assert {(await here.hub.dataset(ACME, one.id)).anchoring for one in made} == {"waiting"}
    await here.settled()
    assert {(await here.hub.dataset(ACME, one.id)).anchoring for one in made} == {"anchored"}


async def test_an_answer_that_was_lost_is_the_first_receipt_again(here: House) -> None:
    here.weather.dies = True
    made = await dataset(here.hub, ACME)

    async def done() -> bool:
        return len(here.weather.acts) > 1

    await until(done)
    assert (await here.hub.dataset(ACME, made.id)).anchoring == "waiting"
    here.weather.dies = False
    await here.settled()

    async def anchored() -> bool:
        return (await here.hub.dataset(ACME, made.id)).anchoring == "anchored"

    await until(anchored)
    assert len(set(here.weather.acts)) == 1 and (await here.weather.status()).height == 1


async def test_assets_from_before_there_was_a_ledger_are_recorded_at_the_next_start(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        model = await recipe(hub, ACME, datasets=[data.id])
        await train(hub, trainer, model.id, tmp_path / "out")
        net = await uploaded(hub, BOLT)
        assert (data.anchoring, model.anchoring, net.anchoring) == ("off", "off", "off")
    weather = Weather()
    for _ in range(2):
        async with house(tmp_path, weather, trainer=trainer) as here:
            await here.settled()
            found = [
                await here.hub.dataset(ACME, data.id),
                await here.hub.model(ACME, model.id),
                await here.hub.model(BOLT, net.id),
            ]
            assert [one.anchoring for one in found] == ["anchored"] * 3
            assert await here.notary.recorded(found[1]) == found[1].digest
    assert (await weather.status()).height == 4
    async with opened(tmp_path, trainer=trainer) as hub:  # without a ledger again
        assert (await hub.dataset(ACME, data.id)).anchoring == "anchored"
        fresh = await dataset(hub, ACME, b"x\n1\n")
        assert (fresh.anchoring, fresh.contract) == ("off", "")


async def test_what_waits_waits_no_more_without_a_ledger(tmp_path: Path) -> None:
    weather = Weather()
    weather.gone = True
    async with house(tmp_path, weather) as here:
        data = await dataset(here.hub, ACME)
    async with opened(tmp_path) as hub:
        assert (await hub.dataset(ACME, data.id)).anchoring == "off"
    weather.gone = False
    async with house(tmp_path, weather) as here:
        await here.settled()
        assert (await here.hub.dataset(ACME, data.id)).anchoring == "anchored"


async def test_a_ledger_that_begins_anew_has_all_recorded_again(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        data = await dataset(here.hub, ACME)
        await here.settled()
        first = (await here.hub.dataset(ACME, data.id)).contract
    for left in tmp_path.glob("verification.db*"):
        left.unlink()
    async with house(tmp_path, anew=True) as here:
        await dataset(here.hub, ACME, b"x\n")
        await here.settled()
        again = await here.hub.dataset(ACME, data.id)
        assert again.anchoring == "anchored" and first and await here.notary.recorded(again)


# -- revocation


async def test_deletion_revokes(here: House) -> None:
    made, waiting = await dataset(here.hub, ACME), await uploaded(here.hub, ACME)
    await here.settled()
    address = (await here.hub.dataset(ACME, made.id)).contract
    assert not await here.hub.removing.delete(ACME, made.id)
    await here.settled()
    said = await here.notary.contract(ACME, address)
    assert said["revoked"] == "deleted by its owner" and said["asset"] == made.id
    with pytest.raises(UnknownContract):
        await here.notary.contract(BOLT, address)
    here.weather.gone = True
    late = await dataset(here.hub, ACME, b"late\n1\n")
    await here.hub.removing.delete(ACME, late.id)
    await here.hub.removing.delete(ACME, waiting.id)
    here.weather.gone = False
    await here.done()
    acts = here.weather.acts
    tried = any(
        isinstance(act, Deploy) and late.id.encode() in act.claim for act in acts
    )  # then it may have been there
    assert sum(isinstance(act, Revoke) for act in acts) == 2 + tried


async def test_the_things_of_a_deleted_company_are_revoked(here: House) -> None:
    made = await dataset(here.hub, ACME)
    await here.settled()
    here.weather.gone = True
    for _ in range(2):
        await here.hub.leaving.close("acme")
    here.weather.gone = False

    async def revoked() -> bool:
        return (
            Revoke((await here.notary.reading.recorded(made.id)).address, "its company was deleted")
            in here.weather.acts
        )

    await until(revoked)


async def test_what_is_deleted_while_its_contract_is_deployed_is_revoked(here: House) -> None:
    here.weather.slow = 0.2
    made = await dataset(here.hub, ACME)
    await asyncio.sleep(0.25)
    await here.hub.removing.delete(ACME, made.id)
    await here.settled()
    assert [type(act) for act in here.weather.acts] == [Deploy, Revoke]


async def test_what_is_deleted_keeps_nobody_waiting(here: House) -> None:
    here.weather.gone = True
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id])
    assert await here.hub.removing.delete(ACME, data.id)  # a tombstone: the model depends on it
    here.weather.gone = False
    await here.done()
    assert (await here.hub.model(ACME, model.id)).anchoring == "anchored"


async def test_its_owner_revokes_with_a_reason(here: House) -> None:
    made = await uploaded(here.hub, ACME)
    await here.settled()
    await grant(here.hub, ACME, made.id, "bolt", "read")
    with pytest.raises(Forbidden):
        await here.hub.anchoring.revoke(BOLT, made.id, "mine now")
    with pytest.raises(Forbidden):
        await here.hub.anchoring.revoke(VIEWER, made.id, "no")
    with pytest.raises(NotFound):
        await here.hub.anchoring.revoke(person("coda"), made.id, "no")
    revoked = await here.hub.anchoring.revoke(ACME, made.id, "trained on the wrong meter")
    assert revoked.anchoring_note == "revoked: trained on the wrong meter"
    await here.settled()
    [said] = await here.notary.contracts(BOLT, made.id)
    assert said.revoked == "trained on the wrong meter"
    with pytest.raises(Conflict):
        await here.hub.anchoring.revoke(ACME, made.id, "again")
    lines = [(one.action, one.allowed) for one in await here.hub.audit(ACME) if one.action == "revoke"]
    assert lines.count(("revoke", True)) == 1 and lines.count(("revoke", False)) >= 2


async def test_without_a_ledger_nothing_can_be_revoked(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME)
        with pytest.raises(Unsupported):
            await hub.anchoring.revoke(ACME, made.id, "why")


# -- secrets


async def test_of_a_confidential_asset_the_chain_has_a_digest_only(here: House, trainer: Trainer) -> None:
    data = await dataset(here.hub, ACME, b"secret,b\n1,2\n", name="top secret plant", confidential=True)
    model = await recipe(here.hub, ACME, datasets=[data.id])
    await train(here.hub, trainer, model.id, here.folder / "out")
    net = await uploaded(here.hub, ACME, b"more secrets", name="hidden net", confidential=True)
    await here.settled()
    chain = b"".join(act.claim if isinstance(act, Deploy) else act.result for act in here.weather.acts)  # type: ignore[union-attr]
    record = await here.hub.dataset(ACME, data.id)
    for told in ("top secret", "hidden", data.stored.sha256, data.stored.root, net.digest, "plant.csv"):
        assert told.encode() not in chain
    [said] = await here.notary.contracts(ACME, data.id)
    assert set(said.claim) == {"schema", "id", "company", "sealed", "signer"}
    assert said.opened is not None and said.opened["name"] == "top secret plant"
    assert (await claim_of(here, model.id))["datasets"] == [{"id": data.id, "contract": record.contract}]
    assert await here.notary.recorded(record) == data.stored.sha256
    assert await here.notary.recorded(await here.hub.model(ACME, net.id)) == net.digest
    with pytest.raises(NotFound):
        await here.notary.contracts(BOLT, data.id)


async def test_a_held_result_is_sealed_until_released(here: House, trainer: Trainer) -> None:
    data = await dataset(here.hub, BOLT)
    await grant(here.hub, BOLT, data.id, "acme", "train")
    model = await recipe(here.hub, ACME, datasets=[data.id])
    made = await train(here.hub, trainer, model.id, here.folder / "out", told_by_its_name=b"w")
    await here.settled()
    [act] = [act for act in here.weather.acts if isinstance(act, Record)]
    assert (
        b"loss" not in act.result and b"told_by_its_name" not in act.result and made.digest.encode() not in act.result
    )
    [mine] = await here.notary.contracts(ACME, model.id)
    [theirs] = await here.notary.contracts(BOLT, model.id)
    assert mine.result_opened is None and mine.result is not None and set(mine.result) == set(theirs.result or {})
    assert theirs.result_opened is not None and theirs.result_opened["metrics"] == {"loss": 0.5}
    await here.hub.granting.release(BOLT, model.id)
    [mine] = await here.notary.contracts(ACME, model.id)
    assert mine.result_opened is not None and mine.result_opened["digest"] == made.digest
    now = await here.hub.model(ACME, model.id)
    assert now.anchoring == "anchored" and await here.notary.recorded(now) == made.digest


async def test_what_was_sealed_stays_so_in_what_is_made_of_it(here: House, trainer: Trainer) -> None:
    """Released, and to be used: but what the chain did not say of it, it does not say by its translation or its child either."""
    data = await dataset(here.hub, BOLT)
    await grant(here.hub, BOLT, data.id, "acme", "train")
    net = await recipe(here.hub, ACME, datasets=[data.id])
    made = await train(here.hub, trainer, net.id, here.folder / "out", told_by_its_name=b"w")
    await here.settled()
    await here.hub.granting.release(BOLT, net.id)
    net = await here.hub.model(ACME, net.id)
    (here.folder / "m.onnx").write_bytes(b"onnx")
    onnx = await here.hub.translated(ACME, net.id, _translation(net), here.folder / "m.onnx", {})
    child = await recipe(here.hub, ACME, datasets=[], parent=net.id)
    await here.settled()
    deployed = [act.claim for act in here.weather.acts if isinstance(act, Deploy)]
    assert not any(b"loss" in one or made.digest.encode() in one for one in deployed)
    [said] = await here.notary.contracts(ACME, onnx.id)
    assert said.opened is not None and said.opened["translation"]["digest"] == made.digest
    assert (await claim_of(here, child.id))["parent"] == {"id": net.id, "contract": net.contract}
    assert await here.notary.recorded(await here.hub.model(ACME, onnx.id)) == onnx.digest


# -- translations and snapshots


def _translation(model: Model) -> Translation:
    parity = Parity(inputs=1, real=1, edge=0, made=0, worst=0.0, mean=0.0, scale=1.0, tolerance=1e-5)
    return Translation(
        of=model.id,
        digest=model.digest,
        framework="torch",
        exporter="t",
        opset=17,
        dtypes="",
        versions={},
        parity=parity,
    )


async def test_a_translation_has_a_contract_of_its_own(here: House) -> None:
    net = await uploaded(here.hub, ACME)
    (here.folder / "m.onnx").write_bytes(b"onnx")
    made = await here.hub.translated(ACME, net.id, _translation(net), here.folder / "m.onnx", {})
    assert made.anchoring == "waiting"
    await here.settled()
    claim = await claim_of(here, made.id)
    net = await here.hub.model(ACME, net.id)
    assert claim["kind"] == "translation" and claim["translation"]["of"] == net.id
    assert claim["parent"] == {"id": net.id, "digest": net.digest, "contract": net.contract}
    assert await here.notary.recorded(await here.hub.model(ACME, made.id)) == made.digest


async def test_snapshots_are_anchored_in_batches_with_proofs(here: House) -> None:
    made = [await here.hub.snapshot("acme", snapshot(n), f"pv {n}", b"w%d" % n, {}) for n in range(20)]
    await here.settled()
    anchors = [act for act in here.weather.acts if isinstance(act, Anchor)]
    assert 3 <= len(anchors) < 20 and sum(one.count for one in anchors) == 20 and max(one.count for one in anchors) <= 8
    for one in made:
        now = await here.hub.model(ACME, one.id)
        [said] = await here.notary.contracts(ACME, one.id)
        assert (now.anchoring, now.contract, said.kind) == ("anchored", said.address, "batch")
        proof = said.inclusion
        assert proof is not None and said.claim["snapshot"]["published_ms"] == one.snapshot.published_ms  # type: ignore[union-attr]
        path = [bytes.fromhex(step.removeprefix("sha256:")) for step in proof.path]
        root = bytes.fromhex(proof.root.removeprefix("sha256:"))
        merkle.check(merkle.leaf(claims.canonical(said.claim)), proof.place, proof.count, path, root)
        assert root in {act.root for act in anchors}
        assert await here.notary.recorded(now) == now.digest


async def test_a_snapshot_is_revoked_by_a_leaf_of_a_later_batch(here: House) -> None:
    made = await here.hub.snapshot("acme", snapshot(1), "pv", b"w", {})
    await here.settled()
    await here.hub.anchoring.revoke(ACME, made.id, "the meter was broken")
    await here.settled()
    [said] = await here.notary.contracts(ACME, made.id)
    assert said.revoked == "the meter was broken"
    assert sum(isinstance(act, Anchor) for act in here.weather.acts) == 2


# -- the index, changed behind our backs


async def test_a_changed_row_is_noticed(here: House, trainer: Trainer) -> None:
    data = await dataset(here.hub, ACME)
    other = await dataset(here.hub, ACME, b"other\n1\n")
    model = await recipe(here.hub, ACME, datasets=[data.id])
    await train(here.hub, trainer, model.id, here.folder / "out")
    leaf = await here.hub.snapshot("acme", snapshot(1), "pv", b"w", {})
    await here.hub.snapshot("acme", snapshot(2), "pv", b"x", {})
    await here.settled()
    book = here.notary._book

    async def changed(table: str, column: str, value: Any, id: str, row: str = "asset") -> None:
        """As a person with the file would; and back again."""
        before: list[Any] = []

        def write(connection: Any) -> None:
            before.append(connection.exec_driver_sql(f"SELECT {column} FROM {table} WHERE {row} = ?", (id,)).scalar())
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = ? WHERE {row} = ?", (value, id))

        def back(connection: Any) -> None:
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = ? WHERE {row} = ?", (before[0], id))

        await book.write(write)
        record = await (here.hub.dataset(ACME, id) if id.startswith("ds") else here.hub.model(ACME, id))
        try:
            with pytest.raises(Tampered):
                await here.notary.recorded(record)
        finally:
            await book.write(back)
        assert await here.notary.recorded(record)

    address = (await here.hub.dataset(ACME, other.id)).contract
    claim = claims.canonical({**await claim_of(here, data.id), "name": "another"})
    for column, value in (
        ("address", address), ("address", "0x" + "1" * 40), ("claim", claim), ("deployed", "0x1"), ("company", "bolt"),
        ("kind", "model"), ("reason", "because"), ("result", b"{}"),
    ):  # fmt: skip
        if (column, value) not in {("reason", "because"), ("result", b"{}")}:
            await changed("contracts", column, value, data.id)
    for column, value in (("result", b'{"digest":"sha256:0"}'), ("recorded", "0x1")):
        await changed("contracts", column, value, model.id)
    await changed("leaves", "claim", b'{"id":"x"}', leaf.id)
    await changed("leaves", "place", 1 - _place(await here.notary.contracts(ACME, leaf.id)), leaf.id)


def _place(said: list[Any]) -> int:
    return int(said[0].inclusion.place)


async def test_a_lost_index_is_made_again_from_the_chain(tmp_path: Path, trainer: Trainer) -> None:
    async with house(tmp_path, trainer=trainer) as here:
        data = await dataset(here.hub, ACME)
        model = await recipe(here.hub, ACME, datasets=[data.id])
        secret = await dataset(here.hub, ACME, b"secret\n", confidential=True)
        await here.settled()
        weather = here.weather
    for left in tmp_path.glob("verification.db*"):
        left.unlink()
    async with house(tmp_path, weather, trainer=trainer) as here:
        await train(here.hub, trainer, model.id, here.folder / "out")
        await here.settled()
        made = await here.hub.model(ACME, model.id)
        assert made.anchoring == "anchored" and await here.notary.recorded(made) == made.digest
        [said] = await here.notary.contracts(ACME, data.id)
        assert await here.notary.contract(ACME, said.address) == said.model_dump()
        assert (await weather.status()).height == 4  # nothing was deployed twice
        with pytest.raises(Tampered, match="only its digest is left"):
            await here.notary.recorded(await here.hub.dataset(ACME, secret.id))
        await here.hub.anchoring.revoke(ACME, data.id, "because")
        await here.settled()
        [said] = await here.notary.contracts(ACME, data.id)
        assert said.revoked == "because"


async def test_a_record_cannot_borrow_a_contract(here: House) -> None:
    data, other = await dataset(here.hub, ACME), await dataset(here.hub, ACME, b"other\n")
    await here.settled()
    await here.notary._book.write(lambda c: c.exec_driver_sql("DELETE FROM contracts WHERE asset = ?", (data.id,)))
    address = (await here.hub.dataset(ACME, other.id)).contract
    record = (await here.hub.dataset(ACME, data.id)).model_copy(update={"contract": address})
    with pytest.raises(Tampered):
        await here.notary.recorded(record)


async def test_another_chain_is_noticed(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        await dataset(here.hub, ACME)
        await here.settled()

    class Other(Weather):
        async def status(self) -> Any:
            from dataclasses import replace

            return replace(await super().status(), genesis="0xother")

    async with house(tmp_path, Other()) as here:
        made = await dataset(here.hub, ACME, b"new\n1\n")
        await here.settled()
        now = await here.hub.dataset(ACME, made.id)
        assert now.anchoring == "failed" and "another chain" in now.anchoring_note
