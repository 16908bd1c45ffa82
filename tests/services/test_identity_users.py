"""Users: who may change whom, how one is removed, and that somebody always controls the tenant."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import (
    CapsuleError,
    IdentifierTaken,
    InvalidField,
    LastSuperAdministrator,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    SubjectErased,
    Unauthenticated,
    VersionMismatch,
)
from capsule_core.holder import Order
from capsule_core.names import RecordId, SubjectKey
from capsule_core.records import Mark
from capsule_core.roles import Role
from capsule_core.tenancy import UserState
from capsule_core.uses import Use
from capsule_services.runtime.callers import UserCaller
from tests.services.premises import Premises, Tenant, opened

SUPER = pb.SUPER_ADMINISTRATOR


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened() as service:
        yield service


@pytest.fixture
def tenant(premises: Premises) -> Tenant:
    return premises.sign_up()


def name_of(caller: UserCaller) -> str:
    return f"tenants/{caller.tenant}/users/{caller.user}"


def get(premises: Premises, caller: UserCaller, user: str) -> pb.User:
    answer: pb.User = premises.ask(caller, "GetUser", pb.GetUserRequest(name=f"tenants/{caller.tenant}/users/{user}"))
    return answer


def update(premises: Premises, caller: UserCaller, user: pb.User, *paths: str, request_id: str = "") -> pb.User:
    request = pb.UpdateUserRequest(user=user, update_mask=FieldMask(paths=paths), request_id=request_id)
    answer: pb.User = premises.ask(caller, "UpdateUser", request)
    return answer


# Details


def test_users_keep_their_own_details_right_and_nothing_else(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", pb.RESTRICTED)
    before = get(premises, ben, ben.user)
    wanted = pb.User(
        name=before.name, display_name="Benjamin", role=SUPER, granted=["contacts.purge"], marketing_refused=True
    )
    after = update(premises, ben, wanted, "display_name", "marketing_refused", "role", "granted")
    assert (after.display_name, after.email, after.marketing_refused) == ("Benjamin", "ben@example.org", True)
    assert (after.role, list(after.granted)) == (pb.RESTRICTED, [])
    with pytest.raises(InvalidField):
        update(premises, ben, wanted, "phone")


def test_the_details_of_others_take_the_permission(premises: Premises, tenant: Tenant) -> None:
    ben, cleo = premises.join(tenant, "ben@example.org", pb.RESTRICTED), premises.join(tenant, "cleo@example.org")
    changed = pb.User(name=name_of(ben), display_name="Ben")
    with pytest.raises(PermissionDenied):
        update(premises, cleo, changed)
    assert update(premises, tenant.owner, changed).display_name == "Ben"
    assert get(premises, cleo, ben.user).display_name == "Ben"
    with pytest.raises(PermissionDenied) as refused:
        get(premises, ben, cleo.user)
    assert refused.value.permission == "users.read"


def test_a_stale_form_does_not_overwrite(premises: Premises, tenant: Tenant) -> None:
    first = get(premises, tenant.owner, tenant.owner.user)
    update(premises, tenant.owner, pb.User(name=first.name, display_name="Ann", etag=first.etag))
    with pytest.raises(VersionMismatch):
        update(premises, tenant.owner, pb.User(name=first.name, display_name="Anne", etag=first.etag))
    with pytest.raises(InvalidField) as refused:
        update(premises, tenant.owner, pb.User(name=first.name, display_name="Anne", etag="2"))
    assert refused.value.field == "user.etag"


def test_an_address_belongs_to_one_user_in_any_spelling(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    with pytest.raises(IdentifierTaken) as refused:
        update(premises, ben, pb.User(name=name_of(ben), email="ANNA@Example.org"))
    assert (refused.value.resource, refused.value.field) == ("user", "email")
    moved = update(premises, ben, pb.User(name=name_of(ben), email="benjamin@example.org"))
    assert premises.sign_in(tenant.name, moved.email)
    assert premises.sign_up("ben@example.org"), "the same address may belong to users of several tenants"


@pytest.mark.law("L9")
def test_an_update_sent_again_is_answered_as_it_was(premises: Premises, tenant: Tenant) -> None:
    sent, again = pb.User(name=name_of(tenant.owner), display_name="Ann"), premises.uuid()
    first = update(premises, tenant.owner, sent, request_id=again)
    update(premises, tenant.owner, pb.User(name=sent.name, display_name="Anne"))
    assert update(premises, tenant.owner, sent, request_id=again) == first
    sent.display_name = "Another"
    with pytest.raises(RequestReused):
        update(premises, tenant.owner, sent, request_id=again)


def test_users_are_listed_newest_first_page_by_page(premises: Premises, tenant: Tenant) -> None:
    joined = [tenant.owner.user]
    for number in range(4):
        premises.clock.forward(timedelta(seconds=1))
        joined.append(premises.join(tenant, f"user{number}@example.org").user)
    seen, token = list[str](), ""
    while not seen or token:
        request = pb.ListUsersRequest(parent=tenant.name, page_size=2, page_token=token)
        page = premises.ask(tenant.owner, "ListUsers", request)
        seen += [user.name.rpartition("/")[2] for user in page.users]
        token = page.next_page_token
    assert seen == joined[::-1]


@pytest.mark.law("L1")
def test_a_foreign_user_and_an_unknown_one_are_refused_alike(premises: Premises, tenant: Tenant) -> None:
    theirs = premises.sign_up("other@example.org").owner
    with pytest.raises(PermissionDenied) as foreign:
        premises.ask(tenant.owner, "GetUser", pb.GetUserRequest(name=name_of(theirs)))
    with pytest.raises(PermissionDenied) as unknown:
        premises.ask(tenant.owner, "GetUser", pb.GetUserRequest(name="tenants/t000/users/u000"))
    assert repr(foreign.value) == repr(unknown.value)
    with pytest.raises(ResourceMissing):
        get(premises, tenant.owner, theirs.user)
    with pytest.raises(ResourceMissing):
        get(premises, tenant.owner, f"k{tenant.owner.user[1:]}")


# Roles


def test_whoever_lacks_export_cannot_grant_it(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", SUPER)
    cleo = premises.join(tenant, "cleo@example.org")
    with pytest.raises(PermissionDenied):
        premises.change_role(ben, cleo.user, pb.STANDARD, ["contacts.export"])
    with pytest.raises(PermissionDenied):
        premises.change_role(ben, ben.user, SUPER, ["contacts.export"])
    assert list(premises.change_role(tenant.owner, cleo.user, pb.STANDARD, ["contacts.export"]).granted) == [
        "contacts.export"
    ]


@pytest.mark.parametrize("granted", ["everything", "Contacts.Export", "contacts.export ", "4111 1111 1111 1111"])
def test_what_has_not_the_form_of_a_permission_is_not_granted(premises: Premises, tenant: Tenant, granted: str) -> None:
    with pytest.raises(InvalidField) as refused:
        premises.change_role(tenant.owner, tenant.owner.user, SUPER, ["contacts.export", granted])
    assert refused.value.field == "granted[1]"
    assert granted not in str(refused.value)


def test_a_changed_role_counts_at_once(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", SUPER)
    premises.change_role(tenant.owner, ben.user, pb.RESTRICTED)
    assert not premises.is_open(ben)
    assert premises.sign_in(tenant.name, "ben@example.org").authority.role is Role.RESTRICTED


def test_somebody_who_is_being_demoted_decides_nothing_any_more(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", SUPER)
    cleo = premises.join(tenant, "cleo@example.org")
    premises.store.before.append(lambda: premises.change_role(tenant.owner, ben.user, pb.STANDARD))
    with pytest.raises(PermissionDenied):
        premises.change_role(ben, cleo.user, pb.ADMINISTRATOR)
    assert {user.id: user.role for user in premises.users(ben.tenant)}[cleo.user] is Role.STANDARD


def test_managing_users_does_not_lift_anybody_above_themselves(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", pb.ADMINISTRATOR, ["users.manage"])
    cleo = premises.join(tenant, "cleo@example.org")
    premises.change_role(ben, cleo.user, pb.ADMINISTRATOR)
    for attempt in (
        lambda: premises.change_role(ben, ben.user, SUPER),
        lambda: premises.change_role(ben, tenant.owner.user, pb.STANDARD),
        lambda: premises.remove(ben, tenant.owner.user),
        lambda: update(premises, ben, pb.User(name=name_of(tenant.owner), email="ben2@example.org")),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


@pytest.mark.law("L9")
def test_a_role_is_changed_once(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    request = pb.ChangeRoleRequest(name=name_of(ben), role=pb.ADMINISTRATOR, request_id=premises.uuid())
    first = premises.ask(tenant.owner, "ChangeRole", request)
    assert premises.ask(tenant.owner, "ChangeRole", request) == first
    stale = pb.ChangeRoleRequest(name=name_of(ben), role=pb.STANDARD, etag='"1"')
    with pytest.raises(VersionMismatch):
        premises.ask(tenant.owner, "ChangeRole", stale)


# The end of a user


def test_a_removed_user_is_out_at_once_and_leaves_nothing_readable(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    update(premises, ben, pb.User(name=name_of(ben), display_name="Benedikta"), request_id=premises.uuid())
    slot = premises.holding.repository.get(ben.tenant, RecordId(ben.user), use=Use.SECURITY).slot
    removed = premises.remove(tenant.owner, ben.user)
    assert removed == pb.User(name=name_of(ben), state=pb.User.REMOVED)
    assert not premises.is_open(ben)
    with pytest.raises(Unauthenticated):
        premises.sign_in(tenant.name, "ben@example.org")
    with pytest.raises(SubjectErased):
        get(premises, tenant.owner, ben.user)
    with pytest.raises(SubjectErased):
        premises.holding.vault.keys(ben.tenant, [slot])
    assert not any(ben.user in content or "Benedikta" in content for content in premises.contents())


def test_a_removed_address_can_be_invited_again_as_somebody_new(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    premises.remove(tenant.owner, ben.user)
    assert premises.join(tenant, "ben@example.org").user != ben.user


@pytest.mark.law("L9")
def test_removing_is_done_once_and_answered_as_often_as_asked(premises: Premises, tenant: Tenant) -> None:
    ben, cleo = premises.join(tenant, "ben@example.org"), premises.join(tenant, "cleo@example.org")
    again = premises.uuid()
    first = premises.remove(tenant.owner, ben.user, request_id=again)
    leaves = premises.holding.ledger.head().size
    assert premises.remove(tenant.owner, ben.user, request_id=again) == first
    assert premises.holding.ledger.head().size == leaves
    with pytest.raises(RequestReused):
        premises.remove(tenant.owner, cleo.user, request_id=again)
    with pytest.raises(SubjectErased):
        premises.remove(tenant.owner, ben.user)


def test_a_removal_that_broke_off_is_finished_by_asking_again(premises: Premises, tenant: Tenant) -> None:
    ben, again = premises.join(tenant, "ben@example.org"), premises.uuid()
    premises.store.fails = True
    with pytest.raises(ConnectionError):
        premises.remove(tenant.owner, ben.user, request_id=again)
    premises.store.fails = False
    assert not premises.is_open(ben)
    assert premises.remove(tenant.owner, ben.user, request_id=again).state == pb.User.REMOVED
    assert not any(ben.user in content for content in premises.contents())


@pytest.mark.law("L4")
def test_a_hold_keeps_the_data_of_a_removed_user_and_lets_nobody_in(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org")
    holder, by, now = premises.holding.holder, tenant.owner.actor, premises.clock.now()
    subject = SubjectKey(ben.user)
    holder.apply(ben.tenant, [subject], Order.HOLD, reason="h1", by=by, now=now)
    premises.remove(tenant.owner, ben.user)
    assert not premises.is_open(ben)
    with pytest.raises(Unauthenticated):
        premises.sign_in(tenant.name, "ben@example.org")
    assert any(ben.user in content for content in premises.contents())
    holder.apply(ben.tenant, [subject], Order.RELEASE, reason="h1", by=by, now=now)
    kept = premises.store.read(ben.tenant, [RecordId(ben.user)], admits=~Mark.NONE)[0]
    swept = holder.sweep(ben.tenant, now=kept.trash.until)  # type: ignore[union-attr]
    assert swept.subjects == 1
    assert not any(ben.user in content for content in premises.contents())


def test_the_last_super_administrator_stays(premises: Premises, tenant: Tenant) -> None:
    ben = premises.join(tenant, "ben@example.org", SUPER)
    premises.remove(ben, tenant.owner.user)
    for attempt in (lambda: premises.remove(ben, ben.user), lambda: premises.change_role(ben, ben.user, pb.STANDARD)):
        with pytest.raises(LastSuperAdministrator):
            attempt()
    assert premises.is_open(ben)


# Law 14

PEOPLE = 3
moves = st.tuples(st.integers(0, PEOPLE), st.integers(0, PEOPLE), st.sampled_from(["remove", "demote", "promote"]))


def peopled(premises: Premises) -> list[UserCaller]:
    tenant = premises.sign_up()
    others = [premises.join(tenant, f"user{number}@example.org", SUPER) for number in range(PEOPLE)]
    return [tenant.owner, *others]


def play(premises: Premises, people: list[UserCaller], move: tuple[int, int, str]) -> None:
    by, whom, what = people[move[0]], people[move[1]], move[2]
    try:
        if what == "remove":
            premises.remove(by, whom.user)
        else:
            premises.change_role(by, whom.user, SUPER if what == "promote" else pb.STANDARD)
    except CapsuleError:
        return


def controlled(premises: Premises, people: list[UserCaller]) -> None:
    """Somebody active is a super administrator, and the roster says who."""
    tenant = people[0].tenant
    active = [user for user in premises.users(tenant) if user.state is UserState.ACTIVE]
    supers = {user.id for user in active if user.role is Role.SUPER_ADMINISTRATOR}
    assert supers
    assert premises.roster(tenant) == supers


@pytest.mark.law("L14")
@given(st.lists(st.tuples(moves, st.lists(moves, max_size=3)), min_size=1, max_size=6))
def test_the_tenant_is_controlled_whoever_is_faster(
    turns: list[tuple[tuple[int, int, str], list[tuple[int, int, str]]]],
) -> None:
    with opened() as premises:
        people = peopled(premises)
        for move, faster in turns:
            premises.store.before += [lambda each=each: play(premises, people, each) for each in faster]
            play(premises, people, move)
            premises.store.before.clear()
            controlled(premises, people)


@pytest.mark.law("L14")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("act", ["remove", "demote"])
def test_the_tenant_is_controlled_when_all_turn_on_each_other_at_once(seed: int, act: str) -> None:
    with opened(seed) as premises, switching_often():
        people = peopled(premises)
        start = threading.Barrier(len(people))

        def turn_on(whom: int, by: int) -> Callable[[], None]:
            def run() -> None:
                start.wait()
                play(premises, people, (by, whom, act))

            return run

        threads = [
            threading.Thread(target=turn_on((place + 1 + seed % PEOPLE) % len(people), place), daemon=True)
            for place in range(len(people))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads), "they wait for each other"
        controlled(premises, people)


@contextmanager
def switching_often() -> Iterator[None]:
    """Let threads take turns a thousand times more often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
