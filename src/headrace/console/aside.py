"""What the page shows of models whose files a stranger's code may have written: read in a thread of the company's, never here.

The page asks once a second and for everything at once. A hostile file makes each look as long as it may be; so the event loop
shows what was last seen, and a company's next look begins some time after the last one, the later the longer that took.
"""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from headrace.services.learning.view import View

T = TypeVar("T")
AGE = 0.3
"""Seconds what was seen is shown, at least..."""
TIMES = 5
"""...and so many times as long as the look took."""
PATIENCE = 1.0
"""Seconds who asks waits for a look that is under way."""
RECENT = 20
"""Alerts shown of all models."""


class Seen(NamedTuple):
    """One model at one time."""

    generation: int
    at: float
    took: float
    summary: dict[str, Any]
    alerts: dict[str, Any]


class Aside:
    """Looks at the files of one company, one at a time.

    Args:
        look: (summary, alerts) of a model, from a view of the thread's own.
    """

    def __init__(self, look: Callable[[View], tuple[dict[str, Any], dict[str, Any]]]) -> None:
        self._look = look
        self._pool: ThreadPoolExecutor | None = None
        self._seen: dict[str, Seen] = {}
        self._looking: asyncio.Task[None] | None = None

    async def read(self, view: View, work: Callable[[View], T]) -> T:
        """What `work` makes of a view. Raises what it raises; of a stranger's file nothing but sqlite3.Error."""
        if view.trusted:
            return work(view)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="strange")
        return await asyncio.get_running_loop().run_in_executor(self._pool, _read, view, work)

    async def refresh(self, views: Iterable[View]) -> None:
        """Look anew at those that it is time for; waits a moment."""
        if self._looking is None or self._looking.done():
            now = time.monotonic()
            due = [view for view in views if not view.trusted and self._due(view, now)]
            self._looking = asyncio.create_task(self._all(due)) if due else None
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=PATIENCE)

    def _due(self, view: View, now: float) -> bool:
        seen = self.seen(view)
        return not view.fault and (seen is None or now - seen.at > max(AGE, TIMES * seen.took))

    async def _all(self, views: list[View]) -> None:
        for view in views:
            begin = time.monotonic()
            try:
                summary, alerts = await self.read(view, self._look)
            except sqlite3.Error:  # locked, damaged, or a stranger's: what was seen is shown, and what is wrong
                continue
            took = time.monotonic() - begin
            self._seen[view.name] = Seen(view.entered.generation, time.monotonic(), took, summary, alerts)

    def seen(self, view: View) -> Seen | None:
        """What was last seen of a model; None before the first look."""
        found = self._seen.get(view.name)
        return found if found is not None and found.generation == view.entered.generation else None

    def alerts(self, views: Iterable[View]) -> dict[str, Any]:
        """Alerts of all models, at a glance."""
        known = [seen.alerts for view in views if (seen := self.seen(view)) is not None]
        recent = heapq.nsmallest(
            RECENT, (one for each in known for one in each["recent"]), key=lambda one: -one["raised_ms"]
        )
        return {"active": sum(each["active"] for each in known), "recent": recent}

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _read(view: View, work: Callable[[View], T]) -> T:
    with view.aside() as seen:
        try:
            return work(seen)
        except sqlite3.Error:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
            seen.distrust(error)
            raise sqlite3.DatabaseError(seen.fault) from error
