"""Makes bundles of what is recorded: evidence from the ledger, sealed claims opened, files from the hub, all signed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from headrace.access import Principal
from headrace.assets import Dataset, Model, OutputFile
from headrace.errors import Conflict
from headrace.services.sharing import Store
from headrace.services.sharing.book import Book, to_its_end
from headrace.services.turns import Turns
from headrace.services.verification import index
from headrace.services.verification.bundles import sources, write
from headrace.services.verification.copies import Copies
from headrace.services.verification.index import Entry, Leaf
from headrace.services.verification.opening import Opening, parsed
from headrace.services.verification.reading import Reading
from headrace.services.verification.sayings import Inclusion, Name, Saying, reason_text
from headrace.services.verification.sayings import Opening as Key
from headrace.services.verification.sealing import Sealing
from headrace.services.verification.signing import signer
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Ledger

AT_ONCE = 2
"""Bundles that are made at one time: each reads and writes all of an artifact."""
PLACES = 4
"""Bundles of one company that wait, are made or are being read."""


class Bundling:
    """Makes them.

    Args:
        scratch: folder for files that are being sent; None: the system's.
    """

    def __init__(
        self,
        book: Book,
        ledger: Ledger,
        sealing: Sealing,
        reading: Reading,
        keyring: Keyring,
        sharing: Callable[[], Store],
        scratch: Path | None = None,
    ) -> None:
        self._book, self._ledger, self._sealing, self._reading = book, ledger, sealing, reading
        self._opening, self._keyring, self._sharing = Opening(book, sealing), keyring, sharing
        self._copies = Copies(scratch)
        self._turns = Turns(AT_ONCE, PLACES, "bundles")

    @contextlib.asynccontextmanager
    async def bundle(self, who: Principal, asset: Dataset | Model) -> AsyncIterator[Path]:
        """See `Verification.bundle`. Raises TooMany and StorageUnavailable besides."""
        with self._turns.place(who.company):
            files = _files(asset)
            sayings = await self.sayings(asset) if files and asset.deleted_ms is None else {}
            if "claim" not in sayings:
                raise Conflict(detail=_why_not(asset, files))
            what = (
                asset.id,
                *((one.path, one.stored.sha256) for one in files),
                *((n, s.text) for n, s in sayings.items()),
            )
            size, name = sum(one.stored.size for one in files), f"{asset.id}.bundle"
            make, share = partial(self._write, who, asset, sayings), partial(self._share, who, asset.id)
            async with self._copies.copy(who.company, what, name, size, make, share) as target:
                yield target

    async def _write(self, who: Principal, asset: Dataset | Model, sayings: dict[Name, Saying], target: Path) -> None:
        key = await asyncio.to_thread(signer, self._keyring, asset.company)
        async with (
            self._turns.turn(who.company),  # not while it is read: readers may be slow
            self._sharing().content(who, asset.id, "read") as content,
        ):
            await to_its_end(asyncio.to_thread(write, target, sayings, sources(_files(asset), content), key))

    async def _share(self, who: Principal, id: str) -> None:
        """He gets what was made for somebody else: asked and written down as if it was made for him."""
        await self._sharing().files(who, id, "read")

    async def still(self, who: Principal, id: str) -> None:
        """Whether he may have the rest of it. Raises NotFound, Forbidden."""
        await self._sharing().check(who, id, "read")

    async def sayings(self, asset: Dataset | Model) -> dict[Name, Saying]:
        """What is final of it on the ledger. Raises Conflict: not all that is needed."""
        entry = await self._book.read(partial(index.entry, asset=asset.id))
        if entry is not None:
            if entry.deployed and not entry.recorded and _needs_result(asset):
                raise Conflict(detail=f"the result of {asset.id} is not recorded yet: it waits for the ledger")
            return await self._contract(entry)
        found: dict[Name, Saying] = {}
        names: tuple[tuple[Name, index.What], ...] = (("claim", "claim"), ("revocation", "revoked"))
        for name, what in names:
            leaf = await self._book.read(partial(index.leaf, asset=asset.id, what=what))
            if leaf is not None and (saying := await self._leaf(leaf)):
                found[name] = saying
        return found

    async def _contract(self, entry: Entry) -> dict[Name, Saying]:
        found: dict[Name, Saying] = {}
        if entry.deployed:
            found["claim"] = await self._said(entry.asset, entry.claim, entry.deployed)
        if entry.recorded and entry.result is not None:
            found["result"] = await self._said(entry.asset, entry.result, entry.recorded)
        if entry.revoked:
            evidence = await self._ledger.evidence(entry.revoked)
            found["revocation"] = Saying(reason_text(entry.reason or ""), evidence)
        return found

    async def _leaf(self, leaf: Leaf) -> Saying | None:
        """None: its batch is not final."""
        batch = await self._book.read(partial(index.batch, id=leaf.batch or 0))
        if batch is None or not batch.anchored:
            return None
        _, proof = await self._reading.proof(leaf)
        inclusion = Inclusion(proof.place, proof.count, proof.path)
        return await self._said(leaf.asset, leaf.claim, batch.anchored, inclusion)

    async def _said(self, asset: str, text: bytes, transaction: str, inclusion: Inclusion | None = None) -> Saying:
        evidence = await self._ledger.evidence(transaction)
        sealed = await self._opening.secret(asset, parsed(asset, text))
        if sealed is None:
            return Saying(text, evidence, inclusion)
        key = await asyncio.to_thread(self._sealing.key, sealed)
        opened = await asyncio.to_thread(self._sealing.open, sealed)
        return Saying(opened, evidence, inclusion, Key(text, sealed.ciphertext, key))


def _needs_result(asset: Dataset | Model) -> bool:
    """Its claim alone does not say which files it has."""
    return isinstance(asset, Model) and asset.recipe is not None


def _files(asset: Dataset | Model) -> list[OutputFile]:
    if isinstance(asset, Dataset):
        return [OutputFile(path=asset.filename, stored=asset.stored)]
    return list(asset.files)


def _why_not(asset: Dataset | Model, files: list[OutputFile]) -> str:
    if asset.deleted_ms is not None:
        return f"{asset.id} was deleted: only its record is left"
    if not files:
        return f"{asset.id} has no files (yet) that you may have"
    note = f" ({asset.anchoring}{': ' + asset.anchoring_note if asset.anchoring_note else ''})"
    return f"{asset.id} is not recorded on the ledger{note}: there is nothing to bundle it with"
