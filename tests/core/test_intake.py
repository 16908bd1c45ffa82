"""No card number comes in, in whichever text of whichever kind; what is no text is not read as one."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.arguments import LONGEST_TEXT
from capsule_core.contacts import CustomField, Email, Entry, Organisation, Person, Phone, Photo, PostalAddress, Website
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.intake import check_texts, refuse_cards
from capsule_core.personal import Category, Personal, kind, kind_of
from capsule_core.testing import strategies as the

CARD = "4111 1111 1111 1111"


@attrs.frozen
class Note:
    text: str


@kind("letter", subject="writer")
@attrs.frozen
class Letter:
    id: str
    writer: str
    text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support")] = ""
    notes: Annotated[tuple[Note, ...], Personal(Category.COMMUNICATION, purpose="support")] = ()


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (Person(id="c1", given_name=CARD), "given_name"),
        (Person(id="c1", given_name="Ada", about=f"pays with {CARD}"), "about"),
        (Person(id="c1", given_name="Ada", tags=("a", CARD)), "tags[1]"),
        (Person(id="c1", given_name="Ada", custom=(CustomField("k", "v"), CustomField("k", CARD))), "custom[1].value"),
        (Person(id="c1", given_name="Ada", custom=(CustomField(CARD, "v"),)), "custom[0].key"),
        (Person(id="c1", given_name="Ada", addresses=(PostalAddress(street=CARD),)), "addresses[0].street"),
        (Person(id="c1", given_name="Ada", websites=(Website(CARD),)), "websites[0].uri"),
        (Person(id="c1", given_name="Ada", emails=(Email("a@b.cc", label=CARD),)), "emails[0].label"),
        (Organisation(id="c1", name=CARD), "name"),
        (Entry(id="n1", contact="c1", channel="note", occurred_at="2026-05-04T09:30:00Z", body=CARD), "body"),
    ],
)
def test_a_card_number_is_refused_by_the_path_of_the_text_it_stands_in(content: object, field: str) -> None:
    with pytest.raises(CardNumberFound) as refused:
        refuse_cards(kind_of(type(content)), content)
    assert refused.value.field == field
    assert "4111" not in str(refused.value)


@given(the.card_numbers(), st.sampled_from(["given_name", "family_name", "nickname", "job_title", "about"]))
def test_no_card_number_comes_in_whoever_issued_it(number: str, field: str) -> None:
    person = attrs.evolve(Person(id="c1", given_name="Ada"), **{field: f"No. {number}."})
    with pytest.raises(CardNumberFound):
        refuse_cards(kind_of(Person), person)


def test_telephone_numbers_and_pictures_are_not_texts() -> None:
    refuse_cards(kind_of(Person), Person(id="c1", given_name="Ada", phones=(Phone("4111111111111111"),)))
    refuse_cards(kind_of(Photo), Photo(id="p1", contact="c1", media_type="image/png", data="4111111111111111"))


@pytest.mark.parametrize("text", ["\ud800", "a\0", "x" * (LONGEST_TEXT + 1), 7, None])
@pytest.mark.parametrize("declared", ["text", "notes[1].text"])
def test_a_text_is_text_that_can_be_kept_however_deep_it_lies(text: Any, declared: str) -> None:
    good = Letter("l1", "c1", notes=(Note("a"), Note("b")))
    bad = attrs.evolve(good, **({"text": text} if declared == "text" else {"notes": (Note("a"), Note(text))}))
    check_texts(kind_of(Letter), good)
    with pytest.raises(InvalidField) as refused:
        check_texts(kind_of(Letter), bad)
    assert refused.value.field == declared


@given(the.persons())
def test_every_contact_may_be_kept(person: Person) -> None:
    check_texts(kind_of(Person), person)
