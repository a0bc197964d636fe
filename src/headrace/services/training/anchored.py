"""A job starts when what goes into it is recorded on the ledger, so that its model's claim names what can be looked up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headrace.assets import Dataset, Model
from headrace.errors import HeadraceError
from headrace.services.sharing import Sharing
from headrace.services.training.queue import Entry
from headrace.services.training.running import on_behalf


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job does not start."""

    text: str
    final: bool
    """It never will."""


async def obstacle(sharing: Sharing, entry: Entry) -> Obstacle | None:
    """What keeps a queued job from starting, of its model and everything it reads; None: nothing does. An input that is gone, or
    closed to it meanwhile, is no obstacle here: starting tells the reason."""
    who = on_behalf(entry.job)
    waits = []
    for id in dict.fromkeys(_parts(entry)):
        try:
            found: Dataset | Model = await (
                sharing.dataset(who, id) if id.startswith("ds_") else sharing.model(who, id)
            )
        except HeadraceError:
            continue
        if found.deleted_ms is not None:
            continue
        if found.anchoring == "failed":
            reason = found.anchoring_note.rstrip(".") or "no reason is known"
            return Obstacle(f"{id} could not be recorded on the ledger: {reason}", final=True)
        if found.anchoring == "waiting":
            waits.append(f"{id} ({found.anchoring_note})" if found.anchoring_note else id)
    if not waits:
        return None
    more = f" and {len(waits) - 3} more" if len(waits) > 3 else ""
    return Obstacle(f"waits until the ledger has {', '.join(waits[:3])}{more}"[:1000], final=False)


def _parts(entry: Entry) -> Iterator[str]:
    """Ids of its model and of everything it reads."""
    yield entry.job.model
    yield from entry.recipe.datasets
    yield from entry.recipe.evaluation
    yield from filter(None, (entry.recipe.parent, entry.job.dataset))
