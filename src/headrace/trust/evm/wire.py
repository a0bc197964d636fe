"""What the platform and the ledger's process say to each other: a length (4 bytes, big-endian), then MessagePack."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace import errors
from headrace.errors import HeadraceError
from headrace.trust.ledgers import Act, Anchor, Anchored, Contract, Deploy, Receipt, Record, Revoke, Status

LENGTH = 4
ACTS: dict[str, type[Act]] = {kind.__name__: kind for kind in (Deploy, Record, Revoke, Anchor)}
ANSWERS: dict[str, Any] = {
    "account": str,
    "submit": list[Receipt],
    "read": Contract,
    "anchored": Anchored,
    "evidence": dict[str, Any],
    "status": Status,
}
"""Verb -> what is answered."""


class Request(msgspec.Struct, array_like=True):
    """One question."""

    id: int
    verb: str
    text: str = ""
    """Company, address or transaction."""
    acts: list[tuple[str, Any]] = []

    def understood(self) -> list[Act]:
        """The acts."""
        return [msgspec.convert(fields, ACTS[name]) for name, fields in self.acts]


class Answer(msgspec.Struct, array_like=True):
    """And its answer."""

    id: int
    value: Any = None
    error: str = ""
    """Class of the error; "": there is none."""
    fields: dict[str, Any] = {}

    def failure(self) -> HeadraceError:
        """The error as it was raised."""
        kind: type[HeadraceError] = getattr(errors, self.error)
        return kind(**self.fields)


def named(acts: tuple[Act, ...]) -> list[tuple[str, Any]]:
    """Acts with their names."""
    return [(type(act).__name__, act) for act in acts]


def framed(message: Request | Answer) -> bytes:
    """As it goes through the pipe."""
    body = msgspec.msgpack.encode(message, enc_hook=str)
    return len(body).to_bytes(LENGTH, "big") + body
