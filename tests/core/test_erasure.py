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
