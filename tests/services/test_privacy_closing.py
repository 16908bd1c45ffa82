"""The privacy service hears of closings: who gets in then, how long its register stays, and that it goes last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import attrs
import grpc
import pytest

from capsule_api.holder.v1 import holder_pb2
from capsule_api.identity.v1 import identity_pb2
from capsule_api.privacy.v1 import privacy_pb2 as pb
from capsule_api.privacy.v1 import privacy_pb2_grpc
from capsule_core.closing import GRACE, Term
from capsule_core.closure import Closure
from capsule_core.errors import TenantClosed, Unauthenticated, Unavailable
from capsule_core.names import ActorRef, TenantId
from capsule_core.receipts import Receipt, verify
from capsule_core.records import Mark, Shelf, Where
from capsule_core.roles import Role
from capsule_services.demo.company import PASSWORD, sign_in, sign_up
from capsule_services.identity.__main__ import HOLDERS
from capsule_services.identity.herald import Herald
from capsule_services.privacy.__main__ import KINDS as REGISTER
from capsule_services.privacy.closings import Closings
from capsule_services.privacy.servicer import PrivacyServicer
from capsule_services.runtime.callers import ServiceCaller
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.doors import Doors
from capsule_services.runtime.holders.convert import subject_name
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.log import made_log
from capsule_services.runtime.opening import Opened
from tests.services.office import KINDS, Desk, Office, office, opened_in_memory, opened_on, person, purged, service_desk
from tests.services.premises import opened as identity_opened

PRIVACY = pb.DESCRIPTOR.services_by_name["PrivacyService"]
HOLDER = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]
IDENTITY = ActorRef("service", "identity")
YEAR = timedelta(days=367)
TRIES = 20_000
"""More than can be asked in the second after which nobody is served; the rate of calls slows them down."""


@attrs.define
class Town:
    """Contacts, and privacy with its register; *asked* is what identity was asked, *ended* what it answers."""

    office: Office
    privacy: Opened
    servicer: PrivacyServicer
    ended: bool = False
    asked: list[tuple[TenantId, datetime]] = attrs.Factory(list)

    def at_privacy(self, desk: Desk) -> Desk:
        return attrs.evolve(desk, service=PRIVACY, servicer=self.servicer)

    def hears(self, tenant: str, closed: datetime, *, reopened: bool = False) -> None:
        """Let privacy hear, as identity tells it."""
        holder = HolderServicer(self.privacy.holding, self.privacy.signer, self.privacy.paging)
        said = holder_pb2.ReopenRequest(parent=tenant) if reopened else holder_pb2.CloseRequest(parent=tenant)
        said.close_time.FromDatetime(closed)
        desk = service_desk(HOLDER, holder, "identity")
        (desk.Reopen if reopened else desk.Close)(said)

    def report(self, receipt: Receipt) -> pb.Erasure:
        statement = receipt.statement
        request = pb.ReportErasureRequest(
            name=f"tenants/{statement.tenant}/erasures/{statement.erasure}",
            subjects=[subject_name(statement.tenant, subject) for subject in statement.subjects],
            receipt=receipt.document,
        )
        return service_desk(PRIVACY, self.servicer, "contacts").ReportErasure(request)  # type: ignore[no-any-return]

    def permits(self, tenant: TenantId, closed: datetime) -> bool:
        self.asked.append((tenant, closed))
        return self.ended

    def closings(self) -> Closings:
        holding = self.privacy.holding
        duty = holding.holder.dissolution(holding.random, term=Term.ACCOUNT, may_begin=self.permits)
        return Closings(holding, duty, threading.Event(), made_log(StringIO(), service="privacy"))

    def register(self, tenant: str) -> int:
        where = Where(tenant=TenantId(tenant.removeprefix("tenants/")), shelf=Shelf.ANY)
        return self.privacy.holding.repository.store.count(where, admits=~Mark.NONE)


@pytest.fixture(params=["memory", "sqlite"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    ours = office(opened_in_memory(tmp_path, "contacts", KINDS), tmp_path)
    privacy = opened_on(request.param, tmp_path, "privacy", REGISTER)
    keys = {"contacts": ours.opened.signer.verifier.text()}
    servicer = PrivacyServicer(
        holding=privacy.holding,
        paging=privacy.paging,
        holders={"contacts": ours.holding.holder},
        key_of=keys.__getitem__,
        signer=privacy.signer,
    )
    yield Town(ours, privacy, servicer)
    for opened in (ours.opened, privacy):
        opened.close()


def test_within_a_second_nobody_but_super_administrators_is_served(town: Town) -> None:
    desk, seconds = town.office.desk(), [0.0]
    doors = Doors(Closure(town.privacy.holding.repository), lambda: seconds[0])
    by_role = {role: town.office.desk(desk.tenant.removeprefix("tenants/"), role).caller for role in Role}
    assert [doors.bounded(each) for each in by_role.values()] == list(by_role.values())
    town.hears(desk.tenant, town.office.holding.now())
    seconds[0] += 0.5
    for role, caller in by_role.items():
        if role is not Role.SUPER_ADMINISTRATOR:
            with pytest.raises(Unauthenticated):
                doors.bounded(caller)
    left = town.at_privacy(attrs.evolve(desk, caller=doors.bounded(by_role[Role.SUPER_ADMINISTRATOR])))
    assert not left.ListErasures(pb.ListErasuresRequest(parent=desk.tenant)).erasures
    town.hears(desk.tenant, town.office.holding.now() - timedelta(days=1), reopened=True)
    seconds[0] += 0.5
    with pytest.raises(Unauthenticated):  # that was another closing
        doors.bounded(by_role[Role.STANDARD])


@pytest.mark.law("L15")
def test_the_proof_is_taken_and_shown_until_identity_has_nothing_left_and_then_goes_too(town: Town) -> None:
    desk = town.office.desk()
    before, closed = purged(desk, person(desk)), town.office.holding.now()
    town.report(before)
    town.hears(desk.tenant, closed)
    last = purged(desk, person(desk))
    town.office.advance(GRACE)
    done = town.report(last)
    assert done.state == pb.Erasure.DONE, "what goes by a closing is still to be proved"
    asked = pb.GetReceiptRequest(name=f"{done.name}/receipt")
    verify(town.at_privacy(desk).GetReceipt(asked).document, town.privacy.signer.verifier.text())
    closings = town.closings()
    assert (closings.look(), town.asked) == (1, [])
    town.office.advance(YEAR - GRACE)
    closings = town.closings()
    for _ in range(2):
        closings.look()
        assert len(town.at_privacy(desk).ListErasures(pb.ListErasuresRequest(parent=desk.tenant)).erasures) == 2
    assert set(town.asked) == {(TenantId(desk.tenant.removeprefix("tenants/")), closed)}
    town.ended = True
    while town.register(desk.tenant):
        closings.look()
    with pytest.raises(TenantClosed):
        town.at_privacy(desk).GetReceipt(asked)
    with pytest.raises(TenantClosed):
        town.report(before)
    assert town.privacy.holding.vault.is_closed(TenantId(desk.tenant.removeprefix("tenants/")))
    town.hears(desk.tenant, closed)  # told once more, late: nothing
    assert town.register(desk.tenant) == 0


@pytest.mark.law("L1")
def test_the_register_of_another_tenant_stays(town: Town) -> None:
    ours, theirs = town.office.desk(), town.office.desk()
    for desk in (ours, theirs):
        town.report(purged(desk, person(desk)))
    before = town.at_privacy(theirs).ListErasures(pb.ListErasuresRequest(parent=theirs.tenant))
    town.hears(ours.tenant, town.office.holding.now())
    town.ended = True
    town.office.advance(YEAR)
    closings = town.closings()
    while town.register(ours.tenant):
        closings.look()
    assert town.at_privacy(theirs).ListErasures(pb.ListErasuresRequest(parent=theirs.tenant)) == before


def test_reopened_it_is_as_if_nothing_had_been(town: Town) -> None:
    desk, closed = town.office.desk(), town.office.holding.now()
    town.report(purged(desk, person(desk)))
    town.hears(desk.tenant, closed)
    town.hears(desk.tenant, closed, reopened=True)
    town.hears(desk.tenant, closed)  # late, and out of turn
    town.ended = True
    town.office.advance(YEAR)
    town.closings().look()
    assert town.asked == []
    assert len(town.at_privacy(desk).ListErasures(pb.ListErasuresRequest(parent=desk.tenant)).erasures) == 1


def test_while_identity_does_not_answer_nothing_is_begun(town: Town) -> None:
    desk = town.office.desk()
    town.report(purged(desk, person(desk)))
    town.hears(desk.tenant, town.office.holding.now())
    town.office.advance(YEAR)
    holding = town.privacy.holding

    def silent(_: TenantId, __: datetime) -> bool:
        raise Unavailable

    duty = holding.holder.dissolution(holding.random, term=Term.ACCOUNT, may_begin=silent)
    before = town.register(desk.tenant)
    assert Closings(holding, duty, threading.Event(), made_log(StringIO(), service="privacy")).look() == 1
    assert town.register(desk.tenant) == before


@attrs.define
class Listener:
    """A holder that hears, unless it is *down* or has closed the tenant for *good*."""

    down: bool = False
    good: bool = False
    heard: list[str] = attrs.Factory(list)

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        if self.down:
            raise Unavailable
        if self.good:
            raise TenantClosed
        self.heard.append(tenant)


def test_everybody_who_can_be_told_is_told_though_another_cannot(tmp_path: Path) -> None:
    assert HOLDERS == ("contacts", "privacy")
    with identity_opened() as premises:
        tenant = premises.sign_up()
        holders = {"contacts": Listener(down=True), "others": Listener(good=True), "privacy": Listener()}
        log = made_log(StringIO(), service="identity")
        herald = Herald(premises.holding, holders, tmp_path / "told", threading.Event(), log)  # type: ignore[arg-type]
        request = identity_pb2.CloseTenantRequest(name=tenant.name, confirm=True)
        premises.ask(tenant.owner, "CloseTenant", request)
        outbox = herald._outbox
        outbox._position = outbox._find(0)
        with pytest.raises(Unavailable):
            outbox._deliver()
        assert holders["privacy"].heard == [tenant.owner.tenant]
        assert not herald.has_told(tenant.owner.tenant)
        holders["contacts"].down = False
        outbox._deliver()
        assert holders["contacts"].heard == [tenant.owner.tenant]
        assert herald.has_told(tenant.owner.tenant)


def test_identity_says_that_it_has_nothing_left_when_it_has() -> None:
    with identity_opened() as premises:
        tenant = premises.sign_up()
        closed = premises.ask(
            tenant.owner, "CloseTenant", identity_pb2.CloseTenantRequest(name=tenant.name, confirm=True)
        )
        request = identity_pb2.DissolveTenantRequest(name=tenant.name, close_time=closed.close_time)

        def answered() -> tuple[bool, bool]:
            answer = premises.ask(ServiceCaller("privacy"), "DissolveTenant", request)
            return answer.allowed, answer.ended

        assert answered() == (False, False)
        premises.clock.forward(GRACE)
        assert answered() == (True, False)
        premises.clock.forward(YEAR)
        duty = premises.holding.holder.dissolution(premises.chance.randbytes, term=Term.ACCOUNT)
        while not answered()[1]:
            list(duty.slices(tenant.owner.tenant, now=premises.clock.now()))
        assert answered() == (True, True)


def test_running_services_tell_each_other_and_keep_everybody_else_out(tmp_path: Path) -> None:
    with running(tmp_path, Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", "anna@example.org")
        anna = sign_in(deployment, tenant, "anna@example.org").identity
        wanted = identity_pb2.Invitation(display_name="Ben", email="ben@example.org", role=identity_pb2.ADMINISTRATOR)
        token = anna.InviteUser(identity_pb2.InviteUserRequest(parent=tenant, invitation=wanted)).token
        anna.AcceptInvitation(identity_pb2.AcceptInvitationRequest(token=token, password=PASSWORD))
        stubs = [sign_in(deployment, tenant, email).privacy for email in ("anna@example.org", "ben@example.org")]
        register = pb.ListErasuresRequest(parent=tenant)
        assert [list(stub.ListErasures(register).erasures) for stub in stubs] == [[], []]
        anna.CloseTenant(identity_pb2.CloseTenantRequest(name=tenant, confirm=True))
        assert any(is_refused(stubs[1], register) for _ in range(TRIES)), "an administrator goes on being served"
        assert list(stubs[0].ListErasures(register).erasures) == []


def is_refused(stub: privacy_pb2_grpc.PrivacyServiceStub, request: pb.ListErasuresRequest) -> bool:
    try:
        stub.ListErasures(request)
    except grpc.RpcError as error:
        assert error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False
