"""The platform's side of the explainer process: started with the first question, ended when there has been none for a while.

It may hang, crash or be killed at any moment: the question that met it gets an error, the next one a new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE
from itertools import repeat
from typing import Any

import msgspec

from headrace import errors, states
from headrace.errors import HeadraceError, Temporary, TooMany, Unexplained
from headrace.services.learning import strict
from headrace.services.learning.cell import Cell, Over
from headrace.services.learning.isolation import TRUSTED, Isolation

SECONDS = 30.0
"""One question may take, the import of torch included; then its process is killed."""
IDLE = 300.0
"""Seconds without a question after which the process ends: with torch it holds 350 MB, with Captum 530."""
WAITING = 8
"""Questions that wait for the one being answered; more are refused."""
ANSWER = 2**25
"""Bytes of an answer; a longer one is not read."""
LEAVING = 2.0
"""Seconds the process has for leaving."""


class ExplainerProcess:
    """Asks the process, one question at a time.

    Args:
        seconds: one question may take.
        idle: seconds without a question after which the process ends.
        waiting: questions that may wait.
        isolation: what its code can reach.
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        idle: float = IDLE,
        waiting: int = WAITING,
        isolation: Isolation = TRUSTED,
    ) -> None:
        self._isolation = isolation
        self._seconds, self._idle, self._most = seconds, idle, waiting
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._cell: Cell | None = None
        self._left: set[asyncio.Task[None]] = set()
        """Processes that were told to leave."""
        self.started = 0
        """Processes started so far."""

    async def ask(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The explanations of a question (see `explainer.Kept.answer`).

        Raises:
            TooMany: as many are waiting as may.
            Unexplained: the process ended or did not answer in time, or says so itself.
            HeadraceError: what else it says.
        """
        if self._waiting > self._most:
            raise TooMany(count=self._most, what="explanations")
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._asked(question)
        finally:
            self._waiting -= 1
        if "error" in answer:
            raise raised(answer["error"], answer["fields"])
        explanations: list[dict[str, Any]] = answer["explanations"]
        return explanations

    async def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._timer is not None:
            self._timer.cancel()
        answered = False
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._exchange(await self._running(), states.pack(question))
            answered = True
        except TimeoutError as error:
            detail = f"there was no answer within {self._seconds:g} s and its process was ended"
            raise Unexplained(detail=detail, instead="ask for another method, or mend your explainer") from error
        except Over as error:
            raise Unexplained(detail=str(error), instead="use less, or ask for another method") from error
        except (asyncio.IncompleteReadError, OSError, RuntimeError, ValueError, msgspec.MsgspecError) as error:
            why = await self._end(0)
            ended = (
                f"the process that makes explanations ended ({why})"
                if why
                else "the process that makes explanations ended"
            )
            detail = f"{ended}; it is started again with the next question"
            raise Unexplained(detail=detail, instead="if it ends again, ask for another method") from error
        finally:
            if not answered:  # whatever happened, its answer may still come and must not meet the next question
                await self._end(0)
        self._timer = asyncio.get_running_loop().call_later(self._idle, self._leave)
        return answer

    async def _exchange(self, process: asyncio.subprocess.Process, question: bytes) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(len(question).to_bytes(4, "big") + question)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(4), "big")
        if size > ANSWER:
            raise ValueError(f"an answer of {size:,} bytes")
        return _checked(await asyncio.to_thread(strict.unpack, await process.stdout.readexactly(size)))

    async def _running(self) -> asyncio.subprocess.Process:
        """The process, which runs users' code and sees none of our settings. Raises Temporary if none can be started."""
        if self.process is None or self.process.returncode is not None:
            parent = str(self._isolation.parent(os.getpid()))
            command = [sys.executable, "-m", "headrace.services.learning.explainer", parent]
            try:
                await self._end(0)
                self._cell = Cell(self._isolation, "explainer")
                self.process = await self._cell.start(command, stdin=PIPE, stdout=PIPE)
            except OSError as error:
                raise Temporary(detail=f"the process that makes explanations cannot be started ({error})") from error
            self.started += 1
        return self.process

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
        """End the process, also in the middle of an answer."""
        if self._timer is not None:
            self._timer.cancel()
        await self._end(0 if self._turn.locked() else LEAVING)
        await asyncio.gather(*self._left)


async def _ended(process: asyncio.subprocess.Process, patience: float) -> None:
    with contextlib.suppress(TimeoutError):
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait_for(process.wait(), patience)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _checked(answer: Any) -> dict[str, Any]:
    """An answer of the shape they have. Raises ValueError: users' code may have written it."""
    if isinstance(answer, dict):
        name, fields, made = answer.get("error"), answer.get("fields"), answer.get("explanations")
        if isinstance(name, str) and isinstance(fields, dict) and all(map(isinstance, fields.values(), repeat(str))):
            return answer
        if name is None and isinstance(made, list) and all(map(isinstance, made, repeat(dict))):
            return answer
    raise ValueError("no answer has this shape")


def raised(name: str, fields: dict[str, str]) -> HeadraceError:
    """The error the process named, as if it had been raised here."""
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, HeadraceError)):
        kind = HeadraceError
    return kind(**fields)
