"""Whoever of one tenant is kept in part is found without reading those of others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0007"
down_revision = "data_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_subjects_kept", "subjects")
    kept = sa.text("(marks & 96) = 64")
    op.create_index("ix_subjects_kept", "subjects", ["tenant_no", "no"], sqlite_where=kept)
