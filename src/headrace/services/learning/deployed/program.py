"""The process that runs the deployed models of one company: it opens them with ONNX Runtime, asks them, and nothing else.

Started by `asking.Runs` as ``python -m headrace.services.learning.deployed.program PARENT MEMORY``. A question is a frame of
`tensors.Question`; an answer one byte that says what follows (those of `headrace.services.learning.answerer`) and a frame of
`tensors.Reply` or `tensors.About`, or text. A model it has not got is asked for: the question comes again with the model's bytes
at its end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.models.onnx_session import available, open_session
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, REFUSED, converse, text
from headrace.services.learning.deployed import providers
from headrace.services.learning.deployed.tensors import (
    TENSORS,
    VALUES,
    About,
    Array,
    Port,
    Question,
    Reply,
    arrays,
    count,
    opened,
    packed,
    part,
    port,
)
from headrace.services.learning.oip import NAMES

BYTES, SHARE = 2**29, 4
"""Bytes of the files of models that are kept ready, those asked about last; at most this part of the process's memory: a model
takes more than its file."""
_WRONG = {"InvalidArgument"}
"""What ONNX Runtime calls a question that does not fit the model."""


def main() -> None:
    """Answer until the input ends."""
    memory = int(sys.argv[2])
    nowhere()
    converse(Kept(min(BYTES, memory // SHARE) if memory else BYTES).answer)


def nowhere() -> None:
    """Work in a folder that is no more: no model names a file that would be found beside it."""
    folder = tempfile.mkdtemp(prefix="headrace-")
    os.chdir(folder)
    Path(folder).rmdir()


class Ready:
    """A model that can be asked. Raises what ONNX Runtime raises, ValueError: it cannot be served."""

    def __init__(self, data: bytes | memoryview, wanted: Sequence[str]) -> None:
        here = _here()
        names = providers.usable(wanted, here)
        if not names:
            raise ValueError(providers.missing(wanted, here))
        self.size = len(data)
        self._session = open_session(bytes(data), [providers.NAMES[name] for name in names])
        self.inputs = _ports("input", self._session.get_inputs())
        self.outputs = _ports("output", self._session.get_outputs())
        self.providers = [providers.short(name) for name in self._session.get_providers()]

    def ask(self, inputs: dict[str, Array], wanted: Sequence[str]) -> list[Array]:
        """Its answers, in the order they are wanted."""
        made: list[Array] = self._session.run(list(wanted), inputs)
        return made


class Kept:
    """Models that are ready for the next question: of files of so many bytes, or a single one."""

    def __init__(self, most: int = BYTES) -> None:
        self._most = most
        self._ready: OrderedDict[tuple[str, ...], Ready] = OrderedDict()

    def answer(self, question: bytes) -> bytes:
        """One frame's content. Never raises."""
        try:
            return self._answer(*opened(question, Question))
        except Exception as error:  # whatever a model or ONNX Runtime does: the conversation goes on
            name = type(error).__name__
            said = str(error) if isinstance(error, ValueError) else f"{name}: {error}"
            return (REFUSED if name in _WRONG else FAILED) + text(said)

    def _answer(self, asked: Question, rest: memoryview) -> bytes:
        if not asked.model:
            return FOUND + packed(About(providers=_here()))
        ready = self._find(asked, rest[len(rest) - asked.size :])
        if ready is None:
            return MISSING
        if asked.about:
            return FOUND + packed(About(ready.inputs, ready.outputs, ready.providers))
        made = ready.ask(arrays(asked.inputs, rest[: len(rest) - asked.size]), asked.outputs)
        named = dict(zip(asked.outputs, made, strict=True))
        if any(getattr(one, "dtype", None) not in NAMES for one in made):
            return FAILED + text("it gives something else than numbers")
        if count(named) > VALUES:
            return REFUSED + text(
                f"the answer has {count(named):,} numbers, and {VALUES:,} may be: ask for less at once"
            )
        return FOUND + packed(Reply(ready.providers[0], [part(name, one) for name, one in named.items()]), made)

    def _find(self, asked: Question, data: memoryview) -> Ready | None:
        name = (asked.model, *asked.providers)
        found = self._ready.pop(name, None)
        if found is None and not asked.size:
            return None
        if found is None:  # room is made first
            while self._ready and sum(one.size for one in self._ready.values()) + len(data) > self._most:
                self._ready.popitem(last=False)
            found = Ready(data, asked.providers)
        self._ready[name] = found
        return found


def _here() -> list[str]:
    return [providers.short(name) for name in available()]


def _ports(what: str, found: Sequence[Any]) -> list[Port]:
    if not 1 <= len(found) <= TENSORS:
        raise ValueError(f"it has {len(found)} {what}s; 1 to {TENSORS} may be")
    made = []
    for one in found:
        try:
            made.append(port(one.name, one.type, one.shape))
        except ValueError as error:
            raise ValueError(f"{what} {one.name[:80]!r} is {error}") from error
    return made


if __name__ == "__main__":
    main()
