"""What was recorded on the ledger, and what it was asked to record."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contracts",
        sa.Column("asset", sa.String(40), primary_key=True),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("claim", sa.LargeBinary, nullable=False),
        sa.Column("address", sa.String(42), nullable=False, server_default=""),
        sa.Column("deployed", sa.String(66), nullable=False, server_default=""),
        sa.Column("result", sa.LargeBinary),
        sa.Column("recorded", sa.String(66), nullable=False, server_default=""),
        sa.Column("reason", sa.Text),
        sa.Column("revoked", sa.String(66), nullable=False, server_default=""),
    )
    op.create_index("contracts_by_address", "contracts", ["address"])
    op.create_table(
        "sealed",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("asset", sa.String(40), nullable=False),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_index("sealed_by_asset", "sealed", ["asset"])
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("address", sa.String(42), nullable=False, server_default=""),
        sa.Column("anchored", sa.String(66), nullable=False, server_default=""),
        sqlite_autoincrement=True,
    )
    op.create_index("batches_by_state", "batches", ["anchored"])
    op.create_table(
        "leaves",
        sa.Column("asset", sa.String(40), primary_key=True),
        sa.Column("what", sa.String(8), primary_key=True),
        sa.Column("company", sa.String(64), nullable=False),
        sa.Column("claim", sa.LargeBinary, nullable=False),
        sa.Column("batch", sa.Integer, sa.ForeignKey("batches.id")),
        sa.Column("place", sa.Integer),
    )
    op.create_index("leaves_by_batch", "leaves", ["batch", "place"])
    op.create_table(
        "chains",
        sa.Column("chain", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("genesis", sa.String(66), primary_key=True),
    )


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
