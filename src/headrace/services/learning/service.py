"""The learning service in the platform's process: registry, workers, and answers from what the workers stored."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
import math
import re
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from headrace import distrust
from headrace.access import Principal
from headrace.errors import BadInput, BadSpec, BadTensor, Forbidden, Problem, StorageUnavailable, UnknownModel
from headrace.records import MINUTE, Array
from headrace.services.learning import shadows
from headrace.services.learning.alerting import Alerting, speaks
from headrace.services.learning.answering import Answers
from headrace.services.learning.inputs import histories
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.observer import FILE
from headrace.services.learning.parents import Parent, Weights, fetch, full, misfits
from headrace.services.learning.plan import check
from headrace.services.learning.registry import Entered, Registry, apply_entry, as_applied, control
from headrace.services.learning.runs import lined
from headrace.services.learning.store import Run, Store, Stored, generation_file
from headrace.services.learning.supervisor import SILENCE, Supervisor
from headrace.services.learning.view import View
from headrace.services.learning.webhooks import Webhooks
from headrace.services.learning.worker import Event, ModelConfig
from headrace.spec import Document, user_code
from headrace.spec import Path as Place
from headrace.streams.logs import Log
from headrace.topics import matches

logger = logging.getLogger("headrace.learning")
Publish = Callable[[str, Sequence[bytes]], None]
BUSY = 10.0
"""Seconds one block may take before people are told. Nothing is ever stopped for it: a first fit may take minutes."""
PAGE = 2000
"""Predictions read from a store and published per turn of the event loop, or the rest of a run more."""
LINE = 200
"""Bytes of the JSON of one prediction of a stream."""
SLICE = 5000
"""Predictions of a stranger's model that are published per turn."""
LARGE = 2**18
"""Bytes of a stranger's runs, or of their JSON, from which on it is made in a thread."""
SHARE = 0.2
"""Of the event loop's time that publishing may take for a company whose files a stranger may have written."""
LOCKED = 10.0
"""Seconds a stranger's worker may keep its files locked: honest ones do for as long as a transaction is written."""
WARN = 60.0
"""Seconds between two warnings about one model."""


class Watcher(Protocol):
    """Whoever reads what generations leave behind."""

    def entered(self, entered: Entered) -> None:
        """A generation is in service."""
        ...

    def parting(self, path: Path) -> None:
        """A generation's store, complete, is about to be removed."""
        ...


class LearningService:
    """See `headrace.services.learning.Learning`.

    Args:
        publish: sends forecasts to an output topic, in order; the last is retained.
        tick: seconds between the ticks of models with ``clock: wall``.
        hooks: the queue of webhooks; None: alerts are not sent to any.
        isolation: what the processes that run users' code can reach.
        weights: gives registered models to those that start from them; None: nobody does.
        several: whether there are other companies on this platform. Blocks.
        watcher: is told of generations that come and go.
    """

    def __init__(
        self,
        log: Log,
        data: Path,
        publish: Publish,
        *,
        tick: float = MINUTE / 1e9,
        clock: Callable[[], int] = time.time_ns,
        checkpoint_seconds: float = 5.0,
        silence: float = SILENCE,
        hooks: Webhooks | None = None,
        isolation: Isolation = TRUSTED,
        weights: Weights | None = None,
        several: Callable[[], bool] = bool,
        watcher: Watcher | None = None,
    ) -> None:
        self._several, self._watcher = several, watcher
        self._isolation, self._weights = isolation, weights
        self._log, self._data, self._publish, self._tick, self._clock = log, data, publish, tick, clock
        self._registry = Registry(data)
        self.alerting = Alerting(publish, self._registry, hooks)
        self._supervisor = Supervisor(data, self._report, self._died, checkpoint_seconds, silence, isolation)
        self.answers = Answers(isolation)
        self.views: dict[str, View] = {}
        self._before: dict[str, Before] = {}
        self._cursors: dict[str, int] = {}
        self._due: set[str] = set()
        self._warned: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._applying, self._comparing = asyncio.Lock(), asyncio.Lock()
        self._behind = False
        """The log holds a change of models that a full disk kept from being taken in."""
        self.ready = asyncio.Event()
        self.restarts = self.rebuilt = 0
        self.published = 0

    async def __aenter__(self) -> LearningService:
        (self._data / "state").mkdir(parents=True, exist_ok=True)
        self._registry.fold(self._log)
        await self._adopt()
        for work in (self._publishing, self._ticking, self._remembering):
            self._tasks.append(asyncio.create_task(work(), name=work.__name__))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._supervisor.close()
        await self.answers.close()
        with contextlib.suppress(sqlite3.Error):  # a full disk: some forecasts are published again, under their ids
            await self._drain()
            self._registry.set_cursors(self._cursors)
        for view in self.generations():
            view.close()
        distrust.forget(self._data / "state")
        self._registry.close()

    def nudge(self) -> None:
        """The log has grown."""
        self._supervisor.nudge()

    # -- the set of models

    async def apply(
        self, documents: list[Document], files: dict[str, str], who: Principal | None = None
    ) -> dict[str, str]:
        self._check(documents, files)
        async with self._applying:
            changes, parents = await self._changes(documents, files, who)
            changed = [document for document in documents if changes[document.spec.name] != "unchanged"]
            if changed:
                await self._log.append([apply_entry(changed, files, parents=parents)])
                await self._follow()
        return changes

    async def diff(
        self, documents: list[Document], files: dict[str, str], who: Principal | None = None
    ) -> dict[str, str]:
        """What `apply` would do, without doing it. Raises what it raises."""
        self._check(documents, files)
        changes, _ = await self._changes(documents, files, who)
        return changes

    async def _changes(
        self, documents: list[Document], files: dict[str, str], who: Principal | None
    ) -> tuple[dict[str, str], dict[str, Parent]]:
        """(change of each model, the parents of those that change): nobody is asked for what the log has already.

        Raises BadSpec, Forbidden, and what the keeper of a parent says.
        """
        _refuse(shadows.check(documents, self._registry.models))
        changes = {document.spec.name: self._change(document, files) for document in documents}
        changed = [document for document in documents if changes[document.spec.name] != "unchanged"]
        await self._permit(changed, who)
        parents = await fetch(changed, self._weights, who)
        _refuse(await asyncio.to_thread(misfits, changed, parents))
        return changes, parents

    async def _permit(self, documents: list[Document], who: Principal | None) -> None:
        """Code of the platform's own company runs as the platform: where that holds other people's data too, only whoever
        operates it may bring any. Raises Forbidden."""
        files = [name for document in documents for _, name, _ in user_code(document.plain)]
        if not (files and self._isolation.trusted) or (who is not None and who.may("operate")):
            return
        if await asyncio.to_thread(self._several):
            raise Forbidden(
                detail=f"{files[0]!r} would run as the platform itself, beside the data of other companies: in this company "
                "applying Python files needs the role operator; a company of its own runs them sandboxed"
            )

    def _check(self, documents: list[Document], files: dict[str, str]) -> None:
        """Raises BadSpec; other people's code is not even parsed where it cannot be run apart from everything else."""
        if not self._isolation.may_run:
            _refuse([document.problem(place, self._unsafe) for document in documents for place in _code(document)])
        _refuse([problem for document in documents for problem in check_all(document, files)])

    @property
    def _unsafe(self) -> str:
        return f"Python files of this company cannot be run here, isolated from others ({self._isolation.reason})"

    def _change(self, document: Document, files: dict[str, str]) -> str:
        """What applying it would be to the model in service; the parent of an unchanged spec is the one it has."""
        known = self._registry.models.get(document.spec.name)
        if known is None:
            return "created"
        same = as_applied(document, files, known.applied.parent if document.spec.parent else None)
        return "unchanged" if same == known.applied else "changed"

    async def delete(self, name: str) -> None:
        async with self._applying:
            self._entered(name)
            shadows.keep_served(name, self._registry.models.values())
            await self._log.append([control({"kind": "delete", "name": name})])
            await self._follow()

    async def promote(self, name: str) -> str:
        """Let a candidate take the name of the model it is a shadow of, in one log entry; returns that name.

        Raises:
            UnknownModel, BadInput: there is no such candidate.
            Conflict: it forecasts nothing.
        """
        async with self._applying:
            candidate = self._entered(name)
            served = shadows.candidate_of(candidate, self._registry.models)
            shadows.fit_to_serve(name, self.state_of(self.view(name)))
            document = shadows.promoted(candidate, served)
            parent = await asyncio.to_thread(full, candidate.applied.parent, candidate.folder)
            parents = {} if parent is None else {document.spec.name: parent}
            await self._log.append([apply_entry([document], candidate.applied.files, [name], parents)])
            await self._follow()
        return served.name

    async def _follow(self) -> None:
        """Take in what the log says about models. Raises StorageUnavailable; then it is tried again each second."""
        self._behind = True
        try:
            self._registry.fold(self._log)
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(detail=f"{error}, but the change is in the log and follows by itself") from error
        self._behind = False
        await self._adopt()

    async def _adopt(self) -> None:
        """Make views and workers follow the registry."""
        models = self._registry.models
        for name, view in list(self.views.items()):
            if name not in models or models[name].generation != view.entered.generation:
                self._retract(view)
                self._replaced(view)
                del self.views[name]
        for name, entered in models.items():
            if name not in self.views:
                self.views[name] = View(entered, self._data, trusted=self._isolation.trusted)
                self._cursors[_place(entered)] = self._registry.cursor(_place(entered))
                self._due.add(name)
                if self._watcher is not None:
                    self._watcher.entered(entered)
        if self._tasks:  # at the start nobody listens yet
            self.clean()
        self._wake.set()
        run = {name: entered for name, entered in models.items() if self._may_run(entered)}
        light = [_config(entered) for entered in run.values() if not entered.plan.alone]
        heavy = {name: _config(entered) for name, entered in run.items() if entered.plan.alone}
        await self._supervisor.assign(light, heavy, _pinned(models))
        self._sweep()
        self.nudge()

    def _may_run(self, entered: Entered) -> bool:
        """False for a model with code of its own that was applied when there was a sandbox, and now there is none."""
        if self._isolation.may_run or not user_code(entered.applied.plain):
            return True
        self.views[entered.name].failed = self._unsafe
        return False

    def _sweep(self) -> None:
        """Remove the files of superseded and deleted generations, also those a crash left behind. Their workers have gone."""
        entered = self._registry.models.values()
        current = {generation_file(self._data, one.name, one.generation).name for one in entered}
        current |= {before.view.path.name for before in self._before.values()}
        for file in (self._data / "state").glob("*@*.db"):
            if file.name not in current and self._watcher is not None:
                self._watcher.parting(file)  # opens it, and SQLite may leave files beside it
        for file in (self._data / "state").glob("*@*.db*"):
            if file.name.removesuffix("-wal").removesuffix("-shm") not in current:
                file.unlink(missing_ok=True)
        self._registry.sweep([before.view.entered.folder for before in self._before.values()])
        self.alerting.sweep(self.views.values())
        self._cursors = {_place(one): self._cursors.get(_place(one), 0) for one in entered}

    def _replaced(self, view: View) -> None:
        """A generation is no more in service: it goes on to answer until the next has read the log, if there is a next."""
        before = self._before.pop(view.name, None)
        keep = before.view if before is not None else view
        if keep is not view:
            view.close()
        known = self._registry.models.get(view.name)
        if known is None or known.plan.spec.shadow or keep.plan.spec.shadow or not keep.trained:
            keep.close()
        else:
            self._before[view.name] = Before(keep, self._log.end())

    def _settle(self, view: View) -> None:
        """Let the last generation go once the new one can answer, or has failed, or cannot be trained with what there is."""
        before = self._before.get(view.name)
        if before is None or not (view.failed or view.saved >= before.until):
            return
        if view.failed or view.answers or not view.trained:
            del self._before[view.name]
            before.view.close()
            if self._watcher is not None:
                self._watcher.parting(before.view.path)
            with contextlib.suppress(sqlite3.Error):  # its worker is putting a new file there
                self._republish(view)
            for suffix in ("", "-wal", "-shm"):
                before.view.path.with_name(before.view.path.name + suffix).unlink(missing_ok=True)

    def generations(self) -> list[View]:
        """Those in service, and those that still answer."""
        return [*self.views.values(), *(before.view for before in self._before.values())]

    def names(self) -> list[str]:
        return sorted(self.views)

    def served(self) -> list[str]:
        """Models in service that answer: all but the shadows."""
        return [name for name in self.names() if not self.views[name].plan.spec.shadow]

    def refuse_shadow(self, name: str) -> None:
        """Raises NotServed for a shadow; a name nobody knows is for others to refuse."""
        shadows.refuse(self._registry.models.get(name))

    def entered(self) -> list[Entered]:
        """Models in service with their specs."""
        return [self._registry.models[name] for name in self.names()]

    def _entered(self, name: str) -> Entered:
        try:
            return self._registry.models[name]
        except KeyError:
            raise UnknownModel(name=name) from None

    def view(self, name: str) -> View:
        """A model. Raises UnknownModel."""
        try:
            return self.views[name]
        except KeyError:
            raise UnknownModel(name=name) from None

    def answering(self, name: str) -> View:
        """The generation that answers questions: the last one, while a changed model still reads the log."""
        before = self._before.get(name)
        return self.view(name) if before is None else before.view

    async def shadows(self, name: str) -> list[dict[str, Any]]:
        """A model's candidates, or of a candidate itself, compared with the model in service."""
        entered, models = self._entered(name), self._registry.models
        served = models.get(entered.plan.spec.shadow, entered)
        candidates = shadows.of(served.name, models.values())
        failed = {one.name: self.view(one.name).failed for one in candidates}
        async with contextlib.AsyncExitStack() as stack:
            if not self._isolation.trusted:  # a stranger's files may take long; one thread of a company is enough
                await stack.enter_async_context(self._comparing)
            found = await asyncio.to_thread(
                shadows.compared, served, candidates, self._data, failed, trusted=self._isolation.trusted
            )
        return [one for one in found if name in {one["candidate"], one["served"]}]

    # -- what the workers say

    def _died(self, worker: str, how: str, over: bool) -> None:
        self.restarts += 1
        for view in self._of(worker):
            view.restarting, view.busy, view.ended = True, 0.0, how
            view.stop(how if over else "")

    def _report(self, worker: str, event: Event) -> None:
        if event.rebuilt:
            self._rebuilt(event)
        elif event.ready:
            self.ready.set()
            for view in self._of(worker):
                view.restarting = False
        elif event.model:
            try:
                self._moved_on(event)
            except sqlite3.Error as error:  # a file that is locked or being replaced: the next second will do
                self._warn("model", event.model, error)
                self._due.add(event.model)
            except Exception as error:
                if event.model not in self.views or self._isolation.trusted:
                    raise
                self.views[event.model].distrust(error)

    def _rebuilt(self, event: Event) -> None:
        """A worker put a new file in the place of a damaged one."""
        self.rebuilt += 1
        view = self.views.get(event.model)
        if view is not None:
            view.reopen()
            self.alerting.forget(view)

    def _of(self, worker: str) -> list[View]:
        return [view for view in self.views.values() if (view.name if view.plan.alone else "") == worker]

    def _moved_on(self, event: Event) -> None:
        view = self.views.get(event.model)
        if view is None or view.entered.generation != event.generation:
            return
        view.busy = event.busy
        if event.busy:
            return
        if event.refused:
            view.refuse(event.refused, event.reason)
            return
        if event.saved:
            view.failed = event.failed
            view.steady()
            view.saved = max(view.saved, event.position or 0)
            view.refresh()
            self._mind_cursor(view)
            self._settle(view)
        elif event.position is not None:
            view.position = event.position
        if event.alerts or event.runs is None or not self._straight(view, event.runs) or self.alerting.arrived(view):
            self._due.add(view.name)
        self._wake.set()

    def _mind_cursor(self, view: View) -> None:
        """A store that was rebuilt from a shorter log counts its predictions anew."""
        place, store = _place(view.entered), view.store
        if store is None or view.position < self._log.end() or store.last_number() >= self._cursors.get(place, 0):
            return
        self._cursors[place] = store.last_number()
        self._republish(view)

    def _straight(self, view: View, runs: list[tuple[int, str, int, bytes]]) -> bool:
        """Publish what a report brings, if it goes on where the last left off; else the store has to be asked."""
        place = _place(view.entered)
        if not view.trusted and sum(size for _, _, size, _ in runs) > SLICE:
            return False  # a little at a time
        for run in map(Run._make, runs):
            if run.number - run.size != self._cursors.get(place, 0):
                return False
            if not view.trusted and not lined(run.bodies, run.size):
                raise ValueError("it told of predictions that are none")
            self._send(view, run)
        return True

    async def _publishing(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._drain()
            except Exception:  # forecasts must go on; what was not published now is published with the next
                logger.exception("forecasts could not be published")
                await asyncio.sleep(1)
            async with self._moved:
                self._moved.notify_all()

    async def _drain(self) -> None:
        """Publish what the workers predicted since; a prediction may be published again after a crash, under its id."""
        self._wake.clear()
        due, self._due = self._due, set()
        for name in due:
            view = self.views.get(name)
            while view is not None and await self._news(view):
                await asyncio.sleep(0)
                view = self.views.get(name)
            while view is not None and await self._follow_alerts(view):
                view = self.views.get(name)

    async def _news(self, view: View) -> bool:
        """Publish one page of what is in its store; whether there may be more."""
        if self._isolation.trusted:
            return view.store is not None and self._page(view)
        try:
            return view.store is not None and await self._strange_page(view)
        except sqlite3.Error as error:
            self._warn("forecasts of model", view.name, view.fault or error)
            if not view.fault:
                self._due.add(view.name)
        except Exception as error:  # whatever stands in a stranger's file, the company's other models go on
            view.distrust(error)
        return False

    def _warn(self, what: str, name: str, error: object) -> None:
        now = time.monotonic()
        if now - self._warned.get(name, -WARN) >= WARN:
            self._warned[name] = now
            logger.warning("%s %r waits: %s", what, name, error)

    async def _follow_alerts(self, view: View) -> bool:
        """Send on some of its alerts; whether there may be more."""
        begin = time.thread_time()
        try:
            more = self.alerting.follow(view)
        except sqlite3.Error as error:  # a full disk, a file that is being replaced: the next second will do
            self._warn("alerts of model", view.name, error)
            if not view.fault:
                self._due.add(view.name)
            return False
        except Exception as error:
            if view.trusted:
                raise
            view.distrust(error)
            return False
        await asyncio.sleep(0 if view.trusted else (time.thread_time() - begin) * (1 / SHARE - 1))
        return more

    def _page(self, view: View) -> bool:
        place = _place(view.entered)
        assert view.store is not None
        runs = view.store.runs(self._cursors.get(place, 0), PAGE)
        for run in runs:
            self._send(view, run)
        return bool(runs)

    async def _strange_page(self, view: View) -> bool:
        """`_page` of a file that a stranger may have written: little at a time, and what is long is put together elsewhere."""
        begin = time.thread_time()
        place, store = _place(view.entered), view.store
        assert store is not None
        rows = store.stored(after := self._cursors.get(place, 0))
        if sum(max(len(row.stored), LINE * min(row.size, SLICE)) for row in rows) > LARGE:
            took = time.thread_time() - begin
            runs = await asyncio.to_thread(_sliced, store, rows, after)
            begin = time.thread_time() - took
        else:
            runs = _sliced(store, rows, after)
        if self.views.get(view.name) is not view:
            return False
        for run in runs:
            if run.number > self._cursors.get(place, 0):  # a report may have come in between
                self._send(view, run)
        await asyncio.sleep((time.thread_time() - begin) * (1 / SHARE - 1))
        return bool(rows)

    def _send(self, view: View, run: Run) -> None:
        self._cursors[_place(view.entered)] = run.number
        if not view.plan.spec.shadow and view.name not in self._before:  # what it reads again was published before
            self._publish(view.topic(run.key), run.bodies.split(b"\n"))
            self.published += run.size
        view.predicted(run.key)

    def republish(self) -> None:
        """The newest forecast of every key, for those who subscribe after a restart."""
        for view in self.views.values():
            with contextlib.suppress(sqlite3.Error):  # damaged: its worker will say so
                self._republish(view)

    def _republish(self, view: View) -> None:
        for key in view.store.lanes() if view.store is not None and not view.plan.spec.shadow else []:
            latest = view.store.latest(key) if view.store is not None else None
            if latest is not None:
                self._publish(view.topic(key), [latest[1]])

    def _retract(self, view: View) -> None:
        """A deleted model's forecasts are no longer kept for those who subscribe later: MQTT's empty retained message."""
        known = self._registry.models.get(view.name)
        self.alerting.retract(view, deleted=known is None or not speaks(known.plan.spec))
        if view.plan.spec.shadow or (known is not None and _same_output(known, view)):
            return  # it published nothing, or the next generation's forecasts take their place
        for topic in view.published():
            self._publish(topic, [b""])

    async def _remembering(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self._due:
                self._wake.set()
            self._unlock()
            with contextlib.suppress(sqlite3.Error, StorageUnavailable):  # a full disk: the next second will do
                self._registry.set_cursors(self._cursors)
                if self._behind and not self._applying.locked():
                    async with self._applying:
                        await self._follow()

    def _unlock(self) -> None:
        """End the company's workers where a file is kept locked: any of them may be the one that does."""
        if self._isolation.trusted:
            return
        for path in [*(view.path for view in self.views.values()), self._data / "state" / FILE]:
            if distrust.still_locked(path) > LOCKED:
                distrust.forget(path)
                self._supervisor.end(f"a worker of the company kept {path.name} locked for {LOCKED:g} s")

    def clean(self) -> None:
        """Take back what is retained of alerts of generations that are gone, also of those that went before a restart."""
        with contextlib.suppress(sqlite3.Error):  # a full disk: it is done again at the next change or start
            self.alerting.clean(self.views.values())

    def publishes(self, topic: str) -> bool:
        """Whether forecasts of a model in service go to this topic."""
        patterns = (self.views[name].plan.spec.output.topic.replace("{model}", name) for name in self.served())
        forecast = any(matches(pattern.replace("{key}", "+"), topic) for pattern in patterns)
        return forecast or any(self.alerting.publishes(view, topic) for view in self.views.values())

    def alerts(self, name: str = "", key: str = "", *, active: bool = False, limit: int = 100) -> list[dict[str, Any]]:
        """Alerts as people see them, the newest first; of one model or of all. Raises UnknownModel."""
        views = [self.view(name)] if name else list(self.views.values())
        return self.alerting.found(views, key, active=active, limit=limit)

    def pinned(self) -> list[tuple[str, dict[str, Any]]]:
        """(topic filter, decoder) of the models that read with a decoder of their own."""
        return _pinned(self._registry.models)

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            if any(view.plan.spec.input.clock == "wall" for view in self.views.values()):
                with contextlib.suppress(Exception):  # a full disk: the next tick will do
                    await self._log.append([control({"kind": "tick", "time": self._clock()})])
                    self.nudge()

    # -- questions

    def last(self, name: str, key: str = "") -> dict[str, Any]:
        return self.answering(name).last(key)

    async def ask(self, name: str, inputs: dict[str, Any], key: str = "", role: str = "") -> Array:
        """`infer`; models that a stranger's code may have written are run in a process of their company's.

        Raises:
            Unanswered, TooSlow, TooMany, FixedLimit: that process did not, or may not be asked.
        """
        view = self.answering(name)
        if view.trusted:
            return self.infer(name, inputs, key, role)
        return await self.answers.predict(view, inputs, key or view.default_key(), role)

    def infer(self, name: str, inputs: dict[str, Any], key: str = "", role: str = "") -> Array:
        """(n, horizon) in the target's unit, computed here.

        Args:
            inputs: ``x``: (n, *shape) model-space inputs; or ``history``: (n, L) last values of the target in its own
                unit, with ``origin_ms`` (n,) start of the first forecast window (default: that of the last forecast).
        """
        view = self.answering(name)
        key = key or view.default_key()
        return view.predict(self._x(view, inputs, key), key, role)

    async def inputs(self, view: View, inputs: dict[str, Any], key: str) -> Array:
        """Model-space inputs (n, *shape) of what `ask` is asked. Raises BadTensor, and what `ask` does."""
        return self._x(view, inputs, key) if view.trusted else await self.answers.inputs(view, inputs, key)

    def _x(self, view: View, inputs: dict[str, Any], key: str) -> Array:
        if "x" in inputs:
            return view.inputs.check(inputs["x"])
        return view.inputs.of(*histories(inputs, lambda: view.latest_ms(key)), view.scale(key))

    async def taught(self, name: str, kind: str, entry: dict[str, Any], wait: float) -> dict[str, Any]:
        """Store a /learn or /feedback entry and wait until its effect is in the model's answers.

        Raises:
            BadInput: its worker could not use it; nothing was learnt from it.
        """
        view, token = self.view(name), uuid.uuid4().hex
        await self._log.append([control({"kind": kind, "model": name, "token": token, **entry})])
        self.nudge()
        target = self._log.end()
        done = await self.reached(view, target, wait)
        if token in view.refused:
            raise BadInput(detail=view.refused[token])
        return {"model_name": name, "position": target, "applied": done}

    async def reached(self, view: View, position: int, wait: float) -> bool:
        """Wait until a model answers with what it learnt up to a log position; whether it did in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                async with self._moved:
                    await self._moved.wait_for(lambda: view.saved >= position or self._gone(view))
        return view.saved >= position

    def _gone(self, view: View) -> bool:
        """Whether waiting for a model is in vain: it failed, or was replaced or deleted."""
        return bool(view.failed) or self.views.get(view.name) is not view

    async def learn_entry(self, name: str, inputs: dict[str, Any], key: str) -> dict[str, Any]:
        """The checked content of a learn entry: model-space inputs and targets, or nothing at all to rehearse.

        Raises:
            BadTensor: wrong names, shapes, values that are not finite.
        """
        view = self.view(name)
        key = key or _only_key(view)
        view.runner(key)
        if not inputs or all(one.size == 0 for one in inputs.values()):
            return {"key": key}
        if "y" not in inputs:
            raise BadTensor(detail="expected the targets as an input named 'y', shape [n, horizon]")
        x = await self.inputs(view, inputs, key)
        y, horizon = np.asarray(inputs["y"], dtype=np.float64), view.shape().horizon
        if not len(x) or y.size != len(x) * horizon:
            raise BadTensor(detail=f"targets have shape {list(y.shape)}, expected [{len(x)}, {horizon}]")
        if np.isinf(y).any():
            raise BadTensor(detail="targets hold infinite values")
        return {"key": key, "x": x.ravel().tolist(), "y": [None if math.isnan(v) else v for v in y.ravel().tolist()]}

    def feedback_entry(self, name: str, identity: str, outcome: Any) -> dict[str, Any]:
        """The checked content of a feedback entry. Raises UnknownPrediction, BadInput."""
        view = self.view(name)
        if not identity:
            raise BadInput(detail='expected {"id": "the prediction\'s id", "outcome": [...]}')
        key, forecast = view.prediction(identity)
        if not isinstance(outcome, list) or len(outcome) != len(forecast["values"]):
            raise BadInput(detail=f"expected an outcome of {len(forecast['values'])} values")
        if not all(value is None or _finite(value) for value in outcome):
            raise BadInput(detail="outcome values are finite numbers, or null where unknown")
        return {"key": key, "id": identity, "origin": forecast["origin_ms"] * 1_000_000, "outcome": outcome}

    def state_of(self, view: View) -> tuple[str, str]:
        """(waiting | collecting | live | busy | failed | restarting, a sentence)."""
        return self.trouble_of(view) or self._reached(view)

    def trouble_of(self, view: View) -> tuple[str, str] | None:
        """What keeps a model from its work, known without a look at its file; None: nothing."""
        if trouble := view.fault or view.failed or view.stopped:
            return "failed", trouble
        if view.restarting:
            how = f" ({view.ended})" if view.ended else ""
            return "restarting", f"its worker stopped{how} and is being started again; nothing is lost"
        before = self._before.get(view.name)
        if before is not None and before.view is not view:
            where = f"{min(view.position, before.until):,}/{before.until:,}"
            return "busy", f"reading the log again ({where}); generation {before.view.entered.generation} answers"
        if view.busy > BUSY:
            return "busy", f"its worker has been computing for {view.busy:,.0f} s without a pause; still no result"
        return None

    def _reached(self, view: View) -> tuple[str, str]:
        """How far a model has come that nothing keeps from its work."""
        store = view.store
        if store is not None and (store.latest() is not None if view.trusted else view.trained):
            return "live", ""
        if store is not None and int(store.get("lanes") or 0):
            return "collecting", "collecting the readings of the first fit"
        topics, end = ", ".join(view.plan.spec.input.topics), self._log.end()
        where = f"; reading the log ({view.position:,}/{end:,})" if view.position < end else ""
        return "waiting", f"no readings yet on {topics}{where}"


class Before(NamedTuple):
    """The last generation of a model that was applied anew: it answers while the new one reads the log."""

    view: View
    until: int
    """The log position at which the new one knows as much."""


def _sliced(store: Store, rows: Sequence[Stored], after: int) -> list[Run]:
    """The first `SLICE` predictions of some rows."""
    runs: list[Run] = []
    left = SLICE
    for row in rows:
        runs.append(run := store.run(row, after, left))
        left -= run.size
        if run.number < row.number or left <= 0:
            break
    return runs


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise BadSpec(problems)


def _same_output(known: Entered, view: View) -> bool:
    return known.plan.spec.output == view.plan.spec.output and not known.plan.spec.shadow


def check_all(document: Document, files: dict[str, str]) -> list[Problem]:
    """Everything wrong with a document and the user's own files it needs, without running any of them."""
    needed = user_code(document.plain)
    problems = [
        problem for place, name, wanted in needed for problem in _check_file(document, files, place, name, wanted)
    ]
    if problems:
        return problems
    with tempfile.TemporaryDirectory(prefix="headrace-check-") as folder:
        for _, name, _ in needed:
            (Path(folder) / name).write_text(files[name], encoding="utf-8")
        return check(document, folder)


def _check_file(document: Document, files: dict[str, str], place: Place, name: str, wanted: str) -> list[Problem]:
    if re.fullmatch(r"[A-Za-z_][\w-]*\.py", name, re.ASCII) is None:
        return [document.problem(place, f"expected the name of a Python file beside the spec, got {name[:60]!r}")]
    if name not in files:
        return [document.problem(place, f"file {name!r} was not found beside the spec")]
    try:
        tree = ast.parse(files[name].encode(), name)
    except SyntaxError as error:
        return [Problem(name, error.lineno or 1, "(Python)", error.msg)]
    except (ValueError, RecursionError, MemoryError) as error:
        return [Problem(name, 1, "(Python)", str(error) or "nested too deep")]
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if (
        wanted
        and wanted not in classes
        and all(isinstance(n, ast.ClassDef | ast.FunctionDef | ast.Expr) for n in tree.body)
    ):
        known = ", ".join(sorted(classes)) or "none"
        return [document.problem(place, f"there is no class {wanted!r} in {name}; its classes: {known}")]
    return []


def _code(document: Document) -> list[Place]:
    return [place for place, _, _ in user_code(document.plain)]


def _finite(value: object) -> bool:
    with contextlib.suppress(OverflowError):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return False


def _place(entered: Entered) -> str:
    return f"{entered.name}@{entered.generation}"


def _config(entered: Entered) -> ModelConfig:
    return ModelConfig(entered.applied.plain, entered.generation, entered.folder)


def _pinned(models: dict[str, Entered]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (topic, entered.plan.spec.input.decoder.model_dump())
        for entered in models.values()
        if entered.plan.spec.input.decoder.name != "auto" and not entered.plan.spec.shadow
        for topic in entered.plan.spec.input.topics
    ]


def _only_key(view: View) -> str:
    """The key meant when none is given. Raises BadInput if there are several: nobody should teach the wrong device."""
    keys = view.store.lanes() if view.store is not None else []
    if len(keys) > 1:
        known = ", ".join(keys[:10]) + (", ..." if len(keys) > 10 else "")
        raise BadInput(detail=f"model {view.name!r} has several keys; name one as the parameter 'key': {known}")
    return view.default_key()
