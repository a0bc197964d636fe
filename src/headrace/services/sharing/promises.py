"""Work promised with a record and done after it: looking into a file, queueing a job.

Each promise is a row written in the transaction that made it necessary, so that nothing is lost when the platform is
killed in between: what is left is taken up at the next start. Doing one twice is harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, select, update

from headrace.errors import Temporary
from headrace.services.sharing.book import Book
from headrace.services.sharing.tables import pending
from headrace.stores.database import Inserting

_put = Inserting(insert(pending).returning(pending.c.id), "kind", "asset", "company", "detail")
PAUSE = 5.0
"""Seconds until a promise that failed for a passing reason is tried again; doubled each time, at most `LONGEST`."""
LONGEST, MINUTE = 600.0, 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Promise:
    """One row."""

    id: int
    kind: str
    asset: str
    company: str
    detail: dict[str, Any]
    attempts: int
    """How often it was begun before."""


Doing: TypeAlias = Callable[[Promise], Awaitable[None]]
"""Keeps a promise; removes its row in the transaction that writes down what came out. Raises Temporary to be tried again."""


def promise(
    connection: Connection, kind: str, asset: str, company: str, detail: Mapping[str, Any] | None = None
) -> int:
    """Write one down; returns its id."""
    values = {"kind": kind, "asset": asset, "company": company, "detail": json.dumps(detail or {})}
    return int(_put(connection, values).scalar_one())


def kept(connection: Connection, id: int) -> None:
    """It was kept, or is not wanted any more."""
    connection.execute(delete(pending).where(pending.c.id == id))


def drop(connection: Connection, asset: str, *kinds: str) -> None:
    """Nobody wants these of an asset any more."""
    connection.execute(delete(pending).where(pending.c.asset == asset, pending.c.kind.in_(kinds)))


class Waits(Temporary):
    """It waits for another promise: {detail}."""


class Worker:
    """Keeps promises of some kinds: the companies take turns, and of each the oldest is first.

    Args:
        parallel: how many at one time; never two of one asset.
        after: kinds of promises, and be they another worker's, whose earlier ones of the same asset have to be kept first.
        together: all of them need the same thing: when it is away for one it is for all, and one at a time tries again.
    """

    def __init__(
        self,
        book: Book,
        doing: Mapping[str, Doing],
        parallel: int = 1,
        after: Collection[str] = (),
        together: bool = False,
    ) -> None:
        self._book, self._doing, self._parallel, self._after = book, doing, parallel, frozenset(after)
        self._together = together
        self._all_later = (0.0, 0.0)
        """(when any may be tried again, the pause before that); no pause: all is well"""
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._later: dict[int, tuple[float, float]] = {}
        """id -> (when it may be tried again, the pause before that)"""
        self._blamed: dict[int, int] = {}
        """id -> how many were kept when it failed for what all need; if others were since, it is its own fault"""
        self._round: set[int] = set()
        """Those that were tried since all of them rest: each has its turn."""
        self._waits: set[int] = set()
        """Those of them that wait for others."""
        self._count = 0
        """Promises kept so far."""
        self._turns: dict[str, int] = {}
        """company -> the number of its last turn"""
        self._under_way: dict[str, asyncio.Task[None]] = {}
        """asset -> what is being done for it"""

    def wake(self) -> None:
        """There may be something to do."""
        self._idle.clear()
        self._wake.set()

    async def idle(self) -> None:
        """Until nothing is left that could be done now."""
        await self._idle.wait()

    async def run(self) -> None:
        """For ever."""
        self.wake()
        try:
            while True:
                await self._step()
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _step(self) -> None:
        """Begin what may be begun; then wait for the next reason to look."""
        self._wake.clear()
        looked = time.monotonic()
        try:
            found = await self._next(room) if (room := self._room()) else []
        except Exception:
            _log.exception("what was promised cannot be read; again in %.0f s", PAUSE)
            await asyncio.sleep(PAUSE)
            self._wake.set()
            return
        if found:
            for one in found:
                self._begin(one)
            self._wake.set()
            return
        if not self._wake.is_set() and not self._under_way:
            self._idle.set()
        rests = [when for when, _ in (*self._later.values(), self._all_later) if when > looked]
        waits = [when - time.monotonic() for when in rests]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(min(waits), 0.01) if waits else None)

    def _room(self) -> int:
        """How many more may be begun."""
        when, pause = self._all_later
        most = 1 if pause else self._parallel
        return 0 if when > time.monotonic() else max(0, most - len(self._under_way))

    def _begin(self, found: Promise) -> None:
        def over(_: asyncio.Task[None]) -> None:
            del self._under_way[found.asset]
            self._wake.set()

        task = asyncio.create_task(self._keep(found), name=f"{found.kind}-{found.asset}")
        self._under_way[found.asset] = task
        task.add_done_callback(over)

    async def _next(self, most: int) -> list[Promise]:
        """The oldest that may be begun now, each of another asset."""
        now = time.monotonic()
        resting = [id for id, (when, _) in self._later.items() if when > now]
        tried, earlier = list(self._round), pending.alias()
        first = exists().where(
            earlier.c.asset == pending.c.asset, earlier.c.id < pending.c.id, earlier.c.kind.in_(self._after)
        )

        may = and_(
            pending.c.kind.in_(self._doing),
            pending.c.id.not_in(resting),
            pending.c.asset.not_in(list(self._under_way)),
            ~first,
        )

        def read(connection: Connection) -> list[Promise]:
            found = self._in_turn(connection, and_(may, pending.c.id.not_in(tried)), most)
            if not found and tried:
                self._round.clear()
                found = self._in_turn(connection, may, most)
            return found

        found = await self._book.read(read)
        for one in found:
            self._turns[one.company] = max(self._turns.values(), default=0) + 1
        return found

    def _in_turn(self, connection: Connection, may: ColumnElement[bool], most: int) -> list[Promise]:
        """The companies take turns, and of each the oldest is first."""
        companies = connection.execute(select(pending.c.company).where(may).distinct()).scalars()
        waiting = sorted(companies, key=lambda company: (self._turns.get(company, 0), company))[:most]
        queues = []
        for company in waiting:
            rows = select(pending).where(may, pending.c.company == company).order_by(pending.c.id)
            found: dict[str, Promise] = {}
            for row in connection.execute(rows.limit(most // len(waiting) + 1)).mappings():
                found.setdefault(row["asset"], Promise(**{**row, "detail": json.loads(row["detail"])}))
            queues.append(list(found.values()))
        return [one for turn in zip_longest(*queues) for one in turn if one is not None][:most]

    async def _keep(self, found: Promise) -> None:
        before = self._count
        try:
            if not self._together:  # nobody there takes the platform with it, and each count is a commit
                begun = update(pending).where(pending.c.id == found.id).values(attempts=pending.c.attempts + 1)
                await self._book.write(lambda connection: connection.execute(begun))
            await self._doing[found.kind](found)
            self._later.pop(found.id, None)
            self._blamed.pop(found.id, None)
            self._round.clear()
            self._all_later = (0.0, 0.0)
            self._count += 1
            for id in self._waits:  # what they wait for may be there
                self._later.pop(id, None)
            self._waits.clear()
        except Waits:
            if self._count == before:  # otherwise what it waits for may have come meanwhile
                self._later[found.id] = (time.monotonic() + PAUSE, PAUSE)
                self._waits.add(found.id)
            await self._untried(found)
        except Temporary as error:
            self._rest(found, error)
            await self._untried(found)
        except Exception as error:
            _log.exception("%s of %s failed and will be tried again", found.kind, found.asset)
            self._rest(found, error)

    async def _untried(self, found: Promise) -> None:
        """It was no fault of its own."""
        if self._together:
            return
        same = update(pending).where(pending.c.id == found.id).values(attempts=found.attempts)
        with contextlib.suppress(Temporary):
            await self._book.write(lambda connection: connection.execute(same))

    def _rest(self, found: Promise, error: Exception) -> None:
        now = time.monotonic()
        if self._together and isinstance(error, Temporary) and self._blamed.get(found.id, self._count) == self._count:
            self._blamed[found.id] = self._count
            self._round.add(found.id)
            when, pause = self._all_later
            if when <= now:  # otherwise another one has found out already
                pause = min(max(pause * 2, PAUSE), MINUTE)
                self._all_later = (now + pause, pause)
                _log.warning("%s of %s: %s; all of them again in %.0f s", found.kind, found.asset, error, pause)
            return
        _, pause = self._later.get(found.id, (0.0, PAUSE / 2))
        pause = min(pause * 2, LONGEST)
        self._later[found.id] = (now + pause, pause)
        _log.warning("%s of %s: %s; again in %.0f s", found.kind, found.asset, error, pause)
