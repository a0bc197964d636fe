"""Whom the reader of a bundle knows, and whether it is of them: keys of companies, operators of ledgers, ledgers themselves.

A ledger is known by its genesis block, which names its operator's key. An operator may begin a second ledger with the same key:
whoever keeps which genesis belongs to whom (`Pins.ledgers`) sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.errors import BadInput, Tampered, UnknownSigner
from headrace.services.verification.sayings import Shown


@dataclass(frozen=True, slots=True)
class Pins:
    """Whom the reader knows: fingerprint (``sha256:…``) -> the name he gave it."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """Companies' signing keys."""
    operators: Mapping[str, str] = field(default_factory=dict)
    """Keys of ledgers' operators."""
    key: str = ""
    """The signature has to be of this one; "": of any above."""
    operator: str = ""
    """Likewise."""
    geneses: Mapping[str, str] = field(default_factory=dict)
    """Hashes of genesis blocks (``0x…``) -> name."""
    genesis: str = ""
    """It has to be on the ledger that began with this block."""
    ledgers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Fingerprint of a company or an operator -> genesis blocks of the only ledgers it is believed on -> why, in words."""


def known(pins: Pins, key: str, found: Shown) -> str:
    """On whose word it rests.

    Args:
        key: fingerprint of the one that signed.

    Raises:
        BadInput: a key was given as what it is not here.
        Tampered: it is of somebody else than was asked for, or on another ledger of his.
        UnknownSigner.
    """
    _meant(pins, key, found)
    for what, wanted, there in (
        ("signed by", pins.key, key),
        ("on the ledger of", pins.operator, found.operator),
        ("on the ledger with genesis block", pins.genesis, found.genesis),
    ):
        if wanted and wanted != there:
            raise Tampered(detail=f"it is {what} {there}, not {wanted}")
    _history(pins, key, found)
    by = pins.keys.get(key)
    of = pins.geneses.get(found.genesis) or pins.operators.get(found.operator)
    if by is None and of is None:
        raise _unknown(key, found)
    if of is None:
        return f"on the word of {by!r}, who signed it: the operator of the ledger is not known here"
    if by is None:
        vouched = "whose record names the signing key" if found.signer else "the signing key is not known"
        return f"on the word of {of!r}, who runs the ledger: {vouched}"
    return f"signed by {by!r}, on the ledger of {of!r}"


def _unknown(key: str, found: Shown) -> UnknownSigner:
    return UnknownSigner(
        detail=f"it holds together, but nobody in it is known here: not its key {key}, not the operator of its ledger "
        f"{found.operator}, not that ledger's genesis block {found.genesis}. Ask {found.claim['company']} for the fingerprint of "
        "the key another way, then `headrace trust add NAME --key FINGERPRINT`",
        brief="neither its key, nor the operator of its ledger, nor that ledger's genesis block is pinned here",
    )


def _meant(pins: Pins, key: str, found: Shown) -> None:
    """Raises BadInput: the right fingerprint at the wrong option."""
    if pins.key == found.operator != key:
        raise BadInput(
            detail=f"{pins.key} is the operator of this bundle's ledger, not the company that signed: --operator names him"
        )
    if pins.operator == key != found.operator:
        raise BadInput(
            detail=f"{pins.operator} is the key that signed this bundle, not the operator of its ledger: --key names it"
        )


def _history(pins: Pins, key: str, found: Shown) -> None:
    """Raises Tampered: another ledger than the one that is known to be theirs."""
    for whose, one in (("the operator of its ledger", found.operator), ("the key that signed it", key)):
        allowed = pins.ledgers.get(one)
        if allowed and found.genesis not in allowed:
            why = "; ".join(f"{genesis} {why}" for genesis, why in allowed.items())
            raise Tampered(
                detail=f"{whose} is known here, but this is another ledger, a second history: it began with genesis block "
                f"{found.genesis}, and {why}. If that is as it should be, pin the new one: `headrace trust delete NAME`, then "
                "`headrace trust add NAME` with --genesis"
            )
