"""What a record store must hold, in dictionaries, and the reasons for which it may refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from capsule_core.errors import IdentifierTaken, RequestInFlight, VersionMismatch
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import (
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
    Trash,
    Where,
    matches,
)

Obstacle = tuple[str, type[Exception]]
"""A clause that demands a refusal, and the error it demands."""

_ReasonKey = tuple[TenantId, str, Mark, SubjectKey, RecordId | None]


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

    def carried(self, record: Sealed) -> Mark:
        return self.marks(record.tenant, record.subject, record.id)

    def seen(self, record: Sealed) -> Sealed:
        return attrs.evolve(record, marks=self.carried(record))

    def meant(self, where: Where, *, refused: Mark = Mark.NONE) -> list[Sealed]:
        meant = [record for record in self.records.values() if matches(where, record)]
        return [self.seen(record) for record in meant if not self.carried(record) & refused]

    def subject(self, tenant: TenantId, key: SubjectKey) -> Subject | None:
        slot = self.slots.get((tenant, key))
        return None if slot is None else Subject(key=key, slot=slot, marks=self.marks(tenant, key))

    def due(self, now: datetime) -> set[TenantId]:
        return {record.tenant for record in self.records.values() if record.trash and record.trash.until <= now}

    def unfinished(self) -> list[tuple[TenantId, Reason]]:
        return [
            (tenant, reason)
            for (tenant, *_), reason in self.reasons.items()
            if reason.mark is Mark.FENCED and not self.marks(tenant, reason.subject) & Mark.ERASED
        ]

    def against_act(self, act: Act) -> Iterator[Obstacle]:
        for expected in act.expects:
            record = self.records.get((act.tenant, expected.id))
            batch = record.trash.batch if record and record.trash else None
            if record is None or batch != expected.batch or expected.version not in {None, record.version}:
                yield "C3", VersionMismatch
        if act.answer is not None and (act.tenant, act.answer.key) in self.answers:
            yield "C12", RequestInFlight

    def against_write(self, drafts: Sequence[Sealed], *, admits: Mark) -> Iterator[Obstacle]:
        slots = dict(self.slots)
        for draft in drafts:
            held = self.records.get((draft.tenant, draft.id))
            if (self.carried(draft) | (self.carried(held) if held else Mark.NONE)) & ~admits:
                yield "C4", MarksRefused
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
        guards = GUARDED & ~admits if reason.mark is Mark.FENCED else Mark.NONE
        return not anywhere & (Mark.FENCED | Mark.ERASED | guards)


def meant_by_move(where: Where, to: Trash | Restore) -> Where:
    """Narrow *where* to what a move takes: live records to the trash, and from it exactly one batch."""
    if isinstance(to, Trash):
        return attrs.evolve(where, shelf=Shelf.LIVE)
    return attrs.evolve(where, shelf=Shelf.TRASHED, batch=to.batch)


def _key(tenant: TenantId, reason: Reason) -> _ReasonKey:
    return tenant, reason.id, reason.mark, reason.subject, reason.record


def _each_once(tenant: TenantId, reasons: Sequence[Reason]) -> list[Reason]:
    return list({_key(tenant, reason): reason for reason in reasons}.values())
