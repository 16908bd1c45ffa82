from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Contact, CustomField, Email, Person
from capsule_core.errors import InvalidField
from capsule_core.export import Exported, Refused, Row, plain
from capsule_core.export.csv import Widths, read, write
from capsule_core.testing import strategies as the

MOMENT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
NARROW = Widths(email=1, phone=0, address=0, website=0, custom=0)
SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
FORMULA = (*SIGNS, "\t", "\r", "\n")

widths = st.builds(Widths, **dict.fromkeys(attrs.fields_dict(Widths), st.integers(0, 5)))


def of(contact: Contact) -> Exported:
    return Exported(contact, created=MOMENT, updated=MOMENT)


def table(*records: Exported, **options: Any) -> bytes:
    return b"".join(write(records, **options))


def cells(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))


def formulae(content: bytes) -> list[str]:
    """What a spreadsheet would take for a formula, whatever it takes for the end of a cell."""
    text = content.decode("utf-8-sig")
    shown = [csv.reader(io.StringIO(text, newline=""), delimiter=each) for each in ",;\t"]
    return [cell for rows in shown for row in rows for cell in row if cell.startswith(SIGNS)]


def refusal(content: str) -> Refused:
    (row,) = read([content.encode()])
    assert isinstance(row, Refused)
    return row


@given(st.lists(the.exports(), max_size=4), widths, st.integers(1, 200))
def test_contacts_come_back_as_they_went(records: list[Exported], wide: Widths, size: int) -> None:
    content = table(*records, widths=wide)
    rows = list(read(content[at : at + size] for at in range(0, len(content), size)))
    assert rows == [
        Row(number, record.contact, created=record.created, updated=record.updated)
        for number, record in enumerate(records, 1)
    ]


@given(st.lists(the.exports(), min_size=1, max_size=4), widths)
def test_no_cell_begins_as_a_formula_does(records: list[Exported], wide: Widths) -> None:
    for row in cells(table(*records, widths=wide)):
        assert not [cell for cell in row if cell.startswith(FORMULA)]


@given(st.lists(the.exports(), min_size=1, max_size=4), widths)
def test_no_cell_begins_as_a_formula_does_where_something_else_parts_cells(
    records: list[Exported], wide: Widths
) -> None:
    assert not formulae(table(*records, widths=wide))


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    "before", ["", ";", "a;", "a\n", "a\n\n", "a\t", "'", "a;'", "\n", "\t", ';"', "\n'\"", '"', '";"']
)
def test_a_formula_is_neutral_wherever_it_begins_and_comes_back_as_it_was(before: str, sign: str) -> None:
    text = f"{before}{sign}cmd|' /C calc'!A0"
    contact = Person(
        id="c1", given_name="Ana", tags=("a", f"{sign}1"), about=text, custom=(CustomField("k", text),) * 9
    )
    content = table(of(contact))
    (row,) = read([content])
    assert isinstance(row, Row)
    assert row.contact == contact
    assert not formulae(content)


@given(st.text("'=+-@＝a;\n\t\"", max_size=8).filter(str.strip))
def test_apostrophes_of_the_owner_stay(text: str) -> None:
    contact = Person(id="c1", given_name="Ana", about=text)
    (row,) = read([table(of(contact))])
    assert isinstance(row, Row)
    assert row.contact == contact


@given(st.lists(the.exports(), max_size=4), widths)
def test_every_row_is_as_long_as_the_header_and_ends_as_rfc_4180_says(records: list[Exported], wide: Widths) -> None:
    content = table(*records, widths=wide)
    header, *rows = cells(content)
    assert len(set(header)) == len(header)
    assert [len(row) for row in rows] == [len(header)] * len(records)
    assert content.endswith(b"\r\n")


def test_what_has_no_column_is_not_lost() -> None:
    person = Person(id="c1", emails=tuple(Email(f"ann{number}@example.org") for number in range(100)))
    (row,) = read([table(of(person), widths=NARROW)])
    assert isinstance(row, Row)
    assert row.contact == person


def test_a_dictionary_is_written_as_the_value_it_stands_for() -> None:
    record = of(Person(id="c1", given_name="Ana", tags=("a", "b"), custom=(CustomField("k", "v"),)))
    assert b"".join(write([plain(record)])) == table(record)


def test_writing_streams() -> None:
    def endless() -> Iterator[Exported]:
        while True:
            yield of(Person(id="c1", given_name="Ana"))

    blocks = write(endless())
    assert max(len(next(blocks)) for _ in range(3)) < 128 * 1024


@pytest.mark.parametrize(
    ("field", "header", "row"),
    [
        ("kind", "kind,id,given_name", "robot,c1,Ana"),
        ("kind", "kind,id,given_name", ",c1,secret"),
        ("row", "kind,id,given_name", "person,c1"),
        ("display_name", "kind,id", "person,c1"),
        ("birthday", "kind,given_name,birthday", "person,Ana,secret"),
        ("emails[0].address", "kind,email_1_address", "person,secret"),
        ("emails[0].address", "kind,given_name,email_1_label", "person,Ana,secret"),
        ("email_1_primary", "kind,email_1_address,email_1_primary", "person,ann@example.org,secret"),
        ("created", "kind,given_name,created", "person,Ana,secret"),
        ("more", "kind,given_name,more", "person,Ana,secret"),
        ("more", "kind,given_name,more", "person,Ana,[]"),
        ("more", "kind,given_name,more", 'person,Ana,"{""secret"": []}"'),
        ("more", "kind,given_name,more", 'person,Ana,"{""emails"": 1}"'),
        ("emails[0].address", "kind,given_name,more", 'person,Ana,"{""emails"": [{""address"": ""secret""}]}"'),
        ("contact", "kind,name,given_name", "organisation,Acme,secret"),
    ],
)
def test_a_refused_row_names_the_field_and_never_the_value(field: str, header: str, row: str) -> None:
    refused = refusal(f"{header}\r\n{row}\r\n")
    assert (refused.number, refused.field) == (1, field)
    assert "secret" not in refused.problem


def test_a_refused_row_stops_no_other() -> None:
    rows = list(read([b"kind,given_name,birthday\r\nperson,Ana,\r\nperson,Bo,x\r\n\r\nperson,Cy,--02-29\r\n"]))
    assert [type(row) for row in rows] == [Row, Refused, Row]
    assert [row.number for row in rows] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"given_name,family_name\r\nAna,Ruiz\r\n",
        b"kind,First Name\r\nperson,Ana\r\n",
        b"kind,kind\r\nperson,person\r\n",
        b"kind,email_1_number\r\n",
        b"kind,email_0_address\r\n",
        b'{"format":"capsule-contacts"',
        b"\x00\x01",
        b'"kind',
    ],
)
def test_another_table_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidField) as caught:
        list(read([content]))
    assert caught.value.field == "file"
