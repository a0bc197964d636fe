"""Reading a recorded text: plain JSON, or the digest of a sealed one that is kept here."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from headrace.claims import SEALED
from headrace.errors import Tampered
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.sealing import Sealed, Sealing


def parsed(asset: str, text: bytes) -> dict[str, Any]:
    """A text of an asset as JSON. Raises Tampered: it is none, or says it is of another."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise Tampered(detail=f"what is recorded of {asset} is no JSON") from error
    if not isinstance(said, dict) or said.get("id", asset) != asset:
        raise Tampered(detail=f"what is recorded of {asset} is of another asset")
    return said


class Opening:
    """Opens texts.

    Args:
        sealing: has the companies' keys.
    """

    def __init__(self, book: Book, sealing: Sealing) -> None:
        self._book, self._sealing = book, sealing

    async def secret(self, asset: str, said: dict[str, Any]) -> Sealed | None:
        """What a sealed claim seals; None: it is none. Raises Tampered: it is not here."""
        if said.get("schema") != SEALED:
            return None
        found = await self._book.read(partial(index.secret, digest=str(said.get("sealed"))))
        if found is None or found.asset != asset:
            raise Tampered(detail=f"the sealed claim of {asset} is not here any more: only its digest is left")
        return found

    async def opened(self, asset: str, text: bytes) -> dict[str, Any]:
        """What a text says in full. Raises Tampered."""
        said = parsed(asset, text)
        sealed = await self.secret(asset, said)
        if sealed is None:
            return said
        return parsed(asset, await asyncio.to_thread(self._sealing.open, sealed))
