"""What the serving process knows of one model: its store, read-only, and the exported models it runs."""

from __future__ import annotations

import contextlib
import copy
import itertools
import sqlite3
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace import states
from headrace.distrust import Later
from headrace.errors import CorruptState, HeadraceError, NotReady, UnknownKey, UnknownPrediction, Unsupported
from headrace.models.backends import Servable, Shape
from headrace.records import Array
from headrace.services.learning.inputs import Inputs
from headrace.services.learning.lane import CHAMPION, LIVE
from headrace.services.learning.registry import Entered
from headrace.services.learning.serving import Runner, load
from headrace.services.learning.store import SAID, Store, generation_file
from headrace.services.learning.strict import exported
from headrace.topics import level

REFUSALS = 100
"""Refused requests remembered per model, until their senders have been told."""
REST = 0.3
"""Seconds for which a stranger's file that could not be opened is left alone."""
RELOAD = 1.0
"""Seconds between looks for newer exported models in a stranger's file."""
TOPICS = 10_000
"""Keys whose topics are remembered."""
STEADY = 60.0
"""Seconds a worker stays within its bounds until people are no longer told that it was over one."""
BYTES = 2**25
"""Of an exported model that a stranger's code may have written."""
_numbers = itertools.count(1)


class Loaded(NamedTuple):
    """An exported model, ready to run."""

    version: int
    runner: Runner | None
    """None: it may be a stranger's, and is run in a process of its company's (`answering.Answers`)."""
    offset: float
    factor: float
    number: int
    """No other that this platform ever loads has it."""


class View:
    """One model generation, seen from the serving process."""

    def __init__(self, entered: Entered, data: Path, *, trusted: bool = True) -> None:
        self._trusted = trusted
        self.fault = ""
        """What is wrong for good with what its worker left behind; then nothing of it is read any more."""
        self.entered, self.name, self.plan = entered, entered.name, entered.plan
        self.path = generation_file(data, entered.name, entered.generation)
        self._store: Store | None = None
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._stale, self._reloaded = True, -RELOAD
        self._aside = self._trained = False
        self._shape: Shape | None = None
        self._names: list[str] = []
        self._topics: dict[str, str] = {}
        self._key: str | None = None
        self.position = 0
        self.saved = 0
        """Up to here what was learnt is in the models that answer."""
        self.refused: dict[str, str] = {}
        """Token of a /learn or /feedback that could not be used -> why; the newest few."""
        self.busy = 0.0
        """Seconds the worker has been at one and the same block."""
        self.failed = ""
        self.restarting = False
        self.ended = ""
        """How its worker ended, the last time it did so by itself."""
        self.stopped = ""
        """Which bound its worker was ended for, lately."""
        self._stopped = self._again = 0.0

    @property
    def trusted(self) -> bool:
        """Whether its file is written by the platform's own company."""
        return self._trusted

    @property
    def store(self) -> Store | None:
        """The worker's file, once it exists."""
        if self.fault:
            self.close()
            return None
        if self._store is None and not self.fault and time.monotonic() >= self._again and self.path.exists():
            try:
                store = Store(self.path, blame=None if self._trusted else self.distrust, aside=self._aside)
            except sqlite3.OperationalError:  # it went away
                return None
            try:
                store.lanes()  # the tables are there
                self.saved = store.position()
                self.position = max(self.position, self.saved)
                self.failed = self.failed or str(store.get("failed") or "")[:SAID]
                self._store = store
            except sqlite3.DatabaseError:  # not written yet, or damaged: its worker sees to it
                store.close()
                self._again = 0.0 if self._trusted else time.monotonic() + REST
            except (TypeError, ValueError) as error:
                store.close()
                self.distrust(error)
                if self._trusted:
                    raise
        return self._store

    @contextlib.contextmanager
    def aside(self) -> Iterator[View]:
        """The same for a thread of its own, with an own look at the file: it may take long there and waits for locks."""
        seen = copy.copy(self)
        seen._store, seen._aside, seen._loaded = None, True, {}
        try:
            yield seen
        finally:
            seen.close()
            self.failed, self._key = self.failed or seen.failed, self._key or seen._key
            if seen.fault:
                self.distrust(seen.fault)

    def distrust(self, what: str | Exception) -> None:
        """What its worker left behind is no work of ours: say so, and read no more of it. Of a trusted one: do nothing."""
        if not self._trusted and not self.fault:
            text = what if isinstance(what, str) else f"its state cannot be used: {type(what).__name__}: {what}"
            self.fault = text[:300]

    def reopen(self) -> None:
        """Its worker put a new file in the place of a damaged one: nothing of the old one counts."""
        self.close()
        self._loaded, self.position, self.failed, self._trained = {}, 0, "", False

    def stop(self, why: str) -> None:
        """Its worker was ended for going over a bound (or not: "")."""
        if why:
            self.stopped, self._stopped = f"{why}; it is started again now and then", time.monotonic()

    def steady(self) -> None:
        """Its worker saved: it is within its bounds again, once that has lasted."""
        if self.stopped and time.monotonic() - self._stopped > STEADY:
            self.stopped = ""

    def refresh(self) -> None:
        """The worker saved: exported models may be newer."""
        self._stale = True

    def predicted(self, key: str) -> None:
        """A key has a new forecast."""
        self._key = key

    def refuse(self, token: str, reason: str) -> None:
        """The worker could not use a /learn or /feedback."""
        self.refused[token] = reason
        if len(self.refused) > REFUSALS:
            del self.refused[next(iter(self.refused))]

    @property
    def trained(self) -> bool:
        """Whether it has ever made a forecast."""
        with contextlib.suppress(sqlite3.Error):  # damaged: its worker sees to it
            self._trained = (self._trained and not self._trusted) or (
                self.store is not None and self.store.latest() is not None
            )
        return self._trained

    @property
    def answers(self) -> bool:
        """Whether its exported model is there, or it has said that it cannot be exported."""
        try:
            self.runner(self.default_key())
        except (NotReady, Later):
            return False
        except (HeadraceError, sqlite3.Error):
            return True
        return True

    @property
    def serve(self) -> str:
        """Which role answers."""
        return CHAMPION if self.plan.spec.publish.serve == "published" and self.plan.grid else LIVE

    @cached_property
    def inputs(self) -> Inputs:
        """What makes the model's inputs."""
        return Inputs(self.plan)

    def shape(self) -> Shape:
        """The model's input and output sizes."""
        return self.inputs.shape

    def topic(self, key: str) -> str:
        """Where a key's forecasts are published."""
        found = self._topics.get(key)
        if found is None:
            found = self.plan.spec.output.topic.replace("{model}", self.name).replace("{key}", level(key))
            if len(self._topics) >= TOPICS:
                self._topics.clear()
            self._topics[key] = found
        return found

    def published(self) -> list[str]:
        """Topics with a forecast on them."""
        try:
            return [self.topic(key) for key in (self.store.lanes() if self.store is not None else [])]
        except sqlite3.Error:  # at least those of which this process knows
            return list(self._topics.values())

    def default_key(self) -> str:
        """The only key, or the one that was forecast last."""
        if self._key is None:
            store = self.store
            latest = store.latest() if store is not None else None
            if latest is None:
                keys = store.lanes() if store is not None else []
                return keys[0] if keys else ""
            self._key = latest[0]
        return self._key

    def last(self, key: str) -> dict[str, Any]:
        """The last available forecast. Raises NotReady."""
        store = self.store
        latest = store.latest(key or None) if store is not None else None
        if latest is None:
            self._usable()
            self._known(key)
            raise NotReady(name=self.name, detail="has made no forecast yet" + (f" for {key!r}" if key else ""))
        found: dict[str, Any] = msgspec.json.decode(latest[1])
        return found

    def latest_ms(self, key: str) -> float:
        """The origin of the last forecast, 0 before the first."""
        latest = self.store.latest(key or None) if self.store is not None else None
        return float(msgspec.json.decode(latest[1])["origin_ms"]) if latest is not None else 0.0

    def _known(self, key: str) -> None:
        """Raises UnknownKey if this is none of the keys there are."""
        keys = self.store.lanes() if self.store is not None else []
        if key and keys and key not in keys:
            known = ", ".join(keys[:10]) + (", ..." if len(keys) > 10 else "")
            raise UnknownKey(name=self.name, key=key, known=known)

    def prediction(self, identity: str) -> tuple[str, dict[str, Any]]:
        """(key, forecast) of a prediction id. Raises UnknownPrediction."""
        found = self.store.prediction(identity) if self.store is not None else None
        if found is None:
            raise UnknownPrediction(id=identity, model=self.name)
        return found[0], msgspec.json.decode(found[1])

    def runner(self, key: str, role: str = "") -> Loaded:
        """The exported model that answers for a key. Raises NotReady."""
        role = role or self.serve
        place = (key, role)
        if self._stale and (self._trusted or time.monotonic() - self._reloaded >= RELOAD):
            with contextlib.suppress(Later):  # what is there answers
                self._reload()
        found = self._loaded.get(place)
        if found is None:
            found = self._load(key, role, 0)
            if found is None:
                self._usable()
                self._cannot()
                self._known(key)
                raise NotReady(name=self.name, detail="is not trained yet" + (f" for {key!r}" if key else ""))
            self._loaded[place] = found
        return found

    def _usable(self) -> None:
        if self.fault:
            raise NotReady(name=self.name, detail=f"failed: {self.fault}")

    def _cannot(self) -> None:
        reason = self.store.get("unserved") if self.store is not None else ""
        if reason:
            raise Unsupported(detail=f"model {self.name!r} forecasts, but cannot answer questions: {reason}")

    def _reload(self) -> None:
        self._stale, self._reloaded = False, time.monotonic()
        if not self._trusted:  # how much there is to read is not known: read when somebody asks
            self._loaded.clear()
        for (key, role), loaded in list(self._loaded.items()):
            newer = self._load(key, role, loaded.version)
            if newer is not None:
                self._loaded[key, role] = newer

    def _load(self, key: str, role: str, than: int) -> Loaded | None:
        found = self._exported(key, role, than)
        return None if found is None else found[0]

    def _exported(self, key: str, role: str, than: int = 0) -> tuple[Loaded, dict[str, Any]] | None:
        """An exported model newer than version `than`, and what its worker stored of it. Raises CorruptState."""
        found = self.store.servable(key, role, than) if self.store is not None else None
        if found is None:
            return None
        try:
            state = states.unpack(found[1]) if self._trusted else exported(found[1])
            if not all(isinstance(state[name], kind) for name, kind in STORED.items()):
                raise ValueError("its fields are not those of an exported model")
            if not self._trusted and len(state["data"]) > BYTES:
                raise ValueError(f"an exported model of {len(state['data']):,} bytes, and {BYTES:,} may be")
            servable = Servable(state["format"], state["data"], state["kernel"])
            runner = load(servable, self.shape()) if self._trusted else None
            return Loaded(found[0], runner, float(state["offset"]), float(state["factor"]), next(_numbers)), state
        except (msgspec.MsgspecError, TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
            self.distrust(error)
            raise CorruptState(detail=f"an exported model is damaged: {error}") from error

    def elsewhere(self, key: str, role: str = "") -> tuple[Loaded, dict[str, Any]]:
        """The exported model that answers for a key, with all that another process needs to run it. Raises NotReady."""
        role, shape = role or self.serve, self.shape()
        found = self._exported(key, role)
        if found is None:
            self._loaded.pop((key, role), None)
            self.runner(key, role)  # says why
            raise NotReady(name=self.name, detail="is being saved")
        self._loaded[key, role], state = found
        sizes = [*shape.input, shape.horizon, int(shape.per_target)]
        about = {"shape": sizes, "plain": self.entered.applied.plain, "folder": self.entered.folder}
        return found[0], {name: state[name] for name in STORED} | about

    def predict(self, x: Array, key: str, role: str = "") -> Array:
        """(n, horizon) in the target's unit for model-space inputs (n, *shape.input)."""
        loaded = self.runner(key, role)
        assert loaded.runner is not None  # a stranger's model is asked through `LearningService.ask`
        return loaded.runner.predict(x) * loaded.factor + loaded.offset

    def scale(self, key: str) -> tuple[float, float]:
        """(offset, factor) between the unit of a key's target and its model's. Raises NotReady."""
        loaded = self.runner(key)
        return loaded.offset, loaded.factor

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()
            self._store = None


STORED: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "data": bytes,
    "kernel": str,
    "offset": (float, int),
    "factor": (float, int),
}
"""What a worker stores of an exported model."""
