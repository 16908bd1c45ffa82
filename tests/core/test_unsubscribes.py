"""The operator's own unsubscribe list: in any spelling, for ever, and out of reach of whatever becomes of a tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.blind import suppression
from capsule_core.closing import GRACE, KIND
from capsule_core.closure import Closure
from capsule_core.errors import InvalidField
from capsule_core.journal import Suppressed
from capsule_core.names import OPERATOR, TenantId, owner_id, tenant_id
from capsule_core.personal import Category, Personal, kind
from capsule_core.privacy import Privacy
from capsule_core.readmission import LONGEST_EVIDENCE, attests
from capsule_core.records import Mark, Shelf, Where
from capsule_core.stores import EVERYONE
from capsule_core.testing import strategies as the
from capsule_core.unsubscribes import CLERK, Unsubscribes
from capsule_core.uses import Use
from capsule_core.witness import actor_commitment
from tests.core.comeback import ERASED, SPELLINGS, reached
from tests.core.desk import ACME, NOON, USER, ZETA, Desk, in_memory
from tests.core.siege import values_reachable_from
from tests.core.test_closure import dissolved

OTHER = "bo@example.org"
ADDRESSES = (ERASED, OTHER, "cy@example.org")
Deed = tuple[str, str]


@kind("letter", subject="customer")
@attrs.frozen
class Letter:
    id: str
    customer: str
    text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support")] = ""


@pytest.fixture
def desk() -> Desk:
    return in_memory()


def unsubscribes(desk: Desk) -> Unsubscribes:
    return Unsubscribes(desk.store, desk.repository.identifiers)


def added(desk: Desk, email: str = ERASED, *, after: timedelta = timedelta()) -> bool:
    return unsubscribes(desk).add(email, verb="unsubscribe", now=NOON + after)


def lifted(desk: Desk, email: str = ERASED, evidence: str = "form 7", *, after: timedelta = timedelta()) -> bool:
    return unsubscribes(desk).lift(email, evidence=evidence, verb="resubscribe", now=NOON + after)


def told(desk: Desk) -> list[Suppressed]:
    entries = [entry for _, entry in desk.journal.since(0) if isinstance(entry, Suppressed)]
    return [entry for entry in entries if entry.tenant == OPERATOR]


def test_an_address_is_on_the_list_in_all_its_spellings_and_nobody_else_is(desk: Desk) -> None:
    assert unsubscribes(desk).among([*SPELLINGS, OTHER]) == [False] * 13
    assert added(desk)
    assert unsubscribes(desk).among([OTHER, *SPELLINGS, OTHER]) == [False, *[True] * 12, False]
    assert unsubscribes(desk).among([]) == []


def test_added_again_it_stays_since_when_it_was_and_only_a_change_leaves_a_leaf(desk: Desk) -> None:
    assert [added(desk, each, after=timedelta(days=day)) for day, each in enumerate(SPELLINGS)] == [True] + [False] * 11
    assert [(each.since, each.lift) for each in told(desk)] == [(NOON, False)]
    (leaf,) = (each for each in desk.leaves() if each.tenant == OPERATOR)
    assert (leaf.act, leaf.at, leaf.subjects, leaf.records, leaf.detail) == ("unsubscribe", NOON, (), 0, {})


def test_their_own_new_consent_takes_it_off_in_any_spelling_and_is_on_record(desk: Desk) -> None:
    assert not lifted(desk), "it was not on it"
    added(desk)
    assert lifted(desk, SPELLINGS[5], "settings page, wording 3", after=timedelta(days=1))
    assert unsubscribes(desk).among(SPELLINGS) == [False] * 12
    *_, leaf = (each for each in desk.leaves() if each.tenant == OPERATOR)
    assert attests(desk.vault.tenant(OPERATOR), leaf, "settings page, wording 3")
    assert not attests(desk.vault.tenant(OPERATOR), leaf, "settings page, wording 4")
    assert [(each.lift, each.since) for each in told(desk)] == [(False, NOON), (True, NOON + timedelta(days=1))]


def test_what_is_no_address_or_not_founded_is_refused_with_its_place(desk: Desk) -> None:
    added(desk)
    size = desk.ledger.head().size
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("emails[1]", lambda: unsubscribes(desk).among([OTHER, "nonsense"])),
        ("email", lambda: added(desk, "a@b@c d")),
        ("email", lambda: lifted(desk, "nonsense")),
        ("evidence", lambda: lifted(desk, evidence=" \n")),
        ("evidence", lambda: lifted(desk, evidence="x" * (LONGEST_EVIDENCE + 1))),
    ]
    for field, ask in refusals:
        with pytest.raises(InvalidField) as refusal:
            ask()
        assert refusal.value.field == field
        assert "nonsense" not in str(refusal.value)
    assert unsubscribes(desk).among([ERASED]) == [True]
    assert desk.ledger.head().size == size


@given(history=st.lists(st.tuples(st.sampled_from(("add", "lift")), st.sampled_from(ADDRESSES)), max_size=12))
def test_the_list_is_what_was_last_said_of_each_address(history: list[Deed]) -> None:
    desk, model = in_memory(), dict.fromkeys(ADDRESSES, False)
    for verb, email in history:
        changed = added(desk, email) if verb == "add" else lifted(desk, email)
        assert changed == (model[email] is (verb == "lift"))
        model[email] = verb == "add"
        assert unsubscribes(desk).among(ADDRESSES) == list(model.values())


@given(email=the.email_addresses())
def test_an_address_that_may_be_kept_can_be_put_on_the_list_and_taken_off(email: str) -> None:
    desk = in_memory()
    assert (added(desk, email), unsubscribes(desk).among([email.upper()])) == (True, [True])
    assert (lifted(desk, email), unsubscribes(desk).among([email])) == (True, [False])


@pytest.mark.law("L1")
def test_it_is_nobodys_suppression_and_no_tenants_suppression_is_on_it(desk: Desk) -> None:
    added(desk)
    (jane,) = desk.add(reached(email=ERASED))
    (bo,) = desk.add(reached(email=OTHER))
    desk.forget(bo.id)
    assert unsubscribes(desk).among([ERASED, OTHER]) == [True, False]
    assert desk.get(jane.id).content == jane.content, "who wants no mail may be kept"
    hashes = {suppression(desk.vault.tenant(each), "email", "janedoe@gmail.com") for each in (ACME, ZETA, OPERATOR)}
    assert len(hashes) == 3, "nobody can compare what they hold"


@pytest.mark.law("L6")
def test_its_owners_erasure_and_the_closing_of_their_tenant_leave_it(desk: Desk) -> None:
    (jane,) = desk.add(reached(email=ERASED))
    (bo,) = desk.add(reached(email=OTHER))
    added(desk)
    added(desk, OTHER)
    desk.forget(jane.id)
    Closure(desk.repository).close(act=desk.act(use=Use.ADMINISTER, verb="close"))
    dissolved(desk)
    assert desk.store.remembered(ACME, limit=9) == []
    assert desk.vault.is_closed(ACME)
    assert not desk.vault.is_closed(OPERATOR)
    assert unsubscribes(desk).among([*SPELLINGS, OTHER, "cy@example.org"]) == [True] * 13 + [False]
    assert desk.store.read(ACME, [bo.id], admits=~Mark.NONE) == [None]


def test_no_sweep_closing_count_or_list_of_tenants_that_have_something_ever_names_it(desk: Desk) -> None:
    added(desk)
    added(desk, OTHER)
    desk.add(reached(email=ERASED))
    Closure(desk.repository).close(act=desk.act(use=Use.ADMINISTER, verb="close"))
    later, store = NOON + GRACE * 100, desk.store
    assert OPERATOR not in [*store.due(later), *store.due(later, EVERYONE)]
    assert OPERATOR not in [tenant for kind in sorted(desk.repository.kinds) for tenant in store.having(kind)]
    assert ACME in store.having(KIND)
    assert OPERATOR not in [tenant for tenant, _ in [*store.unfinished(), *store.released()]]
    assert (store.released(OPERATOR), store.people(OPERATOR, limit=9)) == ([], [])
    everything = Where(tenant=OPERATOR, shelf=Shelf.ANY)
    assert store.count(everything, admits=~Mark.NONE) == 0
    assert store.select(everything, admits=~Mark.NONE, limit=9).records == ()
    assert dissolved(desk, later, tenant=OPERATOR) == []
    assert unsubscribes(desk).among([ERASED, OTHER]) == [True, True]


def test_nobody_can_name_it(desk: Desk) -> None:
    with pytest.raises(InvalidField):
        tenant_id(OPERATOR)
    assert owner_id(OPERATOR) == OPERATOR, "but whoever reads the log meets it"
    with pytest.raises(InvalidField):
        owner_id("~somebody")
    p = Privacy.in_memory(kinds=[Letter])
    for ask in (p.closing.close, p.closing.reopen):
        with pytest.raises(InvalidField):
            ask(OPERATOR, by=USER, now=NOON)
    assert added(desk), "and so there is one for every deployment"


def test_its_leaves_commit_to_nobody_who_acted(desk: Desk) -> None:
    added(desk)
    lifted(desk)
    actors = {leaf.actor for leaf in desk.leaves() if leaf.tenant == OPERATOR}
    assert actors == {actor_commitment(desk.vault, OPERATOR, CLERK)}


@pytest.mark.law("L6")
def test_nothing_readable_of_an_address_can_be_reached_from_the_stores(desk: Desk) -> None:
    added(desk)
    lifted(desk, evidence="the letter of Jane Doe")
    added(desk)
    found = values_reachable_from(desk.store, desk.ledger, desk.journal)
    texts = [each.encode() if isinstance(each, str) else bytes(each) for each in found if not isinstance(each, int)]
    assert any(len(text) == 16 for text in texts), "the walk finds nothing at all"
    spellings = [each.casefold().encode() for each in (*SPELLINGS, "janedoe", "jane doe")]
    assert [each for each in spellings if any(each in text.lower() for text in texts)] == []


def test_two_deployments_cannot_compare_what_they_hold() -> None:
    kept = set()
    for desk in (in_memory(), in_memory()):
        added(desk)
        kept.add(bytes(desk.store.remembered(TenantId(OPERATOR), limit=1)[0]))
    assert len(kept) == 2
