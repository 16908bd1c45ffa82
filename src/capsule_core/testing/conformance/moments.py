"""The suite for when what happened to people, and for what is found by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_core.errors import VersionMismatch
from capsule_core.moments import OF_PEOPLE, Before, Event, Events, Moment, Past, is_past
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Expected, Mark, Reason, Restore, Sealed, Shelf, Slot, Trash, Where, events_of
from capsule_core.stores import Store
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Witness
from capsule_core.testing.conformance.clauses import Capabilities, explore, lacking, raised, require

__all__ = ["MomentsUnderTest", "run_moments_conformance"]

_PEOPLE: Final = cases.SUBJECTS[:3]
_BEFORE: Final = cases.START - timedelta(days=3)
_TIMES: Final = (_BEFORE, *cases.MOMENTS)
_Person = tuple[TenantId, SubjectKey]


class MomentsUnderTest(Protocol):
    """A store; *reopen* opens the same data again."""

    @property
    def store(self) -> Store:
        """The store that is tried."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_moments_conformance(
    make: Callable[[], MomentsUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty stores that keep M1-M5 (docs/reference/ports.md), and find by it what is past.

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Machine(make, capabilities), settings)
    return lacking(capabilities, [("durable", "M1")])


class _Broken(Exception):
    pass


def _breaks(_: object) -> bytes | None:
    raise _Broken


def _moments() -> st.SearchStrategy[list[Moment]]:
    times = st.none() | st.sampled_from(_TIMES)
    return st.lists(st.builds(Moment, st.sampled_from(cases.SUBJECTS), st.sampled_from(OF_PEOPLE), times), max_size=3)


def _pasts() -> st.SearchStrategy[Past]:
    events = st.sampled_from([event for event in Event if event is not Event.TENANT_CLOSED])
    before = st.builds(Before, events, st.none() | st.sampled_from(_TIMES), st.booleans(), st.booleans())
    groups = st.lists(st.lists(before, max_size=2).map(tuple), min_size=1, max_size=3)
    return groups.map(tuple).map(Past)


class _Machine(RuleBasedStateMachine):
    """Lets things happen in any order, and compares with dictionaries."""

    def __init__(self, make: Callable[[], MomentsUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.kept: dict[_Person, dict[Event, datetime]] = {}
        self.records: dict[tuple[TenantId, RecordId], Sealed] = {}
        self.gone: set[_Person] = set()

    def teardown(self) -> None:
        self.under.close()

    @property
    def store(self) -> Store:
        return self.under.store

    @initialize()
    def walk(self) -> None:
        """Meet once what is rare: a later moment, an earlier one, one taken back, and somebody who is erased."""
        tenant, (person, other, _) = cases.TENANTS[1], _PEOPLE
        self.write(tenant=tenant, place=0, at=cases.MOMENTS[1], moments=[])
        for at in (cases.MOMENTS[2], cases.MOMENTS[0], None):
            self.happen(tenant=tenant, moments=[Moment(person, event, at) for event in OF_PEOPLE])
        self.happen(tenant=cases.TENANTS[0], moments=[Moment(person, OF_PEOPLE[1], cases.MOMENTS[3])])
        self.write(tenant=tenant, place=0, at=cases.MOMENTS[3], moments=[Moment(person, OF_PEOPLE[0], _TIMES[-1])])
        self.break_off(tenant=tenant, moments=[Moment(person, OF_PEOPLE[1], _TIMES[-1])])
        for event in OF_PEOPLE:
            for at, never in ((None, True), (_BEFORE, False), (cases.MOMENTS[3], False)):
                self.ask(tenant=tenant, past=Past(((Before(event, at, never),),)), shelf=Shelf.ANY)
        self.restore_once(tenant)
        self.write(tenant=tenant, place=1, at=cases.MOMENTS[0], moments=[])
        self.end(tenant=tenant, subject=other, erased=False)
        self.happen(tenant=tenant, moments=[Moment(other, OF_PEOPLE[1], _TIMES[-1])])
        self.end(tenant=tenant, subject=other, erased=True)

    def restore_once(self, tenant: TenantId) -> None:
        """Take something back, write over it, and ask what began before or since; what restarts, and what does not."""
        self.throw_away(tenant=tenant, place=0, at=cases.MOMENTS[1])
        self.tick(tenant=tenant, place=0, done=1)
        self.take_back(tenant=tenant, at=cases.MOMENTS[2])
        self.write(tenant=tenant, place=0, at=cases.MOMENTS[3], moments=[])
        for event, restarts in ((Event.RESTORED, False), (Event.CREATED, True), (Event.CREATED, False)):
            for at in (cases.MOMENTS[1], cases.MOMENTS[2]):
                self.ask(tenant=tenant, past=Past(((Before(event, at, restarts=restarts),),)), shelf=Shelf.LIVE)
        never = Before(Event.TRASHED, cases.MOMENTS[1], or_never=True, restarts=True)
        self.ask(tenant=tenant, past=Past(((never,),)), shelf=Shelf.LIVE)

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        place=st.integers(0, 2),
        at=st.sampled_from(cases.MOMENTS),
        moments=_moments(),
    )
    def write(self, tenant: TenantId, place: int, at: datetime, moments: list[Moment]) -> None:
        subject, name = _PEOPLE[place], cases.IDS[place]
        before = self.records.get((tenant, name))
        if (tenant, subject) in self.gone or (before is not None and before.trash is not None):
            return
        sketch = cases.Sketch(id=name, root=name, subject=subject, kind="person", at=at)
        draft = sketch.sealed(tenant, version=before.version + 1 if before else 1, slot=Slot(1, place))
        act = attrs.evolve(cases.act(tenant, witness=Witness()), at=at, happened=tuple(moments))
        self.store.write([draft], admits=cases.EVERY, act=act)
        self.records[tenant, name] = attrs.evolve(draft, restored=before.restored if before else None)
        self._read_again(tenant, name)
        self.kept.setdefault((tenant, subject), {Event.OPENED: at, Event.CONTACTED: at})
        self._keep(tenant, moments)
        self._agree("M4" if before is None else "M3")

    @rule(tenant=st.sampled_from(cases.TENANTS), moments=_moments())
    def happen(self, tenant: TenantId, moments: list[Moment]) -> None:
        self.store.happen(tenant, moments)
        self._keep(tenant, moments)
        self._agree("M2")

    @rule(tenant=st.sampled_from(cases.TENANTS), moments=_moments())
    def break_off(self, tenant: TenantId, moments: list[Moment]) -> None:
        """An act that changes nothing, or whose leaf cannot be made, lets nothing happen."""
        act = attrs.evolve(cases.act(tenant, witness=_breaks), happened=tuple(moments))
        bin_ = Trash(batch="b", at=cases.START, until=cases.START)
        where = Where(tenant=tenant, ids=(cases.IDS[0],))
        raised(lambda: self.store.move(where, bin_, admits=cases.EVERY, act=act), _Broken)
        nobody, calm = attrs.evolve(where, ids=()), attrs.evolve(act, witness=Witness())
        self.store.move(nobody, bin_, admits=cases.EVERY, act=calm)
        self._agree("M3")

    @rule(tenant=st.sampled_from(cases.TENANTS), place=st.integers(0, 2), at=st.sampled_from(cases.MOMENTS))
    def throw_away(self, tenant: TenantId, place: int, at: datetime) -> None:
        name = cases.IDS[place]
        trash = Trash(batch="b", at=at, until=at)
        where = Where(tenant=tenant, ids=(name,))
        for each in self.store.move(where, trash, admits=cases.EVERY, act=cases.act(tenant, witness=Witness())):
            if each.id is not None:
                self.records[tenant, each.id] = attrs.evolve(self.records[tenant, each.id], trash=trash)

    @rule(tenant=st.sampled_from(cases.TENANTS), place=st.integers(0, 2), done=st.integers(0, 2**63 - 1))
    def tick(self, tenant: TenantId, place: int, done: int) -> None:
        """Of the version that there is it is kept, of another it is not."""
        name = cases.IDS[place]
        held = self.records.get((tenant, name))
        if held is not None:
            self.store.tick(tenant, [attrs.evolve(held, done=done)])
            self.store.tick(tenant, [attrs.evolve(held, version=held.version + 1, done=7)])
            self.records[tenant, name] = attrs.evolve(held, done=done)
            self._read_again(tenant, name)

    def _read_again(self, tenant: TenantId, name: RecordId) -> None:
        (found,) = self.store.read(tenant, [name], admits=cases.EVERY)
        said = found.done if isinstance(found, Sealed) else None
        require(said == self.records[tenant, name].done, "M5", "something else is said to be done")

    @rule(tenant=st.sampled_from(cases.TENANTS), at=st.sampled_from(cases.MOMENTS))
    def take_back(self, tenant: TenantId, at: datetime) -> None:
        act = attrs.evolve(cases.act(tenant, witness=Witness()), at=at)
        for each in self.store.move(Where(tenant=tenant), Restore("b"), admits=cases.EVERY, act=act):
            if each.id is not None:
                self.records[tenant, each.id] = attrs.evolve(self.records[tenant, each.id], trash=None, restored=at)

    @rule(tenant=st.sampled_from(cases.TENANTS), subject=st.sampled_from(_PEOPLE), erased=st.booleans())
    def end(self, tenant: TenantId, subject: SubjectKey, *, erased: bool) -> None:
        for mark in (Mark.FENCED, Mark.ERASED) if erased else (Mark.FENCED,):
            reason = Reason(id="why", mark=mark, subject=subject, since=cases.START)
            self.store.mark([reason], admits=Mark.NONE, act=cases.act(tenant, witness=Witness()))
        if (tenant, subject) in self.kept:
            self.gone.add((tenant, subject))
            if erased:
                self.kept[tenant, subject] = {}
        self._agree("M4")

    @rule(tenant=st.sampled_from(cases.TENANTS), past=_pasts(), shelf=st.sampled_from(Shelf))
    def ask(self, tenant: TenantId, past: Past, shelf: Shelf) -> None:
        """Whatever is past is found, counted and may be expected to be, and nothing else."""
        where = Where(tenant=tenant, shelf=shelf, past=past)
        found = {each.id for each in self.store.select(where, admits=cases.EVERY, limit=9).records}
        wanted = {each.id for each in self._there(tenant, shelf) if is_past(past, self._events(each))}
        require(found == wanted, "M1", "what is past is not found by it, or something else is")
        require(self.store.count(where, admits=cases.EVERY) == len(wanted), "M1", "other records count as past")
        for each in self._there(tenant, Shelf.LIVE)[:1]:
            self._expect(each, past)

    def _expect(self, record: Sealed, past: Past) -> None:
        """Do what cannot be done, for its leaf breaks; or is refused before."""
        act = cases.act(record.tenant, witness=_breaks, expects=(Expected(id=record.id, past=past),))
        where, bin_ = Where(tenant=record.tenant, ids=(record.id,)), Trash(batch="b", at=cases.START, until=cases.START)
        refusal = raised(lambda: self.store.move(where, bin_, admits=cases.EVERY, act=act), _Broken, VersionMismatch)
        expected = is_past(past, self._events(record))
        require(isinstance(refusal, _Broken) == expected, "M1", "an act finds something past that is not")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("M1")

    def _there(self, tenant: TenantId, shelf: Shelf) -> list[Sealed]:
        there = [each for (owner, _), each in self.records.items() if owner == tenant]
        return [each for each in there if shelf is Shelf.ANY or (each.trash is not None) == (shelf is Shelf.TRASHED)]

    def _events(self, record: Sealed) -> Events:
        return events_of(record, self.kept.get((record.tenant, record.subject), {}))

    def _keep(self, tenant: TenantId, moments: Sequence[Moment]) -> None:
        for moment in moments:
            events = self.kept.get((tenant, moment.subject))
            if events is None or (tenant, moment.subject) in self.gone:
                continue
            if moment.at is None:
                events.pop(moment.event, None)
            else:
                events[moment.event] = max(moment.at, events.get(moment.event, moment.at))

    def _agree(self, clause: str) -> None:
        for tenant in cases.TENANTS:
            wanted: list[Mapping[Event, Any]] = [self.kept.get((tenant, each), {}) for each in cases.SUBJECTS]
            found = [dict(each) for each in self.store.happened(tenant, cases.SUBJECTS)]
            require(found == wanted, clause, "other moments are kept than happened")
