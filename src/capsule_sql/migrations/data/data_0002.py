"""Reasons and signatures name their tenant, like every row of a tenant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0002"
down_revision = "data_0001"
branch_labels = None
depends_on = None

_OF_TENANT = {"reasons": "subject_no", "signatures": "record_no"}


def upgrade() -> None:
    for table, number in _OF_TENANT.items():
        number_of_tenant = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
        op.add_column(table, sa.Column("tenant_no", number_of_tenant, nullable=False, server_default="0"))
        op.execute(f"UPDATE {table} SET tenant_no = {number} >> 32")
