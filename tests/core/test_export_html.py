from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import CustomField, Email, Entry, Organisation, Person, Phone, Photo, PostalAddress, Website
from capsule_core.export import Exported
from capsule_core.export.html import write
from capsule_core.testing import strategies as the

MOMENT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
VOID = {"meta", "img", "br"}
HOSTILE = "</td></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'><!-- &lt;"

ENTRY = Entry(id="e1", contact="c1", channel="call", direction="in", occurred_at="2026-05-04T09:30:00Z", body="hello")
PHOTO = Photo(id="p1", contact="c1", media_type="image/png", data="AAAA")


class Outline(HTMLParser):
    """Reads a page strictly: every tag closed in its turn, and what was in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(*records: Exported) -> str:
    return b"".join(write(records, printed=MOMENT)).decode()


def of(contact: Person | Organisation, **more: Any) -> Exported:
    return Exported(contact, created=MOMENT, updated=MOMENT, **more)


def shape(outline: Outline) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(attributes)) for tag, attributes in outline.tags]


def blank(text: str) -> str:
    """The same text with nothing in it that a browser could take for anything else."""
    return re.sub(r"[^\s]", "x", text)


def harmless(value: Any) -> Any:
    """The same value with every text blanked that is not a choice, an id or a moment."""
    if isinstance(value, tuple):
        return tuple(map(harmless, value))
    kept = {"id", "contact", "channel", "direction", "occurred_at", "media_type", "data", "birthday", "address"}
    if attrs.has(type(value)):
        fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
        changed = {name: held if name in kept else harmless(held) for name, held in fields.items()}
        return attrs.evolve(value, **changed)
    return blank(value) if isinstance(value, str) else value


@given(the.exports())
def test_no_value_adds_a_tag_or_an_attribute(record: Exported) -> None:
    assert shape(Outline(page(record))) == shape(Outline(page(harmless(record))))


@given(the.exports())
def test_everything_kept_is_on_the_page(record: Exported) -> None:
    contact = record.contact
    shown = "\0".join(Outline(page(record)).texts)
    wanted = [contact.about, *contact.tags, *(phone.number for phone in contact.phones)]
    wanted += [email.address for email in contact.emails]
    wanted += [text for field in contact.custom for text in (field.value, field.key) if field.value]
    wanted += [text for entry in record.entries for text in (entry.subject_line, entry.body, entry.author)]
    assert [text for text in wanted if text.strip() and text not in shown] == []


def test_a_hostile_value_stays_text_in_every_field() -> None:
    bad = HOSTILE
    contact = Person(
        id="c1", given_name=bad, family_name=bad, additional_name=bad, prefix=bad, suffix=bad, nickname=bad,
        phonetic_given_name=bad, phonetic_family_name=bad, organisation_name=bad, department=bad, job_title=bad,
        emails=(Email("ann@example.org", label=bad),), phones=(Phone(bad, label=bad),),
        addresses=(PostalAddress(street=bad, extended=bad, po_box=bad, locality=bad, region=bad, postal_code=bad,
                                 country=bad, label=bad),),
        websites=(Website("javascript:alert(1)", label=bad),), tags=(bad,), custom=(CustomField(bad, bad),),
        about=bad, owner=bad, source=bad,
    )  # fmt: skip
    entry = attrs.evolve(ENTRY, subject_line=bad, body=bad, author=bad)
    outline = Outline(page(of(contact, entries=(entry,), photo=PHOTO)))
    assert {tag for tag, _ in outline.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "article", "header", "div", "img", "h1", "h2", "p",
        "bdi", "table", "thead", "tbody", "tr", "th", "td", "time", "span", "br", "footer",
    }  # fmt: skip
    assert len(outline.named("img")) == 1
    assert not [
        name for _, attributes in outline.tags for name in attributes if name.startswith("on") or name == "href"
    ]


def test_the_page_stands_alone_and_allows_nothing() -> None:
    outline = Outline(page(of(Person(id="c1", given_name="Ana"), photo=PHOTO)))
    policy = next(meta["content"] or "" for meta in outline.named("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert [image["src"] for image in outline.named("img")] == ["data:image/png;base64,AAAA"]
    assert outline.named("link") == outline.named("script") == []


def test_the_policy_allows_exactly_the_style_of_the_page() -> None:
    text = page(of(Person(id="c1", given_name="Ana")))
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in text.partition("<style>")[0]


def test_the_page_can_be_heard_as_well_as_seen() -> None:
    outline = Outline(page(of(Person(id="c1", given_name="Ana"), entries=(ENTRY,), photo=PHOTO)))
    assert outline.named("html") == [{"lang": "en"}]
    assert [image["alt"] for image in outline.named("img")] == ["Photo"]
    assert len(outline.named("h1")) == 1
    assert {cell.get("scope") for cell in outline.named("th")} == {"row", "col"}
    assert all("dir" in cell for cell in outline.named("td") if cell.get("class") == "text")
    assert {"datetime": "2026-05-04T09:30:00Z"} in outline.named("time")


@pytest.mark.parametrize(
    ("birthday", "shown"), [("1990-05-04", "4 May 1990"), ("--02-29", "29 February"), ("0007-12-01", "1 December 0007")]
)
def test_a_birthday_is_written_for_people(birthday: str, shown: str) -> None:
    assert shown in Outline(page(of(Person(id="c1", given_name="Ana", birthday=birthday)))).texts


@given(st.lists(the.exports(), max_size=3))
def test_each_contact_has_an_article_of_its_own(records: list[Exported]) -> None:
    assert len(Outline(page(*records)).named("article")) == len(records)


def test_an_organisation_and_an_empty_history_are_told_as_such() -> None:
    texts = Outline(page(of(Organisation(id="o1", name="Acme")))).texts
    assert {"Acme", "Organisation", "Nothing was written down."} <= set(texts)
