"""Signing up: what is kept, what is refused, and once only."""

from __future__ import annotations

import hmac
from collections.abc import Iterator

import attrs
import pytest

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import (
    CapsuleError,
    DocumentsOutdated,
    InvalidField,
    PageTokenInvalid,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    SubjectErased,
    Unauthenticated,
)
from capsule_core.names import TenantId
from capsule_services.identity.passwords import LONGEST, common_passwords
from capsule_services.identity.presence import NOBODY
from capsule_services.runtime.callers import Anonymous
from capsule_services.runtime.requests import request_digest
from tests.services.premises import PASSWORD, Premises, accepted, opened, sign_up_request

ANYONE = Anonymous()


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


def test_signing_up_keeps_what_was_accepted_by_whom_and_when(premises: Premises) -> None:
    made = premises.ask(ANYONE, "SignUp", sign_up_request())
    assert made.user.role == pb.SUPER_ADMINISTRATOR
    assert list(made.user.granted) == ["contacts.export"]
    assert {each.kind for each in made.tenant.acceptances} == {
        pb.TERMS,
        pb.PRIVACY_POLICY,
        pb.DATA_PROCESSING_AGREEMENT,
    }
    assert {each.user for each in made.tenant.acceptances} == {made.user.name}
    assert {each.accept_time.ToDatetime() for each in made.tenant.acceptances} == {
        premises.clock.now().replace(tzinfo=None)
    }
    owner = premises.sign_in(made.tenant.name, "Anna@Example.ORG")
    assert premises.ask(owner, "GetTenant", pb.GetTenantRequest(name=made.tenant.name)) == made.tenant


def test_signing_up_is_one_transaction_and_one_leaf(premises: Premises) -> None:
    writes, leaves = premises.store.writes, premises.holding.ledger.head().size
    premises.ask(ANYONE, "SignUp", sign_up_request())
    assert (premises.store.writes, premises.holding.ledger.head().size) == (writes + 1, leaves + 1)


def test_the_gateway_token_of_a_payment_method_is_never_answered(premises: Premises) -> None:
    made = premises.ask(ANYONE, "SignUp", sign_up_request())
    assert (made.tenant.payment_method.token, made.tenant.payment_method.last_four) == ("", "4242")
    assert any("tok_1A2b3C" in content for content in premises.contents())


def test_how_a_tenant_pays_is_shown_to_those_who_manage_it(premises: Premises) -> None:
    tenant = premises.sign_up()
    standard = premises.join(tenant, "ben@example.org")
    request = pb.GetTenantRequest(name=tenant.name)
    assert premises.ask(tenant.owner, "GetTenant", request).HasField("payment_method")
    assert not premises.ask(standard, "GetTenant", request).HasField("payment_method")


@pytest.mark.parametrize("missing", range(3))
def test_every_document_must_be_accepted_in_its_current_version(premises: Premises, missing: int) -> None:
    request = sign_up_request()
    kept = len(premises.contents())
    del request.acceptances[missing]
    with pytest.raises(DocumentsOutdated):
        premises.ask(ANYONE, "SignUp", request)
    request.acceptances.append(another_version(accepted()[missing]))
    with pytest.raises(DocumentsOutdated):
        premises.ask(ANYONE, "SignUp", request)
    assert len(premises.contents()) == kept


def another_version(acceptance: pb.Acceptance) -> pb.Acceptance:
    return pb.Acceptance(kind=acceptance.kind, version=f"{acceptance.version}.0")


@pytest.mark.law("L9")
def test_the_same_sign_up_sent_again_opens_one_tenant(premises: Premises) -> None:
    request = sign_up_request(request_id=premises.uuid())
    first = premises.ask(ANYONE, "SignUp", request)
    kept = len(premises.contents())
    assert premises.ask(ANYONE, "SignUp", request) == first
    assert len(premises.contents()) == kept


@pytest.mark.law("L9")
@pytest.mark.parametrize("changed", ["name", "password"])
def test_another_sign_up_under_the_same_request_id_is_refused(premises: Premises, changed: str) -> None:
    request = sign_up_request(request_id=premises.uuid())
    premises.ask(ANYONE, "SignUp", request)
    if changed == "name":
        request.tenant_display_name = "Another"
    else:
        request.super_administrator.password = "another walk by the sea"
    with pytest.raises(RequestReused):
        premises.ask(ANYONE, "SignUp", request)


def test_no_digest_of_a_password_is_kept_but_the_slow_one() -> None:
    for password in (PASSWORD, "another walk by the sea"):
        with opened() as service:
            request = sign_up_request(request_id=service.uuid(), password=password)
            made = service.ask(ANYONE, "SignUp", request)
            (answer,) = service.store._answers.values()
            assert password not in "".join(service.contents())
            request.super_administrator.ClearField("password")
            keys = service.holding.vault.tenant(answer.tenant)
            told = hmac.digest(keys.answers, b"digest\0" + request_digest(request), "sha256")
            assert answer.digest == told, "the digest of a request must not tell its password"
            assert made.tenant.name


def test_what_was_answered_to_the_first_user_dies_with_them(premises: Premises) -> None:
    request = sign_up_request(request_id=premises.uuid())
    made = premises.ask(ANYONE, "SignUp", request)
    owner = premises.sign_in(made.tenant.name, "anna@example.org")
    tenant = premises.sign_up("other@example.org")
    assert tenant.name != made.tenant.name
    token = premises.ask(
        owner,
        "InviteUser",
        pb.InviteUserRequest(
            parent=made.tenant.name,
            invitation=pb.Invitation(display_name="Ben", email="ben@example.org", role=pb.SUPER_ADMINISTRATOR),
        ),
    ).token
    premises.ask(ANYONE, "AcceptInvitation", pb.AcceptInvitationRequest(token=token, password=PASSWORD))
    premises.remove(premises.sign_in(made.tenant.name, "ben@example.org"), owner.user)
    with pytest.raises(SubjectErased):
        premises.ask(ANYONE, "SignUp", request)


@pytest.mark.parametrize(
    "password",
    [
        "seven77",
        "x" * (LONGEST + 1),
        "aaaaaaaaaaaa",
        "anna@example.org",
        "Anna Example",
        "PASSWORD123",
        "ｐａｓｓｗｏｒｄ１２３",
        "qwertyuiop",
    ],
)
def test_a_password_that_is_short_long_or_common_is_refused(premises: Premises, password: str) -> None:
    with pytest.raises(InvalidField) as refused:
        premises.ask(ANYONE, "SignUp", sign_up_request(password=password))
    assert refused.value.field == "super_administrator.password"
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["eight  8", "x" * (LONGEST - 1) + "y", "мир труд", "пароль от моря", "日本語日本語日本"]
)
def test_any_other_password_is_fine_and_signs_in_in_any_normal_form(premises: Premises, password: str) -> None:
    made = premises.ask(ANYONE, "SignUp", sign_up_request(password=password))
    assert premises.sign_in(made.tenant.name, "anna@example.org", password)


def test_a_password_is_the_same_however_its_accents_are_written(premises: Premises) -> None:
    made = premises.ask(ANYONE, "SignUp", sign_up_request(password="cr\u00e8me br\u00fbl\u00e9e"))
    assert premises.sign_in(made.tenant.name, "anna@example.org", "cre\u0300me bru\u0302le\u0301e")


def test_the_blocklist_holds_what_it_could_refuse() -> None:
    assert len(common_passwords()) > 300
    assert all(len(password) >= 8 and password == password.casefold() for password in common_passwords())


def test_a_tenant_is_seen_by_its_own_users_only(premises: Premises) -> None:
    ours, theirs = premises.sign_up(), premises.sign_up("other@example.org")
    refusals = set()
    for name in (theirs.name, "tenants/t0000000000", f"tenants/{NOBODY}"):
        with pytest.raises(PermissionDenied) as refused:
            premises.ask(ours.owner, "GetTenant", pb.GetTenantRequest(name=name))
        refusals.add(repr(refused.value))
    assert len(refusals) == 1


def test_asking_for_a_tenant_that_is_not_there_makes_no_key_for_it(premises: Premises) -> None:
    keystore = premises.holding.vault._keystore
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            premises.sign_in("tenants/t0000000000", "anna@example.org")
        with pytest.raises(Unauthenticated):
            premises.ask(
                ANYONE, "AcceptInvitation", pb.AcceptInvitationRequest(token="t0000000000.i0.x", password=PASSWORD)
            )
    assert keystore.get(TenantId("t0000000000"), [0]) == [None]
    assert {tenant for tenant, _ in keystore._keys} == {NOBODY}


def test_documents_are_listed_page_by_page(premises: Premises) -> None:
    seen, token = [], ""
    while True:
        page = premises.ask(ANYONE, "ListDocuments", pb.ListDocumentsRequest(page_size=1, page_token=token))
        seen += [(each.kind, each.version, len(each.sha256)) for each in page.documents]
        token = page.next_page_token
        if not token:
            break
    whole = premises.ask(ANYONE, "ListDocuments", pb.ListDocumentsRequest())
    assert seen == [(each.kind, each.version, 32) for each in whole.documents]
    assert len(seen) == 3
    with pytest.raises(PageTokenInvalid):
        premises.ask(ANYONE, "ListDocuments", pb.ListDocumentsRequest(page_token="AAAA"))


def test_a_missing_tenant_is_missing(premises: Premises) -> None:
    owner = premises.sign_up().owner
    premises.store._records.pop((owner.tenant, owner.tenant))
    with pytest.raises(ResourceMissing) as refused:
        premises.ask(owner, "GetTenant", pb.GetTenantRequest(name=f"tenants/{owner.tenant}"))
    assert isinstance(refused.value, CapsuleError)
    assert attrs.asdict(refused.value) == {"resource": "tenant"}
