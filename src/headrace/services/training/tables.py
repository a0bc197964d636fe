"""The training service's tables, as its migrations leave them (a test compares)."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData()
_ONE = text("kind = 'train'")

JOBS = Table(
    "jobs",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),  # the order of arrival
    Column("id", String(40), nullable=False, unique=True),
    Column("company", String(80), nullable=False),
    Column("model", String(40), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("dataset", String(40), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("told", String(20), nullable=False),  # the state the hub was last told of
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("faults", Integer, nullable=False),  # how often the code failed since it was queued by a person
    Column("failures", Integer, nullable=False),  # how often the platform did
    Column("not_before_ms", BigInteger, nullable=False),
    Column("worker", String(80), nullable=False),  # who runs it
    Column("lease_ms", BigInteger, nullable=False),  # until when that worker is believed to live
    Column("cancelled_by", String(200), nullable=False),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("progress", Float),
    Column("message", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("exit_code", Integer),
    Column("peak_memory_bytes", BigInteger),
    Column("log_bytes", BigInteger, nullable=False),
    Column("runner", String(40), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("held_for", JSON, nullable=False),
    Index("jobs_queue", "state", "priority", "number"),
    Index("jobs_company", "company", "number"),
    Index("jobs_training", "model", unique=True, sqlite_where=_ONE, postgresql_where=_ONE),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("job", String(40), ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", String(80), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("how", String(40), nullable=False),
    Column("reason", Text, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job", String(40), ForeignKey("jobs.id"), nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("what", String(40), nullable=False),
    Column("detail", Text, nullable=False),
    Index("events_job", "job"),
)

VERDICTS = Table(
    "verdicts",
    METADATA,
    Column("company", String(80), primary_key=True),
    Column("recipe", String(80), primary_key=True),  # digest
    Column("note", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
)
"""Recipes of which two runs differed: for ever."""
