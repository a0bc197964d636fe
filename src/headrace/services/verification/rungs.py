"""How checks are made: one after the other, each told as it ends; what it raises is its answer.

A check returns what it found, in words, or raises. Nothing else catches: here, and only here, an error becomes "failed" (it is
not as it should be) or "skipped" (it could not be looked at).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.claims import Check, Level
from headrace.errors import HeadraceError, NoIsolation, Temporary, TooMany, Unsupported

EVERY = 0.5
"""Seconds between two words about a check that takes long."""
Tell: TypeAlias = Callable[[str], None]
Work: TypeAlias = Callable[[Tell], Awaitable[str]]
_PASSING = (Temporary, TooMany, NoIsolation, Unsupported)
"""It could not be looked at, which says nothing about what would have been seen."""
_log = logging.getLogger("headrace.verification")


class Skipped(Exception):
    """Why a check was not made."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check.

    Args:
        work: returns what it found; raises what is wrong with it.
    """

    level: Level
    name: str
    work: Work


async def climbed(steps: Sequence[Step]) -> AsyncGenerator[Check, None]:
    """Make the checks in order; those that take long say so meanwhile. Closed early, it ends the one that is being made."""
    for step in steps:
        async for check in _made(step):
            yield check


async def _made(step: Step) -> AsyncGenerator[Check, None]:
    words: list[str] = []
    began = time.monotonic()
    task = asyncio.create_task(_outcome(step, words.append))
    try:
        said = 0
        while not (await asyncio.wait({task}, timeout=EVERY))[0]:
            if len(words) > said:
                said = len(words)
                yield Check(level=step.level, name=step.name, state="running", detail=words[-1])
        state, detail = task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    seconds = round(time.monotonic() - began, 3)
    yield Check(level=step.level, name=step.name, state=state, detail=detail, seconds=seconds)


async def _outcome(step: Step, tell: Tell) -> tuple[Literal["passed", "failed", "skipped"], str]:
    try:
        return "passed", await step.work(tell)
    except Skipped as why:
        return "skipped", str(why)
    except _PASSING as error:
        return "skipped", f"it could not be looked at now: {error}"
    except HeadraceError as error:
        return "failed", error.brief
    except Exception as error:  # of data that somebody changed anything may come
        _log.exception("check %r ended with an error", step.name)
        return "failed", f"it could not be made ({type(error).__name__}); the platform's log says more"
