"""When a record was taken back from the trash last: a rule that throws away begins anew then."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0008"
down_revision = "data_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("restored", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True))
