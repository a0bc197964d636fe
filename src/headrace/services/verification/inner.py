"""Checks of an asset that another one was made of, as a part of one check of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.errors import CorruptState, Revoked, Tampered
from headrace.services.verification.case import Case
from headrace.services.verification.rungs import Skipped, Step, Tell


async def all_within(id: str, steps: Sequence[Step], tell: Tell) -> None:
    """Checks of an input; what they raise names the input."""
    for step in steps:
        await _within(id, step, tell)


async def _within(id: str, step: Step, tell: Tell) -> None:
    try:
        await step.work(lambda word: tell(f"{id}: {word}"))
    except Skipped as why:
        raise Skipped(f"{id}: {step.name}: {why}") from why
    except (CorruptState, Revoked) as error:
        raise Tampered(detail=f"{id}: {step.name}: {error.brief}") from error


def bound(id: str, part: dict[str, Any], inner: Case) -> None:
    """That the claim of a model names what the ledger has of its input. Raises Tampered."""
    has = {**inner.says, "contract": inner.recorded.address, "id": id}
    other = [name for name in sorted(part) if part[name] != has.get(name)]
    if other:
        raise Tampered(detail=f"{id}: the claim names another {', '.join(other)} than the ledger has of it")
