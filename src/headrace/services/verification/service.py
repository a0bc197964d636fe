"""The verification service: has claims recorded, reads them again, compares them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from headrace.access import Principal
from headrace.assets import Dataset, Model
from headrace.claims import Check, Level, Report
from headrace.errors import HeadraceError, NotFound, UnknownContract, Unsupported
from headrace.services.sharing import Store
from headrace.services.sharing.book import Book
from headrace.services.verification import Rederiver, Retrainer, Retranslator, boms, cards, index, telling
from headrace.services.verification.about import about
from headrace.services.verification.batches import Batches
from headrace.services.verification.bundling import Bundling
from headrace.services.verification.declaring import Declaring
from headrace.services.verification.ladder import Ladder
from headrace.services.verification.opening import Opening
from headrace.services.verification.reading import Reading
from headrace.services.verification.recording import Recording
from headrace.services.verification.records import Keys, LedgerStatus, Said
from headrace.services.verification.running import Verifications
from headrace.services.verification.sealing import Sealing
from headrace.services.verification.signing import signer
from headrace.settings import VerificationSettings
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Ledger


class VerificationService:
    """See `Verification`. Enter it in a running event loop, after its ledger.

    Args:
        engine: of ``open_database(url, "headrace.services.verification")``.
        sharing: the hub, which says who may know of what; asked for when it is needed, because the two need each other.
        keyring: the companies' secrets.
        scratch: folder for bundles while they are sent; None: the system's.
        retrainer: gives who runs recipes again, for L2; None: nobody does here.
        rederiver: gives who replays logs, likewise; `retranslator`: who translates again.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        sharing: Callable[[], Store],
        keyring: Keyring,
        settings: VerificationSettings | None = None,
        scratch: Path | None = None,
        retrainer: Callable[[], Retrainer | None] = lambda: None,
        rederiver: Callable[[], Rederiver | None] = lambda: None,
        retranslator: Callable[[], Retranslator | None] = lambda: None,
    ) -> None:
        settings = settings or VerificationSettings()
        self.ledger, self.keyring = ledger, keyring
        self.sealing = Sealing(keyring)
        self._book, self._sharing = Book(engine), sharing
        self.opening = Opening(self._book, self.sealing)
        self._batches = Batches(self._book, ledger, settings)
        self._recording = Recording(self._book, ledger, self.sealing, self._batches, settings, keyring)
        self.declaring = Declaring(self._book, ledger, self._recording.same_chain)
        self.reading = Reading(self._book, ledger, self.opening)
        self.bundles = Bundling(self._book, ledger, self.sealing, self.reading, keyring, sharing, scratch)
        makers = (retrainer, rederiver, retranslator)
        self._ladder = Ladder(ledger, self.reading, self.bundles, keyring, sharing, makers)
        self.verifications = Verifications(self.verify, self._may_verify)

    async def __aenter__(self) -> VerificationService:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.verifications.close()
        await self._batches.close()
        await self._book.close()

    # -- Notary

    async def record(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> str:
        """See `Notary.record`. What a claim says of inputs is what the ledger says of them. Raises Tampered besides."""
        await self._recording.same_chain()
        if inputs and not asset.contract and await self._book.read(partial(index.entry, asset=asset.id)) is None:
            for one in inputs:
                with contextlib.suppress(UnknownContract):
                    await self.reading.compared(one)
        return await self._recording.record(asset, inputs)

    async def revoke(self, asset: Dataset | Model, reason: str) -> None:
        """See `Notary.revoke`."""
        await self._recording.revoke(asset, reason)

    async def recorded(self, asset: Dataset | Model) -> str:
        """See `Notary.recorded`."""
        found = (await self.reading.compared(asset)).digest
        if found is None:
            raise UnknownContract(address=asset.id)
        return found

    # -- people

    async def contract(self, who: Principal, address: str) -> dict[str, Any]:
        """See `Verification.contract`."""
        entry = await self._book.read(partial(index.at, address=address))
        if entry is None:
            who.require("read")
            raise UnknownContract(address=address)
        try:
            return (await self._said(who, entry.asset)).model_dump()
        except NotFound as error:
            raise UnknownContract(address=address) from error

    async def contracts(self, who: Principal, asset: str) -> list[Said]:
        """What is recorded of an asset; nothing: it is not (yet). Raises NotFound."""
        try:
            return [await self._said(who, asset)]
        except UnknownContract:
            return []

    async def status(self, who: Principal) -> LedgerStatus:
        """Which ledger this is. Raises Temporary."""
        who.require("read")
        known = await self._book.read(index.known_chain)
        account = await self.ledger.account(who.company)
        return telling.status(await self.ledger.status(), who.company, account, known)

    async def doubts(self) -> str:
        """What whoever starts it should know of its ledger; "": nothing, or nothing was recorded yet."""
        known = await self._book.read(index.known_chain)
        if not known:
            return ""
        try:
            return telling.doubts(await self.ledger.status(), known)
        except Unsupported:
            return f"what was recorded before (genesis {known}) is compared with nothing, as long as there is no ledger"
        except HeadraceError as error:
            return f"the ledger does not answer: {error}"

    async def keys(self, who: Principal, company: str, asset: str = "") -> Keys:
        """What a company's records are signed with.

        Args:
            asset: id of something of theirs that he may know of; "": only his own company's are told.

        Raises NotFound, Temporary.
        """
        who.require("read")
        if company != who.company and (not asset or (await self._record(who, asset)).company != company):
            raise NotFound(
                detail=f"there is no company {company[:64]!r} that you may know of; name an asset of theirs, too (?asset=ID)"
            )
        status = await self.ledger.status()
        key = (await asyncio.to_thread(signer, self.keyring, company)).public
        return Keys(
            company=company,
            account=await self.ledger.account(company),
            operator=status.operator,
            signing_key=key.pem.decode(),
            signer=key.fingerprint,
        )

    @contextlib.asynccontextmanager
    async def bundle(self, who: Principal, id: str) -> AsyncIterator[Path]:
        """See `Verification.bundle`."""
        who.require("read")
        async with self.bundles.bundle(who, await self._record(who, id)) as path:
            yield path

    async def verify(self, who: Principal, id: str, level: Level = "L1") -> AsyncGenerator[Check | Report, None]:
        """See `Verification.verify`."""
        asset = await self._may_verify(who, id, level)
        async with aclosing(self._ladder.verify(who, asset, level)) as climb:
            async for one in climb:
                yield one

    async def _may_verify(self, who: Principal, id: str, level: Level) -> Dataset | Model:
        """What he wants to have verified. Raises what refuses it."""
        who.require("read")
        asset = await self._record(who, id)
        await self._ladder.may(who, asset, level)
        return asset

    async def card(self, who: Principal, id: str) -> str:
        """A model card in Markdown (`cards.card`). Raises NotFound."""
        return cards.card(await about(self._sharing(), self.ledger, self.reading, who, await self._record(who, id)))

    async def bom(self, who: Principal, id: str) -> dict[str, Any]:
        """A bill of materials, CycloneDX (`boms.bom`). Raises NotFound."""
        return boms.bom(await about(self._sharing(), self.ledger, self.reading, who, await self._record(who, id)))

    # -- inside

    async def _record(self, who: Principal, id: str) -> Dataset | Model:
        """A record as he may see it. Raises NotFound."""
        sharing = self._sharing()
        return await (sharing.dataset(who, id) if id.startswith("ds_") else sharing.model(who, id))

    async def _said(self, who: Principal, id: str) -> Said:
        """What the ledger says of an asset, as he may see it; of one that is gone from the hub its own company still sees what
        was recorded. Raises NotFound, Tampered, Temporary."""
        try:
            view = await self._record(who, id)
        except NotFound:
            who.require("read")
            if await self._book.read(partial(index.company_of, asset=id)) != who.company:
                raise
            return telling.said(await self.reading.recorded(id))
        return telling.said(await self.reading.known(view), view, who.company)
