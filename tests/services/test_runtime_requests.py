"""What every request is checked for, what tells it from others, and partial updates."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2
from capsule_core.errors import InvalidField, TooMany
from capsule_services.runtime.etags import Etag, etag, parsed_etag
from capsule_services.runtime.masks import updated
from capsule_services.runtime.requests import check, request_digest

NAME = "tenants/acme/contacts/c1"
UUID4 = "0b7a4c3e-6d1f-4e1a-9a55-0c6f5a1c2b3d"


def person(**fields: str) -> pb.Contact:
    return pb.Contact(name=NAME, person=pb.Person(**fields))


def create(contact: pb.Contact | None = None, **fields: str) -> pb.CreateContactRequest:
    return pb.CreateContactRequest(parent="tenants/acme", contact=contact or person(given_name="Ada"), **fields)


def fault(request: object) -> str:
    with pytest.raises((InvalidField, TooMany)) as caught:
        check(request)  # type: ignore[arg-type]
    return caught.value.field


def test_a_whole_request_passes_unchanged() -> None:
    request = create(request_id=UUID4)
    before = request.SerializeToString(deterministic=True)
    check(request)
    assert request.SerializeToString(deterministic=True) == before


def test_what_only_the_server_says_is_cleared_and_not_refused() -> None:
    request = create(pb.Contact(name=NAME, person=pb.Person(given_name="Ada"), display_name="forged", has_photo=True))
    check(request)
    assert (request.contact.display_name, request.contact.has_photo) == ("", False)
    assert request.contact.person.given_name == "Ada"


def test_what_is_required_is_named_by_its_path() -> None:
    assert fault(pb.GetContactRequest()) == "name"
    assert fault(pb.CreateContactRequest(parent="tenants/acme")) == "contact"
    contact = person(given_name="Ada")
    contact.emails.add(address="a@example.com")
    contact.emails.add()
    assert fault(create(contact)) == "contact.emails[1].address"


def test_a_partial_resource_may_lack_what_is_required_of_a_whole_one() -> None:
    contact = person()
    contact.emails.add()
    check(pb.UpdateContactRequest(contact=contact))
    assert fault(pb.UpdateContactRequest()) == "contact"


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_text_with_a_nul_is_refused_wherever_it_is(text: str) -> None:
    contact = person(given_name="Ada")
    contact.tags.extend(["fine", text])
    assert fault(create(contact)) == "contact.tags[1]"


def test_what_is_too_long_or_too_many_is_refused() -> None:
    assert fault(create(person(given_name="x" * ((1 << 20) + 1)))) == "contact.person.given_name"
    contact = person(given_name="Ada")
    contact.tags.extend(["x"] * 10_001)
    assert fault(create(contact)) == "contact.tags"


def test_a_value_that_an_enum_does_not_have_is_refused() -> None:
    request = holder_pb2.ApplyRequest(
        parent="tenants/acme", subjects=["tenants/acme/contacts/c"], reason="tenants/acme"
    )
    request.order = 99  # type: ignore[assignment]
    assert fault(request) == "order"


@given(st.uuids(version=4))
def test_a_uuid4_is_a_request_id(made: UUID) -> None:
    check(create(request_id=str(made)))


@given(st.one_of(st.text(min_size=1, max_size=40, alphabet="0123456789abcdef-{}u:"), st.uuids(version=1).map(str)))
def test_anything_else_is_none(text: str) -> None:
    assert fault(create(request_id=text)) == "request_id"


@given(st.text(), st.text(), st.uuids(version=4), st.uuids(version=4))
def test_requests_have_one_digest_exactly_if_they_differ_in_nothing_but_their_id(
    one: str, other: str, first: UUID, second: UUID
) -> None:
    same = request_digest(create(person(given_name=one), request_id=str(first)))
    assert same == request_digest(create(person(given_name=one), request_id=str(second)))
    assert (same == request_digest(create(person(given_name=other)))) == (one == other)


def test_the_same_bytes_of_another_method_have_another_digest() -> None:
    assert request_digest(pb.GetContactRequest(name="x")) != request_digest(pb.GetPhotoRequest(name="x"))


@given(st.integers(0, 10**17), st.booleans())
def test_an_etag_is_quoted_and_read_back(version: int, trashed: bool) -> None:
    text = etag(version, trashed=trashed)
    assert text[0] == text[-1] == '"'
    assert parsed_etag(text) == Etag(version, trashed)


@pytest.mark.parametrize("text", ["1", 'W/"1"', '"1', '""', '"one"', '"1" ', "*"])
def test_an_etag_nobody_was_given_is_malformed(text: str) -> None:
    with pytest.raises(InvalidField):
        parsed_etag(text)


def test_no_etag_asks_for_no_check() -> None:
    assert parsed_etag("") is None


CURRENT = pb.Contact(
    name=NAME,
    person=pb.Person(given_name="Ada", family_name="King"),
    tags=["one", "two"],
    about="before",
    display_name="Ada King",
    etag='"3"',
)


def change(sent: pb.Contact, *paths: str) -> pb.Contact:
    return updated(CURRENT, sent, FieldMask(paths=paths), field="contact")


def test_an_empty_mask_names_what_is_set() -> None:
    result = change(pb.Contact(name="other", person=pb.Person(given_name="Augusta"), etag='"9"', display_name="x"))
    expected = pb.Contact()
    expected.CopyFrom(CURRENT)
    expected.person.given_name = "Augusta"
    assert result == expected


def test_a_star_replaces_everything_but_what_only_the_server_says() -> None:
    result = change(pb.Contact(person=pb.Person(family_name="Byron")), "*")
    assert result == pb.Contact(name=NAME, person=pb.Person(family_name="Byron"), display_name="Ada King", etag='"3"')


def test_a_path_replaces_clears_and_reaches_into_a_message() -> None:
    assert list(change(pb.Contact(tags=["new"]), "tags").tags) == ["new"]
    assert change(pb.Contact(), "about").about == ""
    assert change(pb.Contact(), "person.family_name").person == pb.Person(given_name="Ada")
    assert change(pb.Contact(person=pb.Person(given_name="A")), "person").person == pb.Person(given_name="A")
    assert not change(pb.Contact(), "person").HasField("person")


def test_a_path_into_what_neither_side_has_changes_nothing() -> None:
    assert change(pb.Contact(), "organisation.display_name") == CURRENT


def test_what_only_the_server_says_is_ignored_in_a_mask() -> None:
    assert change(pb.Contact(name="x", display_name="x", etag='"8"'), "name", "display_name", "etag") == CURRENT


@pytest.mark.parametrize(
    "path", ["", "shoe_size", "givenName", "tags.one", "emails.address", "about.x", "person.", "."]
)
def test_an_unknown_path_is_refused_and_named_by_its_place(path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        change(pb.Contact(), "about", path)
    assert caught.value.field == "update_mask.paths[1]"
    assert "shoe" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["*.about", "person.*", "emails[0].address", "tags.0", "create_time.seconds", " about"]
)
def test_a_path_is_a_chain_of_fields_and_nothing_else(path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        change(pb.Contact(about="after"), path)
    assert caught.value.field == "update_mask.paths[0]"


def test_paths_may_repeat_and_overlap_and_their_order_says_nothing() -> None:
    sent = pb.Contact(person=pb.Person(given_name="Augusta"), tags=["new"])
    once = change(sent, "person", "tags")
    for paths in (["tags", "person", "tags"], ["person.given_name", "person", "tags"], ["person", "person", "tags"]):
        assert change(sent, *paths) == once


def test_no_path_reaches_what_only_the_server_says() -> None:
    sent = pb.Contact(name="x", display_name="x", etag='"8"', source="IMPORT", has_photo=True, state="DELETED")
    sent.create_time.GetCurrentTime()
    for paths in (["*"], ["source", "has_photo", "state", "create_time"], []):
        result = change(sent, *paths)
        assert (result.name, result.display_name, result.etag) == (NAME, "Ada King", '"3"')
        assert (result.source, result.has_photo, result.state) == (0, False, 0)
        assert not result.HasField("create_time")


ENTRY = pb.Entry(name=f"{NAME}/entries/e1", kind=pb.Entry.NOTE, body="before")


@pytest.mark.parametrize("paths", [["kind"], ["*"], ["body", "kind"], []])
def test_what_never_changes_is_refused_and_named_and_may_be_sent_as_it_is(paths: list[str]) -> None:
    same = pb.Entry(kind=pb.Entry.NOTE, body="after")
    assert updated(ENTRY, same, FieldMask(paths=paths), field="entry").kind == pb.Entry.NOTE
    with pytest.raises(InvalidField) as caught:
        updated(ENTRY, pb.Entry(kind=pb.Entry.CALL, body="after"), FieldMask(paths=paths), field="entry")
    assert caught.value.field == "entry.kind"


def unchanging() -> type[Message]:
    """A message with a message in it that never changes."""
    file = descriptor_pb2.FileDescriptorProto(name="unchanging.proto", package="unchanging", syntax="proto3")
    inner, outer = file.message_type.add(name="Inner"), file.message_type.add(name="Outer")
    inner.field.add(name="text", number=1, type=FieldDescriptor.TYPE_STRING, label=FieldDescriptor.LABEL_OPTIONAL)
    field = outer.field.add(name="inner", number=1, type=FieldDescriptor.TYPE_MESSAGE, type_name=".unchanging.Inner")
    field.label = FieldDescriptor.LABEL_OPTIONAL
    field.options.Extensions[field_behavior_pb2.field_behavior].append(field_behavior_pb2.IMMUTABLE)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(field_behavior_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("unchanging.Outer"))


@pytest.mark.parametrize("paths", [["inner"], ["inner.text"], ["*"], []])
def test_what_never_changes_does_not_change_within_either(paths: list[str]) -> None:
    kind: Any = unchanging()
    current, sent = kind(), kind()
    current.inner.text, sent.inner.text = "before", "before"
    mask = FieldMask(paths=paths)
    assert updated(current, sent, mask, field="outer") == current
    sent.inner.text = "after"
    with pytest.raises(InvalidField):
        updated(current, sent, mask, field="outer")


def test_a_star_stands_alone() -> None:
    with pytest.raises(InvalidField):
        change(pb.Contact(), "about", "*")


def test_what_is_required_of_the_result_is_looked_for() -> None:
    sent = pb.Contact()
    sent.emails.add()
    with pytest.raises(InvalidField) as caught:
        change(sent, "emails")
    assert caught.value.field == "contact.emails[0].address"


@given(st.lists(st.sampled_from(["about", "tags", "person", "person.given_name"]), min_size=1), st.text(max_size=5))
def test_an_update_is_idempotent_and_leaves_its_arguments_alone(paths: list[str], text: str) -> None:
    sent = pb.Contact(about=text, tags=[text], person=pb.Person(given_name=text))
    before = CURRENT.SerializeToString(), sent.SerializeToString()
    once = change(sent, *paths)
    assert updated(once, sent, FieldMask(paths=paths), field="contact") == once
    assert (CURRENT.SerializeToString(), sent.SerializeToString()) == before
