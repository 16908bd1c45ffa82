"""Whoever is kept in part is found without reading everybody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0004"
down_revision = "data_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_subjects_kept", "subjects", ["no"], sqlite_where=sa.text("(marks & 96) = 64"))
