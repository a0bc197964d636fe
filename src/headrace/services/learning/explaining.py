"""The platform's side of the explainer process (`headrace.services.learning.attending`)."""

from __future__ import annotations

import re
from itertools import repeat
from typing import Any

from headrace import states
from headrace.errors import BadInput, HeadraceError, MissingExtra, Unexplained, Unsupported
from headrace.services.learning import strict
from headrace.services.learning.attending import Attendant, Gone
from headrace.services.learning.cell import Over
from headrace.services.learning.isolation import TRUSTED, Isolation

SECONDS = 30.0
"""One question may take, the import of torch included; then its process is killed."""
IDLE = 300.0
"""Seconds without a question after which the process ends: with torch it holds 350 MB, with Captum 530."""
WAITING = 8
"""Questions that wait for the one being answered; more are refused."""
LONGEST = 2000
"""Characters of a field of an error."""
RAISED: dict[type[HeadraceError], set[str]] = {
    Unexplained: {"detail", "instead"},
    BadInput: {"detail"},
    Unsupported: {"detail"},
    MissingExtra: {"family", "name", "module", "extra"},
}
"""What explainers raise -> its fields."""
ANSWER = 2**25
"""Bytes of an answer; a longer one is not read."""


class ExplainerProcess(Attendant):
    """Asks the process, one question at a time."""

    module, name, asked = "headrace.services.learning.explainer", "explainer", "explanations"

    def __init__(
        self, seconds: float = SECONDS, idle: float = IDLE, waiting: int = WAITING, isolation: Isolation = TRUSTED
    ) -> None:
        super().__init__(seconds, idle, waiting, isolation)

    async def ask(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The explanations of a question (see `explainer.Kept.answer`).

        Raises:
            TooMany: as many are waiting as may.
            Unexplained: the process ended or did not answer in time, or says so itself.
            HeadraceError: what else it says.
        """
        try:
            answer = await self.answer(lambda: states.pack(question), ANSWER, _read)
        except TimeoutError as error:
            detail = f"there was no answer within {self._seconds:g} s and its process was ended"
            raise Unexplained(detail=detail, instead="ask for another method, or mend your explainer") from error
        except Over as error:
            raise Unexplained(detail=str(error), instead="use less, or ask for another method") from error
        except Gone as error:
            why = f" ({error})" if str(error) else ""
            detail = f"the process that makes explanations ended{why}; it is started again with the next question"
            raise Unexplained(detail=detail, instead="if it ends again, ask for another method") from error
        if "error" in answer:
            raise raised(answer["error"], answer["fields"])
        explanations: list[dict[str, Any]] = answer["explanations"]
        return explanations


def _read(data: bytes) -> dict[str, Any]:
    """An answer of the shape they have. Raises ValueError: users' code may have written it."""
    answer = strict.unpack(data)
    if isinstance(answer, dict):
        name, fields, made = answer.get("error"), answer.get("fields"), answer.get("explanations")
        if isinstance(name, str) and isinstance(fields, dict) and all(map(isinstance, fields.values(), repeat(str))):
            return answer
        if name is None and isinstance(made, list) and all(map(isinstance, made, repeat(dict))):
            return answer
    raise ValueError("no answer has this shape")


def raised(name: str, fields: dict[str, str]) -> HeadraceError:
    """The error the process named, as if it had been raised here. Users' code may have chosen it: one that no explainer raises,
    or that does not have its fields, is Unexplained."""
    said = {field: text[:LONGEST] for field, text in fields.items()}
    for kind, wanted in RAISED.items():
        if kind.__name__ == name and said.keys() == wanted and (kind is not MissingExtra or _names(said)):
            return kind(**said)
    detail = said.get("detail") or f"the explainer ended with {name[:100]}"
    return Unexplained(detail=detail, instead="ask for another method, or mend your explainer")


def _names(fields: dict[str, str]) -> bool:
    """They stand in a command that somebody may copy."""
    return all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text) for text in fields.values())
