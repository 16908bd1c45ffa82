"""The small ports beside the record store: answers, backlog, index, suppressions, restoring; and all of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from capsule_core.names import SubjectKey, TenantId
from capsule_core.records import Act, Answer, FoundBy, Reason, RecordStore, Sealed, Slot, Touched

__all__ = ["Answers", "Backlog", "Derived", "Restorable", "Store", "Suppressions"]


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

    B1. ``due`` names each tenant that has trash whose time is over, once, and no other.
    B2. ``unfinished`` gives the fences, of every tenant, of subjects that are not erased, and nothing else.
    B3. ``reasons`` gives each reason that was put on the subjects or their records and not lifted, and nobody else's.
    B4. ``released`` gives each KEPT, of every tenant, of a subject that is not fenced and that nothing guards any more,
        or one of whose records nothing guards any more, and nothing else.
    """

    def due(self, now: datetime) -> Sequence[TenantId]:
        """Name the tenants that have trash whose time is over."""
        ...

    def unfinished(self) -> Sequence[tuple[TenantId, Reason]]:
        """Return the fences of subjects that are not erased yet."""
        ...

    def released(self) -> Sequence[tuple[TenantId, Reason]]:
        """Return why subjects were kept of which something has not to be kept any more."""
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
    """

    def suppressed(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Return those of *hashes* that are suppressed."""
        ...

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        """Suppress identifiers in the act's tenant, or let them in again; return those that were not so before."""
        ...


class Store(RecordStore, Answers, Backlog, Derived, Suppressions, Restorable, Protocol):
    """All that one store of records does."""
