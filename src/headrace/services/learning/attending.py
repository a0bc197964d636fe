"""A process that answers questions, one at a time: started with the first, ended when there has been none for a while.

It may hang, crash or be killed at any moment: the question that met it gets an error, the next one a new process. A question
and an answer are frames: a length of four bytes, and so many bytes. What they mean is for whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, TypeVar

import msgspec

from headrace.errors import Temporary, TooMany
from headrace.services.learning.cell import Cell
from headrace.services.learning.isolation import TRUSTED, Isolation

LEAVING = 2.0
"""Seconds the process has for leaving."""
T = TypeVar("T")


class Gone(Exception):
    """It ended, or said what it may not say, before it answered; the text is the bound it was ended for, or ""."""


class Attendant:
    """The platform's side of such a process.

    Args:
        seconds: one question may take, the start of the process included.
        idle: seconds without a question after which the process ends.
        waiting: questions that may wait.
        patience: seconds one may wait for its turn; None: any.
        isolation: what its code can reach.
    """

    module: ClassVar[str]
    """What it runs; the process id of the platform is its argument."""
    name: ClassVar[str]
    """What people call it."""
    asked: ClassVar[str]
    """What people call its questions."""

    def __init__(
        self, seconds: float, idle: float, waiting: int, isolation: Isolation = TRUSTED, patience: float | None = None
    ) -> None:
        self._isolation, self._patience = isolation, patience
        self._seconds, self._idle, self._most = seconds, idle, waiting
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self.process: Process | None = None
        self._cell: Cell | None = None
        self._left: set[asyncio.Task[None]] = set()
        """Processes that were told to leave."""
        self.started = 0
        """Processes started so far."""
        self._closed = False

    async def answer(self, question: Callable[[], bytes], most: int, read: Callable[[bytes], T]) -> T:
        """What it answers.

        Args:
            question: made when its turn has come and the process runs.
            most: bytes of the answer; a longer one is not read.
            read: raises ValueError, TypeError or a MsgspecError at what is no answer.

        Raises:
            TooMany: as many are waiting as may, or it waited too long.
            TimeoutError: there was no answer in time, and the process was ended.
            Gone: it ended, or was ended for what it said.
            Over: it may not be started, for a bound.
            Temporary: it cannot be started, or the platform is stopping.
        """
        async with self._turns():
            if self._timer is not None:
                self._timer.cancel()
            answered = False
            try:
                async with asyncio.timeout(self._seconds):
                    found = read(await self._exchange(question, most))
                answered = True
            except (EOFError, OSError, RuntimeError, ValueError, TypeError, msgspec.MsgspecError) as error:
                if isinstance(error, TimeoutError):  # it is an OSError, too
                    raise
                raise Gone(await self._end(0)) from error
            finally:
                if not answered:  # whatever happened, its answer may still come and must not meet the next question
                    await self._end(0)
            self._timer = asyncio.get_running_loop().call_later(self._idle, self._leave)
            return found

    @contextlib.asynccontextmanager
    async def _turns(self) -> AsyncIterator[None]:
        if self._waiting > self._most:
            raise TooMany(count=self._most, what=self.asked)
        self._waiting += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await self._turn.acquire()
            except TimeoutError as error:
                raise TooMany(count=self._waiting, what=self.asked) from error
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._waiting -= 1

    async def _exchange(self, question: Callable[[], bytes], most: int) -> bytes:
        process = await self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        data = question()
        process.stdin.write(len(data).to_bytes(4, "big"))
        process.stdin.write(data)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(4), "big")
        if size > most:
            raise ValueError(f"an answer of {size:,} bytes")
        return await process.stdout.readexactly(size)

    async def _running(self) -> Process:
        """The process, which sees none of our settings. Raises Temporary if none can be started."""
        self._open()
        if self.process is None or self.process.returncode is not None:
            await self._end(0)
            cell = Cell(self._isolation, self.name)
            try:
                self.process = await cell.start(self._command(), stdin=PIPE, stdout=PIPE)
            except OSError as error:
                raise Temporary(detail=f"the process that makes {self.asked} cannot be started ({error})") from error
            finally:  # not before: whoever closes meanwhile must not let go of what is only being made
                self._cell = cell
            self.started += 1
            self._open()
        return self.process

    def _open(self) -> None:
        if self._closed:
            raise Temporary(detail="the platform is stopping")

    def _command(self) -> list[str]:
        return [sys.executable, "-m", self.module, str(self._isolation.parent(os.getpid()))]

    def _leave(self) -> None:
        """Nobody has asked for a while: the end of its input ends it."""
        if self.process is not None and self.process.stdin is not None and not self._turn.locked():
            leaving = asyncio.create_task(self._left_alone())
            self._left.add(leaving)
            leaving.add_done_callback(self._left.discard)

    async def _left_alone(self) -> None:
        await self._end(LEAVING)

    async def _end(self, patience: float) -> str:
        """End it; returns the bound it was ended for, or ""."""
        process, self.process = self.process, None
        cell, self._cell = self._cell, None
        try:
            if process is not None:
                await _ended(process, patience)
        finally:
            why = await cell.close() if cell is not None else ""
        return why

    async def close(self) -> None:
        """End the process, also in the middle of an answer, and start no other."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._end(0 if self._turn.locked() else LEAVING)
        async with self._turn:  # one may have been starting
            await self._end(0)
        await asyncio.gather(*self._left)


async def _ended(process: Process, patience: float) -> None:
    with contextlib.suppress(TimeoutError):
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait_for(process.wait(), patience)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
