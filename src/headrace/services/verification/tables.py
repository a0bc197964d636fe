"""The verification service's tables, as its migrations leave them (a test compares).

They are an index of what the ledger says, and a note of what it was asked to say: a text stands here before it is submitted, so
that after a crash the very same one is submitted again. The truth is the ledger: rows that disagree with it are `Tampered`.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

contracts = Table(
    "contracts",
    metadata,
    Column("asset", String(40), primary_key=True),
    Column("company", String(64), nullable=False),
    Column("kind", String(8), nullable=False, comment="dataset or model"),
    Column("claim", LargeBinary, nullable=False, comment="what it was deployed with, sealed if it is confidential"),
    Column("address", String(42), nullable=False, server_default="", comment="empty: not known to be final"),
    Column("deployed", String(66), nullable=False, server_default="", comment="transaction"),
    Column("result", LargeBinary, comment="null: no training has ended"),
    Column("recorded", String(66), nullable=False, server_default="", comment="transaction of the result"),
    Column("reason", Text, comment="why it is revoked; null: it is not"),
    Column("revoked", String(66), nullable=False, server_default="", comment="transaction of the revocation"),
    Index("contracts_by_address", "address"),
)

sealed = Table(
    "sealed",
    metadata,
    Column("digest", String(71), primary_key=True, comment="of the ciphertext: what the ledger has"),
    Column("asset", String(40), nullable=False),
    Column("company", String(64), nullable=False),
    Column("ciphertext", LargeBinary, nullable=False, comment="digest of its key, nonce, AES-256-GCM of the claim"),
    Column("wrapped", LargeBinary, nullable=False, comment="nonce, then the claim's key under the company's seal key"),
    Index("sealed_by_asset", "asset"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("company", String(64), nullable=False),
    Column("root", LargeBinary, nullable=False, comment="Merkle root over its leaves, 32 bytes"),
    Column("count", Integer, nullable=False),
    Column("address", String(42), nullable=False, server_default="", comment="of the contract it was anchored in"),
    Column("anchored", String(66), nullable=False, server_default="", comment="transaction; empty: not final"),
    Index("batches_by_state", "anchored"),
    sqlite_autoincrement=True,
)

leaves = Table(
    "leaves",
    metadata,
    Column("asset", String(40), primary_key=True),
    Column("what", String(8), primary_key=True, comment="claim or revoked"),
    Column("company", String(64), nullable=False),
    Column("claim", LargeBinary, nullable=False),
    Column("batch", Integer, ForeignKey("batches.id"), comment="null: not closed yet"),
    Column("place", Integer, comment="its index in the batch, from 0"),
    Index("leaves_by_batch", "batch", "place"),
)
"""What is recorded many at a time: claims of snapshots, and their revocations."""

chains = Table(
    "chains",
    metadata,
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("genesis", String(66), primary_key=True),
)
"""The chain all this is recorded in: one row."""
