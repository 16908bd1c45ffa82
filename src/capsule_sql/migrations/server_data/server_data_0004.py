"""Which journal belongs to the data, and how far it is here."""

from __future__ import annotations

from alembic import op

revision = "server_data_0004"
down_revision = "server_data_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE journaled (no bigint PRIMARY KEY, journal text NOT NULL, position bigint NOT NULL)")
