"""Before a content is given out: the record, its rows and the ledger say the same of it, or nobody gets it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from headrace import claims
from headrace.access import Principal
from headrace.assets import Dataset, Model, OutputFile, Stored
from headrace.errors import CorruptState, Tampered, Temporary, UnknownContract
from headrace.services.sharing import Notary, auditing
from headrace.services.sharing.fence import Asset
from headrace.services.sharing.hub import Hub

REMEMBERED = 10_000
"""Records remembered as compared; the one that was asked for longest ago makes room."""


class Comparing:
    """Asks the notary once per process and record: what is recorded is written once, and cannot become another.

    Args:
        notary: None: there is no ledger, and only the hub's own tables are compared with each other.
    """

    def __init__(self, hub: Hub, notary: Notary | None) -> None:
        self._hub, self._notary = hub, notary
        self._done: OrderedDict[str, str] = OrderedDict()
        """id -> what its record said when it was compared"""

    async def check(self, who: Principal, asset: Asset, role: str, kept: Sequence[OutputFile]) -> None:
        """That this content may be given out. Raises Tampered, CorruptState (both are audited), Temporary (the ledger does not
        answer, and it was not compared before).

        Args:
            role: data, raw, output or code.
            kept: all files of that role, as they would be read.
        """
        try:
            _fits(asset, role, kept)
            if self._notary is not None:
                await self._recorded(asset, self._notary)
        except CorruptState as error:
            said, now = str(error), self._hub.clock()
            await self._hub.book.write(
                lambda connection: auditing.note(
                    connection, now, who, "download", asset.id, asset.company, allowed=False, detail=said
                )
            )
            raise

    async def _recorded(self, asset: Asset, notary: Notary) -> None:
        said = _said(asset)
        if self._done.get(asset.id) == said:
            self._done.move_to_end(asset.id)
            return
        try:
            found = await notary.recorded(asset)
        except UnknownContract:
            if asset.anchoring == "anchored" and not _unfinished(asset):
                raise Tampered(
                    detail=f"the record of {asset.id} says that it is recorded, and the ledger does not"
                ) from None
            return
        except Temporary as error:
            if asset.contract or asset.anchoring == "anchored":
                raise Temporary(
                    detail=f"the ledger does not answer, and {asset.id} was not compared with it since this process started; "
                    f"nothing is given out unchecked, `headrace ledger` shows how it is ({error})"
                ) from error
            return
        if found != (asset.stored.sha256 if isinstance(asset, Dataset) else asset.digest):
            raise Tampered(detail=f"the ledger has another digest of {asset.id} than its record")
        self._done[asset.id] = said
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)


def _unfinished(asset: Asset) -> bool:
    """Whether it is a recipe whose training has not ended: there is no digest yet."""
    return isinstance(asset, Model) and asset.recipe is not None and not asset.files


def _said(asset: Asset) -> str:
    """Everything of a record that was compared."""
    said: dict[str, Any] = {"claim": claims.claim_of(asset), "contract": asset.contract, "anchoring": asset.anchoring}
    if isinstance(asset, Model):
        evaluation = asset.recipe.evaluation if asset.recipe else []
        said |= {"result": claims.result_claim(asset), "inputs": [asset.datasets, evaluation, asset.parent]}
    return claims.digest(claims.canonical(said))


def _fits(asset: Asset, role: str, kept: Sequence[OutputFile]) -> None:
    """That the rows a content is read by are those of the record. Raises Tampered."""
    if isinstance(asset, Model) and role == "output":
        same = {one.path: one.stored for one in kept} == {one.path: one.stored for one in asset.files}
        same = same and claims.digest_of(kept) == asset.digest
    else:
        same = [one.stored for one in kept] == [_one(asset, role)]
    if not same:
        raise Tampered(detail=f"the files kept of {asset.id} are not those of its record")


def _one(asset: Asset, role: str) -> Stored | None:
    if isinstance(asset, Model):
        return asset.recipe.code if asset.recipe and role == "code" else None
    return asset.stored if role == "data" else asset.stream.raw if asset.stream else None
