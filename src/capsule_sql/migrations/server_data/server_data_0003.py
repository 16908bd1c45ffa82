"""Whoever is kept in part is found without reading everybody."""

from __future__ import annotations

from alembic import op

revision = "server_data_0003"
down_revision = "server_data_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_subjects_kept ON subjects (tenant_no, no) WHERE (marks & 96) = 64")
