"""Carry out a tenant's policy: what is due by it goes into the trash, is emptied, destroyed, or waits for an answer.

Found by the store's index, decided by the pure function, done by the same trash and eraser as everything else. What
changed between the finding and the doing stays: each act expects what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import reduce
from hashlib import sha256
from typing import Final

import attrs

from capsule_core import statements
from capsule_core.closure import Closure
from capsule_core.emptying import emptied, fields_due, ruled_fields
from capsule_core.erasure import Eraser
from capsule_core.errors import SubjectErased, SubjectHeld, VersionMismatch
from capsule_core.moments import Past
from capsule_core.names import ActorRef, RecordId, TenantId
from capsule_core.personal import Kind
from capsule_core.policies import document, governed, scope_of
from capsule_core.protection import EVERYBODY, guarding
from capsule_core.receipts import Receipt
from capsule_core.records import GUARDED, Act, Expected, Mark, Sealed, Shelf, Where, events_of
from capsule_core.repository import Repository
from capsule_core.retention import Ask, Decision, Destroy, Effect, Facts, Policy, Scope, decide, past
from capsule_core.story import Erasure
from capsule_core.uses import Use
from capsule_core.witness import bears_witness

__all__ = ["CLOCK", "GROUND", "Retained", "Retaining", "decided"]

CLOCK: Final = ActorRef("clock", "retention")
GROUND: Final = "retention"
_AT_ONCE: Final = 200
_GONE: Final = Mark.FENCED | Mark.ERASED | Mark.KEPT
_ADMITTED: Final = ~(GUARDED | _GONE)


@attrs.frozen(kw_only=True)
class Retained:
    """What one run over a tenant did: how many records went how, and which wait for an answer."""

    trashed: int = 0
    depersonalised: int = 0
    destroyed: int = 0
    asking: tuple[RecordId, ...] = ()
    receipts: tuple[Receipt, ...] = ()


def decided(
    repository: Repository,
    tenant: TenantId,
    scope: Scope,
    policy: Policy,
    *,
    now: datetime,
    shelf: Shelf = Shelf.LIVE,
    guarded: bool = False,
) -> Iterator[list[tuple[Sealed, Decision]]]:
    """Find the records of *scope* that are due at *now*, page by page, each with what is decided on it.

    Those too that are *guarded*, if they are asked for; the guards have no part in what is decided.
    """
    store, after, closed = repository.store, None, Closure(repository).since(tenant)
    by = past(policy, scope, now, trashed=shelf is Shelf.TRASHED, closed=closed)
    where = Where(tenant=tenant, shelf=shelf, kinds=(scope.kind,), past=by)
    while all(by.groups):
        page = store.select(where, admits=~_GONE if guarded else _ADMITTED, limit=_AT_ONCE, after=after)
        happened = store.happened(tenant, [record.subject for record in page.records])
        facts = (
            Facts(scope=scope, events=events_of(record, each, closed))
            for record, each in zip(page.records, happened, strict=True)
        )
        yield [(record, decide(fact, policy, now)) for record, fact in zip(page.records, facts, strict=True)]
        after = page.after
        if after is None:
            return


@attrs.define(eq=False)
class Retaining:
    """Carries out policies in one store; *new_id* makes an id from a letter."""

    _repository: Repository
    _eraser: Eraser
    _new_id: Callable[[str], str]

    def run(self, tenant: TenantId, policy: Policy, *, now: datetime) -> Retained:
        """Do what *policy* has due at *now*: never early, never what is guarded."""
        return reduce(_sum, self.slices(tenant, policy, now=now), Retained())

    def slices(self, tenant: TenantId, policy: Policy, *, now: datetime) -> Iterator[Retained]:
        """Do what :meth:`run` does in parts, so that other tenants have their turns; each asks anew who is guarded."""
        if guarding(self._repository.store, tenant, [EVERYBODY]):
            return
        for declared in governed(self._repository.kinds).values():
            for page in decided(self._repository, tenant, scope_of(declared), policy, now=now):
                yield self._carry_out(tenant, declared, page, policy, now=now)
            for field in ruled_fields(declared, policy):
                for page in decided(self._repository, tenant, scope_of(declared, field), policy, now=now):
                    yield self._empty_field(tenant, declared, page, policy, now=now)

    def _carry_out(
        self, tenant: TenantId, kind: Kind, page: Sequence[tuple[Sealed, Decision]], policy: Policy, *, now: datetime
    ) -> Retained:
        groups: dict[Effect, list[Sealed]] = {}
        for record, decision in page:
            if isinstance(decision, Destroy):
                groups.setdefault(decision.effect, []).append(record)
        by = past(policy, scope_of(kind), now, closed=Closure(self._repository).since(tenant))
        receipts: list[Receipt] = []
        destroyed = groups.get(Effect.DESTROY, [])
        if kind.is_root:
            receipts = self._erase(tenant, destroyed, policy, by, now=now)
            gone = sum(sum(part.records.values()) for r in receipts for part in r.statement.destructions)
        else:
            gone = self._destroy(tenant, destroyed, by, now=now)
        return Retained(
            trashed=self._trash(tenant, groups.get(Effect.TRASH, []), by, now=now),
            depersonalised=self._empty(tenant, kind, groups.get(Effect.DEPERSONALISE, []), policy, now=now),
            destroyed=gone,
            asking=tuple(record.id for record, decision in page if isinstance(decision, Ask)),
            receipts=tuple(receipts),
        )

    def _trash(self, tenant: TenantId, records: Sequence[Sealed], by: Past, *, now: datetime) -> int:
        """Throw records away with all that hangs on them; if one of them changed meanwhile, without that one."""
        if not records:
            return 0
        act = self._act(tenant, "retention.trash", records, by, now)
        try:
            return self._repository.throw_away(records, self._new_id("b"), act=attrs.evolve(act, use=Use.STORE.value))
        except VersionMismatch:
            return sum(self._trash(tenant, half, by, now=now) for half in _halves(records))

    def _destroy(self, tenant: TenantId, records: Sequence[Sealed], by: Past, *, now: datetime) -> int:
        if not records:
            return 0
        where = Where(tenant=tenant, ids=tuple(record.id for record in records), past=by)
        act = attrs.evolve(self._act(tenant, "retention.destroy", records, by, now), expects=())
        return len(self._repository.store.destroy(where, admits=_ADMITTED & ~GUARDED, act=act))

    def _erase(
        self, tenant: TenantId, records: Sequence[Sealed], policy: Policy, by: Past, *, now: datetime
    ) -> list[Receipt]:
        """Erase all of these people at once; if one of them may not be, halve the group until that one is left out."""
        if not records:
            return []
        wanted = Erasure(
            tenant=tenant,
            id=self._new_id("e"),
            subjects=tuple(dict.fromkeys(record.subject for record in records)),
            ground=GROUND,
            by=CLOCK,
            requested=now,
            policy=_cited(policy),
        )
        try:
            return [self._eraser.erase(wanted, now=now, expects=_expected(records, by))]
        except (VersionMismatch, SubjectHeld, SubjectErased):
            halves = _halves(records)
            return [receipt for half in halves for receipt in self._erase(tenant, half, policy, by, now=now)]

    def _empty(self, tenant: TenantId, kind: Kind, records: Sequence[Sealed], policy: Policy, *, now: datetime) -> int:
        """Leave of each record what is not personal, or has no rule yet by which it goes."""
        if not records:
            return 0
        happened = self._repository.store.happened(tenant, [record.subject for record in records])
        closed = Closure(self._repository).since(tenant)
        due = (
            (record, fields_due(kind, policy, events_of(record, each, closed), now))
            for record, each in zip(records, happened, strict=True)
        )
        return emptied(self._repository, kind, due, actor=CLOCK, now=now)

    def _empty_field(
        self, tenant: TenantId, kind: Kind, page: Sequence[tuple[Sealed, Decision]], policy: Policy, *, now: datetime
    ) -> Retained:
        due = [record for record, decision in page if isinstance(decision, Destroy)]
        asking = tuple(record.id for record, decision in page if isinstance(decision, Ask))
        return Retained(depersonalised=self._empty(tenant, kind, due, policy, now=now), asking=asking)

    def _act(self, tenant: TenantId, verb: str, records: Sequence[Sealed], by: Past, now: datetime) -> Act:
        act = Act(tenant=tenant, actor=CLOCK, verb=verb, use=Use.ERASE.value, at=now, expects=_expected(records, by))
        return attrs.evolve(act, witness=bears_witness(self._repository.vault, act))


def _halves(records: Sequence[Sealed]) -> list[Sequence[Sealed]]:
    """Part what cannot be done at once; a single record is left out."""
    middle = len(records) // 2
    return [records[:middle], records[middle:]] if middle else []


def _expected(records: Sequence[Sealed], by: Past) -> tuple[Expected, ...]:
    return tuple(Expected(id=record.id, version=record.version, past=by) for record in records)


def _cited(policy: Policy) -> statements.Policy:
    text = document(policy)
    return statements.Policy(name="tenant", version="1", digest=sha256(text.encode()).hexdigest())


def _sum(one: Retained, other: Retained) -> Retained:
    return Retained(
        trashed=one.trashed + other.trashed,
        depersonalised=one.depersonalised + other.depersonalised,
        destroyed=one.destroyed + other.destroyed,
        asking=one.asking + other.asking,
        receipts=one.receipts + other.receipts,
    )
