"""Address books in and out: a row is kept whole or refused, nothing is applied twice, all of it reads back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Contact
from capsule_core.errors import CapsuleError, InvalidField, PermissionDenied
from capsule_core.export import Row, csv, json, vcard
from capsule_core.roles import Authority, Role
from capsule_services import sample
from capsule_services.contacts.book.convert import content_to
from capsule_services.contacts.exchange.handlers import BATCH
from capsule_services.contacts.parcels import MOST_REFUSED
from capsule_services.runtime.callers import UserCaller
from tests.services.office import (
    Desk,
    Office,
    deleted,
    found,
    fresh_id,
    import_messages,
    listed,
    note,
    office,
    opened_on,
    person,
    purged,
)

GOOGLE, OUTLOOK, VCARD = pb.ImportContactsRequest.GOOGLE_CSV, pb.ImportContactsRequest.OUTLOOK_CSV, 3
HEADER = "First Name,Last Name,Notes,Labels,E-mail 1 - Label,E-mail 1 - Value,Organization Name"
LAYOUTS = {sample.GOOGLE: GOOGLE, sample.OUTLOOK: OUTLOOK, sample.FRIENDS_V3: VCARD, sample.CONTACTS_V4: VCARD}


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def google(*rows: str) -> bytes:
    return "\r\n".join([HEADER, *(f"{row}," for row in rows), ""]).encode()


def people(count: int, *, first: int = 1) -> list[str]:
    return [f"Ada{n},Quill,,,home,ada{n}@example.org" for n in range(first, first + count)]


def send(desk: Desk, content: bytes, layout: Any = GOOGLE, *, piece: int = 64 * 1024, **header: Any) -> pb.ImportReport:
    return desk.ImportContacts(import_messages(desk, content, layout, piece=piece, **header))


def rows(report: pb.ImportReport) -> list[tuple[int, str, str]]:
    return [(row.row, row.reason, row.field) for row in report.refused_rows]


def test_a_row_is_kept_whole_or_refused_with_number_reason_and_field(desk: Desk) -> None:
    report = send(
        desk,
        google(
            "Ada,Quill,,,home,ada@example.org",
            "Bo,Quill,,,home,no address",
            "Cy,Quill,,",
            ",,,,,",
            "Di,Quill,Pays with 4111 1111 1111 1111,,,",
            "Ed,\x07,,,,",
            "Flo,Quill,,,home,flo@example.org",
        ),
    )
    assert (report.created, report.already_applied, report.refused) == (2, 0, 5)
    assert [(row, reason) for row, reason, _ in rows(report)] == [
        (2, "EMAIL_MALFORMED"),
        (3, "COLUMN_COUNT"),
        (4, "EMPTY"),
        (5, "CARD_NUMBER"),
        (6, "CONTROL_CHARACTER"),
    ]
    assert rows(report)[0][2] == "emails[0].address"
    assert not any("4111" in row.message or "no address" in row.message for row in report.refused_rows)
    assert len(listed(desk)) == 2


def test_what_is_imported_says_so_and_has_the_tags_and_the_owner_of_the_header(desk: Desk) -> None:
    owner = f"{desk.tenant}/users/u9"
    send(desk, google("Ada,Quill,,friends ::: press,,"), tags=["press", "fair"], owner=owner)
    contact = desk.GetContact(pb.GetContactRequest(name=listed(desk)[0]))
    assert (contact.source, contact.owner) == (pb.Contact.IMPORT, owner)
    assert list(contact.tags) == ["friends", "press", "fair"]
    assert listed(desk, tag="fair") == listed(desk, owner=owner) == [contact.name]


@pytest.mark.law("L9")
@pytest.mark.parametrize("file", list(LAYOUTS))
def test_each_shipped_book_is_taken_but_for_its_broken_rows_and_sent_again_changes_nothing(
    here: Office, desk: Desk, file: sample.File
) -> None:
    named, broken = fresh_id(), sample.broken_in(file)
    report = send(desk, sample.read(file), LAYOUTS[file], request_id=named)
    assert {row.row: row.reason for row in report.refused_rows} == broken
    assert report.created == sample.RECORDS[file] - len(broken)
    leaves, names = here.holding.ledger.head().size, listed(desk, page_size=1000)
    assert len(names) == report.created
    again = send(desk, sample.read(file), LAYOUTS[file], request_id=named)
    assert (again.created, again.already_applied, again.refused) == (0, report.created, report.refused)
    assert here.holding.ledger.head().size == leaves
    assert listed(desk, page_size=1000) == names


def test_the_same_file_under_another_request_id_is_another_import(desk: Desk) -> None:
    content = google(*people(2))
    assert send(desk, content, request_id=fresh_id()).created == 2
    assert send(desk, content, request_id=fresh_id()).created == 2
    assert send(desk, content).created == 2
    assert len(listed(desk)) == 6


def test_a_row_that_was_imported_and_thrown_away_stays_in_the_trash_when_the_file_is_sent_again(desk: Desk) -> None:
    named = fresh_id()
    send(desk, google(*people(2)), request_id=named)
    gone = desk.GetContact(pb.GetContactRequest(name=found(desk, email="ada1@example.org")[0]))
    deleted(desk, gone)
    again = send(desk, google(*people(2)), request_id=named)
    assert (again.created, again.already_applied) == (0, 2)
    assert found(desk, email="ada1@example.org") == []


@pytest.mark.law("L5")
def test_a_row_of_somebody_who_was_erased_is_refused_and_the_others_are_not(desk: Desk) -> None:
    named = fresh_id()
    send(desk, google(*people(3)), request_id=named)
    purged(desk, desk.GetContact(pb.GetContactRequest(name=found(desk, email="ada2@example.org")[0])))
    again = send(desk, google(*people(4)), request_id=named)
    assert (again.created, again.already_applied) == (1, 2)
    assert rows(again) == [(2, "SUBJECT_ERASED", "")]
    assert len(listed(desk)) == 3


class LineLost(Exception):
    """The caller's connection ended."""


@pytest.mark.law("L9")
@pytest.mark.parametrize("cut", [0, 1, 40, 9_000, 14_000])
def test_a_file_whose_sending_broke_off_goes_on_where_it_ended_when_it_is_sent_again(desk: Desk, cut: int) -> None:
    named, content = fresh_id(), google(*people(2 * BATCH + 7))
    whole = import_messages(desk, content, GOOGLE, piece=512, request_id=named)

    def broken_off() -> Iterator[Any]:
        sent = 0
        for message in whole:
            if sent > cut:
                raise LineLost
            sent += len(message.data)
            yield message

    with pytest.raises(LineLost):
        desk.ImportContacts(_Stream(broken_off))
    before = len(listed(desk, page_size=1000))
    assert before % BATCH == 0
    report = desk.ImportContacts(whole)
    assert (report.created, report.already_applied) == (2 * BATCH + 7 - before, before)
    assert len(listed(desk, page_size=1000)) == 2 * BATCH + 7


class _Stream(list[Any]):
    """A stream that may end with an error, where a desk takes a list."""

    def __init__(self, messages: Any) -> None:
        super().__init__()
        self.messages = messages

    def __iter__(self) -> Iterator[Any]:
        return iter(self.messages())


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (b"", GOOGLE),
        (b"", OUTLOOK),
        (b"", VCARD),
        (b"\xef\xbb\xbf", GOOGLE),
        (b"a,b,c\r\n1,2,3\r\n", GOOGLE),
        (b"a,b,c\r\n1,2,3\r\n", OUTLOOK),
        (b"a,b,c\r\n1,2,3\r\n", VCARD),
        (google(*people(2)), VCARD),
        (b"\x00" * 5_000, GOOGLE),
        (b"\x00" * 5_000, OUTLOOK),
        (b"\x00" * 5_000, VCARD),
        (b"x" * 3_000_000, GOOGLE),
        (b"\xff\xfe\x00\xd8" * 100, GOOGLE),
        (b"PK\x03\x04" + b"\x9c" * 1_000, VCARD),
    ],
)
def test_a_file_that_is_not_of_its_layout_is_refused_and_nothing_is_kept(
    desk: Desk, content: bytes, layout: Any
) -> None:
    try:
        report = send(desk, content, layout)
    except InvalidField as refused:
        assert refused.field
    else:
        assert report.created == 0
        assert content.strip(b"\xef\xbb\xbf") == b"" or report.refused > 0
    assert listed(desk) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("piece", [1, 7, 65_536])
def test_a_file_is_read_in_the_encodings_spreadsheets_write_however_it_is_cut(
    desk: Desk, encoding: str, piece: int
) -> None:
    content = google("Жанна,Журавлёва,,,home,zhanna@example.org").decode().encode(encoding)
    assert send(desk, content, piece=piece).created == 1
    assert len(found(desk, name_prefix="журав")) == 1


def test_a_row_with_a_nul_or_of_another_encoding_is_refused_and_the_rest_is_taken(desk: Desk) -> None:
    content = google("Ada,Quill,,,,", "Bo\x00,Quill,,,,", "CAFE,Quill,,,,", "Di,Quill,,,,").replace(b"CAFE", b"Caf\xe9")
    report = send(desk, content)
    assert [row for row, _, _ in rows(report)] == [2, 3]
    assert report.created == 2


def test_a_truncated_file_gives_what_was_whole_and_says_where_it_ended(desk: Desk) -> None:
    whole = b"".join(
        f"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada{n}\r\nN:;Ada{n};;;\r\nEND:VCARD\r\n".encode() for n in range(3)
    )
    report = send(desk, whole[:-15], VCARD)
    assert (report.created, rows(report)[0][:2]) == (2, (3, "CARD_UNTERMINATED"))
    quoted = google("Ada,Quill,,,,", 'Bo,"Quill,,,,')
    report = send(desk, quoted)
    assert (report.created, report.refused) == (1, 1)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "header.parent"),
        ([pb.ImportContactsRequest(data=b"x")], "header.parent"),
        ([pb.ImportContactsRequest()], "header.parent"),
    ],
)
def test_an_import_that_does_not_begin_with_its_header_is_refused(desk: Desk, messages: list[Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        desk.ImportContacts(messages)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"tags": [""]}, "header.tags[0]"),
        ({"tags": ["fair", "a\nb"]}, "header.tags[1]"),
        ({"tags": ["fair", "x" * 501]}, "header.tags[1]"),
        ({"tags": [f"t{n}" for n in range(101)]}, "header.tags"),
        ({"owner": "nobody"}, "header.owner"),
        ({"request_id": "1"}, "header.request_id"),
    ],
)
def test_a_malformed_header_is_refused_by_the_path_of_its_field(desk: Desk, header: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        send(desk, google(*people(1)), **header)
    assert refused.value.field == field
    assert listed(desk) == []


def test_an_unknown_layout_and_an_unknown_format_are_refused(desk: Desk) -> None:
    with pytest.raises(InvalidField) as refused:
        send(desk, google(*people(1)), 0)
    assert refused.value.field == "header.layout"
    with pytest.raises(InvalidField) as refused:
        desk.ExportContacts(pb.ExportContactsRequest(parent=desk.tenant))
    assert refused.value.field == "format"


def test_a_row_that_has_as_many_tags_as_it_may_is_refused_alone_when_the_header_adds_one(desk: Desk) -> None:
    many = " ::: ".join(f"t{n}" for n in range(100))
    report = send(desk, google("Ada,Quill,,,,", f"Bo,Quill,,{many},,", "Cy,Quill,,,,"), tags=["fair"])
    assert report.created == 2
    assert rows(report) == [(2, "INVALID_FIELD", "tags")]


def test_a_second_header_is_refused_as_such(desk: Desk) -> None:
    messages = import_messages(desk, google(*people(2)), GOOGLE)
    with pytest.raises(InvalidField) as refused:
        desk.ImportContacts([*messages, messages[0]])
    assert refused.value.field == "data"


def test_the_tenant_of_a_later_message_is_looked_at_as_well(desk: Desk) -> None:
    messages = import_messages(desk, google(*people(1)), GOOGLE)
    foreign = pb.ImportContactsRequest(header=pb.ImportContactsRequest.Header(parent="tenants/other", layout=GOOGLE))
    with pytest.raises(PermissionDenied):
        desk.ImportContacts([messages[0], foreign, messages[1]])


def test_only_so_many_refused_rows_are_named_and_all_are_counted(desk: Desk) -> None:
    report = send(desk, google(*["Bo,Quill"] * (MOST_REFUSED + 5)))
    assert (report.refused, len(report.refused_rows)) == (MOST_REFUSED + 5, MOST_REFUSED)


def export(desk: Desk, format_: Any) -> bytes:
    pieces = desk.ExportContacts(pb.ExportContactsRequest(parent=desk.tenant, format=format_))
    assert all(0 < len(piece.data) <= 64 * 1024 for piece in pieces)
    return b"".join(piece.data for piece in pieces)


READERS = {
    pb.ExportContactsRequest.JSON: json.read,
    pb.ExportContactsRequest.CSV: csv.read,
    pb.ExportContactsRequest.VCARD: partial(
        vcard.read, new_id=lambda number: f"c{number}", photo_id=lambda number: f"p{number}"
    ),
}


def read_back(content: bytes, format_: Any) -> list[Row]:
    read = list(READERS[format_]([content]))
    assert all(isinstance(row, Row) for row in read), read
    return [row for row in read if isinstance(row, Row)]


def told(contact: Contact) -> pb.Contact:
    return content_to(attrs.evolve(contact, id="", owner="", source="user"))


@pytest.mark.law("L12")
@pytest.mark.parametrize("format_", list(READERS))
def test_every_format_reads_back_to_the_same_contacts(desk: Desk, format_: Any) -> None:
    for file, layout in LAYOUTS.items():
        send(desk, _some_of(file), layout)
    ada = person(desk, "Ada", about="=1+1\n<b>", custom_fields=[pb.CustomField(key="k", value="v,;\n")])
    firm = pb.Contact(organisation=pb.Organisation(display_name="Larkspur; & Daughters"))
    desk.CreateContact(pb.CreateContactRequest(parent=desk.tenant, contact=firm))
    note(desk, ada, "Rang."), note(desk, ada, "Wrote.")
    exported = read_back(export(desk, format_), format_)
    assert len(exported) > 100
    kept = [desk.GetContact(pb.GetContactRequest(name=name)) for name in listed(desk, page_size=1000)]
    for row, contact in zip(exported, kept, strict=True):
        bare = pb.Contact()
        bare.CopyFrom(contact)
        for name in ("name", "owner", "source", "has_photo", "state", "create_time", "update_time", "etag"):
            bare.ClearField(name)
        assert told(row.contact) == bare
    if format_ == pb.ExportContactsRequest.JSON:
        by_name = {row.contact.id: row for row in exported}
        history = [entry.body for entry in by_name[ada.name.rpartition("/")[2]].entries]
        assert history == ["Rang.", "Wrote."]


def _some_of(file: sample.File) -> bytes:
    end = b"END:VCARD" if file.endswith(".vcf") else b"\n"
    return end.join(sample.read(file).split(end)[:40]) + end


@pytest.mark.parametrize("format_", list(READERS))
def test_only_the_living_are_exported(desk: Desk, format_: Any) -> None:
    living, trashed, erased = person(desk, "Livia"), person(desk, "Trasha"), person(desk, "Erasma")
    gone = note(desk, living, "Thrown away.")
    desk.DeleteEntry(pb.DeleteEntryRequest(name=gone.name))
    deleted(desk, trashed)
    purged(desk, erased)
    content = export(desk, format_)
    assert b"Livia" in content
    assert not any(word in content for word in (b"Trasha", b"Erasma", b"Thrown away"))


@pytest.mark.parametrize("format_", list(READERS))
def test_an_empty_book_is_exported_as_one_that_reads_back_empty(desk: Desk, format_: Any) -> None:
    assert read_back(export(desk, format_), format_) == []


@pytest.mark.law("L13")
def test_whoever_was_not_granted_export_does_not_export_whatever_the_role(here: Office) -> None:
    chief = here.desk()
    person(chief)
    caller = chief.caller
    assert isinstance(caller, UserCaller)
    plain = attrs.evolve(chief, caller=attrs.evolve(caller, authority=Authority(Role.SUPER_ADMINISTRATOR)))
    with pytest.raises(PermissionDenied):
        export(plain, pb.ExportContactsRequest.JSON)


def printed(desk: Desk, contact: pb.Contact) -> str:
    return b"".join(p.data for p in desk.PrintContact(pb.PrintContactRequest(name=contact.name))).decode()


def test_a_summary_has_everything_and_runs_nothing(desk: Desk) -> None:
    seen = person(
        desk,
        "<script>alert(1)</script>",
        about='"><img src=x onerror=alert(2)>',
        websites=[pb.Website(uri="javascript:alert(3)")],
        custom_fields=[pb.CustomField(key="<i>", value="</style><script>")],
    )
    note(desk, seen, "</body><script>alert(4)</script>")
    page = printed(desk, seen)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "alert(4)" in page
    assert "<script" not in page
    assert "<img src=x" not in page
    assert 'href="javascript:' not in page


def test_a_summary_shows_the_photo_from_within_the_page(desk: Desk) -> None:
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nN:;A;;;\r\nPHOTO;ENCODING=b;TYPE=PNG:{image}\r\nEND:VCARD\r\n"
    send(desk, card.encode(), VCARD)
    page = printed(desk, pb.Contact(name=listed(desk)[0]))
    assert f"data:image/png;base64,{image}" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.law("L9")
@given(
    wholes=st.lists(st.booleans(), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 600), max_size=3),
    piece=st.integers(1, 300),
)
def test_however_often_a_file_is_sent_and_broken_off_each_whole_row_is_there_once(
    here: Office, wholes: list[bool], cuts: list[int], piece: int
) -> None:
    desk, named = here.desk(), fresh_id()
    lines = [people(1, first=n)[0] if whole else "Bo" for n, whole in enumerate(wholes)]
    messages = import_messages(desk, google(*lines), GOOGLE, piece=piece, request_id=named)
    for cut in cuts:
        try:
            desk.ImportContacts(messages[: 1 + cut // piece])
        except CapsuleError as refused:
            assert isinstance(refused, InvalidField)
    report = desk.ImportContacts(messages)
    assert report.created + report.already_applied == sum(wholes)
    assert report.refused == len(wholes) - sum(wholes)


def test_a_row_with_a_telephone_number_that_is_none_is_refused_alone(desk: Desk) -> None:
    header = "First Name,Last Name,Organization Name,Labels,Phone 1 - Label,Phone 1 - Value\r\n"
    rows_sent = "Ada,,,,work,tel:+442079460958\r\nBo,,,,work,ask at the desk\r\nCy,,,,work,0044 20 7946 0001\r\n"
    report = send(desk, (header + rows_sent).encode())
    assert report.created == 2
    assert rows(report) == [(2, "INVALID_FIELD", "phones[0].number")]
    assert "desk" not in report.refused_rows[0].message
