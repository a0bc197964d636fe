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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, delete, func, insert, select, update

from headrace.errors import Temporary
from headrace.services.sharing.book import Book
from headrace.services.sharing.tables import pending

PAUSE = 5.0
"""Seconds until a promise that failed for a passing reason is tried again; doubled each time, at most `LONGEST`."""
LONGEST = 600.0
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
    made = connection.execute(insert(pending).values(**values)).inserted_primary_key
    assert made is not None
    return int(made[0])


def kept(connection: Connection, id: int) -> None:
    """It was kept, or is not wanted any more."""
    connection.execute(delete(pending).where(pending.c.id == id))


def drop(connection: Connection, asset: str, *kinds: str) -> None:
    """Nobody wants these of an asset any more."""
    connection.execute(delete(pending).where(pending.c.asset == asset, pending.c.kind.in_(kinds)))


class Worker:
    """Keeps promises of some kinds, one at a time: the companies take turns, and of each the oldest is first."""

    def __init__(self, book: Book, doing: Mapping[str, Doing]) -> None:
        self._book, self._doing = book, doing
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._later: dict[int, tuple[float, float]] = {}
        """id -> (when it may be tried again, the pause before that)"""
        self._turns: dict[str, int] = {}
        """company -> the number of its last turn"""

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
        while True:
            self._wake.clear()
            try:
                found = await self._next()
            except Exception:
                _log.exception("what was promised cannot be read; again in %.0f s", PAUSE)
                await asyncio.sleep(PAUSE)
                self._wake.set()
                continue
            if found is not None:
                await self._keep(found)
                self._wake.set()
                continue
            if not self._wake.is_set():
                self._idle.set()
            waits = [when - time.monotonic() for when, _ in self._later.values()]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(min(waits), 0.01) if waits else None)

    async def _next(self) -> Promise | None:
        now = time.monotonic()
        resting = [id for id, (when, _) in self._later.items() if when > now]

        def read(connection: Connection) -> Promise | None:
            may = pending.c.kind.in_(self._doing) & pending.c.id.not_in(resting)
            oldest = connection.execute(
                select(func.min(pending.c.id), pending.c.company).where(may).group_by(pending.c.company)
            )
            turns = [(self._turns.get(company, 0), id) for id, company in oldest]
            if not turns:
                return None
            row = connection.execute(select(pending).where(pending.c.id == min(turns)[1])).mappings().one()
            return Promise(**{**row, "detail": json.loads(row["detail"])})

        found = await self._book.read(read)
        if found is not None:
            self._turns[found.company] = max(self._turns.values(), default=0) + 1
        return found

    async def _keep(self, found: Promise) -> None:
        try:
            begun = update(pending).where(pending.c.id == found.id).values(attempts=pending.c.attempts + 1)
            await self._book.write(lambda connection: connection.execute(begun))
            await self._doing[found.kind](found)
            self._later.pop(found.id, None)
        except Temporary as error:
            self._rest(found, error)
            same = update(pending).where(pending.c.id == found.id).values(attempts=found.attempts)
            with contextlib.suppress(Temporary):  # was no fault of its own
                await self._book.write(lambda connection: connection.execute(same))
        except Exception as error:
            _log.exception("%s of %s failed and will be tried again", found.kind, found.asset)
            self._rest(found, error)

    def _rest(self, found: Promise, error: Exception) -> None:
        _, pause = self._later.get(found.id, (0.0, PAUSE / 2))
        pause = min(pause * 2, LONGEST)
        self._later[found.id] = (time.monotonic() + pause, pause)
        _log.warning("%s of %s: %s; again in %.0f s", found.kind, found.asset, error, pause)
