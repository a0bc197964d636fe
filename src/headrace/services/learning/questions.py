"""Questions to a process that runs models which a stranger may have made: as many as may wait, numbers that are bounded, and what
it means when there is no answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import ClassVar

from headrace.errors import TooMany, TooSlow, Unanswered
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, REFUSED, TEXT
from headrace.services.learning.attending import Attendant, Gone
from headrace.services.learning.cell import Over, plain
from headrace.services.learning.isolation import Isolation

WAITING = 256
"""Questions that wait for the one being answered; more are refused."""
_KINDS = (FOUND, REFUSED, FAILED, MISSING)


class Questions(Attendant):
    """Asks the process, one question at a time.

    Args:
        memory: bytes of the process; 0: any.
    """

    does: ClassVar[str]
    """What the process does, for people."""
    held: ClassVar[int]
    """Numbers of all questions that wait: each is memory of the platform's."""
    instead: ClassVar[str]
    """What to do where a model does not answer."""

    def __init__(self, isolation: Isolation, memory: int, idle: float) -> None:
        super().__init__(isolation.seconds, idle, WAITING, isolation, patience=isolation.seconds)
        self._memory, self._held = memory, 0

    @contextlib.contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        """For a question of so many numbers. Raises TooMany."""
        if self._held and self._held + size > self.held:
            raise TooMany(count=self._waiting, what=f"large {self.asked}")
        self._held += size
        try:
            yield
        finally:
            self._held -= size

    async def _ask(
        self, what: str, question: Callable[[], bytes], most: int, *, last: bool = False
    ) -> tuple[bytes, bytes]:
        """(kind, content) of an answer, of at most `most` bytes. A process that was gone already is not the question's fault:
        it is asked once more. Raises TooSlow, TooMany, Unanswered."""
        try:
            return await self.answer(question, most + 1, _read)
        except TimeoutError as error:
            raise TooSlow(what=what, seconds=self._seconds, instead=self.instead) from error
        except Over as error:
            raise Unanswered(what=what, detail=str(error), instead=self.instead) from error
        except Gone as error:
            if not (last or str(error)):
                return await self._ask(what, question, most, last=True)
            why = f" ({error})" if str(error) else ""
            detail = f"the process that {self.does} ended{why}; it is started again with the next question"
            raise Unanswered(what=what, detail=detail, instead=f"if it ends again, {self.instead}") from error

    def _command(self) -> list[str]:
        return [*super()._command(), str(self._memory)]


def _read(data: bytes) -> tuple[bytes, bytes]:
    """(kind, content). Raises ValueError."""
    if data[:1] not in _KINDS or not data:
        raise ValueError("no answer begins like this")
    return data[:1], data[1:]


def text(data: bytes) -> str:
    """What a process says, for people."""
    return plain(data[: 4 * TEXT])
