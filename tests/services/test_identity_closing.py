"""Closing an account at the identity service: who may, who gets in then, two clocks, and what the others are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.closing import GRACE, Term
from capsule_core.errors import (
    ConfirmationRequired,
    InvalidField,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    TenantClosed,
    Unauthenticated,
    Unavailable,
    VersionMismatch,
)
from capsule_core.names import TenantId
from capsule_core.records import Mark, Shelf, Where
from capsule_core.stores import EVERYONE
from capsule_services.identity.herald import Herald
from capsule_services.runtime.callers import Anonymous, ServiceCaller, UserCaller
from capsule_services.runtime.log import made_log
from tests.services.premises import PASSWORD, Premises, Tenant, opened

CONTACTS, ANYONE = ServiceCaller("contacts"), Anonymous()
DAY = timedelta(days=1)


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


@pytest.fixture
def tenant(premises: Premises) -> Tenant:
    return premises.sign_up()


def close(premises: Premises, tenant: Tenant, **more: Any) -> pb.Tenant:
    request = pb.CloseTenantRequest(name=tenant.name, **{"confirm": True, **more})
    closed: pb.Tenant = premises.ask(tenant.owner, "CloseTenant", request)
    return closed


def reopen(premises: Premises, tenant: Tenant, caller: UserCaller | None = None, **more: Any) -> pb.Tenant:
    request = pb.ReopenTenantRequest(name=tenant.name, **more)
    reopened: pb.Tenant = premises.ask(caller or tenant.owner, "ReopenTenant", request)
    return reopened


def get(premises: Premises, tenant: Tenant) -> pb.Tenant:
    found: pb.Tenant = premises.ask(tenant.owner, "GetTenant", pb.GetTenantRequest(name=tenant.name))
    return found


def entered(premises: Premises, tenant: Tenant, email: str = "anna@example.org") -> Tenant:
    """Sign in again: a session does not last as long as an account."""
    return Tenant(tenant.name, premises.sign_in(tenant.name, email))


def dissolve(premises: Premises, tenant: Tenant, closed: datetime) -> bool:
    request = pb.DissolveTenantRequest(name=tenant.name)
    request.close_time.FromDatetime(closed)
    allowed: bool = premises.ask(CONTACTS, "DissolveTenant", request).allowed
    return allowed


def retain(premises: Premises, tenant: Tenant, until: datetime, **more: Any) -> list[pb.Retention]:
    ground = pb.Retention(**{"ground": pb.Retention.DISPUTES, **more})
    ground.expire_time.FromDatetime(until)
    request = pb.RetainTenantRequest(name=tenant.name, retention=ground)
    return list(premises.ask(CONTACTS, "RetainTenant", request).retentions)


def carried_out(premises: Premises) -> None:
    duty = premises.holding.holder.dissolution(premises.chance.randbytes, term=Term.ACCOUNT)
    for each in duty.waiting(premises.clock.now(), EVERYONE):
        list(duty.slices(each, now=premises.clock.now()))


def rows(premises: Premises, tenant: Tenant) -> int:
    where = Where(tenant=tenant.owner.tenant, shelf=Shelf.ANY)
    return premises.store.count(where, admits=~Mark.NONE)


def test_a_closed_tenant_says_so_with_both_clocks(premises: Premises, tenant: Tenant) -> None:
    before, now = get(premises, tenant), premises.clock.now()
    closed = close(premises, tenant)
    assert (before.state, closed.state) == (pb.Tenant.ACTIVE, pb.Tenant.CLOSED)
    assert not before.HasField("close_time")
    assert closed.close_time.ToDatetime(tzinfo=UTC) == now
    assert closed.reopen_expire_time.ToDatetime(tzinfo=UTC) == now + GRACE
    assert closed.account_expire_time.ToDatetime(tzinfo=UTC) == datetime(2027, 5, 5, tzinfo=UTC)
    assert get(premises, tenant) == closed


def test_closing_takes_a_super_administrator_a_confirmation_and_what_was_read(
    premises: Premises, tenant: Tenant
) -> None:
    for role in (pb.ADMINISTRATOR, pb.STANDARD, pb.RESTRICTED):
        somebody = premises.join(tenant, f"r{role}@example.org", role)
        with pytest.raises(PermissionDenied):
            close(premises, Tenant(tenant.name, somebody))
    with pytest.raises(ConfirmationRequired):
        close(premises, tenant, confirm=False)
    with pytest.raises(VersionMismatch):
        close(premises, tenant, etag='"7"')
    assert get(premises, tenant).state == pb.Tenant.ACTIVE
    assert close(premises, tenant, etag=get(premises, tenant).etag).state == pb.Tenant.CLOSED


@pytest.mark.law("L1")
def test_a_foreign_tenant_and_an_unknown_one_are_closed_alike(premises: Premises, tenant: Tenant) -> None:
    other = premises.sign_up("ben@example.org")
    said = []
    for name in (other.name, "tenants/t0000000000000000000000000"):
        for method, request in (
            ("CloseTenant", pb.CloseTenantRequest(name=name, confirm=True)),
            ("ReopenTenant", pb.ReopenTenantRequest(name=name)),
        ):
            with pytest.raises(PermissionDenied) as refused:
                premises.ask(tenant.owner, method, request)
            said.append(str(refused.value))
    assert said[:2] == said[2:]
    assert get(premises, other).state == pb.Tenant.ACTIVE
    assert not dissolve(premises, Tenant("tenants/t0000000000000000000000000", other.owner), premises.clock.now())


@pytest.mark.law("L9")
def test_the_same_request_closes_and_reopens_once_and_closing_again_runs_no_clock_anew(
    premises: Premises, tenant: Tenant
) -> None:
    one, two = premises.uuid(), premises.uuid()
    closed = close(premises, tenant, request_id=one)
    premises.clock.forward(timedelta(minutes=5))
    assert close(premises, tenant, request_id=one) == closed
    with pytest.raises(RequestReused):
        close(premises, tenant, request_id=one, etag=closed.etag)
    assert close(premises, tenant).close_time == closed.close_time
    assert reopen(premises, tenant, request_id=two) == reopen(premises, tenant, request_id=two)


def test_closing_is_one_leaf_and_one_transaction(premises: Premises, tenant: Tenant) -> None:
    writes, leaves = premises.store.writes, premises.holding.ledger.head().size
    close(premises, tenant)
    close(premises, tenant)
    assert (premises.store.writes, premises.holding.ledger.head().size) == (writes + 1, leaves + 1)


def test_while_it_is_closed_super_administrators_look_and_reopen_and_nobody_else_comes_in(
    premises: Premises, tenant: Tenant
) -> None:
    token = premises.invite(tenant, "new@example.org")
    ben = premises.join(tenant, "ben@example.org", pb.ADMINISTRATOR)
    close(premises, tenant)
    with pytest.raises(Unauthenticated):
        premises.ask(ben, "GetTenant", pb.GetTenantRequest(name=tenant.name))
    with pytest.raises(Unauthenticated):
        premises.sign_in(tenant.name, "ben@example.org")
    with pytest.raises(Unauthenticated):
        premises.ask(ANYONE, "AcceptInvitation", pb.AcceptInvitationRequest(token=token, password=PASSWORD))
    anna = entered(premises, tenant)
    assert len(premises.ask(anna.owner, "ListUsers", pb.ListUsersRequest(parent=tenant.name)).users) == 2
    for method, request in (
        ("InviteUser", pb.InviteUserRequest(parent=tenant.name)),
        ("ChangeRole", pb.ChangeRoleRequest(name=f"{tenant.name}/users/{ben.user}")),
        ("RemoveUser", pb.RemoveUserRequest(name=f"{tenant.name}/users/{ben.user}")),
    ):
        with pytest.raises(PermissionDenied):
            premises.ask(anna.owner, method, request)
    reopen(premises, anna)
    assert premises.sign_in(tenant.name, "ben@example.org")
    assert premises.ask(ben, "GetTenant", pb.GetTenantRequest(name=tenant.name)).state == pb.Tenant.ACTIVE


@pytest.mark.law("L3")
def test_reopened_in_time_everything_is_as_it_was(premises: Premises, tenant: Tenant) -> None:
    before, users = get(premises, tenant), premises.users(tenant.owner.tenant)
    close(premises, tenant)
    premises.clock.forward(GRACE - timedelta.resolution)
    carried_out(premises)
    after = reopen(premises, entered(premises, tenant))
    for message in (before, after):
        message.ClearField("update_time")
        message.ClearField("etag")
    assert after == before
    assert premises.users(tenant.owner.tenant) == users
    assert reopen(premises, entered(premises, tenant)).state == pb.Tenant.ACTIVE


def test_what_was_never_closed_is_open_already(premises: Premises, tenant: Tenant) -> None:
    assert reopen(premises, tenant) == get(premises, tenant)


@pytest.mark.law("L2")
def test_from_the_moment_others_may_destroy_nobody_reopens(premises: Premises, tenant: Tenant) -> None:
    closed = close(premises, tenant).close_time.ToDatetime(tzinfo=UTC)
    premises.clock.forward(GRACE - timedelta.resolution)
    assert not dissolve(premises, tenant, closed)
    premises.clock.forward(timedelta.resolution)
    assert not dissolve(premises, tenant, closed - DAY)  # another closing, which is over
    assert dissolve(premises, tenant, closed)
    assert dissolve(premises, tenant, closed)
    premises.clock.forward(-DAY)
    with pytest.raises(TenantClosed):
        reopen(premises, entered(premises, tenant))


def test_what_is_in_use_may_not_be_destroyed(premises: Premises, tenant: Tenant) -> None:
    assert not dissolve(premises, tenant, premises.clock.now())
    closed = close(premises, tenant).close_time.ToDatetime(tzinfo=UTC)
    reopen(premises, tenant)
    premises.clock.forward(GRACE)
    assert not dissolve(premises, tenant, closed)


@pytest.mark.law("L2", "L6")
def test_the_account_goes_within_twelve_months_and_its_id_is_never_used_again(premises: Premises) -> None:
    one = premises.uuid()
    tenant = premises.sign_up(request_id=one)
    premises.join(tenant, "ben@example.org")
    close(premises, tenant)
    at = premises.clock.now()
    premises.clock.forward(timedelta(days=363))
    carried_out(premises)
    assert len(premises.users(tenant.owner.tenant)) == 2
    premises.clock.forward(timedelta(days=2))
    assert premises.clock.now() <= at + timedelta(days=365)
    carried_out(premises)
    assert rows(premises, tenant) == 0
    with pytest.raises(Unauthenticated):
        premises.sign_in(tenant.name, "anna@example.org")
    with pytest.raises(RequestReused):
        premises.sign_up(request_id=one)
    assert dissolve(premises, tenant, at)
    with pytest.raises(TenantClosed):
        retain(premises, tenant, at)


def test_a_ground_keeps_one_user_or_all_until_its_end(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    with pytest.raises(ResourceMissing):
        retain(premises, tenant, datetime(2028, 1, 1, tzinfo=UTC))
    closed = close(premises, tenant)
    of_ben = f"{tenant.name}/users/{ben.user}"
    retain(premises, tenant, datetime(2027, 8, 1, tzinfo=UTC))
    told = retain(premises, tenant, datetime(2028, 1, 1, tzinfo=UTC), ground=pb.Retention.UNSUBSCRIBE, user=of_ben)
    assert [each.user for each in told] == ["", of_ben]
    assert list(get(premises, tenant).retentions) == told
    for moment, left in (
        (closed.account_expire_time.ToDatetime(tzinfo=UTC), 2),
        (datetime(2027, 8, 1, tzinfo=UTC), 1),
        (datetime(2028, 1, 1, tzinfo=UTC), 0),
    ):
        premises.clock.forward(moment - premises.clock.now() - timedelta.resolution)
        carried_out(premises)
        premises.clock.forward(timedelta.resolution)
        carried_out(premises)
        if left:
            assert len(premises.users(tenant.owner.tenant)) == left
    assert rows(premises, tenant) == 0


@pytest.mark.parametrize(
    ("ground", "field"),
    [
        (pb.Retention(), "retention.ground"),
        (pb.Retention(ground=pb.Retention.DISPUTES), "retention.expire_time"),
    ],
)
def test_there_are_eight_grounds_and_none_without_an_end(
    premises: Premises, tenant: Tenant, ground: pb.Retention, field: str
) -> None:
    close(premises, tenant)
    with pytest.raises(InvalidField, match=field):
        premises.ask(CONTACTS, "RetainTenant", pb.RetainTenantRequest(name=tenant.name, retention=ground))


@attrs.define
class Listener:
    """A holder that hears of closings, and may be down."""

    down: bool = False
    heard: list[tuple[str, str, datetime]] = attrs.Factory(list)
    said: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))

    def close(self, tenant: TenantId, *, closed: datetime, by: Any, now: datetime) -> None:
        self._hear("close", tenant, closed)

    def reopen(self, tenant: TenantId, *, closed: datetime, by: Any, now: datetime) -> None:
        self._hear("reopen", tenant, closed)

    def _hear(self, what: str, tenant: TenantId, closed: datetime) -> None:
        try:
            if self.down:
                raise Unavailable
            self.heard.append((what, tenant, closed))
        finally:
            self.said.release()

    def wait_for(self, times: int) -> None:
        for _ in range(times):
            assert self.said.acquire(timeout=30)


def test_every_holder_is_told_in_turn_until_it_has_heard_and_no_more(
    premises: Premises, tenant: Tenant, tmp_path: Path
) -> None:
    other, listener, stopped = premises.sign_up("ben@example.org"), Listener(down=True), threading.Event()
    log = made_log(StringIO(), service="identity")
    herald = Herald(premises.holding, {"contacts": listener}, tmp_path / "told", stopped, log)  # type: ignore[dict-item]
    at = premises.clock.now()
    close(premises, tenant)
    herald.start()
    listener.wait_for(1)
    assert not herald.has_told(tenant.owner.tenant)
    reopen(premises, tenant)
    close(premises, other)
    listener.down = False
    herald.wake()
    listener.wait_for(2)
    stopped.set()
    herald.wake()
    for thread in threading.enumerate():
        if thread.name == "herald":
            thread.join(timeout=30)
    # Nobody who has not heard of the first closing is told of it any more; that it was taken back is.
    assert listener.heard == [("reopen", tenant.owner.tenant, at), ("close", other.owner.tenant, at)]
    assert herald.has_told(tenant.owner.tenant)
    stopped.clear()
    again = Herald(premises.holding, {"contacts": listener}, tmp_path / "told", stopped, log)  # type: ignore[dict-item]
    close(premises, tenant)
    again.start()
    listener.wait_for(1)
    stopped.set()
    again.wake()
    assert listener.heard[2:] == [("close", tenant.owner.tenant, at + timedelta.resolution)]
