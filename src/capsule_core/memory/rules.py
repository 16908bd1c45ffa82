"""What a store in memory checks before it changes anything, and how its rows are named and ordered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from capsule_core.errors import IdentifierTaken, VersionMismatch
from capsule_core.journal import Marked
from capsule_core.names import RecordId, SubjectKey, TenantId, micros
from capsule_core.protection import EVERYBODY, protectors
from capsule_core.records import (
    GONE,
    GUARDED,
    Act,
    Answer,
    Cursor,
    Expected,
    FoundBy,
    Mark,
    Reason,
    Sealed,
    Slot,
    Touched,
    Trash,
)
from capsule_core.stores import Share

__all__ = [
    "Answers",
    "ReasonKey",
    "Reasons",
    "Records",
    "Subjects",
    "anywhere",
    "bearers",
    "change",
    "claim",
    "due",
    "emptied",
    "fits",
    "follow",
    "guarded",
    "guards",
    "hand_over",
    "having",
    "lacks",
    "marked",
    "marks",
    "may_change",
    "move",
    "newest_first",
    "part",
    "people",
    "place",
    "protected",
    "put",
    "reason_key",
    "recognised",
    "reindex",
    "released",
    "tick",
    "touched",
    "unfinished",
    "unknown",
]

ReasonKey = tuple[TenantId, str, Mark, SubjectKey, RecordId | None]
Records = Mapping[tuple[TenantId, RecordId], Sealed]
Subjects = Mapping[tuple[TenantId, SubjectKey], Slot]
Reasons = dict[ReasonKey, Reason]
Answers = Mapping[tuple[TenantId, bytes], Answer]


def touched(record: Sealed) -> Touched:
    """Say what was touched."""
    return Touched(id=record.id, kind=record.kind, subject=record.subject, slot=record.slot, version=record.version)


def reason_key(tenant: TenantId, reason: Reason) -> ReasonKey:
    """Name a reason: two with one name are one."""
    return tenant, reason.id, reason.mark, reason.subject, reason.record


def bearers(subjects: Subjects, tenant: TenantId, reasons: Iterable[Reason]) -> list[Touched]:
    """Say who gets reasons, or loses them."""
    return [
        Touched(id=each.record, kind="", subject=each.subject, slot=subjects[tenant, each.subject]) for each in reasons
    ]


def newest_first(place: Sealed | Cursor) -> tuple[int, tuple[int, ...]]:
    """Order records as lists do."""
    return -micros(place.at), tuple(-ord(character) for character in place.id)


def place(subjects: Subjects, drafts: Sequence[Sealed]) -> None:
    """Refuse a slot that is not the subject's, or is another's: nobody may share a key.

    Raises:
        VersionMismatch: one is.
    """
    owners = {(tenant, slot): key for (tenant, key), slot in subjects.items()}
    slots = dict(subjects)
    for draft in drafts:
        known = slots.setdefault((draft.tenant, draft.subject), draft.slot)
        owner = owners.setdefault((draft.tenant, draft.slot), draft.subject)
        if known != draft.slot or owner != draft.subject:
            raise VersionMismatch


def fits(expected: Expected, record: Sealed, reasons: Reasons) -> bool:
    """Tell whether a record is as it is expected to be."""
    return (
        expected.batch == (record.trash.batch if record.trash is not None else None)
        and expected.version in {None, record.version}
        and expected.guards in {None, guards(reasons, record)}
        and not (expected.unguarded and protected(reasons, record))
    )


def protected(reasons: Reasons, record: Sealed) -> Mark:
    """Return what guards a record: itself, its subject, or anybody for it."""
    own = marks(reasons, record.tenant, record.subject, record.id)
    return (own & GUARDED) | guarded(reasons, record.tenant, record.subject)


def follow(records: Records, drafts: Sequence[Sealed]) -> None:
    """Let pass drafts that are each the next version of what is there.

    Raises:
        VersionMismatch: one is not.
    """
    for draft in drafts:
        held = records.get((draft.tenant, draft.id))
        if draft.version != (held.version + 1 if held else 1) or (held and held.trash):
            raise VersionMismatch
    if len({draft.id for draft in drafts}) < len(drafts):
        raise VersionMismatch


def claim(records: Records, claiming: Iterable[Sealed]) -> None:
    """Let pass records whose claims no other live one has.

    Raises:
        IdentifierTaken: one has.
    """
    claiming = list(claiming)
    own = {(record.tenant, record.id) for record in claiming}
    taken = {
        (record.tenant, claim)
        for key, record in records.items()
        if key not in own and record.trash is None
        for claim in record.claims
    }
    for record in claiming:
        for each in record.claims:
            if (record.tenant, each) in taken:
                raise IdentifierTaken(record.kind, "identifier")
            taken.add((record.tenant, each))


def reindex(records: dict[tuple[TenantId, RecordId], Sealed], tenant: TenantId, found_by: Iterable[FoundBy]) -> None:
    """Let records be found by what is said anew."""
    for said in found_by:
        held = records.get((tenant, said.id))
        if held is not None:
            records[tenant, said.id] = attrs.evolve(
                held, tokens=said.tokens, claims=said.claims, signature=said.signature
            )


def recognised(
    known: Subjects, tenant: TenantId, subjects: Mapping[SubjectKey, Slot]
) -> dict[tuple[TenantId, SubjectKey], Slot]:
    """Return those of *subjects* who are not known yet, and whose slots are nobody else's."""
    fresh: dict[tuple[TenantId, SubjectKey], Slot] = {}
    taken = {slot for (owner, _), slot in known.items() if owner == tenant}
    for key, slot in subjects.items():
        if (tenant, key) not in known and slot not in taken:
            fresh[tenant, key] = slot
            taken.add(slot)
    return fresh


def lacks(records: Records, subjects: Subjects, record: Sealed) -> bool:
    """Tell whether a record is older here, or elsewhere, or missing; and its subject known where it says."""
    held = records.get((record.tenant, record.id))
    if subjects.get((record.tenant, record.subject)) != record.slot:
        return False
    if held is None or held.version < record.version:
        return True
    there, here = (record.subject, record.trash), (held.subject, held.trash)
    return held.version == record.version and there != here


def hand_over(reasons: Reasons, held: Sealed, subject: SubjectKey) -> None:
    """Let the reasons of a record go with it to another subject."""
    for key, reason in list(reasons.items()):
        if (key[0], reason.subject, reason.record) == (held.tenant, held.subject, held.id):
            moved = attrs.evolve(reasons.pop(key), subject=subject)
            reasons[reason_key(held.tenant, moved)] = moved


def part(records: dict[tuple[TenantId, RecordId], Sealed], reasons: Reasons, tenant: TenantId, draft: Sealed) -> None:
    """Hand a record over to the subject that *draft* names; it is found by nothing any more.

    Raises:
        VersionMismatch: it is not there at that version.
    """
    held = records.get((tenant, draft.id))
    if held is None or held.version != draft.version:
        raise VersionMismatch
    hand_over(reasons, held, draft.subject)
    bare = attrs.evolve(held, tokens=(), claims=(), signature=b"")
    records[tenant, draft.id] = attrs.evolve(bare, subject=draft.subject, slot=draft.slot, blob=draft.blob)


def unknown(
    subjects: Subjects, tenant: TenantId, given: Mapping[SubjectKey, Slot]
) -> dict[tuple[TenantId, SubjectKey], Slot]:
    """Return those of the *given* subjects that are not known, and whose slot is nobody's."""
    taken = {slot for (owner, _), slot in subjects.items() if owner == tenant}
    fresh: dict[tuple[TenantId, SubjectKey], Slot] = {}
    for key, slot in given.items():
        if (tenant, key) not in subjects and slot not in taken:
            fresh[tenant, key] = slot
            taken.add(slot)
    return fresh


def emptied(answers: Answers, tenant: TenantId, subjects: Collection[SubjectKey]) -> Answers:
    """Return what was answered about *subjects*, without what it said."""
    about = {key: answer for key, answer in answers.items() if answer.tenant == tenant and answer.subject in subjects}
    return {key: attrs.evolve(answer, body=None) for key, answer in about.items()}


def marks(reasons: Reasons, tenant: TenantId, subject: SubjectKey, record: RecordId | None = None) -> Mark:
    """Return the marks that a subject carries, and one of its records with it."""
    found = Mark.NONE
    for (owner, *_), reason in reasons.items():
        if owner == tenant and reason.subject == subject and reason.record in {None, record}:
            found |= reason.mark
    return found


def anywhere(reasons: Reasons, tenant: TenantId, subject: SubjectKey) -> Mark:
    """Return the marks that a subject or any of its records carries."""
    found = Mark.NONE
    for (owner, *_), reason in reasons.items():
        if owner == tenant and reason.subject == subject:
            found |= reason.mark
    return found


def guarded(reasons: Reasons, tenant: TenantId, subject: SubjectKey) -> Mark:
    """Return what guards a subject because somebody else carries it."""
    found = Mark.NONE
    for other in protectors(subject):
        found |= marks(reasons, tenant, other)
    return found & GUARDED


def guards(reasons: Reasons, record: Sealed) -> frozenset[str]:
    """Return the ids of the reasons that guard a record itself."""
    bearer = (record.tenant, record.subject, record.id)
    mine = (reason for key, reason in reasons.items() if (key[0], *key[3:]) == bearer)
    return frozenset(reason.id for reason in mine if reason.mark & GUARDED)


def having(records: Iterable[Sealed], kind: str, share: Share) -> list[TenantId]:
    """Name the tenants of a share that have a living record of a kind."""
    there = {each.tenant for each in records if each.kind == kind and each.trash is None}
    return sorted(filter(share.has, there))


def people(subjects: Subjects, reasons: Reasons, tenant: TenantId, after: str) -> list[SubjectKey]:
    """Return the subjects of a tenant after one that are not gone."""
    known = sorted(key for owner, key in subjects if owner == tenant and key > after)
    return [key for key in known if not marks(reasons, tenant, key) & GONE]


def unfinished(reasons: Reasons) -> list[tuple[TenantId, Reason]]:
    """Return the fences of subjects that are not erased."""
    fences = [(key[0], reason) for key, reason in reasons.items() if reason.mark is Mark.FENCED]
    return [each for each in fences if not marks(reasons, each[0], each[1].subject) & Mark.ERASED]


def released(reasons: Reasons, records: Records, of: Share | TenantId) -> list[tuple[TenantId, Reason]]:
    """Return why subjects were kept that nobody fenced, and that nothing guards, or not all of their records."""
    kept = [(key[0], reason) for key, reason in reasons.items() if reason.mark is Mark.KEPT and _is_of(key[0], of)]
    return [each for each in kept if _is_released(reasons, records, each[0], each[1].subject)]


def _is_of(tenant: TenantId, of: Share | TenantId) -> bool:
    return of.has(tenant) if isinstance(of, Share) else tenant == of


def _is_released(reasons: Reasons, records: Records, tenant: TenantId, subject: SubjectKey) -> bool:
    there = anywhere(reasons, tenant, subject)
    own = marks(reasons, tenant, subject) | guarded(reasons, tenant, subject)
    if there & Mark.FENCED or own & GUARDED:
        return False
    of_them = [record for record in records.values() if (record.tenant, record.subject) == (tenant, subject)]
    return not there & GUARDED or any(not guards(reasons, record) for record in of_them)


def may_change(reasons: Reasons, tenant: TenantId, reason: Reason, *, lift: bool, admits: Mark) -> bool:
    """Tell whether a reason is there to be lifted; or is not, and the marks that are there let it be put."""
    present = reason_key(tenant, reason) in reasons
    if lift or present:
        return lift and present
    there = anywhere(reasons, tenant, reason.subject)
    if reason.mark is Mark.ERASED:
        return Mark.FENCED in there
    if reason.mark is not Mark.FENCED:
        return not there & (Mark.FENCED | Mark.ERASED) & ~admits
    there |= guarded(reasons, tenant, reason.subject)
    return reason.subject != EVERYBODY and not there & (Mark.FENCED | Mark.ERASED | GUARDED) & ~admits


def change(reasons: Reasons, tenant: TenantId, changed: Sequence[Reason], *, lift: bool) -> None:
    """Put reasons, or lift them."""
    named = {reason_key(tenant, reason): reason for reason in changed}
    if not lift:
        reasons |= named
        return
    for key in named:
        del reasons[key]


def marked(act: Act, changed: Sequence[Reason], bearers: Sequence[Touched], *, lift: bool) -> Marked:
    """Write down what an act marked, as the journal is told."""
    slots, detail = tuple(each.slot for each in bearers), dict(act.detail)
    return Marked(tenant=act.tenant, reasons=tuple(changed), lift=lift, slots=slots, detail=detail)


def move(records: dict[tuple[TenantId, RecordId], Sealed], record: Sealed, trash: Trash | None, at: datetime) -> None:
    """Put a record into the trash, or take it back, *at* that time."""
    restored = record.restored if trash else at
    records[record.tenant, record.id] = attrs.evolve(record, trash=trash, restored=restored)


def put(records: dict[tuple[TenantId, RecordId], Sealed], draft: Sealed) -> None:
    """Keep a draft; when what it is written over was taken back stays known."""
    before = records.get((draft.tenant, draft.id))
    restored = None if before is None else before.restored
    records[draft.tenant, draft.id] = attrs.evolve(draft, trash=None, marks=Mark.NONE, restored=restored)


def tick(records: dict[tuple[TenantId, RecordId], Sealed], tenant: TenantId, ticked: Iterable[Sealed]) -> None:
    """Keep what was done with records, unless they were written over since."""
    for each in ticked:
        held = records.get((tenant, each.id))
        if held is not None and held.version == each.version:
            records[tenant, each.id] = attrs.evolve(held, done=each.done)


def due(records: Iterable[Sealed], now: datetime, share: Share) -> list[TenantId]:
    """Name the tenants that have trash whose time is over, first whose trash has been due for longest."""
    first: dict[TenantId, datetime] = {}
    for record in records:
        if record.trash is not None and record.trash.until <= now and share.has(record.tenant):
            first[record.tenant] = min(record.trash.until, first.get(record.tenant, now))
    return sorted(first, key=lambda tenant: (first[tenant], tenant))
