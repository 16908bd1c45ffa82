"""Which journal belongs to the data, how far it is here, and whose index is missing."""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "data_0005"
down_revision = "data_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "journaled",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("journal", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_journaled")),
    )
    op.create_table(
        "unindexed",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_unindexed")),
    )
