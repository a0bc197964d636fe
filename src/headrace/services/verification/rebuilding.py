"""The index of what is recorded can be lost: a record names its contract, and the chain says the rest."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from headrace.assets import Dataset, Model
from headrace.errors import Tampered, UnknownContract
from headrace.services.sharing.book import Book
from headrace.services.verification import index
from headrace.services.verification.index import Entry
from headrace.services.verification.opening import parsed
from headrace.services.verification.tables import contracts
from headrace.trust.ledgers import Ledger


async def rebuilt(book: Book, ledger: Ledger, asset: Dataset | Model) -> Entry:
    """The row of an asset's contract, made again of what the chain says at the address its record names.

    Raises Tampered: there is no contract of this asset by its company's account; Temporary. Of what was sealed only the digest is
    left on the chain: to open it, the table `sealed` has to be there.
    """
    try:
        said = await ledger.read(asset.contract)
    except UnknownContract as error:
        raise Tampered(
            detail=f"the record of {asset.id} names {asset.contract}, and the ledger has no such contract"
        ) from error
    claim = parsed(asset.id, said.claim)
    if claim.get("id") != asset.id or said.owner != await ledger.account(asset.company):
        raise Tampered(
            detail=f"the record of {asset.id} names {asset.contract}, which is the contract of something else"
        )
    made = Entry(
        asset=asset.id,
        company=asset.company,
        kind=said.kind,
        claim=said.claim,
        address=said.address,
        deployed=said.deployed.transaction,
        result=said.result,
        recorded=said.recorded.transaction if said.recorded else "",
        reason=said.revoked,
    )

    def write(connection: Connection) -> Entry:
        if there := index.entry(connection, asset.id):
            return there
        connection.execute(insert(contracts).values({name: getattr(made, name) for name in made.__slots__}))
        return made

    return await book.write(write)
