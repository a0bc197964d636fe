"""A file that is locked this very moment is free in the next: who asks waits, and the event loop does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from headrace.distrust import Later
from headrace.services.http import App, Receive, Scope, Send

T = TypeVar("T")
TRIES, PAUSE = 25, 0.02
"""How often a stranger's file is tried for one question, and seconds between: an honest worker locks it for milliseconds."""


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` makes, which may be called several times. Raises Later when the file is never free."""
    for _ in range(TRIES):
        try:
            return await work()
        except Later as error:
            late = error
            await asyncio.sleep(PAUSE)
    raise late


async def again(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, from its beginning if a file could not be read before anything was answered. Raises Later."""
    heard: list[MutableMapping[str, Any]] = []
    begun = False

    async def attempt() -> None:
        told = iter(list(heard))

        async def listen() -> MutableMapping[str, Any]:
            for message in told:
                return message
            message = await receive()
            heard.append(message)
            return message

        try:
            await app(scope, listen, say)
        except Later as error:
            if begun:
                raise RuntimeError(str(error)) from error
            raise

    async def say(message: MutableMapping[str, Any]) -> None:
        nonlocal begun
        begun = True
        await send(message)

    await patiently(attempt)
