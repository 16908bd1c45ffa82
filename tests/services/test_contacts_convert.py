"""What is on the wire and what is kept say the same, both ways; what cannot be kept is refused by its path."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import attrs
import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2
from capsule_core.contacts import Contact, Entry
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.holder import Collected, Done, Identifier, Match, Order
from capsule_core.kept import Kept
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.records import Slot, Trash
from capsule_core.statements import Outcome
from capsule_core.testing import strategies as the
from capsule_services.contacts import names
from capsule_services.contacts.book.convert import changed_from, contact_from, contact_to, content_to
from capsule_services.contacts.history.convert import entry_from, entry_to
from capsule_services.privacy.erasures.convert import erasure_name, parsed_erasure
from capsule_services.runtime.holders import convert

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
TENANT = TenantId("acme")
_DAYS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999)


def text() -> st.SearchStrategy[str]:
    """Anything that a proto3 string can hold, and what somebody might really type."""
    return st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | the.names() | st.just("")


def exists(descriptor: Descriptor, path: str) -> bool:
    """Tell whether *path* leads to a field of the message."""
    name, _, rest = path.partition(".")
    field = descriptor.fields_by_name.get(re.sub(r"\[[0-9]+\]$", "", name))
    if field is None or (name.endswith("]") and not field.is_repeated):
        return False
    return not rest or (field.message_type is not None and exists(field.message_type, rest))


def labelled(kind: type, field: str) -> st.SearchStrategy[object]:
    return st.builds(kind, **{field: text() | the.email_addresses(), "label": text()})


def contact_messages() -> st.SearchStrategy[pb.Contact]:
    some = {"max_size": 2}
    party = st.fixed_dictionaries({}) | st.fixed_dictionaries(
        {"person": st.builds(pb.Person, **{field.name: text() for field in pb.Person.DESCRIPTOR.fields})}
    )
    party |= st.fixed_dictionaries({"organisation": st.builds(pb.Organisation, display_name=text())})
    rest = st.fixed_dictionaries(
        {
            "emails": st.lists(labelled(pb.Email, "address"), **some),
            "phones": st.lists(labelled(pb.Phone, "number"), **some),
            "addresses": st.lists(
                st.builds(pb.PostalAddress, **{field.name: text() for field in pb.PostalAddress.DESCRIPTOR.fields}),
                **some,
            ),
            "websites": st.lists(labelled(pb.Website, "uri"), **some),
            "tags": st.lists(text(), **some),
            "custom_fields": st.lists(st.builds(pb.CustomField, key=text(), value=text() | the.card_numbers()), **some),
            "about": text() | the.card_numbers(),
            "owner": text() | st.just("tenants/acme/users/u1"),
        }
    )
    return st.tuples(party, rest).map(lambda parts: pb.Contact(**parts[0], **parts[1]))


def bare(contact: Contact) -> Contact:
    """What the wire does not carry in the content."""
    return attrs.evolve(contact, id="", owner="", source="user")


def free_of_cards(contact: Contact) -> bool:
    try:
        contact_from(content_to(contact))
    except CardNumberFound:
        return False
    return True


@given(the.contacts().filter(free_of_cards))
def test_a_contact_comes_back_from_the_wire_as_it_went(contact: Contact) -> None:
    assert contact_from(content_to(contact)) == bare(contact)
    assert changed_from(content_to(contact), contact) == attrs.evolve(contact, owner="")


@given(contact_messages())
def test_any_contact_on_the_wire_is_one_or_is_refused_by_a_path_that_exists(message: pb.Contact) -> None:
    try:
        contact = contact_from(message)
    except (InvalidField, CardNumberFound) as refused:
        path = refused.field.removeprefix("contact.")
        assert refused.field != path
        assert exists(pb.Contact.DESCRIPTOR, path), refused.field
    else:
        again = content_to(contact)
        assert contact_from(again) == attrs.evolve(contact, owner="")


@given(the.contacts(), st.booleans(), _DAYS, _DAYS)
def test_an_answer_says_of_a_contact_what_is_kept(
    contact: Contact, trashed: bool, made: datetime, until: datetime
) -> None:
    contact = attrs.evolve(contact, source="import")
    trash = Trash(batch="b1", at=made, until=until) if trashed else None
    answer = contact_to(_kept(contact, "person", contact.id, made, trash))
    assert answer.name == names.contact_name(TENANT, contact.id)
    assert names.parsed_contact(answer.name) == contact.id
    assert names.parsed_user(answer.owner, field="owner") == contact.owner
    assert (answer.state == pb.Contact.DELETED) == answer.HasField("purge_time") == trashed
    assert answer.create_time.ToDatetime(tzinfo=UTC) == made
    assert answer.display_name


def _kept(content: object, kind: str, name: str, made: datetime, trash: Trash | None) -> Kept:
    return Kept(
        tenant=TENANT,
        kind=kind,
        id=RecordId(name),
        root=RecordId("c1"),
        subject=SubjectKey("c1"),
        slot=Slot(1, 1),
        version=1,
        at=made,
        created=made,
        updated=made,
        trash=trash,
        content=content,
    )


@given(the.entries(), _DAYS)
def test_an_entry_comes_back_from_the_wire_as_it_went(entry: Entry, made: datetime) -> None:
    message = entry_to(_kept(entry, "entry", entry.id, made, None))
    try:
        back = entry_from(message, now=NOW)
    except CardNumberFound as refused:
        assert refused.field in {"entry.body", "entry.subject_line"}
    else:
        assert back == attrs.evolve(entry, id="", contact="", author="", occurred_at=back.occurred_at)
        assert datetime.fromisoformat(back.occurred_at) == datetime.fromisoformat(entry.occurred_at)


@given(
    st.builds(
        pb.Entry,
        kind=st.sampled_from(pb.Entry.Kind.values()),
        direction=st.sampled_from(pb.Entry.Direction.values()),
        subject_line=text(),
        body=text() | the.card_numbers(),
    ),
    st.none() | st.tuples(st.integers(-(1 << 62), 1 << 62) | st.integers(0, 1 << 33), st.integers(-5, 1 << 30)),
)
def test_any_entry_on_the_wire_is_one_or_is_refused_by_a_path_that_exists(
    message: pb.Entry, when: tuple[int, int] | None
) -> None:
    if when is not None:
        message.occur_time.seconds, message.occur_time.nanos = when
    try:
        entry = entry_from(message, now=NOW)
    except (InvalidField, CardNumberFound) as refused:
        assert exists(pb.Entry.DESCRIPTOR, refused.field.removeprefix("entry."))
    else:
        assert when is not None or entry.occurred_at == "2026-05-04T09:30:00Z"


@given(the.ids(), the.ids(letter="n"))
def test_names_come_apart_as_they_were_put_together(contact: str, entry: str) -> None:
    assert names.parsed_contact(names.contact_name(TENANT, contact)) == contact
    assert names.parsed_entry(names.entry_name(TENANT, contact, entry)) == (contact, entry)
    assert names.parsed_photo(f"{names.contact_name(TENANT, contact)}/photo") == contact
    assert parsed_erasure(erasure_name(TENANT, entry)) == entry


@given(st.text(max_size=40))
def test_what_is_no_name_is_refused_by_its_field(name: str) -> None:
    for parse in (names.parsed_contact, names.parsed_photo, names.parsed_entry):
        with pytest.raises(InvalidField) as refused:
            parse(name, field="where")
        assert refused.value.field == "where"


@pytest.mark.parametrize("tail", ["", "/", "/photo/", "\n", "/entries", "/../c2", " ", "%2f"])
def test_a_name_with_something_behind_it_is_not_the_name(tail: str) -> None:
    name = f"tenants/acme/contacts/c1{tail}"
    if tail:
        with pytest.raises(InvalidField):
            names.parsed_contact(name)


@given(st.sampled_from(list(Order)), st.sampled_from([Form.EMAIL, Form.PHONE, Form.TEXT]), st.text(max_size=9))
def test_orders_and_identifiers_come_back_from_the_wire_as_they_went(order: Order, form: Form, value: str) -> None:
    assert convert.order_from(convert.order_to(order)) is order
    identifier = Identifier(form, value)
    assert convert.identifier_from(convert.identifier_to(identifier), "identifiers[0]") == identifier


@given(
    the.ids(), st.lists(st.integers(0, 99), max_size=3), st.integers(0, 1 << 40), st.binary(max_size=20), st.booleans()
)
def test_what_a_holder_tells_comes_back_from_the_wire_as_it_went(
    subject: str, places: list[int], records: int, content: bytes, provided: bool
) -> None:
    match = Match(subject=SubjectKey(subject), identifiers=tuple(places), records=records)
    assert convert.match_from(convert.match_to(TENANT, match)) == match
    collected = Collected(
        id=RecordId(subject),
        subject=SubjectKey(subject),
        kind="person",
        media_type="application/json",
        content=content,
        provided=provided,
    )
    for together in (0, 1, 3):
        written = list(convert.collections_to(TENANT, [collected] * 7, together=together, token="t"))
        assert list(convert.collected_from(written)) == [collected] * 7
        assert [message.next_page_token for message in written] == [*[""] * (len(written) - 1), "t"]
        assert {len(message.records) for message in written} <= {together, 1, 0}
        assert all(message.HasField("record") for message in written) == (together == 0)
    omitted = holder_pb2.CollectResponse(omission=holder_pb2.CollectResponse.Omission(count=1))
    assert list(convert.collected_from([omitted])) == []
    for outcome in (Outcome.NOTHING_HELD, None):
        assert convert.done_from(convert.done_to(Done(outcome, None))) == Done(outcome, None)
