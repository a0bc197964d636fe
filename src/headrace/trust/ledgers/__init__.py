"""Ledgers: where claims are recorded so that nobody can change them afterwards, not even whoever recorded them.

Each company has an account of its own, whose key it never sees. One contract per dataset and per model; high-rate things
(snapshots, predictions) are anchored many at a time by a Merkle root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from headrace.errors import BadInput, FixedLimit
from headrace.plugins import Family


@dataclass(frozen=True, slots=True)
class Deploy:
    """A new contract."""

    kind: Literal["dataset", "model"]
    claim: bytes
    """Canonical JSON; on the chain whole, and hashed in the contract."""


@dataclass(frozen=True, slots=True)
class Record:
    """The result of a model's training: once, by the account that deployed the contract."""

    contract: str
    result: bytes
    """Canonical JSON."""


@dataclass(frozen=True, slots=True)
class Revoke:
    """A contract is not to be relied upon any more; by its account, for ever."""

    contract: str
    reason: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """Many claims at once."""

    root: bytes
    """32 bytes: the Merkle root (`headrace.merkle`) over the canonical bytes of the claims."""
    count: int


Act: TypeAlias = Deploy | Record | Revoke | Anchor
LONGEST = 2**20
"""Bytes of a claim, a result or a reason."""
ROOT = 32
"""Bytes of a Merkle root."""


def allowed(act: Act) -> Act:
    """The act, if a ledger may do it. Raises TooLarge, BadInput."""
    if isinstance(act, Anchor):
        if len(act.root) != ROOT or not 0 < act.count < 2**64:
            raise BadInput(detail=f"an anchor has a root of {ROOT} bytes and at least one claim")
        return act
    try:
        texts = (
            {"claim": act.claim}
            if isinstance(act, Deploy)
            else {"result": act.result}
            if isinstance(act, Record)
            else {}
        )
        texts |= {"reason": act.reason.encode()} if isinstance(act, Revoke) else {}
    except UnicodeEncodeError as error:
        raise BadInput(detail="the reason of a revocation has to be text") from error
    for what, text in texts.items():
        if len(text) > LONGEST:
            raise FixedLimit(what=f"the {what}", size=len(text), limit=LONGEST)
    return act


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an act stands in the chain."""

    transaction: str
    """Hash, 0x…"""
    contract: str
    """Address of the contract that was deployed or called, 0x…, with EIP-55 checksum."""
    block: int
    block_hash: str


@dataclass(frozen=True, slots=True)
class Contract:
    """What the chain alone says of a contract."""

    address: str
    kind: Literal["dataset", "model"]
    owner: str
    """Address of the company's account."""
    claim: bytes
    claim_digest: bytes
    """32 bytes (SHA-256) as the contract's storage holds it; a ledger raises CorruptState if the claim is another."""
    deployed: Receipt
    result: bytes | None = None
    recorded: Receipt | None = None
    revoked: str | None = None
    """The reason."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """What the chain says of a batch."""

    owner: str
    root: bytes
    count: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Status:
    """A ledger at a glance."""

    kind: str
    """``embedded`` or ``jsonrpc``."""
    chain: int
    """EIP-155 chain id."""
    genesis: str
    """Hash of the first block."""
    height: int
    single: bool
    """One operator runs it alone: he could write another chain. Said wherever a level is named."""
    operator: str
    """Fingerprint of the key that signs its tree heads: what a verifier pins."""
    broken: str = ""
    """What of its log was found changed when it was opened; "": nothing."""


class Ledger(Protocol):
    """A chain. Opened as an async context manager; several callers at a time.

    Raises Temporary when it is behind, gone or its disk is full: nothing was recorded that is not said to be.
    """

    async def account(self, company: str) -> str:
        """The company's address; made when first asked for."""
        ...

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        """Do these acts from the company's account, in order; returns when they are final and on the disk.

        The same act of the same company done again gives its first receipt, also after a crash. Raises Conflict (another
        result or revocation is there already; not the owner; a dataset has no result), UnknownContract, TooLarge, BadInput;
        acts before the refused one are done, those after it are not.
        """
        ...

    async def read(self, address: str) -> Contract:
        """All that a contract says, from chain data alone. Raises UnknownContract, CorruptState."""
        ...

    async def anchored(self, transaction: str) -> Anchored:
        """A batch, from chain data alone. Raises UnknownContract, CorruptState."""
        ...

    async def evidence(self, transaction: str) -> dict[str, Any]:
        """What convinces somebody without access to the chain that a transaction is in it: see `headrace.trust.evidence`.
        Raises UnknownContract, CorruptState."""
        ...

    async def status(self) -> Status:
        """Which chain this is, and how far."""
        ...


LEDGERS = Family(
    "ledgers",
    {
        "embedded": "headrace.trust.ledgers.embedded:EmbeddedLedger",
        "memory": "headrace.trust.ledgers.memory:MemoryLedger",
    },
    {"embedded": "chain"},
)
