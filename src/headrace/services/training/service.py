"""The training service: takes jobs in, has them run one after the other, and says what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from headrace.access import Action, Principal
from headrace.assets import Job, JobState, Model, Recipe, new_id
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, TooMany, UnknownAsset, size_of
from headrace.runners import Runner
from headrace.runners.choosing import name_of
from headrace.services.sharing import Sharing
from headrace.services.training.dispatch import Dispatcher
from headrace.services.training.logs import Logs
from headrace.services.training.queue import Entry, Queue
from headrace.services.training.recipes import Recipes, copied
from headrace.services.training.running import Running, on_behalf
from headrace.services.training.verdicts import Verdicts
from headrace.services.training.workers import Worker
from headrace.settings import TrainingSettings


class TrainingService:
    """See `Training`. Enter it in a running event loop.

    Several of them, in one process or many, may share a database; those that share a `folder` notice at once when one dies.

    Args:
        engine: of `open_database(url, "headrace.services.training")`.
        folder: where jobs run and logs are kept; ours alone.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        engine: Engine,
        sharing: Sharing,
        runner: Runner,
        folder: Path,
        settings: TrainingSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings = settings or TrainingSettings()
        self._sharing = sharing
        self._worker = Worker(folder / "runs")
        self._queue = Queue(engine, self._worker.name, settings.lease, clock)
        self._logs = Logs(folder / "logs")
        self._recipes = Recipes(sharing, runner, settings, self._worker.folder)
        running = Running(sharing, runner, Verdicts(engine), settings)
        named = partial(name_of, runner)
        self._dispatcher = Dispatcher(
            self._queue, self._worker, running, self._recipes, sharing, self._logs, settings, clock, named
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> TrainingService:
        await asyncio.to_thread(self._stack.enter_context, self._worker)
        await self._stack.enter_async_context(self._dispatcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # -- what people and the hub ask

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """See `Training.validate`."""
        who.require("write")
        await self._recipes.check(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """Queue the training of a registered model of his company, by the very recipe it was registered with.

        Raises NotFound, Forbidden, BadInput, TooMany.
        """
        who.require("write")
        record = await self._own(who, model)
        if record.recipe != recipe:
            raise BadInput(detail=f"model {model!r} was registered with another recipe")
        if not 1 <= attempts <= self.settings.attempts:
            raise BadInput(detail=f"attempts: {attempts} is not between 1 and {self.settings.attempts}")
        if earlier := await asyncio.to_thread(self._queue.training_of, model):
            return _shown(earlier, await self._held(earlier), who.company)
        return await self._add(who, model, recipe, kind="train", priority=priority, attempts=attempts)

    async def evaluate(self, who: Principal, model: str, dataset: str, entry_point: str = "", priority: int = 0) -> Job:
        """See `Training.evaluate`."""
        recipe = await self._trained(who, model)
        if dataset in recipe.datasets:
            raise BadInput(
                detail=f"{dataset!r} is what {model!r} was trained on; a held-out dataset must be another one"
            )
        await self._sharing.check(who, dataset, "train")
        digest = (await self._sharing.dataset(who, dataset)).stored.sha256
        if text := copied(dataset, digest, await self._recipes.digests(who, recipe.datasets)):
            raise BadInput(detail=text)
        changed = {
            "entry_point": entry_point or recipe.entry_point,
            "datasets": [],
            "evaluation": [dataset],
            "parent": "",
        }
        measured = recipe.model_copy(update=changed)
        return await self._add(who, model, measured, kind="evaluate", dataset=dataset, priority=priority)

    async def reproduce(self, who: Principal, model: str, priority: int = 0) -> Job:
        """See `Training.reproduce`."""
        recipe = await self._trained(who, model)
        for id in dict.fromkeys([*recipe.datasets, *recipe.evaluation, *filter(None, [recipe.parent])]):
            await self._sharing.check(who, id, "train")  # deleted, or no longer granted: it could not start
        return await self._add(who, model, recipe, kind="reproduce", priority=priority)

    async def job(self, who: Principal, id: str) -> Job:
        """See `Training.job`."""
        job = (await self._entry(who, id, "read")).job
        return _shown(job, await self._held(job), who.company)

    async def jobs(self, who: Principal, state: JobState | None = None, model: str = "", limit: int = 100) -> list[Job]:
        """See `Training.jobs`."""
        who.require("read")
        found = []
        for job in await asyncio.to_thread(self._queue.recent, who.company, state, model, max(1, min(limit, 1000))):
            held = await self._held(job)
            if job.company == who.company or who.company in held:
                found.append(_shown(job, held, who.company))
        return found

    async def events(self, who: Principal, id: str) -> list[dict[str, Any]]:
        """See `Training.events`."""
        job = (await self._entry(who, id, "read")).job
        found = await asyncio.to_thread(self._queue.events, id)
        if (held := await self._held(job)) and who.company not in held:
            return [event if event["what"] in BY_PEOPLE else {**event, "detail": ""} for event in found]
        return found

    async def cancel(self, who: Principal, id: str) -> Job:
        """See `Training.cancel`."""
        await self._entry(who, id, "write")
        await asyncio.to_thread(self._queue.cancel, id, who.subject)
        await self._dispatcher.cancel(id)
        return await self.job(who, id)

    async def retry(self, who: Principal, id: str) -> Job:
        """See `Training.retry`."""
        await self._entry(who, id, "write")
        await asyncio.to_thread(self._queue.retry, id, who.subject)
        self._dispatcher.wake()
        return await self.job(who, id)

    async def log(self, who: Principal, id: str, offset: int = 0, follow: bool = False) -> AsyncIterator[bytes]:
        """See `Training.log`."""
        job, looked = await self._open_job(who, id), time.monotonic()
        if job.ended_ms is not None and job.log_bytes and not await asyncio.to_thread(self._logs.there, id):
            days = self.settings.log_age / 86_400
            most = size_of(self.settings.log_size)
            why = (
                f"logs are kept for {days:g} days, up to {most} of a company's and what its contents leave of its quota"
            )
            raise NotFound(detail=f"the log of {id} was deleted: {why}; the oldest go first")
        yield b""

        async def growing() -> bool:
            nonlocal job, looked
            if time.monotonic() - looked > self.settings.look:
                job, looked = await self._open_job(who, id), time.monotonic()
            return follow and job.state in {"queued", "running"}

        async for piece in self._logs.read(id, offset, growing):
            yield piece

    # -- companies

    async def companies(self) -> set[str]:
        """Those that have jobs which have not ended."""
        return await asyncio.to_thread(self._queue.companies)

    async def known(self, company: str) -> bool:
        """Whether anything is written down under this name."""
        return await asyncio.to_thread(self._queue.known, company)

    async def close(self, company: str) -> None:
        """A company was deleted: its jobs end, their logs go; the rows stay, so that its name is not given again. May be called
        twice."""
        for id in await asyncio.to_thread(self._queue.open, company):
            with contextlib.suppress(Conflict):  # it has ended meanwhile
                await asyncio.to_thread(self._queue.cancel, id, "the deletion of its company")
                await self._dispatcher.cancel(id)
        for id in await asyncio.to_thread(self._queue.all, company):
            await asyncio.to_thread(self._logs.forget, id)

    # -- inside

    async def _open_job(self, who: Principal, id: str) -> Job:
        """A job whose log he may read now. Raises NotFound, Forbidden."""
        job = (await self._entry(who, id, "read")).job
        if (held := await self._held(job)) and who.company not in held:
            detail = f"the log of {id} is held: it read data of {', '.join(held)}, who have not released what it made"
            raise Forbidden(detail=detail)
        return job

    async def _add(self, who: Principal, model: str, recipe: Recipe, **more: Any) -> Job:
        waiting = await asyncio.to_thread(self._queue.waiting, who.company)
        if waiting >= self.settings.queued:
            raise TooMany(count=waiting, what="jobs of this company")
        job = Job(
            id=new_id("jb"),
            company=who.company,
            model=model,
            created_ms=self._queue.now(),
            created_by=who.subject,
            held_for=await self._recipes.holders(who, recipe),
            **more,
        )
        job = await asyncio.to_thread(self._queue.add, job, recipe)
        self._dispatcher.wake()
        return _shown(job, job.held_for, who.company)

    async def _held(self, job: Job) -> list[str]:
        """The companies that have not released what a job made of their data."""
        if not job.held_for:
            return []
        try:
            model = await self._sharing.model(on_behalf(job), job.model)
        except (NotFound, Forbidden):
            return job.held_for
        if job.kind == "train" and job.attempt:  # the hub holds a model from the start of its job on
            return [company for company in job.held_for if company in model.held_for]
        measured = model.metrics.get(job.dataset)
        if job.kind == "evaluate" and isinstance(measured, dict) and measured.get("job") == job.id:
            held = measured.get("held_for")
            return [company for company in job.held_for if isinstance(held, list) and company in held]
        return job.held_for

    # -- rights

    async def _own(self, who: Principal, model: str) -> Model:
        """A model of his company. Raises UnknownAsset for anybody else's, granted or not: its jobs are its owner's."""
        record = await self._sharing.model(who, model)
        if record.company != who.company:
            raise UnknownAsset(kind="model", id=model)
        return record

    async def _trained(self, who: Principal, model: str) -> Recipe:
        """The recipe of a model that was trained here and may be run again."""
        who.require("write")
        record = await self._own(who, model)
        if record.held_for:
            raise Forbidden(detail=f"{model} is held for {', '.join(record.held_for)} until they release it")
        if record.recipe is None:
            raise BadInput(detail=f"{model} was uploaded as it is: there is no recipe whose code could be run")
        if record.state != "trained":
            raise BadInput(detail=f"{model} is {record.state}; this needs a trained model")
        return record.recipe

    async def _entry(self, who: Principal, id: str, action: Action) -> Entry:
        entry = await asyncio.to_thread(self._queue.find, id)
        if entry is None:
            raise UnknownAsset(kind="job", id=id)
        if entry.job.company != who.company:  # whose data it read looks at what it made before letting it go
            if who.company not in entry.job.held_for or who.company not in await self._held(entry.job):
                raise UnknownAsset(kind="job", id=id)
            if action != "read":
                raise Forbidden(
                    detail=f"{id} is a job of {entry.job.company!r}: only they may cancel it or run it again"
                )
        who.require(action)
        return entry


QUIET: dict[str, Any] = {
    "progress": None,
    "message": "",
    "reason": "",
    "metrics": {},
    "log_bytes": 0,
    "peak_memory_bytes": None,
    "exit_code": None,
}
"""What a held job's record shows of its code to its own company: nothing. That it failed, and when it ended, is left."""
BY_PEOPLE = frozenset({"started", "cancel", "retry"})
"""Events whose details no code has a word in."""


def _shown(job: Job, held: list[str], company: str) -> Job:
    """A job as a company may see it: while held, nothing its code could use to say what it read; but to those it is held for."""
    if not held or company in held:
        return job.model_copy(update={"held_for": held})
    quiet = dict(QUIET)
    if job.state == "queued" and not job.attempt:  # no code has run: the platform says what it waits for
        quiet["message"] = job.message
    if job.state == "failed":
        quiet["reason"] = f"it failed; why is not shown while what it read is not released by {', '.join(held)}"
    elif job.state == "cancelled":
        quiet["reason"] = "cancelled"
    return job.model_copy(update={**quiet, "held_for": held})
