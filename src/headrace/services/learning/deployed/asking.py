"""The platform's side of the process that runs deployed models (`headrace.services.learning.deployed.program`).

A model is data that a stranger may have made so that it computes for ever, or fills the memory. So it never runs in the
platform's process, but in one of its company's, for so many seconds and in so much memory; a company other than the first has it
in the sandbox of its workers. What comes back is numbers of lengths that were checked, or nothing is taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec

import msgspec

from headrace.errors import BadTensor, FixedLimit, MissingExtra, Unanswered
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, REFUSED, TEXT
from headrace.services.learning.cell import plain
from headrace.services.learning.deployed.tensors import (
    MOST,
    TENSORS,
    VALUES,
    About,
    Array,
    Question,
    Reply,
    arrays,
    count,
    impossible,
    opened,
    packed,
    part,
)
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.questions import Questions, text

IDLE = 300.0
"""Seconds without a question after which the process ends, and with it what it keeps of models."""
HELD = 4 * VALUES
"""Numbers of all questions that wait."""
LONGEST = MOST + 4 * TEXT
"""Bytes of an answer."""
INSTEAD = "ask for less at once, or deploy a model that computes less"


class Failed(Exception):
    """The model cannot be opened, or did not answer: why."""


class Runs(Questions):
    """Asks the process, one question at a time.

    Args:
        memory: bytes of the process; 0: any.
    """

    module, name, asked = (
        "headrace.services.learning.deployed.program",
        "deployed",
        "answers of this company's deployed models",
    )
    does, held, instead = "runs this company's models", HELD, INSTEAD

    def __init__(self, isolation: Isolation, memory: int, idle: float = IDLE) -> None:
        blind = isolation._replace(
            guard=isolation.blind or isolation.guard
        )  # it has no business in the company's folder
        super().__init__(blind, memory, idle)

    async def here(self) -> list[str]:
        """Short names of the providers there are. Raises MissingExtra, Unanswered, TooSlow, TooMany."""
        if find_spec("onnxruntime") is None:
            raise MissingExtra(family="serving", name="onnx", module="onnxruntime", extra="onnx")
        what = "What ONNX Runtime can compute on"
        kind, data = await self._ask(what, lambda: packed(Question()), LONGEST)
        return self._about(what, kind, data).providers

    async def look(self, digest: str, data: bytes, providers: Sequence[str]) -> About:
        """What a model takes and gives. Raises Failed: it cannot be opened; TooSlow, TooMany, Unanswered."""
        what = "The model"
        asked = Question(digest, list(providers), len(data), about=True)
        kind, found = await self._ask(what, lambda: packed(asked, rest=data), LONGEST)
        if kind in {FAILED, REFUSED}:
            raise Failed(_text(found))
        return self._about(what, kind, found)

    async def ask(
        self,
        what: str,
        model: tuple[str, Sequence[str]],
        inputs: Mapping[str, Array],
        outputs: Mapping[str, str],
        whole: Callable[[], Awaitable[bytes]],
    ) -> tuple[str, dict[str, Array]]:
        """(provider in use, answers by name).

        Args:
            what: the model, for people.
            model: digest of its bytes, and providers.
            outputs: name -> datatype of those that are wanted.
            whole: gives the model's bytes, should the process not have them.

        Raises:
            BadTensor, FixedLimit: the question does not fit the model, or is too large.
            Unanswered, TooSlow, TooMany: there is no answer.
        """
        size = count(inputs)
        if size > VALUES:
            raise FixedLimit(what="the question", size=8 * size, limit=8 * VALUES)
        digest, providers = model
        asked = Question(digest, list(providers), inputs=[part(*one) for one in inputs.items()], outputs=list(outputs))
        with self._holding(size):
            kind, data = await self._ask(what, lambda: packed(asked, inputs.values()), LONGEST)
            if kind == MISSING:
                bytes_ = await whole()
                asked.size = len(bytes_)
                kind, data = await self._ask(what, lambda: packed(asked, inputs.values(), bytes_), LONGEST)
        if kind == REFUSED:
            raise BadTensor(detail=f"{what} cannot be asked so: {_text(data)}")
        if kind != FOUND:
            raise Unanswered(what=what, detail=_text(data) or "its process asks for it again", instead=INSTEAD)
        try:
            return _answers(data, outputs)
        except (ValueError, msgspec.MsgspecError) as error:
            raise Unanswered(what=what, detail=f"its answer is none: {error}", instead=INSTEAD) from error

    def _about(self, what: str, kind: bytes, data: bytes) -> About:
        try:
            if kind != FOUND:
                raise ValueError(_text(data))
            about, rest = opened(data, About)
            ports = [*about.inputs, *about.outputs]
            good = len(ports) <= 2 * TENSORS and not any(map(impossible, ports))
            if rest or not good or not 1 <= len(about.providers) <= TENSORS:
                raise ValueError("its process says something else than asked")
        except (ValueError, msgspec.MsgspecError) as error:
            raise Unanswered(what=what, detail=str(error), instead=INSTEAD) from error
        about.providers = [_named(one) for one in about.providers]
        return about


def _answers(data: bytes, outputs: Mapping[str, str]) -> tuple[str, dict[str, Array]]:
    """(provider, tensors) of an answer that has just what was asked for. Raises ValueError, MsgspecError."""
    reply, raw = opened(data, Reply)
    found = {one.name: one.datatype for one in reply.outputs}
    if found != dict(outputs):
        raise ValueError("other outputs than were asked for")
    return _named(reply.provider), arrays(reply.outputs, raw)


def _named(provider: str) -> str:
    return plain(provider[:40].encode("utf-8", "replace"))


def _text(data: bytes) -> str:
    return text(data).rstrip(".")
