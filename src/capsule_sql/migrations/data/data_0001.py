"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "data_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answers",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("page", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_answers")),
        sa.UniqueConstraint("tenant_no", "key", name=op.f("uq_answers_tenant_no_key")),
    )
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.create_index("ix_answers_until", ["until"], unique=False)
        batch_op.create_index(
            "ix_answers_subject",
            ["tenant_no", "subject"],
            unique=False,
            sqlite_where=sa.text("body IS NOT NULL"),
            postgresql_where=sa.text("body IS NOT NULL"),
        )

    op.create_table(
        "checkpoints",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("note", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "frontiers",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_frontiers")),
    )
    op.create_table(
        "leaves",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_leaves")),
    )
    op.create_table(
        "outbox",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tenants",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("tenant", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_tenants")),
        sa.UniqueConstraint("tenant", name=op.f("uq_tenants_tenant")),
    )
    op.create_table(
        "pages",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("page", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_no"], ["tenants.no"], name=op.f("fk_pages_tenant_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_pages")),
        sa.UniqueConstraint("tenant_no", "page", name=op.f("uq_pages_tenant_no_page")),
    )
    op.create_table(
        "subjects",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("page", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("marks", sa.Integer(), nullable=False),
        sa.Column("anywhere", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_no"], ["tenants.no"], name=op.f("fk_subjects_tenant_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_subjects")),
        sa.UniqueConstraint("tenant_no", "key", name=op.f("uq_subjects_tenant_no_key")),
        sa.UniqueConstraint("tenant_no", "page", "place", name=op.f("uq_subjects_tenant_no_page_place")),
    )
    with op.batch_alter_table("subjects", schema=None) as batch_op:
        batch_op.create_index(
            "ix_subjects_fenced",
            ["no"],
            unique=False,
            sqlite_where=sa.text("(anywhere & 16) <> 0 AND (marks & 32) = 0"),
            postgresql_where=sa.text("(anywhere & 16) <> 0 AND (marks & 32) = 0"),
        )

    op.create_table(
        "reasons",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("mark", sa.Integer(), nullable=False),
        sa.Column("record", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["subject_no"], ["subjects.no"], name=op.f("fk_reasons_subject_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_reasons")),
        sa.UniqueConstraint("subject_no", "id", "mark", "record", name=op.f("uq_reasons_subject_no_id_mark_record")),
    )
    op.create_table(
        "records",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subject_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("root", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("updated", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("marks", sa.Integer(), nullable=False),
        sa.Column("batch", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("trashed", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("until", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["subject_no"], ["subjects.no"], name=op.f("fk_records_subject_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_records")),
        sa.UniqueConstraint("tenant_no", "id", name=op.f("uq_records_tenant_no_id")),
    )
    with op.batch_alter_table("records", schema=None) as batch_op:
        batch_op.create_index(
            "ix_records_batch",
            ["tenant_no", "batch"],
            unique=False,
            sqlite_where=sa.text("trashed IS NOT NULL"),
            postgresql_where=sa.text("trashed IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_records_due",
            ["tenant_no", "until"],
            unique=False,
            sqlite_where=sa.text("trashed IS NOT NULL"),
            postgresql_where=sa.text("trashed IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_records_live",
            ["tenant_no", "kind", "at", "id"],
            unique=False,
            sqlite_where=sa.text("trashed IS NULL"),
            postgresql_where=sa.text("trashed IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_records_tenant_no_subject_no"), ["tenant_no", "subject_no"], unique=False)
        batch_op.create_index(batch_op.f("ix_records_tenant_no_root"), ["tenant_no", "root"], unique=False)

    op.create_table(
        "signatures",
        sa.Column(
            "record_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("s0", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("s1", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("s2", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("s3", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["record_no"], ["records.no"], name=op.f("fk_signatures_record_no")),
        sa.PrimaryKeyConstraint("record_no", name=op.f("pk_signatures")),
    )
    op.create_table(
        "tokens",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("record_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("claim", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["record_no"], ["records.no"], name=op.f("fk_tokens_record_no")),
        sa.PrimaryKeyConstraint("no", name=op.f("pk_tokens")),
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.create_index("ix_tokens_find", ["tenant_no", "token", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_tokens_record_no"), ["record_no"], unique=False)
        batch_op.create_index(
            "uq_tokens_claim",
            ["tenant_no", "token"],
            unique=True,
            sqlite_where=sa.text("claim = 1"),
            postgresql_where=sa.text("claim = 1"),
        )
