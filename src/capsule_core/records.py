"""The record store: sealed records, whose they are, and what may be done to them.

A store (``stores.RecordStore``) sees operational columns and one sealed blob a record; it never opens one. Every change
needs an :class:`Act`, so that none is without a leaf in the ledger. Ports are set-wise within one tenant: many at once,
one is the special case.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import attrs

from capsule_core.moments import Event, Events, Moment, Past, is_past
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId

__all__ = [
    "GONE",
    "GUARDED",
    "Act",
    "Answer",
    "Barred",
    "Cursor",
    "Expected",
    "FoundBy",
    "Mark",
    "MarksRefused",
    "Page",
    "Reason",
    "Refused",
    "Restore",
    "Sealed",
    "Shelf",
    "Slot",
    "Subject",
    "Touched",
    "Trash",
    "Where",
    "Witness",
    "events_of",
    "matches",
]


class Mark(enum.IntFlag):
    """What a subject or a record carries: the union of its reasons, never one status."""

    NONE = 0
    HELD = 1
    OBLIGED = 2
    RESTRICTED = 4
    OBJECTED = 8
    FENCED = 16
    ERASED = 32
    KEPT = 64


GUARDED = Mark.HELD | Mark.OBLIGED | Mark.RESTRICTED
"""What keeps data from being destroyed, unless the act admits it."""

GONE = Mark.FENCED | Mark.ERASED | Mark.KEPT
"""What a person carries for whom nothing is written any more: erased, or erased but for what is kept (``remnants``)."""


class Shelf(enum.Enum):
    """Where to look: among the living, in the trash, or in both."""

    LIVE = "live"
    TRASHED = "trashed"
    ANY = "any"


@attrs.frozen
class Slot:
    """Where a subject's key lies: a key page and one of its 256 places."""

    page: int
    index: int


@attrs.frozen(kw_only=True)
class Subject:
    """What a store knows of a person: a surrogate, where the key lies, and what they carry."""

    key: SubjectKey
    slot: Slot
    marks: Mark = Mark.NONE


@attrs.frozen(kw_only=True)
class Reason:
    """One reason for a mark, on one subject or one of its records; two holds are two reasons."""

    id: str
    mark: Mark
    subject: SubjectKey
    since: datetime
    record: RecordId | None = None


@attrs.frozen(kw_only=True)
class Trash:
    """What was thrown away together at one moment, and when it is destroyed."""

    batch: str
    at: datetime
    until: datetime


@attrs.frozen
class Restore:
    """Take back what was thrown away together in *batch*."""

    batch: str


@attrs.frozen(kw_only=True)
class Sealed:
    """One record: what operating it needs, and everything personal in *blob*.

    *at* is its time in the business, *root* the record it hangs on (itself, if it hangs on none), *tokens* the keyed
    hashes it is found by, *claims* those among them that no other live record may hold, *signature* 32 bytes for word
    prefixes: these three are written and searched, and not read back. *version* counts contents only: the trash and its
    undoing do not touch it. *restored* is when it was taken back from the trash last, *done* stands for
    what rules have emptied of this version.
    """

    tenant: TenantId
    kind: str
    id: RecordId
    root: RecordId
    subject: SubjectKey
    slot: Slot
    version: int
    at: datetime
    created: datetime
    updated: datetime
    blob: bytes = attrs.field(repr=False)
    tokens: tuple[int, ...] = ()
    claims: tuple[int, ...] = ()
    signature: bytes = b""
    trash: Trash | None = None
    restored: datetime | None = attrs.field(default=None, eq=False)
    done: int | None = attrs.field(default=None, eq=False)
    marks: Mark = Mark.NONE


@attrs.frozen(kw_only=True)
class FoundBy:
    """What a record is found by, as in :class:`Sealed`."""

    id: RecordId
    tokens: tuple[int, ...] = ()
    claims: tuple[int, ...] = ()
    signature: bytes = b""


@attrs.frozen
class Refused:
    """A record is there, but its subject or itself carries *marks* that the call does not admit."""

    marks: Mark


@attrs.frozen(kw_only=True)
class Touched:
    """What a change really changed."""

    id: RecordId | None
    kind: str
    subject: SubjectKey
    slot: Slot
    version: int = 0


@attrs.define
class MarksRefused(Exception):
    """A change was refused for the *marks* that a subject or record carries; ``uses.refusal`` says it to a caller."""

    marks: Mark


@attrs.define
class Barred(Exception):
    """A change was refused because identifiers that it brings in are suppressed: those with these *hashes*."""

    hashes: frozenset[bytes]


Witness = Callable[[Sequence[Touched]], bytes | None]
"""Makes the leaf of a change from what really changed; None if it is not worth one (nothing changed)."""


@attrs.frozen(kw_only=True)
class Expected:
    """A record as the caller believes it to be (AIP-154).

    At *version* (None: any), and living or, if *batch* says so, thrown away with that batch; *guards* are the ids of
    all reasons that guard it itself (None: any), *past* says what happened to it how long ago. *unguarded* says that
    nothing guards it: neither itself, nor its subject, nor anybody for it; so expects who will write less over it.
    """

    id: RecordId
    version: int | None = None
    batch: str | None = None
    past: Past | None = None
    guards: frozenset[str] | None = None
    unguarded: bool = False


@attrs.frozen(kw_only=True)
class Answer:
    """What was answered to a request, so that repeating it has one effect.

    *key* is a keyed hash of who asked what under which request id, *digest* one of the request, *body* sealed; an
    erasure empties the body and keeps the rest until *until*.
    """

    tenant: TenantId
    key: bytes
    digest: bytes
    until: datetime
    subject: SubjectKey | None = None
    slot: Slot | None = None
    body: bytes | None = attrs.field(default=None, repr=False)


def _unwitnessed(_: Sequence[Touched]) -> bytes | None:
    raise RuntimeError("an act reached the store without a witness; only the repository and the eraser call stores")


@attrs.frozen(kw_only=True)
class Act:
    """Who changes something, when, by which operation and for which use, and what must go with it in one transaction.

    *brings* are the keyed hashes of the identifiers that come in with it: if one of them is suppressed, nothing is
    changed. *happened* is kept with it as ``stores.Moments`` says. *detail* is said in its leaf and holds nothing
    personal. *journaled* names the kinds of records that the journal gets too; it gets nothing of an act that is
    *replayed* from it. *witness* is put on by whoever calls the store; an act without one changes nothing.
    """

    tenant: TenantId
    actor: ActorRef
    verb: str
    use: str
    at: datetime
    expects: tuple[Expected, ...] = ()
    brings: tuple[bytes, ...] = ()
    happened: tuple[Moment, ...] = ()
    detail: Mapping[str, str] = attrs.Factory(dict)
    answer: Answer | None = None
    journaled: frozenset[str] = frozenset()
    replayed: bool = False
    witness: Witness = attrs.field(default=_unwitnessed, repr=False)


@attrs.frozen(kw_only=True)
class Where:
    """Which records of one tenant are meant: all conditions that are given hold.

    *tokens* are all among the record's, *signature* has no bit that the record's lacks (false drops are for the caller
    to drop), *due* asks for trash whose time is over, *batch* for what was thrown away together, *past* for what
    happened long ago.
    """

    tenant: TenantId
    shelf: Shelf = Shelf.LIVE
    ids: tuple[RecordId, ...] | None = None
    roots: tuple[RecordId, ...] | None = None
    subjects: tuple[SubjectKey, ...] | None = None
    kinds: tuple[str, ...] | None = None
    tokens: tuple[int, ...] = ()
    signature: bytes = b""
    batch: str | None = None
    due: datetime | None = None
    past: Past | None = None


@attrs.frozen
class Cursor:
    """Where a page ended: the last record's time and id. Records are listed newest first."""

    at: datetime
    id: RecordId


@attrs.frozen
class Page:
    """Some records, without what they are found by, and where to go on; None after the last."""

    records: tuple[Sealed, ...]
    after: Cursor | None


def events_of(record: Sealed, happened: Events, closed: datetime | None = None) -> Events:
    """Say when what happened to a record, to its subject (*happened*), and to the tenant, if it is *closed*."""
    own = {Event.CREATED: record.created, Event.UPDATED: record.updated}
    own |= {} if closed is None else {Event.TENANT_CLOSED: closed}
    own |= {} if record.restored is None else {Event.RESTORED: record.restored}
    return {**happened, **own} | ({} if record.trash is None else {Event.TRASHED: record.trash.at})


def matches(where: Where, record: Sealed, happened: Events | None = None) -> bool:
    """Tell whether *record* is among those meant by *where*; what every store's selection is compared to.

    *happened* is what did to its subject.
    """
    trash = record.trash
    return (
        record.tenant == where.tenant
        and (where.shelf is Shelf.ANY or (trash is not None) == (where.shelf is Shelf.TRASHED))
        and (where.ids is None or record.id in where.ids)
        and (where.roots is None or record.root in where.roots)
        and (where.subjects is None or record.subject in where.subjects)
        and (where.kinds is None or record.kind in where.kinds)
        and set(where.tokens) <= set(record.tokens)
        and _covers(record.signature, where.signature)
        and (where.batch is None or (trash is not None and trash.batch == where.batch))
        and (where.due is None or (trash is not None and trash.until <= where.due))
        and (where.past is None or is_past(where.past, events_of(record, happened or {})))
    )


def _covers(signature: bytes, wanted: bytes) -> bool:
    bits = int.from_bytes(wanted, "big")
    return int.from_bytes(signature, "big") & bits == bits
