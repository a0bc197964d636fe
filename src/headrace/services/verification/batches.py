"""High-rate claims, anchored many at a time: a batch closes when it is full or old enough, and its Merkle root is one act.

A leaf is on the disk before it is in a batch, and a batch before its root is submitted: after a crash the same root is
submitted again, which the ledger answers with its first receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from headrace import merkle
from headrace.errors import Temporary
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.index import Batch, Leaf
from headrace.services.verification.sealing import Sealed
from headrace.settings import VerificationSettings
from headrace.trust.ledgers import Anchor, Ledger


@dataclass
class _Open:
    task: asyncio.Task[None]
    full: asyncio.Event
    count: int = 0


class Batches:
    """Collects leaves of each company. Close it when no caller is left."""

    def __init__(self, book: Book, ledger: Ledger, settings: VerificationSettings) -> None:
        self._book, self._ledger, self._settings = book, ledger, settings
        self._open: dict[str, _Open] = {}
        self._submitting: dict[int, asyncio.Task[Batch]] = {}

    async def close(self) -> None:
        """End what is under way; what is not final goes on when it is asked for again."""
        tasks = [*(one.task for one in self._open.values()), *self._submitting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def anchor(self, leaf: Leaf, secret: Sealed | None = None) -> Batch:
        """Have a claim anchored; returns the batch it is in once that is final. Raises Temporary."""
        known = await self._book.write(lambda connection: index.add(connection, leaf, secret))
        if known.batch is None:
            await asyncio.shield(self._closed(known.company))
            again = await self._book.read(partial(index.leaf, asset=leaf.asset, what=leaf.what))
            if again is None or again.batch is None:
                raise Temporary(detail=f"the batch of {leaf.asset} is not closed yet")
            known = again
        found = await self._book.read(partial(index.batch, id=known.batch or 0))
        assert found is not None
        return found if found.anchored else await asyncio.shield(self._submitted(found))

    def _closed(self, company: str) -> asyncio.Task[None]:
        """The batch of a company that is open now, until it is closed. One leaf more is in it."""
        open_ = self._open.get(company)
        if open_ is None:
            full = asyncio.Event()
            task = asyncio.create_task(self._close(company, full), name="batch")
            task.add_done_callback(_seen)
            open_ = self._open[company] = _Open(task, full)
        open_.count += 1
        if open_.count >= self._settings.batch_leaves:
            open_.full.set()
        return open_.task

    async def _close(self, company: str, full: asyncio.Event) -> None:
        """Wait until it is full or old enough, then take what is there."""
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(full.wait(), self._settings.batch_seconds)
        finally:
            self._open.pop(company, None)  # who comes from now on waits for the next one
        await self._book.write(partial(_take, company=company, most=self._settings.batch_leaves))

    def _submitted(self, batch: Batch) -> asyncio.Task[Batch]:
        """One submission per batch, however many wait for it."""
        task = self._submitting.get(batch.id)
        if task is None:
            task = self._submitting[batch.id] = asyncio.create_task(self._submit(batch), name="anchor")
            task.add_done_callback(lambda _: self._submitting.pop(batch.id, None))
            task.add_done_callback(_seen)
        return task

    async def _submit(self, batch: Batch) -> Batch:
        known = await self._book.read(partial(index.batch, id=batch.id))
        if known is not None and known.anchored:  # an earlier one ended since somebody looked
            return known
        receipt = (await self._ledger.submit(batch.company, [Anchor(batch.root, batch.count)]))[0]
        final = replace(batch, address=receipt.contract, anchored=receipt.transaction)
        await self._book.write(partial(index.anchored, id=batch.id, address=final.address, transaction=final.anchored))
        return final


def _take(connection: Connection, company: str, most: int) -> None:
    while taken := index.waiting(connection, company, most):
        index.close(connection, company, taken, merkle.root(merkle.leaf(one.claim) for one in taken))


def _seen(task: asyncio.Task[Any]) -> None:
    """Whoever waits for it hears of its error; if nobody does, the next one who asks."""
    if not task.cancelled():
        task.exception()
