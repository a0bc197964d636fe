"""Whatever is changed on the platform's disk, the check that looks at it fails, and nothing is verified."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from headrace.assets import Parity, Translation
from headrace.errors import HeadraceError
from headrace.records import Entry
from headrace.services.sharing.requests import FromStream
from headrace.streams.logs.memory import MemoryLog
from tests.hub import ACME, Trainer, dataset, recipe, train, uploaded
from tests.ladders import SNAPSHOT, Replays, Standing, flip
from tests.notary import house, impatient
from tests.tampering_server import CASES, Things

DAY = 1_700_000_000_000
MADE_IN = {"fingerprint": "sha256:" + "1" * 64, "environment": {"python": "3.11.2"}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def things(on: Standing, trainer: Trainer, folder: Path) -> Things:
    """One of everything, recorded."""
    hub = on.here.hub
    data, other = await dataset(hub, ACME), await dataset(hub, ACME, b"other\n1\n")
    made = await recipe(hub, ACME, datasets=[data.id], parameters={"rate": 1})
    files = {"a.bin": b"a" * 40, "b.txt": b"b"}
    await train(hub, trainer, made.id, folder, **files)
    stream = await hub.streams.make(ACME, FromStream(topic="roof", from_ms=DAY, to_ms=DAY + 9000, name="roof"))
    (folder / "model.onnx").write_bytes(b"onnx")
    original = await hub.model(ACME, made.id)
    said = Translation(
        of=made.id, digest=original.digest, framework="torch", exporter="torchscript", opset=17, dtypes="float32 kept",
        versions={"torch": "2"}, dropout="eval",
        parity=Parity(inputs=3, real=1, edge=1, made=1, worst=0, mean=0, scale=1, tolerance=1e-5),
    )  # fmt: skip
    return Things(
        data=data.id,
        other=other.id,
        stream=stream.id,
        secret=(await dataset(hub, ACME, b"s\n1\n", confidential=True)).id,
        model=made.id,
        elsewhere=(await uploaded(hub, ACME)).id,
        snapshot=(await hub.snapshot("acme", SNAPSHOT, "pv", b"weights", {"framework": "rls"})).id,
        translation=(await hub.translated(ACME, made.id, said, folder / "model.onnx", MADE_IN)).id,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Standing, Things]]:
    """One house for all: what a test changes in its databases is put back."""
    folder, trainer = tmp_path_factory.mktemp("tampering"), Trainer()
    log = MemoryLog(clock=lambda: (DAY + 10_000_000) * 1_000_000)
    await log.append([Entry("roof", json.dumps({"time": DAY / 1000 + n, "w": n}).encode()) for n in range(5)])
    with impatient():
        async with house(folder / "house", trainer=trainer, streams=lambda _: log) as here:
            on = Standing(here, None, Replays(), None)  # type: ignore[arg-type]
            made = await things(on, trainer, folder / "out")
            await here.settled()
            yield on, made


@pytest.fixture
def there(whole: tuple[Standing, Things]) -> Things:
    return whole[1]


@pytest.fixture
def on(whole: tuple[Standing, Things]) -> Iterator[Standing]:
    with contextlib.ExitStack() as kept:
        saved = [(sqlite3.connect(path), sqlite3.connect(":memory:")) for path in whole[0].databases()]
        for file, memory in saved:
            kept.enter_context(contextlib.closing(file))
            kept.enter_context(contextlib.closing(memory))
            file.backup(memory)
        yield whole[0]
        for file, memory in saved:
            memory.backup(file)


async def test_untouched_all_of_it_holds(on: Standing, there: Things) -> None:
    for id in vars(there).values():
        report, _ = await on.verify(id)
        assert (report.level, report.passed) == ("L1", True), report


async def test_a_recipe_that_was_not_trained_yet_reaches_nothing_and_is_not_accused(on: Standing) -> None:
    made = await recipe(on.here.hub, ACME)
    await on.here.settled()
    report, _ = await on.verify(made.id, "L2")
    skipped = {one.name: one.detail for one in report.checks if one.state == "skipped"}
    assert (report.level, report.passed) == ("none", True) and "registered" in skipped["result"], report


@pytest.mark.parametrize("name", CASES)
async def test_a_change_fails_the_check_that_looks_at_it(on: Standing, there: Things, name: str) -> None:
    case = CASES[name]
    id = case.make(on, there)
    if case.check == "raises":
        with pytest.raises(HeadraceError):
            await on.verify(id)
        return
    report, _ = await on.verify(id)
    failed = [one.name for one in report.checks if one.state == "failed"]
    assert failed[:1] == [case.check], report
    assert report.level == ("L0" if case.check == "files" else "none")


async def test_any_byte_of_an_artifact(on: Standing, there: Things) -> None:
    made = await on.here.hub.model(ACME, there.model)
    file = on.content(made.files[0].stored.sha256)
    for place in range(made.files[0].stored.size):
        flip(file, place)
        report, _ = await on.verify(there.model)
        assert [one.name for one in report.checks if one.state == "failed"] == [
            "files",
            "digest",
        ] and report.level == "L0"
        flip(file, place)
    assert (await on.verify(there.model))[0].level == "L1"


async def test_an_artifact_that_is_longer_shorter_or_gone(on: Standing, there: Things) -> None:
    made = await on.here.hub.model(ACME, there.model)
    file, whole = on.content(made.files[0].stored.sha256), b"a" * 40
    file.chmod(0o644)
    for data in (b"", whole[:-1], whole + b"a"):
        file.write_bytes(data)
        assert "files" in await on.failing(there.model)
    file.unlink()
    assert "files" in await on.failing(there.model)
    file.write_bytes(whole)


async def test_any_byte_of_the_list_of_leaves(on: Standing) -> None:
    made = await dataset(on.here.hub, ACME, b"x" * (2 * 2**20 + 5))
    await on.here.settled()
    name = made.stored.sha256.removeprefix("sha256:")
    (leaves,) = [
        path for path in (on.here.folder / "artifacts").rglob("*") if path.is_file() and path.stat().st_size == 96
    ]
    assert name[2:] in leaves.name or name in str(leaves)
    for place in range(0, 96, 5):
        flip(leaves, place)
        assert "files" in await on.failing(made.id)
        flip(leaves, place)
    assert not await on.failing(made.id)


async def test_any_byte_of_the_raw_records(on: Standing, there: Things) -> None:
    made = await on.here.hub.dataset(ACME, there.stream)
    assert made.stream is not None and made.stream.raw is not None
    file = on.content(made.stream.raw.sha256)
    for place in range(0, made.stream.raw.size, 7):
        flip(file, place)
        assert list(await on.failing(there.stream)) == ["raw records"]
        flip(file, place)
    assert not await on.failing(there.stream)
