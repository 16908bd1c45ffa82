"""The history: entries hang on a living contact, come and go with it, and one by one without it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import (
    AlreadyLive,
    CardNumberFound,
    InvalidField,
    ResourceMissing,
    TrashExpired,
    VersionMismatch,
)
from tests.services.office import Desk, Office, deleted, fresh_id, note, office, opened_on, person, purged


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def bodies(desk: Desk, contact: pb.Contact, *, size: int = 50, show_deleted: bool = False) -> list[str]:
    found, token = [], ""
    while True:
        page = desk.ListEntries(
            pb.ListEntriesRequest(parent=contact.name, page_size=size, page_token=token, show_deleted=show_deleted)
        )
        found += [entry.body for entry in page.entries]
        token = page.next_page_token
        if not token:
            return found


def at(second: int) -> Timestamp:
    return Timestamp(seconds=1_700_000_000 + second)


def test_an_entry_is_answered_as_it_was_kept_and_its_author_is_who_wrote_it(here: Office, desk: Desk) -> None:
    seen = person(desk)
    writer = here.desk(desk.tenant.removeprefix("tenants/"), user="u7")
    kept = note(writer, seen, "Rang.\nTwice.", direction=pb.Entry.INCOMING, occur_time=at(0), subject_line="Order")
    assert kept.author == f"{desk.tenant}/users/u7"
    assert kept.name.startswith(f"{seen.name}/entries/")
    assert (kept.kind, kept.direction, kept.occur_time) == (pb.Entry.NOTE, pb.Entry.INCOMING, at(0))
    assert desk.GetEntry(pb.GetEntryRequest(name=kept.name)) == kept


def test_an_entry_that_does_not_say_when_it_was_is_of_now(here: Office, desk: Desk) -> None:
    before = here.holding.now()
    kept = note(desk, person(desk))
    assert before <= kept.occur_time.ToDatetime(tzinfo=before.tzinfo) <= here.holding.now()


@pytest.mark.parametrize("size", [1, 2, 50])
def test_the_history_is_listed_latest_first_whenever_it_was_written(desk: Desk, size: int) -> None:
    seen = person(desk)
    for second in (3, 1, 2):
        note(desk, seen, f"{second}", occur_time=at(second))
    note(desk, person(desk, "Bo"), "Somebody else's.", occur_time=at(4))
    assert bodies(desk, seen, size=size) == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (pb.Entry(body="x"), "entry.kind"),
        (pb.Entry(kind=pb.Entry.NOTE, body="\x07"), "entry.body"),
        (pb.Entry(kind=pb.Entry.NOTE, subject_line="a\nb"), "entry.subject_line"),
        (pb.Entry(kind=pb.Entry.NOTE, body="x" * 100_001), "entry.body"),
        (pb.Entry(kind=pb.Entry.NOTE, occur_time=Timestamp(seconds=1 << 60)), "entry.occur_time"),
        (pb.Entry(kind=pb.Entry.NOTE, occur_time=Timestamp(seconds=-(1 << 60))), "entry.occur_time"),
        (pb.Entry(kind=pb.Entry.NOTE, occur_time=Timestamp(nanos=-5)), "entry.occur_time"),
        (pb.Entry(kind=pb.Entry.Kind.ValueType(99)), "entry.kind"),
        (pb.Entry(kind=pb.Entry.NOTE, direction=pb.Entry.Direction.ValueType(99)), "entry.direction"),
    ],
)
def test_a_malformed_entry_is_refused_by_the_path_of_its_field(desk: Desk, entry: pb.Entry, field: str) -> None:
    seen = person(desk)
    with pytest.raises(InvalidField) as refused:
        desk.CreateEntry(pb.CreateEntryRequest(parent=seen.name, entry=entry))
    assert refused.value.field == field
    assert bodies(desk, seen) == []


def test_a_card_number_is_refused_when_it_is_written_and_when_it_is_edited_in(desk: Desk) -> None:
    seen = person(desk)
    kept = note(desk, seen, "Pays later.")
    with pytest.raises(CardNumberFound) as refused:
        note(desk, seen, "Pays with 4111-1111-1111-1111.")
    assert refused.value.field == "entry.body"
    sent = pb.Entry(name=kept.name, subject_line="4111111111111111")
    with pytest.raises(CardNumberFound) as refused:
        desk.UpdateEntry(pb.UpdateEntryRequest(entry=sent))
    assert refused.value.field == "entry.subject_line"
    assert bodies(desk, seen) == ["Pays later."]


def test_an_update_changes_what_its_mask_names_and_keeps_author_and_kind(desk: Desk) -> None:
    kept = note(desk, person(desk), "Rang.", subject_line="Order", occur_time=at(0))
    request = pb.UpdateEntryRequest(entry=pb.Entry(name=kept.name, body="Wrote.", subject_line="Other"))
    request.update_mask.paths.append("body")
    fresh = desk.UpdateEntry(request)
    assert (fresh.body, fresh.subject_line, fresh.author) == ("Wrote.", "Order", kept.author)
    assert fresh.etag != kept.etag
    request = pb.UpdateEntryRequest(entry=pb.Entry(name=kept.name, kind=pb.Entry.CALL))
    with pytest.raises(InvalidField) as refused:
        desk.UpdateEntry(request)
    assert refused.value.field == "entry.kind"


def test_an_entry_moved_in_time_is_listed_where_it_belongs(desk: Desk) -> None:
    seen = person(desk)
    first = note(desk, seen, "first", occur_time=at(1))
    note(desk, seen, "second", occur_time=at(2))
    desk.UpdateEntry(pb.UpdateEntryRequest(entry=pb.Entry(name=first.name, occur_time=at(3))))
    assert bodies(desk, seen) == ["first", "second"]


def test_a_stale_etag_is_refused(desk: Desk) -> None:
    kept = note(desk, person(desk))
    desk.UpdateEntry(pb.UpdateEntryRequest(entry=pb.Entry(name=kept.name, body="Fresh.")))
    with pytest.raises(VersionMismatch):
        desk.UpdateEntry(pb.UpdateEntryRequest(entry=pb.Entry(name=kept.name, body="Late.", etag=kept.etag)))
    with pytest.raises(VersionMismatch):
        desk.DeleteEntry(pb.DeleteEntryRequest(name=kept.name, etag=kept.etag))


@pytest.mark.law("L3")
def test_deleting_one_entry_leaves_the_contact_and_the_others_and_it_comes_back_as_it_was(desk: Desk) -> None:
    seen = person(desk)
    first, _ = note(desk, seen, "first", occur_time=at(1)), note(desk, seen, "second", occur_time=at(2))
    gone = desk.DeleteEntry(pb.DeleteEntryRequest(name=first.name))
    assert gone.state == pb.Entry.DELETED
    assert gone.purge_time.seconds - gone.delete_time.seconds == 30 * 24 * 3600
    assert bodies(desk, seen) == ["second"]
    assert bodies(desk, seen, show_deleted=True) == ["second", "first"]
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == seen
    with pytest.raises(ResourceMissing):
        desk.UpdateEntry(pb.UpdateEntryRequest(entry=pb.Entry(name=first.name, body="Late.")))
    with pytest.raises(ResourceMissing):
        desk.DeleteEntry(pb.DeleteEntryRequest(name=first.name))
    assert desk.UndeleteEntry(pb.UndeleteEntryRequest(name=first.name)) == first
    assert bodies(desk, seen) == ["second", "first"]
    with pytest.raises(AlreadyLive):
        desk.UndeleteEntry(pb.UndeleteEntryRequest(name=first.name))


@pytest.mark.law("L3")
def test_a_restored_contact_brings_back_what_was_thrown_away_with_it_and_nothing_else(desk: Desk) -> None:
    seen = person(desk)
    alone, _ = note(desk, seen, "alone", occur_time=at(1)), note(desk, seen, "together", occur_time=at(2))
    desk.DeleteEntry(pb.DeleteEntryRequest(name=alone.name))
    deleted(desk, seen)
    desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name))
    assert bodies(desk, seen) == ["together"]
    assert desk.UndeleteEntry(pb.UndeleteEntryRequest(name=alone.name)) == alone


def test_the_history_of_a_contact_in_the_trash_is_not_touched(desk: Desk) -> None:
    seen = person(desk)
    kept, alone = note(desk, seen), note(desk, seen, "alone")
    desk.DeleteEntry(pb.DeleteEntryRequest(name=alone.name))
    deleted(desk, seen)
    for act in (
        lambda: note(desk, seen),
        lambda: desk.UpdateEntry(pb.UpdateEntryRequest(entry=pb.Entry(name=kept.name, body="Late."))),
        lambda: desk.DeleteEntry(pb.DeleteEntryRequest(name=kept.name)),
        lambda: desk.UndeleteEntry(pb.UndeleteEntryRequest(name=alone.name)),
    ):
        with pytest.raises(ResourceMissing):
            act()
    assert sorted(bodies(desk, seen, show_deleted=True)) == ["Rang.", "alone"]


@pytest.mark.law("L1")
def test_an_entry_is_there_under_its_own_contact_only(desk: Desk) -> None:
    seen, other = person(desk), person(desk, "Bo")
    kept = note(desk, seen)
    identifier = kept.name.rpartition("/")[2]
    told = set()
    for name in (f"{other.name}/entries/{identifier}", f"{seen.name}/entries/nunknown"):
        with pytest.raises(ResourceMissing) as missing:
            desk.GetEntry(pb.GetEntryRequest(name=name))
        told.add(str(missing.value))
    assert len(told) == 1
    with pytest.raises(ResourceMissing):
        desk.GetContact(pb.GetContactRequest(name=f"{desk.tenant}/contacts/{identifier}"))


def test_after_the_erasure_no_entry_can_be_read(desk: Desk) -> None:
    seen = person(desk)
    kept = note(desk, seen)
    purged(desk, seen)
    with pytest.raises(ResourceMissing):
        desk.GetEntry(pb.GetEntryRequest(name=kept.name))


@pytest.mark.law("L9")
def test_an_entry_created_twice_under_one_request_id_is_there_once(desk: Desk) -> None:
    seen = person(desk)
    entry = pb.Entry(kind=pb.Entry.NOTE, body="Once.")
    request = pb.CreateEntryRequest(parent=seen.name, entry=entry, request_id=fresh_id())
    assert desk.CreateEntry(request) == desk.CreateEntry(request)
    assert bodies(desk, seen) == ["Once."]


@pytest.mark.law("L2")
def test_nothing_is_taken_back_when_its_time_in_the_trash_is_over(here: Office, desk: Desk) -> None:
    seen, other = person(desk), person(desk)
    alone = note(desk, other, "alone")
    deleted(desk, seen)
    desk.DeleteEntry(pb.DeleteEntryRequest(name=alone.name))
    here.advance(timedelta(days=30))
    for take_back in (
        lambda: desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name)),
        lambda: desk.UndeleteEntry(pb.UndeleteEntryRequest(name=alone.name)),
    ):
        with pytest.raises(TrashExpired):
            take_back()
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)).state == pb.Contact.DELETED
