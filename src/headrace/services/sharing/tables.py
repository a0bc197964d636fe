"""The hub's tables, as SQLAlchemy Core. The migrations make them; a test fails when the two differ.

A dataset or model is one row: what is asked for in queries as columns, the whole record beside it as the JSON of
`headrace.assets`. `fence.put` writes both, so they cannot differ.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text, true

metadata = MetaData()

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("company", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),
    Column("record", Text, nullable=False),
    Index("datasets_by_company", "company", "created_ms"),
)

models = Table(
    "models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("company", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),
    Column("record", Text, nullable=False),
    Column(
        "online", String(200), nullable=False, server_default="", comment="of a snapshot: the model that published it"
    ),
    Index("models_by_company", "company", "created_ms"),
    Index("models_by_online", "company", "online", "deleted_ms", "created_ms"),
)

files = Table(
    "files",
    metadata,
    Column("asset", String(40), primary_key=True),
    Column("role", String(8), primary_key=True, comment="data, raw, code or output"),
    Column("path", String(1024), primary_key=True),
    Column("company", String(64), nullable=False),
    Column("sha256", String(71), nullable=False),
    Column("root", String(71), nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("files_by_content", "company", "sha256"),
)
"""Which asset needs which content: a content goes when the last row that names it goes."""

grants = Table(
    "grants",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("asset", String(40), nullable=False),
    Column("company", String(64), nullable=False, comment="the owner"),
    Column("grantee", String(64), nullable=False),
    Column("right", String(8), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Index("grants_by_grantee", "grantee", "asset"),
    Index("grants_by_asset", "asset"),
)

holds = Table(
    "holds",
    metadata,
    Column("model", String(40), primary_key=True),
    Column("company", String(64), primary_key=True, comment="owner of data it was trained or measured on"),
    Column("kind", String(8), primary_key=True, comment="result: all it made; figures: an evaluation's"),
    Column("released_ms", BigInteger),
    Column("released_by", String(200), nullable=False, server_default=""),
    Index("holds_by_company", "company"),
)
"""What stays with the data's owner until he lets it go."""

edges = Table(
    "edges",
    metadata,
    Column("source", String(40), primary_key=True),
    Column("target", String(40), primary_key=True, comment="was made of the source"),
    Index("edges_by_target", "target"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(8), nullable=False, comment="stream, recipe or job"),
    Column("company", String(64), nullable=False),
    Column("name", String(1024), nullable=False),
    Column("state", String(16), nullable=False, server_default=""),
    Index("nodes_by_name", "company", "kind", "name"),
)
"""Things in a lineage that are no assets."""

companies = Table("companies", metadata, Column("company", String(64), primary_key=True))
"""Those who ever brought a content: written before the first one, so that no orphan of theirs is overlooked."""

pending = Table(
    "pending",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(8), nullable=False, comment="inspect, submit, anchor or revoke"),
    Column("asset", String(40), nullable=False),
    Column("company", String(64), nullable=False),
    Column("detail", Text, nullable=False, server_default="{}"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Index("pending_by_asset", "asset"),
    sqlite_autoincrement=True,
)
"""Work that was promised with a record, in the same transaction; done later, taken up again at the next start."""

derivations = Table(
    "derivations",
    metadata,
    Column("key", String(64), primary_key=True, comment="digest of what makes it the same one"),
    Column("model", String(40), nullable=False),
)
"""Translations and snapshots that are there: each is registered once."""

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("company", String(64), nullable=False, comment="whose person did it"),
    Column("subject", String(200), nullable=False),
    Column("action", String(32), nullable=False),
    Column("asset", String(64), nullable=False),
    Column("owner", String(64), nullable=False, comment="whose asset it was; empty: there is none of that id"),
    Column("allowed", Boolean, nullable=False, server_default=true()),
    Column("detail", Text, nullable=False, server_default=""),
    Index("audit_by_company", "company", "id"),
    Index("audit_by_owner", "owner", "id"),
    sqlite_autoincrement=True,
)
"""Append-only: a trigger refuses UPDATE and DELETE."""
