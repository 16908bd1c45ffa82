"""Saved lists: what was reviewed is what is acted on, nobody else; and no list outlives who was on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import (
    AlreadyLive,
    CardNumberFound,
    InvalidField,
    ListsFull,
    ListUnfinished,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    TooMany,
    TrashExpired,
    VersionMismatch,
)
from capsule_core.holder import Order
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.records import Mark, Shelf, Where
from capsule_core.roles import Role
from capsule_services.contacts.lists import handlers
from capsule_services.runtime.opening import open_holding
from tests.services.office import (
    KINDS,
    Desk,
    Office,
    deleted,
    fresh_id,
    host,
    listed,
    note,
    office,
    opened_on,
    person,
    purged,
)

DAY = timedelta(days=1)
BOSS = ActorRef("user", "boss")


@pytest.fixture(scope="module", params=["memory", "sqlite", "server"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    if request.param != "server":
        opened = opened_on(request.param, folder)
        yield office(opened, folder)
        opened.close()
        return
    database = request.getfixturevalue("postgres").fresh()
    (folder / "database.url").write_text(database.url)
    opened = open_holding(host(folder, database=folder / "database.url"), "contacts", KINDS)
    yield office(opened, folder)
    opened.close()
    database.drop()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def since(at: datetime, *events: str) -> pb.Stale:
    message = pb.Stale()
    for event in events or ("updated",):
        getattr(message, f"not_{event}_since").FromDatetime(at.replace(tzinfo=None))
    return message


def saved(desk: Desk, stale: pb.Stale, name: str = "Leads of 2019", **more: Any) -> pb.ContactList:
    wanted = pb.ContactList(display_name=name, stale=stale)
    request = pb.CreateContactListRequest(parent=desk.tenant, contact_list=wanted, **{"request_id": fresh_id(), **more})
    found: pb.ContactList = desk.CreateContactList(request)
    return found


def filled(desk: Desk, kept: pb.ContactList) -> pb.ContactList:
    while kept.state == pb.ContactList.FILLING:
        kept = desk.FillContactList(pb.FillContactListRequest(name=kept.name, request_id=fresh_id()))
    return kept


def reviewed(desk: Desk, kept: pb.ContactList, page_size: int = 0) -> dict[str, int]:
    found: dict[str, int] = {}
    token = ""
    while True:
        request = pb.ListListedContactsRequest(parent=kept.name, page_size=page_size, page_token=token)
        page = desk.ListListedContacts(request)
        for each in page.listed_contacts:
            assert each.contact.name not in found
            found[each.contact.name] = each.obstacle
        token = page.next_page_token
        if not token:
            return found


def thrown(desk: Desk, kept: pb.ContactList, **more: Any) -> pb.TrashListedContactsResponse:
    request = pb.TrashListedContactsRequest(name=kept.name, **{"request_id": fresh_id(), **more})
    answer: pb.TrashListedContactsResponse = desk.TrashListedContacts(request)
    return answer


def taken_back(desk: Desk, batch: str) -> int:
    request = pb.UndeleteBatchRequest(parent=desk.tenant, batch=batch, request_id=fresh_id())
    return int(desk.UndeleteBatch(request).records)


def exported(desk: Desk, kept: pb.ContactList, **more: Any) -> list[str]:
    records = pb.ExportContactsRequest.RECORDS
    request = pb.ExportContactsRequest(parent=desk.tenant, format=records, contact_list=kept.name, **more)
    return [each.name for message in desk.ExportContacts(request) for each in message.records if each.kind == "person"]


def id_of(contact: pb.Contact) -> str:
    return contact.name.rpartition("/")[2]


def updated(_: Office, desk: Desk, contact: pb.Contact) -> None:
    request = pb.UpdateContactRequest(contact=pb.Contact(name=contact.name, about="x"), request_id=fresh_id())
    request.update_mask.paths.append("about")
    desk.UpdateContact(request)


def opened(_: Office, desk: Desk, contact: pb.Contact) -> None:
    desk.GetContact(pb.GetContactRequest(name=contact.name))


def called(_: Office, desk: Desk, contact: pb.Contact) -> None:
    entry = pb.Entry(kind=pb.Entry.CALL, body="Rang.", direction=pb.Entry.OUTGOING)
    desk.CreateEntry(pb.CreateEntryRequest(parent=contact.name, entry=entry, request_id=fresh_id()))


def held(_: Office, desk: Desk, contact: pb.Contact) -> None:
    hold = pb.Hold(target=contact.name, ground=pb.Hold.LEGAL_CLAIMS, authority="the court")
    desk.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))


def held_in_part(_: Office, desk: Desk, contact: pb.Contact) -> None:
    hold = pb.Hold(target=note(desk, contact).name, ground=pb.Hold.LEGAL_CLAIMS, authority="the court")
    desk.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))


def ordered(here: Office, desk: Desk, contact: pb.Contact, order: Order) -> None:
    tenant = TenantId(desk.tenant.rpartition("/")[2])
    here.holding.holder.apply(tenant, [SubjectKey(id_of(contact))], order, reason="r", by=BOSS, now=here.holding.now())


def restricted(here: Office, desk: Desk, contact: pb.Contact) -> None:
    ordered(here, desk, contact, Order.RESTRICT)


def trashed(_: Office, desk: Desk, contact: pb.Contact) -> None:
    deleted(desk, contact)


HAPPENS: dict[str, tuple[Callable[[Office, Desk, pb.Contact], None], int]] = {
    "updated": (updated, pb.UPDATED),
    "opened": (opened, pb.OPENED),
    "called": (called, pb.CONTACTED),
    "held": (held, pb.HELD),
    "held in part": (held_in_part, pb.HELD),
    "restricted": (restricted, pb.RESTRICTED),
    "trashed": (trashed, pb.TRASHED),
}
"""What may happen to somebody between the review and the throwing away, and how it is called then."""


def test_a_list_is_who_was_stale_when_it_was_saved_and_nobody_who_came_later(here: Office, desk: Desk) -> None:
    old = [person(desk, name) for name in ("Ada", "Bob", "Cyd")]
    at = here.advance(DAY)
    fresh = person(desk, "Dan")
    kept = saved(desk, since(at))
    assert (kept.state, kept.contacts, kept.display_name) == (pb.ContactList.READY, 3, "Leads of 2019")
    assert kept.stale == since(at)
    late = person(desk, "Eve")
    here.advance(DAY)
    assert list(reviewed(desk, kept)) == [each.name for each in reversed(old)]
    answer = thrown(desk, kept)
    assert (answer.contacts, answer.remaining, list(answer.skipped)) == (3, 0, [])
    assert set(listed(desk)) == {fresh.name, late.name}
    assert taken_back(desk, answer.batch) == 3
    assert {*listed(desk)} == {fresh.name, late.name, *(each.name for each in old)}
    assert set(reviewed(desk, kept).values()) == {pb.OBSTACLE_UNSPECIFIED}


@pytest.mark.parametrize("happens", HAPPENS)
def test_to_whom_something_happened_since_is_left_out_and_it_is_said_why(
    here: Office, desk: Desk, happens: str
) -> None:
    one, other = person(desk, "Ada"), person(desk, "Bob")
    at = here.advance(2 * DAY)
    kept = saved(desk, since(at))
    here.advance(DAY)
    happen, obstacle = HAPPENS[happens]
    happen(here, desk, one)
    here.holding.openings.flush()
    seen = {other.name: pb.OBSTACLE_UNSPECIFIED}
    assert reviewed(desk, kept) == (seen if happens == "restricted" else {**seen, one.name: obstacle})
    answer = thrown(desk, kept)
    assert (answer.contacts, answer.remaining) == (1, 0)
    assert [(each.contact, each.obstacle) for each in answer.skipped] == [(one.name, obstacle)]
    assert [(each.obstacle, each.contacts) for each in answer.counts] == [(obstacle, 1)]
    again = thrown(desk, kept, batch=answer.batch)
    assert (again.contacts, again.remaining, list(again.skipped)) == (0, 0, list(answer.skipped))


def test_a_hold_on_the_whole_tenant_leaves_everybody_out(here: Office, desk: Desk) -> None:
    person(desk)
    kept = saved(desk, since(here.advance(DAY)))
    hold = pb.Hold(target=desk.tenant, ground=pb.Hold.LEGAL_CLAIMS, authority="the court")
    desk.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))
    answer = thrown(desk, kept)
    assert [(each.obstacle, each.contacts) for each in answer.counts] == [(pb.HELD, 1)]
    assert answer.contacts == 0


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    happening=st.lists(st.none() | st.sampled_from(sorted(HAPPENS)), min_size=1, max_size=7),
)
def test_whatever_happens_who_goes_is_who_was_on_the_list_and_left_alone(
    here: Office, sizes: tuple[int, int], happening: list[str | None]
) -> None:
    """In calls of any size, whatever happens after the list was saved; and undone as one, all is as it was."""
    desk = here.desk()
    with pytest.MonkeyPatch.context() as small:
        small.setattr(handlers, "AT_ONCE", sizes[0])
        people = [person(desk) for _ in happening]
        at = here.advance(2 * DAY)
        others = [person(desk)]
        kept = filled(desk, saved(desk, since(at, "updated", "opened", "contacted")))
        here.advance(DAY)
        for happens, contact in zip(happening, people, strict=True):
            if happens is not None:
                HAPPENS[happens][0](here, desk, contact)
        before, batch, went, answer = set(listed(desk)), "", 0, None
        small.setattr(handlers, "AT_ONCE", sizes[1])
        while answer is None or answer.remaining:
            answer = thrown(desk, kept, batch=batch)
            batch, went = answer.batch, went + answer.contacts
    alone = {each.name for each, happens in zip(people, happening, strict=True) if happens is None}
    assert went == len(alone)
    assert before - set(listed(desk)) == alone
    assert {(each.contact, each.obstacle) for each in answer.skipped} == {
        (each.name, HAPPENS[happens][1]) for each, happens in zip(people, happening, strict=True) if happens
    }
    if alone:
        taken_back(desk, batch)
    assert set(listed(desk)) == before
    assert others[0].name in before


def test_a_long_list_is_filled_in_parts_and_only_a_whole_one_is_acted_on(
    here: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "AT_ONCE", 2)
    everybody = [person(desk) for _ in range(5)]
    kept = saved(desk, since(here.advance(DAY)))
    assert (kept.state, kept.contacts) == (pb.ContactList.FILLING, 2)
    with pytest.raises(ListUnfinished):
        thrown(desk, kept)
    updated(here, desk, everybody[0])
    kept = filled(desk, kept)
    assert kept.contacts == 4
    assert list(reviewed(desk, kept, page_size=3)) == [each.name for each in reversed(everybody[1:])]


def test_many_of_one_moment_are_all_listed_once(here: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import keeps all its rows at one moment; nobody's id is kept to go on from."""
    from tests.services.test_suppression import imported

    imported(desk, *(f"p{number}@example.org" for number in range(7)))
    monkeypatch.setattr(handlers, "AT_ONCE", 2)
    kept = filled(desk, saved(desk, since(here.advance(DAY))))
    assert kept.contacts == 7
    assert set(reviewed(desk, kept, page_size=2)) == set(listed(desk))


def test_a_list_is_exported_as_it_stands_without_the_trashed_and_the_restricted(here: Office, desk: Desk) -> None:
    people = [person(desk, name) for name in ("Ada", "Bob", "Cyd", "Dan", "Eve")]
    kept = saved(desk, since(here.advance(DAY)))
    person(desk, "Fay")
    deleted(desk, people[0])
    restricted(here, desk, people[3])
    expected = [people[4].name, people[2].name, people[1].name]
    assert exported(desk, kept) == expected
    assert exported(desk, kept, page_size=1) == expected
    request = pb.ExportContactsRequest(
        parent=desk.tenant, format=pb.ExportContactsRequest.RECORDS, contact_list=kept.name, page_size=1
    )
    messages = desk.ExportContacts(request)
    request.page_token = messages[0].next_page_token
    rest = [each.name for message in desk.ExportContacts(request) for each in message.records]
    assert [each.name for each in messages[0].records] + rest == expected
    stale = since(here.advance(DAY), "updated")
    updated(here, desk, people[1])
    assert exported(desk, kept, stale=stale) == [people[4].name, people[2].name]


def test_who_is_erased_leaves_every_list_and_nothing_of_them_stays_in_it(here: Office, desk: Desk) -> None:
    gone, stays = person(desk, "Ada"), person(desk, "Bob")
    kept = saved(desk, since(here.advance(DAY)))
    purged(desk, gone)
    assert list(reviewed(desk, kept)) == [stays.name]
    assert desk.GetContactList(pb.GetContactListRequest(name=kept.name)).contacts == 1
    tenant = TenantId(desk.tenant.rpartition("/")[2])
    store, repository = here.holding.repository.store, here.holding.repository
    left = store.select(Where(tenant=tenant, shelf=Shelf.ANY), admits=~Mark.NONE, limit=100).records
    opened_again = repository.contents(left)
    assert len(left) == 3
    assert not [each for each in left if id_of(gone) in (each.id, each.root, each.subject) or id_of(gone) in each.id]
    assert not [each for each in opened_again if id_of(gone).encode() in each]


@pytest.mark.law("L6")
def test_no_subject_is_left_in_an_answer_that_was_kept(here: Office, desk: Desk) -> None:
    """What is answered to a request sent again is looked up again, not remembered."""
    gone, again = person(desk, "Ada"), fresh_id()
    kept = saved(desk, since(here.advance(DAY)))
    held(here, desk, gone)
    answer = thrown(desk, kept, request_id=again)
    assert [each.contact for each in answer.skipped] == [gone.name]
    hold = desk.ListHolds(pb.ListHoldsRequest(parent=desk.tenant)).holds[0]
    desk.ReleaseHold(pb.ReleaseHoldRequest(name=hold.name, request_id=fresh_id()))
    purged(desk, gone)
    answer = thrown(desk, kept, request_id=again)
    assert (answer.contacts, list(answer.skipped)) == (0, [])


def test_a_deleted_list_leaves_its_contacts_and_can_be_taken_back_for_thirty_days(here: Office, desk: Desk) -> None:
    contact = person(desk)
    kept = saved(desk, since(here.advance(DAY)))
    gone = desk.DeleteContactList(pb.DeleteContactListRequest(name=kept.name, etag=kept.etag, request_id=fresh_id()))
    assert (gone.state, gone.contacts) == (pb.ContactList.DELETED, 1)
    assert gone.purge_time.ToDatetime() - gone.delete_time.ToDatetime() == 30 * DAY
    assert listed(desk) == [contact.name]
    lists = pb.ListContactListsRequest(parent=desk.tenant)
    assert list(desk.ListContactLists(lists).contact_lists) == []
    for ask in (lambda: reviewed(desk, kept), lambda: thrown(desk, kept), lambda: exported(desk, kept)):
        with pytest.raises(ResourceMissing):
            ask()
    lists.show_deleted = True
    assert list(desk.ListContactLists(lists).contact_lists) == [gone]
    back = desk.UndeleteContactList(pb.UndeleteContactListRequest(name=kept.name, request_id=fresh_id()))
    assert back == kept
    assert list(reviewed(desk, kept)) == [contact.name]
    with pytest.raises(AlreadyLive):
        desk.UndeleteContactList(pb.UndeleteContactListRequest(name=kept.name))
    desk.DeleteContactList(pb.DeleteContactListRequest(name=kept.name, request_id=fresh_id()))
    here.advance(30 * DAY)
    with pytest.raises(TrashExpired):
        desk.UndeleteContactList(pb.UndeleteContactListRequest(name=kept.name))
    tenant = TenantId(desk.tenant.rpartition("/")[2])
    here.holding.holder.sweep(tenant, now=here.holding.now())
    with pytest.raises(ResourceMissing):
        desk.GetContactList(pb.GetContactListRequest(name=kept.name))
    everything = Where(tenant=tenant, shelf=Shelf.ANY)
    assert here.holding.repository.store.count(everything, admits=~Mark.NONE) == 1
    assert listed(desk) == [contact.name]


def test_a_request_sent_again_has_one_effect(here: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    person(desk, "Ada"), person(desk, "Bob")
    at, again = here.advance(DAY), fresh_id()
    kept = saved(desk, since(at), request_id=again)
    assert saved(desk, since(at), request_id=again) == kept
    assert len(desk.ListContactLists(pb.ListContactListsRequest(parent=desk.tenant)).contact_lists) == 1
    with pytest.raises(RequestReused):
        saved(desk, since(at), name="Another", request_id=again)
    monkeypatch.setattr(handlers, "AT_ONCE", 1)
    first = thrown(desk, kept, request_id=again)
    assert (first.contacts, first.remaining) == (1, 1)
    assert thrown(desk, kept, request_id=again) == first
    assert thrown(desk, kept, batch=first.batch).remaining == 0
    assert taken_back(desk, first.batch) == 2


def test_a_list_that_a_crash_left_empty_is_filled_by_the_request_sent_again(
    here: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(desk)
    at, again = here.advance(DAY), fresh_id()

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(handlers, "fill", crash)
        with pytest.raises(KeyboardInterrupt):
            saved(desk, since(at), request_id=again)
    kept = saved(desk, since(at), request_id=again)
    assert (kept.state, kept.contacts) == (pb.ContactList.READY, 1)


@pytest.mark.law("L1")
def test_another_tenants_list_is_not_there(here: Office, desk: Desk) -> None:
    other = here.desk()
    person(other)
    theirs = saved(other, since(here.advance(DAY)))
    name = f"{desk.tenant}/contactLists/{id_of(theirs)}"
    asks: list[Callable[[], Any]] = [
        lambda: desk.GetContactList(pb.GetContactListRequest(name=name)),
        lambda: desk.FillContactList(pb.FillContactListRequest(name=name)),
        lambda: desk.ListListedContacts(pb.ListListedContactsRequest(parent=name)),
        lambda: desk.TrashListedContacts(pb.TrashListedContactsRequest(name=name)),
        lambda: desk.DeleteContactList(pb.DeleteContactListRequest(name=name)),
        lambda: desk.UndeleteContactList(pb.UndeleteContactListRequest(name=name)),
        lambda: exported(desk, pb.ContactList(name=name)),
    ]
    for ask in asks:
        with pytest.raises(ResourceMissing):
            ask()
    assert other.GetContactList(pb.GetContactListRequest(name=theirs.name)) == theirs


@pytest.mark.parametrize(
    ("stale", "name", "field"),
    [
        (pb.Stale(), "Leads", "contact_list.stale"),
        (since(datetime(2199, 1, 1, tzinfo=UTC)), "Leads", "contact_list.stale.not_updated_since"),
        (since(datetime(2020, 1, 1, tzinfo=UTC)), "  ", "contact_list.display_name"),
        (since(datetime(2020, 1, 1, tzinfo=UTC)), "a\nb", "contact_list.display_name"),
        (since(datetime(2020, 1, 1, tzinfo=UTC)), "a" * 501, "contact_list.display_name"),
    ],
)
def test_what_is_no_list_is_refused_with_its_field(desk: Desk, stale: pb.Stale, name: str, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        saved(desk, stale, name=name)
    assert refused.value.field == field
    with pytest.raises(CardNumberFound):
        saved(desk, since(datetime(2020, 1, 1, tzinfo=UTC)), name="4111 1111 1111 1111")


def test_lists_are_bounded_in_size_and_number(here: Office, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    person(desk), person(desk)
    at = here.advance(DAY)
    with monkeypatch.context() as small:
        small.setattr(handlers, "MOST_LISTED", 1)
        with pytest.raises(TooMany):
            saved(desk, since(at))
    monkeypatch.setattr(handlers, "MOST_LISTS", 1)
    kept = saved(desk, since(at))
    with pytest.raises(ListsFull):
        saved(desk, since(at))
    desk.DeleteContactList(pb.DeleteContactListRequest(name=kept.name))
    saved(desk, since(at))


def test_a_stale_etag_is_refused(here: Office, desk: Desk) -> None:
    kept = saved(desk, since(here.advance(DAY)))
    with pytest.raises(VersionMismatch):
        desk.DeleteContactList(pb.DeleteContactListRequest(name=kept.name, etag='"7"'))


@pytest.mark.law("L13")
def test_who_may_only_read_saves_no_list_and_throws_nobody_away(here: Office, desk: Desk) -> None:
    kept = saved(desk, since(here.advance(DAY)))
    reader = here.desk(desk.tenant.rpartition("/")[2], Role.RESTRICTED)
    assert reviewed(reader, kept) == {}
    for ask in (lambda: saved(reader, kept.stale), lambda: thrown(reader, kept)):
        with pytest.raises(PermissionDenied):
            ask()


def test_no_policy_speaks_of_lists(here: Office, desk: Desk) -> None:
    person(desk)
    kept = saved(desk, since(here.advance(DAY)))
    rule = pb.RetentionRule(
        id="all", effect=pb.RetentionRule.DESTROY, since=pb.RetentionRule.CREATED, period="P1D", kinds=["contact_list"]
    )
    policy = pb.RetentionPolicy(name=f"{desk.tenant}/retentionPolicy", rules=[rule])
    with pytest.raises(InvalidField):
        desk.SetRetentionPolicy(pb.SetRetentionPolicyRequest(policy=policy))
    assert desk.GetContactList(pb.GetContactListRequest(name=kept.name)) == kept


def test_what_keeps_everything_keeps_nobody_for_being_on_a_list(here: Office, desk: Desk) -> None:
    contact = person(desk)
    rule = pb.RetentionRule(id="all", effect=pb.RetentionRule.KEEP, since=pb.RetentionRule.CREATED, period="P60D")
    policy = pb.RetentionPolicy(name=f"{desk.tenant}/retentionPolicy", rules=[rule])
    desk.SetRetentionPolicy(pb.SetRetentionPolicyRequest(policy=policy))
    kept = saved(desk, since(here.advance(40 * DAY)))
    deleted(desk, contact)
    here.holding.holder.sweep(TenantId(desk.tenant.rpartition("/")[2]), now=here.advance(31 * DAY))
    assert listed(desk, show_deleted=True) == []
    assert reviewed(desk, kept) == {}


def test_the_name_of_a_list_is_nowhere_in_the_clear(tmp_path: Path) -> None:
    opened = opened_on("sqlite", tmp_path)
    here = office(opened, tmp_path)
    saved(here.desk(), since(here.holding.now()), name="Zephyrine")
    opened.close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"Zephyrine" not in path.read_bytes()


def test_a_list_goes_with_its_tenant(here: Office, desk: Desk) -> None:
    person(desk)
    kept = saved(desk, since(here.advance(DAY)))
    tenant = TenantId(desk.tenant.rpartition("/")[2])
    here.holding.vault.close(tenant)
    with pytest.raises(Exception, match="closed"):
        desk.GetContactList(pb.GetContactListRequest(name=kept.name))
