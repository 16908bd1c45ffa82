"""The sweep: what has been in the trash for its time is destroyed, by the same eraser as everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_core.erasure import Eraser
from capsule_core.errors import SubjectErased, SubjectHeld, VersionMismatch
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.personal import Kind
from capsule_core.protection import EVERYBODY, guarding
from capsule_core.receipts import Receipt
from capsule_core.records import GUARDED, Act, Expected, Mark, Sealed, Shelf, Where
from capsule_core.retention import NO_RULES, Policy
from capsule_core.sparing import unspared
from capsule_core.stores import Share, Store
from capsule_core.story import Erasure
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import bears_witness

__all__ = ["CLOCK", "ENDED", "GROUND", "SLICE", "Expiry", "Sweep", "Swept", "erased"]

CLOCK: Final = ActorRef("clock", "sweep")
GROUND: Final = "trash_expired"
ENDED: Final = "obligation_ended"
SLICE: Final = 200
"""People or records that are destroyed before another tenant has its turn."""
_ADMITTED: Final = ~(GUARDED | Mark.FENCED | Mark.ERASED)


@attrs.frozen(kw_only=True)
class Swept:
    """What one sweep of a tenant destroyed, and how many records it left because something keeps them."""

    records: int = 0
    subjects: int = 0
    guarded: int = 0
    receipts: tuple[Receipt, ...] = ()


@attrs.define(eq=False)
class Sweep:
    """Destroys what is due in one store."""

    _store: Store
    _eraser: Eraser
    _vault: Vault
    _kinds: Mapping[str, Kind]
    _policy: Callable[[TenantId], Policy] = attrs.field(default=lambda _: NO_RULES)
    _closed: Callable[[TenantId], datetime | None] = attrs.field(default=lambda _: None)

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        """Name the tenants that have something to destroy: first whose trash has been due for longest."""
        freed = (tenant for tenant, _ in self._store.released(share))
        return tuple(dict.fromkeys((*self._store.due(now, share), *freed)))

    def run(self, tenant: TenantId, *, now: datetime, new_erasure: Callable[[], str]) -> Swept:
        """Destroy the trash whose time is over at *now*: never a microsecond early, never what is guarded.

        A trashed person is erased with everything there is of them; a trashed record of a living person is cleared.
        """
        slices = list(self.slices(tenant, now=now, new_erasure=new_erasure))
        return Swept(
            records=sum(each.records for each in slices),
            subjects=sum(each.subjects for each in slices),
            guarded=sum(len(due) for due in self._pages_due(tenant, now=now, admits=~Mark.NONE)),
            receipts=tuple(receipt for each in slices for receipt in each.receipts),
        )

    def slices(self, tenant: TenantId, *, now: datetime, new_erasure: Callable[[], str]) -> Iterator[Swept]:
        """Do what :meth:`run` does in parts of at most `SLICE` people or records, so that others have their turns.

        Each part ends before the next is begun; what guards somebody is asked for by each part anew.
        """
        if guarding(self._store, tenant, [EVERYBODY]):
            return
        policy = self._policy(tenant)
        for due in self._pages_due(tenant, now=now, admits=_ADMITTED):
            if guarding(self._store, tenant, [EVERYBODY]):
                return  # held since the last part: each of them would be tried, and refused
            going = unspared(self._store, self._kinds, policy, due, now=now, closed=self._closed(tenant))
            if going:
                yield erased(self._erase(tenant, going, now=now, new_erasure=new_erasure))
        free, partly = self._released(tenant)
        for some in _sliced(free):
            yield erased(self._release(tenant, some, now=now, new_erasure=new_erasure))
        for some in _sliced(partly):
            yield Swept(records=self._let_go(tenant, some, now=now))
        for cleared in self._clear(tenant, policy, now=now):
            yield Swept(records=cleared)

    def _pages_due(self, tenant: TenantId, *, now: datetime, admits: Mark) -> Iterator[Sequence[Sealed]]:
        """Find people whose own record is due in the trash."""
        persons = tuple(name for name, kind in self._kinds.items() if kind.is_root)
        return self._pages(Where(tenant=tenant, shelf=Shelf.TRASHED, due=now, kinds=persons), admits=admits)

    def _erase(
        self, tenant: TenantId, due: Sequence[Sealed], *, now: datetime, new_erasure: Callable[[], str]
    ) -> list[Receipt]:
        """Erase all of these people at once; if one of them may not be, halve the group until that one is left out."""
        # Whoever was taken back since must not be fenced: each is expected in the very trash it was found in.
        expects = tuple(Expected(id=r.id, batch=r.trash.batch) for r in due if r.trash is not None)
        wanted = Erasure(
            tenant=tenant,
            id=new_erasure(),
            subjects=tuple(dict.fromkeys(record.subject for record in due)),
            ground=GROUND,
            by=CLOCK,
            requested=now,
        )
        try:
            return [self._eraser.erase(wanted, now=now, expects=expects)]
        except (VersionMismatch, SubjectHeld, SubjectErased):
            if len(due) == 1:
                return []  # taken back, held or erased by somebody else since it was found
        middle = len(due) // 2
        halves = (due[:middle], due[middle:])
        return [receipt for half in halves for receipt in self._erase(tenant, half, now=now, new_erasure=new_erasure)]

    def _released(self, tenant: TenantId) -> tuple[Sequence[SubjectKey], Sequence[SubjectKey]]:
        """Find people erased before of whom nothing that was kept has to be kept any more, or not all of it."""
        found = {reason.subject for _, reason in self._store.released(tenant)}
        partly = {reason.subject for reason in self._store.reasons(tenant, sorted(found)) if reason.mark & GUARDED}
        return sorted(found - partly), sorted(partly)

    def _release(
        self, tenant: TenantId, free: Sequence[SubjectKey], *, now: datetime, new_erasure: Callable[[], str]
    ) -> list[Receipt]:
        """Destroy what was kept of people and has not to be kept any more, with their keys."""
        wanted = Erasure(tenant=tenant, id=new_erasure(), subjects=tuple(free), ground=ENDED, by=CLOCK, requested=now)
        try:
            return [self._eraser.erase(wanted, now=now)]
        except (SubjectHeld, SubjectErased):
            return []  # something keeps one of them again, or somebody else was faster: the next sweep looks again

    def _let_go(self, tenant: TenantId, partly: Sequence[SubjectKey], *, now: datetime) -> int:
        """Clear what nothing guards any more of people of whom something else is kept still."""
        act = _act(self._vault, tenant, "kept.clear", now=now)
        where = Where(tenant=tenant, shelf=Shelf.ANY, subjects=tuple(partly))
        return len(self._store.destroy(where, admits=_ADMITTED & ~GUARDED, act=act))

    def _clear(self, tenant: TenantId, policy: Policy, *, now: datetime) -> Iterator[int]:
        rest = tuple(name for name, kind in self._kinds.items() if not kind.is_root)
        act = _act(self._vault, tenant, "trash.clear", now=now)
        where = Where(tenant=tenant, shelf=Shelf.TRASHED, due=now, kinds=rest)
        for due in self._pages(where, admits=_ADMITTED):
            going = unspared(self._store, self._kinds, policy, due, now=now, closed=self._closed(tenant))
            some = attrs.evolve(where, ids=tuple(record.id for record in going))  # and still in the trash
            yield len(self._store.destroy(some, admits=_ADMITTED & ~GUARDED, act=act))

    def _pages(self, where: Where, *, admits: Mark) -> Iterator[Sequence[Sealed]]:
        after = None
        while True:
            page = self._store.select(where, admits=admits, limit=SLICE, after=after)
            if page.records:
                yield page.records
            after = page.after
            if after is None:
                return


@attrs.frozen
class Expiry:
    """The duty to sweep the trash, as ``rounds`` asks for it; *new_erasure* makes ids."""

    sweep: Sweep
    new_erasure: Callable[[], str]

    def waiting(self, now: datetime, share: Share) -> Sequence[TenantId]:
        """Name the tenants that have something to destroy."""
        return self.sweep.waiting(now, share)

    def slices(self, tenant: TenantId, *, now: datetime) -> Iterator[Swept]:
        """Destroy it, in parts."""
        return self.sweep.slices(tenant, now=now, new_erasure=self.new_erasure)


def erased(receipts: Sequence[Receipt]) -> Swept:
    """Count what erasures destroyed."""
    return Swept(
        records=sum(sum(part.records.values()) for r in receipts for part in r.statement.destructions),
        subjects=sum(len(receipt.statement.subjects) for receipt in receipts),
        receipts=tuple(receipts),
    )


def _sliced(people: Sequence[SubjectKey]) -> Iterator[Sequence[SubjectKey]]:
    for start in range(0, len(people), SLICE):
        yield people[start : start + SLICE]


def _act(vault: Vault, tenant: TenantId, verb: str, *, now: datetime) -> Act:
    act = Act(tenant=tenant, actor=CLOCK, verb=verb, use=Use.ERASE.value, at=now)
    return attrs.evolve(act, witness=bears_witness(vault, act))
