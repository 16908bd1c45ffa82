"""Identifiers that may not come in again, as keyed hashes; row security as for every table of tenants."""

from __future__ import annotations

from alembic import op

revision = "server_data_0002"
down_revision = "server_data_0001"
branch_labels = None
depends_on = None

SUPPRESSIONS = """
CREATE TABLE suppressions (
  tenant_no bigint NOT NULL REFERENCES tenants,
  since bigint NOT NULL,
  hash text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_no, hash)
);
ALTER TABLE suppressions ALTER COLUMN hash SET STATISTICS 0;  -- what was lifted is to be found nowhere
ALTER TABLE suppressions ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppressions FORCE ROW LEVEL SECURITY;
CREATE POLICY everyone ON suppressions USING (true);
CREATE POLICY tenancy ON suppressions AS RESTRICTIVE
  USING (tenant_no = nullif(current_setting('capsule.tenant', true), '')::bigint);
"""


def upgrade() -> None:
    op.execute(SUPPRESSIONS)
