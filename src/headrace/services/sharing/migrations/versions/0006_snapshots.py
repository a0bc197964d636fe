"""Snapshots are told apart from other models without reading their records: there are many of them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "of a snapshot: the model that published it"
    op.add_column("models", sa.Column("online", sa.String(200), nullable=False, server_default="", comment=comment))
    op.create_index("models_by_online", "models", ["company", "online", "deleted_ms", "created_ms"])
    op.execute(
        "UPDATE models SET online = json_extract(record, '$.snapshot.model')"
        " WHERE json_extract(record, '$.snapshot.model') IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
