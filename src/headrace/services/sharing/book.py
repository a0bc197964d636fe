"""Transactions off the event loop: a commit that waits for the disk must not stop everybody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from headrace.disk import unavailable
from headrace.errors import StorageUnavailable

T = TypeVar("T")


class Book:
    """Runs functions of a connection in threads: readers side by side, one writer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds. Raises StorageUnavailable."""
        return await asyncio.to_thread(self._run, work, False)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """All that `work` changes, or nothing; on the disk when this returns. Raises StorageUnavailable."""
        return await asyncio.to_thread(self._run, work, True)

    def _run(self, work: Callable[[Connection], T], write: bool) -> T:
        try:
            if not write:
                with self._engine.connect() as connection:
                    return work(connection)
            with self._writing, self._engine.begin() as connection:
                if connection.dialect.name == "sqlite":
                    # or what was read first may be old when the first row is written
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                return work(connection)
        except DBAPIError as error:
            if error.orig is not None and unavailable(error.orig):
                raise StorageUnavailable(detail=str(error.orig)) from error
            raise
