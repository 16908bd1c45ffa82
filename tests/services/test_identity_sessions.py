"""Signing in and out: who learns what, what it costs, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import attrs
import pytest

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import InvalidField, Unauthenticated, Unavailable
from capsule_core.kept import Kept
from capsule_core.names import RecordId
from capsule_core.tenancy import MOST_FAILURES, Credential
from capsule_core.uses import Use
from capsule_services.identity.presence import credential_id
from capsule_services.identity.signing import LIFETIME
from capsule_services.runtime.callers import Anonymous, UserCaller
from capsule_services.runtime.tokens import KeyRing
from tests.services.premises import PASSWORD, CountingHasher, Premises, Tenant, opened

ANYONE = Anonymous()
EMAIL = "anna@example.org"


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


@pytest.fixture
def tenant(premises: Premises) -> Tenant:
    return premises.sign_up()


def credential(premises: Premises, caller: UserCaller) -> Kept[Credential]:
    name = credential_id(caller.user)
    kept: Kept[Credential] = premises.holding.repository.get(caller.tenant, name, use=Use.SECURITY)
    return kept


def attempt(premises: Premises, tenant: str, email: str, password: str) -> tuple[str, int, int, int]:
    """Try to sign in; return the answer and the work: hashes compared, records written, leaves."""
    before = premises.hasher.compared, premises.store.writes, premises.holding.ledger.head().size
    with pytest.raises(Unauthenticated) as refused:
        premises.sign_in(tenant, email, password)
    after = premises.hasher.compared, premises.store.writes, premises.holding.ledger.head().size
    return (
        repr(refused.value) + str(refused.value),
        *(late - early for late, early in zip(after, before, strict=True)),
    )


def test_nobody_learns_whether_tenant_user_or_password_was_wrong(premises: Premises, tenant: Tenant) -> None:
    removed = premises.join(tenant, "ben@example.org")
    premises.remove(tenant.owner, removed.user)
    answers = {
        attempt(premises, tenant.name, EMAIL, "wrong wrong wrong"),
        attempt(premises, tenant.name, "nobody@example.org", PASSWORD),
        attempt(premises, "tenants/t0000000000", EMAIL, PASSWORD),
        attempt(premises, "tenants/nobody", EMAIL, PASSWORD),
        attempt(premises, tenant.name, "ben@example.org", PASSWORD),
        attempt(premises, tenant.name, EMAIL, "x" * 100_000),
    }
    assert len(answers) == 1
    assert next(iter(answers))[1:] == (1, 1, 1)


def test_a_user_who_waits_after_mistakes_is_told_nothing_else(premises: Premises, tenant: Tenant) -> None:
    usual = attempt(premises, tenant.name, "nobody@example.org", PASSWORD)
    for _ in range(6):
        assert attempt(premises, tenant.name, EMAIL, "wrong wrong wrong") == usual
    assert attempt(premises, tenant.name, EMAIL, PASSWORD) == usual
    premises.clock.forward(timedelta(seconds=1))
    assert premises.sign_in(tenant.name, EMAIL)
    assert credential(premises, tenant.owner).content.failures == 0


def test_after_a_hundred_mistakes_even_the_right_password_is_refused(premises: Premises, tenant: Tenant) -> None:
    for _ in range(MOST_FAILURES):
        premises.clock.forward(timedelta(hours=1))
        attempt(premises, tenant.name, EMAIL, "wrong wrong wrong")
    premises.clock.forward(timedelta(days=365))
    attempt(premises, tenant.name, EMAIL, PASSWORD)
    assert credential(premises, tenant.owner).content.failures == MOST_FAILURES


def test_attempts_that_come_at_once_are_judged_one_after_the_other(premises: Premises, tenant: Tenant) -> None:
    for _ in range(4):
        attempt(premises, tenant.name, EMAIL, "wrong wrong wrong")
    # Two more come while this right one is being judged: by then it is one of those that have to wait.
    premises.store.before += [lambda: attempt(premises, tenant.name, EMAIL, "wrong wrong wrong")] * 2
    attempt(premises, tenant.name, EMAIL, PASSWORD)
    assert credential(premises, tenant.owner).content.failures == 5


def test_a_flood_on_one_user_ends_in_unavailable_and_never_in_a_guess(premises: Premises, tenant: Tenant) -> None:
    attempts: list[str] = []

    def another() -> None:
        attempts.append(attempt(premises, tenant.name, EMAIL, "wrong wrong wrong")[0])

    premises.store.before += [another] * 40
    with pytest.raises(Unavailable):
        premises.sign_in(tenant.name, EMAIL)
    assert len(attempts) == 16
    assert credential(premises, tenant.owner).content.failures == 5


def test_a_token_says_who_as_what_and_for_ten_minutes(premises: Premises, tenant: Tenant) -> None:
    request = pb.SignInRequest(tenant=tenant.name, email=EMAIL, password=PASSWORD)
    signed_in = premises.ask(ANYONE, "SignIn", request)
    keys = premises.ask(ANYONE, "GetSigningKeys", pb.GetSigningKeysRequest()).jwks
    assert b'"d"' not in keys
    ring = KeyRing(lambda: keys, premises.clock.now)
    caller = ring.verify(signed_in.token)
    assert (caller.tenant, caller.user) == (tenant.owner.tenant, tenant.owner.user)
    assert caller.authority == tenant.owner.authority
    expires = premises.clock.now() + LIFETIME
    assert signed_in.expire_time.ToDatetime() == expires.replace(tzinfo=None)
    assert premises.is_open(caller)
    premises.clock.forward(LIFETIME)
    assert not premises.is_open(caller)
    premises.clock.forward(timedelta(seconds=6))
    with pytest.raises(Unauthenticated):
        ring.verify(signed_in.token)


def test_signing_out_ends_this_session_and_no_other(premises: Premises, tenant: Tenant) -> None:
    first, second = premises.sign_in(tenant.name, EMAIL), premises.sign_in(tenant.name, EMAIL)
    premises.ask(first, "SignOut", pb.SignOutRequest())
    assert (premises.is_open(first), premises.is_open(second)) == (False, True)
    with pytest.raises(Unauthenticated):
        premises.ask(first, "SignOut", pb.SignOutRequest())


def test_an_ended_session_is_taken_up_again_and_its_old_token_stays_dead(premises: Premises, tenant: Tenant) -> None:
    old = premises.sign_in(tenant.name, EMAIL)
    premises.ask(old, "SignOut", pb.SignOutRequest())
    kept = len(premises.contents())
    new = premises.sign_in(tenant.name, EMAIL)
    assert new.session.partition(".")[0] == old.session.partition(".")[0]
    assert len(premises.contents()) == kept
    assert (premises.is_open(old), premises.is_open(new)) == (False, True)


@pytest.mark.parametrize("session", ["", "x", "s0.1", "{session}.9", "{user}.1", "{tenant}.1"])
def test_a_token_of_no_session_is_none(premises: Premises, tenant: Tenant, session: str) -> None:
    name = tenant.owner.session.partition(".")[0]
    named = session.format(session=name, user=tenant.owner.user, tenant=tenant.owner.tenant)
    assert not premises.is_open(attrs.evolve(tenant.owner, session=named))


def test_nobody_uses_the_session_of_another(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    assert not premises.is_open(attrs.evolve(ben, session=tenant.owner.session))


def test_signing_in_leaves_a_leaf_of_what_was_read(premises: Premises, tenant: Tenant) -> None:
    read = premises.holding.reads.ledger.head().size
    premises.sign_in(tenant.name, EMAIL)
    assert premises.holding.reads.ledger.head().size == read + 1


@pytest.mark.parametrize(
    ("name", "email", "field"), [("tenants/t/users/u", EMAIL, "tenant"), ("tenants/t", "x", "email")]
)
def test_what_is_no_name_or_address_is_said_to_be_so(premises: Premises, name: str, email: str, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        premises.sign_in(name, email)
    assert refused.value.field == field


def test_a_hash_of_an_older_cost_is_renewed_when_its_password_is_known(premises: Premises, tenant: Tenant) -> None:
    before = credential(premises, tenant.owner).content.password_hash
    premises.hasher._parameters = CountingHasher(memory_cost=16)._parameters
    premises.sign_in(tenant.name, EMAIL)
    after = credential(premises, tenant.owner).content.password_hash
    assert ("m=8," in before, "m=16," in after) == (True, True)
    assert premises.sign_in(tenant.name, EMAIL)


def test_the_nobodies_are_made_once(premises: Premises) -> None:
    nobodies = [name for tenant, name in premises.store._records if tenant == "nobody"]
    assert len(nobodies) == 64
    assert RecordId("k00") in nobodies
