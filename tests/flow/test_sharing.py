"""The hub's rules, each by a test of its name: two and three companies, real tables, real files."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from benchmarks import register
from sqlalchemy import Connection

from headrace.assets import Dataset, Model
from headrace.errors import BadInput, Conflict, Forbidden, NoIsolation, NotFound, NotReady, UnknownAsset
from headrace.services.sharing import fence
from headrace.services.sharing.fence import Page, put, unfenced
from headrace.services.sharing.requests import NewDataset
from tests.hub import (
    ACME,
    BOLT,
    CODA,
    Clock,
    Inspector,
    Trainer,
    dataset,
    grant,
    opened,
    person,
    read,
    recipe,
    train,
    uploaded,
)

MIB = 2**20


# -- registering and finding


async def test_a_dataset_is_registered_found_and_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME, b"x" * 3 * MIB, description="roof")
        assert (made.company, made.created_by, made.stored.size, made.media) == ("acme", "ann", 3 * MIB, "csv")
        assert await hub.dataset(ACME, made.id) == made
        assert await read(hub, ACME, made.id) == b"x" * 3 * MIB
        async with hub.content(ACME, made.id, "train") as path:
            assert path.stat().st_size == 3 * MIB


async def test_a_foreign_id_does_not_exist(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made, model = await dataset(hub, ACME), await uploaded(hub, ACME)
        for ask in (
            hub.dataset(BOLT, made.id),
            hub.model(BOLT, model.id),
            hub.check(BOLT, made.id, "read"),
            hub.lineage(BOLT, made.id),
            hub.removing.delete(BOLT, made.id),
            hub.granting.release(BOLT, model.id),
            grant(hub, BOLT, made.id, "coda", "read"),
            read(hub, BOLT, made.id),
            hub.dataset(ACME, model.id),  # a model is no dataset
            hub.dataset(ACME, "ds_0"),
        ):
            with pytest.raises(UnknownAsset):
                await ask
        assert await hub.page(BOLT, "dataset", Page()) == []
        operator = person("local", "operator")
        with pytest.raises(UnknownAsset):
            await hub.dataset(operator, made.id)  # who runs the platform opens nobody's data


@pytest.mark.parametrize(
    "id", ["../acme", "ds_../../x", "ds_%2e%2e", "", "ds", "md_' OR 1=1 --", "ds_\x00", "x" * 5000]
)
async def test_an_odd_id_is_no_id(tmp_path: Path, id: str) -> None:
    async with opened(tmp_path) as hub:
        await dataset(hub, ACME)
        for ask in (hub.dataset(ACME, id), read(hub, ACME, id), hub.lineage(ACME, id), hub.removing.delete(ACME, id)):
            with pytest.raises(NotFound):
                await ask


@pytest.mark.parametrize("path", ["../code", "/etc/passwd", "a/../../b", "net.onnx/", "./net.onnx", "\x00", "..\\x"])
async def test_a_path_that_leads_out_of_a_model_is_no_path(tmp_path: Path, path: str) -> None:
    async with opened(tmp_path) as hub:
        made = await uploaded(hub, ACME)
        assert await read(hub, ACME, made.id, "net.onnx") == b"weights"
        with pytest.raises(NotFound):
            await read(hub, ACME, made.id, path)


async def test_pages_names_and_what_others_granted(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = [await dataset(hub, ACME, name=f"Roof {n} 100%_a") for n in range(5)]
        other = await dataset(hub, BOLT, name="harbour")
        await grant(hub, BOLT, other.id, "acme", "train")
        first = await hub.page(ACME, "dataset", Page(limit=4))
        rest = await hub.page(ACME, "dataset", Page(limit=4, after=first[-1].id))
        assert [one.id for one in first + rest] == [other.id, *[one.id for one in reversed(made)]]
        assert [one.id for one in await hub.page(ACME, "dataset", Page(granted=True))] == [other.id]
        assert [one.id for one in await hub.page(ACME, "dataset", Page(owner="bolt"))] == [other.id]
        assert len(await hub.page(ACME, "dataset", Page(granted=False))) == 5
        assert [one.id for one in await hub.page(ACME, "dataset", Page(name="roof 3"))] == [made[3].id]
        assert len(await hub.page(ACME, "dataset", Page(name="100%_"))) == 5
        assert await hub.page(ACME, "dataset", Page(name="r%f")) == []
        with pytest.raises(UnknownAsset):
            await hub.page(CODA, "dataset", Page(after=made[0].id))


async def test_a_page_of_long_records_is_shorter_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "PAGE_BYTES", 10_000)
    async with opened(tmp_path) as hub:
        made = [await dataset(hub, ACME, description="x" * size) for size in (100, 4000, 4000, 4000, 4000, 100)]
        found, sizes = list[str](), list[int]()
        after: str | None = ""
        while after is not None:
            page, after = await hub.listed(ACME, "dataset", Page(limit=4, after=after))
            sizes.append(len(page))
            found += [one.id for one in page]
        assert found == [one.id for one in reversed(made)]
        assert sizes == [3, 3]
        monkeypatch.setattr(fence, "PAGE_BYTES", 10)
        page, after = await hub.listed(ACME, "dataset", Page(limit=4))
        assert ([one.id for one in page], after) == ([made[-1].id], made[-1].id), "one at least"


async def test_roles_count_in_ones_own_company(tmp_path: Path) -> None:
    async with opened(tmp_path, trainer=Trainer()) as hub:
        made = await dataset(hub, ACME)
        viewer, device, developer = person("acme", "viewer"), person("acme", "device"), person("acme", "developer")
        assert await read(hub, viewer, made.id)
        for ask in (
            dataset(hub, viewer),
            uploaded(hub, viewer),
            recipe(hub, viewer),
            hub.dataset(device, made.id),
            read(hub, device, made.id),
            hub.removing.delete(viewer, made.id),
            grant(hub, developer, made.id, "bolt", "read"),
            hub.audit(developer),
        ):
            with pytest.raises(Forbidden):
                await ask


# -- grants


async def test_each_right_opens_what_it_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME)
        for right, opens in (("read", {"read"}), ("train", {"train"}), ("derive", {"train", "derive"})):
            id = await grant(hub, ACME, made.id, "bolt", right)
            assert (await hub.dataset(BOLT, made.id)).name == "plant"
            for asked in ("read", "train", "derive"):
                if asked in opens:
                    await hub.check(BOLT, made.id, asked)  # type: ignore[arg-type]
                else:
                    with pytest.raises(Forbidden):
                        await hub.check(BOLT, made.id, asked)  # type: ignore[arg-type]
            await hub.granting.revoke(ACME, id)
            with pytest.raises(UnknownAsset):
                await hub.check(BOLT, made.id, "read")
        with pytest.raises(UnknownAsset):
            await hub.dataset(CODA, made.id)


async def test_a_grant_ends_when_it_says(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock=clock) as hub:
        made = await dataset(hub, ACME)
        await grant(hub, ACME, made.id, "bolt", "read", expires_ms=clock.now + 1000)
        assert await read(hub, BOLT, made.id)
        clock.now += 1000
        with pytest.raises(UnknownAsset):
            await read(hub, BOLT, made.id)
        with pytest.raises(BadInput, match="has passed"):
            await grant(hub, ACME, made.id, "bolt", "read", expires_ms=clock.now - 1)


async def test_only_the_owner_gives_and_takes(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME)
        id = await grant(hub, ACME, made.id, "bolt", "derive")
        with pytest.raises(Forbidden, match="only its owner"):
            await grant(hub, BOLT, made.id, "coda", "read")
        with pytest.raises(Forbidden):
            await hub.granting.revoke(BOLT, id)
        with pytest.raises(UnknownAsset):
            await hub.granting.revoke(CODA, id)
        with pytest.raises(BadInput):
            await grant(hub, ACME, made.id, "acme", "read")
        assert [one.id for one in await hub.granting.list(BOLT)] == [id]
        assert await hub.granting.list(CODA) == []
        ended = await hub.granting.revoke(ACME, id)
        assert ended == await hub.granting.revoke(ACME, id)
        assert [one.revoked_ms for one in await hub.granting.list(ACME)] == [ended.revoked_ms]


async def test_a_grant_revoked_in_mid_download_stops_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME, os.urandom(8 * MIB))
        id = await grant(hub, ACME, made.id, "bolt", "read")
        chunks = hub.contents.read(await hub.contents.open(BOLT, made.id))
        came = len(await anext(chunks))
        await hub.granting.revoke(ACME, id)
        with pytest.raises(UnknownAsset):
            await anext(chunks)
        assert 0 < came <= MIB
        entries = await hub.audit(ACME)
        assert [(one.action, one.allowed) for one in entries[:3]] == [
            ("download", False),
            ("revoke", True),
            ("download", True),
        ]


async def test_a_grant_that_expires_in_mid_download_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("headrace.services.sharing.contents.AGAIN", 0.0)
    async with opened(tmp_path, clock=clock) as hub:
        made = await dataset(hub, ACME, os.urandom(4 * MIB))
        await grant(hub, ACME, made.id, "bolt", "read", expires_ms=clock.now + 1000)
        chunks = hub.contents.read(await hub.contents.open(BOLT, made.id))
        await anext(chunks)
        clock.now += 1000
        with pytest.raises(UnknownAsset):
            await anext(chunks)


# -- held results


async def test_a_model_of_foreign_data_is_held_until_released(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "train")
        made = await recipe(hub, BOLT, datasets=[data.id])
        assert made.held_for == ["acme"]  # from the first moment: its log tells, too
        with pytest.raises(UnknownAsset):
            await hub.model(CODA, made.id)
        await train(hub, trainer, made.id, tmp_path / "out", weights=b"secret", scaler=b"mean")

        mine = await hub.model(BOLT, made.id)
        assert (mine.state, mine.held_for, mine.files, mine.metrics, mine.digest) == ("trained", ["acme"], [], {}, "")
        assert [one.files for one in await hub.page(BOLT, "model", Page())] == [[]]
        for ask in (read(hub, BOLT, made.id, "weights"), hub.check(BOLT, made.id, "read")):
            with pytest.raises(Forbidden, match="held"):
                await ask
        with pytest.raises(Conflict, match="held"):
            await grant(hub, BOLT, made.id, "coda", "read")

        theirs = await hub.model(ACME, made.id)
        assert theirs.metrics == {"loss": 0.5} and [file.path for file in theirs.files] == ["scaler", "weights"]
        assert await read(hub, ACME, made.id, "weights") == b"secret"
        with pytest.raises(Forbidden):
            await hub.granting.release(BOLT, made.id)
        with pytest.raises(Forbidden):
            await hub.granting.release(person("acme", "developer"), made.id)
        await hub.granting.release(ACME, made.id)
        with pytest.raises(Conflict, match=r"was released by .* it is no longer held for you"):
            await hub.granting.release(ACME, made.id)
        assert await read(hub, BOLT, made.id, "weights") == b"secret"
        assert (await hub.model(BOLT, made.id)).metrics == {"loss": 0.5}
        with pytest.raises(UnknownAsset):
            await hub.model(ACME, made.id)  # it let go


async def test_what_is_held_for_two_is_held_until_both_release(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        ids = []
        for owner in (ACME, CODA):
            data = await dataset(hub, owner)
            await grant(hub, owner, data.id, "bolt", "train")
            ids.append(data.id)
        made = await recipe(hub, BOLT, datasets=ids[:1], evaluation=ids[1:])
        await train(hub, trainer, made.id, tmp_path / "out")
        assert made.held_for == ["acme", "coda"]
        await hub.granting.release(ACME, made.id)
        with pytest.raises(Forbidden, match="coda"):
            await read(hub, BOLT, made.id)
        await hub.granting.release(CODA, made.id)
        assert await read(hub, BOLT, made.id)


async def test_derive_lets_the_result_go(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "derive")
        made = await recipe(hub, BOLT, datasets=[data.id])
        await train(hub, trainer, made.id, tmp_path / "out")
        assert made.held_for == [] and await read(hub, BOLT, made.id)


async def test_derive_taken_back_before_the_job_reads_holds_the_result(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        id = await grant(hub, ACME, data.id, "bolt", "derive")
        made = await recipe(hub, BOLT, datasets=[data.id])
        await grant(hub, ACME, data.id, "bolt", "train")
        await hub.granting.revoke(ACME, id)
        await train(hub, trainer, made.id, tmp_path / "out")
        assert (await hub.model(BOLT, made.id)).held_for == ["acme"]


async def test_a_model_with_a_held_parent_is_held(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "train")
        parent = await recipe(hub, BOLT, datasets=[data.id])
        await train(hub, trainer, parent.id, tmp_path / "out")
        own = await dataset(hub, BOLT)
        child = await recipe(hub, BOLT, datasets=[own.id], parent=parent.id)
        grandchild = await recipe(hub, BOLT, parent=child.id)
        assert child.held_for == grandchild.held_for == ["acme"]
        async with hub.content(BOLT, parent.id, "train") as path:  # its weights go into the job all the same
            assert path.read_bytes() == b"w" * 10
        await hub.granting.release(ACME, parent.id)
        assert (await hub.model(BOLT, child.id)).held_for == ["acme"]  # each one is let go for itself
        assert (await recipe(hub, BOLT, parent=parent.id)).held_for == []


async def test_figures_of_an_evaluation_on_foreign_data_are_held(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data, made = await dataset(hub, ACME), await recipe(hub, BOLT)
        await train(hub, trainer, made.id, tmp_path / "out")
        await grant(hub, ACME, data.id, "bolt", "train")
        job = trainer.jobs[made.id].model_copy(update={"id": "jb_e", "kind": "evaluate", "dataset": data.id})
        for _ in range(2):
            await hub.evaluated(job, {"mse": 0.25})
        assert (await hub.model(BOLT, made.id)).metrics == {"loss": 0.5, data.id: {"held_for": ["acme"]}}
        assert await read(hub, BOLT, made.id)  # its files saw nothing of these data
        seen = await hub.model(ACME, made.id)
        assert seen.metrics == {data.id: {"mse": 0.25, "job": "jb_e", "held_for": ["acme"]}}
        assert seen.files == [] and seen.digest == ""  # of the model itself it sees nothing
        with pytest.raises(Forbidden):
            await read(hub, ACME, made.id)
        with pytest.raises(Forbidden):
            await hub.granting.release(BOLT, made.id)
        await hub.granting.release(ACME, made.id)
        assert (await hub.model(BOLT, made.id)).metrics[data.id] == {"mse": 0.25, "job": "jb_e"}
        with pytest.raises(UnknownAsset):
            await hub.model(ACME, made.id)


async def test_a_figure_called_like_the_platforms_own_is_refused_and_harms_nobody(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data, made = await dataset(hub, ACME), await recipe(hub, BOLT)
        await train(hub, trainer, made.id, tmp_path / "out")
        await grant(hub, ACME, data.id, "bolt", "train")
        job = trainer.jobs[made.id].model_copy(update={"id": "jb_e", "kind": "evaluate", "dataset": data.id})
        for name in ("held_for", "job"):
            with pytest.raises(BadInput, match=f"{name} is what the platform calls its own"):
                await hub.evaluated(job, {"mse": 0.25, name: 5})
        await hub.evaluated(job, {"mse": 0.25})

        def older(connection: Connection) -> None:  # as it was stored before such names were refused
            model = unfenced(connection, made.id)
            assert isinstance(model, Model)
            odd = {"ds_a": {"held_for": 5}, "ds_b": {"held_for": "acme"}, "ds_c": {"held_for": [7]}, "held_for": 1}
            put(connection, model.model_copy(update={"metrics": {**model.metrics, **odd}}))

        await hub._hub.book.write(older)
        for who in (ACME, BOLT):
            (seen,) = await hub.page(who, "model", Page())
            assert isinstance(seen, Model) and data.id in seen.metrics
        assert list((await hub.model(ACME, made.id)).metrics) == [data.id]
        await hub.granting.release(ACME, made.id)
        assert (await hub.model(BOLT, made.id)).metrics[data.id] == {"mse": 0.25, "job": "jb_e"}


async def test_who_is_cancelled_during_a_commit_loses_no_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        for wait in range(12):
            incoming = await hub.artifacts.receive("acme", f"up_{wait}")
            await incoming.write(f"{wait}".encode() * 100)
            registered = hub.register.dataset(ACME, NewDataset(name="x"), "x.csv", incoming.finish)
            task = asyncio.create_task(registered)
            await asyncio.sleep(wait * 0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await incoming.pause()
        found = await hub.page(ACME, "dataset", Page())
        for one in found:
            assert await read(hub, ACME, one.id)
        await asyncio.wait_for(dataset(hub, ACME), 5)  # and nobody waits for them for ever
        await asyncio.wait_for(hub.removing.delete(ACME, (await dataset(hub, ACME)).id), 5)


async def test_training_needs_the_right_to_train(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        with pytest.raises(UnknownAsset):
            await recipe(hub, BOLT, datasets=[data.id])
        await grant(hub, ACME, data.id, "bolt", "read")
        with pytest.raises(Forbidden, match="train"):
            await recipe(hub, BOLT, evaluation=[data.id])
        assert trainer.asked == 0 and await hub.page(BOLT, "model", Page()) == []
        assert await hub.artifacts.list("bolt") == []  # nor is its code kept


# -- what jobs say


async def test_a_recipe_is_validated_registered_submitted(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        made = await recipe(hub, ACME, b"PK zip", datasets=[data.id], parameters={"lr": 0.1}, deterministic=False)
        assert trainer.validated == [b"PK zip"]
        assert (made.state, made.job, made.reproducible) == ("registered", trainer.jobs[made.id].id, "never")
        async with hub.code(ACME, made.id) as path:
            assert path.read_bytes() == b"PK zip"
        again = await train(hub, trainer, made.id, tmp_path / "out")
        assert again.reproducible == "never"
        assert (await hub.judged(made.id, "reproduced", "same")).reproducible == "never"


async def test_a_recipe_with_a_number_json_has_not_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, trainer=Trainer()) as hub:
        with pytest.raises(BadInput, match="finite"):
            await recipe(hub, ACME, parameters={"lr": float("nan")})
        assert await hub.artifacts.list("acme") == []


async def test_what_a_job_says_may_be_said_twice(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        made = await recipe(hub, ACME)
        first = await train(hub, trainer, made.id, tmp_path / "out", a=b"1")
        second = await train(hub, trainer, made.id, tmp_path / "out", a=b"2")
        assert first == second == await hub.model(ACME, made.id)
        for state in ("queued", "failed", "cancelled"):  # late words
            await hub.began(trainer.jobs[made.id].model_copy(update={"state": state}))
        assert (await hub.model(ACME, made.id)).state == "trained"


async def test_a_models_state_follows_its_job(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        made = await recipe(hub, ACME)
        for said, state in (
            ("running", "training"),
            ("failed", "failed"),
            ("queued", "registered"),
            ("cancelled", "cancelled"),
        ):
            await hub.began(trainer.jobs[made.id].model_copy(update={"state": said}))
            assert (await hub.model(ACME, made.id)).state == state


async def test_several_files_come_as_a_zip_and_as_a_folder(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        made = await recipe(hub, ACME)
        await train(hub, trainer, made.id, tmp_path / "out", **{"a.bin": b"a" * 3 * MIB, "b.bin": b"b"})
        one = b"".join([c async for c in hub.contents.zipped(await hub.contents.open(ACME, made.id))])
        two = b"".join([c async for c in hub.contents.zipped(await hub.contents.open(ACME, made.id))])
        assert one == two
        with zipfile.ZipFile(BytesIO(one)) as archive:
            assert archive.testzip() is None and archive.namelist() == ["a.bin", "b.bin"]
            assert archive.read("a.bin") == b"a" * 3 * MIB
        async with hub.content(ACME, made.id, "train") as folder:
            assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "b.bin"]
        assert not folder.exists()


async def test_only_regular_files_of_the_output_are_taken(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        made, out = await recipe(hub, ACME), tmp_path / "out"
        out.mkdir()
        (tmp_path / "secret").write_text("s")
        (out / "link").symlink_to(tmp_path / "secret")
        (out / "way").symlink_to(tmp_path)
        os.mkfifo(out / "pipe")
        job = trainer.jobs[made.id]
        for paths in (["link"], ["way/secret"], ["pipe"], ["absent"], []):
            with pytest.raises(BadInput):
                await hub.trained(job, out, paths, {})
        with pytest.raises(NotFound):
            await hub.trained(job, out, ["../secret"], {})
        assert (await hub.model(ACME, made.id)).files == []


# -- deletion


async def test_deleting_what_nobody_needs_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME)
        assert await hub.removing.delete(ACME, made.id) is False
        with pytest.raises(UnknownAsset):
            await hub.dataset(ACME, made.id)
        assert await hub.artifacts.list("acme") == []


async def test_deleting_what_others_depend_on_leaves_a_tombstone_and_the_lineage(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        made = await recipe(hub, ACME, datasets=[data.id])
        with pytest.raises(Conflict, match="job cancel"):
            await hub.removing.delete(ACME, made.id)
        await train(hub, trainer, made.id, tmp_path / "out")
        before = await hub.lineage(ACME, made.id)
        assert await hub.removing.delete(ACME, data.id) is True
        assert await hub.removing.delete(ACME, data.id) is True
        stone = await hub.dataset(ACME, data.id)
        assert stone.deleted_ms and stone.stored == data.stored
        after = await hub.lineage(ACME, made.id)
        assert after.edges == before.edges and {one.id for one in after.nodes if one.deleted} == {data.id}
        with pytest.raises(NotFound, match="was deleted"):
            await read(hub, ACME, data.id)
        with pytest.raises(NotFound):
            await recipe(hub, ACME, datasets=[data.id])
        with pytest.raises(Conflict):
            await grant(hub, ACME, data.id, "bolt", "read")
        assert data.stored.sha256 not in await hub.artifacts.list("acme")
        assert await hub.page(ACME, "dataset", Page()) == []
        assert [one.id for one in await hub.page(ACME, "dataset", Page(deleted=True))] == [data.id]


async def test_what_was_granted_leaves_a_tombstone_the_other_sees(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "read")
        with pytest.raises(Forbidden, match="only its owner"):
            await hub.removing.delete(BOLT, data.id)
        assert await hub.removing.delete(ACME, data.id) is True
        assert (await hub.dataset(BOLT, data.id)).deleted_ms


async def test_a_model_of_foreign_data_leaves_a_tombstone(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "train")
        made = await recipe(hub, BOLT, datasets=[data.id])
        await train(hub, trainer, made.id, tmp_path / "out")
        assert await hub.removing.delete(BOLT, made.id) is True
        assert made.id in {node.id for node in (await hub.lineage(ACME, data.id)).nodes}


async def test_the_same_content_of_two_records_survives_the_deletion_of_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        first, second, foreign = await dataset(hub, ACME), await dataset(hub, ACME), await dataset(hub, BOLT)
        assert first.stored == second.stored == foreign.stored
        await hub.removing.delete(ACME, first.id)
        assert await read(hub, ACME, second.id) == b"a,b\n1,2\n"
        await hub.removing.delete(ACME, second.id)
        assert await hub.artifacts.list("acme") == []
        assert await read(hub, BOLT, foreign.id) == b"a,b\n1,2\n"


async def test_content_registered_while_its_twin_is_deleted_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        for _ in range(10):
            old = await dataset(hub, ACME)
            new, _ = await asyncio.gather(dataset(hub, ACME), hub.removing.delete(ACME, old.id))
            assert await read(hub, ACME, new.id)
            await hub.removing.delete(ACME, new.id)


async def test_a_download_ends_when_the_asset_is_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        made = await dataset(hub, ACME, os.urandom(4 * MIB))
        chunks = hub.contents.read(await hub.contents.open(ACME, made.id))
        await anext(chunks)
        await hub.removing.delete(ACME, made.id)
        with pytest.raises(NotFound):
            await anext(chunks)


# -- lineage


async def test_lineage_shows_nobody_what_others_made_but_its_owner_that_they_did(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data, secret = await dataset(hub, ACME, name="roof"), await dataset(hub, BOLT, name="harbour")
        await grant(hub, ACME, data.id, "bolt", "derive")
        made = await recipe(hub, BOLT, datasets=[data.id, secret.id])
        await train(hub, trainer, made.id, tmp_path / "out")
        child = await recipe(hub, BOLT, parent=made.id)
        job, inner = trainer.jobs[made.id].id, (made.id, child.id, secret.id, trainer.jobs[made.id].id, made.id[3:])

        seen = await hub.lineage(
            ACME, data.id
        )  # it is his data: he sees that something was made of it, and whose that is
        told = sorted((node.kind, node.name, node.company, node.state) for node in seen.nodes if node.id != data.id)
        recipes = [("recipe", "", "bolt", "")] * 2
        models = [("model", "", "bolt", "registered"), ("model", "", "bolt", "trained")]
        assert told == [("job", "", "bolt", "done"), ("job", "", "bolt", "queued"), *models, *recipes]
        assert all(node.id == data.id or node.id.startswith("hidden_") for node in seen.nodes)
        assert len(seen.edges) == 6 and {one for edge in seen.edges for one in edge} == {node.id for node in seen.nodes}

        await grant(hub, ACME, data.id, "coda", "read")
        assert [node.id for node in (await hub.lineage(CODA, data.id)).nodes] == [data.id]  # what bolt made: nothing
        assert (await hub.lineage(CODA, data.id)).edges == []

        await grant(hub, BOLT, child.id, "coda", "read")  # its ancestors: that there are some, and of what kind
        seen = await hub.lineage(CODA, child.id)
        names = {node.id: (node.kind, node.company) for node in seen.nodes if not node.id.startswith("hidden_")}
        assert names == {child.id: ("model", "bolt"), data.id: ("dataset", "acme")}
        opaque = sorted((node.kind, node.name, node.company, node.state) for node in seen.nodes if node.id not in names)
        kinds = ["dataset", "job", "job", "model", "recipe", "recipe"]
        assert opaque == [(kind, "", "", "") for kind in kinds]
        assert not any(one in seen.model_dump_json() for one in inner if one not in {child.id, child.id[3:]})
        seen = await hub.lineage(CODA, data.id)  # and now what stands between the two
        assert {data.id, child.id} < {node.id for node in seen.nodes} and "harbour" not in seen.model_dump_json()
        assert secret.id not in seen.model_dump_json()

        full = {node.id: node.name for node in (await hub.lineage(BOLT, made.id)).nodes}
        assert full[data.id] == "roof" and full[secret.id] == "harbour" and full[job] == "net"


async def test_lineage_names_the_job_whose_result_is_held_for_the_caller(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        await grant(hub, ACME, data.id, "bolt", "train")
        made = await recipe(hub, BOLT, datasets=[data.id])
        await train(hub, trainer, made.id, tmp_path / "out")
        job = trainer.jobs[made.id].id
        assert {job, made.id} < {node.id for node in (await hub.lineage(ACME, data.id)).nodes}
        assert {data.id, made.id} < {node.id for node in (await hub.lineage(ACME, job)).nodes}
        with pytest.raises(UnknownAsset, match="no job"):
            await hub.lineage(CODA, job)
        await hub.granting.release(ACME, made.id)
        assert not {job, made.id} & {node.id for node in (await hub.lineage(ACME, data.id)).nodes}
        with pytest.raises(UnknownAsset, match="no job"):
            await hub.lineage(ACME, job)
        of_job, of_model = await hub.lineage(BOLT, job), await hub.lineage(BOLT, made.id)
        assert of_job == of_model and (job, made.id) in of_job.edges


# -- looking into files


async def test_statistics_come_after_the_registration(tmp_path: Path) -> None:
    inspector = Inspector(samples=1, sample_shape=[2], statistics={"a": {"mean": 1.0}}, odd="left out")
    inspector.gate = asyncio.Event()
    async with opened(tmp_path, inspect=inspector) as hub:
        made = await dataset(hub, ACME)
        assert made.statistics_state == "pending" and await read(hub, ACME, made.id)
        inspector.gate.set()
        await hub.settled()
        found = await hub.dataset(ACME, made.id)
        assert (found.statistics_state, found.samples, found.sample_shape) == ("done", 1, [2])
        assert found.statistics == {"a": {"mean": 1.0}} and inspector.seen == [("dataset", "", True)]
        model = await uploaded(hub, ACME)
        inspector.found = {"framework": "onnx", "parameters": 7, "metadata": {"opset": 17}}
        await hub.settled()
        read_ = await hub.model(ACME, model.id)
        assert (read_.framework, read_.parameters, read_.metadata) == ("onnx", 7, {"opset": 17})


@pytest.mark.parametrize(
    "fails",
    [BadInput(detail="line 7 has 3 cells"), NoIsolation(reason="no bubblewrap", fix="install it"), ValueError("NaN")],
)
async def test_a_failed_look_is_a_remark_and_no_obstacle(tmp_path: Path, fails: Exception) -> None:
    inspector = Inspector()
    inspector.fails = fails
    async with opened(tmp_path, inspect=inspector) as hub:
        made, model = await dataset(hub, ACME), await uploaded(hub, ACME)
        await hub.settled()
        found = await hub.dataset(ACME, made.id)
        assert found.statistics_state == "failed" and str(fails)[:20] in found.statistics_error
        assert str(fails)[:20] in (await hub.model(ACME, model.id)).metadata["unreadable"]
        assert await read(hub, ACME, made.id)


async def test_a_table_that_cannot_be_measured_is_still_a_table(tmp_path: Path) -> None:
    inspector = Inspector(
        media="csv", samples=None, sample_shape=None, statistics={}, error="line 3 has 2 fields, 3 expected"
    )
    async with opened(tmp_path, inspect=inspector) as hub:
        made = await dataset(hub, ACME)
        await hub.settled()
        found = await hub.dataset(ACME, made.id)
        assert (found.media, found.statistics_state, found.statistics) == ("csv", "failed", None)
        assert found.statistics_error == "line 3 has 2 fields, 3 expected"


@pytest.mark.parametrize("answer", [{"samples": -1.5}, {"sample_shape": "wide"}, {"statistics": {"x": float("inf")}}])
async def test_an_answer_of_the_wrong_form_is_not_kept(tmp_path: Path, answer: dict[str, object]) -> None:
    async with opened(tmp_path, inspect=Inspector(**answer)) as hub:
        made = await dataset(hub, ACME)
        await hub.settled()
        found = await hub.dataset(ACME, made.id)
        assert (found.statistics_state, found.statistics, found.samples) == ("failed", None, None)


async def test_looks_that_were_cut_off_are_taken_up_and_given_up_in_the_end(tmp_path: Path) -> None:
    inspector = Inspector(samples=1)
    inspector.gate = asyncio.Event()
    for start in range(4):
        async with opened(tmp_path, inspect=inspector) as hub:
            if start == 0:
                made = await dataset(hub, ACME)
            while len(inspector.seen) <= start < 3:
                await asyncio.sleep(0.005)
            if start == 3:
                await hub.settled()
                found = await hub.dataset(ACME, made.id)
                assert found.statistics_state == "failed" and "begun 3 times" in found.statistics_error
    assert len(inspector.seen) == 3


async def test_other_files_are_not_looked_into(tmp_path: Path) -> None:
    inspector = Inspector(samples=1)
    async with opened(tmp_path, inspect=inspector) as hub:
        made = await dataset(hub, ACME, media="other")
        await hub.settled()
        assert made.statistics_state == "none" and inspector.seen == []


# -- audit


async def test_the_audit_log_tells_both_sides(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data = await dataset(hub, ACME)
        id = await grant(hub, ACME, data.id, "bolt", "train")
        made = await recipe(hub, BOLT, datasets=[data.id])
        await train(hub, trainer, made.id, tmp_path / "out")
        with pytest.raises(Forbidden):
            await read(hub, BOLT, data.id)
        with pytest.raises(Forbidden):
            await read(hub, BOLT, made.id)
        await hub._hub.noted()
        await hub.granting.release(ACME, made.id)
        await read(hub, BOLT, made.id)
        await hub.granting.revoke(ACME, id)
        with pytest.raises(UnknownAsset):
            await hub.dataset(BOLT, data.id)  # which the record of its own model names: that is no attempt at anything
        other = await dataset(hub, ACME)
        with pytest.raises(UnknownAsset):
            await hub.dataset(BOLT, other.id)
        acme = [(one.company, one.action, one.asset, one.allowed) for one in reversed(await hub.audit(ACME))]
        assert acme == [
            ("acme", "register", data.id, True),
            ("acme", "grant", data.id, True),
            ("bolt", "train", data.id, True),
            ("bolt", "download", data.id, False),
            ("acme", "release", made.id, True),
            ("acme", "revoke", data.id, True),
            ("acme", "register", other.id, True),
            ("bolt", "look", other.id, False),
        ]
        bolt = [
            (one.company, one.action, one.allowed) for one in reversed(await hub.audit(BOLT)) if one.asset == made.id
        ]
        assert bolt == [
            ("bolt", "register", True),
            ("bolt", "trained", True),
            ("bolt", "download", False),  # of its own, held
            ("acme", "release", True),
            ("bolt", "download", True),
        ]
        assert await hub.audit(CODA) == []
        newest = (await hub.audit(ACME, limit=2))[-1]
        assert (await hub.audit(ACME, before=newest.id))[0].id < newest.id


async def test_a_strangers_attempt_is_told_to_the_owner_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        data = await dataset(hub, ACME)
        given = await grant(hub, ACME, data.id, "coda", "read")
        for id, there in ((data.id, given), ("ds_nothing", "gr_nothing")):
            for attempt in (read(hub, BOLT, id), hub.lineage(BOLT, id), hub.granting.revoke(BOLT, there)):
                with pytest.raises(UnknownAsset):
                    await attempt
        told = [(one.subject, one.action, one.asset) for one in await hub.audit(ACME) if not one.allowed]
        assert told == [("bob", "revoke", data.id), ("bob", "lineage", data.id), ("bob", "download", data.id)]
        assert await hub.audit(BOLT) == []  # or this would tell which ids are some
        numbers = []
        for id in (data.id, "ds_nothing", "ds_nothing"):
            numbers.append((await hub.audit(BOLT), (await dataset(hub, BOLT)).id, await hub.audit(BOLT))[2][0].id)
            with pytest.raises(UnknownAsset):
                await read(hub, BOLT, id)
        await hub.settled()
        numbers.append((await dataset(hub, BOLT), await hub.audit(BOLT))[1][0].id)
        steps = [after - before for before, after in itertools.pairwise(numbers)]
        assert steps == [2, 2, 2]  # nor do the numbers of the lines


async def test_a_foreign_id_is_refused_without_waiting_for_its_owners_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        data, writes = await dataset(hub, ACME), []
        book = hub._hub.book
        writing = book.write

        async def counted(work: Callable[[Connection], Any]) -> Any:
            writes.append(asyncio.current_task())
            return await writing(work)

        book.write = counted  # type: ignore[method-assign]
        said = []
        for id in (data.id, "ds_" + "0" * 20):
            with pytest.raises(UnknownAsset) as refused:
                await hub.dataset(BOLT, id)
            said.append(str(refused.value).replace(id, "ID"))
            assert writes == []  # it is written after the answer, whether there is something to write or not
            await hub._hub.noted()
            assert len(writes) == 1 and writes.pop() is not asyncio.current_task()
        assert said[0] == said[1]


# -- a trainer that cannot be reached


async def test_a_job_is_queued_later_when_the_trainer_is_away(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.refuse = NotReady(name="training", detail="is starting")
    async with opened(tmp_path, trainer=trainer) as hub:
        made = await recipe(hub, ACME)
        assert (made.state, made.job) == ("registered", "")
    trainer.refuse = None
    async with opened(tmp_path, trainer=trainer) as hub:
        await hub.settled()
        assert (await hub.model(ACME, made.id)).job == trainer.jobs[made.id].id


async def test_a_trainer_that_refuses_leaves_no_model(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        for refused in ("refuse", "refuse_validation"):
            setattr(trainer, refused, BadInput(detail="no train.py in it"))
            with pytest.raises(BadInput, match=r"no train\.py"):
                await recipe(hub, ACME)
            setattr(trainer, refused, None)
        assert await hub.page(ACME, "model", Page(deleted=True)) == []
        assert await hub.artifacts.list("acme") == []


async def test_records_are_what_json_gives_back(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        data, made = await dataset(hub, ACME, name="Dach Süd ☀"), await recipe(hub, ACME)
        for kind, one in ((Dataset, data), (Model, made)):
            assert kind.model_validate(json.loads(one.model_dump_json())) == one


async def test_the_benchmark_of_a_registration_runs(tmp_path: Path) -> None:
    found = await register.compare(tmp_path, 3)
    assert found["count"] == 3 and isinstance(found["ratio of medians"], float)
