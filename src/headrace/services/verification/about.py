"""What a model card and a bill of materials are made of: records as their reader may see them, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.access import Principal
from headrace.assets import Dataset, Model
from headrace.errors import NotFound, Temporary
from headrace.services.sharing import Sharing
from headrace.services.verification import telling
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

    @property
    def trained_on(self) -> list[str]:
        """Ids of its datasets."""
        return self.asset.datasets if isinstance(self.asset, Model) else []

    @property
    def held_out(self) -> list[str]:
        """Ids of the datasets it was measured on."""
        recipe = self.asset.recipe if isinstance(self.asset, Model) else None
        return recipe.evaluation if recipe else []


async def about(sharing: Sharing, ledger: Ledger, who: Principal, asset: Dataset | Model) -> About:
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
    return About(asset, found.inputs, await _chain(ledger, asset))


async def _chain(ledger: Ledger, asset: Dataset | Model) -> str:
    if not asset.contract:
        return ""
    try:
        status = await ledger.status()
    except Temporary:
        return ""
    return f"{status.kind} ledger, chain {status.chain}: {telling.SINGLE if status.single else telling.SHARED}"
