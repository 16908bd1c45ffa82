"""When a record was taken back from the trash last, and what of it rules have emptied."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0008"
down_revision = "data_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("restored", "done"):
        op.add_column("records", sa.Column(name, number, nullable=True))
