"""The explainer process: explains one question after the other, apart from everything that must not wait for it.

Started by `headrace.services.learning.explaining` as ``python -m headrace.services.learning.explainer PARENT``. A frame is a
length of four bytes and `headrace.states.pack`; each question (`explaining.Question.plain`) gets one answer. What it imports -
torch, Captum, a user's own code - is imported nowhere else in the platform.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from headrace import states
from headrace.services.learning.worker import die_with, own_pipes

KEPT = 8
"""Models kept ready: those asked about last."""
Read = Callable[[int], bytes]


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    input_, output = own_pipes()
    die_with(int(sys.argv[1]))
    kept = Kept()
    with os.fdopen(input_, "rb") as source, os.fdopen(output, "wb") as target:
        while question := _frame(source.read):
            answer = states.pack(kept.answer(states.unpack(question)))
            target.write(len(answer).to_bytes(4, "big") + answer)
            target.flush()


def _frame(read: Read) -> bytes:
    head = read(4)
    return read(int.from_bytes(head, "big")) if len(head) == 4 else b""


class Kept:
    """Explainers that are ready for the next question about the same model."""

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, tuple[Any, Any]] = OrderedDict()
        self._beside: Any = None

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Explanations, or an error by its class and fields. Never raises."""
        from headrace.errors import HeadraceError, Unexplained

        try:
            return {"explanations": self._explain(question)}
        except HeadraceError as error:
            found = error
        except (
            Exception,
            SystemExit,
            KeyboardInterrupt,
        ) as error:  # nothing a library or a user does may end the conversation
            reason = f"{type(error).__name__}: {error}"
            print(f"headrace: an explanation failed: {reason}", file=sys.stderr)
            found = Unexplained(detail=reason, instead="ask for another method")
        fields = {name: str(value) for name, value in found.fields.items()}
        return {"error": type(found).__name__, "fields": fields}

    def _explain(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        from headrace.models.explainers.completeness import check_size, explain

        subject, explainer = self._ready(question)
        check_size(explainer, subject.shape, len(question["x"]))
        pairs = zip(question["x"], question["baseline"], strict=True)
        if question.get("bare"):  # somebody else checks
            return [{"contributions": explainer.explain(x, baseline)} for x, baseline in pairs]
        return [vars(explain(explainer, subject, x, baseline)) for x, baseline in pairs]

    def _ready(self, question: dict[str, Any]) -> tuple[Any, Any]:
        place = states.pack({**question, "x": None, "baseline": None})
        found = self._made.pop(place, None) or self._prepared(question)
        self._made[place] = found
        if len(self._made) > KEPT:
            self._made.popitem(last=False)
        return found

    def _prepared(self, question: dict[str, Any]) -> tuple[Any, Any]:
        """What explains, ready; a user's own code is only loaded where its contributions are not checked."""
        if question["explainer"] != "python" or question.get("bare"):
            return prepared(question)
        from headrace.services.learning.beside import Apart, Beside

        self._beside = self._beside or Beside()
        return subject_of(question), Apart(question, self._beside)


def prepared(question: dict[str, Any]) -> tuple[Any, Any]:
    """(subject, explainer) of the model whose weights a question brings."""
    from headrace.models.explainers import EXPLAINERS

    subject = subject_of(question)
    name, params = question["explainer"], question["params"]
    return subject, EXPLAINERS.find(name)(EXPLAINERS.params(name, params), subject, question["folder"])


def subject_of(question: dict[str, Any]) -> Any:
    """The model whose weights a question brings."""
    from headrace.models.backends import Restorable
    from headrace.models.explainers import Subject
    from headrace.services.learning.plan import Plan
    from headrace.spec import from_plain

    plan = Plan(from_plain(question["plain"]).spec, question["folder"])
    contender = plan.contender()
    if isinstance(contender.backend, Restorable):
        contender.backend.restore(question["weights"])
        return Subject.of(contender.backend, contender.shape)
    return Subject(_served(question, contender.shape), contender.shape)


def _served(question: dict[str, Any], shape: Any) -> Any:
    """The exported model, for a backend that cannot be made from its weights."""
    from headrace.models.backends import Servable
    from headrace.services.learning.serving import load

    return load(Servable(question["format"], question["data"], question["kernel"]), shape)


if __name__ == "__main__":
    main()
