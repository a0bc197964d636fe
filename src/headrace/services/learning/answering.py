"""The platform's side of the process that answers for a company whose models a stranger's code may have written.

Such a model is data - an ONNX graph, trees, weights - and may be made so that it computes for ever or fills the memory; so may
what it is asked. So it runs in a process of its company's, sandboxed and bounded as its workers are, for so many seconds
(`headrace.services.learning.answerer`). What comes back is plain numbers, as many as were expected, or nothing is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from headrace import states
from headrace.errors import BadTensor, FixedLimit, Unanswered
from headrace.records import Array, Record
from headrace.services.learning.answerer import FAILED, FOUND, MISSING, REFUSED, TEXT
from headrace.services.learning.inputs import histories
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.questions import Questions, text
from headrace.services.learning.view import View
from headrace.streams.decoders.looking import Pin

IDLE = 300.0
"""Seconds without a question after which the process ends: it holds some 50 MB, with ONNX Runtime 80."""
HELD = 2**21
"""Numbers of all questions that wait."""
VALUES = 2**20
"""Numbers of one question, and of one answer."""
LOOK = 2**22
"""Bytes of what there is to see in a topic."""
INSTEAD = "ask for less at once, or apply a model that computes less"


class Answers(Questions):
    """Asks the process, one question at a time."""

    module, name, asked = "headrace.services.learning.answerer", "answers", "answers of this company's models"
    does, held, instead = "answers for this company", HELD, INSTEAD

    def __init__(self, isolation: Isolation = TRUSTED, idle: float = IDLE) -> None:
        super().__init__(isolation, isolation.memory, idle)
        self._known: set[int] = set()
        """Models that the process has been given..."""
        self._knows = 0
        """...the one that was started so many-th."""

    async def predict(self, view: View, inputs: dict[str, Any], key: str, role: str = "") -> Array:
        """(n, horizon) in the target's unit.

        Raises:
            NotReady: there is no exported model.
            BadTensor, FixedLimit: the question is wrong, or too large.
            Unanswered, TooSlow, TooMany: there is no answer.
        """
        return await self._numbers(view, _question(view, inputs, key), key, role, (view.shape().horizon,))

    async def inputs(self, view: View, inputs: dict[str, Any], key: str) -> Array:
        """Model-space inputs (n, *shape). Raises what `predict` raises."""
        question = _question(view, inputs, key)
        if "x" in question:
            x: Array = question["x"]
            return x
        return await self._numbers(view, {**question, "inputs": True}, key, "", view.shape().input)

    async def look(self, records: Sequence[Record], pin: Pin | None) -> dict[str, Any]:
        """`headrace.streams.decoders.looking.look`, over there. Raises Unanswered, TooSlow, TooMany."""
        what = f"What there is on topic {records[0].stream[:200]!r}"
        question = {"records": [list(one) for one in records], "pin": None if pin is None else list(pin)}
        with self._holding(sum(len(one.payload) for one in records) // 8):
            kind, data = await self._ask(what, lambda: states.pack(question), LOOK)
        try:
            if kind != FOUND:
                raise ValueError(text(data))
            return msgspec.to_builtins(msgspec.json.decode(data, type=Seen))  # type: ignore[no-any-return]
        except (ValueError, msgspec.MsgspecError) as error:
            raise Unanswered(what=what, detail=str(error), instead="look at the raw messages") from error

    async def _numbers(self, view: View, question: dict[str, Any], key: str, role: str, row: tuple[int, ...]) -> Array:
        """The (n, *row) float64 that a question is answered with."""
        count = len(question["x"] if "x" in question else question["histories"])
        shape = (count, *row)
        if math.prod(shape) > VALUES:
            raise FixedLimit(what=f"the answer to {count:,} examples", size=8 * math.prod(shape), limit=8 * VALUES)
        view.runner(key, role)  # says what is wrong before a process is started
        what, most = f"Model {view.name!r}", max(8 * math.prod(shape), 4 * TEXT)
        with self._holding(sum(np.size(one) for one in question.values())):
            kind, data = await self._ask(what, lambda: self._packed(view, question, key, role), most)
            if kind == MISSING:  # it had too many to keep them all
                kind, data = await self._ask(what, lambda: self._packed(view, question, key, role, again=True), most)
        if kind == REFUSED:
            raise BadTensor(detail=text(data))
        if kind != FOUND or len(data) != 8 * math.prod(shape):
            reason = text(data) if kind == FAILED else "it does not give as many numbers as a forecast has"
            raise Unanswered(what=what, detail=reason, instead=INSTEAD)
        return np.frombuffer(data, "<f8").reshape(shape).astype(np.float64)

    def _packed(self, view: View, question: dict[str, Any], key: str, role: str, *, again: bool = False) -> bytes:
        """The question, with the model if the process has not got it yet."""
        if self._knows != self.started:
            self._known.clear()
            self._knows = self.started
        loaded = view.runner(key, role)
        if loaded.number in self._known and not again:
            return states.pack({"model": loaded.number, **question})
        loaded, made = view.elsewhere(key, role)
        self._known.add(loaded.number)
        return states.pack({"model": loaded.number, "make": made, **question})


class Field(msgspec.Struct, omit_defaults=True):
    """One field of a device: what `look` says of it."""

    type: str
    unit: str
    last: float | str | bool | None
    low: float | msgspec.UnsetType = msgspec.UNSET
    high: float | msgspec.UnsetType = msgspec.UNSET


class Device(msgspec.Struct):
    """One device."""

    device: str
    readings: int
    every_seconds: float | None
    last_time_ms: int
    fields: dict[str, Field]


class Seen(msgspec.Struct):
    """What there is to see in a topic."""

    decoders: dict[str, int]
    devices: list[Device]


def _question(view: View, inputs: dict[str, Any], key: str) -> dict[str, Any]:
    """What the process is asked. Raises BadTensor, FixedLimit."""
    size = sum(np.size(one) for one in inputs.values())
    if size > VALUES:
        raise FixedLimit(what="the question", size=8 * size, limit=8 * VALUES)
    if "x" in inputs:
        return {"x": view.inputs.check(inputs["x"])}
    given, origins = histories(inputs, lambda: view.latest_ms(key))
    return {"histories": given, "origins": origins}
