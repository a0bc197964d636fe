"""What an asset was made of, and what that was made of: whether any of it was revoked.

The chain is asked, from claim to claim by the contracts that they name, so that no record and no index can hide a revocation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from headrace.access import Principal
from headrace.assets import Model
from headrace.claims import ENDED
from headrace.errors import NotFound, Revoked, UnknownContract
from headrace.services.sharing import Sharing
from headrace.services.verification.case import Case
from headrace.services.verification.reading import Reading
from headrace.services.verification.recomputing import parts
from headrace.services.verification.rungs import Step, Tell

MOST = 256
"""Assets above one that are looked at, the nearest first."""


@dataclass(frozen=True, slots=True)
class Above:
    """Something that an asset was made of."""

    id: str
    near: bool
    """The asset's own claim names it."""
    revoked: str
    """The reason."""


@dataclass(slots=True)
class Ancestry:
    """All that was looked at."""

    count: int = 0
    revoked: list[Above] = field(default_factory=list)
    ended: list[Above] = field(default_factory=list)
    """Deleted since, which says nothing against what was made of them."""
    unread: list[str] = field(default_factory=list)
    """Ids whose own claims could not be read: what is above these was not looked at."""
    more: bool = False
    """There is more than was looked at."""


async def ancestry(reading: Reading, claim: dict[str, Any]) -> Ancestry:
    """Look at everything above the asset of a claim. Raises Temporary, CorruptState."""
    found, seen, front, near = Ancestry(), {str(claim.get("id"))}, parts(claim), True
    while front:
        above: list[dict[str, Any]] = []
        for part in front:
            if (id := str(part.get("id"))) in seen:
                continue
            if found.count >= MOST:
                found.more = True
                return found
            seen.add(id)
            found.count += 1
            above += await _look(reading, part, near, found)
        front, near = above, False
    return found


async def _look(reading: Reading, part: dict[str, Any], near: bool, found: Ancestry) -> list[dict[str, Any]]:
    """Note whether one was revoked; returns what its own claim names."""
    id = str(part["id"])
    try:
        reason, claim = await reading.revocation(id, str(part.get("contract") or ""))
    except UnknownContract:  # it was never recorded, so that nothing could be revoked
        found.unread.append(id)
        return []
    if reason is not None:
        (found.ended if reason in ENDED else found.revoked).append(Above(id, near, reason))
    if claim is None:
        found.unread.append(id)
    return [] if claim is None else parts(claim)


async def told(sharing: Sharing, who: Principal, above: Sequence[Above]) -> list[str]:
    """Which were revoked and why, in words. What stands further up is named to him only who may know of it."""
    words = []
    for one in above:
        name = one.id if one.near or await _known(sharing, who, one.id) else "something further up that you may not see"
        words.append(f"{name}: {one.revoked or 'no reason is given'}")
    return words


async def _known(sharing: Sharing, who: Principal, id: str) -> bool:
    try:
        await (sharing.dataset(who, id) if id.startswith("ds_") else sharing.model(who, id))
    except NotFound:
        return False
    return True


class Descent:
    """The check of it, on the rung L1."""

    def __init__(self, reading: Reading, sharing: Sharing) -> None:
        self._reading, self._sharing = reading, sharing

    def steps(self, case: Case) -> list[Step]:
        """Of one asset; none for what was made of nothing."""
        asset = case.asset
        made = isinstance(asset, Model) and (
            asset.datasets or asset.parent or (asset.recipe and asset.recipe.evaluation)
        )
        return [Step("L1", "what it was made of", partial(self._descent, case))] if made else []

    async def _descent(self, case: Case, _: Tell) -> str:
        """Nothing of it was revoked. Raises Revoked."""
        found = await ancestry(self._reading, case.recorded.opened)
        if found.unread:
            case.left.append(
                f"what {', '.join(found.unread[:3])}{' and others' if found.unread[3:] else ''} was made of: that cannot be read"
            )
        if found.more:
            case.left.append(f"what it was made of, beyond the nearest {MOST}")
        if found.revoked:
            case.taken_back = "what it was made of was revoked"
            said = await told(self._sharing, case.who, found.revoked)
            raise Revoked(detail=f"it was made of what was revoked: {'; '.join(said)}"[:2000])
        gone = "".join(f"; {word}" for word in await told(self._sharing, case.who, found.ended))
        return f"{found.count} looked at, on the ledger: nobody revoked {'it' if found.count == 1 else 'any'}{gone}"
