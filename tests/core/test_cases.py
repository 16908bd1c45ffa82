"""A case is closed when every holder has confirmed, and says of each what it did: never more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core import cases
from capsule_core.cases import ABOUT, Case
from capsule_core.codec import from_plain, to_plain
from capsule_core.contacts import Person
from capsule_core.errors import ReceiptInvalid
from capsule_core.names import ActorRef, SubjectRef, TenantId
from capsule_core.personal import kind_of
from capsule_core.privacy import Privacy
from capsule_core.receipts import Receipt
from capsule_core.statements import Outcome

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
TENANT = TenantId("acme")
BY = ActorRef("user", "u1")
HOLDERS = ("contacts", "identity", "mail")


def receipt_of(service: str, *, erasure: str | None = None, now: datetime = NOW) -> Receipt:
    privacy = Privacy.in_memory(kinds=[Person], service=service)
    privacy.save(TENANT, Person(id="c1", given_name="Ada"), by=BY, now=now)
    plan = privacy.erase.plan(SubjectRef(TENANT, "person", "c1"), by=BY, now=now)
    if erasure is not None:
        plan = attrs.evolve(plan, erasure=attrs.evolve(plan.erasure, id=erasure))
    return privacy.erase.run(plan, now=now)


@pytest.fixture(scope="module")
def report() -> Receipt:
    return receipt_of("contacts")


@pytest.fixture
def case(report: Receipt) -> Case:
    return cases.opened(report, holders=HOLDERS, now=NOW)


def test_a_case_opens_with_the_confirmation_of_whoever_reports_it(case: Case, report: Receipt) -> None:
    assert (case.id, case.about, case.subjects) == (report.statement.erasure, ABOUT, ("c1",))
    assert cases.pending(case) == ("identity", "mail")
    assert not case.closed_at


@pytest.mark.parametrize("holders", [(), ("identity",)])
def test_the_report_of_a_service_that_need_not_be_reached_opens_none(report: Receipt, holders: tuple[str, ...]) -> None:
    with pytest.raises(ReceiptInvalid):
        cases.opened(report, holders=holders, now=NOW)


def test_a_receipt_that_says_everywhere_opens_none(report: Receipt) -> None:
    everywhere = attrs.evolve(report, statement=attrs.evolve(report.statement, scope="everywhere"))
    with pytest.raises(ReceiptInvalid):
        cases.opened(everywhere, holders=HOLDERS, now=NOW)


@pytest.mark.law("L15")
@given(st.lists(st.sampled_from([*HOLDERS, "stranger"]), max_size=6))
def test_a_case_is_closed_only_when_every_holder_has_confirmed_each_counting_once(
    report: Receipt, heard: list[str]
) -> None:
    case = cases.opened(report, holders=HOLDERS, now=NOW)
    for holder in heard:
        case = cases.confirm(case, holder, Outcome.NOTHING_HELD, None, now=NOW)
    assert set(cases.pending(case)) == set(HOLDERS) - {"contacts", *heard}
    assert len(case.confirmations) == len({each.holder for each in case.confirmations})
    if cases.pending(case):
        with pytest.raises(ReceiptInvalid):
            cases.closed(case, now=NOW)
    else:
        assert cases.closed(case, now=NOW).closed_at == NOW.isoformat()


def test_what_a_holder_confirmed_first_stays(case: Case) -> None:
    first = cases.confirm(case, "mail", Outcome.NOTHING_HELD, None, now=NOW)
    assert cases.confirm(first, "mail", Outcome.ERASED, receipt_of("mail"), now=NOW + timedelta(days=1)) == first


@pytest.mark.parametrize("order", list(permutations(["identity", "mail"])))
def test_the_statement_says_what_each_holder_did_by_its_own_receipt(case: Case, order: tuple[str, ...]) -> None:
    later = NOW + timedelta(hours=2)
    theirs = receipt_of("mail", erasure=case.id, now=later)
    for holder in order:
        if holder == "mail":
            case = cases.confirm(case, holder, Outcome.ERASED, theirs, now=later)
        else:
            case = cases.confirm(case, holder, Outcome.NOTHING_HELD, None, now=later)
    done = cases.closed(case, now=later + timedelta(minutes=1))
    statement = cases.statement_of(done, tenant=TENANT, service="privacy")
    assert (statement.scope, statement.service, statement.subjects) == ("everywhere", "privacy", ("c1",))
    assert (statement.requested_at, statement.destroyed_at) == (NOW, later)
    assert statement.read_back_at == later + timedelta(minutes=1)
    told = {part.holder: part for part in statement.destructions}
    assert {name: part.outcome for name, part in told.items()} == {
        "contacts": Outcome.ERASED,
        "identity": Outcome.NOTHING_HELD,
        "mail": Outcome.ERASED,
    }
    assert told["mail"] == theirs.statement.destructions[0]
    assert (dict(told["identity"].records), told["identity"].pages) == ({}, ())
    assert cases.statement_of(done, tenant=TENANT, service="privacy").digest() == statement.digest()


@pytest.mark.law("L15")
def test_only_a_receipt_of_the_holder_itself_about_this_case_makes_erased_believable(case: Case) -> None:
    good = receipt_of("mail", erasure=case.id)
    assert cases.believable(case, "mail", Outcome.ERASED, good)
    assert not cases.believable(case, "mail", Outcome.ERASED, None)
    assert not cases.believable(case, "mail", Outcome.ERASED, receipt_of("identity", erasure=case.id))
    assert not cases.believable(case, "mail", Outcome.ERASED, receipt_of("mail"))
    assert cases.believable(case, "mail", Outcome.NOTHING_HELD, None)
    assert not cases.believable(case, "mail", Outcome.NOTHING_HELD, good)


def test_a_case_is_kept_and_comes_back_as_it_was(case: Case) -> None:
    assert from_plain(to_plain(case), kind_of(Case)) == case
