"""Datasets, models, their files, grants, holds, lineage and promised work."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for kind in ("datasets", "models"):
        op.create_table(
            kind,
            sa.Column("id", sa.String(40), primary_key=True),
            sa.Column("company", sa.String(64), nullable=False),
            sa.Column("name", sa.String(200), nullable=False),
            sa.Column("created_ms", sa.BigInteger, nullable=False),
            sa.Column("deleted_ms", sa.BigInteger),
            sa.Column("record", sa.Text, nullable=False),
        )
        op.create_index(f"{kind}_by_company", kind, ["company", "created_ms"])
    op.create_table(
        "files",
        sa.Column("asset", sa.String(40), primary_key=True),
        sa.Column("role", sa.String(8), primary_key=True, comment="data, raw, code or output"),
        sa.Column("path", sa.String(1024), primary_key=True),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(71), nullable=False),
        sa.Column("root", sa.String(71), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
    )
    op.create_index("files_by_content", "files", ["company", "sha256"])
    op.create_table(
        "grants",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("asset", sa.String(40), nullable=False),
        sa.Column("company", sa.String(64), nullable=False, comment="the owner"),
        sa.Column("grantee", sa.String(64), nullable=False),
        sa.Column("right", sa.String(8), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
    )
    op.create_index("grants_by_grantee", "grants", ["grantee", "asset"])
    op.create_index("grants_by_asset", "grants", ["asset"])
    op.create_table(
        "holds",
        sa.Column("model", sa.String(40), primary_key=True),
        sa.Column("company", sa.String(64), primary_key=True, comment="owner of data it was trained or measured on"),
        sa.Column("kind", sa.String(8), primary_key=True, comment="result: all it made; figures: an evaluation's"),
        sa.Column("released_ms", sa.BigInteger),
        sa.Column("released_by", sa.String(200), nullable=False, server_default=""),
    )
    op.create_index("holds_by_company", "holds", ["company"])
    op.create_table(
        "edges",
        sa.Column("source", sa.String(40), primary_key=True),
        sa.Column("target", sa.String(40), primary_key=True, comment="was made of the source"),
    )
    op.create_index("edges_by_target", "edges", ["target"])
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False, comment="stream, recipe or job"),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("name", sa.String(1024), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, server_default=""),
    )
    op.create_index("nodes_by_name", "nodes", ["company", "kind", "name"])
    op.create_table("companies", sa.Column("company", sa.String(64), primary_key=True))
    op.create_table(
        "pending",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(8), nullable=False, comment="inspect or submit"),
        sa.Column("asset", sa.String(40), nullable=False),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False, server_default="{}"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_index("pending_by_asset", "pending", ["asset"])


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
