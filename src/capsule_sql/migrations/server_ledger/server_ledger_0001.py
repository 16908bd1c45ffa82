"""The first schema of a log on PostgreSQL."""

from __future__ import annotations

from alembic import op

revision = "server_ledger_0001"
down_revision = None
branch_labels = None
depends_on = None

LOG = """
CREATE TABLE arrivals (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, leaf bytea NOT NULL);
CREATE TABLE leaves (no bigint PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE frontiers (size bigint PRIMARY KEY, frontier bytea NOT NULL);
CREATE TABLE checkpoints (no bigint PRIMARY KEY, note text NOT NULL);
"""


def upgrade() -> None:
    op.execute(LOG)
