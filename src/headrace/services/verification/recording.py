"""Has the ledger say what a record says. What is going to be submitted is on the disk before it is submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from headrace import claims
from headrace.assets import Dataset, Model
from headrace.errors import BadInput, Conflict
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.batches import Batches
from headrace.services.verification.index import Entry, Leaf
from headrace.services.verification.opening import Opening
from headrace.services.verification.rebuilding import rebuilt
from headrace.services.verification.sealing import Sealed, Sealing
from headrace.services.verification.signing import signer
from headrace.settings import VerificationSettings
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Deploy, Ledger, Record, Revoke


class Recording:
    """Deploys, records and revokes; all of it may be asked again and again."""

    def __init__(
        self,
        book: Book,
        ledger: Ledger,
        sealing: Sealing,
        batches: Batches,
        settings: VerificationSettings,
        keyring: Keyring,
    ) -> None:
        self._book, self._ledger, self._sealing, self._opening = book, ledger, sealing, Opening(book, sealing)
        self._batches, self._settings, self._keyring = batches, settings, keyring
        self._same_chain = False

    async def record(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> str:
        """See `Notary.record`."""
        await self.same_chain()
        if claims.kind_of(asset) == "snapshot":
            return await self._leaf(asset, inputs)
        entry = await self._deployed(await self._claimed(asset, inputs))
        if isinstance(asset, Model) and claims.has_result(asset):
            await self._recorded(entry, asset)
        return entry.address

    async def revoke(self, asset: Dataset | Model, reason: str) -> None:
        """See `Notary.revoke`. What was never asked to be recorded needs no revocation."""
        await self.same_chain()
        if claims.kind_of(asset) == "snapshot":
            if await self._book.read(partial(index.leaf, asset=asset.id, what="claim")):
                text = claims.canonical(claims.revocation_claim(asset, reason))
                await self._batches.anchor(Leaf(asset.id, "revoked", asset.company, text))
            return
        entry = await self._there(asset)
        if entry is None or entry.revoked:
            return
        entry = await self._deployed(entry)  # killed before it was known to be final: it may be there
        if entry.reason is None:
            entry = await self._noted(entry.asset, reason=reason)
        receipt = await self._ledger.submit(entry.company, [Revoke(entry.address, entry.reason or "")])
        await self._noted(entry.asset, revoked=receipt[0].transaction)

    async def same_chain(self) -> None:
        """Once per process, before anything is submitted. Raises CorruptState, Temporary."""
        if not self._same_chain:
            status = await self._ledger.status()
            await self._book.write(lambda connection: index.same_chain(connection, status))
            self._same_chain = True

    async def _there(self, asset: Dataset | Model) -> Entry | None:
        """Its row; made again if it was lost and the record names its contract."""
        found = await self._book.read(partial(index.entry, asset=asset.id))
        return await rebuilt(self._book, self._ledger, asset) if found is None and asset.contract else found

    async def _claimed(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> Entry:
        if there := await self._there(asset):
            return there
        sealed = await self._book.read(partial(_sealed, ids=[one.id for one in inputs]))
        hidden = isinstance(asset, Model) and asset.translation is not None and asset.translation.of in sealed
        claim = await self._claim(asset, inputs, sealed)
        text, secret = await self._text(asset, claim, hidden or claims.is_secret(asset))
        kind = "dataset" if isinstance(asset, Dataset) else "model"
        made = Entry(asset.id, asset.company, kind, text)  # type: ignore[arg-type]
        return await self._book.write(lambda connection: index.claimed(connection, made, secret))

    async def _deployed(self, entry: Entry) -> Entry:
        if entry.address:
            return entry
        receipt = (await self._ledger.submit(entry.company, [Deploy(entry.kind, entry.claim)]))[0]
        return await self._noted(entry.asset, address=receipt.contract, deployed=receipt.transaction)

    async def _recorded(self, entry: Entry, model: Model) -> None:
        """The result, once. Raises Conflict: another one is there."""
        if entry.result is None:
            text, secret = await self._text(model, claims.result_claim(model), claims.is_secret(model, result=True))
            entry = await self._book.write(partial(_first, asset=model.id, text=text, secret=secret))
        assert entry.result is not None
        if await self._other(entry.result, model):
            raise Conflict(detail=f"another result of {model.id} is recorded already, and it is written once")
        if not entry.recorded:
            receipt = (await self._ledger.submit(entry.company, [Record(entry.address, entry.result)]))[0]
            await self._noted(model.id, recorded=receipt.transaction)

    async def _other(self, text: bytes, model: Model) -> bool:
        """Whether a noted result names other files than the record."""
        return (await self._opening.opened(model.id, text)).get("digest") != model.digest

    async def _leaf(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> str:
        leaf = await self._book.read(partial(index.leaf, asset=asset.id, what="claim"))
        secret = None
        if leaf is None:
            text, secret = await self._text(asset, await self._claim(asset, inputs), claims.is_secret(asset))
            leaf = Leaf(asset.id, "claim", asset.company, text)
        return (await self._batches.anchor(leaf, secret)).address

    async def _claim(
        self, asset: Dataset | Model, inputs: Sequence[Dataset | Model] = (), sealed: Collection[str] = ()
    ) -> dict[str, Any]:
        """Its claim, with the key that its company signs with."""
        key = await asyncio.to_thread(signer, self._keyring, asset.company)
        return claims.signed(claims.claim_of(asset, inputs, sealed), key.public.fingerprint)

    async def _text(self, asset: Dataset | Model, claim: dict[str, Any], secret: bool) -> tuple[bytes, Sealed | None]:
        """What is going to be on the ledger, and what is kept beside it. Raises BadInput."""
        try:
            if not secret:
                return claims.canonical(claims.shortened(claim, self._settings.claim_bytes)), None
            whole = claims.canonical(claim)
        except ValueError as error:
            raise BadInput(detail=f"what {asset.id} says of itself cannot be recorded: {error}") from error
        made = await asyncio.to_thread(self._sealing.seal, asset.company, asset.id, whole)
        said = claims.sealed_claim(asset, made.digest)
        return claims.canonical(claims.signed(said, claim["signer"]) if "signer" in claim else said), made

    async def _noted(self, asset: str, **values: Any) -> Entry:
        return await self._book.write(lambda connection: index.change(connection, asset, **values))


def _sealed(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of which something that is recorded is sealed; what was so once stays so, whoever may see it by now."""
    found = (index.entry(connection, id) for id in ids)
    texts = ((one.asset, text) for one in found if one is not None for text in (one.claim, one.result))
    return {id for id, text in texts if text is not None and claims.is_sealed(text)}


def _first(connection: Connection, asset: str, text: bytes, secret: Sealed | None) -> Entry:
    """Note a result, unless another was noted meanwhile: then that one is returned."""
    there = index.entry(connection, asset)
    assert there is not None
    return there if there.result is not None else index.change(connection, asset, secret, result=text)
