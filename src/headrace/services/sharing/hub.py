"""What the parts of the hub share: tables, artifacts, clock; and how a refusal gets into the audit log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, insert, select

from headrace.access import Principal
from headrace.errors import Forbidden, NotFound
from headrace.services.sharing import auditing, lineage
from headrace.services.sharing.book import Book
from headrace.services.sharing.fence import Fence, unfenced
from headrace.services.sharing.pace import PUBLISHED, Pace
from headrace.services.sharing.tables import companies, files
from headrace.stores.artifacts import Artifacts

MOST_NOTES = 10_000
"""Refusals that wait to be written down."""
AFTER = 0.02
"""Seconds until one is: the answer has gone by then, and cannot be slowed down by it."""
_log = logging.getLogger(__name__)


@dataclass
class Hub:
    """One per service."""

    book: Book
    artifacts: Artifacts
    clock: Callable[[], int]
    """Milliseconds since the epoch."""
    scratch: Path | None = None
    """Folder for files that are being made; None: the system's."""
    nudge: Callable[[], None] = lambda: None
    """Something was promised: look now."""
    anchors: bool = False
    """There is a ledger: what is registered waits until it is recorded."""
    changes: int = 0
    """How often rights changed in this process: downloads under way look again when it does."""
    gone: set[str] = field(default_factory=set)
    """Companies that were deleted since the start: what they were still sending comes to nothing."""
    pace: Pace = field(init=False)
    """How fast companies may register."""
    published: Pace = field(init=False)
    """How fast what the code of companies publishes is registered."""
    _notes: set[asyncio.Task[None]] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    """Companies that are written down as having brought contents."""
    _arriving: Counter[str] = field(default_factory=Counter)
    _removing: set[str] = field(default_factory=set)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.pace = Pace(self.book, self.clock)
        self.published = Pace(self.book, self.clock, PUBLISHED)

    @contextlib.asynccontextmanager
    async def refusing(self, who: Principal, action: str, id: str) -> AsyncIterator[None]:
        """Writes it down when somebody is refused something that exists; its owner can read that. It is looked up and written
        after the answer, so that an id of somebody else's is refused neither differently nor later than one that is none.
        Whoever looks for what a record names that he may read has tried nothing: that is not written down."""
        try:
            yield
        except (Forbidden, NotFound) as error:
            said, now = str(error), self.clock()

            def write(connection: Connection) -> None:
                named = action == "look" and lineage.names(Fence(connection, who, now), id)
                if not named and (owner := _owner(connection, id)):
                    auditing.note(connection, now, who, action, id, owner, allowed=False, detail=said)
                else:
                    auditing.skip(connection)

            self.note_later(write)
            raise

    def note_later(self, write: Callable[[Connection], None]) -> None:
        """Write into the audit log after the answer; what cannot be written, or is too much at once, is in our own log."""
        if len(self._notes) >= MOST_NOTES:
            _log.warning("refusals come faster than they can be written down: one is left out of the audit log")
            return

        async def writing() -> None:
            await asyncio.sleep(AFTER)
            try:
                await self.book.write(write)
            except Exception as error:
                _log.warning("a refusal could not be written into the audit log: %s", error)

        task = asyncio.create_task(writing(), name="hub-note")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def noted(self) -> None:
        """Until all refusals so far are written down."""
        while self._notes:
            await asyncio.wait(set(self._notes))

    @contextlib.asynccontextmanager
    async def arriving(self, company: str) -> AsyncIterator[None]:
        """A content is put in its place and then recorded: no content of the company is removed in between."""
        if company not in self._known:
            await self.book.write(partial(_know, company=company))
            self._known.add(company)
        await self._until(lambda: company not in self._removing)
        self.here(company)
        self._arriving[company] += 1
        try:
            yield
        finally:
            self._arriving[company] -= 1
            self._move()

    def here(self, company: str) -> None:
        """Raises NotFound for a company that was deleted."""
        if company in self.gone:
            raise NotFound(detail=f"the company {company!r} is gone")

    async def leaving(self, company: str) -> None:
        """From now on nothing of a company arrives; what was arriving has."""
        self.gone.add(company)
        await self._until(lambda: not self._arriving[company] and company not in self._removing)

    async def forget(self, company: str, contents: Iterable[str]) -> None:
        """Remove contents that no record names any more."""
        await self._until(lambda: not self._arriving[company] and company not in self._removing)
        self._removing.add(company)
        try:
            for content in sorted(set(contents)):
                if not await self.book.read(partial(_needed, company=company, sha256=content)):
                    await self.artifacts.delete(company, content)
        finally:
            self._removing.discard(company)
            self._move()

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            await self._moved.wait()

    def _move(self) -> None:
        """Wake all who wait. Nothing here can be interrupted: a place that was taken is given back."""
        self._moved.set()
        self._moved = asyncio.Event()


def _know(connection: Connection, company: str) -> None:
    if connection.execute(select(companies).where(companies.c.company == company)).first() is None:
        connection.execute(insert(companies).values(company=company))


def _owner(connection: Connection, id: str) -> str:
    try:
        found = unfenced(connection, id)
    except NotFound:
        return ""
    return found.company if found else ""


def _needed(connection: Connection, company: str, sha256: str) -> bool:
    query = select(files.c.asset).where(files.c.company == company, files.c.sha256 == sha256).limit(1)
    return connection.execute(query).first() is not None
