"""What the doors say of what is recorded, to whom: no more of a held or confidential asset than its record shows him."""

from __future__ import annotations

import json

from headrace.assets import Dataset, Model
from headrace.claims import digest
from headrace.errors import UnknownContract
from headrace.merkle import named
from headrace.services.verification.reading import Recorded
from headrace.services.verification.records import Inclusion, LedgerStatus, Place, Said
from headrace.trust.ledgers import Receipt, Status

SINGLE = "a single-operator chain: whoever runs this platform alone keeps it, and could write another one"
SHARED = "a chain that several operators keep"


def said(found: Recorded, view: Dataset | Model | None = None, company: str = "") -> Said:
    """What is recorded of an asset.

    Args:
        view: its record as he may see it; None: it is gone, and only the chain's own words are left.
        company: whose he is.

    Raises UnknownContract: he may know that it exists, and nothing of what it is.
    """
    open_ = view is not None
    if isinstance(view, Model) and found.digest and not view.digest:  # held: its record shows him no content
        open_ = False
        if view.company != company:
            raise UnknownContract(address=found.address)
    sealed = open_ and json.loads(found.claim) != found.opened
    sealed_result = open_ and found.result is not None and json.loads(found.result) != found.result_opened
    return Said(
        asset=found.asset,
        company=found.company,
        address=found.address,
        kind="batch" if found.contract is None else found.contract.kind,
        owner=found.owner,
        claim=json.loads(found.claim),
        claim_digest=digest(found.claim),
        opened=found.opened if sealed else None,
        result=None if found.result is None else json.loads(found.result),
        result_digest="" if found.result is None else digest(found.result),
        result_opened=found.result_opened if sealed_result else None,
        revoked=found.revoked,
        deployed=_place(found.deployed),
        recorded=None if found.result_receipt is None else _place(found.result_receipt),
        inclusion=_inclusion(found),
    )


def doubts(found: Status, known: str) -> str:
    """What is wrong with a ledger; "": nothing that is seen at a glance.

    Args:
        known: genesis of the chain everything was recorded in; "": nothing was yet.
    """
    if known and known != found.genesis:
        return (
            f"this is another chain (genesis {found.genesis}) than the one that all was recorded in ({known}): nothing is "
            "recorded or verified until that one's data are put back"
        )
    return f"the ledger is damaged: {found.broken}" if found.broken else ""


def status(found: Status, company: str, account: str, known: str = "") -> LedgerStatus:
    """The ledger at a glance."""
    return LedgerStatus(
        kind=found.kind,
        chain=found.chain,
        genesis=found.genesis,
        height=found.height,
        single=found.single,
        operator=found.operator,
        says=SINGLE if found.single else SHARED,
        company=company,
        account=account,
        warning=doubts(found, known),
    )


def _place(receipt: Receipt) -> Place:
    return Place(
        transaction=receipt.transaction,
        contract=receipt.contract,
        block=receipt.block,
        block_hash=receipt.block_hash,
    )


def _inclusion(found: Recorded) -> Inclusion | None:
    if (proof := found.proof) is None:
        return None
    path = [named(one) for one in proof.path]
    return Inclusion(place=proof.place, count=proof.count, path=path, root=named(proof.root))
