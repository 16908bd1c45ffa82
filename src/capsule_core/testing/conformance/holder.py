"""The suite for a holder, in this process or at the other end of a wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from capsule_core.errors import CapsuleError
from capsule_core.holder import Done, Holder, Identifier, Order
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.statements import Outcome
from capsule_core.story import Erasure
from capsule_core.testing.conformance.clauses import Capabilities, explore, lacking, raised, require

__all__ = ["HolderUnderTest", "run_holder_conformance"]

_EMAILS: Final = ("ann@example.org", "bo@example.org", "cy@example.org")
_PLACES: Final = st.integers(0, 4)
_ACTOR: Final = ActorRef("service", "privacy")
_STRANGER: Final = SubjectKey("c00000000000000000000000000")
_WAITS: Final = tuple(map(timedelta, (0, 0, 0, 30), (0, 0, -1, 0), (-1, 0, 0, 0)))
_MARKING: Final = {Order.HOLD: True, Order.RESTRICT: True, Order.RELEASE: False, Order.LIFT: False}
_UNDOES: Final = {Order.RELEASE: Order.HOLD, Order.LIFT: Order.RESTRICT}


class HolderUnderTest(Protocol):
    """A holder, with two tenants that nobody used before, and the way in which data comes to be there."""

    @property
    def holder(self) -> Holder:
        """The holder that is tried."""
        ...

    @property
    def tenants(self) -> tuple[TenantId, TenantId]:
        """Two tenants without data."""
        ...

    def meet(self, tenant: TenantId, email: str) -> SubjectKey:
        """Keep one record on a new person with that address."""
        ...

    def write(self, tenant: TenantId, subject: SubjectKey) -> None:
        """Keep one more record on a person, or raise a CapsuleError."""
        ...

    def throw_away(self, tenant: TenantId, subject: SubjectKey) -> datetime:
        """Put all there is on a person into the trash; return when its time is over."""
        ...

    def now(self) -> datetime:
        """Tell the holder's time."""
        ...

    def advance(self, by: timedelta) -> None:
        """Let time pass for the holder."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_holder_conformance(
    make: Callable[[], HolderUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes holders that keep H1-H8 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    machine = _People(make, capabilities)
    try:
        _walk(machine)
    finally:
        machine.teardown()
    explore(lambda: _People(make, capabilities), settings)
    return lacking(capabilities, [("given", "H7")])


@attrs.define
class _Person:
    tenant: TenantId
    key: SubjectKey
    email: str
    records: int = 1
    due: datetime | None = None
    reasons: set[tuple[Order, str]] = attrs.Factory(set)
    fence: str = ""
    receipt: Done | None = None

    @property
    def is_free(self) -> bool:
        return not self.reasons and not self.fence


class _People(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], HolderUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.people: list[_Person] = []
        self.erasures = 0

    def teardown(self) -> None:
        self.under.close()

    @initialize()
    def begin(self) -> None:
        for tenant in (0, 1):
            for email in (0, 0, 1):
                self.meet(tenant, email)
        self.collect()
        self.fence(place=3)
        for order, reason in ((Order.HOLD, "x"), (Order.RELEASE, "x")):
            self.order(place=5, order=order, reason=reason)
            self.erase(places=[3, 5], stranger=False)  # all or none, also of whom it has fenced before

    @rule(tenant=st.integers(0, 1), email=st.integers(0, 2))
    def meet(self, tenant: int, email: int) -> None:
        if len(self.people) < 8:
            owner = self.under.tenants[tenant]
            self.people.append(_Person(owner, self.under.meet(owner, _EMAILS[email]), _EMAILS[email]))

    @rule(place=_PLACES)
    def write(self, place: int) -> None:
        person = self.people[place]
        error = raised(lambda: self.under.write(person.tenant, person.key), CapsuleError)
        if person.fence:
            require(error, "H5", "something was written for a fenced subject")
        elif error is None:
            person.records += 1
        else:
            refusing = any(order is Order.RESTRICT for order, _ in person.reasons) or person.due is not None
            require(refusing, "H4", f"nothing keeps it from being written, and yet {type(error).__name__}")

    @rule(place=_PLACES)
    def throw_away(self, place: int) -> None:
        person = self.people[place]
        if person.is_free and person.due is None:
            person.due = self.under.throw_away(person.tenant, person.key)

    @rule(place=_PLACES, order=st.sampled_from(list(_MARKING)), reason=st.sampled_from(("x", "y")))
    def order(self, place: int, order: Order, reason: str) -> None:
        person = self.people[place]
        self._apply(person, order, reason)
        mark = (_UNDOES.get(order, order), reason)
        if not _MARKING[order]:
            person.reasons.discard(mark)
        elif not person.fence:
            person.reasons.add(mark)

    @rule(place=_PLACES)
    def fence(self, place: int) -> None:
        """Tell it to fence in the name of an erasure that is still to come."""
        person = self.people[place]
        erasure = f"e{place}fence"
        self._apply(person, Order.FENCE, erasure)
        if person.is_free:
            person.fence = erasure

    @rule(places=st.lists(_PLACES, min_size=1, max_size=3, unique=True), stranger=st.booleans())
    def erase(self, places: list[int], stranger: bool) -> None:
        """Erase some people of one tenant under one name, then once more."""
        tenant = self.people[places[0]].tenant
        people = [self.people[place] for place in places if self.people[place].tenant == tenant]
        fenced = {person.fence for person in people if person.fence and person.receipt is None}
        people = [person for person in people if person.receipt is None and person.fence in {"", *list(fenced)[:1]}]
        self.erasures += 1
        name = next(iter(fenced), f"e{self.erasures}")
        if people:
            self._erase(tenant, people, name, [_STRANGER] if stranger else [])

    @rule(place=_PLACES)
    def erase_in_vain(self, place: int) -> None:
        """Ask one tenant to erase another's subject, and one that nobody ever knew."""
        person = self.people[place]
        other = next(tenant for tenant in self.under.tenants if tenant != person.tenant)
        for name, subject in (("foreign", person.key), ("unknown", _STRANGER)):
            done = self.under.holder.erase(self._erasure(other, [subject], name), now=self.under.now())
            clause = "H1" if name == "foreign" else "H6"
            require(done == Done(Outcome.NOTHING_HELD, None), clause, "a subject not known here was not simply unknown")
        self._same_records("H1")

    @rule()
    def collect(self) -> None:
        self._same_records("H3")

    @rule(wait=st.sampled_from(_WAITS), early=st.booleans())
    def sweep(self, wait: timedelta, early: bool) -> None:
        waiting = [person.due for person in self.people if person.due is not None and person.receipt is None]
        time = min(waiting, default=self.under.now()) + wait
        now = self.under.now() if early else max(time, self.under.now())
        if not self.capabilities.given:
            self.under.advance(now - self.under.now())
        for tenant in self.under.tenants:
            trashed = [p for p in self.people if p.tenant == tenant and p.due and p.due <= now and not p.fence]
            due = [person for person in trashed if person.is_free]
            swept = self.under.holder.sweep(tenant, now=now)
            for person in due:
                person.fence, person.receipt = "swept", Done(Outcome.ERASED, None)
            self._same_records("H7")
            require(swept.subjects == len(due), "H7", "a sweep tells of more or fewer people than it destroyed")
            if not any(p.fence and p.receipt is None for p in self.people if p.tenant == tenant):
                destroyed = sum(person.records for person in due)
                require(swept.records == destroyed, "H7", "a sweep tells of more or fewer records than it destroyed")

    @rule(tenant=st.integers(0, 1))
    def close_and_reopen(self, tenant: int) -> None:
        """Tell it what happened, twice, and last of all once more what is over."""
        owner, now, holder = self.under.tenants[tenant], self.under.now(), self.under.holder
        for hear in (holder.close, holder.close, holder.reopen, holder.reopen, holder.close):
            hear(owner, closed=now, by=_ACTOR, now=now)
            self._same_records("H8")
        holder.reopen(owner, closed=now - timedelta(days=400), by=_ACTOR, now=now)

    @rule(tenant=st.integers(0, 1), emails=st.lists(st.integers(0, 2), unique=True, min_size=1, max_size=3))
    def locate(self, tenant: int, emails: list[int]) -> None:
        owner = self.under.tenants[tenant]
        asked = [_EMAILS[email] for email in emails]
        found = self.under.holder.locate(owner, [Identifier(Form.EMAIL, email) for email in asked])
        told = {match.subject: (match.identifiers, match.records) for match in found}
        require(len(told) == len(found), "H2", "a subject came twice")
        erased = {person.key for person in self.people if person.receipt is not None}
        require(not erased & told.keys(), "H6", "an erased subject is still found")
        known = {p.key: ((asked.index(p.email),), p.records) for p in self._of(owner) if p.email in asked}
        foreign = told.keys() & {person.key for person in self.people if person.tenant != owner}
        require(not foreign, "H1", "another tenant's subject is found")
        unsure = {person.key for person in self.people if person.fence}
        told = {key: value for key, value in told.items() if key not in unsure}
        require(told == known, "H2", "it does not find exactly whom the identifiers name")

    def _of(self, tenant: TenantId) -> list[_Person]:
        return [person for person in self.people if person.tenant == tenant and not person.fence]

    def _apply(self, person: _Person, order: Order, reason: str) -> None:
        now, other = self.under.now(), next(t for t in self.under.tenants if t != person.tenant)
        for tenant, key in ((person.tenant, person.key), (person.tenant, person.key), (other, person.key)):
            done = self.under.holder.apply(tenant, [key, _STRANGER], order, reason=reason, by=_ACTOR, now=now)
            known = (key,) if tenant == person.tenant else ()
            clause = "H4" if known else "H1"
            require(done.applied == known, clause, "an order did not reach who is known, or reached somebody else")
            unknown = {_STRANGER} if known else {key, _STRANGER}
            require(set(done.unknown) == unknown, clause, "it does not say who is unknown")

    def _erase(self, tenant: TenantId, people: Sequence[_Person], name: str, strangers: list[SubjectKey]) -> None:
        erasure = self._erasure(tenant, [*(person.key for person in people), *strangers], name)
        gone = [] if any(person.reasons for person in people) else list(people)  # all of them, or none
        for _ in range(2):
            done = self.under.holder.erase(erasure, now=self.under.now())
            require((done.outcome is None) == (not gone), "H6", "what is held is erased, or what is free is not")
            require((done.receipt is None) == (done.outcome is not Outcome.ERASED), "H6", "ERASED is said by a receipt")
            if gone and done.receipt is not None:
                require(done.outcome is Outcome.ERASED, "H6", "it was held, and it was said that nothing was")
                named = done.receipt.statement
                same = (named.erasure, set(named.subjects)) == (name, {person.key for person in gone})
                require(same, "H6", "the receipt speaks of another erasure, or of somebody else")
                require(gone[0].receipt in (None, done), "H6", "repeating an erasure gives another receipt")
            for person in gone:
                person.fence, person.receipt = person.fence or name, done
        self._same_records("H6")
        for person in gone:
            reference = Identifier(Form.EMAIL, person.email), Identifier(Form.TEXT, f"person/{person.key}")
            found = [match.subject for match in self.under.holder.locate(tenant, reference)]
            require(person.key not in found, "H6", "an erased subject is still found")

    def _same_records(self, clause: str) -> None:
        """Collect everything: what is there of the living, and nothing of the erased."""
        for tenant in self.under.tenants:
            keys = [person.key for person in self.people]
            found = list(self.under.holder.collect(tenant, [*keys, _STRANGER]))
            require(len({record.id for record in found}) == len(found), "H3", "a record came twice")
            for person in self.people:
                count = sum(1 for record in found if record.subject == person.key)
                if person.tenant != tenant:
                    require(count == 0, "H1", "a record of another tenant is collected")
                elif person.receipt is not None:
                    require(count == 0, "H6", "a record of an erased subject is collected")
                elif not person.fence:
                    require(count == person.records, clause, f"{count} of {person.records} records are there")
            require({record.subject for record in found} <= set(keys), "H3", "somebody else's record is collected")

    def _erasure(self, tenant: TenantId, subjects: Sequence[SubjectKey], name: str) -> Erasure:
        return Erasure(
            tenant=tenant,
            id=name,
            subjects=tuple(subjects),
            ground="request",
            by=_ACTOR,
            requested=self.under.now(),
        )


def _walk(machine: _People) -> None:
    """Go through what every clause is about once, whatever a random walk may find."""
    machine.begin()
    machine.collect()
    machine.close_and_reopen(tenant=0)
    machine.locate(tenant=0, emails=[1, 0])
    for reason in ("x", "y"):
        machine.order(place=0, order=Order.HOLD, reason=reason)
    machine.order(place=0, order=Order.RELEASE, reason="x")
    machine.erase(places=[0], stranger=False)
    machine.order(place=0, order=Order.RELEASE, reason="y")
    machine.write(place=0)
    machine.throw_away(place=1)
    machine.erase_in_vain(place=0)
    machine.locate(tenant=0, emails=[0])
    machine.sweep(wait=-timedelta(microseconds=1), early=False)
    machine.erase(places=[0], stranger=True)
    machine.locate(tenant=0, emails=[0, 1])
    machine.write(place=0)
    machine.sweep(wait=timedelta(0), early=False)
    machine.fence(place=2)
    machine.write(place=2)
    machine.erase(places=[2], stranger=False)
