"""Many contacts at once: the stale are found, exported, thrown away together, and taken back as one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField, RequestReused, ResourceMissing, TrashExpired
from tests.services.office import Desk, Office, deleted, fresh_id, listed, note, office, opened_on, person

DAY = timedelta(days=1)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def stale(**since: datetime) -> pb.Stale:
    message = pb.Stale()
    for field, at in since.items():
        getattr(message, f"not_{field}_since").FromDatetime(at.replace(tzinfo=None))
    return message


def thrown(desk: Desk, **said: Any) -> pb.TrashContactsResponse:
    request = pb.TrashContactsRequest(parent=desk.tenant, **{"request_id": fresh_id(), **said})
    answer: pb.TrashContactsResponse = desk.TrashContacts(request)
    return answer


def taken_back(desk: Desk, batch: str) -> int:
    request = pb.UndeleteBatchRequest(parent=desk.tenant, batch=batch, request_id=fresh_id())
    return int(desk.UndeleteBatch(request).records)


def called(desk: Desk, contact: pb.Contact) -> None:
    entry = pb.Entry(kind=pb.Entry.CALL, body="Rang.", direction=pb.Entry.OUTGOING)
    desk.CreateEntry(pb.CreateEntryRequest(parent=contact.name, entry=entry, request_id=fresh_id()))


def test_who_was_not_updated_opened_or_contacted_since_a_date_is_found(here: Office, desk: Desk) -> None:
    old, opened, contacted, updated = (person(desk, name) for name in ("Ada", "Bob", "Cyd", "Dan"))
    since = here.advance(2 * DAY)
    desk.GetContact(pb.GetContactRequest(name=opened.name))
    called(desk, contacted)
    change = pb.Contact(name=updated.name, person=pb.Person(given_name="Daniel"))
    request = pb.UpdateContactRequest(contact=change, request_id=fresh_id())
    request.update_mask.paths.append("person.given_name")
    desk.UpdateContact(request)
    here.holding.openings.flush()
    everybody = {old.name, opened.name, contacted.name, updated.name}
    assert set(listed(desk, stale=stale(updated=since))) == everybody - {updated.name}
    assert set(listed(desk, stale=stale(opened=since))) == everybody - {opened.name}
    assert set(listed(desk, stale=stale(contacted=since))) == everybody - {contacted.name}
    assert set(listed(desk, stale=stale(contacted=since, opened=since, updated=since))) == {old.name}
    records = pb.ExportContactsRequest.RECORDS
    export = pb.ExportContactsRequest(parent=desk.tenant, format=records, stale=stale(opened=since, updated=since))
    exported = {each.name for message in desk.ExportContacts(export) for each in message.records}
    assert exported == {old.name, contacted.name}


def test_an_opening_is_noted_once_a_day(here: Office, desk: Desk) -> None:
    contact = person(desk)
    before = here.advance(DAY)
    for _ in range(3):
        desk.GetContact(pb.GetContactRequest(name=contact.name))
    here.holding.openings.flush()
    assert listed(desk, stale=stale(opened=before - timedelta(seconds=1))) == []
    assert listed(desk, stale=stale(opened=here.holding.now() + DAY)) == [contact.name]


def test_the_stale_are_thrown_away_together_and_taken_back_as_one(here: Office, desk: Desk) -> None:
    gone = [person(desk, name) for name in ("Ada", "Bob")]
    note(desk, gone[0])
    long_gone = deleted(desk, person(desk, "Cyd"))
    since = here.advance(DAY)
    kept = person(desk, "Dan")
    answer = thrown(desk, stale=stale(updated=since))
    assert (answer.contacts, answer.remaining) == (2, 0)
    assert listed(desk) == [kept.name]
    assert taken_back(desk, answer.batch) == 3
    assert set(listed(desk)) == {kept.name, *(each.name for each in gone)}
    assert long_gone.name not in listed(desk)
    with pytest.raises(ResourceMissing):
        taken_back(desk, answer.batch)


def test_more_than_one_call_goes_into_one_batch(desk: Desk) -> None:
    first, second = person(desk, "Ada"), person(desk, "Bob")
    batch = thrown(desk, names=[first.name]).batch
    assert thrown(desk, names=[second.name, first.name], batch=batch).contacts == 1
    assert taken_back(desk, batch) == 2


def test_a_request_sent_again_has_one_effect_and_another_under_its_id_is_refused(desk: Desk) -> None:
    contact, other, again = person(desk, "Ada"), person(desk, "Bob"), fresh_id()
    answer = thrown(desk, names=[contact.name], request_id=again)
    taken_back(desk, answer.batch)
    assert thrown(desk, names=[contact.name], request_id=again) == answer
    assert contact.name in listed(desk)
    with pytest.raises(RequestReused):
        thrown(desk, names=[other.name], request_id=again)


def test_after_thirty_days_nothing_of_a_batch_comes_back(here: Office, desk: Desk) -> None:
    batch = thrown(desk, names=[person(desk).name]).batch
    here.advance(30 * DAY)
    with pytest.raises(TrashExpired):
        taken_back(desk, batch)


@pytest.mark.law("L1")
def test_neither_a_foreign_contact_nor_a_foreign_batch_is_there(here: Office, desk: Desk) -> None:
    other = here.desk()
    theirs = person(other)
    name = f"{desk.tenant}/contacts/{theirs.name.rpartition('/')[2]}"
    with pytest.raises(ResourceMissing):
        thrown(desk, names=[person(desk).name, name])
    assert len(listed(desk)) == 1
    batch = thrown(other, names=[theirs.name]).batch
    with pytest.raises(ResourceMissing):
        taken_back(desk, batch)
    assert taken_back(other, batch) == 1


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "names"),
        ({"stale": pb.Stale()}, "names"),
        ({"names": ["{}/contacts/c"], "stale": stale(updated=datetime(2026, 1, 1, tzinfo=UTC))}, "names"),
        ({"names": ["nobody"]}, "names[0]"),
        ({"names": ["{}/contacts/c"], "batch": "b1"}, "batch"),
    ],
)
def test_what_means_nobody_is_refused_with_its_field(desk: Desk, said: dict[str, Any], field: str) -> None:
    named = {**said, "names": [name.format(desk.tenant) for name in said.get("names", [])]}
    with pytest.raises(InvalidField) as refused:
        thrown(desk, **named)
    assert refused.value.field == field
