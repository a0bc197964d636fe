"""Jobs wait, visibly, until what they read is recorded, and go on by themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.assets import Job, Recipe
from headrace.errors import Conflict
from headrace.runners.local import LocalRunner
from headrace.services.training.service import TrainingService
from headrace.stores.database import open_database, sqlite_url
from tests.hub import ACME, dataset, recipe
from tests.notary import House, Weather, house, impatient
from tests.shelf import QUICK, WRITES, Shelf, archive, ended, training, until

RUNNER = LocalRunner()
CODE = archive(train__py=WRITES)
MEASURES = """import os, pathlib
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
(out / "w.bin").write_bytes(b"weights")
(out / "metrics.json").write_text('{"loss": 0.5}')
"""


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


class Later:
    """The trainer, which is made after the hub."""

    service: TrainingService

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        await self.service.validate(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        return await self.service.submit(who, model, recipe, priority, attempts)


@dataclass
class Both:
    """A hub that records, and a queue."""

    here: House
    queue: TrainingService


@contextlib.asynccontextmanager
async def both(folder: Path, weather: Weather | None = None) -> AsyncIterator[Both]:
    """They, over the data in a folder."""
    trainer = Later()
    folder.mkdir(exist_ok=True)
    engine = await asyncio.to_thread(open_database, sqlite_url(folder / "training.db"), "headrace.services.training")
    try:
        async with house(folder, weather, trainer=trainer) as here:
            queue = TrainingService(engine, here.hub, RUNNER, folder / "training", QUICK)
            trainer.service = queue
            async with queue:
                yield Both(here, queue)
    finally:
        engine.dispose()


async def test_a_job_waits_for_the_ledger_and_goes_on(tmp_path: Path) -> None:
    async with both(tmp_path) as found:
        here, queue = found.here, found.queue
        here.weather.gone = True
        data = await dataset(here.hub, ACME)
        model = await recipe(here.hub, ACME, CODE, datasets=[data.id])
        job = await until(queue, model.job, lambda job: bool(job.message), ACME)
        assert job.state == "queued" and data.id in job.message and model.id in job.message
        await asyncio.sleep(0.5)
        job = await queue.job(ACME, model.job)
        assert (job.state, job.attempt, job.started_ms) == ("queued", 0, None)
        seen = [event["what"] for event in await queue.events(ACME, model.job)]
        assert "started" not in seen and seen.count("waits") <= 4  # once for each word that changed, not for each look
        here.weather.gone = False
        job = await ended(queue, model.job, ACME)
        assert (job.state, job.attempt, job.message) == ("done", 1, "")
        await here.settled()
        made = await here.hub.model(ACME, model.id)
        assert (made.state, made.anchoring) == ("trained", "anchored")
        assert await here.notary.recorded(made) == made.digest


async def test_evaluation_and_reproduction_wait_as_well(tmp_path: Path) -> None:
    async with both(tmp_path) as found:
        here, queue = found.here, found.queue
        data = await dataset(here.hub, ACME)
        model = await recipe(here.hub, ACME, archive(train__py=MEASURES), datasets=[data.id])
        assert (await ended(queue, model.job, ACME)).state == "done"
        await here.settled()
        here.weather.gone = True
        held_out = await dataset(here.hub, ACME, b"a,b\n5,6\n")
        asked = await queue.evaluate(ACME, model.id, held_out.id)
        job = await until(queue, asked.id, lambda job: bool(job.message), ACME)
        assert held_out.id in job.message and model.id not in job.message and job.state == "queued"
        again = await queue.reproduce(ACME, model.id)  # what it needs is recorded, but cannot be compared now
        job = await until(queue, again.id, lambda job: "does not answer" in job.message, ACME)
        await asyncio.sleep(1)
        job = await until(queue, again.id, lambda job: job.state == "queued", ACME)
        assert job.attempt == 0
        here.weather.gone = False
        for one in (again.id, asked.id):
            job = await ended(queue, one, ACME)
            assert (job.state, job.attempt) == ("done", 1), job
        assert [event["what"] for event in await queue.events(ACME, again.id)] == ["queued", "waits", "started", "done"]


async def test_what_could_not_be_recorded_is_refused_with_the_reason(tmp_path: Path) -> None:
    class Contrary(Weather):
        async def submit(self, company: str, acts: Any) -> Any:
            if b"unlucky" in getattr(acts[0], "claim", b""):
                raise Conflict(detail="another one is there")
            return await super().submit(company, acts)

    async with both(tmp_path, Contrary()) as found:
        here, queue = found.here, found.queue
        data = await dataset(here.hub, ACME, name="unlucky")
        await here.settled()
        assert (await here.hub.dataset(ACME, data.id)).anchoring == "failed"
        model = await recipe(here.hub, ACME, CODE, datasets=[data.id])
        job = await ended(queue, model.job, ACME)
        assert (job.state, job.attempt) == ("failed", 0)
        assert data.id in job.reason and "another one is there" in job.reason
        while (await here.hub.model(ACME, model.id)).state != "failed":  # it is told in a moment
            await asyncio.sleep(0.02)


async def test_a_job_that_waits_is_passed_by_others_and_can_be_cancelled(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    data = shelf.add_dataset(b"a\n1\n")
    shelf.put(shelf.at(data).model_copy(update={"anchoring": "waiting", "anchoring_note": "the ledger is gone"}))
    first = shelf.add_model(archive(train__py=WRITES), datasets=[data])
    second = shelf.add_model(archive(train__py=WRITES))
    who = Principal("acme", "ann", "user", frozenset({"developer"}))
    async with training(tmp_path, RUNNER) as service:
        waits = await service.submit(who, first, shelf.at(first).recipe, priority=9)
        goes = await service.submit(who, second, shelf.at(second).recipe)
        assert (await ended(service, goes.id)).state == "done"
        job = await service.job(who, waits.id)
        assert job.state == "queued" and "the ledger is gone" in job.message
        assert (await service.cancel(who, waits.id)).state == "cancelled"
