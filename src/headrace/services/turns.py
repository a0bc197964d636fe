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
        each: how many of one company have their turn at one time; None: any.
    """

    def __init__(self, parallel: int, most: int, what: str, each: int | None = None) -> None:
        self._free, self._most, self._what, self._each = parallel, most, what, each or parallel
        self._places: Counter[str] = Counter()
        self._having: Counter[str] = Counter()
        """Company -> its turns."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Company -> who waits; the first company is the next."""

    def busy(self, company: str) -> bool:
        """Whether one of this company that comes now has to wait."""
        return self._free == 0 or self._having[company] >= self._each

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
        if self.busy(company):
            await self._wait(company)
        else:
            self._give(company)
        try:
            yield
        finally:
            self._back(company)

    def _give(self, company: str) -> None:
        self._free -= 1
        self._having[company] += 1

    async def _wait(self, company: str) -> None:
        come = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(company, deque()).append(come)
        try:
            await come
        except asyncio.CancelledError:
            if come.cancelled():
                self._leave(company, come)
            else:  # it had come, and nobody is here to take it
                self._back(company)
            raise

    def _leave(self, company: str, one: asyncio.Future[None]) -> None:
        line = self._waiting.get(company, deque())
        with contextlib.suppress(ValueError):  # it was passed over meanwhile
            line.remove(one)
        if not line:
            self._waiting.pop(company, None)

    def _back(self, company: str) -> None:
        """A turn has ended: for whoever is next and may have one."""
        self._free += 1
        self._having[company] -= 1
        self._having += Counter()  # companies without any are not remembered
        for next_ in [one for one in self._waiting if not self.busy(one)]:
            line = self._waiting.pop(next_)
            come = line.popleft()
            while line and come.done():
                come = line.popleft()
            if line:
                self._waiting[next_] = line  # behind the others
            if not come.done():
                self._give(next_)
                come.set_result(None)
                return
