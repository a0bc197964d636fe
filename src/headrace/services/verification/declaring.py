"""Contracts of what somebody only says: terms that were registered before any content came, or without one.

Such a claim says that these words were recorded, and no more; its schema says so, too. What comes later gets a
contract of its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection

from headrace import claims
from headrace.access import Principal
from headrace.assets import new_id
from headrace.errors import BadInput, FixedLimit
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.index import Entry
from headrace.trust.ledgers import Deploy, Ledger

SCHEMA = "headrace/declared/1"
LONGEST = 64 * 1024
"""Bytes of a declaration."""
Kind: TypeAlias = Literal["dataset", "model", "model_unverified"]


@dataclass(frozen=True, slots=True)
class Declared:
    """What was declared of an asset that is not there yet."""

    kind: Kind
    terms: dict[str, Any]
    address: str
    """Of its contract; "": not known to be final."""
    came: bool
    """Whether something is recorded of its content: that came, though it may have been deleted since."""


class Declaring:
    """Deploys and reads declarations.

    Args:
        same_chain: raises unless the ledger is the one that all was recorded in.
    """

    def __init__(self, book: Book, ledger: Ledger, same_chain: Callable[[], Awaitable[None]]) -> None:
        self._book, self._ledger, self._same_chain = book, ledger, same_chain

    async def note(self, who: Principal, kind: Kind, terms: Mapping[str, Any], of: str = "") -> str:
        """Write a declaration down, to be deployed; its id.

        Args:
            of: id its content will have; "": it announces none.

        Raises Forbidden, BadInput, TooLarge.
        """
        who.require("write")
        id = _id(of) if of else new_id("dc")
        said = {"schema": SCHEMA, "id": id, "of": of, "company": who.company, "kind": kind, "declared": dict(terms)}
        try:
            text = claims.canonical(said)
        except ValueError as error:
            raise BadInput(detail=f"this cannot be recorded: {error}") from error
        if len(text) > LONGEST:
            raise FixedLimit(what="the contract", size=len(text), limit=LONGEST)
        made = Entry(id, who.company, "dataset" if kind == "dataset" else "model", text)
        await self._book.write(lambda connection: index.claimed(connection, made, None))
        return id

    async def deploy(self, who: Principal, id: str) -> str:
        """Have it recorded; the address of its contract. Idempotent. Raises Temporary, Unsupported (there is no ledger)."""
        who.require("write")
        entry = await self._book.read(lambda connection: index.entry(connection, id))
        assert entry is not None and entry.company == who.company
        if entry.address:
            return entry.address
        await self._same_chain()
        receipt = (await self._ledger.submit(entry.company, [Deploy(entry.kind, entry.claim)]))[0]

        def write(connection: Connection) -> Entry:
            return index.change(connection, id, address=receipt.contract, deployed=receipt.transaction)

        return (await self._book.write(write)).address

    async def of(self, who: Principal, asset: str) -> Declared | None:
        """What his company declared of an asset; None: nothing."""

        def read(connection: Connection) -> tuple[Entry | None, bool]:
            return index.entry(connection, _id(asset)), index.entry(connection, asset) is not None

        who.require("read")
        entry, came = await self._book.read(read)
        if entry is None or entry.company != who.company:
            return None
        said = json.loads(entry.claim)
        return Declared(said["kind"], said["declared"], entry.address, came)


def _id(asset: str) -> str:
    """Of an asset's declaration.

    >>> _id("ds_00ff")
    'dc_00ff'
    """
    return f"dc_{asset[3:]}"
