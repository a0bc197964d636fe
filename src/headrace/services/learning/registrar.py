"""Registers in the hub what a company's online models publish. Beside learning, and never in its way.

The decisions in the models' stores are the truth (`snapshots.Book` keeps a cursor into each): whenever this is killed, and
however long the hub is away, nothing is lost and nothing is there twice.

**Which part of the log.** A snapshot names the range from where its learner began to a position by which the record that
triggered the decision, and the entry that applied the spec, had come: the end of the log when the decision was found. That is
right, if not tight: what a learner publishes at a decision is a function of the records before it, so that records after it
cannot change it, and a replay of the range publishes the same at the same decision. It makes one root enough for all models:
it only ever goes forward.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from headrace.disk import unavailable
from headrace.errors import (
    BadInput,
    Conflict,
    CorruptState,
    HeadraceError,
    TooLarge,
    TooManyRegistrations,
    UnknownObject,
)
from headrace.models.backends import parent
from headrace.runners.environment import QUESTION, fingerprint
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.learner import FIRST
from headrace.services.learning.registry import Entered
from headrace.services.learning.snapshots import Book, Due, Gap, Prefix, Published, Told
from headrace.services.learning.store import LONGEST, REASON, Store
from headrace.services.learning.view import View
from headrace.services.sharing import Sharing
from headrace.stores.objects.files import FileObjects
from headrace.streams.logs import LogReader

logger = logging.getLogger("headrace.learning")
POLL = 2.0
"""Seconds between looks at what was published."""
PAGE = 100
"""Decisions read, and snapshots registered, between two breaths."""
PAGES = 1000
"""Pages read of a generation that goes."""
PIECE = 512
"""Records hashed at once; some 4 ms."""
REST = 4.0
"""Times as long as a piece took nothing is hashed: the doors and the forecasts come first."""
RUSH = 5000
"""Records a second that come in above which the hashing is put off..."""
PATIENCE = 60.0
"""...for so many seconds at most."""
SAVE = 2**16
"""Records after which it is written down how far the hashing is."""
BREATH = 0.02
"""Seconds between two that are registered."""
PAUSE = (1.0, 60.0)
"""First and longest pause before the hub is asked again, seconds."""
MOST = 64 * 2**20
"""Bytes of weights that are registered; larger ones are left out, and that is said."""
DUE = 10_000
"""Snapshots that wait to be registered, from which on no more are read from the models' stores, which keep them."""
ASKED = 60.0
"""Seconds the environment of the workers may take to say what is installed there."""
SAID = 86_400.0
"""Seconds between two warnings that the day's number was reached."""
NAME = 200
"""Characters of a name in the hub."""
FOR_EVER = (BadInput, Conflict, CorruptState, TooLarge, UnknownObject)
"""Errors that no repetition mends."""


class Registrar:
    """Enter it when the learning service runs; `open` it before, for that one tells it of generations.

    Args:
        folder: the company's data directory.
        reader: opens the company's log.
        sharing: the hub. Raises Temporary while there is none yet.
        isolation: where the company's workers run, for the environment they find there.
    """

    def __init__(
        self,
        company: str,
        folder: Path,
        reader: Callable[[], LogReader],
        sharing: Callable[[], Sharing],
        isolation: Isolation,
    ) -> None:
        self._company, self._folder, self._reader, self._sharing = company, folder, reader, sharing
        self._isolation = isolation
        self._objects = FileObjects(folder / "objects")
        self._views: Callable[[], list[View]] = list
        self._looked: dict[tuple[str, int], tuple[int, int]] = {}
        self._environment: dict[str, Any] | None = None
        self._wake = asyncio.Event()
        self._catch_up = False
        self._came: tuple[float, int] | None = None
        """When the log was looked at, and where it ended."""
        self._put_off = 0.0
        self._waits = -SAID
        """When it was said that they wait."""
        self._lost: set[int] = set()
        """Where roots begin that cannot go on: records were trimmed before they were hashed."""
        self._task: asyncio.Task[None] | None = None
        self.registered = 0
        """Since the start."""

    def open(self) -> None:
        """Open what it knows."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._book = Book(self._folder)

    def close(self) -> None:
        """Let go of it."""
        self._book.close()

    def start(self, views: Callable[[], list[View]]) -> None:
        """Begin to work. Needs a running event loop.

        Args:
            views: generations in service, and those that still answer.
        """
        self._views = views
        self._task = asyncio.create_task(self._run(), name="snapshots")

    async def stop(self) -> None:
        """Work no more; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # -- what the learning service says (`service.Watcher`)

    def entered(self, entered: Entered) -> None:
        """See `service.Watcher`."""
        if registers(entered):
            with contextlib.suppress(sqlite3.Error, HeadraceError):  # the next look does it
                self._book.enter(Told.of(entered))

    def parting(self, path: Path) -> None:
        """See `service.Watcher`: the last chance to read its decisions."""
        name, _, number = path.stem.rpartition("@")
        with contextlib.suppress(ValueError, TypeError, sqlite3.Error):
            told = self._book.told(name, int(number))
            if told is None:
                return
            blame = None if self._isolation.trusted else lambda _: None
            with contextlib.closing(Store(path, blame=blame)) as store:
                for _ in range(PAGES):
                    if not self._isolation.trusted and self._book.waiting() >= 2 * DUE:
                        self._say(told.model, "too many wait, and its store goes: what is left in it is lost")
                        break
                    if not self._take(told, store):
                        break
            self._book.leave(name, int(number))
        self._wake.set()

    def reached(self) -> int:
        """The log position up to which records may be trimmed for all that is hashed; asked for, it goes on to the end."""
        self._catch_up = True
        self._wake.set()
        firsts = [self._first(view) for view in self._views() if registers(view.entered) and not view.failed]
        wanted = {*firsts, *self._book.needed()} - {0, *self._lost}
        places = [self._book.prefix(first).position for first in wanted]
        return min([sys.maxsize, *places, *(0 for first in firsts if not first)])

    # -- the work

    async def _run(self) -> None:
        pause = PAUSE[0]
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._turn()
                pause = PAUSE[0]
            except Exception as error:
                if isinstance(error, TooManyRegistrations):
                    self._slow(error)
                elif not (isinstance(error, HeadraceError) or unavailable(error)):
                    logger.exception("snapshots of %r could not be registered", self._company)
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE[1])

    async def _turn(self) -> None:
        """Read what was published, seal it with the root of the log, tell the hub."""
        for view in self._views():
            self._look(view)
        if self._catch_up:
            self._catch_up = False
            for first in self._book.needed():
                with contextlib.suppress(Gap):
                    await self._hash(first)
        due = [one for one in self._book.due(PAGE) if one.sealed is None]
        if due and not self._rushed():
            await self._seal(due)
        for one in self._book.due(PAGE):
            if one.sealed is not None:
                await self._register(one)
                self._wake.set()  # there may be more
        self._book.forget()

    def _look(self, view: View) -> None:
        """Take down what a generation has published since the last look."""
        if not registers(view.entered) or view.store is None or self._book.waiting() >= DUE:
            return
        place, now = (view.name, view.entered.generation), (view.position, view.saved)
        if self._looked.get(place) == now:
            return
        told = self._book.told(*place)
        if told is None:
            told = Told.of(view.entered)
            self._book.enter(told)
        try:
            more = self._take(told, view.store)
        except (sqlite3.Error, ValueError, TypeError) as error:  # locked, replaced, damaged, or not written by us
            logger.info("snapshots of %r wait: %s", view.name, error)
            return
        if more:
            self._wake.set()
        else:
            self._looked[place] = now

    def _take(self, told: Told, store: Store) -> bool:
        """One page of a generation's decisions; whether there was one. Raises sqlite3.Error, ValueError, TypeError."""
        first = self._began(store)
        if first:
            self._book.began(told, first)
        file = store.path.stat().st_ino
        rows = store.published(self._book.cursor(told, file), PAGE)
        if not rows:
            return False
        found = [self._published(told, row[1:]) for row in rows]
        if not first:
            self._say(told.model, "an older version learned it from a log whose beginning is gone")
        self._book.take(told, file, first, rows[-1][0], found if first else [])
        return True

    @staticmethod
    def _published(told: Told, row: tuple[Any, ...]) -> Published:
        """A row, whoever wrote it. Raises ValueError."""
        named = dict(zip(Published.__struct_fields__[1:], row, strict=True))
        found = msgspec.convert({"told": msgspec.to_builtins(told), **named}, Published)
        if max(len(found.key), len(found.weights)) > LONGEST or len(found.reason) > REASON:
            raise ValueError("a key is longer than any topic, or a reason than any of ours")
        return found

    def _began(self, store: Store) -> int:
        """Where its learner began; of one of an older version, that did not say so, the beginning of a whole log. 0: unknown."""
        found = store.get(FIRST)
        if found is not None:
            return int(found)
        if not store.position():
            return 0
        with contextlib.closing(self._reader()) as log:
            return 1 if log.start() == 1 else 0

    def _first(self, view: View) -> int:
        try:
            return self._began(view.store) if view.store is not None else 0
        except sqlite3.Error:
            return 0

    # -- the root

    def _rushed(self) -> bool:
        """Whether so much comes in that hashing would be felt at the doors. It is not put off for ever."""
        now, before = time.monotonic(), self._came
        with contextlib.closing(self._reader()) as log:
            self._came = (now, log.end())
        since = self._put_off = self._put_off or now
        rush = before is None or self._came[1] - before[1] > RUSH * (now - before[0])
        if rush and now - since < PATIENCE:
            return True
        self._came, self._put_off = None, 0.0
        return False

    async def _seal(self, due: list[Due]) -> None:
        if not due:
            return
        environment = await self._here()
        for first in sorted({one.first for one in due}):
            these = [one for one in due if one.first == first]
            try:
                prefix = await self._hash(first)
            except Gap as gap:
                for one in these:
                    self._say(one.published.told.model, str(gap))
                    self._book.done(one.number)
                continue
            self._book.seal(prefix, [(one.number, self._sealed(one.published, prefix, environment)) for one in these])

    def _sealed(self, published: Published, prefix: Prefix, environment: dict[str, Any]) -> Any:
        """Who learned in several environments learned in none that could be had again: they are named together."""
        known = self._book.learned_in(published.told, environment["digest"])
        return prefix.seal(published, " ".join(known))

    async def _hash(self, first: int) -> Prefix:
        """The root from a position to what is now the end of the log, a piece at a time. Raises Gap."""
        prefix = self._book.prefix(first)
        with contextlib.closing(self._reader()) as log:
            end, saved = log.end(), prefix.position
            while prefix.position < end:
                began = time.monotonic()
                try:
                    await asyncio.to_thread(_piece, log, prefix)
                except Gap:
                    self._lost.add(first)
                    raise
                if prefix.position - saved >= SAVE:
                    self._book.save(prefix)
                    saved = prefix.position
                await asyncio.sleep(REST * (time.monotonic() - began))
            if prefix.position != saved:
                self._book.save(prefix)
        return prefix

    async def _here(self) -> dict[str, Any]:
        """The environment the workers run in, asked once."""
        if self._environment is None:
            self._environment = await environment_of(self._isolation)
        return self._environment

    # -- the hub

    async def _register(self, due: Due) -> None:
        """Tell the hub of one. Raises what may pass; what cannot be mended is said and left."""
        published, told, snapshot = due.published, due.published.told, due.sealed
        assert snapshot is not None
        try:
            weights, parameters = await asyncio.to_thread(self._weights, published.weights)
            found = told_of(published) | {"parameters": parameters, **self._learned(snapshot.environment)}
            name = told.model if published.key in {"", "all"} else f"{told.model} {published.key}"
            await self._sharing().snapshot(self._company, snapshot, name[:NAME], weights, found)
            self.registered += 1
            await asyncio.sleep(BREATH)
        except FOR_EVER as error:
            self._say(told.model, str(error))
        self._book.done(due.number)

    def _learned(self, environment: str) -> dict[str, Any]:
        here = self._environment
        if here is None or here["digest"] != environment:
            return {"fingerprint": environment}
        brief = {name: value for name, value in here.items() if name != "packages"}
        return {"fingerprint": environment, "environment": brief}

    def _weights(self, name: str) -> tuple[bytes, int | None]:
        """A snapshot's weights, and how many numbers they are."""
        size = self._objects.size(name)
        if size > MOST:
            raise TooLarge(what="a snapshot's weights", size=size, limit=MOST, setting="registrar.MOST")
        data = self._objects.get(name)
        try:
            return data, sum(array.size for array in parent.read(data).values())
        except BadInput:
            return data, None

    def _slow(self, error: TooManyRegistrations) -> None:
        """Say once a day that they wait."""
        if time.monotonic() - self._waits > SAID:
            self._waits = time.monotonic()
            print(f"headrace: snapshots of {self._company!r} wait until tomorrow: {error}", file=sys.stderr)

    def _say(self, model: str, why: str) -> None:
        mark = "" if self._isolation.trusted else f" of {self._company!r}"
        text = "".join(one if one.isprintable() else "?" for one in why[:300])
        print(f"headrace: a snapshot of {model!r}{mark} is not registered: {text}", file=sys.stderr)


def registers(entered: Entered) -> bool:
    """Whether what a model publishes is registered: only grids publish, and what a shadow publishes is not shown to anybody."""
    return entered.plan.grid and not entered.plan.spec.shadow


def told_of(published: Published) -> dict[str, Any]:
    """What the hub is told of a snapshot besides."""
    told = published.told
    decision = {name: getattr(published, name) for name in ("reason", "champion", "challenger", "days")}
    network = {"network": told.network} if told.network else {}
    return {
        "framework": told.framework,
        "input_shape": told.input_shape,
        "output_shape": told.output_shape,
        "parent": told.parent,
        "metadata": {"format": "safetensors", "decision": decision, **network},
    }


_here: dict[bool, dict[str, Any]] = {}
"""The environment of trusted workers, and of sandboxed ones: while this process lives, the same."""


async def environment_of(isolation: Isolation) -> dict[str, Any]:
    """The fingerprint of where workers run, with one thread. The first time it takes some seconds: a process of its own imports
    torch there. Who does not wait for it any more ends it, so that nobody who stops has to. Raises WrongEnvironment."""
    if isolation.trusted not in _here:
        answer = await _asked(isolation, QUESTION)
        _here[isolation.trusted] = fingerprint(1, lambda _: answer)
    return _here[isolation.trusted]


async def _asked(isolation: Isolation, code: str) -> bytes:
    """What a piece of Python prints where workers run; b"" if it fails or takes too long."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    line = isolation.command([sys.executable, "-c", f"import os; os.nice(10)\n{code}"])
    process = await asyncio.create_subprocess_exec(*line, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment)
    try:
        async with asyncio.timeout(ASKED):
            answer, _ = await process.communicate()
        return b"" if process.returncode else answer
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _piece(log: LogReader, prefix: Prefix) -> None:
    records = log.read(prefix.position, PIECE)
    if not records:
        raise Gap(prefix.position, log.end())
    prefix.take(records)
