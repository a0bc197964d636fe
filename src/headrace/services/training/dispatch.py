"""Takes jobs from the queue and has them run: the part of the service that works while nobody asks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from headrace.assets import Environment, Job
from headrace.errors import HeadraceError, Temporary
from headrace.services.sharing import Sharing
from headrace.services.training.anchored import obstacle
from headrace.services.training.logs import LEAST, Logs
from headrace.services.training.queue import Entry, Queue
from headrace.services.training.recipes import Recipes
from headrace.services.training.running import Finished, NotYet, Running, on_behalf
from headrace.services.training.workers import Worker, remove
from headrace.settings import TrainingSettings

CANCEL_WAIT = 10.0
"""Seconds a cancelling caller waits for a running job to be gone, before he is told what is so far."""
CLEAN = 3600.0
"""Seconds between looks at which logs may go."""
LONGEST = 300.0
"""Seconds of the longest pause before another attempt."""
NOT_YET = "not yet"
"""How an attempt ended of which nothing has run: it does not count."""
WAIT = 15.0
"""Seconds between looks at a job that has waited for long until its inputs are recorded."""
_log = logging.getLogger("headrace.training")


class Dispatcher:
    """Runs up to `settings.parallel` jobs. Enter it in a running event loop; leaving it queues what still runs again."""

    def __init__(
        self,
        queue: Queue,
        worker: Worker,
        running: Running,
        recipes: Recipes,
        sharing: Sharing,
        logs: Logs,
        settings: TrainingSettings,
        clock: Callable[[], float],
        named: Callable[[Environment], str],
    ) -> None:
        self._queue, self._worker, self._running, self._recipes = queue, worker, running, recipes
        self._sharing, self._logs, self._settings, self._clock, self._named = sharing, logs, settings, clock, named
        self._jobs: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._cleaned = -CLEAN
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Dispatcher:
        self._loops = [asyncio.create_task(self._for_ever(self._look)), asyncio.create_task(self._for_ever(self._beat))]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True  # the beat goes on until no job is left
        await _ended(self._loops[0])
        for _task, cancel in self._jobs.values():
            cancel.set()
        await asyncio.gather(*(task for task, _ in self._jobs.values()))
        await _ended(self._loops[1])

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def cancel(self, id: str) -> None:
        """Its row says that it is to be cancelled: if it runs here, wait until it is gone."""
        if running := self._jobs.get(id):
            running[1].set()
            await asyncio.wait([running[0]], timeout=CANCEL_WAIT)
        self.wake()

    # -- the two loops

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception:  # a full disk, a hub that is away: both pass
                _log.exception("the job queue could not be looked at; it is again in a moment")
                await asyncio.sleep(self._settings.look)

    async def _look(self) -> None:
        """What others left, what may start, what the hub has to know; then wait for the next reason."""
        self._wake.clear()
        await asyncio.to_thread(self._take_over)
        while len(self._jobs) < self._settings.parallel and (entry := await self._ready()):
            cancel = asyncio.Event()
            self._jobs[entry.job.id] = asyncio.create_task(self._one(entry, cancel)), cancel
        await self._tell()
        if time.monotonic() - self._cleaned >= CLEAN:
            self._cleaned = time.monotonic()
            for company in await asyncio.to_thread(self._queue.everybody):
                await self._clean(company)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.look):
                await self._wake.wait()

    async def _ready(self) -> Entry | None:
        """The next job whose model and inputs are recorded, claimed; those that have to wait say so and are passed over."""
        while (entry := await asyncio.to_thread(self._queue.next)) is not None:
            id = entry.job.id
            found = await obstacle(self._sharing, entry)
            if found is None:
                if claimed := await asyncio.to_thread(self._queue.claim, id):
                    return claimed
            elif found.final:
                await asyncio.to_thread(self._queue.refuse, id, found.text)
            else:
                await asyncio.to_thread(self._queue.wait, id, found.text, self._wait(entry))
        return None

    def _wait(self, entry: Entry) -> float:
        """Seconds until a job that cannot start is looked at again: the longer it has waited, the longer."""
        return min(max(self._settings.look, (self._clock() - entry.job.created_ms / 1000) / 10), WAIT)

    async def _clean(self, company: str, over: str = "") -> None:
        """Have a company's logs keep to their size, and to what its contents leave of its quota; not those of jobs that run,
        but for one that is over."""
        room = await self._sharing.room(company)
        size = self._settings.log_size if room is None else max(LEAST, min(self._settings.log_size, room))
        ended = set(await asyncio.to_thread(self._queue.all, company)) - (self._jobs.keys() - {over})
        await asyncio.to_thread(self._logs.clean, self._clock(), self._settings.log_age, size, ended)

    async def _beat(self) -> None:
        """Say that this process lives; end what was cancelled elsewhere, or is not its job any more."""
        before = list(self._jobs.items())  # what is claimed while the table is read is not in the answer
        mine = await asyncio.to_thread(self._queue.beat) if before else {}
        for id, (_, cancel) in before:
            if mine.get(id, "lost"):
                cancel.set()
        await asyncio.sleep(min(self._settings.look, self._settings.lease / 5))

    # -- what other workers left

    def _take_over(self) -> None:
        """Queue again what ran under workers that are dead, and remove what they left on the disk."""
        foreign: dict[str, list[Entry]] = {}
        for entry in self._queue.foreign():
            foreign.setdefault(entry.worker, []).append(entry)
        for worker in sorted({*foreign, *self._worker.others()}):
            with self._worker.dead(worker) as state:
                for entry in foreign.get(worker, ()):
                    if state == "dead" or (state == "elsewhere" and entry.lease_ms < self._queue.now()):
                        reason = f"the platform was killed while attempt {entry.job.attempt} ran"
                        self._queue.take_over(entry, reason, self._settings.failures)

    # -- one job

    async def _one(self, entry: Entry, cancel: asyncio.Event) -> None:
        job = entry.job
        folder = self._worker.folder / f"{job.id}-{job.attempt}"
        try:
            await asyncio.to_thread(folder.mkdir)
            finished = await self._attempt(entry, folder, cancel)
            await self._settle(entry, finished, cancel)
        except Exception:  # the table cannot be written: the row stays, the next start of the platform takes it over
            _log.exception("what became of job %s could not be written down", job.id)
        finally:
            await asyncio.to_thread(remove, folder)
            await self._tidied(job)
            del self._jobs[job.id]
            self.wake()

    async def _tidied(self, job: Job) -> None:
        """Its log counts from now on."""
        try:
            await self._clean(job.company, job.id)
        except Exception as error:  # the hub is away, or the disk: there is another look in an hour
            _log.info("logs of %s were not looked through: %s", job.company, error)

    async def _attempt(self, entry: Entry, folder: Path, cancel: asyncio.Event) -> Finished:
        """Run it; what goes wrong on the platform's side becomes a reason."""
        job = entry.job
        try:
            held_for = sorted({*job.held_for, *await self._recipes.holders(on_behalf(job), entry.recipe)})
            runner = self._named(entry.recipe.environment)
            started = job.model_copy(update={"held_for": held_for, "runner": runner})
            await asyncio.to_thread(self._queue.note, job.id, held_for=held_for, runner=runner)
            if job.kind == "train":
                await self._sharing.began(started)
                await asyncio.to_thread(self._queue.told, started)
            log = await asyncio.to_thread(self._logs.begin, job.id, job.attempt)

            async def note(values: dict[str, object]) -> None:
                await asyncio.to_thread(lambda: self._queue.note(job.id, **values))

            return await self._running.run(entry_with(entry, started), folder, log, note, cancel)
        except NotYet as error:
            return Finished("queued", NOT_YET, f"waits: {error}")
        except Temporary as error:
            return Finished("queued", "platform", str(error))
        except HeadraceError as error:
            return Finished("failed", "refused", str(error))
        except Exception as error:
            _log.exception("job %s: attempt %d failed on the platform's side", job.id, job.attempt)
            return Finished(
                "queued", "platform", f"the platform failed ({type(error).__name__}); its own log says more"
            )

    async def _settle(self, entry: Entry, finished: Finished, cancel: asyncio.Event) -> None:
        """Write down how an attempt ended, and whether there will be another. While the disk is full: wait."""
        pause = self._settings.pause
        while True:
            try:
                await asyncio.to_thread(self._write, entry, finished, cancel.is_set())
                return
            except Temporary:
                if self._stopping:
                    raise
                await asyncio.sleep(pause)

    def _write(self, entry: Entry, finished: Finished, ended_early: bool) -> None:
        queue, values = self._queue, finished.values
        row = queue.find(entry.job.id)
        by = row.cancelled_by if row else ""
        if finished.state == "done":
            queue.end(entry, "done", finished.how, finished.reason, **values)
        elif by:
            queue.end(entry, "cancelled", "cancelled", f"cancelled by {by}", **values)
        elif ended_early:  # the platform stops, or the job is not ours any more
            queue.again(
                entry, "stopped", f"the platform was stopped while attempt {entry.job.attempt} ran", 0, **values
            )
        elif finished.how == NOT_YET:
            queue.postpone(entry, finished.reason, self._wait(entry))
        elif finished.state == "queued" and entry.failures + 1 < self._settings.failures:
            queue.again(entry, finished.how, finished.reason, self._pause(entry.failures), failures=1, **values)
        elif finished.fault and entry.faults + 1 < entry.job.attempts:
            queue.again(entry, finished.how, finished.reason, self._pause(entry.faults), faults=1, **values)
        else:
            queue.end(entry, "failed", finished.how, finished.reason, **values)

    def _pause(self, before: int) -> float:
        return min(self._settings.pause * 2.0**before, LONGEST)

    # -- the hub

    async def _tell(self) -> None:
        """Say to the hub what it does not know yet. Jobs that run here do so themselves, in their own order."""
        for job in await asyncio.to_thread(self._queue.untold):
            if job.id in self._jobs:
                continue
            if job.state != "done":  # it knows that from `trained`
                try:
                    await self._sharing.began(job)
                except Temporary:
                    return
                except HeadraceError as error:  # its model was deleted
                    _log.info("job %s: %s", job.id, error)
            await asyncio.to_thread(self._queue.told, job)


def entry_with(entry: Entry, job: Job) -> Entry:
    """The same row with another record."""
    return Entry(job, entry.recipe, entry.faults, entry.failures, entry.worker, entry.lease_ms, entry.cancelled_by)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
