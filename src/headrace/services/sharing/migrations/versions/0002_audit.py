"""The audit log, which the database itself keeps from being rewritten."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("company", sa.String(64), nullable=False, comment="whose person did it"),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("asset", sa.String(64), nullable=False),
        sa.Column(
            "owner", sa.String(64), nullable=False, comment="whose asset it was; empty: there is none of that id"
        ),
        sa.Column("allowed", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("detail", sa.Text, nullable=False, server_default=""),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_company", "audit", ["company", "id"])
    op.create_index("audit_by_owner", "audit", ["owner", "id"])
    if op.get_bind().dialect.name != "sqlite":
        raise NotImplementedError("the triggers that keep the audit log append-only are written for SQLite only")
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
