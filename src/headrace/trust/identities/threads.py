"""A few threads for what waits for the database or for scrypt: strangers who try passwords wait for each other, and not
the rest of the platform for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
COUNT = 4


class Run(Protocol):
    """Calls something in a thread."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...


class Threads:
    """The threads; they start when they are needed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COUNT, "identity")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises."""
        return await asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown()
