"""What a model card and a bill of materials are made of: records as their reader may see them, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.access import Principal
from headrace.assets import Dataset, Model, revoked
from headrace.claims import ENDED
from headrace.errors import HeadraceError, NotFound, UnknownContract
from headrace.services.sharing import Sharing
from headrace.services.verification import telling
from headrace.services.verification.ancestry import Above, ancestry, told
from headrace.services.verification.reading import Reading
from headrace.trust.ledgers import Ledger

INPUTS = 256
"""Inputs that are looked up; of more only the ids are told."""


@dataclass(frozen=True, slots=True)
class About:
    """An asset and what it was made of, for one reader at one moment."""

    asset: Dataset | Model
    inputs: dict[str, Dataset | Model] = field(default_factory=dict)
    """By id; what he may not know of is not among them."""
    chain: str = ""
    """Which ledger, and who keeps it; empty: there is none, or it does not answer."""
    revoked: str | None = None
    """Why its owner took it back; None: it was not."""
    above: list[str] = field(default_factory=list)
    """What it was made of and was revoked, and why, in words."""

    @property
    def trained_on(self) -> list[str]:
        """Ids of its datasets."""
        return self.asset.datasets if isinstance(self.asset, Model) else []

    @property
    def held_out(self) -> list[str]:
        """Ids of the datasets it was measured on."""
        recipe = self.asset.recipe if isinstance(self.asset, Model) else None
        return recipe.evaluation if recipe else []


async def about(sharing: Sharing, ledger: Ledger, reading: Reading, who: Principal, asset: Dataset | Model) -> About:
    """All of it.

    Args:
        asset: its record, as `who` may see it.
    """
    found = About(asset)
    parent = asset.parent if isinstance(asset, Model) else ""
    for id in [*found.trained_on, *found.held_out, *filter(None, [parent])][:INPUTS]:
        try:
            found.inputs[id] = await (sharing.dataset(who, id) if id.startswith("ds_") else sharing.model(who, id))
        except NotFound:
            continue
    chain = await _chain(ledger, asset)
    reason, above = await _revoked(sharing, reading if chain else None, who, found)
    return About(asset, found.inputs, chain, reason, above)


async def _revoked(
    sharing: Sharing, reading: Reading | None, who: Principal, found: About
) -> tuple[str | None, list[str]]:
    """(why it was taken back, what it was made of and was): by the ledger, or where that cannot be asked by the records."""
    reason = revoked(found.asset)
    try:
        if reading is None:
            raise UnknownContract(address=found.asset.id)
        said = await reading.known(found.asset)
        above = (await ancestry(reading, said.opened)).revoked
    except HeadraceError:
        known = {id: revoked(one) for id, one in found.inputs.items()}
        above = [Above(id, True, why) for id, why in known.items() if why is not None and why not in ENDED]
    else:
        reason = said.revoked if said.revoked is not None else reason
    return reason, await told(sharing, who, above)


async def _chain(ledger: Ledger, asset: Dataset | Model) -> str:
    if not asset.contract:
        return ""
    try:
        status = await ledger.status()
    except HeadraceError:
        return ""
    return f"{status.kind} ledger, chain {status.chain}: {telling.SINGLE if status.single else telling.SHARED}"
