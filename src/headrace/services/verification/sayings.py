"""What the ledger says of an asset, with all that shows it to somebody without the ledger: claim, result, revocation.

A saying is a text, the evidence of the transaction that brought it to the ledger (`headrace.trust.evidence`), for one of a batch
its place in the batch, and for a sealed one what opens it. `shown` puts them together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from headrace import merkle
from headrace.claims import canonical
from headrace.errors import CorruptState, Tampered
from headrace.trust.evidence import Facts, check
from headrace.trust.ledgers import Act, Anchor, Deploy, Record, Revoke

Name: TypeAlias = Literal["claim", "result", "revocation"]
NAMES: tuple[Name, ...] = ("claim", "result", "revocation")
_WORD = re.compile(r"[\w./-]{1,100}", re.ASCII)
"""What ids and names of companies are made of."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a text is in a batch."""

    index: int
    count: int
    path: list[bytes]
    """From the leaf upwards (`headrace.merkle.path`)."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a sealed text is opened (`headrace.services.verification.sealing`)."""

    recorded: bytes
    """What the ledger has in its place."""
    ciphertext: bytes
    key: bytes
    """32 bytes, of this text alone."""


@dataclass(frozen=True, slots=True)
class Saying:
    """One text on the ledger."""

    text: bytes
    """Canonical JSON, readable. Of a `Revoke`: `reason_text`."""
    evidence: Mapping[str, Any]
    """As `Ledger.evidence` gives it."""
    inclusion: Inclusion | None = None
    """None: its transaction says nothing but this text."""
    opening: Opening | None = None

    @property
    def recorded(self) -> bytes:
        """The bytes that the ledger has."""
        return self.opening.recorded if self.opening else self.text


@dataclass(frozen=True, slots=True)
class Shown:
    """What the evidence of all sayings shows together."""

    claim: dict[str, Any]
    """Opened, if it was sealed."""
    result: dict[str, Any] | None
    revoked: str | None
    """The reason."""
    signer: str
    """Fingerprint of the key that the ledger names; "": it names none."""
    contract: str
    owner: str
    """Address of the account that recorded it."""
    transactions: dict[str, str]
    """Saying -> transaction."""
    chain: int
    genesis: str
    operator: str
    """Fingerprint of the key that signed the log's head."""
    time: int
    """Of the claim's block, seconds since the epoch, by the operator's clock."""
    size: int
    signed_ms: int
    """Entries of the log, and when: the latest head there is."""


def reason_text(reason: str) -> bytes:
    """The text of a revocation by a `Revoke`, of which the ledger has the reason alone."""
    return canonical({"reason": reason})


def shown(sayings: Mapping[Name, Saying]) -> Shown:
    """What they show. Raises Tampered: it does not hold together; MissingExtra."""
    facts = {name: check(saying.evidence) for name, saying in sayings.items()}
    first = facts["claim"]
    claim = _text("claim", sayings["claim"])
    words = [claim.get(name) for name in ("schema", "id", "company")]
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
        raise Tampered(detail="the claim says neither what it is nor whose")
    _act("claim", sayings["claim"], first, _claimed(claim, sayings["claim"].recorded))
    result = None
    if "result" in sayings:
        result = _text("result", sayings["result"])
        _act("result", sayings["result"], facts["result"], Record(first.contract, sayings["result"].recorded))
    for name, found in facts.items():
        _same(name, found, first)
    newest = max(facts.values(), key=lambda one: (one.size, one.signed_ms))
    return Shown(
        claim=claim,
        result=result,
        revoked=_reason(sayings.get("revocation"), facts.get("revocation"), claim, first),
        signer=str(_parsed("claim", sayings["claim"].recorded).get("signer", "")),
        contract=first.contract,
        owner=first.sender,
        transactions={name: found.transaction for name, found in facts.items()},
        chain=first.chain,
        genesis=first.genesis,
        operator=first.operator,
        time=first.time,
        size=newest.size,
        signed_ms=newest.signed_ms,
    )


def _parsed(name: str, text: bytes) -> dict[str, Any]:
    """A canonical JSON object. Raises Tampered."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or canonical(found) != text:
            raise Tampered(detail=f"the {name} is not in the one form that is recorded")
    except (ValueError, RecursionError) as error:
        raise Tampered(detail=f"the {name} is no JSON") from error
    return found


def _text(name: str, saying: Saying) -> dict[str, Any]:
    """What it says, once the opening was shown to open what was recorded."""
    if saying.opening is not None:
        from headrace.services.verification.sealing import opened

        sealed, opening = _parsed(name, saying.recorded), saying.opening
        asset = str(sealed.get("id"))
        if opened(str(sealed.get("sealed")), asset, opening.ciphertext, opening.key) != saying.text:
            raise Tampered(detail=f"the {name} is not the one that was sealed")
        if name == "claim" and [_parsed(name, saying.text).get(part) for part in ("id", "company")] != [
            sealed.get(part) for part in ("id", "company")
        ]:
            raise Tampered(detail="the sealed claim is of another asset")
    return _parsed(name, saying.text)


def _claimed(claim: Mapping[str, Any], text: bytes) -> Deploy:
    return Deploy("dataset" if str(claim.get("schema", "")).startswith("headrace/dataset/") else "model", text)


def _act(name: str, saying: Saying, found: Facts, expected: Act) -> None:
    """That a transaction says this text: itself, or as a leaf of its batch. Raises Tampered."""
    if saying.inclusion is None:
        if found.act != expected:
            raise Tampered(
                detail=f"the {name} is not what the ledger has: transaction {found.transaction} says otherwise"
            )
        return
    place = saying.inclusion
    if not isinstance(found.act, Anchor) or found.act.count != place.count:
        raise Tampered(detail=f"transaction {found.transaction} anchors no batch of {place.count:,}")
    try:
        merkle.check(merkle.leaf(saying.recorded), place.index, place.count, place.path, found.act.root)
    except CorruptState as error:
        raise Tampered(detail=f"the {name} is not in the batch that the ledger has: {error}") from error


def _reason(saying: Saying | None, found: Facts | None, claim: Mapping[str, Any], first: Facts) -> str | None:
    if saying is None or found is None:
        return None
    said = _parsed("revocation", saying.text)
    if saying.inclusion is None:
        if found.act != Revoke(first.contract, str(said.get("reason"))):
            raise Tampered(detail=f"transaction {found.transaction} does not revoke this contract, or not so")
        return str(said.get("reason"))
    _act("revocation", saying, found, found.act)
    if said.get("schema") != "headrace/revocation/1" or said.get("id") != claim.get("id"):
        raise Tampered(detail="the revocation is of another asset")
    return str(said.get("reason"))


def _same(name: str, found: Facts, first: Facts) -> None:
    """That one account said all of it, on one chain, the claim first."""
    if found.sender != first.sender:
        raise Tampered(detail=f"the {name} is of account {found.sender}, the claim of {first.sender}")
    if (found.genesis, found.chain, found.operator) != (first.genesis, first.chain, first.operator):
        raise Tampered(detail=f"the evidence of the {name} is of another ledger than that of the claim")
    if found.index < first.index:
        raise Tampered(detail=f"the {name} is before the claim in the log")
