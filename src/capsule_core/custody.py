"""Placing holds and releasing them: the record that says why, and the reasons that guard, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from capsule_core.answers import Request
from capsule_core.errors import InvalidField, ResourceMissing, SubjectErased, VersionMismatch
from capsule_core.holds import Extent, Hold, released
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Personal, kind_of
from capsule_core.protection import EVERYBODY
from capsule_core.records import Act, Cursor, Expected, Mark, Reason, Refused, Sealed, Where
from capsule_core.remnants import person_of, with_remnants
from capsule_core.repository import Draft, Repository
from capsule_core.uses import Use

__all__ = ["Custody"]

_EVERY: Final = ~Mark.NONE
_OVER: Final = Mark.FENCED | Mark.ERASED
_ATTEMPTS: Final = 5
_KIND: Final = kind_of(Hold).name


@attrs.frozen
class Custody:
    """Keeps the holds of one store; the kind of :class:`Hold` is among its repository's."""

    _repository: Repository

    def place(
        self, hold: Hold, *, act: Act, request: Request | None = None, kinds: Collection[str] | None = None
    ) -> Kept[Hold]:
        """Let *hold* stand: when this returns, nothing that it covers is destroyed any more.

        A hold on a person covers what is kept of them too. Its *subject* may be left empty if it names a record; the
        record must be of one of *kinds*, if they are given.

        Raises:
            ResourceMissing: it covers a person or record that is not there, whoever else's it may be.
            SubjectErased: it comes too late.
            InvalidField: it covers a field that the record does not have, or that holds nothing personal.
            VersionMismatch: what it covers changes all the time.
        """
        if request and (before := self._repository.answered(act.tenant, request)):
            return before[0]
        act = attrs.evolve(act, detail={**act.detail, **_told(hold)})

        def placed() -> Kept[Hold]:
            covered, reasons, expects = self._covered(act.tenant, hold, kinds, now=act.at)
            expecting = attrs.evolve(act, expects=(*act.expects, *expects))
            return self._repository.add([Draft(covered)], act=expecting, request=request, reasons=reasons)[0]

        return _settled(placed)

    def release(self, name: RecordId, *, act: Act, request: Request | None = None) -> Kept[Hold]:
        """End a hold; what was waiting goes with the next sweep. One that was released before stays as it is.

        Raises:
            ResourceMissing: there is none of that id.
        """
        if request and (before := self._repository.answered(act.tenant, request)):
            return before[0]

        def ended() -> Kept[Hold]:
            kept = self.get(act.tenant, name, use=Use(act.use))
            if kept.content.released_at:
                return self._repository.unchanged(kept, request=request)
            content = released(kept.content, by=act.actor, now=act.at)
            told = attrs.evolve(act, detail={**act.detail, **_told(content)})
            return self._repository.add(
                [Draft(content, root=kept.root, at=kept.at, over=kept)],
                act=told,
                request=request,
                reasons=self._put(kept),
                lift=True,
            )[0]

        return _settled(ended)

    def get(self, tenant: TenantId, name: RecordId, *, use: Use) -> Kept[Hold]:
        """Return a hold, a released one too.

        Raises:
            ResourceMissing: there is none of that id.
        """
        found = self._repository.read(tenant, [name], use=use)[0]
        if found is None or found.kind != _KIND:
            raise ResourceMissing("hold")
        return found

    def listing(
        self,
        tenant: TenantId,
        *,
        use: Use,
        limit: int,
        after: Cursor | None = None,
        subject: SubjectKey | None = None,
        past: bool = False,
    ) -> Listing:
        """List holds, newest first: those that stand, *past* ones too if asked for, all or those on one *subject*."""

        def meant(kept: Kept[Hold]) -> bool:
            hold = kept.content
            return (past or not hold.released_at) and (subject is None or hold.subject == person_of(subject))

        where = Where(tenant=tenant, subjects=(EVERYBODY,), kinds=(_KIND,))
        return self._repository.select(where, use=use, limit=limit, after=after, keeping=meant)

    def _covered(
        self, tenant: TenantId, hold: Hold, kinds: Collection[str] | None, *, now: datetime
    ) -> tuple[Hold, Sequence[Reason], tuple[Expected, ...]]:
        """Find what *hold* covers as things are: the hold that says so, its reasons, and what it counts on."""

        def reason(subject: SubjectKey, record: RecordId | None = None) -> Reason:
            return Reason(id=hold.id, mark=Mark.HELD, subject=subject, since=now, record=record)

        if hold.extent is Extent.TENANT:
            return hold, [reason(EVERYBODY)], ()
        if hold.extent is Extent.SUBJECT:
            person = person_of(SubjectKey(hold.subject))
            return attrs.evolve(hold, subject=person), [reason(each) for each in self._halves(tenant, person)], ()
        record = self._record(tenant, hold, kinds)
        batch = record.trash.batch if record.trash else None
        covered = attrs.evolve(hold, subject=person_of(record.subject))
        return covered, [reason(record.subject, record.id)], (Expected(id=record.id, batch=batch),)

    def _halves(self, tenant: TenantId, person: SubjectKey) -> list[SubjectKey]:
        """Return the person and what is kept of them, as far as either is known and not gone."""
        known = [each for each in self._repository.store.subjects(tenant, with_remnants([person])) if each is not None]
        left = [each.key for each in known if not each.marks & _OVER]
        if known and not left:
            raise SubjectErased
        if not left or person == EVERYBODY:
            raise ResourceMissing("subject")
        return left

    def _record(self, tenant: TenantId, hold: Hold, kinds: Collection[str] | None) -> Sealed:
        found = self._repository.store.read(tenant, [RecordId(hold.record)], admits=_EVERY)[0]
        if found is None or isinstance(found, Refused) or found.subject == EVERYBODY:
            raise ResourceMissing("record")
        if hold.subject not in {"", person_of(found.subject)} or (kinds is not None and found.kind not in kinds):
            raise ResourceMissing("record")
        if found.marks & _OVER:
            raise SubjectErased
        if hold.field and not isinstance(self._repository.kinds[found.kind].fields.get(hold.field), Personal):
            raise InvalidField("field", f"must name a personal field of {found.kind}")
        return found

    def _put(self, kept: Kept[Hold]) -> list[Reason]:
        """Find the reasons that a hold put, wherever what it covers was handed over to."""
        subject, _ = kept.content.held
        halves = [EVERYBODY] if subject == EVERYBODY else with_remnants([subject])
        reasons = self._repository.store.reasons(kept.tenant, halves)
        return [reason for reason in reasons if reason.id == kept.id and reason.mark is Mark.HELD]


def _told(hold: Hold) -> dict[str, str]:
    return {"hold": hold.id, "extent": hold.extent.value, "ground": hold.ground.value}


def _settled(change: Callable[[], Kept[Any]]) -> Kept[Any]:
    """Do a change that counts on how things are; once more from the beginning if they moved meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except VersionMismatch:
            continue
    return change()
