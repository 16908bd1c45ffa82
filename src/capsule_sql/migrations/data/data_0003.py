"""Identifiers that may not come in again, as keyed hashes."""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "data_0003"
down_revision = "data_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suppressions",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_no"], ["tenants.no"], name=op.f("fk_suppressions_tenant_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_suppressions")),
        sa.UniqueConstraint("tenant_no", "hash", name=op.f("uq_suppressions_tenant_no_hash")),
    )
