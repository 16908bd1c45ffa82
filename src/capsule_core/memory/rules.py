"""What a store in memory checks before it changes anything, and how its rows are named and ordered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from capsule_core.errors import IdentifierTaken, VersionMismatch
from capsule_core.journal import Marked
from capsule_core.moments import Events, is_past
from capsule_core.names import RecordId, SubjectKey, TenantId, micros
from capsule_core.records import GUARDED, Act, Answer, Cursor, Expected, Mark, Reason, Sealed, Slot, Touched, events_of

__all__ = [
    "ReasonKey",
    "Reasons",
    "Records",
    "Subjects",
    "anywhere",
    "bearers",
    "change",
    "claim",
    "empty",
    "fits",
    "follow",
    "hand_over",
    "lacks",
    "marked",
    "marks",
    "may_change",
    "newest_first",
    "of_mark",
    "place",
    "reason_key",
    "touched",
]

ReasonKey = tuple[TenantId, str, Mark, SubjectKey, RecordId | None]
Records = Mapping[tuple[TenantId, RecordId], Sealed]
Subjects = Mapping[tuple[TenantId, SubjectKey], Slot]
Reasons = dict[ReasonKey, Reason]


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
    for draft in drafts:
        known = subjects.get((draft.tenant, draft.subject), draft.slot)
        owner = owners.setdefault((draft.tenant, draft.slot), draft.subject)
        if known != draft.slot or owner != draft.subject:
            raise VersionMismatch


def fits(expected: Expected, record: Sealed, happened: Events) -> bool:
    """Tell whether a record is as it is expected to be; *happened* is what did to its subject."""
    return (
        expected.batch == (record.trash.batch if record.trash is not None else None)
        and expected.version in {None, record.version}
        and (expected.past is None or is_past(expected.past, events_of(record, happened)))
    )


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


def of_mark(reasons: Reasons, mark: Mark, *, unless: Mark) -> list[tuple[TenantId, Reason]]:
    """Return the reasons for *mark* of those who carry none of *unless*, themselves or on a record."""
    return [
        (tenant, reason)
        for (tenant, *_), reason in reasons.items()
        if reason.mark is mark and not anywhere(reasons, tenant, reason.subject) & unless
    ]


def empty(answers: dict[tuple[TenantId, bytes], Answer], tenant: TenantId, subjects: Collection[SubjectKey]) -> None:
    """Leave of what was answered about subjects no body."""
    for key, answer in answers.items():
        if answer.tenant == tenant and answer.subject in subjects:
            answers[key] = attrs.evolve(answer, body=None)


def may_change(reasons: Reasons, tenant: TenantId, reason: Reason, *, lift: bool, admits: Mark) -> bool:
    """Tell whether a reason is there to be lifted; or is not, and the marks that are there let it be put."""
    present = reason_key(tenant, reason) in reasons
    if lift or present:
        return lift and present
    there = anywhere(reasons, tenant, reason.subject)
    if reason.mark is Mark.ERASED:
        return Mark.FENCED in there
    barring = Mark.FENCED | Mark.ERASED | (GUARDED if reason.mark is Mark.FENCED else Mark.NONE)
    return not there & barring & ~admits


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
