from __future__ import annotations

import base64
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import (
    CustomField,
    Email,
    Entry,
    Organisation,
    Person,
    Phone,
    Photo,
    PostalAddress,
    Website,
    display_name,
)
from capsule_core.errors import InvalidField
from capsule_core.personal import Personal, kind_of
from capsule_core.testing import strategies as the

ENTRY = {"id": "e1", "contact": "c1", "channel": "note", "occurred_at": "2026-05-04T09:30:00Z"}
PHOTO = {"id": "p1", "contact": "c1", "media_type": "image/png", "data": "AAAA"}


def refused(model: type[Any], **fields: Any) -> str:
    with pytest.raises(InvalidField) as caught:
        model(**fields)
    return caught.value.field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("given_name", {"given_name": "a\0b"}),
        ("family_name", {"family_name": "a\nb"}),
        ("nickname", {"nickname": "\ud800"}),
        ("job_title", {"job_title": "x" * 501}),
        ("department", {"department": "\x9f"}),
        ("about", {"about": "a\rb"}),
        ("about", {"about": "x" * 100_001}),
        ("birthday", {"birthday": "2026-02-29"}),
        ("birthday", {"birthday": "--02-30"}),
        ("birthday", {"birthday": "1990-5-4"}),
        ("birthday", {"birthday": "1990-05-04\n"}),
        ("emails[2].address", {"emails": (Email("a@b.example"), Email("c@d.example"), Email("nobody"))}),
        ("emails[0].label", {"emails": (Email("a@b.example", label="\x1b"),)}),
        ("phones[1].number", {"phones": (Phone("1"), Phone(" "))}),
        ("addresses[0]", {"addresses": (PostalAddress(),)}),
        ("addresses[0].locality", {"addresses": (PostalAddress(locality="a\nb"),)}),
        ("websites[0].uri", {"websites": (Website(""),)}),
        ("tags[1]", {"tags": ("friend", "")}),
        ("tags", {"tags": tuple(str(number) for number in range(101))}),
        ("custom[0].key", {"custom": (CustomField("", "x"),)}),
        ("custom[0].value", {"custom": (CustomField("x", "\x07"),)}),
        ("owner", {"owner": "\n"}),
        ("family_name", {"family_name": 5}),
    ],
)
def test_a_refused_field_is_named_by_its_exact_path(field: str, fields: dict[str, Any]) -> None:
    assert refused(Person, **{"id": "c1", "given_name": "Ana", **fields}) == field


@pytest.mark.parametrize(
    ("model", "field", "fields"),
    [
        (Entry, "channel", {**ENTRY, "channel": "fax"}),
        (Entry, "direction", {**ENTRY, "direction": "up"}),
        (Entry, "occurred_at", {**ENTRY, "occurred_at": "2026-05-04T09:30:00+02:00"}),
        (Entry, "occurred_at", {**ENTRY, "occurred_at": "2026-02-30T09:30:00Z"}),
        (Entry, "subject_line", {**ENTRY, "subject_line": "a\nb"}),
        (Photo, "media_type", {**PHOTO, "media_type": "image/svg+xml"}),
        (Photo, "data", {**PHOTO, "data": ""}),
        (Photo, "data", {**PHOTO, "data": "AAA"}),
        (Photo, "data", {**PHOTO, "data": "ÄAAA"}),
        (Photo, "data", {**PHOTO, "data": "AAB="}),
        (Photo, "data", {**PHOTO, "data": base64.b64encode(bytes(2**21 + 1)).decode()}),
    ],
)
def test_history_is_held_to_its_rules(model: type[Any], field: str, fields: dict[str, Any]) -> None:
    assert refused(model, **fields) == field


@pytest.mark.parametrize("fields", [{}, {"given_name": " "}, {"prefix": "Dr."}, {"tags": ("friend",)}])
def test_a_contact_that_nothing_tells_apart_is_refused(fields: dict[str, Any]) -> None:
    assert refused(Person, id="c1", **fields) == "display_name"


def test_an_organisation_needs_a_name_or_a_way_to_reach_it() -> None:
    assert refused(Organisation, id="o1") == "display_name"
    assert display_name(Organisation(id="o1", phones=(Phone("112"),))) == "112"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "Dr. Ana María Ruiz PhD",
            {"prefix": "Dr.", "given_name": "Ana María", "family_name": "Ruiz", "suffix": "PhD"},
        ),
        ("王小明", {"given_name": "小明", "family_name": "王"}),
        ("Xiǎomíng Wáng", {"given_name": "Xiǎomíng", "family_name": "Wáng"}),
        ("Nina", {"nickname": "Nina", "organisation_name": "Acme"}),
        ("Acme", {"organisation_name": "Acme", "emails": (Email("a@b.example"),)}),
        ("a@b.example", {"emails": (Email("a@b.example"),), "phones": (Phone("112"),)}),
    ],
)
def test_a_person_is_called_by_the_best_name_there_is(name: str, fields: dict[str, Any]) -> None:
    assert display_name(Person(id="c1", **fields)) == name


@given(the.contacts())
def test_every_legal_contact_has_a_display_name_and_can_be_made_again(contact: Person | Organisation) -> None:
    assert display_name(contact).strip()
    assert attrs.evolve(contact) == contact


@given(the.persons(), st.sampled_from(["given_name", "about", "source"]), st.characters(categories=("Cc", "Cs")))
def test_no_control_character_gets_in(person: Person, field: str, sign: str) -> None:
    if not (field == "about" and sign in "\n\t"):
        assert refused(type(person), **{**attrs.asdict(person, recurse=False), field: f"a{sign}b"}) == field


@pytest.mark.parametrize("model", [Person, Organisation, Entry, Photo])
def test_every_field_that_says_something_about_somebody_is_declared_personal(model: type[Any]) -> None:
    plain = {name for name, declared in kind_of(model).fields.items() if not isinstance(declared, Personal)}
    assert plain <= {"owner", "source", "channel", "occurred_at", "direction", "author", "media_type"}
