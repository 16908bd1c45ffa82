"""When what happened to people, and indexes for what is to go some time after."""

from __future__ import annotations

from alembic import op

revision = "server_data_0005"
down_revision = "server_data_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("opened", "contacted"):
        op.execute(f"ALTER TABLE subjects ADD COLUMN {name} bigint NOT NULL DEFAULT 0")
        op.execute(f"CREATE INDEX ix_subjects_tenant_no_{name} ON subjects (tenant_no, {name})")
    for name in ("ended", "withdrawn"):
        op.execute(f"ALTER TABLE subjects ADD COLUMN {name} bigint")
    for name in ("created", "updated"):
        op.execute(f"CREATE INDEX ix_records_{name} ON records (tenant_no, kind, {name}) WHERE trashed IS NULL")
