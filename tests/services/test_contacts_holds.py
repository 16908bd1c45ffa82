"""Holds by rpc: who may place, see and release them, what they cover, and what happens when they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import (
    CapsuleError,
    CardNumberFound,
    InvalidField,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    SubjectErased,
    SubjectHeld,
)
from capsule_core.ledger import Leaf
from capsule_core.receipts import Receipt
from capsule_core.records import Mark
from capsule_core.roles import Role
from tests.services.office import Desk, Office, deleted, fresh_id, listed, note, office, opened_on, person, sweeper

ABOVE = (Role.ADMINISTRATOR, Role.SUPER_ADMINISTRATOR)
MONTH = timedelta(days=31)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def placing(desk: Desk, target: str, **said: Any) -> pb.PlaceHoldRequest:
    text = {"authority": "county court, 12 C 34/26", "reason": "Ada v. Acme", "request_id": fresh_id()} | said
    request_id = text.pop("request_id")
    hold = pb.Hold(**{"target": target, "ground": pb.Hold.LEGAL_CLAIMS, **text})
    return pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=request_id)


def placed(desk: Desk, target: str, **said: Any) -> pb.Hold:
    return desk.PlaceHold(placing(desk, target, **said))


def released(desk: Desk, hold: pb.Hold) -> pb.Hold:
    return desk.ReleaseHold(pb.ReleaseHoldRequest(name=hold.name, request_id=fresh_id()))


def purged(desk: Desk, contact: pb.Contact, *, suppress: bool = False) -> Receipt:
    request = pb.PurgeContactRequest(name=contact.name, confirm=True, suppress=suppress, request_id=fresh_id())
    return Receipt.decode(desk.PurgeContact(request).receipt)


def holds_of(desk: Desk, **asked: Any) -> list[str]:
    names, token = [], ""
    while True:
        page = desk.ListHolds(pb.ListHoldsRequest(parent=desk.tenant, page_token=token, **asked))
        names += [hold.name for hold in page.holds]
        token = page.next_page_token
        if not token:
            return names


def answer(call: Any, request: Any) -> str:
    try:
        call(request)
    except CapsuleError as error:
        return f"{type(error).__name__} {error}"
    return "done"


def test_a_hold_is_answered_as_it_was_asked_for_and_read_back(desk: Desk) -> None:
    ada = person(desk, emails=[pb.Email(address="ada@example.org")])
    talk = note(desk, ada)
    for target, field in (
        (desk.tenant, ""),
        (ada.name, ""),
        (ada.name, "emails"),
        (talk.name, ""),
        (talk.name, "body"),
    ):
        hold = placed(desk, target, field=field)
        assert (hold.target, hold.field, hold.state) == (target, field, pb.Hold.STANDING)
        assert (hold.ground, hold.authority, hold.reason) == (
            pb.Hold.LEGAL_CLAIMS,
            "county court, 12 C 34/26",
            "Ada v. Acme",
        )
        assert hold.placer == f"{desk.tenant}/users/u1"
        assert not hold.HasField("release_time")
        assert desk.GetHold(pb.GetHoldRequest(name=hold.name)) == hold
        ended = released(desk, hold)
        assert (ended.state, ended.reason, ended.releaser) == (pb.Hold.RELEASED, "", hold.placer)
        assert ended.HasField("release_time")
        assert released(desk, hold) == ended
        assert desk.GetHold(pb.GetHoldRequest(name=hold.name)) == ended


@pytest.mark.law("L13")
@pytest.mark.parametrize("role", list(Role))
def test_only_who_has_the_right_places_sees_and_releases(here: Office, role: Role) -> None:
    chief = here.desk()
    desk = here.desk(chief.caller.tenant, role)
    hold = placed(chief, person(chief).name)
    for name in (hold.name, f"{chief.tenant}/holds/h{'0' * 26}"):
        release = pb.ReleaseHoldRequest(name=name)
        told = answer(desk.ReleaseHold, release)
        assert ("PermissionDenied" in told) == (role is not Role.SUPER_ADMINISTRATOR)
        assert ("PermissionDenied" in answer(desk.GetHold, pb.GetHoldRequest(name=name))) == (role not in ABOVE)
    assert (answer(desk.PlaceHold, placing(desk, desk.tenant)) == "done") == (role is Role.SUPER_ADMINISTRATOR)
    assert (answer(desk.ListHolds, pb.ListHoldsRequest(parent=desk.tenant)) == "done") == (role in ABOVE)


@pytest.mark.law("L1")
def test_a_hold_of_another_tenant_is_as_if_it_did_not_exist(here: Office, desk: Desk) -> None:
    other = here.desk()
    theirs = placed(other, person(other).name)
    identifier = theirs.name.rpartition("/")[2]
    nobodys = f"{identifier[:12]}{here.holding.new_id('h')[12:]}"
    for method, request in ((desk.ReleaseHold, pb.ReleaseHoldRequest), (desk.GetHold, pb.GetHoldRequest)):
        told = [answer(method, request(name=f"{desk.tenant}/holds/{name}")) for name in (identifier, nobodys)]
        assert told[0] == told[1]
        assert "ResourceMissing" in told[0]
        told = [answer(method, request(name=f"{other.tenant}/holds/{name}")) for name in (identifier, nobodys)]
        assert told[0] == told[1]
        assert "PermissionDenied" in told[0]
    assert other.GetHold(pb.GetHoldRequest(name=theirs.name)) == theirs
    with pytest.raises(PermissionDenied):
        placed(desk, theirs.target)
    with pytest.raises(PermissionDenied):
        placed(desk, other.tenant)


def test_what_is_not_there_cannot_be_held_and_says_so_alike(here: Office, desk: Desk) -> None:
    ada, bo = person(desk), person(desk)
    talk, other = note(desk, ada).name.rpartition("/")[2], here.desk()
    theirs = person(other).name.rpartition("/")[2]
    unknown = here.holding.new_id("c")
    missing = [f"{desk.tenant}/contacts/{name}" for name in (theirs, unknown, "everybody", talk)]
    for name in missing:
        for field in ("", "emails"):
            with pytest.raises(ResourceMissing) as refused:
                placed(desk, name, field=field)
            assert str(refused.value) == "no such contact"
    for name in (f"{bo.name}/entries/{talk}", f"{ada.name}/entries/{ada.name.rpartition('/')[2]}", f"{ada.name}/photo"):
        with pytest.raises(ResourceMissing):
            placed(desk, name)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"authority": " "}, "hold.authority"),
        ({"authority": "x" * 501}, "hold.authority"),
        ({"ground": pb.Hold.GROUND_UNSPECIFIED}, "hold.ground"),
        ({"reason": "x" * 10_001}, "hold.reason"),
        ({"target": ""}, "hold.target"),
        ({"field": "shoe_size"}, "hold.field"),
        ({"field": "owner"}, "hold.field"),
        ({"field": "custom"}, "hold.field"),
        ({"field": "no name"}, "hold.field"),
    ],
)
def test_a_hold_that_says_too_little_or_too_much_is_refused_with_the_field(
    desk: Desk, said: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        placed(desk, **{"target": person(desk).name, **said})
    assert refused.value.field == field


def test_no_card_number_comes_in_by_a_hold(desk: Desk) -> None:
    with pytest.raises(CardNumberFound) as refused:
        placed(desk, desk.tenant, reason="paid with 4111 1111 1111 1111")
    assert refused.value.field == "hold.reason"


@pytest.mark.law("L4")
def test_a_held_contact_is_not_purged_and_not_swept_until_the_release_and_then_by_itself(here: Office) -> None:
    desk = here.desk()
    ada, whole = person(desk), desk.tenant
    for target in (ada.name, whole, note(desk, ada).name):
        bo = person(desk)
        hold = placed(desk, target)
        if target == ada.name:
            deleted(desk, ada)
        for contact in (ada, *([deleted(desk, bo)] if target == whole else [])):
            with pytest.raises(SubjectHeld):
                purged(desk, contact)
            check = pb.PurgeContactRequest(name=contact.name, confirm=True, validate_only=True)
            with pytest.raises(SubjectHeld):
                desk.PurgeContact(check)
        released(desk, hold)
    assert purged(desk, ada).statement.remaining == ()


@pytest.mark.law("L4")
def test_one_held_entry_is_all_that_is_left_of_who_asked_to_be_erased_and_goes_within_a_tick_of_the_release(
    tmp_path: Path,
) -> None:
    opened = opened_on("sqlite", tmp_path)
    here = office(opened, tmp_path)
    desk = here.desk()
    ada = person(desk, emails=[pb.Email(address="ada@example.org")])
    talk, _ = note(desk, ada, "the disputed call"), note(desk, ada, "Rang.")
    hold = placed(desk, talk.name)
    deleted(desk, ada)
    with pytest.raises(SubjectHeld):
        purged(desk, ada)
    receipt = purged(desk, ada, suppress=True)
    kept = [(each.what, each.ground, each.records, each.until) for each in receipt.statement.remaining]
    assert ("entry", "hold (legal_claims)", 1, None) in kept
    assert receipt.statement.destructions[0].records == {"person": 1, "entry": 1}
    for method, message in ((desk.GetEntry, pb.GetEntryRequest), (desk.DeleteEntry, pb.DeleteEntryRequest)):
        with pytest.raises(SubjectErased):
            method(message(name=talk.name))
    assert listed(desk, show_deleted=True) == []
    assert holds_of(desk, contact=ada.name) == [hold.name]
    with pytest.raises(ResourceMissing):
        placed(desk, ada.name, field="emails")
    released(desk, placed(desk, ada.name))  # also what is kept of them can be held
    told, stopped = threading.Event(), threading.Event()
    released(desk, hold)
    sweeping = sweeper(here, told, stopped)
    assert told.wait(30), "nobody destroyed what was released"
    stopped.set()
    sweeping.close()
    tenant, name = desk.caller.tenant, talk.name.rpartition("/")[2]
    assert here.holding.repository.store.read(tenant, [name], admits=~Mark.NONE) == [None]
    opened.close()


@pytest.mark.law("L4")
def test_trash_that_was_due_under_a_hold_goes_with_the_next_sweep_after_its_release(tmp_path: Path) -> None:
    opened = opened_on("sqlite", tmp_path)
    here = office(opened, tmp_path)
    desk = here.desk()
    ada = person(desk)
    hold = placed(desk, desk.tenant)
    deleted(desk, ada)
    now = here.advance(MONTH)
    assert here.holding.holder.sweep(desk.caller.tenant, now=now).subjects == 0
    assert listed(desk, show_deleted=True) == [ada.name]
    released(desk, hold)
    assert here.holding.holder.sweep(desk.caller.tenant, now=here.holding.now()).subjects == 1
    assert listed(desk, show_deleted=True) == []
    opened.close()


@pytest.mark.law("L9")
def test_a_repeated_request_places_one_hold_and_another_under_its_id_is_refused(desk: Desk) -> None:
    request = placing(desk, person(desk).name)
    assert desk.PlaceHold(request) == desk.PlaceHold(request)
    assert len(holds_of(desk)) == 1
    request.hold.reason = "another"
    with pytest.raises(RequestReused):
        desk.PlaceHold(request)


def test_holds_are_listed_by_the_page_newest_first_and_by_contact(desk: Desk) -> None:
    people = [person(desk) for _ in range(5)]
    holds = [placed(desk, contact.name) for contact in people]
    entry = placed(desk, note(desk, people[0]).name)
    released(desk, holds[4])
    assert holds_of(desk, page_size=2) == [each.name for each in (entry, *reversed(holds[:4]))]
    assert holds_of(desk, page_size=2, show_released=True) == [each.name for each in (entry, *reversed(holds))]
    assert holds_of(desk, contact=people[0].name) == [entry.name, holds[0].name]
    assert holds_of(desk, contact=f"{desk.tenant}/contacts/nobody") == []


@pytest.mark.law("L8")
def test_each_act_leaves_one_leaf_that_says_which_hold_and_no_text_of_it(here: Office, desk: Desk) -> None:
    ledger, ada = here.holding.ledger, person(desk)
    before = ledger.head().size
    hold = placed(desk, ada.name)
    released(desk, hold)
    data = ledger.read(before, ledger.head().size - before)
    leaves = list(map(Leaf.decode, data))
    assert [leaf.act for leaf in leaves] == ["contacts.PlaceHold", "contacts.ReleaseHold"]
    identifier = hold.name.rpartition("/")[2]
    assert [leaf.detail["hold"] for leaf in leaves] == [identifier, identifier]
    assert not any(b"Ada" in each or b"court" in each for each in data)
