"""Invitations: how somebody becomes a user, once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import (
    CapsuleError,
    IdentifierTaken,
    InvalidField,
    PermissionDenied,
    RequestReused,
    Unauthenticated,
)
from capsule_core.tenancy import INVITATION_LIFE
from capsule_services.runtime.callers import Anonymous
from tests.services.premises import PASSWORD, Premises, Tenant, opened
from tests.services.test_identity_users import switching_often

ANYONE = Anonymous()
BEN = "ben@example.org"


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


@pytest.fixture
def tenant(premises: Premises) -> Tenant:
    return premises.sign_up()


def accept(premises: Premises, token: str, *, password: str = PASSWORD, request_id: str = "") -> pb.User:
    request = pb.AcceptInvitationRequest(token=token, password=password, request_id=request_id)
    answer: pb.User = premises.ask(ANYONE, "AcceptInvitation", request)
    return answer


def inviting(tenant: Tenant, **more: object) -> pb.InviteUserRequest:
    invitation = pb.Invitation(display_name="Ben", email=BEN, role=pb.STANDARD)
    return pb.InviteUserRequest(parent=tenant.name, invitation=invitation, **more)  # type: ignore[arg-type]


def test_an_invited_person_becomes_the_user_who_was_invited(premises: Premises, tenant: Tenant) -> None:
    user = accept(premises, premises.invite(tenant, BEN, pb.ADMINISTRATOR, ["contacts.export"]))
    assert (user.display_name, user.email, user.role) == ("Somebody New", BEN, pb.ADMINISTRATOR)
    assert list(user.granted) == ["contacts.export"]
    assert premises.sign_in(tenant.name, BEN)


def test_of_an_invitation_only_a_keyed_hash_is_kept_and_no_name_once_it_is_used(
    premises: Premises, tenant: Tenant
) -> None:
    token = premises.invite(tenant, BEN)
    assert not any(token.rpartition(".")[2] in content for content in premises.contents())
    accept(premises, token)
    (invitation,) = [content for content in premises.contents() if "invited_by" in content]
    assert BEN not in invitation
    assert "Somebody" not in invitation


def test_a_token_that_is_not_good_is_not_good_for_one_reason(premises: Premises, tenant: Tenant) -> None:
    used, late = premises.invite(tenant, BEN), premises.invite(tenant, "cleo@example.org")
    accept(premises, used)
    premises.clock.forward(INVITATION_LIFE)
    owner = Tenant(tenant.name, premises.sign_in(tenant.name, "anna@example.org"))
    still_good = premises.invite(owner, "dora@example.org")
    name, number, secret = still_good.split(".")
    refusals = set()
    for token in (
        used,
        late,
        f"{name}.{number}.{secret[::-1]}",
        f"{name}.{number}.",
        f"{name}.u{number[1:]}.{secret}",
        f"t0000.{number}.{secret}",
        f"nobody.k00.{secret}",
        f"{name}.{tenant.owner.user}.{secret}",
        "x",
        "a.b",
        "ü.ä.ö",
        "....",
    ):
        with pytest.raises(Unauthenticated) as refused:
            accept(premises, token)
        refusals.add(repr(refused.value))
    assert len(refusals) == 1
    assert accept(premises, still_good)


def test_an_invitation_works_until_it_expires(premises: Premises, tenant: Tenant) -> None:
    token = premises.invite(tenant, BEN)
    premises.clock.forward(INVITATION_LIFE - timedelta(microseconds=1))
    assert accept(premises, token).email == BEN


def test_of_two_who_accept_at_once_one_becomes_the_user(premises: Premises, tenant: Tenant) -> None:
    token = premises.invite(tenant, BEN)
    premises.store.before.append(lambda: accept(premises, token, password="the first of the two"))
    with pytest.raises(Unauthenticated):
        accept(premises, token, password="the second of the two")
    assert premises.sign_in(tenant.name, BEN, "the first of the two")
    with pytest.raises(Unauthenticated):
        premises.sign_in(tenant.name, BEN, "the second of the two")


@pytest.mark.parametrize("seed", range(5))
def test_of_many_threads_that_accept_one_succeeds(seed: int) -> None:
    with opened(seed) as premises, switching_often():
        tenant = premises.sign_up()
        token = premises.invite(tenant, BEN, pb.SUPER_ADMINISTRATOR)
        start, outcomes = threading.Barrier(4), list[str]()

        def run() -> None:
            start.wait()
            try:
                outcomes.append(accept(premises, token).email)
            except CapsuleError as error:
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=run, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads), "they wait for each other"
        assert sorted(outcomes) == ["Unauthenticated"] * 3 + [BEN]
        assert len(premises.roster(tenant.owner.tenant)) == 2


def test_an_invitation_ends_with_whoever_made_it(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, BEN, pb.SUPER_ADMINISTRATOR)
    by_ben = premises.invite(Tenant(tenant.name, ben), "cleo@example.org", pb.SUPER_ADMINISTRATOR)
    premises.store.before.append(lambda: premises.change_role(tenant.owner, ben.user, pb.STANDARD))
    with pytest.raises(Unauthenticated):
        accept(premises, by_ben)
    assert premises.roster(ben.tenant) == {tenant.owner.user}


@pytest.mark.law("L9")
def test_an_invitation_sent_again_is_the_same_with_the_same_token(premises: Premises, tenant: Tenant) -> None:
    request = inviting(tenant, request_id=premises.uuid())
    first = premises.ask(tenant.owner, "InviteUser", request)
    assert premises.ask(tenant.owner, "InviteUser", request) == first
    other = premises.ask(tenant.owner, "InviteUser", inviting(tenant, request_id=premises.uuid()))
    assert other.token != first.token
    request.invitation.role = pb.RESTRICTED
    with pytest.raises(RequestReused):
        premises.ask(tenant.owner, "InviteUser", request)


@pytest.mark.law("L9")
def test_accepting_sent_again_is_answered_again_to_who_knows_the_password(premises: Premises, tenant: Tenant) -> None:
    token, again = premises.invite(tenant, BEN), premises.uuid()
    first = accept(premises, token, request_id=again)
    assert accept(premises, token, request_id=again) == first
    with pytest.raises(RequestReused):
        accept(premises, token, password="not the same password", request_id=again)
    with pytest.raises(Unauthenticated):
        accept(premises, token, request_id=premises.uuid())


def test_only_who_manages_users_invites_and_not_above_themselves(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, BEN, pb.ADMINISTRATOR)
    cleo = premises.join(tenant, "cleo@example.org", pb.ADMINISTRATOR, ["users.manage"])
    with pytest.raises(PermissionDenied):
        premises.invite(Tenant(tenant.name, ben), "dora@example.org")
    for role, granted in ((pb.SUPER_ADMINISTRATOR, []), (pb.STANDARD, ["contacts.export"])):
        with pytest.raises(PermissionDenied):
            premises.invite(Tenant(tenant.name, cleo), "dora@example.org", role, granted)
    assert premises.invite(Tenant(tenant.name, cleo), "dora@example.org", pb.ADMINISTRATOR)


def test_an_address_that_has_a_user_is_not_invited_nor_accepted(premises: Premises, tenant: Tenant) -> None:
    first, second = premises.invite(tenant, BEN), premises.invite(tenant, "BEN@example.org")
    accept(premises, first)
    for attempt in (lambda: premises.invite(tenant, BEN), lambda: accept(premises, second)):
        with pytest.raises(IdentifierTaken) as refused:
            attempt()
        assert (refused.value.resource, refused.value.field) == ("user", "email")


@pytest.mark.parametrize("password", ["short", "Somebody New", BEN, "x" * 300])
def test_a_poor_password_does_not_use_the_invitation_up(premises: Premises, tenant: Tenant, password: str) -> None:
    token = premises.invite(tenant, BEN)
    with pytest.raises(InvalidField) as refused:
        accept(premises, token, password=password)
    assert refused.value.field == "password"
    assert accept(premises, token)


@pytest.mark.parametrize(
    ("field", "value"), [("display_name", " "), ("email", "ben"), ("granted", ["export"]), ("role", 0), ("role", 9)]
)
def test_a_malformed_invitation_is_refused_by_its_field(
    premises: Premises, tenant: Tenant, field: str, value: object
) -> None:
    request = inviting(tenant)
    request.invitation.MergeFrom(pb.Invitation(**{field: value}))  # type: ignore[arg-type]
    if field == "role":
        request.invitation.role = value  # type: ignore[assignment]
    with pytest.raises(InvalidField) as refused:
        premises.ask(tenant.owner, "InviteUser", request)
    assert refused.value.field.startswith(f"invitation.{field}")
