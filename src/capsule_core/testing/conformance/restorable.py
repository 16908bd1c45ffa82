"""The suite for what a restore does to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from capsule_core.journal import Journal
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Act, Mark, Reason, Sealed, Shelf, Slot, Trash, Where
from capsule_core.stores import Store
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Witness
from capsule_core.testing.conformance.clauses import explore, require

__all__ = ["RestorableUnderTest", "run_restorable_conformance"]

_OURS, _THEIRS = cases.TENANTS[:2]
_PEOPLE: Final = cases.SUBJECTS[:3]
_NAMES: Final = cases.IDS[:3]
_MOMENT: Final = cases.MOMENTS[0]


class RestorableUnderTest(Protocol):
    """A store and its journal."""

    @property
    def store(self) -> Store:
        """The store that is tried."""
        ...

    @property
    def journal(self) -> Journal:
        """The journal that its acts go to."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_restorable_conformance(
    make: Callable[[], RestorableUnderTest], *, settings: hypothesis.settings | None = None
) -> tuple[str, ...]:
    """Check that *make* makes empty stores that keep R1-R6 (docs/reference/ports.md).

    Returns:
        the clauses that went untried: none.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Restoring(make), settings)
    return ()


@attrs.define
class _Model:
    """What one tenant's store must hold."""

    people: dict[SubjectKey, Slot] = attrs.Factory(dict)
    gone: set[SubjectKey] = attrs.Factory(set)
    records: dict[RecordId, Sealed] = attrs.Factory(dict)
    unindexed: bool = False


class _Restoring(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], RestorableUnderTest]) -> None:
        super().__init__()
        self.under = make()
        self.model: Mapping[TenantId, _Model] = {_OURS: _Model(), _THEIRS: _Model()}
        self.seen = self.under.store.position()
        require(self.seen == 0, "R1", "a new store has seen something of the journal")

    def teardown(self) -> None:
        self.under.close()

    @property
    def store(self) -> Store:
        return self.under.store

    @initialize()
    def walk(self) -> None:
        """Meet what is rare once: an older version, and somebody who is being erased."""
        person, manner = _PEOPLE[-1], dict[str, Any](names=[_NAMES[-1]], trashed=False, strays=False)
        self.recognise(tenant=_THEIRS, subjects={person: Slot(1, 4)})
        for version in (2, 1):
            self.reinstate(tenant=_THEIRS, subject=person, version=version, **manner)
        self.fence(tenant=_THEIRS, subject=person)
        self.reinstate(tenant=_THEIRS, subject=person, version=3, **manner)

    @rule(to=st.integers(0, 20))
    def arrive(self, to: int) -> None:
        self.store.arrive(to)
        self.seen = max(self.seen, to)
        require(self.store.position() == self.seen, "R2", "the position is not the highest that was reached")

    @rule(
        tenant=st.sampled_from(cases.TENANTS[:2]),
        subjects=st.dictionaries(st.sampled_from(_PEOPLE), st.builds(Slot, st.just(1), st.integers(0, 4)), max_size=3),
    )
    def recognise(self, tenant: TenantId, subjects: dict[SubjectKey, Slot]) -> None:
        self.store.recognise(tenant, dict(sorted(subjects.items())))
        people = self.model[tenant].people
        for key, slot in sorted(subjects.items()):
            if key not in people and slot not in people.values():
                people[key] = slot
        self._know(tenant, "R3")

    @rule(tenant=st.sampled_from(cases.TENANTS[:2]), subject=st.sampled_from(_PEOPLE))
    def fence(self, tenant: TenantId, subject: SubjectKey) -> None:
        reason = Reason(id="why", mark=Mark.FENCED, subject=subject, since=_MOMENT)
        fenced = self.store.mark([reason], admits=cases.EVERY, act=_act(tenant))
        model = self.model[tenant]
        if fenced:
            model.gone.add(subject)
            newest, position = self.under.journal.append(()), self.store.position()
            require(position >= newest, "R1", "a store has not seen its own act in the journal")
            self.seen = max(self.seen, newest)
            require(position == self.seen, "R2", "the position is not the highest that was reached")

    @rule(
        tenant=st.sampled_from(cases.TENANTS[:2]),
        names=st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True),
        subject=st.sampled_from(_PEOPLE),
        version=st.integers(1, 3),
        trashed=st.booleans(),
        strays=st.booleans(),
    )
    def reinstate(  # noqa: PLR0917  Hypothesis names them all
        self, tenant: TenantId, names: list[RecordId], subject: SubjectKey, version: int, trashed: bool, strays: bool
    ) -> None:
        model, before = self.model[tenant], list(self.under.journal.since(0))
        slot = Slot(9, 9) if strays else model.people.get(subject, Slot(8, 8))
        wanted = [_record(tenant, name, subject, slot, version, trashed=trashed) for name in names]
        touched = self.store.reinstate(wanted, act=_act(tenant))
        lacking = [each for each in wanted if _lacks(model, each)]
        require({each.id for each in touched} == {each.id for each in lacking}, "R4", "others were put back")
        require(list(self.under.journal.since(0)) == before, "R4", "the journal heard of it")
        model.records |= {each.id: each for each in lacking}
        model.unindexed |= bool(lacking)
        require((tenant in self.store.unindexed()) == model.unindexed, "R5", "the index counts as whole")
        self._know(tenant, "R4")

    @rule(tenant=st.sampled_from(cases.TENANTS[:2]))
    def make_the_index_again(self, tenant: TenantId) -> None:
        self.store.indexed(tenant)
        self.model[tenant].unindexed = False
        require(tenant not in self.store.unindexed(), "R5", "the index stays missing")

    def _know(self, tenant: TenantId, clause: str) -> None:
        model = self.model[tenant]
        known = self.store.subjects(tenant, _PEOPLE)
        slots = {each.key: each.slot for each in known if each is not None}
        require(slots == model.people, clause, "other subjects are known, or in other slots")
        where = Where(tenant=tenant, shelf=Shelf.ANY)
        found = self.store.select(where, admits=cases.EVERY, limit=99).records
        bare = {each.id: attrs.evolve(each, marks=Mark.NONE) for each in found}
        require(bare == model.records, clause, "other records are there, or other versions")
        named = {name for name, each in self.model.items() if each.people}
        told = list(self.store.tenants())
        require(len(told) == len(set(told)), "R6", "a tenant is named twice")
        require(named <= set(told) <= set(cases.TENANTS), "R6", "a tenant of which something is kept is not named")


def _lacks(model: _Model, record: Sealed) -> bool:
    if record.subject in model.gone or model.people.get(record.subject) != record.slot:
        return False
    held = model.records.get(record.id)
    if held is None or held.version < record.version:
        return True
    same = (held.subject, held.trash) == (record.subject, record.trash)
    return held.version == record.version and not same


def _record(
    tenant: TenantId, name: RecordId, subject: SubjectKey, slot: Slot, version: int, *, trashed: bool
) -> Sealed:
    trash = Trash(batch="b", at=_MOMENT, until=cases.MOMENTS[-1]) if trashed else None
    return Sealed(
        tenant=tenant,
        kind="note",
        id=name,
        root=name,
        subject=subject,
        slot=slot,
        version=version,
        at=_MOMENT,
        created=_MOMENT,
        updated=_MOMENT,
        blob=f"{name} {subject} {version}".encode(),
        trash=trash,
    )


def _act(tenant: TenantId) -> Any:
    act: Act = attrs.evolve(cases.act(tenant), witness=Witness())
    return act
