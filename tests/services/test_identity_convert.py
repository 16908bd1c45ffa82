"""What is said on the wire is what is meant in the domain, both ways."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.kept import Kept
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Slot
from capsule_core.roles import Role
from capsule_core.tenancy import (
    Acceptance,
    DocumentKind,
    Invitation,
    PaymentMethod,
    TenantAccount,
    TenantState,
    User,
    UserState,
    written,
)
from capsule_core.testing.strategies import email_addresses, lines
from capsule_services.identity.documents import DOCUMENTS
from capsule_services.identity.invitations.convert import invitation_from, invitation_to, without_password
from capsule_services.identity.names import check_tenant, parsed_user
from capsule_services.identity.tenants import convert as tenants
from capsule_services.identity.users.convert import role_from, role_to, user_from, user_to
from tests.services.premises import sign_up_request

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = lines(min_size=1).filter(lambda text: bool(text.strip()))
GRANTS = st.sets(st.sampled_from(["contacts.export", "contacts.read", "users.manage"])).map(lambda s: tuple(sorted(s)))
users = st.builds(
    User,
    id=st.just("u1"),
    display_name=TEXTS,
    email=email_addresses(),
    role=st.sampled_from(Role),
    granted=GRANTS,
    marketing_refused=st.booleans(),
    state=st.sampled_from(UserState),
)
payments = st.builds(
    PaymentMethod,
    gateway=TEXTS,
    token=TEXTS,
    brand=st.sampled_from(["", "Visa"]),
    last_four=st.from_regex(r"[0-9]{4}", fullmatch=True) | st.just(""),
)


def kept(content: object, at: datetime) -> Kept[object]:
    return Kept(
        tenant=TenantId("t1"),
        kind="user",
        id=RecordId("u1"),
        root=RecordId("u1"),
        subject=SubjectKey("u1"),
        slot=Slot(1, 0),
        version=3,
        at=at,
        created=at,
        updated=at,
        trash=None,
        content=content,
    )


def over_the_wire(message: Message) -> Message:
    return type(message).FromString(message.SerializeToString())


@given(users, MOMENTS)
def test_a_user_comes_back_from_the_wire(user: User, at: datetime) -> None:
    message = over_the_wire(user_to(kept(user, at)))  # type: ignore[arg-type]
    assert user_from(message, id="u1") == user  # type: ignore[arg-type]
    assert message.create_time.ToDatetime(tzinfo=UTC) == at  # type: ignore[attr-defined]


@given(TEXTS, email_addresses(), st.sampled_from(Role), GRANTS, MOMENTS)
def test_an_invitation_comes_back_from_the_wire(
    name: str, email: str, role: Role, granted: tuple[str, ...], at: datetime
) -> None:
    invitation = Invitation(
        id="", user="", display_name=name, email=email, role=role, granted=granted, expires_at=written(at)
    )
    message = over_the_wire(invitation_to(kept(invitation, at)))  # type: ignore[arg-type]
    assert invitation_from(message) == attrs.evolve(invitation, expires_at="")  # type: ignore[arg-type]
    assert message.expire_time.ToDatetime(tzinfo=UTC) == at  # type: ignore[attr-defined]


@given(payments)
def test_a_payment_method_comes_back_without_its_token(payment: PaymentMethod) -> None:
    message = tenants.payment_to(payment)
    assert message.token == ""
    message.token = payment.token
    assert tenants.payment_from(message) == payment


@given(
    TEXTS,
    st.none() | payments,
    st.lists(st.tuples(st.sampled_from(DocumentKind), st.text(max_size=5), MOMENTS), max_size=4),
    st.sampled_from(TenantState),
    MOMENTS,
)
def test_a_tenant_is_answered_whole(
    name: str,
    payment: PaymentMethod | None,
    acts: list[tuple[DocumentKind, str, datetime]],
    state: TenantState,
    at: datetime,
) -> None:
    acceptances = tuple(
        Acceptance(kind=kind, version=version, sha256="00", user="u1", accepted_at=written(when))
        for kind, version, when in acts
    )
    account = TenantAccount(id="t1", display_name=name, payment_method=payment, acceptances=acceptances, state=state)
    message = tenants.tenant_to(kept(account, at))  # type: ignore[arg-type]
    assert (message.name, message.display_name) == ("tenants/t1", name)
    assert message.HasField("payment_method") == (payment is not None)
    assert pb.Tenant.State.Name(message.state) == state.name
    assert tenants.accepted_from(message.acceptances) == tuple((kind, version) for kind, version, _ in acts)
    assert [each.accept_time.ToDatetime(tzinfo=UTC) for each in message.acceptances] == [when for *_, when in acts]


@pytest.mark.parametrize("role", Role)
def test_every_role_has_its_word(role: Role) -> None:
    assert role_from(role_to(role)) is role


def test_every_word_of_the_contract_is_one_of_the_domain() -> None:
    assert {name for name in pb.Role.keys() if pb.Role.Value(name)} == {role.name for role in Role}  # noqa: SIM118
    kinds = {name for name in pb.DocumentKind.keys() if pb.DocumentKind.Value(name)}  # noqa: SIM118
    assert kinds == {kind.name for kind in DocumentKind} == {document.kind.name for document in DOCUMENTS}


@pytest.mark.parametrize("number", [0, 5, -1])
def test_what_is_no_role_or_document_is_refused(number: int) -> None:
    with pytest.raises(InvalidField):
        role_from(number)  # type: ignore[arg-type]
    with pytest.raises(InvalidField) as refused:
        tenants.accepted_from([pb.Acceptance(kind=1), pb.Acceptance(kind=number)])  # type: ignore[arg-type]
    assert refused.value.field == "acceptances[1].kind"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("tenant_display_name", "tenant_display_name"),
        ("super_administrator.display_name", "super_administrator.display_name"),
        ("super_administrator.email", "super_administrator.email"),
        ("payment_method.last_four", "payment_method.last_four"),
        ("payment_method.gateway", "payment_method.gateway"),
    ],
)
@given(text=st.text(max_size=300))
def test_whatever_somebody_signs_up_with_is_taken_or_refused_by_its_path(path: str, field: str, text: str) -> None:
    request = sign_up_request()
    above, _, name = path.rpartition(".")
    setattr(getattr(request, above) if above else request, name, text)
    try:
        tenants.account_from(request)
        tenants.user_from(request.super_administrator)
    except (InvalidField, CardNumberFound) as refused:
        assert refused.field == field


@pytest.mark.parametrize(
    "name", ["", "tenants", "tenants/", "tenants/t/users", "tenants/t/users/u/x", "users/u", "tenants/ü"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    for parse in (lambda: parsed_user(name), lambda: check_tenant(name, field="name")):
        with pytest.raises(InvalidField) as refused:
            parse()
        assert refused.value.field == "name"


def test_a_request_is_recognised_without_its_passwords() -> None:
    request = sign_up_request(password="one of two passwords")
    again = tenants.without_password(request)
    assert b"one of two" not in again.SerializeToString()
    again.super_administrator.password = "one of two passwords"
    assert again == request
    assert without_password(pb.AcceptInvitationRequest(token="t", password="p")) == pb.AcceptInvitationRequest(
        token="t"
    )
