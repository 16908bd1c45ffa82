"""Who wants no mail of the operator's: they say so themselves, whoever mails asks, no end of theirs undoes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.closing import GRACE, Term
from capsule_core.errors import (
    IdentifierTaken,
    InvalidField,
    PermissionDenied,
    RequestReused,
    SubjectErased,
    Unauthenticated,
)
from capsule_core.ledger import Leaf
from capsule_core.names import OPERATOR
from capsule_core.readmission import attests
from capsule_core.stores import EVERYONE
from capsule_services.identity.__main__ import KINDS
from capsule_services.identity.unsubscribes.handlers import MOST
from capsule_services.runtime.callers import Anonymous, ServiceCaller, UserCaller
from tests.core.comeback import ERASED, SPELLINGS
from tests.services.premises import Premises, Tenant, opened

MAILER = ServiceCaller("contacts")
EVIDENCE = "settings page, wording 3"


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


@pytest.fixture
def tenant(premises: Premises) -> Tenant:
    return premises.sign_up()


@pytest.fixture
def jane(premises: Premises, tenant: Tenant) -> UserCaller:
    return premises.join(tenant, ERASED)


def name_of(caller: UserCaller) -> str:
    return f"tenants/{caller.tenant}/users/{caller.user}"


def unsubscribe(premises: Premises, caller: UserCaller, **more: str) -> pb.User:
    said: pb.User = premises.ask(
        caller, "UnsubscribeUser", pb.UnsubscribeUserRequest(**{"name": name_of(caller), **more})
    )
    return said


def resubscribe(premises: Premises, caller: UserCaller, **more: str) -> pb.User:
    request = pb.ResubscribeUserRequest(**{"name": name_of(caller), "evidence": EVIDENCE, **more})
    said: pb.User = premises.ask(caller, "ResubscribeUser", request)
    return said


def update(premises: Premises, caller: UserCaller, user: pb.User, *paths: str) -> pb.User:
    request = pb.UpdateUserRequest(user=user, update_mask=FieldMask(paths=paths))
    changed: pb.User = premises.ask(caller, "UpdateUser", request)
    return changed


def checked(premises: Premises, *emails: str) -> list[bool]:
    answer = premises.ask(MAILER, "CheckAddresses", pb.CheckAddressesRequest(emails=emails))
    return list(answer.unsubscribed)


def leaves(premises: Premises) -> Sequence[Leaf]:
    ledger = premises.holding.ledger
    return [Leaf.decode(data) for data in ledger.read(0, ledger.head().size)]


def test_whoever_mails_is_told_of_all_spellings_alike_and_of_nobody_else(premises: Premises, jane: UserCaller) -> None:
    assert checked(premises, *SPELLINGS) == [False] * 12
    assert unsubscribe(premises, jane).marketing_refused
    assert checked(premises, *SPELLINGS, "anna@example.org", "unknown@example.org") == [True] * 12 + [False] * 2


@pytest.mark.law("L1")
@pytest.mark.usefixtures("jane")
def test_a_users_address_and_an_unknown_one_get_one_answer(premises: Premises) -> None:
    questions = [pb.CheckAddressesRequest(emails=[each]) for each in (ERASED, "anna@example.org", "who@example.org")]
    answers = {premises.ask(MAILER, "CheckAddresses", each).SerializeToString() for each in questions}
    assert len(answers) == 1


def test_nobody_but_the_operators_services_may_ask(premises: Premises, tenant: Tenant) -> None:
    for caller in (tenant.owner, Anonymous()):
        with pytest.raises(PermissionDenied) as refused:
            premises.ask(caller, "CheckAddresses", pb.CheckAddressesRequest(emails=[ERASED]))
        assert refused.value.permission == "unsubscribes.check"


def test_a_question_is_about_one_to_a_thousand_addresses_and_names_what_is_none(premises: Premises) -> None:
    assert checked(premises, *["a@example.org"] * MOST) == [False] * MOST
    for emails, field in (([], "emails"), (["a@example.org"] * (MOST + 1), "emails"), ([ERASED, "no"], "emails[1]")):
        with pytest.raises(InvalidField) as refused:
            checked(premises, *emails)
        assert refused.value.field == field


@pytest.mark.law("L8")
def test_a_question_leaves_a_leaf_that_tells_nothing_of_the_addresses(premises: Premises) -> None:
    reads = premises.holding.reads.ledger
    before = reads.head().size
    checked(premises, *SPELLINGS)
    (data,) = reads.read(before, 9)
    leaf = Leaf.decode(data)
    assert (leaf.tenant, leaf.act, leaf.use) == (OPERATOR, "identity.CheckAddresses", "marketing")
    assert b"doe" not in data.lower()


def test_users_say_so_of_themselves_alone(premises: Premises, tenant: Tenant, jane: UserCaller) -> None:
    for ask in (unsubscribe, resubscribe):
        for name in (name_of(jane), f"{tenant.name}/users/unknown", "tenants/other/users/unknown"):
            with pytest.raises(PermissionDenied) as refused:
                ask(premises, tenant.owner, name=name)
            assert refused.value.permission == "users.self"
    assert checked(premises, ERASED) == [False]


def test_taking_it_back_is_their_own_consent_and_on_record_for_longer_than_they_are(
    premises: Premises, jane: UserCaller
) -> None:
    unsubscribe(premises, jane)
    for nothing in ("", " ", "x" * 1001):
        with pytest.raises(InvalidField) as refused:
            resubscribe(premises, jane, evidence=nothing)
        assert refused.value.field == "evidence"
    assert checked(premises, ERASED) == [True]
    assert not resubscribe(premises, jane).marketing_refused
    assert checked(premises, *SPELLINGS) == [False] * 12
    (_, leaf) = (each for each in leaves(premises) if each.tenant == OPERATOR)
    assert leaf.act == "identity.ResubscribeUser"
    assert attests(premises.holding.vault.tenant(OPERATOR), leaf, EVIDENCE)


def test_the_answer_does_not_tell_what_somebody_said_elsewhere(premises: Premises, jane: UserCaller) -> None:
    """Whoever signs up with a foreign address must not learn from their own record that its owner is a user."""
    unsubscribe(premises, jane)
    elsewhere = premises.sign_up("janedoe@googlemail.com").owner
    other = premises.sign_up("other@example.org").owner
    seen = [
        premises.ask(each, "GetUser", pb.GetUserRequest(name=name_of(each))).marketing_refused
        for each in (elsewhere, other)
    ]
    assert seen == [False, False]
    for ask in (unsubscribe, resubscribe):
        told = [ask(premises, each) for each in (elsewhere, other)]
        assert told[0].marketing_refused == told[1].marketing_refused


@pytest.mark.law("L9")
def test_asked_again_under_its_request_id_it_has_one_effect(premises: Premises, jane: UserCaller) -> None:
    off, on = premises.uuid(), premises.uuid()
    first = unsubscribe(premises, jane, request_id=off)
    resubscribe(premises, jane, request_id=on)
    assert unsubscribe(premises, jane, request_id=off) == first
    assert checked(premises, ERASED) == [False]
    unsubscribe(premises, jane)
    resubscribe(premises, jane, request_id=on)
    assert checked(premises, ERASED) == [True]
    with pytest.raises(RequestReused):
        resubscribe(premises, jane, request_id=on, evidence="another")
    assert [each.act for each in leaves(premises) if each.tenant == OPERATOR] == [
        "identity.UnsubscribeUser",
        "identity.ResubscribeUser",
        "identity.UnsubscribeUser",
    ]


def test_a_form_that_says_so_is_the_same_and_cannot_take_it_back(
    premises: Premises, tenant: Tenant, jane: UserCaller
) -> None:
    update(premises, tenant.owner, pb.User(name=name_of(jane), marketing_refused=True), "marketing_refused")
    assert checked(premises, ERASED) == [True]
    for caller in (jane, tenant.owner):
        with pytest.raises(InvalidField) as refused:
            update(premises, caller, pb.User(name=name_of(jane)), "marketing_refused")
        assert refused.value.field == "user.marketing_refused"
    assert checked(premises, ERASED) == [True]


def test_it_moves_on_with_the_address_of_who_refused(premises: Premises, jane: UserCaller) -> None:
    update(premises, jane, pb.User(name=name_of(jane), email="j@example.org"))
    assert checked(premises, "j@example.org") == [False]
    unsubscribe(premises, jane)
    update(premises, jane, pb.User(name=name_of(jane), email="jd@example.org"))
    assert checked(premises, "j@example.org", "jd@example.org") == [True, True]
    with pytest.raises(IdentifierTaken):
        update(premises, jane, pb.User(name=name_of(jane), email="anna@example.org"))
    assert checked(premises, "anna@example.org") == [False], "it is somebody else's"


@pytest.mark.law("L6")
def test_it_outlives_the_user(premises: Premises, tenant: Tenant, jane: UserCaller) -> None:
    unsubscribe(premises, jane)
    premises.remove(tenant.owner, jane.user)
    assert checked(premises, *SPELLINGS) == [True] * 12
    with pytest.raises((SubjectErased, Unauthenticated)):
        resubscribe(premises, jane)


def test_it_outlives_the_tenant_by_both_clocks(premises: Premises, tenant: Tenant, jane: UserCaller) -> None:
    unsubscribe(premises, jane)
    other = premises.sign_up("bo@example.org")
    unsubscribe(premises, other.owner)
    premises.ask(tenant.owner, "CloseTenant", pb.CloseTenantRequest(name=tenant.name, confirm=True))
    for term, wait in ((Term.CUSTOMER_DATA, GRACE), (Term.ACCOUNT, timedelta(days=366))):
        premises.clock.forward(wait)
        duty = premises.holding.holder.dissolution(premises.chance.randbytes, term=term)
        for each in duty.waiting(premises.clock.now(), EVERYONE):
            assert each != OPERATOR
            list(duty.slices(each, now=premises.clock.now()))
        assert checked(premises, *SPELLINGS, "bo@example.org", "anna@example.org") == [True] * 13 + [False]
    assert premises.holding.vault.is_closed(tenant.owner.tenant)


def test_no_sweep_or_duty_of_the_service_ever_meets_the_operator(premises: Premises, jane: UserCaller) -> None:
    unsubscribe(premises, jane)
    now = premises.clock.now() + timedelta(days=4000)
    holder, random = premises.holding.holder, premises.chance.randbytes
    duties: list[Any] = [holder.expiry(), holder.upkeep(random), *(holder.dissolution(random, term=t) for t in Term)]
    assert OPERATOR not in [each for duty in duties for each in duty.waiting(now, EVERYONE)]
    assert [OPERATOR in premises.store.having(kind.name, EVERYONE) for kind in KINDS] == [False] * len(KINDS)


@pytest.mark.parametrize("method", ["CloseTenant", "ReopenTenant", "RetainTenant", "DissolveTenant", "SignIn"])
def test_nobody_can_name_the_operator_as_a_tenant(premises: Premises, tenant: Tenant, method: str) -> None:
    named = {"tenant" if method == "SignIn" else "name": f"tenants/{OPERATOR}"}
    request = getattr(pb, f"{method}Request")(**named)
    caller = {"CloseTenant": tenant.owner, "ReopenTenant": tenant.owner, "SignIn": Anonymous()}.get(method, MAILER)
    with pytest.raises(InvalidField):
        premises.ask(caller, method, request)


def test_no_tenant_that_signs_up_can_be_the_operator(premises: Premises) -> None:
    names = {premises.sign_up(f"u{number}@example.org").name for number in range(3)}
    assert f"tenants/{OPERATOR}" not in names
    assert all(each.removeprefix("tenants/").startswith("t") for each in names)
