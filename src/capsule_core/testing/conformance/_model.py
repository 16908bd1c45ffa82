"""What a record store must hold, in dictionaries, and the reasons for which it may refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from capsule_core.errors import IdentifierTaken, RequestInFlight, VersionMismatch
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.protection import EVERYBODY
from capsule_core.records import (
    GONE,
    GUARDED,
    Act,
    Answer,
    Mark,
    MarksRefused,
    Reason,
    Restore,
    Sealed,
    Shelf,
    Slot,
    Subject,
    Touched,
    Trash,
    Where,
    matches,
)
from capsule_core.remnants import is_remnant, partner_of, person_of

Obstacle = tuple[str, type[Exception]]
"""A clause that demands a refusal, and the error it demands."""

_ReasonKey = tuple[TenantId, str, Mark, SubjectKey, RecordId | None]


class Broken(Exception):
    pass


@attrs.define
class Witness:
    """Makes a leaf of what was touched, or breaks; remembers what it was shown."""

    breaks: bool = False
    shown: list[Touched] | None = None

    def __call__(self, touched: Sequence[Touched]) -> bytes | None:
        if self.breaks:
            raise Broken
        self.shown = list(touched)
        return f"{len(touched)} touched".encode() if touched else None


@attrs.define
class Model:
    """All tenants of one store."""

    records: dict[tuple[TenantId, RecordId], Sealed] = attrs.Factory(dict)
    slots: dict[tuple[TenantId, SubjectKey], Slot] = attrs.Factory(dict)
    reasons: dict[_ReasonKey, Reason] = attrs.Factory(dict)
    answers: dict[tuple[TenantId, bytes], Answer] = attrs.Factory(dict)
    trashed_claims: set[int] = attrs.Factory(set)
    destroyed_claims: set[int] = attrs.Factory(set)

    def marks(self, tenant: TenantId, subject: SubjectKey, record: RecordId | None = None) -> Mark:
        marks = Mark.NONE
        for (owner, *_), reason in self.reasons.items():
            if owner == tenant and reason.subject == subject and reason.record in {None, record}:
                marks |= reason.mark
        return marks

    def anywhere(self, tenant: TenantId, subject: SubjectKey) -> Mark:
        marks = Mark.NONE
        for (owner, *_), reason in self.reasons.items():
            if owner == tenant and reason.subject == subject:
                marks |= reason.mark
        return marks

    def guarded(self, tenant: TenantId, subject: SubjectKey) -> Mark:
        """What guards it because somebody else carries it: everybody, or the person whose remnant it is."""
        found = self.marks(tenant, EVERYBODY)
        if is_remnant(subject):
            found |= self.marks(tenant, person_of(subject))
        return found & GUARDED

    def carried(self, record: Sealed) -> Mark:
        return self.marks(record.tenant, record.subject, record.id)

    def protected(self, record: Sealed) -> Mark:
        return (self.carried(record) & GUARDED) | self.guarded(record.tenant, record.subject)

    def seen(self, record: Sealed) -> Sealed:
        return attrs.evolve(record, marks=self.carried(record))

    def meant(self, where: Where, *, refused: Mark = Mark.NONE) -> list[Sealed]:
        meant = [record for record in self.records.values() if matches(where, record)]
        return [self.seen(record) for record in meant if not self.carried(record) & refused]

    def unguarded(self, where: Where, *, admits: Mark) -> list[Sealed]:
        meant = self.meant(where, refused=GUARDED & ~admits)
        return [record for record in meant if not self.guarded(where.tenant, record.subject) & ~admits]

    def subject(self, tenant: TenantId, key: SubjectKey) -> Subject | None:
        slot = self.slots.get((tenant, key))
        return None if slot is None else Subject(key=key, slot=slot, marks=self.marks(tenant, key))

    def having(self, kind: str) -> set[TenantId]:
        return {record.tenant for record in self.records.values() if record.kind == kind and record.trash is None}

    def people(self, tenant: TenantId) -> list[SubjectKey]:
        return [key for owner, key in self.slots if owner == tenant and not self.marks(tenant, key) & GONE]

    def due(self, now: datetime) -> dict[TenantId, datetime]:
        over = [(r.tenant, r.trash.until) for r in self.records.values() if r.trash and r.trash.until <= now]
        return {tenant: min(until for owner, until in over if owner == tenant) for tenant, _ in over}

    def unfinished(self) -> list[tuple[TenantId, Reason]]:
        return [
            (tenant, reason)
            for (tenant, *_), reason in self.reasons.items()
            if reason.mark is Mark.FENCED and not self.marks(tenant, reason.subject) & Mark.ERASED
        ]

    def released(self) -> list[tuple[TenantId, Reason]]:
        kept = [(key[0], reason) for key, reason in self.reasons.items() if reason.mark is Mark.KEPT]
        return [each for each in kept if self._is_released(each[0], each[1].subject)]

    def _is_released(self, tenant: TenantId, subject: SubjectKey) -> bool:
        if self.guarded(tenant, subject) or self.anywhere(tenant, subject) & Mark.FENCED:
            return False
        of_them = [each for each in self.records.values() if (each.tenant, each.subject) == (tenant, subject)]
        free = any(not self.carried(record) & GUARDED for record in of_them)
        return free or not self.anywhere(tenant, subject) & GUARDED

    def against_parting(self, tenant: TenantId, drafts: Sequence[Sealed]) -> Iterator[Obstacle]:
        slots = {key: slot for (owner, key), slot in self.slots.items() if owner == tenant}
        for draft in drafts:
            held = self.records.get((tenant, draft.id))
            if held is None or held.version != draft.version:
                yield "C14", VersionMismatch
            if slots.setdefault(draft.subject, draft.slot) != draft.slot:
                yield "C14", VersionMismatch
        if len(set(slots.values())) < len(slots):
            yield "C14", VersionMismatch

    def guards(self, tenant: TenantId, record: RecordId) -> frozenset[str]:
        mine = (r for (owner, *_), r in self.reasons.items() if owner == tenant and r.record == record)
        held = self.records.get((tenant, record))
        return frozenset(r.id for r in mine if r.mark & GUARDED and held and r.subject == held.subject)

    def against_act(self, act: Act) -> Iterator[Obstacle]:
        for expected in act.expects:
            if expected.guards not in {None, self.guards(act.tenant, expected.id)}:
                yield "C3", VersionMismatch
            record = self.records.get((act.tenant, expected.id))
            if expected.unguarded and record and self.protected(record):
                yield "C15", VersionMismatch
            batch = record.trash.batch if record and record.trash else None
            if record is None or batch != expected.batch or expected.version not in {None, record.version}:
                yield "C3", VersionMismatch
        if act.answer is not None and (act.tenant, act.answer.key) in self.answers:
            yield "C12", RequestInFlight

    def against_write(self, drafts: Sequence[Sealed], *, admits: Mark) -> Iterator[Obstacle]:
        slots = dict(self.slots)
        for draft in drafts:
            held = self.records.get((draft.tenant, draft.id))
            carried = self.carried(draft) | (self.carried(held) if held else Mark.NONE)
            if carried & ~admits:
                yield "C4", MarksRefused
            if (self.carried(draft) | self.marks(draft.tenant, partner_of(draft.subject))) & GONE:
                yield "C13", MarksRefused
            if draft.version != (held.version + 1 if held else 1) or (held and held.trash):
                yield "C3", VersionMismatch
            if slots.setdefault((draft.tenant, draft.subject), draft.slot) != draft.slot:
                yield "C11", VersionMismatch
        if len({draft.id for draft in drafts}) < len(drafts):
            yield "C3", VersionMismatch
        places = [(tenant, slot) for (tenant, _), slot in slots.items()]
        if len(set(places)) < len(places):
            yield "C11", VersionMismatch
        yield from self.against_claims(drafts)

    def against_claims(self, records: Sequence[Sealed]) -> Iterator[Obstacle]:
        own = {(record.tenant, record.id) for record in records}
        live = [record for key, record in self.records.items() if key not in own and record.trash is None]
        claims = [(record.tenant, claim) for record in (*live, *records) for claim in record.claims]
        if len(set(claims)) < len(claims):
            yield "C7", IdentifierTaken

    def write(self, drafts: Sequence[Sealed]) -> None:
        for draft in drafts:
            self.slots.setdefault((draft.tenant, draft.subject), draft.slot)
            self.records[draft.tenant, draft.id] = draft

    def part(self, tenant: TenantId, drafts: Sequence[Sealed]) -> None:
        for draft in drafts:
            held = self.records[tenant, draft.id]
            self.slots.setdefault((tenant, draft.subject), draft.slot)
            for key, reason in list(self.reasons.items()):
                if (key[0], reason.subject, reason.record) == (tenant, held.subject, held.id):
                    del self.reasons[key]
                    moved = attrs.evolve(reason, subject=draft.subject)
                    self.reasons[_key(tenant, moved)] = moved
            self.records[tenant, draft.id] = attrs.evolve(
                held, subject=draft.subject, slot=draft.slot, blob=draft.blob, tokens=(), claims=(), signature=b""
            )

    def move(self, records: Sequence[Sealed], trash: Trash | None) -> None:
        for record in records:
            self.records[record.tenant, record.id] = attrs.evolve(record, trash=trash, marks=Mark.NONE)
            if trash is not None:
                self.trashed_claims.update(record.claims)

    def destroy(self, records: Sequence[Sealed]) -> None:
        gone = {(record.tenant, record.subject) for record in records}
        for record in records:
            del self.records[record.tenant, record.id]
            self.destroyed_claims.update(record.claims)
        for key, answer in self.answers.items():
            if answer.subject is not None and (answer.tenant, answer.subject) in gone:
                self.answers[key] = attrs.evolve(answer, body=None)

    def to_put(self, tenant: TenantId, reasons: Sequence[Reason], *, admits: Mark) -> list[Reason]:
        return [r for r in _each_once(tenant, reasons) if self._may_be_put(tenant, r, admits)]

    def to_lift(self, tenant: TenantId, reasons: Sequence[Reason]) -> list[Reason]:
        return [reason for reason in _each_once(tenant, reasons) if _key(tenant, reason) in self.reasons]

    def put(self, tenant: TenantId, reasons: Sequence[Reason]) -> None:
        self.reasons |= {_key(tenant, reason): reason for reason in reasons}

    def lift(self, tenant: TenantId, reasons: Sequence[Reason]) -> None:
        for reason in reasons:
            del self.reasons[_key(tenant, reason)]

    def _may_be_put(self, tenant: TenantId, reason: Reason, admits: Mark) -> bool:
        if _key(tenant, reason) in self.reasons or (tenant, reason.subject) not in self.slots:
            return False
        anywhere = self.anywhere(tenant, reason.subject)
        if reason.mark is Mark.ERASED:
            return Mark.FENCED in anywhere
        if reason.mark is not Mark.FENCED:
            return not anywhere & (Mark.FENCED | Mark.ERASED)
        anywhere |= self.guarded(tenant, reason.subject)
        return reason.subject != EVERYBODY and not anywhere & (Mark.FENCED | Mark.ERASED | GUARDED & ~admits)


def meant_by_move(where: Where, to: Trash | Restore) -> Where:
    """Narrow *where* to what a move takes: live records to the trash, and from it exactly one batch."""
    if isinstance(to, Trash):
        return attrs.evolve(where, shelf=Shelf.LIVE)
    return attrs.evolve(where, shelf=Shelf.TRASHED, batch=to.batch)


def _key(tenant: TenantId, reason: Reason) -> _ReasonKey:
    return tenant, reason.id, reason.mark, reason.subject, reason.record


def _each_once(tenant: TenantId, reasons: Sequence[Reason]) -> list[Reason]:
    return list({_key(tenant, reason): reason for reason in reasons}.values())


def bare(record: Sealed) -> Sealed:
    return attrs.evolve(plain(record), marks=Mark.NONE)


def plain(record: Sealed) -> Sealed:
    """Leave out what a record is found by: that is not read back."""
    return attrs.evolve(record, tokens=(), claims=(), signature=b"")


def by_id(records: Sequence[Sealed]) -> dict[RecordId, Sealed]:
    return {record.id: plain(record) for record in records}
