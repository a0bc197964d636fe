"""Evidence that a transaction is in a chain, for somebody who has neither the chain nor a network.

Everything is worked out again from the signed transaction: who sent it, which contract it made or called, what it says; its
place in the log, by Merkle paths for it and for the entry before it; and the operator's signature over the log's head. What
evidence cannot show: that nothing came later (a revocation), and that its operator wrote no other chain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import FailFast, Field, ValidationError
from pydantic_core import from_json

from headrace import merkle
from headrace.errors import CorruptState, Tampered
from headrace.trust import transactions
from headrace.trust.contracts import meaning
from headrace.trust.entries import Entry, Hash, Head, Hex, Strict, check_signature, fingerprint, genesis_hash
from headrace.trust.ledgers import Act, Deploy, Record, Revoke

Audit: TypeAlias = Annotated[list[Hash], FailFast(), Field(max_length=64)]
"""A path in a tree of less than 2^64 leaves. What is wrong with one part is said, not with a million."""


class Evidence(Strict):
    """The document."""

    schema_name: Literal["headrace/evidence/1"] = Field(alias="schema")
    genesis: Hex
    """Header of the first block, which holds the fingerprint of the operator's key."""
    first: Entry
    """The first entry: the operator's account makes the contract of the anchors."""
    first_path: Audit
    entry: Entry
    path: Audit
    """From the entry up to the root."""
    before: Audit
    """The same from the entry before it; empty for the first."""
    head: Head
    operator: Hex
    """Public key, DER."""
    signature: Hex


@dataclass(frozen=True, slots=True)
class Facts:
    """What evidence shows."""

    transaction: str
    """Hash, 0x…"""
    sender: str
    """Address of the account that signed it."""
    contract: str
    """Address of the contract that it made or called."""
    act: Act
    block: int
    block_hash: str
    time: int
    """Of the block, in seconds since the epoch, by the operator's clock."""
    index: int
    """Of the entry in the log."""
    size: int
    """Entries of the log when its head was signed."""
    signed_ms: int
    chain: int
    genesis: str
    operator: str
    """Fingerprint of the key that signed the head."""
    known: bool
    """The operator or the genesis was pinned. False: an unknown signer, which is never to be called verified."""


def check(document: Mapping[str, Any] | str | bytes, pins: Collection[str] = ()) -> Facts:
    """What the evidence shows.

    Args:
        document: of `Ledger.evidence`, or its JSON.
        pins: fingerprints of operators (``sha256:…``) and hashes of genesis blocks (``0x…``) that are known to the caller
            from elsewhere.

    Raises:
        Tampered: any part of it does not follow from the rest; or nothing in it is pinned although something is.
        MissingExtra: the libraries for Ethereum's signatures are not installed.
    """
    try:
        found = _read(document)
        facts = _facts(found, pins)
    except ValidationError as error:
        raise Tampered(detail=f"this is no evidence: {_first(error)}") from error
    except (ValueError, CorruptState, RecursionError) as error:
        raise Tampered(detail=f"the evidence does not hold together: {error}") from error
    if pins and not facts.known:
        raise Tampered(detail=f"it is of another chain, of operator {facts.operator} and genesis {facts.genesis}")
    return facts


def follows(later: Facts, deployed: Facts) -> None:
    """That a result or a revocation is of a contract, and by the account that deployed it. That a contract takes one result
    alone is the operator's word here; whoever has the log can make the chain again.

    Raises Tampered: it is not.
    """
    if not isinstance(deployed.act, Deploy) or not isinstance(later.act, Record | Revoke):
        raise Tampered(detail="this is not a contract, and a result or a revocation of it")
    if (later.genesis, later.operator) != (deployed.genesis, deployed.operator) or later.index <= deployed.index:
        raise Tampered(detail="the contract and what was done to it are not of one chain, one after the other")
    if later.contract != deployed.contract or later.sender != deployed.sender:
        raise Tampered(
            detail=f"{later.transaction} is of another contract than {deployed.contract}, or by another account"
        )


_INNER: dict[str, type[Strict]] = {"first": Entry, "entry": Entry, "head": Head}


def _read(document: Mapping[str, Any] | str | bytes) -> Evidence:
    """Raises ValueError. Its own reader of JSON refuses what is nested deep; that of the standard library may crash."""
    told = from_json(document) if isinstance(document, str | bytes) else dict(document)
    if isinstance(told, dict):
        _few(told, Evidence)
        for name, form in _INNER.items():
            _few(told.get(name), form)
    return Evidence.model_validate(told)


def _few(told: object, form: type[Strict]) -> None:
    """Raises ValueError: more entries than it has, each of which would be told of."""
    if isinstance(told, dict) and len(told) > len(form.model_fields):
        raise ValueError(f"it has {len(told):,} entries where {len(form.model_fields)} are known")


def _facts(found: Evidence, pins: Collection[str]) -> Facts:
    public = bytes.fromhex(found.operator[2:])
    head, entry = found.head, found.entry
    check_signature(public, head, bytes.fromhex(found.signature[2:]))
    genesis = genesis_hash(bytes.fromhex(found.genesis[2:]), public)
    if head.genesis != genesis:
        raise ValueError(f"the operator signed for genesis block {head.genesis}, and the one in it is {genesis}")
    _in_tree(found, genesis)
    anchors = _anchors(found.first)
    transaction = transactions.decode(bytes.fromhex(entry.raw[2:]))
    _equal("the contract", entry.contract, transaction.contract)
    _equal("the chain", transaction.chain, head.chain)
    _equal("the status", entry.status, 1)
    act = meaning(transaction, anchors)
    if act is None:
        raise ValueError("this transaction records nothing")
    operator = fingerprint(public)
    return Facts(
        transaction=f"0x{transaction.hash.hex()}",
        sender=transaction.sender,
        contract=transaction.contract,
        act=act,
        block=entry.block,
        block_hash=entry.block_hash,
        time=entry.time,
        index=entry.index,
        size=head.size,
        signed_ms=head.time_ms,
        chain=head.chain,
        genesis=genesis,
        operator=operator,
        known=operator in pins or genesis in pins,
    )


def _in_tree(found: Evidence, genesis: str) -> None:
    """The entry, the one before it, and the first, each where it says it is."""
    entry, first, size, root = found.entry, found.first, found.head.size, bytes.fromhex(found.head.root[2:])
    merkle.check(first.hash(), 0, size, _hashes(found.first_path), root)
    _equal("the first entry", first.previous, genesis)
    merkle.check(entry.hash(), entry.index, size, _hashes(found.path), root)
    if entry.index:
        before = bytes.fromhex(entry.previous[2:])
        merkle.check(before, entry.index - 1, size, _hashes(found.before), root)
    else:
        _equal("the entry", entry, first)
        _equal("the path of what comes before", found.before, [])


def _anchors(first: Entry) -> str:
    """Address of the contract of the anchors, which the first transaction makes."""
    transaction = transactions.decode(bytes.fromhex(first.raw[2:]))
    _equal("the contract of the anchors", first.contract, transaction.contract)
    if meaning(transaction, "") is not None:
        raise ValueError("the first transaction does not make the contract of the anchors")
    return transaction.contract


def _hashes(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(each[2:]) for each in path]


def _equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"{what} is {found}, and has to be {expected}")


_WRONG = {"missing": "is missing", "extra_forbidden": "does not belong there", "too_long": "has too many parts"}
"""Kind of an error of pydantic's -> the words for it."""


def _first(error: ValidationError) -> str:
    """The first thing that is wrong with a document, in words of ours."""
    told = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, told["loc"])) or "it"
    if where == "schema":
        return "its schema is not headrace/evidence/1"
    return f"{where} {_WRONG.get(told['type'], 'is not of its form')}"
