from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Person
from capsule_core.errors import InvalidField, NewerSchema
from capsule_core.export import Exported, Refused, Row, plain
from capsule_core.export.json import read, write
from capsule_core.testing import strategies as the

MOMENT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
ANA = Exported(Person(id="c1", given_name="Ana"), created=MOMENT, updated=MOMENT)


def document(records: Sequence[Exported]) -> bytes:
    return b"".join(write(records))


def cut(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def exported(row: Row | Refused) -> Exported:
    assert isinstance(row, Row)
    assert row.created
    assert row.updated
    return Exported(row.contact, entries=row.entries, photo=row.photo, created=row.created, updated=row.updated)


def with_line(**changes: Any) -> list[Row | Refused]:
    line = json.dumps({**plain(ANA), **changes}).encode()
    head, _, *rest = document([ANA]).split(b"\n")
    return list(read([b"\n".join([head, line, *rest])]))


@pytest.mark.law("L12")
@given(st.lists(the.exports(), max_size=5), st.integers(1, 300))
def test_what_was_written_is_read_and_written_again_byte_for_byte(records: list[Exported], size: int) -> None:
    content = document(records)
    again = [exported(row) for row in read(cut(content, size))]
    assert again == records
    assert document(again) == content


@given(st.lists(the.exports(), max_size=5))
def test_the_whole_is_one_json_document_with_a_contact_a_line(records: list[Exported]) -> None:
    content = document(records)
    whole = json.loads(content)
    assert (whole["format"], whole["version"]) == ("capsule-contacts", 1)
    assert whole["contacts"] == [plain(record) for record in records]
    assert content.count(b"\n") == len(records) + 2


@given(the.exports())
def test_a_dictionary_is_written_as_the_value_it_stands_for(record: Exported) -> None:
    backwards = dict(reversed(list(plain(record).items())))
    assert b"".join(write([backwards])) == document([record])


def test_writing_streams() -> None:
    def endless() -> Iterator[Exported]:
        while True:
            yield ANA

    blocks = write(endless())
    assert max(len(next(blocks)) for _ in range(3)) < 128 * 1024


def test_rows_are_numbered_and_a_refused_one_stops_no_other() -> None:
    lines = document([ANA, ANA, ANA]).split(b"\n")
    lines[2] = b"{]," + "secret-ä".encode("latin-1")
    assert [type(row) for row in read([b"\n".join([*lines[:2], lines[2] + b",", *lines[3:]])])] == [Row, Refused, Row]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("line", {"secret": 1}),
        ("kind", {"kind": "robot"}),
        ("kind", {"kind": []}),
        ("contact", {"contact": []}),
        ("contact", {"contact": {"id": "c1", "secret": "x"}}),
        ("contact.id", {"contact": {"given_name": "Ana"}}),
        ("contact.given_name", {"contact": {"id": "c1", "given_name": 5}}),
        ("contact.given_name", {"contact": {"id": "c1", "given_name": "a\0b"}}),
        ("contact.display_name", {"contact": {"id": "c1"}}),
        ("contact.emails", {"contact": {"id": "c1", "emails": {}}}),
        ("contact.emails[0]", {"contact": {"id": "c1", "emails": ["a@b.example"]}}),
        ("contact.emails[0].primary", {"contact": {"id": "c1", "emails": [{"address": "a@b.example", "primary": 1}]}}),
        ("contact.emails[0].address", {"contact": {"id": "c1", "emails": [{"address": "secret"}]}}),
        ("contact.tags[1]", {"contact": {"id": "c1", "given_name": "Ana", "tags": ["a", None]}}),
        ("entries", {"entries": None}),
        ("entries[0].channel", {"entries": [{"id": "e", "contact": "c", "occurred_at": "2026-05-04T09:30:00Z"}]}),
        ("photo.media_type", {"photo": {"id": "p", "contact": "c", "media_type": "text/html", "data": "AAAA"}}),
        ("created", {"created": "2026-05-04T09:30:00"}),
        ("updated", {"updated": 5}),
    ],
)
def test_a_refused_row_names_the_field_and_never_the_value(field: str, changes: dict[str, Any]) -> None:
    (row,) = with_line(**changes)
    assert isinstance(row, Refused)
    assert (row.number, row.reason, row.field) == (1, "INVALID_FIELD", field)
    assert "secret" not in row.problem


@pytest.mark.parametrize("line", [b"[]", b"5", b"[" * 100_000, b'"\xff"', b"1" * 5000, b"\0"])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    head, _, *rest = document([ANA]).split(b"\n")
    (row,) = read([b"\n".join([head, line, *rest])])
    assert isinstance(row, Refused)
    assert row.field == "line"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"given_name,family_name\r\n",
        b"BEGIN:VCARD\r\n",
        b"[]",
        b'{"format":"other","version":1,"contacts":[\n]}\n',
        b"\xff\xfe",
        document([ANA])[:-4],
        document([ANA, ANA])[:60],
        document([ANA]) + b"more",
        document([ANA, ANA]).replace(b"},\n", b"}\n"),
        document([ANA]).replace(b"}\n]}", b"},\n]}"),
    ],
)
def test_a_file_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidField) as caught:
        list(read([content]))
    assert caught.value.field == "file"


def test_a_line_without_end_is_refused_in_bounded_memory() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield document([ANA]).split(b"\n")[0]
        while True:
            taken += 1
            yield bytes(2**20)
            if taken > 100:
                yield b"\n"

    with pytest.raises(InvalidField, match="has a line of more than"):
        list(read(endless()))


def test_a_newer_version_is_told_apart_from_nonsense() -> None:
    with pytest.raises(NewerSchema):
        list(read([document([ANA]).replace(b'"version":1', b'"version":2')]))


def test_a_byte_order_mark_and_windows_line_ends_are_let_pass() -> None:
    content = b"\xef\xbb\xbf" + document([ANA, ANA]).replace(b"\n", b"\r\n")
    assert [exported(row) for row in read([content])] == [ANA, ANA]
