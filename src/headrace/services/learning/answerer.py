"""The process that answers for a company whose models a stranger's code may have written: it runs them, and nothing else.

Started by `headrace.services.learning.answering` as ``python -m headrace.services.learning.answerer PARENT MEMORY``. A frame is a
length of four bytes and that many bytes: a question is `headrace.states.pack` of a dict, an answer is one byte that says what
follows (`FOUND`, `REFUSED`, `FAILED`, `MISSING`) and plain numbers or text, so that whoever reads it has nothing to decode.
Questions:

- ``{"model": number, "x": array}`` or ``{"model": number, "histories": array, "origins": array}``: what the model predicts, as
  little-endian float64; with ``"inputs": true``, the inputs that histories make;
- a model it does not know is asked for (`MISSING`): the question comes again with ``"make"``, what `Made` is made of;
- ``{"topic": ..., "records": [...], "pin": ...}``: what `headrace.streams.decoders.looking.look` finds, as JSON.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from headrace import states
from headrace.services.learning.worker import die_with, own_pipes

FOUND, REFUSED, FAILED, MISSING = b"y", b"r", b"f", b"?"
"""What follows: what was asked for; why the question is wrong; why the model cannot answer; nothing."""
KEPT, BYTES = 256, 2**26
"""Models kept ready, and bytes of them: those asked about last."""
TEXT = 500
"""Characters of a reason."""


def main() -> None:
    """Answer until the input ends."""
    converse(Kept().answer)


def converse(reply: Callable[[bytes], bytes]) -> None:
    """Answer what comes in until the input ends; the arguments are the parent's process id and bytes of memory (0: any)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    input_, output = own_pipes()
    die_with(int(sys.argv[1]))
    if memory := int(sys.argv[2]):  # so that a bomb meets a MemoryError, before anybody outside has to look
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with os.fdopen(input_, "rb") as source, os.fdopen(output, "wb") as target:
        while len(head := source.read(4)) == 4:
            answer = reply(source.read(int.from_bytes(head, "big")))
            target.write(len(answer).to_bytes(4, "big") + answer)
            target.flush()


class Made:
    """A model that is ready, of its exported data, its sizes and the spec it belongs to."""

    def __init__(self, about: dict[str, Any]) -> None:
        from headrace.models.backends import Servable, Shape
        from headrace.services.learning.serving import load

        rows, columns, horizon, per_target = about["shape"]
        shape = Shape((rows, columns), horizon, bool(per_target))
        self.size = len(about["data"])
        self._runner = load(Servable(about["format"], about["data"], about["kernel"]), shape)
        self._scale = (about["offset"], about["factor"])
        self._plain, self._folder = about["plain"], about["folder"]
        self._inputs: Any = None

    def answer(self, question: dict[str, Any]) -> Any:
        """The numbers that are asked for."""
        x = question.get("x")
        if x is None:
            x = self._of(question["histories"], question["origins"])
            if question.get("inputs"):
                return x
        offset, factor = self._scale
        return self._runner.predict(x) * factor + offset

    def _of(self, histories: Any, origins: Any) -> Any:
        from headrace.services.learning.inputs import Inputs
        from headrace.services.learning.plan import Plan
        from headrace.spec import from_plain

        if self._inputs is None:
            self._inputs = Inputs(Plan(from_plain(self._plain).spec, self._folder))
        return self._inputs.of(histories, origins, self._scale)


class Kept:
    """Models that are ready for the next question."""

    def __init__(self) -> None:
        self._made: OrderedDict[int, Made] = OrderedDict()

    def answer(self, question: bytes) -> bytes:
        """One frame's content. Never raises."""
        from headrace.errors import BadInput

        try:
            return self._answer(states.unpack(question))
        except BadInput as error:
            return REFUSED + text(str(error).rstrip("."))
        except Exception as error:  # whatever a model or a library does: the conversation goes on
            return FAILED + text(f"{type(error).__name__}: {error}")

    def _answer(self, question: dict[str, Any]) -> bytes:
        import numpy as np

        if "records" in question:
            return FOUND + _look(question)
        number = question["model"]
        if number not in self._made and "make" not in question:
            return MISSING
        made = self._made.pop(number, None) or Made(question["make"])
        self._made[number] = made
        while len(self._made) > 1 and (len(self._made) > KEPT or sum(one.size for one in self._made.values()) > BYTES):
            self._made.popitem(last=False)
        return FOUND + np.ascontiguousarray(made.answer(question), dtype="<f8").tobytes()


def _look(question: dict[str, Any]) -> bytes:
    import msgspec

    from headrace.records import Record
    from headrace.streams.decoders.looking import Pin, look

    pin = None if question["pin"] is None else Pin(*question["pin"])
    return msgspec.json.encode(look([Record(*one) for one in question["records"]], pin))


def text(reason: str) -> bytes:
    return " ".join(reason.split())[:TEXT].encode("utf-8", "replace")


if __name__ == "__main__":
    main()
