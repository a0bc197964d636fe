"""The learning service in the platform's process: registry, workers, and answers from what the workers stored."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.errors import BadInput, BadSpec, BadTensor, Problem, UnknownModel
from headrace.records import MINUTE, Array
from headrace.services.learning.plan import check
from headrace.services.learning.registry import Applied, Entered, Registry, apply_entry, control
from headrace.services.learning.store import Run
from headrace.services.learning.supervisor import Supervisor
from headrace.services.learning.view import View
from headrace.services.learning.worker import Event, ModelConfig
from headrace.spec import Document, needed_files
from headrace.streams.logs import Log

Publish = Callable[[str, Sequence[bytes]], None]
PAGE = 2000
"""Predictions read from a store and published per turn of the event loop, or the rest of a run more."""


class LearningService:
    """See `headrace.services.learning.Learning`.

    Args:
        publish: sends forecasts to an output topic, in order; the last is retained.
        tick: seconds between the ticks of models with ``clock: wall``.
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
    ) -> None:
        self._log, self._data, self._publish, self._tick, self._clock = log, data, publish, tick, clock
        self._registry = Registry(data)
        self._supervisor = Supervisor(data, self._report, self._died, checkpoint_seconds)
        self.views: dict[str, View] = {}
        self._cursors: dict[str, int] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._moved = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._applying = asyncio.Lock()
        self.ready = asyncio.Event()
        self.restarts = 0
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
        await self._drain()
        self._registry.set_cursors(self._cursors)
        for view in self.views.values():
            view.close()
        self._registry.close()

    def nudge(self) -> None:
        """The log has grown."""
        self._supervisor.nudge()

    # -- the set of models

    async def apply(self, documents: list[Document], files: dict[str, str]) -> dict[str, str]:
        problems = [problem for document in documents for problem in _check(document, files)]
        if problems:
            raise BadSpec(problems)
        async with self._applying:
            changes = {document.spec.name: self._change(document, files) for document in documents}
            changed = [document for document in documents if changes[document.spec.name] != "unchanged"]
            if changed:
                await self._log.append([apply_entry(changed, files)])
                self._registry.fold(self._log)
                await self._adopt()
        return changes

    def diff(self, documents: list[Document], files: dict[str, str]) -> dict[str, str]:
        """What `apply` would do, without doing it. Raises BadSpec."""
        problems = [problem for document in documents for problem in _check(document, files)]
        if problems:
            raise BadSpec(problems)
        return {document.spec.name: self._change(document, files) for document in documents}

    def _change(self, document: Document, files: dict[str, str]) -> str:
        known = self._registry.models.get(document.spec.name)
        if known is None:
            return "created"
        entry = msgspec.json.decode(apply_entry([document], files).payload)["documents"][0]
        return "unchanged" if msgspec.convert(entry, Applied) == known.applied else "changed"

    async def delete(self, name: str) -> None:
        async with self._applying:
            self._entered(name)
            await self._log.append([control({"kind": "delete", "name": name})])
            self._registry.fold(self._log)
            await self._adopt()

    async def _adopt(self) -> None:
        """Make views and workers follow the registry."""
        models = self._registry.models
        for name, view in list(self.views.items()):
            if name not in models or models[name].generation != view.entered.generation:
                view.close()
                del self.views[name]
        for name, entered in models.items():
            if name not in self.views:
                self.views[name] = View(entered, self._data)
                self._cursors[_place(entered)] = self._registry.cursor(_place(entered))
                self._due.add(name)
        self._wake.set()
        light = [_config(entered) for entered in models.values() if not entered.plan.heavy]
        heavy = {name: _config(entered) for name, entered in models.items() if entered.plan.heavy}
        await self._supervisor.assign(light, heavy, _pinned(models))
        self.nudge()

    def names(self) -> list[str]:
        return sorted(self.views)

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

    # -- what the workers say

    def _died(self, worker: str) -> None:
        self.restarts += 1
        for view in self._of(worker):
            view.restarting = True

    def _report(self, worker: str, event: Event) -> None:
        if event.ready:
            self.ready.set()
            for view in self._of(worker):
                view.restarting = False
        elif event.model:
            self._moved_on(event)

    def _of(self, worker: str) -> list[View]:
        return [view for view in self.views.values() if (view.name if view.plan.heavy else "") == worker]

    def _moved_on(self, event: Event) -> None:
        view = self.views.get(event.model)
        if view is None or view.entered.generation != event.generation:
            return
        if event.saved:
            view.failed = event.failed
            view.refresh()
        elif event.position is not None:
            view.position = event.position
        if event.runs is None or not self._straight(view, event.runs):
            self._due.add(view.name)
        self._wake.set()

    def _straight(self, view: View, runs: list[tuple[int, str, int, bytes]]) -> bool:
        """Publish what a report brings, if it goes on where the last left off; else the store has to be asked."""
        place = _place(view.entered)
        for run in map(Run._make, runs):
            if run.number - run.size != self._cursors.get(place, 0):
                return False
            self._send(view, run)
        return True

    async def _publishing(self) -> None:
        while True:
            await self._wake.wait()
            await self._drain()
            async with self._moved:
                self._moved.notify_all()

    async def _drain(self) -> None:
        """Publish what the workers predicted since; a prediction may be published again after a crash, under its id."""
        self._wake.clear()
        due, self._due = self._due, set()
        for name in due:
            view = self.views.get(name)
            if view is None or view.store is None:
                continue
            while self._page(view):
                await asyncio.sleep(0)

    def _page(self, view: View) -> bool:
        place = _place(view.entered)
        assert view.store is not None
        runs = view.store.runs(self._cursors.get(place, 0), PAGE)
        for run in runs:
            self._send(view, run)
        return bool(runs)

    def _send(self, view: View, run: Run) -> None:
        self._publish(view.topic(run.key), run.bodies.split(b"\n"))
        self._cursors[_place(view.entered)] = run.number
        self.published += run.size
        view.predicted(run.key)

    def republish(self) -> None:
        """The newest forecast of every key, for those who subscribe after a restart."""
        for view in self.views.values():
            for key in view.store.lanes() if view.store is not None else []:
                latest = view.store.latest(key) if view.store is not None else None
                if latest is not None:
                    self._publish(view.topic(key), [latest[1]])

    async def _remembering(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._registry.set_cursors(self._cursors)

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(self._tick)
            if any(view.plan.spec.input.clock == "wall" for view in self.views.values()):
                with contextlib.suppress(Exception):  # a full disk: the next tick will do
                    await self._log.append([control({"kind": "tick", "time": self._clock()})])
                    self.nudge()

    # -- questions

    def last(self, name: str, key: str = "") -> dict[str, Any]:
        return self.view(name).last(key)

    def infer(self, name: str, inputs: dict[str, Any], key: str = "", role: str = "") -> Array:
        """(n, horizon) in the target's unit.

        Args:
            inputs: ``x``: (n, *shape) model-space inputs; or ``history``: (n, L) last values of the target in its own
                unit, with ``origin_ms`` (n,) start of the first forecast window (default: that of the last forecast).
        """
        view = self.view(name)
        key = key or view.default_key()
        if "x" in inputs:
            return view.predict(view.check(inputs["x"]), key, role)
        if "history" not in inputs:
            named = ", ".join(sorted(inputs)) or "nothing"
            raise BadTensor(detail=f"expected an input named 'x' or 'history', got {named}")
        return view.predict(self.features(view, inputs, key), key, role)

    def features(self, view: View, inputs: dict[str, Any], key: str) -> Array:
        """Model-space inputs from histories."""
        history = np.atleast_2d(np.asarray(inputs["history"], dtype=np.float64))
        given = inputs.get("origin_ms")
        if given is None:
            default = msgspec.json.decode(latest[1])["origin_ms"] if (latest := _latest(view, key)) else 0
            given = np.full(len(history), default)
        origins = np.asarray(given).ravel()
        if len(origins) != len(history):
            raise BadTensor(detail=f"{len(history)} histories need as many origin_ms, got {len(origins)}")
        rows = [view.features(one, int(origin) * 1_000_000, key) for one, origin in zip(history, origins, strict=True)]
        return np.concatenate(rows)

    async def taught(self, name: str, kind: str, entry: dict[str, Any], wait: float) -> dict[str, Any]:
        view = self.view(name)
        await self._log.append([control({"kind": kind, "model": name, **entry})])
        self.nudge()
        target = self._log.end()
        done = await self.reached(view, target, wait)
        return {"model_name": name, "position": target, "applied": done}

    async def reached(self, view: View, position: int, wait: float) -> bool:
        """Wait until a model has taken in the log up to a position; whether it did in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                async with self._moved:
                    await self._moved.wait_for(lambda: view.position >= position or bool(view.failed))
        return view.position >= position

    def learn_entry(self, name: str, inputs: dict[str, Any], key: str) -> dict[str, Any]:
        """The checked content of a learn entry: model-space inputs and targets, or nothing at all to rehearse.

        Raises:
            BadTensor: wrong names, shapes, values that are not finite.
        """
        view = self.view(name)
        key = key or view.default_key()
        if not inputs:
            return {"key": key}
        if "y" not in inputs:
            raise BadTensor(detail="expected the targets as an input named 'y', shape [n, horizon]")
        x = view.check(inputs["x"]) if "x" in inputs else self.features(view, inputs, key)
        y = np.asarray(inputs["y"], dtype=np.float64).reshape(len(x), -1)
        if y.shape[1] != view.shape().horizon:
            raise BadTensor(detail=f"targets have shape {list(y.shape)}, expected [{len(x)}, {view.shape().horizon}]")
        if np.isinf(y).any():
            raise BadTensor(detail="targets hold infinite values")
        return {"key": key, "x": x.ravel().tolist(), "y": [None if math.isnan(v) else v for v in y.ravel().tolist()]}

    def feedback_entry(self, name: str, identity: str, outcome: Any) -> dict[str, Any]:
        """The checked content of a feedback entry. Raises UnknownPrediction, BadInput."""
        view = self.view(name)
        key, forecast = view.prediction(identity)
        if not isinstance(outcome, list) or len(outcome) != len(forecast["values"]):
            raise BadInput(detail=f"expected an outcome of {len(forecast['values'])} values")
        if not all(isinstance(value, (int, float)) and np.isfinite(value) for value in outcome if value is not None):
            raise BadInput(detail="outcome values are finite numbers, or null where unknown")
        return {"key": key, "id": identity, "origin": forecast["origin_ms"] * 1_000_000, "outcome": outcome}

    def state_of(self, view: View) -> tuple[str, str]:
        """(waiting | collecting | live | failed | restarting, a sentence)."""
        if view.failed:
            return "failed", view.failed
        if view.restarting:
            return "restarting", "its worker stopped and is being started again; nothing is lost"
        store = view.store
        if store is None or not int(store.get("lanes") or 0):
            return "waiting", f"no readings yet on {', '.join(view.plan.spec.input.topics)}"
        if store.latest() is not None:
            return "live", ""
        return "collecting", "collecting the readings of the first fit"


def _check(document: Document, files: dict[str, str]) -> list[Problem]:
    problems = check(document)
    for name in needed_files(document.plain):
        if name not in files:
            problems.append(document.problem(("transform",), f"file {name!r} was not found beside the spec"))
            continue
        try:
            ast.parse(files[name], name)
        except SyntaxError as error:
            problems.append(Problem(name, error.lineno or 1, "(Python)", str(error.msg)))
    return problems


def _place(entered: Entered) -> str:
    return f"{entered.name}@{entered.generation}"


def _config(entered: Entered) -> ModelConfig:
    return ModelConfig(entered.applied.plain, entered.generation, entered.folder)


def _pinned(models: dict[str, Entered]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (topic, entered.plan.spec.input.decoder.model_dump())
        for entered in models.values()
        if entered.plan.spec.input.decoder.name != "auto"
        for topic in entered.plan.spec.input.topics
    ]


def _latest(view: View, key: str) -> tuple[str, bytes] | None:
    return view.store.latest(key or None) if view.store is not None else None
