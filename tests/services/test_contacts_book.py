"""The address book: what is kept is found, listed, changed, thrown away and taken back, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import (
    AlreadyLive,
    CapsuleError,
    CardNumberFound,
    InvalidField,
    PageTokenInvalid,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    SubjectErased,
    VersionMismatch,
)
from capsule_core.ledger import Leaf
from capsule_core.roles import Role
from tests.services.office import (
    Desk,
    Office,
    deleted,
    found,
    fresh_id,
    fresh_tenant,
    import_messages,
    listed,
    note,
    numbered_id,
    office,
    opened_on,
    person,
    purged,
)

CARD = "4111 1111 1111 1111"
PHOTO_CARD = (
    b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nN:;Ada;;;\r\nPHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgo=\r\nEND:VCARD\r\n"
)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def updating(contact: pb.Contact, *paths: str, etag: str = "", **fields: Any) -> pb.UpdateContactRequest:
    sent = pb.Contact(name=contact.name, etag=etag, **fields)
    request = pb.UpdateContactRequest(contact=sent, request_id=fresh_id())
    request.update_mask.paths.extend(paths)
    return request


def test_a_contact_is_answered_as_it_was_kept(desk: Desk) -> None:
    kept = person(desk, "Ada", family_name="Quill", emails=[pb.Email(address="ada@example.org")], tags=["friends"])
    assert desk.GetContact(pb.GetContactRequest(name=kept.name)) == kept
    assert (kept.state, kept.source, kept.display_name) == (pb.Contact.ACTIVE, pb.Contact.USER, "Ada Quill")
    assert kept.owner == f"{desk.tenant}/users/u1"
    assert not kept.has_photo
    assert not kept.HasField("delete_time")


def test_what_only_the_server_says_is_not_taken_from_a_caller(desk: Desk) -> None:
    contact = pb.Contact(
        person=pb.Person(given_name="Ada"),
        name=f"{desk.tenant}/contacts/cmine",
        display_name="Somebody else",
        state=pb.Contact.DELETED,
        source=pb.Contact.WEBSITE,
        has_photo=True,
    )
    kept = desk.CreateContact(pb.CreateContactRequest(parent=desk.tenant, contact=contact))
    assert not kept.name.endswith("cmine")
    assert (kept.display_name, kept.state, kept.source) == ("Ada", pb.Contact.ACTIVE, pb.Contact.USER)
    assert not kept.has_photo


@pytest.mark.parametrize(
    ("contact", "field"),
    [
        (pb.Contact(), "contact.person"),
        (pb.Contact(person=pb.Person()), "contact.display_name"),
        (pb.Contact(emails=[pb.Email(address="ada@example.org")]), "contact.person"),
        (pb.Contact(person=pb.Person(given_name="Ada", birthday="1999-02-30")), "contact.person.birthday"),
        (pb.Contact(person=pb.Person(given_name="A\nda")), "contact.person.given_name"),
        (pb.Contact(person=pb.Person(given_name="Ada", honorific_prefix="x" * 501)), "contact.person.honorific_prefix"),
        (pb.Contact(organisation=pb.Organisation(display_name="\x07")), "contact.organisation.display_name"),
        (
            pb.Contact(person=pb.Person(given_name="Ada"), emails=[pb.Email(address="a@b.cc"), pb.Email(address="@")]),
            "contact.emails[1].address",
        ),
        (
            pb.Contact(person=pb.Person(given_name="Ada"), custom_fields=[pb.CustomField(key="k", value="\x00")]),
            "contact.custom_fields[0].value",
        ),
        (
            pb.Contact(person=pb.Person(given_name="Ada"), custom_fields=[pb.CustomField(key="k", value="\x1b")]),
            "contact.custom_fields[0].value",
        ),
        (pb.Contact(person=pb.Person(given_name="Ada"), tags=[" "]), "contact.tags[0]"),
        (pb.Contact(person=pb.Person(given_name="Ada"), tags=["t"] * 101), "contact.tags"),
    ],
)
def test_a_malformed_contact_is_refused_by_the_path_of_its_field(desk: Desk, contact: pb.Contact, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        desk.CreateContact(pb.CreateContactRequest(parent=desk.tenant, contact=contact))
    assert refused.value.field == field
    assert listed(desk) == []


def test_an_owner_must_be_a_user_of_the_same_tenant(desk: Desk) -> None:
    with pytest.raises(InvalidField) as refused:
        person(desk, owner=f"{desk.tenant}/contacts/c1")
    assert refused.value.field == "contact.owner"
    with pytest.raises(PermissionDenied):
        person(desk, owner="tenants/other/users/u1")


@pytest.mark.parametrize(
    ("contact", "field"),
    [
        (pb.Contact(person=pb.Person(given_name="Ada"), about=f"Pays with {CARD}"), "contact.about"),
        (pb.Contact(person=pb.Person(given_name=CARD)), "contact.person.given_name"),
        (
            pb.Contact(person=pb.Person(given_name="Ada"), custom_fields=[pb.CustomField(key="Card", value=CARD)]),
            "contact.custom_fields[0].value",
        ),
    ],
)
def test_a_card_number_is_refused_by_the_path_of_its_field(desk: Desk, contact: pb.Contact, field: str) -> None:
    with pytest.raises(CardNumberFound) as refused:
        desk.CreateContact(pb.CreateContactRequest(parent=desk.tenant, contact=contact))
    assert refused.value.field == field
    assert CARD not in str(refused.value)
    assert listed(desk) == []


def test_lists_filter_by_owner_tag_and_organisation_and_by_all_of_them_at_once(desk: Desk) -> None:
    mine = person(desk, "Ada", tags=["friends", "press"], organisation_name="Larkspur & Daughters")
    theirs = person(desk, "Bo", tags=["friends"], owner=f"{desk.tenant}/users/u2", organisation_name="Larkspur")
    firm = desk.CreateContact(
        pb.CreateContactRequest(
            parent=desk.tenant,
            contact=pb.Contact(organisation=pb.Organisation(display_name="Larkspur"), tags=["press"]),
        )
    )
    assert listed(desk) == [firm.name, theirs.name, mine.name]
    assert listed(desk, tag="friends") == [theirs.name, mine.name]
    assert listed(desk, owner=f"{desk.tenant}/users/u2") == [theirs.name]
    assert listed(desk, organisation="larkspur") == [theirs.name]
    assert listed(desk, organisation="LARKSPUR & daughters") == [mine.name]
    assert listed(desk, tag="press", owner=f"{desk.tenant}/users/u1") == [firm.name, mine.name]
    assert listed(desk, tag="friends", organisation="Larkspur", owner=f"{desk.tenant}/users/u1") == []
    assert listed(desk, tag="nobody has it") == []


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_every_page_size_lists_everybody_once_and_newest_first(desk: Desk, size: int) -> None:
    kept = [person(desk, f"Ada{number}", tags=["t"]).name for number in range(5)]
    assert listed(desk, page_size=size) == kept[::-1]
    assert listed(desk, page_size=size, tag="t") == kept[::-1]


def test_a_filter_that_drops_records_still_fills_pages_and_ends(desk: Desk) -> None:
    kept = [person(desk, f"A{n}", organisation_name="Lark" if n % 2 else "Larkspur").name for n in range(6)]
    assert listed(desk, page_size=2, organisation="Lark") == kept[5::-2]


def test_a_page_token_is_refused_with_other_arguments_and_by_another_tenant(here: Office, desk: Desk) -> None:
    for number in range(3):
        person(desk, f"Ada{number}")
    token = desk.ListContacts(pb.ListContactsRequest(parent=desk.tenant, page_size=1)).next_page_token
    other = here.desk()
    for asking, request in (
        (desk, pb.ListContactsRequest(parent=desk.tenant, page_token=token, tag="t")),
        (desk, pb.ListContactsRequest(parent=desk.tenant, page_token=token, show_deleted=True)),
        (desk, pb.ListContactsRequest(parent=desk.tenant, page_token=f"{token}A")),
        (other, pb.ListContactsRequest(parent=other.tenant, page_token=token)),
    ):
        with pytest.raises(PageTokenInvalid):
            asking.ListContacts(request)


def test_somebody_is_found_by_address_by_number_in_any_spelling_and_by_beginnings_of_names(desk: Desk) -> None:
    ada = person(
        desk,
        "Zephyra",
        family_name="Журавлёва",
        emails=[pb.Email(address="Zeph@Example.org")],
        phones=[pb.Phone(number="020 7946 0958")],
    ).name
    person(desk, "Bo", emails=[pb.Email(address="bo@example.org")])
    assert found(desk, email="zeph@EXAMPLE.org") == [ada]
    for spelling in ("+44 20 7946 0958", "0044 (20) 79460958", "020-7946-0958"):
        assert found(desk, phone=spelling) == [ada], spelling
    for beginning in ("zeph", "ЖУРАВ", "Журавлева zephyr"):
        assert found(desk, name_prefix=beginning) == [ada], beginning
    assert found(desk, name_prefix="ephyra") == []
    assert found(desk, email="nobody@example.org") == []


@pytest.mark.parametrize(
    ("by", "field"),
    [
        ({}, "query"),
        ({"email": "no address"}, "email"),
        ({"phone": "x"}, "phone"),
        ({"name_prefix": "!!"}, "name_prefix"),
    ],
)
def test_a_search_for_nothing_that_could_be_found_is_refused(desk: Desk, by: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        found(desk, **by)
    assert refused.value.field == field


def test_an_update_changes_what_its_mask_names_and_nothing_else(desk: Desk) -> None:
    seen = person(desk, "Ada", family_name="Quill", job_title="Poet", tags=["a"])
    fresh = desk.UpdateContact(
        updating(seen, "person.job_title", person=pb.Person(given_name="Eve", job_title="Editor"), tags=["b"])
    )
    assert (fresh.person.given_name, fresh.person.job_title, list(fresh.tags)) == ("Ada", "Editor", ["a"])
    assert fresh.etag != seen.etag
    assert fresh.create_time == seen.create_time
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == fresh


def test_an_update_is_found_by_its_new_name_and_no_more_by_the_old(desk: Desk) -> None:
    seen = person(desk, "Perpetua")
    desk.UpdateContact(updating(seen, "person.given_name", person=pb.Person(given_name="Ximena")))
    assert (found(desk, name_prefix="perpet"), found(desk, name_prefix="xim")) == ([], [seen.name])


def test_a_mask_that_names_no_field_is_refused_by_its_place(desk: Desk) -> None:
    seen = person(desk)
    with pytest.raises(InvalidField) as refused:
        desk.UpdateContact(updating(seen, "about", "person.shoe_size", person=pb.Person(given_name="Eve")))
    assert refused.value.field == "update_mask.paths[1]"


@pytest.mark.parametrize("act", ["update", "delete", "undelete", "purge"])
def test_a_stale_etag_is_refused_and_nothing_changes(desk: Desk, act: str) -> None:
    seen = person(desk)
    stale = seen.etag
    desk.UpdateContact(updating(seen, "about", about="Fresher."))
    if act in {"undelete", "purge"}:
        deleted(desk, seen)
    now = desk.GetContact(pb.GetContactRequest(name=seen.name))
    acts: dict[str, Callable[[], object]] = {
        "update": lambda: desk.UpdateContact(updating(seen, "about", etag=stale, about="Late.")),
        "delete": lambda: desk.DeleteContact(pb.DeleteContactRequest(name=seen.name, etag=stale)),
        "undelete": lambda: desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name, etag=stale)),
        "purge": lambda: desk.PurgeContact(pb.PurgeContactRequest(name=seen.name, etag=stale, confirm=True)),
    }
    with pytest.raises(VersionMismatch):
        acts[act]()
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == now


def test_a_person_never_becomes_an_organisation(desk: Desk) -> None:
    seen = person(desk, emails=[pb.Email(address="ada@example.org")])
    firm = pb.Organisation(display_name="Larkspur")
    with pytest.raises(InvalidField) as refused:
        desk.UpdateContact(updating(seen, "organisation", organisation=firm))
    assert refused.value.field == "contact.organisation"
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == seen


def test_what_is_deleted_is_gone_from_lists_and_search_and_says_when_it_is_destroyed(desk: Desk) -> None:
    seen = person(desk, "Zephyra")
    gone = deleted(desk, seen)
    assert gone.state == pb.Contact.DELETED
    assert gone.purge_time.ToDatetime() - gone.delete_time.ToDatetime() == timedelta(hours=30 * 24)
    assert (listed(desk), found(desk, name_prefix="zeph")) == ([], [])
    assert listed(desk, show_deleted=True) == [seen.name]
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == gone


def test_what_is_in_the_trash_is_neither_changed_nor_deleted_again(desk: Desk) -> None:
    seen = person(desk)
    deleted(desk, seen)
    with pytest.raises(ResourceMissing):
        deleted(desk, seen)
    with pytest.raises(ResourceMissing):
        desk.UpdateContact(updating(seen, "about", about="Late."))


@pytest.mark.law("L3")
def test_what_is_restored_is_the_same_field_for_field_and_found_again(desk: Desk) -> None:
    seen = person(desk, "Zephyra", emails=[pb.Email(address="z@example.org")], tags=["t"])
    deleted(desk, seen)
    back = desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name))
    assert back == seen
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == seen
    assert found(desk, email="z@example.org") == listed(desk, tag="t") == [seen.name]


def test_what_is_not_in_the_trash_cannot_be_taken_back(desk: Desk) -> None:
    with pytest.raises(AlreadyLive):
        desk.UndeleteContact(pb.UndeleteContactRequest(name=person(desk).name))


def test_a_photo_is_answered_only_under_the_name_of_its_own_contact(desk: Desk) -> None:
    desk.ImportContacts(import_messages(desk, PHOTO_CARD, pb.ImportContactsRequest.VCARD))
    name = listed(desk)[0]
    assert desk.GetContact(pb.GetContactRequest(name=name)).has_photo
    assert desk.GetPhoto(pb.GetPhotoRequest(name=f"{name}/photo")).content == b"\x89PNG\r\n\x1a\n"
    alias = name.replace("/contacts/c", "/contacts/x")
    with pytest.raises(ResourceMissing):
        desk.GetPhoto(pb.GetPhotoRequest(name=f"{alias}/photo"))
    with pytest.raises(InvalidField):
        desk.GetPhoto(pb.GetPhotoRequest(name=name))
    with pytest.raises(ResourceMissing):
        desk.GetPhoto(pb.GetPhotoRequest(name=f"{person(desk).name}/photo"))


@pytest.mark.parametrize("method", ["GetContact", "DeleteContact", "UndeleteContact", "PrintContact", "PurgeContact"])
def test_the_name_of_a_photo_is_not_the_name_of_a_contact(desk: Desk, method: str) -> None:
    seen = person(desk)
    with pytest.raises(InvalidField) as refused:
        getattr(desk, method)(getattr(pb, f"{method}Request")(name=f"{seen.name}/photo"))
    assert refused.value.field == "name"
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == seen


@pytest.mark.law("L5")
def test_whoever_comes_late_is_told_that_the_person_was_erased(desk: Desk) -> None:
    seen = person(desk)
    purged(desk, seen)
    with pytest.raises(SubjectErased):
        desk.UpdateContact(updating(seen, "about", about="Late."))
    with pytest.raises(SubjectErased):
        deleted(desk, seen)
    with pytest.raises(SubjectErased):
        desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name))
    with pytest.raises(SubjectErased):
        note(desk, seen)
    assert listed(desk, show_deleted=True) == []


def leaves(here: Office) -> int:
    return here.holding.ledger.head().size


def acting(desk: Desk, method: str) -> tuple[Callable[[str], Any], Callable[[str], Any]]:
    """Return what asks for a change under a request id, and what asks for another one under it."""
    seen, other = person(desk, "Ada"), person(desk, "Bo")
    entry, further = note(desk, seen, "One."), note(desk, seen, "Two.")
    if method in {"UndeleteContact", "PurgeContact"}:
        deleted(desk, seen), deleted(desk, other)
    if method == "UndeleteEntry":
        for each in (entry, further):
            desk.DeleteEntry(pb.DeleteEntryRequest(name=each.name))

    def asked(contact: pb.Contact, note: pb.Entry, text: str) -> Callable[[str], Any]:
        messages: dict[str, Any] = {
            "CreateContact": pb.CreateContactRequest(
                parent=desk.tenant, contact=pb.Contact(person=pb.Person(given_name=text))
            ),
            "UpdateContact": pb.UpdateContactRequest(contact=pb.Contact(name=contact.name, about=text)),
            "DeleteContact": pb.DeleteContactRequest(name=contact.name),
            "UndeleteContact": pb.UndeleteContactRequest(name=contact.name),
            "PurgeContact": pb.PurgeContactRequest(name=contact.name, confirm=True),
            "CreateEntry": pb.CreateEntryRequest(parent=contact.name, entry=pb.Entry(kind=pb.Entry.NOTE, body=text)),
            "UpdateEntry": pb.UpdateEntryRequest(entry=pb.Entry(name=note.name, body=text)),
            "DeleteEntry": pb.DeleteEntryRequest(name=note.name),
            "UndeleteEntry": pb.UndeleteEntryRequest(name=note.name),
        }

        def ask(request_id: str) -> Any:
            message = messages[method]
            message.request_id = request_id
            return getattr(desk, method)(message)

        return ask

    return asked(seen, entry, "First."), asked(other, further, "Second.")


MUTATORS = [
    "CreateContact",
    "UpdateContact",
    "DeleteContact",
    "UndeleteContact",
    "PurgeContact",
    "CreateEntry",
    "UpdateEntry",
    "DeleteEntry",
    "UndeleteEntry",
]


@pytest.mark.law("L9")
@pytest.mark.parametrize("method", MUTATORS)
def test_one_request_id_has_one_effect_and_one_answer_and_another_body_is_refused(
    here: Office, desk: Desk, method: str
) -> None:
    ask, ask_other = acting(desk, method)
    named = fresh_id()
    answer, after = ask(named), leaves(here)
    assert ask(named) == ask(named) == answer
    assert leaves(here) == after
    with pytest.raises(RequestReused):
        ask_other(named)
    assert leaves(here) == after


@pytest.mark.law("L9")
@pytest.mark.parametrize("method", MUTATORS)
def test_a_request_id_means_something_else_from_somebody_else(here: Office, method: str) -> None:
    tenant = fresh_tenant()
    named = fresh_id()
    first, _ = acting(here.desk(tenant), method)
    second, _ = acting(here.desk(tenant, user="u2"), method)
    before, theirs = first(named), second(named)
    assert before != theirs


@pytest.mark.law("L9")
@given(sent=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["Ada", "Bo"])), max_size=12))
def test_however_requests_are_repeated_each_id_makes_one_contact(here: Office, sent: list[tuple[int, str]]) -> None:
    desk, first = here.desk(), dict[int, tuple[str, Any]]()
    for number, given_name in sent:
        contact = pb.Contact(person=pb.Person(given_name=given_name))
        request = pb.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=numbered_id(number))
        if number in first and first[number][0] != given_name:
            with pytest.raises(RequestReused):
                desk.CreateContact(request)
        else:
            answer = desk.CreateContact(request)
            assert first.setdefault(number, (given_name, answer))[1] == answer
    assert sorted(listed(desk)) == sorted(answer.name for _, answer in first.values())


@pytest.mark.law("L9")
def test_an_update_that_changes_nothing_takes_its_request_id_as_any_other(desk: Desk) -> None:
    seen, named = person(desk, about="Same."), fresh_id()
    request = pb.UpdateContactRequest(contact=pb.Contact(name=seen.name, about="Same."), request_id=named)
    assert desk.UpdateContact(request) == seen
    request.contact.about = "Other."
    with pytest.raises(RequestReused):
        desk.UpdateContact(request)
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == seen


@pytest.mark.law("L9")
def test_a_create_repeated_after_the_erasure_brings_nobody_back(desk: Desk) -> None:
    contact = pb.Contact(person=pb.Person(given_name="Ada"))
    request = pb.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=fresh_id())
    purged(desk, desk.CreateContact(request))
    with pytest.raises(SubjectErased):
        desk.CreateContact(request)
    assert listed(desk, show_deleted=True) == []


@pytest.mark.law("L8")
def test_each_change_leaves_one_leaf_that_names_it_and_a_refused_one_leaves_none(here: Office, desk: Desk) -> None:
    before = leaves(here)
    seen = person(desk)
    desk.UpdateContact(updating(seen, "about", about="Fresh."))
    deleted(desk, seen)
    desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name))
    with pytest.raises(CapsuleError):
        desk.UndeleteContact(pb.UndeleteContactRequest(name=seen.name))
    acts = [Leaf.decode(data).act for data in here.holding.ledger.read(before, 100)]
    assert acts == [
        "contacts.CreateContact",
        "contacts.UpdateContact",
        "contacts.DeleteContact",
        "contacts.UndeleteContact",
    ]


def test_every_answer_with_a_person_in_it_was_logged_before(here: Office, desk: Desk) -> None:
    reads = here.holding.reads.ledger
    seen = person(desk, "Zephyra")
    before = reads.head().size
    desk.GetContact(pb.GetContactRequest(name=seen.name))
    listed(desk)
    found(desk, name_prefix="zeph")
    desk.PrintContact(pb.PrintContactRequest(name=seen.name))
    acts = [Leaf.decode(data).act for data in reads.read(before, 100)]
    assert acts == [
        "contacts.GetContact",
        "contacts.ListContacts",
        "contacts.SearchContacts",
        "contacts.PrintContact",
    ]


@pytest.mark.law("L13")
@pytest.mark.parametrize(
    ("role", "method"),
    [
        (Role.RESTRICTED, "CreateContact"),
        (Role.STANDARD, "ImportContacts"),
        (Role.STANDARD, "PurgeContact"),
        (Role.ADMINISTRATOR, "PurgeContact"),
    ],
)
def test_whoever_lacks_the_permission_is_refused_before_anything_is_looked_at(
    here: Office, role: Role, method: str
) -> None:
    request: Any = {
        "CreateContact": pb.CreateContactRequest(),
        "ImportContacts": [],
        "PurgeContact": pb.PurgeContactRequest(),
    }[method]
    with pytest.raises(PermissionDenied):
        getattr(here.desk(role=role), method)(request)


@pytest.mark.law("L1")
def test_what_one_tenant_does_is_not_seen_by_another(here: Office) -> None:
    ours, theirs = here.desk(), here.desk()
    seen = person(ours, "Zephyra", emails=[pb.Email(address="z@example.org")], tags=["t"])
    identifier = seen.name.rpartition("/")[2]
    assert (listed(theirs), found(theirs, email="z@example.org"), listed(theirs, tag="t")) == ([], [], [])
    answers = set()
    for name in (identifier, "cunknown"):
        with pytest.raises(ResourceMissing) as missing:
            theirs.GetContact(pb.GetContactRequest(name=f"{theirs.tenant}/contacts/{name}"))
        answers.add(str(missing.value))
    assert len(answers) == 1
    for name in (seen.name, f"{ours.tenant}/contacts/cunknown", "tenants/nobody/contacts/cunknown"):
        with pytest.raises(PermissionDenied) as denied:
            theirs.GetContact(pb.GetContactRequest(name=name))
        answers.add(str(denied.value))
    assert len(answers) == 2


def test_a_telephone_number_that_is_none_is_refused_by_its_path(desk: Desk) -> None:
    seen = person(desk, phones=[pb.Phone(number="tel:+44-20-7946-0958")])
    wrong = [pb.Phone(number="+44 20 7946 0958"), pb.Phone(number="ask at the desk")]
    for come in (
        lambda: person(desk, phones=wrong),
        lambda: desk.UpdateContact(updating(seen, "phones", phones=wrong)),
    ):
        with pytest.raises(InvalidField) as refused:
            come()
        assert refused.value.field == "contact.phones[1].number"
    assert found(desk, phone="+44 20 7946 0958") == [seen.name]
