"""The first schema of the data on PostgreSQL: the tenant leads every key, and row security keeps tenants apart."""

from __future__ import annotations

from alembic import op

revision = "server_data_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE_WIDE = """
CREATE TABLE tenants (
  no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL UNIQUE CHECK (tenant <> '')
);
CREATE SEQUENCE numbers AS bigint;
CREATE TABLE outbox (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line bytea NOT NULL);
CREATE TABLE arrivals (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, leaf bytea NOT NULL);
CREATE TABLE leaves (no bigint PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE frontiers (size bigint PRIMARY KEY, frontier bytea NOT NULL);
CREATE TABLE checkpoints (no bigint PRIMARY KEY, note text NOT NULL);
"""

OF_TENANTS = """
CREATE TABLE subjects (
  tenant_no bigint NOT NULL REFERENCES tenants,
  no bigint NOT NULL,
  page bigint NOT NULL,
  place int NOT NULL,
  marks int NOT NULL,
  anywhere int NOT NULL,
  key text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_no, no),
  UNIQUE (tenant_no, key),
  UNIQUE (tenant_no, page, place)
);
CREATE INDEX ix_subjects_fenced ON subjects (tenant_no, no) WHERE (anywhere & 16) <> 0 AND (marks & 32) = 0;

CREATE TABLE pages (
  tenant_no bigint NOT NULL REFERENCES tenants,
  page bigint NOT NULL,
  generation bigint NOT NULL,
  key_id bytea NOT NULL,
  sealed bytea NOT NULL,
  PRIMARY KEY (tenant_no, page)
);

CREATE TABLE records (
  tenant_no bigint NOT NULL,
  no bigint NOT NULL,
  subject_no bigint NOT NULL,
  version bigint NOT NULL,
  at bigint NOT NULL,
  created bigint NOT NULL,
  updated bigint NOT NULL,
  trashed bigint,
  until bigint,
  marks int NOT NULL,
  kind text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  root text COLLATE "C" NOT NULL,
  batch text COLLATE "C",
  sealed bytea NOT NULL,
  PRIMARY KEY (tenant_no, no),
  UNIQUE (tenant_no, id),
  FOREIGN KEY (tenant_no, subject_no) REFERENCES subjects (tenant_no, no)
);
CREATE INDEX ix_records_subject ON records (tenant_no, subject_no);
CREATE INDEX ix_records_root ON records (tenant_no, root);
CREATE INDEX ix_records_live ON records (tenant_no, kind, at, id) WHERE trashed IS NULL;
CREATE INDEX ix_records_due ON records (tenant_no, until) WHERE trashed IS NOT NULL;
CREATE INDEX ix_records_batch ON records (tenant_no, batch) WHERE trashed IS NOT NULL;

CREATE TABLE reasons (
  no bigint GENERATED ALWAYS AS IDENTITY,
  tenant_no bigint NOT NULL,
  subject_no bigint NOT NULL,
  since bigint NOT NULL,
  mark int NOT NULL,
  id text COLLATE "C" NOT NULL,
  record text COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant_no, no),
  UNIQUE (tenant_no, subject_no, id, mark, record),
  FOREIGN KEY (tenant_no, subject_no) REFERENCES subjects (tenant_no, no)
);

CREATE TABLE answers (
  tenant_no bigint NOT NULL REFERENCES tenants,
  until bigint NOT NULL,
  page bigint,
  place int,
  key bytea NOT NULL,
  digest bytea NOT NULL,
  subject text COLLATE "C",
  body bytea,
  PRIMARY KEY (tenant_no, key)
);
CREATE INDEX ix_answers_subject ON answers (tenant_no, subject) WHERE body IS NOT NULL;
CREATE INDEX ix_answers_until ON answers (tenant_no, until);
"""

# What records are found by is derived: it is not worth a write-ahead log, and no statistics may keep a token.
DERIVED = """
CREATE UNLOGGED TABLE tokens (
  tenant_no bigint NOT NULL,
  token bigint NOT NULL,
  record_no bigint NOT NULL,
  at bigint NOT NULL,
  claim int NOT NULL
);
CREATE INDEX ix_tokens_record ON tokens (tenant_no, record_no);
CREATE INDEX ix_tokens_find ON tokens (tenant_no, token, at);
CREATE UNIQUE INDEX uq_tokens_claim ON tokens (tenant_no, token) WHERE claim = 1;
ALTER TABLE tokens ALTER COLUMN token SET STATISTICS 0;

CREATE UNLOGGED TABLE signatures (
  tenant_no bigint NOT NULL,
  record_no bigint NOT NULL,
  s0 bigint NOT NULL,
  s1 bigint NOT NULL,
  s2 bigint NOT NULL,
  s3 bigint NOT NULL,
  PRIMARY KEY (tenant_no, record_no)
);
ALTER TABLE signatures
  ALTER COLUMN s0 SET STATISTICS 0, ALTER COLUMN s1 SET STATISTICS 0,
  ALTER COLUMN s2 SET STATISTICS 0, ALTER COLUMN s3 SET STATISTICS 0;

-- A tenant is here while its index is whole: both are lost in the same crash.
CREATE UNLOGGED TABLE indexed (no bigint PRIMARY KEY);
"""

TENANCY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY everyone ON {table} USING (true);
CREATE POLICY tenancy ON {table} AS RESTRICTIVE
  USING (tenant_no = nullif(current_setting('capsule.tenant', true), '')::bigint);
"""


def upgrade() -> None:
    op.execute(SERVICE_WIDE + OF_TENANTS + DERIVED)
    for table in ("subjects", "pages", "records", "reasons", "answers", "tokens", "signatures"):
        op.execute(TENANCY.format(table=table))
    for table in ("records", "pages", "answers"):  # what is sealed cannot be compressed
        column = "body" if table == "answers" else "sealed"
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
