"""Reads what the ledger says, and compares it with the index and with records. The ledger is the truth: what disagrees with it is
`Tampered`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from headrace import claims, merkle
from headrace.assets import Dataset, Model
from headrace.errors import BadInput, CorruptState, Tampered, UnknownContract
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.index import Entry, Leaf
from headrace.services.verification.opening import Opening, parsed
from headrace.services.verification.rebuilding import rebuilt
from headrace.trust.ledgers import Anchored, Contract, Ledger, Receipt


@dataclass(frozen=True, slots=True)
class Proof:
    """That a claim is one of a batch."""

    place: int
    count: int
    path: list[bytes]
    root: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger says of an asset, compared with the index."""

    asset: str
    company: str
    address: str
    """Of its contract; of a snapshot that of the contract its batch was anchored in."""
    owner: str
    """Address of the company's account."""
    deployed: Receipt
    """What deployed it, or anchored its batch."""
    claim: bytes
    """As it was recorded; sealed perhaps."""
    opened: dict[str, Any]
    """The claim in full."""
    result: bytes | None = None
    result_opened: dict[str, Any] | None = None
    result_receipt: Receipt | None = None
    revoked: str | None = None
    """The reason."""
    proof: Proof | None = None
    """Of a snapshot."""
    contract: Contract | None = None
    """Of everything else."""

    @property
    def digest(self) -> str | None:
        """What it says of the content: of a dataset its ``sha256``, of a model its ``digest``; None: nothing yet."""
        said = self.opened if self.result_opened is None else self.result_opened
        found = said.get("digest") or said.get("sha256")
        return found if isinstance(found, str) else None


class Reading:
    """Reads."""

    def __init__(self, book: Book, ledger: Ledger, opening: Opening) -> None:
        self._book, self._ledger, self._opening = book, ledger, opening

    async def recorded(self, asset: str) -> Recorded:
        """What the ledger says of an asset. Raises UnknownContract (nothing is final), Tampered, CorruptState, Temporary."""
        entry = await self._book.read(partial(index.entry, asset=asset))
        if entry is not None and entry.address:
            return await self._contract(entry)
        leaf = await self._book.read(partial(index.leaf, asset=asset, what="claim"))
        if leaf is not None and leaf.batch is not None:
            return await self._anchored(leaf)
        raise UnknownContract(address=asset)

    async def known(self, asset: Dataset | Model) -> Recorded:
        """The same; where the index was lost, by the contract that the record names. Raises as `recorded`."""
        try:
            return await self.recorded(asset.id)
        except UnknownContract:
            if not asset.contract:
                raise
        if claims.kind_of(asset) == "snapshot":
            raise Tampered(
                detail=f"the record of {asset.id} says that it is recorded, and its leaf is in no batch here"
            )
        return await self._contract(await rebuilt(self._book, self._ledger, asset))

    async def revocation(self, asset: str, contract: str) -> tuple[str | None, dict[str, Any] | None]:
        """(why an asset that a claim names was revoked, its own claim), by what the chain has at the address that the claim
        names; None: it was not, or its claim cannot be opened. Raises UnknownContract, Tampered, Temporary.

        Args:
            contract: the address; "": none is named.
        """
        try:
            if not contract:
                raise UnknownContract(address=asset)
            said = await self._ledger.read(contract)
        except UnknownContract:  # a snapshot, which has no contract of its own, or it was recorded later
            found = await self.recorded(asset)
            return found.revoked, found.opened
        try:
            claim: dict[str, Any] | None = await self._opening.opened(asset, said.claim)
        except CorruptState:  # sealed, and what opens it is lost
            claim = None
        return said.revoked, claim

    async def compared(self, asset: Dataset | Model) -> Recorded:
        """The same; and the record says it, too. Raises as `recorded`, and Tampered."""
        found = await self.known(asset)
        if asset.contract not in {"", found.address} or asset.company != found.company:
            raise Tampered(detail=f"the record of {asset.id} names another contract than the one it was recorded in")
        if asset.anchoring == "anchored" and claims.has_result(asset) and found.result is None:
            raise Tampered(
                detail=f"the record of {asset.id} says that its training was recorded, and the ledger does not"
            )
        other = claims.differences(asset, found.opened, found.result_opened)
        if other:
            raise Tampered(
                detail=f"the record of {asset.id} is not what the ledger has in {found.address}; other there: "
                + ", ".join(other)
            )
        return found

    async def _contract(self, entry: Entry) -> Recorded:
        try:
            said = await self._ledger.read(entry.address)
        except UnknownContract as error:
            raise Tampered(
                detail=f"the ledger has no contract {entry.address}, which {entry.asset} was recorded in: its chain, or the "
                "index beside it, was changed"
            ) from error
        owner = await self._ledger.account(entry.company)
        if other := _others(entry, said, owner):
            raise Tampered(
                detail=f"the index of what was recorded of {entry.asset} does not say what the ledger says: {', '.join(other)}"
            )
        result = None if said.result is None else await self._opening.opened(entry.asset, said.result)
        return Recorded(
            asset=entry.asset,
            company=entry.company,
            address=said.address,
            owner=said.owner,
            deployed=said.deployed,
            claim=said.claim,
            opened=await self._opening.opened(entry.asset, said.claim),
            result=said.result,
            result_opened=result,
            result_receipt=said.recorded,
            revoked=said.revoked,
            contract=said,
        )

    async def _anchored(self, leaf: Leaf) -> Recorded:
        said, proof = await self.proof(leaf)
        return Recorded(
            asset=leaf.asset,
            company=leaf.company,
            address=said.receipt.contract,
            owner=said.owner,
            deployed=said.receipt,
            claim=leaf.claim,
            opened=await self._opening.opened(leaf.asset, leaf.claim),
            revoked=await self._revoked(leaf.asset),
            proof=proof,
        )

    async def _revoked(self, asset: str) -> str | None:
        leaf = await self._book.read(partial(index.leaf, asset=asset, what="revoked"))
        if leaf is None or leaf.batch is None:
            return None
        try:
            await self.proof(leaf)
        except UnknownContract:  # not final yet
            return None
        return str(parsed(asset, leaf.claim).get("reason", ""))

    async def proof(self, leaf: Leaf) -> tuple[Anchored, Proof]:
        """That a leaf is in the batch that the ledger has. Raises UnknownContract (not final), Tampered."""
        batch = await self._book.read(partial(index.batch, id=leaf.batch or 0))
        if batch is None or not batch.anchored:
            raise UnknownContract(address=leaf.asset)
        hashed = [merkle.leaf(one.claim) for one in await self._book.read(partial(index.members, id=batch.id))]
        try:
            said = await self._ledger.anchored(batch.anchored)
            path = merkle.path(hashed, leaf.place or 0)
            merkle.check(merkle.leaf(leaf.claim), leaf.place or 0, said.count, path, said.root)
        except (UnknownContract, CorruptState, BadInput) as error:
            raise Tampered(
                detail=f"the claim of {leaf.asset} is not in the batch that was anchored: {error}"
            ) from error
        if said.owner != await self._ledger.account(leaf.company) or said.receipt.contract != batch.address:
            raise Tampered(detail=f"the batch of {leaf.asset} was anchored by another account, or elsewhere")
        if (said.root, said.count, leaf.company) != (batch.root, batch.count, batch.company):
            raise Tampered(detail=f"the index has another batch of {leaf.asset} than the ledger")
        return said, Proof(leaf.place or 0, said.count, path, said.root)


def _others(entry: Entry, said: Contract, owner: str) -> list[str]:
    """What the index says otherwise than the chain. Of what is not known to be final here the chain may be ahead."""
    recorded = said.recorded.transaction if said.recorded else ""
    found = {
        "kind": entry.kind == said.kind,
        "owner": owner == said.owner,
        "claim": entry.claim == said.claim,
        "transaction": entry.deployed == said.deployed.transaction,
        "result": entry.result == said.result or (said.result is None and not entry.recorded),
        "transaction of the result": entry.recorded in {"", recorded},
        "revocation": entry.reason == said.revoked or (said.revoked is None and not entry.revoked),
    }
    return [name for name, holds in found.items() if not holds]
