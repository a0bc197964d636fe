"""Rows of the verification tables, as functions of a connection: short transactions, run by a `Book`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, RowMapping, insert, select, update

from headrace.errors import CorruptState
from headrace.services.verification.sealing import Sealed
from headrace.services.verification.tables import batches, chains, contracts, leaves, sealed
from headrace.trust.ledgers import Status

What: TypeAlias = Literal["claim", "revoked"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contract, as the index knows it."""

    asset: str
    company: str
    kind: Literal["dataset", "model"]
    claim: bytes
    address: str = ""
    deployed: str = ""
    result: bytes | None = None
    recorded: str = ""
    reason: str | None = None
    revoked: str = ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One of many claims that are anchored together."""

    asset: str
    what: What
    company: str
    claim: bytes
    batch: int | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Leaves with one root."""

    id: int
    company: str
    root: bytes
    count: int
    address: str = ""
    anchored: str = ""


# -- contracts


def entry(connection: Connection, asset: str) -> Entry | None:
    """The contract of an asset."""
    row = connection.execute(select(contracts).where(contracts.c.asset == asset)).mappings().first()
    return None if row is None else Entry(**row)


def at(connection: Connection, address: str) -> Entry | None:
    """The contract of an address."""
    row = connection.execute(select(contracts).where(contracts.c.address == address)).mappings().first()
    return None if row is None else Entry(**row)


def company_of(connection: Connection, asset: str) -> str:
    """Whose asset it is that something was recorded of; "": nothing was."""
    found = entry(connection, asset) or leaf(connection, asset, "claim")
    return found.company if found else ""


def claimed(connection: Connection, made: Entry, secret: Sealed | None) -> Entry:
    """Note what is going to be deployed; what was noted first stays, and is returned."""
    if there := entry(connection, made.asset):
        return there
    values = {name: getattr(made, name) for name in ("asset", "company", "kind", "claim", "address", "deployed")}
    connection.execute(insert(contracts).values(values))
    keep(connection, secret)
    return made


def change(connection: Connection, asset: str, secret: Sealed | None = None, **values: Any) -> Entry:
    """Note what is going to be, or was, recorded of a contract."""
    connection.execute(update(contracts).where(contracts.c.asset == asset).values(values))
    keep(connection, secret)
    found = entry(connection, asset)
    assert found is not None
    return found


# -- what is sealed


def keep(connection: Connection, made: Sealed | None) -> None:
    """Keep a sealed text."""
    if made is not None:
        values = {name: getattr(made, name) for name in ("digest", "asset", "company", "ciphertext", "wrapped")}
        connection.execute(insert(sealed).values(values))


def secret(connection: Connection, digest: str) -> Sealed | None:
    """A sealed text by its digest."""
    row = connection.execute(select(sealed).where(sealed.c.digest == digest)).mappings().first()
    return None if row is None else Sealed(**row)


# -- batches


def leaf(connection: Connection, asset: str, what: What) -> Leaf | None:
    """What is anchored of an asset in a batch."""
    query = select(leaves).where(leaves.c.asset == asset, leaves.c.what == what)
    row = connection.execute(query).mappings().first()
    return None if row is None else Leaf(**row)


def add(connection: Connection, made: Leaf, secret: Sealed | None) -> Leaf:
    """Note what is going to be anchored; what was noted first stays, and is returned."""
    if there := leaf(connection, made.asset, made.what):
        return there
    values = {name: getattr(made, name) for name in ("asset", "what", "company", "claim")}
    connection.execute(insert(leaves).values(values))
    keep(connection, secret)
    return made


def waiting(connection: Connection, company: str, most: int) -> list[Leaf]:
    """A company's leaves that are in no batch yet."""
    open_ = leaves.c.company == company, leaves.c.batch.is_(None)
    query = select(leaves).where(*open_).order_by(leaves.c.asset, leaves.c.what).limit(most)
    return [Leaf(**row) for row in connection.execute(query).mappings()]


def close(connection: Connection, company: str, taken: Sequence[Leaf], root: bytes) -> Batch:
    """These leaves, in this order, are a batch from now on."""
    made = connection.execute(insert(batches).values(company=company, root=root, count=len(taken)))
    assert made.inserted_primary_key is not None
    number = int(made.inserted_primary_key[0])
    for place, one in enumerate(taken):
        this = leaves.c.asset == one.asset, leaves.c.what == one.what
        connection.execute(update(leaves).where(*this).values(batch=number, place=place))
    return Batch(number, company, root, len(taken))


def batch(connection: Connection, id: int) -> Batch | None:
    """One batch."""
    row = connection.execute(select(batches).where(batches.c.id == id)).mappings().first()
    return None if row is None else Batch(**row)


def members(connection: Connection, id: int) -> list[Leaf]:
    """The leaves of a batch in order."""
    query = select(leaves).where(leaves.c.batch == id).order_by(leaves.c.place)
    return [Leaf(**row) for row in connection.execute(query).mappings()]


def anchored(connection: Connection, id: int, address: str, transaction: str) -> None:
    """A batch is final."""
    connection.execute(update(batches).where(batches.c.id == id).values(address=address, anchored=transaction))


# -- the chain


def known_chain(connection: Connection) -> str:
    """Genesis of the chain everything was recorded in; "": nothing was yet."""
    return str(connection.execute(select(chains.c.genesis)).scalar() or "")


def same_chain(connection: Connection, status: Status) -> None:
    """That this is the chain everything was recorded in; the first one is. Raises CorruptState."""
    row: RowMapping | None = connection.execute(select(chains)).mappings().first()
    if row is None:
        connection.execute(insert(chains).values(chain=status.chain, genesis=status.genesis))
    elif (row["chain"], row["genesis"]) != (status.chain, status.genesis):
        raise CorruptState(
            detail=f"the ledger is another chain (genesis {status.genesis}) than the one that all was recorded in "
            f"({row['genesis']}): put that one's data back"
        )
