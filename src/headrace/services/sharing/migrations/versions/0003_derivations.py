"""Translations and snapshots: each is registered once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "derivations",
        sa.Column("key", sa.String(64), primary_key=True, comment="digest of what makes it the same one"),
        sa.Column("model", sa.String(40), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
