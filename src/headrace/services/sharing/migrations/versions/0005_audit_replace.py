"""The audit log is not rewritten by inserting either: SQLite's REPLACE deletes a line without asking its triggers."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    abort = "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    # before an insert the number of a line that was given none is -1; nor may one be put between or before others
    replaces = "NEW.id <> -1 AND NEW.id <= (SELECT coalesce(max(id), 0) FROM audit)"
    op.execute(f"CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN {replaces} {abort}")
    op.execute(f"CREATE TRIGGER audit_no_number AFTER INSERT ON audit WHEN NEW.id < 1 {abort}")


def downgrade() -> None:
    raise NotImplementedError("a released schema is not taken back: restore the copy made before the upgrade")
