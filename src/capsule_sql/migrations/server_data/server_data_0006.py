"""When a record was taken back from the trash last, and what of it rules have emptied."""

from __future__ import annotations

from alembic import op

revision = "server_data_0006"
down_revision = "server_data_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE records ADD COLUMN restored bigint, ADD COLUMN done bigint")
