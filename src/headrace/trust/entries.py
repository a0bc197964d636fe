"""The log of a ledger: its signed transactions in order, each bound to the one before, and the heads its operator signs.

An entry's hash is its leaf hash in a Merkle tree (RFC 6962) and what the next entry names as the one before; the first names
the genesis block. So one signed root speaks for all entries and for their order.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from headrace import claims, merkle
from headrace.trust import rlp
from headrace.trust.transactions import keccak

Hex: TypeAlias = Annotated[str, StringConstraints(pattern=r"^0x([0-9a-f]{2})*$")]
Hash: TypeAlias = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
Address: TypeAlias = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
Natural: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256 (FIPS 186-5 and SP 800-186, section 3.2.1.3)."""
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the point in the DER of a public key on this curve (RFC 5480)."""
POINT = 65
"""Bytes of a point that is not compressed."""
HALF = 32
"""Bytes of each half of a signature."""
EXTRA = 12
"""Where a header of a block has its extra data (Yellow Paper, section 4.4): in the genesis, the operator's fingerprint."""


class Strict(BaseModel):
    """One text for one value: nothing more, nothing of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def canonical(self) -> bytes:
        """The bytes that are hashed or signed."""
        return claims.canonical(self.model_dump())


class Entry(Strict):
    """A transaction that is in the chain."""

    index: Natural
    previous: Hash
    """Hash of the entry before; of the genesis block, for the first."""
    raw: Hex
    """The signed transaction."""
    block: Natural
    block_hash: Hash
    time: Natural
    """Of the block, in seconds since the epoch."""
    status: Natural
    """1: it did what it says."""
    contract: Address
    """That it made or called."""

    def hash(self) -> bytes:
        """Its leaf hash."""
        return merkle.leaf(self.canonical())


class Head(Strict):
    """All entries at one time; what the operator signs."""

    chain: Natural
    """EIP-155 chain id."""
    genesis: Hash
    size: Natural
    """Entries."""
    root: Hash
    time_ms: Natural
    """When it was signed, in milliseconds since the epoch."""


def fingerprint(public: bytes) -> str:
    """What a public key (DER, SubjectPublicKeyInfo) is known by: ``sha256:…``"""
    return claims.digest(public)


def public_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    """DER of its public key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def sign(key: ec.EllipticCurvePrivateKey, head: Head) -> bytes:
    """ECDSA with SHA-256: r and s, 32 bytes each; s is the smaller of the two that would do, so that there is one."""
    r, s = decode_dss_signature(key.sign(head.canonical(), ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(HALF, "big") + min(s, ORDER - s).to_bytes(HALF, "big")


def check_signature(public: bytes, head: Head, signature: bytes) -> None:
    """Raises ValueError: it is not of this key, or not over this head."""
    if not public.startswith(P256) or len(public) != len(P256) + POINT:
        raise ValueError("no key of the curve P-256")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public[len(P256) :])
    r, s = int.from_bytes(signature[:HALF], "big"), int.from_bytes(signature[HALF:], "big")
    if len(signature) != 2 * HALF or s > ORDER // 2:
        raise ValueError("no signature")
    try:
        key.verify(encode_dss_signature(r, s), head.canonical(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ValueError("the head was not signed by this key") from error


def genesis_hash(header: bytes, public: bytes) -> str:
    """The hash of a genesis block, which names its operator's key. Raises ValueError: it names another."""
    if rlp.flat(header)[EXTRA] != hashlib.sha256(public).digest():
        raise ValueError("the genesis block is of another operator")
    return f"0x{keccak(header).hex()}"
