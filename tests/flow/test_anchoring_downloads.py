"""Before a content is given out it is compared with what the ledger has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.errors import NotFound, Tampered, Temporary
from tests.hub import ACME, BOLT, Trainer, dataset, grant, opened, read, recipe, train, uploaded
from tests.notary import House, house, impatient


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


async def change(here: House, id: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Change a record in the hub's database, as a person with the file could; returns what it was."""
    table = "datasets" if id.startswith("ds") else "models"

    def write(connection: Any) -> dict[str, Any]:
        text = connection.exec_driver_sql(f"SELECT record FROM {table} WHERE id = ?", (id,)).scalar()
        record = json.loads(text)
        change(record)
        connection.exec_driver_sql(f"UPDATE {table} SET record = ? WHERE id = ?", (json.dumps(record), id))
        before: dict[str, Any] = json.loads(text)
        return before

    return await here.hub._hub.book.write(write)


async def test_a_download_costs_one_look_at_the_ledger(here: House) -> None:
    made = await dataset(here.hub, ACME, b"a\n1\n")
    await here.settled()
    here.weather.reads = 0
    for _ in range(3):
        assert await read(here.hub, ACME, made.id) == b"a\n1\n"
    assert here.weather.reads == 1
    here.weather.gone = True
    assert await read(here.hub, ACME, made.id) == b"a\n1\n"


async def test_unchecked_nothing_is_given_out(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        made = await dataset(here.hub, ACME)
        await here.settled()
        weather = here.weather
    weather.gone = True
    async with house(tmp_path, weather) as here:
        with pytest.raises(Temporary, match="was not compared"):
            await read(here.hub, ACME, made.id)
        with pytest.raises(Temporary):
            async with here.hub.content(ACME, made.id, "train"):
                pass
        with pytest.raises(NotFound):
            await read(here.hub, BOLT, made.id)
        fresh = await dataset(here.hub, ACME, b"new\n1\n")
        assert await read(here.hub, ACME, fresh.id) == b"new\n1\n"  # nobody says that it is recorded
        weather.gone = False
        assert await read(here.hub, ACME, made.id)


NAMES: dict[str, Callable[[dict[str, Any]], None]] = {
    "name": lambda record: record.update(name="another"),
    "media": lambda record: record.update(media="parquet"),
    "samples": lambda record: record.update(samples=7),
    "statistics": lambda record: record.update(statistics={"columns": []}),
    "digest": lambda record: record["stored"].update(sha256="sha256:" + "0" * 64),
    "root": lambda record: record["stored"].update(root="sha256:" + "0" * 64),
    "size": lambda record: record["stored"].update(size=1),
    "company": lambda record: record.update(company="bolt"),
    "contract": lambda record: record.update(contract="0x" + "1" * 40),
    "time": lambda record: record.update(created_ms=1),
    "off and renamed": lambda record: record.update(anchoring="off", contract="", name="another"),
}


async def test_a_changed_record_of_a_dataset_is_refused(here: House) -> None:
    made = await dataset(here.hub, ACME)
    await grant(here.hub, ACME, made.id, "bolt", "read")
    await here.settled()
    for name, changed in NAMES.items():
        before = await change(here, made.id, changed)
        for who in (BOLT,) if name == "company" else (ACME, BOLT):
            with pytest.raises(Tampered):
                await read(here.hub, who, made.id)
        await change(here, made.id, lambda record, before=before: record.update(before))  # type: ignore[misc]
        assert await read(here.hub, BOLT, made.id)
    noted = [one for one in await here.hub.audit(ACME) if not one.allowed and "Not verified" in one.detail]
    assert len(noted) >= 2 * (len(NAMES) - 1)


MODEL: dict[str, Callable[[dict[str, Any]], None]] = {
    "digest": lambda record: record.update(digest="sha256:" + "0" * 64),
    "file": lambda record: record["files"][0]["stored"].update(sha256="sha256:" + "0" * 64),
    "metrics": lambda record: record.update(metrics={"loss": 0.1}),
    "parameter": lambda record: record["recipe"]["parameters"].update(rate=9),
    "seed": lambda record: record["recipe"]["seeds"].update(SEED=9),
    "datasets": lambda record: record.update(datasets=[]),
    "fingerprint": lambda record: record.update(fingerprint="sha256:0"),
    "framework": lambda record: record.update(framework="keras"),
}


async def test_a_changed_record_of_a_model_is_refused(here: House, trainer: Trainer) -> None:
    data = await dataset(here.hub, ACME)
    model = await recipe(here.hub, ACME, datasets=[data.id], parameters={"rate": 0.5})
    await train(here.hub, trainer, model.id, here.folder / "out")
    await here.settled()
    for changed in MODEL.values():
        assert await read(here.hub, ACME, model.id) == b"w" * 10
        before = await change(here, model.id, changed)
        with pytest.raises(Tampered):
            await read(here.hub, ACME, model.id)
        with pytest.raises(Tampered):
            async with here.hub.content(ACME, model.id, "read"):
                pass
        await change(here, model.id, lambda record, before=before: record.update(before))  # type: ignore[misc]
    await change(here, model.id, lambda record: record.update(contract=""))
    assert await read(
        here.hub, ACME, model.id
    )  # an address that is missing proves nothing: the ledger is asked all the same


async def test_rows_that_point_to_another_content_are_refused(here: House) -> None:
    made, other = await uploaded(here.hub, ACME), await uploaded(here.hub, ACME, b"other weights")
    await here.settled()
    stored = other.files[0].stored

    def write(connection: Any) -> None:
        values = (stored.sha256, stored.root, stored.size, made.id)
        connection.exec_driver_sql("UPDATE files SET sha256 = ?, root = ?, size = ? WHERE asset = ?", values)

    await here.hub._hub.book.write(write)
    with pytest.raises(Tampered, match="not those of its record"):
        await read(here.hub, ACME, made.id)


async def test_a_record_that_says_it_is_recorded_and_is_not(here: House) -> None:
    here.weather.gone = True
    made = await dataset(here.hub, ACME)
    await change(here, made.id, lambda record: record.update(anchoring="anchored"))
    here.weather.gone = False
    with pytest.raises(Tampered):
        await read(here.hub, ACME, made.id)


async def test_later_evaluations_and_notes_change_nothing(here: House, trainer: Trainer) -> None:
    model = await recipe(here.hub, ACME)
    await train(here.hub, trainer, model.id, here.folder / "out")
    await here.settled()
    assert await read(here.hub, ACME, model.id)
    here.weather.gone = True
    await here.hub.judged(model.id, "reproduced", "twice the same")
    assert await read(here.hub, ACME, model.id)


async def test_what_others_were_granted_is_compared_too(tmp_path: Path) -> None:
    who = Principal("bolt", "bob", "service", frozenset({"service"}))
    async with house(tmp_path) as here:
        made = await dataset(here.hub, ACME)
        await grant(here.hub, ACME, made.id, "bolt", "train")
        await here.settled()
        async with here.hub.content(who, made.id, "train") as path:
            assert path.is_file()
        assert here.weather.reads == 1
    async with opened(tmp_path) as hub:  # the operator wants no ledger: there is nothing to compare with
        assert await read(hub, ACME, made.id)
