"""Turns at what few may do at one time: companies come one after the other, and none has all the places."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator

from headrace.errors import TooMany


class Turns:
    """Who waits, and who is next. Not for several threads.

    Args:
        parallel: how many have their turn at one time.
        most: places of one company, of those who have their turn too.
        what: what they are, for whoever is told to come again.
    """

    def __init__(self, parallel: int, most: int, what: str) -> None:
        self._free, self._most, self._what = parallel, most, what
        self._places: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Company -> who waits; the first company is the next."""

    @property
    def busy(self) -> bool:
        """Whoever comes now has to wait."""
        return self._free == 0

    @contextlib.contextmanager
    def place(self, company: str) -> Iterator[None]:
        """A place of a company's, for as long as it is needed. Raises TooMany."""
        if self._places[company] >= self._most:
            raise TooMany(count=self._places[company], what=self._what)
        self._places[company] += 1
        try:
            yield
        finally:
            self._places[company] -= 1
            if not self._places[company]:
                del self._places[company]

    @contextlib.asynccontextmanager
    async def turn(self, company: str) -> AsyncIterator[None]:
        """Wait for one, and have it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(company)
        try:
            yield
        finally:
            self._next()

    async def _wait(self, company: str) -> None:
        come = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(company, deque()).append(come)
        try:
            await come
        except asyncio.CancelledError:
            if come.cancelled():
                self._leave(company, come)
            else:  # it had come, and nobody is here to take it
                self._next()
            raise

    def _leave(self, company: str, one: asyncio.Future[None]) -> None:
        line = self._waiting.get(company, deque())
        with contextlib.suppress(ValueError):  # it was passed over meanwhile
            line.remove(one)
        if not line:
            self._waiting.pop(company, None)

    def _next(self) -> None:
        while self._waiting:
            company = next(iter(self._waiting))
            line = self._waiting.pop(company)
            come = line.popleft()
            if line:
                self._waiting[company] = line  # behind the others
            if not come.done():
                come.set_result(None)
                return
        self._free += 1
