"""What the verification service's doors say of contracts, the ledger and keys."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from headrace.assets import Plain


class Place(Plain):
    """Where an act stands in the chain."""

    transaction: str
    contract: str
    block: int
    block_hash: str


class Inclusion(Plain):
    """The proof that a claim is one of many that were anchored together (RFC 9162, section 2.1.3.2)."""

    place: int = Field(description="index of the leaf, from 0")
    count: int = Field(description="leaves of the batch")
    path: list[str] = Field(description="sha256:…, from the leaf upwards")
    root: str = Field(description="what the ledger has")


class Said(Plain):
    """All that the ledger says of an asset."""

    asset: str
    company: str
    address: str = Field(description="of its contract; of a snapshot that of the contract its batch was anchored in")
    kind: Literal["dataset", "model", "batch"]
    owner: str = Field(description="address of the company's account")
    claim: dict[str, Any] = Field(description="as it stands there")
    claim_digest: str = Field(description="of its canonical JSON")
    opened: dict[str, Any] | None = Field(None, description="of a sealed claim: what it says, for whom it may concern")
    result: dict[str, Any] | None = Field(
        None, description="of a training; null: none has ended, or it may not be shown"
    )
    result_digest: str = ""
    result_opened: dict[str, Any] | None = None
    revoked: str | None = Field(None, description="the reason; null: it is not")
    deployed: Place
    recorded: Place | None = None
    inclusion: Inclusion | None = Field(None, description="of a snapshot")


class Contracts(Plain):
    """What is recorded of an asset."""

    items: list[Said]


class LedgerStatus(Plain):
    """The ledger at a glance."""

    kind: str
    chain: int = Field(description="EIP-155 chain id")
    genesis: str = Field(description="hash of the first block")
    height: int
    single: bool = Field(description="true: one operator runs it alone, and could write another one")
    operator: str = Field(description="fingerprint of the key that signs its tree heads: what a verifier pins")
    says: str = Field(description="the same for people")
    company: str = Field(description="the caller's")
    account: str = Field(description="address of its account there")
    warning: str = Field(
        "", description="what is wrong: another chain than the records name, a changed log; empty: nothing"
    )


class Keys(Plain):
    """What a company's records are signed with."""

    company: str
    account: str = Field(description="address of its account on the ledger")
    operator: str = Field(description="fingerprint of the key that signs the ledger's tree heads")
    signing_key: str = Field("", description="public key of its signatures, PEM; empty: nothing is signed here")
    signer: str = Field("", description="fingerprint of that key: what a verifier pins")
