"""The ports of a store: records, answers, backlog, index, moments, suppressions, restoring; and all of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final, Protocol

import attrs

from capsule_core.moments import Events, Moment
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import (
    Act,
    Answer,
    Cursor,
    FoundBy,
    Mark,
    Page,
    Reason,
    Refused,
    Restore,
    Sealed,
    Slot,
    Subject,
    Touched,
    Trash,
    Where,
)

__all__ = [
    "EVERYONE",
    "Answers",
    "Backlog",
    "Derived",
    "Moments",
    "RecordStore",
    "Restorable",
    "Share",
    "Store",
    "Suppressions",
]


@attrs.frozen
class Share:
    """One of *of* shares of all tenants, *number* from 0: a store has each tenant in exactly one of so many."""

    number: int = 0
    of: int = 1

    def has(self, tenant: TenantId) -> bool:
        """Tell whether *tenant* is in this share, for a store that has no better way to split them."""
        return int.from_bytes(blake2b(tenant.encode(), digest_size=8).digest(), "big") % self.of == self.number


EVERYONE: Final = Share()
"""All tenants in one share."""


class RecordStore(Protocol):
    """Keeps sealed records of many tenants.

    C1. A call sees and changes records of its tenant only; a foreign id and an unknown id give the same answer.
    C2. What a call returned as done is durable; a call that raised has changed nothing.
    C3. ``write`` takes version 1 only for a record that is not there, version n + 1 only over version n that is not in
        the trash; else VersionMismatch. So does an expectation of the act that does not hold.
    C4. A record or subject carrying a mark that is not admitted is not returned by ``select``, is ``Refused`` by
        ``read``, and makes ``write`` raise MarksRefused, nothing changed; ``move`` leaves it where it is.
    C5. Deciding C3, C4 and the act's expectations, changing, the act's leaf and its answer are one transaction; there
        is one leaf for each act that touched something, and neither leaf nor answer for one that did not. Its place in
        the log is given at the latest when the ledger's ``head`` is asked for next. A witness never writes to a store.
    C6. ``move`` to the trash takes live records only and frees their claims; ``Restore`` takes back exactly its batch,
        the same bytes, and their claims: IdentifierTaken, and nothing is restored, if a live record has one by now.
        Each says from then on that it was restored when the act was, whatever is written over it.
    C7. A claim is held by one live record of a tenant; a second ``write`` of it raises IdentifierTaken.
    C8. ``mark`` keeps each reason on its own: a mark is carried until its last reason is lifted. FENCED is not put on a
        subject that is guarded (held, obliged, restricted) or has a guarded record, unless the act admits it. Nothing
        but ERASED is put on a fenced subject, and ERASED on no other. Unknown subjects get no marks. Touched says who
        got it.
    C9. ``destroy`` leaves out what is guarded and not admitted, and leaves nothing of the rest: no record, token,
        signature or answer body.
    C10. ``select`` returns exactly what ``matches`` says and C4 admits, newest first, each record once over all pages.
    C11. A subject, once known, stays known: its slot never changes. ``write`` raises VersionMismatch for a draft whose
        slot is not its subject's, or belongs to another.
    C12. An act whose answer has a key that is kept already raises RequestInFlight and changes nothing.
    C13. ``write`` raises MarksRefused for a draft if its subject or that one's partner (``remnants``) is GONE, whatever
        is admitted.
    C14. ``mark`` first hands the records *parting* over to the subjects they name now, sealed anew at the version they
        have; their reasons go with them, and they are found by nothing any more. VersionMismatch, and nothing is
        changed, if one is not there at that version, or lies in another's slot.
    C15. What guards EVERYBODY (``protection``) guards each subject and record of the tenant too, those to come
        included, and what guards a person guards their remnant: in C8, C9, B4 and where an act expects a record to be
        unguarded. Once ``mark`` has said so, nothing of them is fenced or destroyed, and no such act is done, whenever
        that began. EVERYBODY itself is never FENCED, whatever is admitted.
    C16. ``mark`` writes the records *beside* in the same act and before any reason is put, as ``write`` would that
        admits all but GONE; Touched names them first.
    C17. ``count`` tells how many records ``select`` would return in all.
    """

    def read(self, tenant: TenantId, ids: Sequence[RecordId], *, admits: Mark) -> Sequence[Sealed | Refused | None]:
        """Return the records named, without what they are found by, in order; None for one that is not there."""
        ...

    def select(self, where: Where, *, admits: Mark, limit: int, after: Cursor | None = None) -> Page:
        """Return up to *limit* records that are meant and admitted, newest first."""
        ...

    def count(self, where: Where, *, admits: Mark) -> int:
        """Count the records that are meant and admitted."""
        ...

    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Create and change records, all or none."""
        ...

    def move(self, where: Where, to: Trash | Restore, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Throw away or take back what is meant."""
        ...

    def mark(
        self,
        reasons: Sequence[Reason],
        *,
        act: Act,
        lift: bool = False,
        admits: Mark = Mark.NONE,
        parting: Sequence[Sealed] = (),
        beside: Sequence[Sealed] = (),
    ) -> Sequence[Touched]:
        """Put reasons or lift them; before, records *beside* are written, and *parting* ones change hands."""
        ...

    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Delete what is meant for good."""
        ...

    def subjects(self, tenant: TenantId, keys: Sequence[SubjectKey]) -> Sequence[Subject | None]:
        """Return what is known of the subjects, in order."""
        ...


class Answers(Protocol):
    """Keeps what was answered, so that a repeated request has one effect.

    A1. ``answered`` gives what an act or ``keep`` left under the key, in that tenant only; None if nothing was left.
    A2. After the subject of an answer is erased, the answer is there without its body.
    A3. ``forget`` drops, in every tenant, the answers whose time is over, and no other.
    """

    def answered(self, tenant: TenantId, key: bytes) -> Answer | None:
        """Return the answer kept under *key*."""
        ...

    def keep(self, answer: Answer) -> None:
        """Keep an answer that needs no act; one that is there stays."""
        ...

    def forget(self, now: datetime) -> None:
        """Drop the answers that were to be kept until *now* or earlier."""
        ...


class Backlog(Protocol):
    """What is waiting to be destroyed and why, over all tenants: for the sweep and for a restart, never for a caller.

    B1. ``due`` names each tenant of the share that has trash whose time is over, once, and no other; first whose trash
        has been due for longest.
    B2. ``unfinished`` gives the fences, of every tenant, of subjects that are not erased, and nothing else.
    B3. ``reasons`` gives each reason that was put on the subjects or their records and not lifted, and nobody else's.
    B4. ``released`` gives each KEPT, of every tenant of the share, of a subject that is not fenced and that nothing
        guards any more, or one of whose records nothing guards any more, and nothing else; asked of one tenant, those
        of that one.
    B5. Of any number of shares each tenant is in exactly one, always the same.
    B6. ``having`` names each tenant of the share that has a living record of the kind, once, and no other.
    B7. ``people`` gives every subject of the tenant that is known and not GONE, EVERYBODY and remnants too, each once
        over all pages, and no other; a page is empty only after the last.
    """

    def due(self, now: datetime, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have trash whose time is over."""
        ...

    def unfinished(self) -> Sequence[tuple[TenantId, Reason]]:
        """Return the fences of subjects that are not erased yet."""
        ...

    def released(self, of: Share | TenantId = EVERYONE) -> Sequence[tuple[TenantId, Reason]]:
        """Return why subjects were kept of which something has not to be kept any more."""
        ...

    def having(self, kind: str, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have a living record of a kind."""
        ...

    def people(self, tenant: TenantId, *, limit: int, after: SubjectKey | None = None) -> Sequence[SubjectKey]:
        """Return up to *limit* subjects that are not gone, from the one *after* which a page ended."""
        ...

    def reasons(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Reason]:
        """Return every reason that the subjects and their records carry."""
        ...


class Derived(Protocol):
    """What records are found by, which a store may lose in a crash, for it can be made again from the records.

    I1. While it is missing for a tenant, ``select`` by token or signature and ``write`` raise IndexMissing: never is
        nothing found, or an identifier given twice, because of it.
    I2. ``reindex`` says anew what records are found by, their claims as their trash lets them have them; of a record
        that is gone it says nothing. What it is told of the same contents twice is the same as once.
    I3. After ``indexed`` it is whole, until it is lost again.
    I4. ``unindexed`` names every tenant for which it is missing, and no other.
    """

    def reindex(self, tenant: TenantId, found_by: Sequence[FoundBy]) -> None:
        """Say anew what records are found by."""
        ...

    def indexed(self, tenant: TenantId) -> None:
        """Say that every record of the tenant was said to ``reindex``."""
        ...

    def unindexed(self) -> Sequence[TenantId]:
        """Name the tenants for which it is missing."""
        ...


class Restorable(Protocol):
    """What a restore does to a store before anybody is served; nobody else may.

    R1. ``position`` is where in the journal the newest entry lies that this store has seen there; 0 before the first.
        What an act of its own left in the journal is seen.
    R2. ``arrive`` says that the entries up to a position are in it; it never goes back.
    R3. ``recognise`` makes subjects known, each with its slot; one that is known, or whose slot is another's, stays as
        it is.
    R4. ``reinstate`` puts each record, with its trash, over an older version of it, over the same version elsewhere, or
        where there is none; the journal hears nothing of it. It leaves out whose subject is not known in that slot, or
        is fenced.
    R5. After ``reinstate`` changed something the tenant's index is missing (I1), until it is made again.
    R6. ``tenants`` names every tenant of which something is kept, once.
    """

    def position(self) -> int:
        """Return where in the journal the newest entry lies that was seen."""
        ...

    def arrive(self, position: int) -> None:
        """Say that everything in the journal up to *position* is here."""
        ...

    def recognise(self, tenant: TenantId, subjects: Mapping[SubjectKey, Slot]) -> None:
        """Make subjects known."""
        ...

    def reinstate(self, records: Sequence[Sealed], *, act: Act) -> Sequence[Touched]:
        """Put records of one tenant back as they were last written."""
        ...

    def tenants(self) -> Sequence[TenantId]:
        """Name the tenants of which something is kept."""
        ...


class Moments(Protocol):
    """Keeps when what happened to people last, for what is to go some time after (``moments``).

    M1. ``happened`` gives, for each subject in order, when each event happened last, as far as it was said; nothing for
        one that is unknown.
    M2. ``happen`` keeps a moment unless a later one is kept; one that says None takes the event back. It keeps nothing
        of a subject that is unknown there or GONE.
    M3. What an act says ``happened`` is kept with it, in one transaction, if the act touched something, and of subjects
        that it made known too; it is what ``happen`` would keep.
    M4. Who became known by ``write`` counts as opened and contacted when that was. Of a subject that carries ERASED
        nothing is kept any more.
    M5. ``tick`` keeps of each record what is *done* with it, if it has that version; ``read`` and ``select`` say it,
        and ``write`` forgets it.
    """

    def happened(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Events]:
        """Tell when what happened to the subjects."""
        ...

    def happen(self, tenant: TenantId, moments: Sequence[Moment]) -> None:
        """Keep when what happened."""
        ...

    def tick(self, tenant: TenantId, records: Sequence[Sealed]) -> None:
        """Keep what was done with records, so that it need not be done again: a number that speaks of no content."""
        ...


class Suppressions(Protocol):
    """Remembers which identifiers may not come in, as keyed hashes of at least 16 bytes, and refuses them.

    S1. ``suppressed`` gives those of the hashes that are suppressed in that tenant, and no other; what is suppressed in
        one tenant is not in another.
    S2. An act that ``brings`` suppressed identifiers makes ``write`` and ``move`` raise Barred with exactly those, and
        changes nothing. Once ``suppress`` has suppressed one, no act that brings it is done, whenever it began.
    S3. ``suppress`` suppresses hashes, or lifts them, and returns those that it changed, each once, in order. It keeps
        the act's expectations, leaf and answer as C5 says; its witness is shown nothing touched, and is asked for a
        leaf only if something was changed.
    S4. When ``suppress`` returns, what it changed is durable and is in the journal, at the time of the act.
    S5. A suppression stays until it is lifted, whatever is written, moved, marked or destroyed.
    S6. ``remembered`` gives hashes that are suppressed in that tenant, each once: as many as there are, or *limit*.
    """

    def suppressed(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Return those of *hashes* that are suppressed."""
        ...

    def remembered(self, tenant: TenantId, *, limit: int) -> Sequence[bytes]:
        """Return up to *limit* of all that is suppressed."""
        ...

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        """Suppress identifiers in the act's tenant, or let them in again; return those that were not so before."""
        ...


class Store(RecordStore, Answers, Backlog, Derived, Moments, Suppressions, Restorable, Protocol):
    """All that one store of records does."""
