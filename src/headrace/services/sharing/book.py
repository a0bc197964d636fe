"""Transactions off the event loop: a commit that waits for the disk must not stop everybody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headrace.disk import unavailable
from headrace.errors import StorageUnavailable

T = TypeVar("T")


READERS = 4


class Book:
    """Runs functions of a connection in threads of its own: a few readers side by side, one writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="hub-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="hub-write")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds. Raises StorageUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._run, work, False)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """All that `work` changes, or nothing; on the disk when this returns. Raises StorageUnavailable.

        A caller who is cancelled learns of it when it is over: nobody tidies up beside a commit that goes on.
        """
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._writer, self._run, work, True))

    async def close(self) -> None:
        """Let the threads go, after what they are doing."""
        for pool in (self._writer, self._readers):
            await asyncio.to_thread(pool.shutdown)

    def _run(self, work: Callable[[Connection], T], write: bool) -> T:
        try:
            if not write:
                with self._engine.connect() as connection:
                    return work(connection)
            with self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # or what was read first may be old when the first row is written
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                return work(connection)
        except DBAPIError as error:
            if error.orig is not None and unavailable(error.orig):
                raise StorageUnavailable(detail=str(error.orig)) from error
            raise


async def to_its_end(work: Awaitable[T]) -> T:
    """What `work` gives. A caller who is cancelled meanwhile is so when it is over: it is not cut off in the middle."""
    doing = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        while not doing.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([doing])
        if not doing.cancelled():
            doing.exception()  # nobody is left to be told
        raise
