"""Jobs, their attempts and events, and what is known of recipes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """The first tables."""
    _jobs()
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(40), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("worker", sa.String(80), nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("how", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("job", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("events_job", "events", ["job"])
    op.create_table(
        "verdicts",
        sa.Column("company", sa.String(80), primary_key=True),
        sa.Column("recipe", sa.String(80), primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("company", sa.String(80), nullable=False),
        sa.Column("model", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("dataset", sa.String(40), nullable=False),
        sa.Column("recipe", sa.JSON, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("told", sa.String(20), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("faults", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("not_before_ms", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.String(80), nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("cancelled_by", sa.String(200), nullable=False),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("progress", sa.Float),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.Column("log_bytes", sa.BigInteger, nullable=False),
        sa.Column("runner", sa.String(40), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("held_for", sa.JSON, nullable=False),
    )
    op.create_index("jobs_queue", "jobs", ["state", "priority", "number"])
    op.create_index("jobs_company", "jobs", ["company", "number"])
    one = sa.text("kind = 'train'")
    op.create_index("jobs_training", "jobs", ["model"], unique=True, sqlite_where=one, postgresql_where=one)
