"""Erasures that are interrupted, repeated, or meet another one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import attrs
import pytest

from capsule_core.checkpoints import Signer
from capsule_core.errors import InvalidField, PlanStale, SubjectErased, Unavailable
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import ActorRef, SubjectRef
from capsule_core.pages import PageKey
from capsule_core.personal import Category, Personal, Words, kind
from capsule_core.privacy import Privacy
from capsule_core.receipts import verify

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
AGENT = ActorRef("user", "u1")
WHO = SubjectRef("acme", "customer", "c-42")


@kind("ticket", subject="customer")
@attrs.frozen
class Ticket:
    id: str
    customer: str
    text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support", search=Words())]


class Stumbling(MemoryKeystore):
    """A keystore that cannot be reached the first time a key is to die."""

    stumbled = False

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        if not self.stumbled:
            self.stumbled = True
            raise Unavailable
        super().replace(keys)


@pytest.fixture
def library() -> Privacy:
    ledger, journal = MemoryLedger(), MemoryJournal()
    made = Privacy.over(
        MemoryStore(ledger, journal),
        keystore=Stumbling(),
        journal=journal,
        ledger=ledger,
        signer=Signer.from_seed("example", bytes(32)),
        kinds=[Ticket],
    )
    made.save("acme", Ticket("t-1", "c-42", "my printer burns"), by=AGENT, now=NOW)
    return made


def test_an_interrupted_erasure_goes_on_when_its_plan_is_run_again(library: Privacy) -> None:
    plan = library.erase.plan(WHO, by=AGENT, now=NOW)
    with pytest.raises(Unavailable):
        library.erase.run(plan, now=NOW)
    with pytest.raises(SubjectErased):
        library.save("acme", Ticket("t-2", "c-42", "and now it floods"), by=AGENT, now=NOW)
    later = NOW + timedelta(minutes=1)
    receipt = library.erase.run(plan, now=later)
    assert verify(receipt, library.public_key).subjects == plan.erasure.subjects
    assert library.erase.run(plan, now=later) == receipt


def test_a_person_who_is_being_erased_gets_no_second_plan(library: Privacy) -> None:
    plan = library.erase.plan(WHO, by=AGENT, now=NOW)
    with pytest.raises(Unavailable):
        library.erase.run(plan, now=NOW)
    with pytest.raises(SubjectErased):
        library.erase.plan(WHO, by=AGENT, now=NOW)


def test_a_plan_is_refused_when_the_facts_have_moved(library: Privacy) -> None:
    plan = library.erase.plan(WHO, by=AGENT, now=NOW)
    library.save("acme", Ticket("t-2", "c-42", "and now it floods"), by=AGENT, now=NOW)
    with pytest.raises(PlanStale):
        library.erase.run(plan, now=NOW)


@pytest.mark.parametrize("field", ["nope", "text"])
def test_only_fields_declared_for_it_are_looked_up_by_their_value(library: Privacy, field: str) -> None:
    with pytest.raises(InvalidField, match="equal"):
        library.find(Ticket, "acme", equal=(field, "x"))


@pytest.mark.parametrize("earlier", [timedelta(microseconds=1), timedelta(days=400)])
def test_an_erasure_is_not_dated_before_its_plan(library: Privacy, earlier: timedelta) -> None:
    plan = library.erase.plan(WHO, by=AGENT, now=NOW)
    with pytest.raises(InvalidField, match="now"):
        library.erase.run(plan, now=NOW - earlier)
    assert library.get(Ticket, "acme", "t-1").content.text == "my printer burns"
    with pytest.raises(Unavailable):
        library.erase.run(plan, now=NOW)


@pytest.mark.parametrize("resumed", [False, True])
def test_an_erasure_that_was_begun_is_finished_by_a_clock_that_was_set_back(library: Privacy, resumed: bool) -> None:
    plan = library.erase.plan(WHO, by=AGENT, now=NOW)
    begun, back = NOW + timedelta(hours=1), NOW - timedelta(days=400)
    with pytest.raises(Unavailable):
        library.erase.run(plan, now=begun)
    if resumed:
        library.sweep(now=back)
    told = verify(library.erase.run(plan, now=back), library.public_key)
    assert (told.requested_at, told.fenced_at, told.destroyed_at, told.read_back_at) == (NOW, begun, begun, begun)
    assert [part.verification.at for part in told.destructions if part.verification] == [begun]


def test_an_erasure_that_a_service_asks_for_is_never_dated_before_it_was_asked_for(library: Privacy) -> None:
    wanted = library.erase.plan(WHO, by=AGENT, now=NOW).erasure
    back = NOW - timedelta(days=1)
    with pytest.raises(Unavailable):
        library._eraser.erase(wanted, now=back)
    told = verify(library._eraser.erase(wanted, now=back), library.public_key)
    assert {told.requested_at, told.fenced_at, told.destroyed_at, told.read_back_at} == {NOW}


def test_an_erasure_that_is_asked_for_again_was_asked_for_when_it_began(library: Privacy) -> None:
    wanted = library.erase.plan(WHO, by=AGENT, now=NOW).erasure
    with pytest.raises(Unavailable):
        library._eraser.erase(wanted, now=NOW)
    later = NOW + timedelta(days=1)
    told = verify(library._eraser.erase(attrs.evolve(wanted, requested=later), now=later), library.public_key)
    assert (told.requested_at, told.fenced_at, told.destroyed_at) == (NOW, NOW, later)
