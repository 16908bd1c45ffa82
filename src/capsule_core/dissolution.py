"""The duty to carry out a closing when its time has come: nobody's data is left, and then not even the tenant's keys.

Everybody is erased by the one eraser, in the trash or not; what rules would keep goes too, what a hold or an obligation
keeps lives on and goes by itself later. A hold on the tenant postpones it all. Then the tenant's suppressions, policy
and released holds go. When nothing is left at all the vault closes the tenant: a late writer gets TENANT_CLOSED. Each
step may be repeated, so that after a crash the next look goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.closing import ENDED, ID, KIND, Closing, Term, due, is_closed, spared
from capsule_core.closure import Closure
from capsule_core.erasure import Eraser
from capsule_core.errors import ResourceMissing, SubjectErased, SubjectHeld, VersionMismatch
from capsule_core.holds import Hold
from capsule_core.kept import Kept
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId, made_id
from capsule_core.personal import kind_of
from capsule_core.protection import EVERYBODY, guarding, refuse_guarded
from capsule_core.receipts import Receipt
from capsule_core.records import GUARDED, Act, Mark, Shelf, Where
from capsule_core.relics import bears_keyless_witness
from capsule_core.remnants import person_of
from capsule_core.repository import Repository
from capsule_core.stores import Share
from capsule_core.story import Erasure
from capsule_core.sweeping import SLICE, Swept, erased
from capsule_core.uses import Use
from capsule_core.witness import bears_witness, notes

__all__ = ["CLOCK", "GROUND", "Dissolution", "at_once", "nothing_told"]

CLOCK: Final = ActorRef("clock", "closure")
GROUND: Final = "closure"
_EVERY: Final = timedelta(hours=1)
_EVERYTHING: Final = ~Mark.NONE
_ADMITTED: Final = ~(GUARDED | Mark.FENCED | Mark.ERASED)
_LAST: Final = (ID, ENDED)
_HOLD: Final = kind_of(Hold).name


def at_once(_: TenantId, __: datetime) -> bool:
    """Begin without asking anybody: where closings are decided and carried out in one place."""
    return True


def nothing_told(_: TenantId) -> bool:
    """End without waiting: where nobody has to be told of what was destroyed."""
    return True


@attrs.define(eq=False)
class Dissolution:
    """Destroys in one store what belongs to closed tenants and goes by *term*; *random* makes ids.

    *may_begin* is asked, with the moment of closing, before the first bit is destroyed: whoever decides about reopening
    answers, and allows no reopening from then on. *may_end* is asked before the keys are: what still has to be told of
    the tenant, such as its receipts, can be read until then. What it has looked at it remembers, as ``upkeep`` does.
    """

    _repository: Repository
    _eraser: Eraser
    _random: Callable[[int], bytes]
    _term: Term = Term.CUSTOMER_DATA
    _may_begin: Callable[[TenantId, datetime], bool] = at_once
    _may_end: Callable[[TenantId], bool] = nothing_told
    _next: dict[TenantId, tuple[datetime, datetime]] = attrs.field(factory=dict, init=False)

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        """Name the tenants whose closing is due, or was not looked at for an hour."""
        return [tenant for tenant in self._repository.store.having(KIND, share) if self._is_next(tenant, now)]

    def slices(self, tenant: TenantId, *, now: datetime) -> Iterator[Swept]:
        """Carry out the closing of a tenant as far as it can be now, in parts."""
        closure = Closure(self._repository)
        if not closure.has_ended(tenant):
            kept = closure.of(tenant)
            if kept is not None and is_closed(kept.content) and due(kept.content, self._term) <= now:
                yield from self._dissolved(kept, now)
            self._remember(tenant, kept, now)
        if closure.has_ended(tenant):
            yield from self._ended(tenant, now)

    def _dissolved(self, kept: Kept[Closing], now: datetime) -> Iterator[Swept]:
        tenant, kept_back = kept.tenant, spared(kept.content, self._term, now=now)
        if EVERYBODY in kept_back or not self._begun(kept, now):
            return
        yield from self._resumed(tenant, now)
        for people in self._people(tenant, kept_back):
            yield erased(self._erase(tenant, people, now))
        if kept_back or any(self._people(tenant, frozenset())):
            return  # somebody is held, or a ground keeps them: it is looked at again
        yield from self._forgotten(tenant, now)
        if self._is_empty(tenant) and self._may_end(tenant):
            Closure(self._repository).end(kept, act=self._act(tenant, "closure.end", now))

    def _begun(self, kept: Kept[Closing], now: datetime) -> bool:
        """Pass the point of no return, unless something keeps all of the tenant, or it is being reopened."""
        tenant, closing = kept.tenant, kept.content
        if guarding(self._repository.store, tenant, [EVERYBODY]):
            return False
        if closing.begun_at:
            return True
        if not self._may_begin(tenant, datetime.fromisoformat(closing.closed_at)):
            return False
        act = Act(tenant=tenant, actor=CLOCK, verb="closure.begin", use=Use.ERASE.value, at=now)
        try:
            Closure(self._repository).begin(kept, self._counted(tenant), act=act)
        except VersionMismatch:
            return False
        return True

    def _counted(self, tenant: TenantId) -> dict[str, int]:
        """Count the people of each kind."""
        store, people = self._repository.store, [kind.name for kind in self._repository.kinds.values() if kind.is_root]
        everything = Where(tenant=tenant, shelf=Shelf.ANY)
        return {
            name: store.count(attrs.evolve(everything, kinds=(name,)), admits=_EVERYTHING) for name in sorted(people)
        }

    def _resumed(self, tenant: TenantId, now: datetime) -> Iterator[Swept]:
        """Lead to its end what an interrupted attempt began."""
        if any(owner == tenant for owner, _ in self._repository.store.unfinished()):
            yield erased([each for each in self._eraser.resume(now=now) if each.statement.tenant == tenant])

    def _people(self, tenant: TenantId, but: frozenset[SubjectKey]) -> Iterator[Sequence[SubjectKey]]:
        """Find everybody who is not gone, in parts; people are found also if nothing of theirs but keys is left."""
        after = None
        while known := self._repository.store.people(tenant, limit=SLICE, after=after):
            after = known[-1]
            people = [key for key in dict.fromkeys(map(person_of, known)) if key != EVERYBODY and key not in but]
            if people:
                yield people

    def _erase(self, tenant: TenantId, people: Sequence[SubjectKey], now: datetime) -> list[Receipt]:
        """Erase all of these people at once; if one of them may not be, halve the group until that one is left out."""
        wanted = Erasure(
            tenant=tenant,
            id=made_id("e", now=now, randomness=self._random(10)),
            subjects=tuple(people),
            ground=GROUND,
            by=CLOCK,
            requested=now,
            parts=True,
        )
        try:
            return [self._eraser.erase(wanted, now=now)]
        except (SubjectHeld, SubjectErased, ResourceMissing, VersionMismatch):
            if len(people) == 1:
                return []  # held, erased by somebody else meanwhile, or nothing but what is kept
        middle = len(people) // 2
        return [receipt for half in (people[:middle], people[middle:]) for receipt in self._erase(tenant, half, now)]

    def _forgotten(self, tenant: TenantId, now: datetime) -> Iterator[Swept]:
        """Let go of what was decided about the people who are gone: who may not come back, policies, ended holds."""
        store = self._repository.store
        while hashes := store.remembered(tenant, limit=SLICE):
            act = self._act(tenant, "closure.lift", now, {"identifiers": str(len(hashes))})
            store.suppress(hashes, act=attrs.evolve(act, witness=notes(self._repository.vault, act)), lift=True)
            yield Swept()
        act = self._act(tenant, "closure.forget", now)
        act = attrs.evolve(act, witness=bears_witness(self._repository.vault, act))
        if going := self._decided(tenant):
            store.destroy(Where(tenant=tenant, shelf=Shelf.ANY, ids=going), admits=_ADMITTED & ~GUARDED, act=act)

    def _decided(self, tenant: TenantId) -> tuple[RecordId, ...]:
        """Find everybody's records but the closing itself and the holds that stand."""
        where, after = Where(tenant=tenant, shelf=Shelf.ANY, subjects=(EVERYBODY,)), None
        found: list[RecordId] = []
        while True:
            page = self._repository.select(where, use=Use.ERASE, limit=SLICE, after=after)
            standing = {each.id for each in page.records if each.kind == _HOLD and not each.content.released_at}
            found += [each.id for each in page.records if each.id not in {ID, *standing}]
            after = page.after
            if after is None:
                return tuple(found)

    def _is_empty(self, tenant: TenantId) -> bool:
        """Tell whether nothing of anybody is left, nor anything of theirs that was kept."""
        store, where = self._repository.store, Where(tenant=tenant, shelf=Shelf.ANY)
        of_everybody = store.count(attrs.evolve(where, subjects=(EVERYBODY,)), admits=_EVERYTHING)
        return store.count(where, admits=_EVERYTHING) == of_everybody and not store.released(tenant)

    def _ended(self, tenant: TenantId, now: datetime) -> Iterator[Swept]:
        """Destroy the tenant's keys, and then the rows that nobody can read any more; that it has ended goes last."""
        refuse_guarded(self._repository.store, tenant)
        self._repository.vault.close(tenant)
        store, where = self._repository.store, Where(tenant=tenant, shelf=Shelf.ANY)
        act = self._act(tenant, "closure.tidy", now)
        act = attrs.evolve(act, witness=bears_keyless_witness(act))
        while True:
            page = store.select(where, admits=_EVERYTHING, limit=SLICE)
            some = tuple(record.id for record in page.records if record.id not in _LAST)
            left = attrs.evolve(where, ids=some or _LAST)
            if not store.destroy(left, admits=_ADMITTED & ~GUARDED, act=act) or not some:
                return
            yield Swept(records=len(some))

    def _act(self, tenant: TenantId, verb: str, now: datetime, detail: dict[str, str] | None = None) -> Act:
        return Act(tenant=tenant, actor=CLOCK, verb=verb, use=Use.ERASE.value, at=now, detail=detail or {})

    def _remember(self, tenant: TenantId, kept: Kept[Closing] | None, now: datetime) -> None:
        """Look at what is not due when it is, and once an hour; at what is, again and again."""
        self._next.pop(tenant, None)
        if kept is None or not is_closed(kept.content):
            self._next[tenant] = (now, now + _EVERY)
        elif now < (at := due(kept.content, self._term)):
            self._next[tenant] = (now, min(now + _EVERY, at))

    def _is_next(self, tenant: TenantId, now: datetime) -> bool:
        looked, again = self._next.get(tenant, (now, now))
        return not looked <= now < again
