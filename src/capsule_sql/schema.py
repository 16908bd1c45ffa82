"""The tables, declared once: what Alembic compares its migrations to.

Numbers stand for texts between tables. The number of a subject or record begins with its tenant's (32 bits below), so
that a tenant's rows lie side by side. Times are microseconds since 1970. Every table has a rowid: SQLite leaves deleted
rows in the pages of one without.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Index, Integer, MetaData, UniqueConstraint, text
from sqlalchemy.dialects import postgresql
from sqlmodel import Field, SQLModel

__all__ = [
    "COLUMNS",
    "TABLES",
    "AnswerRow",
    "CheckpointRow",
    "EntryRow",
    "FrontierRow",
    "JournaledRow",
    "KeyRow",
    "LeafRow",
    "OutboxRow",
    "PageRow",
    "ReasonRow",
    "RecordRow",
    "SealRow",
    "SignatureRow",
    "SubjectRow",
    "SuppressionRow",
    "TenantRow",
    "TokenRow",
    "UnindexedRow",
]

_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
_Long: Final = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER PRIMARY KEY is SQLite's own row number


class _Row(SQLModel):
    metadata = MetaData(naming_convention=_CONVENTION)


def _number() -> Any:
    return Field(primary_key=True, sa_type=_Long, sa_column_kwargs={"autoincrement": False})


def _long() -> Any:
    return Field(sa_type=_Long)


def _reference(column: str) -> Any:
    return Field(sa_type=_Long, foreign_key=column)


def _zero() -> Any:
    return Field(default=0, sa_type=_Long, sa_column_kwargs={"server_default": text("0")})


def _optional() -> Any:
    return Field(default=None, sa_type=_Long)


class TenantRow(_Row, table=True):
    """A tenant and its number."""

    __tablename__ = "tenants"
    no: int = _number()
    tenant: str = Field(unique=True)


_FENCED: Final = text("(anywhere & 16) <> 0 AND (marks & 32) = 0")  # and not yet erased
_KEPT: Final = text("(marks & 96) = 64")  # in part, and not yet erased


class SubjectRow(_Row, table=True):
    """A subject: *marks* are those of itself, *anywhere* also those of its records; the rest says when what happened.

    Who was never opened or contacted counts as having been when they became known; 0 stands for not even that.
    """

    __tablename__ = "subjects"
    __table_args__ = (
        UniqueConstraint("tenant_no", "key"),
        UniqueConstraint("tenant_no", "page", "place"),
        Index("ix_subjects_fenced", "no", sqlite_where=_FENCED, postgresql_where=_FENCED),
        Index("ix_subjects_kept", "tenant_no", "no", sqlite_where=_KEPT, postgresql_where=_KEPT),
        Index(None, "tenant_no", "contacted"),
        Index(None, "tenant_no", "opened"),
    )
    no: int = _number()
    tenant_no: int = _reference("tenants.no")
    key: str
    page: int = _long()
    place: int
    marks: int
    anywhere: int
    opened: int = _zero()
    contacted: int = _zero()
    ended: int | None = _optional()
    withdrawn: int | None = _optional()


class PageRow(_Row, table=True):
    """A sealed key page."""

    __tablename__ = "pages"
    __table_args__ = (UniqueConstraint("tenant_no", "page"),)
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant_no: int = _reference("tenants.no")
    page: int = _long()
    generation: int = _long()
    key_id: bytes
    sealed: bytes


_LIVE: Final = text("trashed IS NULL")
_TRASHED: Final = text("trashed IS NOT NULL")


class RecordRow(_Row, table=True):
    """A sealed record; *batch*, *trashed* and *until* are set together while it is in the trash.

    *restored* is when it was taken back last, *done* stands for what of this version rules have emptied.
    """

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("tenant_no", "id"),
        Index(None, "tenant_no", "subject_no"),
        Index(None, "tenant_no", "root"),
        Index("ix_records_live", "tenant_no", "kind", "at", "id", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_records_created", "tenant_no", "kind", "created", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_records_updated", "tenant_no", "kind", "updated", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_records_due", "tenant_no", "until", sqlite_where=_TRASHED, postgresql_where=_TRASHED),
        Index("ix_records_batch", "tenant_no", "batch", sqlite_where=_TRASHED, postgresql_where=_TRASHED),
    )
    no: int = _number()
    tenant_no: int = _long()
    subject_no: int = _reference("subjects.no")
    kind: str
    id: str
    root: str
    version: int = _long()
    at: int = _long()
    created: int = _long()
    updated: int = _long()
    marks: int
    batch: str | None = None
    trashed: int | None = _optional()
    until: int | None = _optional()
    restored: int | None = _optional()
    done: int | None = _optional()
    sealed: bytes


_CLAIMED: Final = text("claim = 1")


class TokenRow(_Row, table=True):
    """A token of a record; *claim* is 0, or 1 if no other record may have it, or 2 while the trash has freed it."""

    __tablename__ = "tokens"
    __table_args__ = (
        Index(None, "record_no"),
        Index("ix_tokens_find", "tenant_no", "token", "at"),
        Index(
            "uq_tokens_claim",
            "tenant_no",
            "token",
            unique=True,
            sqlite_where=_CLAIMED,
            postgresql_where=_CLAIMED,
        ),
    )
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant_no: int = _long()
    record_no: int = _reference("records.no")
    token: int = _long()
    at: int = _long()
    claim: int


class SignatureRow(_Row, table=True):
    """The signature of a record, as four numbers of 64 bits."""

    __tablename__ = "signatures"
    record_no: int = Field(
        primary_key=True, sa_type=_Long, foreign_key="records.no", sa_column_kwargs={"autoincrement": False}
    )
    tenant_no: int = _long()
    s0: int = _long()
    s1: int = _long()
    s2: int = _long()
    s3: int = _long()


class ReasonRow(_Row, table=True):
    """One reason for a mark; *record* is empty if the whole subject carries it."""

    __tablename__ = "reasons"
    __table_args__ = (UniqueConstraint("subject_no", "id", "mark", "record"),)
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant_no: int = _long()
    subject_no: int = _reference("subjects.no")
    id: str
    mark: int
    record: str
    since: int = _long()


_WITH_BODY: Final = text("body IS NOT NULL")


class AnswerRow(_Row, table=True):
    """What was answered to a request; erasing its subject empties the body."""

    __tablename__ = "answers"
    __table_args__ = (
        UniqueConstraint("tenant_no", "key"),
        Index("ix_answers_subject", "tenant_no", "subject", sqlite_where=_WITH_BODY, postgresql_where=_WITH_BODY),
        Index("ix_answers_until", "until"),
    )
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant_no: int = _long()
    key: bytes
    digest: bytes
    until: int = _long()
    subject: str | None = None
    page: int | None = _optional()
    place: int | None = None
    body: bytes | None = None


class SuppressionRow(_Row, table=True):
    """An identifier that may not come in again, as a keyed hash in hexadecimal; *since* says from when on."""

    __tablename__ = "suppressions"
    __table_args__ = (UniqueConstraint("tenant_no", "hash"),)
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant_no: int = _reference("tenants.no")
    hash: str
    since: int = _long()


class OutboxRow(_Row, table=True):
    """A journal entry that was committed and is not yet known to have been shipped."""

    __tablename__ = "outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)
    no: int = Field(primary_key=True, sa_type=_Long)
    line: bytes


class JournaledRow(_Row, table=True):
    """Which *journal* belongs to the data, and up to which *position* everything in it is here."""

    __tablename__ = "journaled"
    no: int = _number()
    journal: str
    position: int = _long()


class UnindexedRow(_Row, table=True):
    """A tenant whose tokens and signatures are missing: a backup is without them."""

    __tablename__ = "unindexed"
    no: int = _number()


class LeafRow(_Row, table=True):
    """The data of a leaf; *no* counts from 0."""

    __tablename__ = "leaves"
    no: int = _number()
    data: bytes


class FrontierRow(_Row, table=True):
    """The frontier of the log at some sizes: now, and every 256 leaves."""

    __tablename__ = "frontiers"
    size: int = _number()
    frontier: bytes


class CheckpointRow(_Row, table=True):
    """The checkpoint that was kept last."""

    __tablename__ = "checkpoints"
    no: int = _number()
    note: str


class EntryRow(_Row, table=True):
    """An entry of the journal; *key_id* names the key of a re-sealed page."""

    __tablename__ = "entries"
    __table_args__ = ({"sqlite_autoincrement": True},)
    no: int = Field(primary_key=True, sa_type=_Long)
    key_id: bytes | None = Field(default=None, index=True)
    line: bytes


class KeyRow(_Row, table=True):
    """A wrapped page key, always of the same length; *tenant* is a keyed hash."""

    __tablename__ = "keys"
    __table_args__ = (UniqueConstraint("tenant", "page"),)
    no: int = Field(primary_key=True, sa_type=_Long)
    tenant: bytes
    page: int = _long()
    id: bytes
    wrapped: bytes


class SealRow(_Row, table=True):
    """What only the root key of this deployment opens."""

    __tablename__ = "seals"
    no: int = _number()
    sealed: bytes


_LOG: Final = (LeafRow, FrontierRow, CheckpointRow)
_DATA: Final = (
    TenantRow,
    SubjectRow,
    PageRow,
    RecordRow,
    TokenRow,
    SignatureRow,
    ReasonRow,
    AnswerRow,
    SuppressionRow,
    OutboxRow,
    JournaledRow,
    UnindexedRow,
)
TABLES: Final = {"data": _DATA + _LOG, "ledger": _LOG, "journal": (EntryRow,), "keystore": (KeyRow, SealRow)}
"""Which tables a file of each role has."""

_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
COLUMNS: Final = {
    table.name: {column.name: column.type.compile(_POSTGRESQL) for column in table.columns}
    for table in _Row.metadata.tables.values()
}
"""What PostgreSQL calls the types of the columns."""
