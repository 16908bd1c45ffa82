"""The suite for a store of records: ``RecordStore``, ``Answers`` and ``Backlog`` together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
import hypothesis

from capsule_core.errors import IdentifierTaken, RequestInFlight, VersionMismatch
from capsule_core.ledger import LedgerStore
from capsule_core.names import RecordId, SubjectKey
from capsule_core.protection import EVERYBODY
from capsule_core.records import Act, Answer, Mark, Reason, Slot, Where
from capsule_core.stores import Store
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Witness
from capsule_core.testing.conformance._protecting import ProtectingMachine
from capsule_core.testing.conformance._walk import Walk
from capsule_core.testing.conformance.clauses import Capabilities, at_once, explore, lacking, raised, require

__all__ = ["StoreUnderTest", "run_record_store_conformance"]


class StoreUnderTest(Protocol):
    """A store with the ledger its leaves go to; *reopen* opens the same data again, as after a restart."""

    @property
    def store(self) -> Store:
        """The store that is tried."""
        ...

    @property
    def ledger(self) -> LedgerStore:
        """Where its leaves go."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_record_store_conformance(
    make: Callable[[], StoreUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty stores that keep C1-C16, A1-A3 and B1-B5 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    machine = ProtectingMachine(make, capabilities)
    try:
        Walk(machine).go()
    finally:
        machine.teardown()
    if capabilities.concurrent:
        for race in (_one_version, _one_claim, _one_answer, _one_hold):
            under = make()
            try:
                race(under)
            finally:
                under.close()
    explore(lambda: ProtectingMachine(make, capabilities), settings)
    return lacking(
        capabilities,
        [("durable", "C2"), *(("concurrent", clause) for clause in ("C5", "C7", "C12", "C15"))],
    )


def _one_version(under: StoreUnderTest) -> None:
    """Many write the same version at once: one is the first, and one leaf says so."""
    sketch = cases.plain(cases.IDS[0], cases.IDS[0], cases.SUBJECTS[0])
    draft = sketch.sealed(cases.TENANTS[0], version=1, slot=Slot(1, 0))
    done = at_once(lambda _: under.store.write([draft], admits=Mark.NONE, act=_witnessed()))
    won = [result for result in done if not isinstance(result, Exception)]
    require(len(won) == 1, "C3", f"{len(won)} writers made the same version")
    lost = all(isinstance(result, VersionMismatch) for result in done if isinstance(result, Exception))
    require(lost, "C3", "a writer that came second was told something else")
    require(under.ledger.head().size == 1, "C5", "there is not one leaf for the one act")


def _one_claim(under: StoreUnderTest) -> None:
    """Many claim the same identifier at once for different records: one gets it."""

    def claim(number: int) -> object:
        name = RecordId(f"c{number}")
        sketch = attrs.evolve(cases.plain(name, name, SubjectKey(f"p{number}")), tokens=(5,), claims=(5,))
        draft = sketch.sealed(cases.TENANTS[0], version=1, slot=Slot(1, number))
        return under.store.write([draft], admits=Mark.NONE, act=_witnessed())

    won = [result for result in at_once(claim) if not isinstance(result, IdentifierTaken)]
    require(len(won) == 1, "C7", f"{len(won)} records got the same claim")


def _one_answer(under: StoreUnderTest) -> None:
    """The same request comes many times at once: it has one effect."""
    answer = Answer(tenant=cases.TENANTS[0], key=b"k", digest=b"d", until=cases.START, body=b"b")

    def ask(number: int) -> object:
        name = RecordId(f"a{number}")
        draft = cases.plain(name, name, SubjectKey(f"p{number}")).sealed(
            cases.TENANTS[0], version=1, slot=Slot(1, number)
        )
        return under.store.write([draft], admits=Mark.NONE, act=_witnessed(answer=answer))

    won = [result for result in at_once(ask) if not isinstance(result, Exception)]
    require(len(won) == 1, "C12", f"one request had {len(won)} effects")
    error = raised(lambda: ask(99), RequestInFlight)
    require(error is not None, "C12", "the request was done again")


def _one_hold(under: StoreUnderTest) -> None:
    """Everybody is held while others destroy: what is there when that is said stays."""
    tenant, store, names = cases.TENANTS[0], under.store, [RecordId(f"h{number}") for number in range(48)]
    people = [SubjectKey(f"p{number}") for number in range(len(names) - 1)]
    sketches = [cases.plain(name, name, who) for name, who in zip(names, [*people, EVERYBODY], strict=True)]
    drafts = [each.sealed(tenant, version=1, slot=Slot(1, place)) for place, each in enumerate(sketches)]
    store.write(drafts, admits=Mark.NONE, act=_witnessed())
    hold = Reason(id="why", mark=Mark.HELD, subject=EVERYBODY, since=cases.START)

    def left() -> set[RecordId]:
        found = store.read(tenant, names, admits=cases.EVERY)
        return {name for name, record in zip(names, found, strict=True) if record is not None}

    def run(number: int) -> set[RecordId]:
        if number == 0:
            store.mark([hold], act=_witnessed())
            return left()
        for name in names[number - 1 : -1 : 7]:
            store.destroy(Where(tenant=tenant, ids=(name,)), admits=Mark.NONE, act=_witnessed())
        return set()

    seen = at_once(run)[0]
    require(isinstance(seen, set) and seen == left(), "C15", "something was destroyed after everybody was held")


def _witnessed(**changes: Any) -> Act:
    return cases.act(cases.TENANTS[0], witness=Witness(), **changes)
