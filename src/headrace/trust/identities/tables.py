"""The issuer's tables. Of passwords and tokens they hold digests; private keys are files."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

companies = Table(
    "companies",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column(
        "id", String(40), primary_key=True, comment="the `sub` of tokens: a name that is given again is somebody else"
    ),
    Column("company", ForeignKey("companies.name", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("roles", Text, nullable=False, comment="JSON list"),
    Column("topics", Text, nullable=False, comment="JSON list of topic filters"),
    Column("secret", String(200), nullable=False, comment="scrypt or sha256"),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(100), nullable=False),
    UniqueConstraint("company", "name", name="people_by_name"),
    Index("people_by_secret", "secret"),
)

logins = Table(
    "logins",
    metadata,
    Column("id", String(40), primary_key=True, comment="the `sid` of tokens"),
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("family", String(80), nullable=False, comment="digest of what all its refresh tokens share"),
    Column("current", String(80), nullable=False, comment="digest of what only the newest has"),
    Column("client", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=False),
    Index("logins_by_person", "person"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(80), primary_key=True),
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), comment="null: the install token's bearer"),
    Column("install", String(80), nullable=False, comment="digest of that token"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("sessions_by_person", "person"),
)

keys = Table(
    "keys",
    metadata,
    Column("kid", String(40), primary_key=True),
    Column("public", Text, nullable=False, comment="JWK (RFC 7517)"),
    Column("created_ms", BigInteger, nullable=False),
    Column("retired_ms", BigInteger, comment="signs no more since"),
)
