"""Verifications under way. One whose caller's token ended in the middle of it goes on for a while: he asks again with a new one,
and is told what he was told before, and the rest. Who closes the connection ends it, as ever."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from headrace.access import Principal
from headrace.claims import Check, Level, Report

Climb: TypeAlias = AsyncGenerator[Check | Report, None]
LINGERS = 60.0
"""Seconds one goes on with nobody listening."""


class Running:
    """One verification.

    Args:
        first: its first word.
        rest: what comes after it.
    """

    def __init__(self, first: Check | Report, rest: Climb) -> None:
        self._said: list[Check | Report] = []
        self._now: Check | None = None
        """What is being checked; of it only the last word is kept."""
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._note(first)
        self._task = asyncio.create_task(self._run(rest), name="verification")

    def _note(self, one: Check | Report) -> None:
        if isinstance(one, Check) and one.state == "running":
            self._now = one
        else:
            self._said.append(one)
            self._now = None
        self._news.set()

    async def _run(self, rest: Climb) -> None:
        try:
            async with aclosing(rest):
                async for one in rest:
                    self._note(one)
        except Exception as error:
            self._error = error
        finally:
            self._news.set()

    async def words(self) -> Climb:
        """All it says, from the beginning. For one listener at a time. Raises what it ends with."""
        told, last = 0, None
        while True:
            self._news.clear()
            while told < len(self._said):
                told += 1
                yield self._said[told - 1]
            if self._now is not None and self._now is not last:
                last = self._now
                yield last
            if self._task.done() and told == len(self._said):
                break
            if not self._news.is_set():
                await self._news.wait()
        if self._error is not None:
            raise self._error

    async def end(self) -> None:
        """Now."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Verifications:
    """Those of a service.

    Args:
        begin: begins one.
        may: raises what would refuse it.
    """

    def __init__(
        self,
        begin: Callable[[Principal, str, Level], Climb],
        may: Callable[[Principal, str, Level], Awaitable[object]],
    ) -> None:
        self._begin, self._may = begin, may
        self._parked: dict[tuple[Principal, str, Level], tuple[Running, asyncio.TimerHandle]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def take(self, who: Principal, id: str, level: Level) -> Running:
        """One that was parked, or a new one. Raises what refuses it."""
        await self._may(who, id, level)
        if found := self._parked.pop(_key(who, id, level), None):
            running, timer = found
            timer.cancel()
            return running
        rest = self._begin(who, id, level)
        return Running(await anext(rest), rest)

    async def park(self, who: Principal, id: str, level: Level, running: Running) -> None:
        """Its listener may hear no more of it: it goes on for a while."""
        key = _key(who, id, level)
        if key in self._parked:
            await running.end()
            return
        timer = asyncio.get_running_loop().call_later(LINGERS, self._drop, key)
        self._parked[key] = running, timer

    def _drop(self, key: tuple[Principal, str, Level]) -> None:
        running, timer = self._parked.pop(key)
        timer.cancel()
        ending = asyncio.create_task(running.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End those that nobody listens to."""
        for key in list(self._parked):
            self._drop(key)
        await asyncio.gather(*self._ending)


def _key(who: Principal, id: str, level: Level) -> tuple[Principal, str, Level]:
    """He, with the rights he has now; whenever his token ends."""
    return replace(who, expires=math.inf), id, level
