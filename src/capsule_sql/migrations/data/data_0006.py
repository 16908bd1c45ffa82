"""When what happened to people, and indexes for what is to go some time after."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "data_0006"
down_revision = "data_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for name in ("opened", "contacted"):
        op.add_column("subjects", sa.Column(name, number, nullable=False, server_default=sa.text("0")))
        op.create_index(op.f(f"ix_subjects_tenant_no_{name}"), "subjects", ["tenant_no", name])
    for name in ("ended", "withdrawn"):
        op.add_column("subjects", sa.Column(name, number, nullable=True))
    for name in ("created", "updated"):
        live = sa.text("trashed IS NULL")
        op.create_index(f"ix_records_{name}", "records", ["tenant_no", "kind", name], sqlite_where=live)
