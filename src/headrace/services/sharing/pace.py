"""How many datasets and models a company registers a day: what the ledger has of each is never removed, and in no quota."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, select

from headrace.errors import TooManyRegistrations
from headrace.services.sharing.book import Book
from headrace.services.sharing.tables import audit

DAY = 86_400_000
"""Milliseconds."""
COUNTED = ("register", "translate")
"""What the audit log calls them."""
PUBLISHED = ("snapshot",)
"""The same of what online models publish."""


class Pace:
    """Counts in this process, from what the audit log has of the day before it began. Those under way at the same moment may come
    on top.

    Args:
        clock: ms since the epoch.
        counted: what the audit log calls them.
    """

    def __init__(self, book: Book, clock: Callable[[], int], counted: tuple[str, ...] = COUNTED) -> None:
        self.most = 0
        """Within a day, of one company; 0: any number."""
        self._book, self._clock, self._counted = book, clock, counted
        self._times: dict[str, deque[int]] = {}

    async def check(self, company: str) -> None:
        """Raises TooManyRegistrations."""
        if not self.most:
            return
        since = self._clock() - DAY
        if company not in self._times:
            found = await self._book.read(
                partial(_since, company=company, since=since, most=self.most, counted=self._counted)
            )
            self._times.setdefault(company, found)
        times = self._times[company]
        while times and times[0] <= since:
            times.popleft()
        if len(times) >= self.most:
            raise TooManyRegistrations(count=len(times))

    def note(self, company: str) -> None:
        """It registered one."""
        if self.most:
            self._times.setdefault(company, deque()).append(self._clock())


def _since(connection: Connection, company: str, since: int, most: int, counted: tuple[str, ...]) -> deque[int]:
    """When it registered some, the oldest first; no more than `most`."""
    mine = audit.c.company == company, audit.c.allowed, audit.c.action.in_(counted), audit.c.time_ms > since
    query = select(audit.c.time_ms).where(*mine).order_by(audit.c.id.desc()).limit(most)
    return deque(reversed(list(connection.execute(query).scalars())))
