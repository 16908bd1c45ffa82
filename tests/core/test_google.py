from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import CustomField, Email, Organisation, Person, Phone, PostalAddress, Website
from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row, google
from capsule_services import sample
from tests.core.damage import MEBIBYTE, endless_line, flipped, outcome, peak_memory, pieces

SAMPLE = sample.read(sample.GOOGLE)
START = b"".join(SAMPLE.splitlines(keepends=True)[:40])
OLD = (
    *("Name", "Given Name", "Additional Name", "Family Name", "Yomi Name", "Given Name Yomi", "Family Name Yomi"),
    *("Name Prefix", "Name Suffix", "Nickname", "Maiden Name", "Birthday", "Occupation", "Notes", "Group Membership"),
    *("E-mail 1 - Type", "E-mail 1 - Value", "IM 1 - Type", "IM 1 - Service", "IM 1 - Value"),
    *("Phone 1 - Type", "Phone 1 - Value", "Address 1 - Type", "Address 1 - Formatted", "Address 1 - Street"),
    *("Organization 1 - Type", "Organization 1 - Name", "Organization 1 - Title", "Organization 1 - Department"),
    *("Organization 2 - Name", "Website 1 - Type", "Website 1 - Value"),
)
NEW = (
    *("First Name", "Middle Name", "Last Name", "Phonetic First Name", "Phonetic Last Name", "Nickname"),
    *("Organization Name", "Organization Title", "Organization Department", "Birthday", "Notes", "Photo", "Labels"),
    *("E-mail 1 - Label", "E-mail 1 - Value", "Phone 1 - Label", "Phone 1 - Value"),
    *("Address 1 - Label", "Address 1 - Formatted", "Address 1 - Street", "Address 1 - City", "Address 1 - Country"),
    *("Website 1 - Label", "Website 1 - Value", "Event 1 - Label", "Event 1 - Value"),
    *("Custom Field 1 - Label", "Custom Field 1 - Value"),
)


def read(chunks: Iterable[bytes]) -> Iterator[Row | Refused]:
    return google.read(chunks, new_id=lambda number: f"c{number}")


def book(header: Sequence[str], *rows: Mapping[str, str]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, header, restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def only(header: Sequence[str], **cells: str) -> Person | Organisation:
    """The contact that the one row of a file makes; cells are given by `first_name`, `e_mail_1___value`, ..."""
    named = {"".join(sign for sign in name.lower() if sign.isalnum()): name for name in header}
    row = {named[name.replace("_", "")]: text for name, text in cells.items()}
    (found,) = outcome(read, [book(header, row)]).rows
    return found.contact


def test_of_the_sample_exactly_the_broken_rows_are_refused_each_for_its_reason() -> None:
    found = outcome(read, pieces(SAMPLE, 4096))
    assert found.error is None
    assert found.refused == sample.broken_in(sample.GOOGLE)
    assert [each.number for each in found.said] == list(range(1, sample.RECORDS[sample.GOOGLE] + 1))


@pytest.mark.parametrize("one", [each for each in sample.CAST if each.file == sample.GOOGLE], ids=lambda one: one.role)
def test_the_cast_is_read_as_it_was_written(one: sample.Member) -> None:
    person = next(row.contact for row in outcome(read, [SAMPLE]).rows if row.number == one.record)
    assert isinstance(person, Person)
    assert (person.given_name, person.family_name, person.about) == (one.given_name, one.family_name, one.note)
    assert [email.address for email in person.emails] == [one.email]
    assert [phone.number for phone in person.phones] == [one.typed_phone]
    assert [(address.street, address.locality) for address in person.addresses] == [(one.street, one.city)]


@given(st.integers(1, 5000))
def test_how_a_file_is_cut_into_chunks_does_not_matter(size: int) -> None:
    assert outcome(read, pieces(START, size)) == outcome(read, [START])


@given(st.integers(0, 2**40))
def test_the_same_row_gets_the_same_id_every_time(start: int) -> None:
    rows = list(google.read([START], new_id=lambda number: str(start + number)))
    assert [row.contact.id for row in rows if isinstance(row, Row)] == [
        str(start + row.number) for row in rows if isinstance(row, Row)
    ]


def test_every_kind_of_column_goes_to_its_field() -> None:
    assert only(
        NEW,
        first_name="Ann",
        middle_name="May",
        last_name="Lee",
        phonetic_first_name="an",
        phonetic_last_name="li",
        nickname="Annie",
        organization_name="Acme",
        organization_title="Buyer",
        organization_department="Purchase",
        birthday=" --02-29",
        notes="Two\nlines",
        photo="https://photos.example/1",
        labels="* myContacts ::: Friends ::: * starred",
        e_mail_1_label="* Work",
        e_mail_1_value="ann@example.org ::: lee@example.org",
        phone_1_label="Work Fax",
        phone_1_value="+44 7700 900813",
        address_1_label="Home",
        address_1_formatted="passed over",
        address_1_street="1 Road",
        address_1_city="Town",
        address_1_country="GB",
        website_1_label="Profile",
        website_1_value="https://example.org/ann",
        event_1_label="Anniversary",
        event_1_value="2014-06-21",
        custom_field_1_value="42",
    ) == Person(
        id="c1",
        given_name="Ann",
        additional_name="May",
        family_name="Lee",
        phonetic_given_name="an",
        phonetic_family_name="li",
        nickname="Annie",
        organisation_name="Acme",
        job_title="Buyer",
        department="Purchase",
        birthday="--02-29",
        about="Two\nlines",
        tags=("Friends", "starred"),
        emails=(Email("ann@example.org", label="work", primary=True), Email("lee@example.org", label="work")),
        phones=(Phone("+44 7700 900813", label="work fax"),),
        addresses=(PostalAddress(street="1 Road", locality="Town", country="GB", label="home"),),
        websites=(Website("https://example.org/ann", label="profile"),),
        custom=(CustomField("Anniversary", "2014-06-21"), CustomField("Custom Field", "42")),
        source="import",
    )


def test_the_older_layout_is_read_too() -> None:
    assert only(
        OLD,
        given_name="Ann",
        family_name="Lee",
        given_name_yomi="an",
        maiden_name="Poe",
        group_membership="* My Contacts ::: * myContacts ::: Friends",
        e_mail_1_type="* Home",
        e_mail_1_value="ann@example.org",
        im_1_service="Jabber",
        im_1_value="ann@chat.example",
        organization_1_name="Acme",
        organization_1_title="Buyer",
        organization_2_name="Apex",
    ) == Person(
        id="c1",
        given_name="Ann",
        family_name="Lee",
        phonetic_given_name="an",
        organisation_name="Acme",
        job_title="Buyer",
        tags=("Friends",),
        emails=(Email("ann@example.org", label="home", primary=True),),
        custom=(
            CustomField("Jabber", "ann@chat.example"),
            CustomField("Maiden Name", "Poe"),
            CustomField("Organization", "Apex"),
        ),
        source="import",
    )


def test_a_name_that_was_never_taken_apart_is_kept() -> None:
    person = only(OLD, name="Ann Lee", organization_1_name="Acme")
    assert isinstance(person, Person)
    assert (person.given_name, person.organisation_name) == ("Ann Lee", "Acme")


@pytest.mark.parametrize("cells", [{"organization_name": "Acme"}, {"organization_name": "Acme", "notes": "Sells"}])
def test_an_organisation_with_nobody_in_it_is_an_organisation(cells: dict[str, str]) -> None:
    found = only(NEW, **cells)
    assert isinstance(found, Organisation)
    assert found.name == "Acme"


@pytest.mark.parametrize("cells", [{"organization_title": "Buyer"}, {"last_name": "Lee"}, {"birthday": "1990-01-01"}])
def test_somebody_at_an_organisation_is_a_person(cells: dict[str, str]) -> None:
    assert isinstance(only(NEW, organization_name="Acme", **cells), Person)


def test_an_address_without_parts_is_kept_as_it_is_formatted() -> None:
    contact = only(NEW, first_name="Ann", address_1_label="Work", address_1_formatted="1 Road\nTown")
    assert contact.addresses == (PostalAddress(street="1 Road\nTown", label="work"),)


def test_addresses_that_share_their_cells_come_apart() -> None:
    contact = only(
        NEW,
        first_name="Ann",
        address_1_street="1 Road ::: 2 Lane",
        address_1_city="Town ::: City",
        address_1_country="GB",
    )
    assert contact.addresses == (
        PostalAddress(street="1 Road", locality="Town", country="GB"),
        PostalAddress(street="2 Lane", locality="City"),
    )


@pytest.mark.parametrize(
    ("cells", "reason", "field"),
    [
        ({"First Name": "Ann", "E-mail 1 - Value": "nowhere"}, "EMAIL_MALFORMED", "emails[0].address"),
        ({"First Name": "Ann", "Birthday": "2023-02-31"}, "DATE_IMPOSSIBLE", "birthday"),
        ({"First Name": "Ann", "Notes": "card 4111 1111 1111 1111"}, "CARD_NUMBER", "about"),
        ({"First Name": "Ann", "Custom Field 1 - Value": "4111-1111-1111-1111"}, "CARD_NUMBER", "custom[0].value"),
        ({"First Name": "A\x00nn"}, "CONTROL_CHARACTER", "First Name"),
        ({"Labels": "* myContacts"}, "EMPTY", "display_name"),
        ({"First Name": "x" * 501}, "INVALID_FIELD", "given_name"),
    ],
)
def test_a_bad_cell_refuses_its_row_and_no_other(cells: dict[str, str], reason: str, field: str) -> None:
    bad, good = outcome(read, [book(NEW, cells, {"First Name": "Bob"})]).said
    assert isinstance(bad, Refused)
    assert (bad.number, bad.reason, bad.field) == (1, reason, field)
    assert isinstance(good, Row)
    assert good.number == 2


@pytest.mark.parametrize("cell", ["nowhere@", "card 4111 1111 1111 1111"])
def test_a_refusal_never_repeats_what_it_refuses(cell: str) -> None:
    cells = {"First Name": "Ann", "E-mail 1 - Value": cell, "Notes": cell}
    assert cell not in str(outcome(read, [book(NEW, cells)]).said)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_changes_nothing(mark: bytes) -> None:
    assert outcome(read, [mark + START]) == outcome(read, [START])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_with_a_byte_order_mark_is_read(encoding: str) -> None:
    text = START.decode() if encoding == "utf-16" else f"\ufeff{START.decode()}"
    assert outcome(read, pieces(text.encode(encoding), 333)) == outcome(read, [START])


def test_windows_line_ends_change_nothing() -> None:
    assert outcome(read, [START.replace(b"\n", b"\r\n")]) == outcome(read, [START])


def test_a_row_in_another_encoding_is_refused_and_never_guessed_at() -> None:
    data = book(NEW, {"First Name": "René"}, {"First Name": "Zoë"}).replace("René".encode(), "René".encode("cp1252"))
    found = outcome(read, [data])
    assert found.refused == {1: "ENCODING"}
    assert [row.number for row in found.rows] == [2]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"First Name,Last Name,Organization Name\n", '"Labels"'),
        (sample.read(sample.OUTLOOK), '"Organization Name", "Labels"'),
        ("First Name,Last Name,Organization Name,Labels\n".encode("utf-16-le"), "columns"),
        (b'"First Name', "header"),
        (b"\xff\xfe\xfd", "no header that can be read"),
    ],
)
def test_a_file_of_another_layout_is_refused_and_told_which_columns_are_missing(data: bytes, told: str) -> None:
    with pytest.raises(InvalidField, match=told):
        list(read([data]))


def test_a_quotation_mark_that_is_never_closed_costs_one_row() -> None:
    good = book(NEW, *({"First Name": f"P{number}"} for number in range(1, 51)))
    found = outcome(read, [good.replace(b"P7,", b'"P7,')])
    assert found.refused == {7: "ROW_MALFORMED"}
    assert [row.number for row in found.rows] == [number for number in range(1, 51) if number != 7]


def test_a_file_full_of_quotation_marks_that_are_never_closed_ends_soon() -> None:
    rows = book(NEW) + b'a","\n' * 400_000
    found = outcome(read, pieces(rows, MEBIBYTE))
    assert found.error is None or "quotation" in found.error.problem


def test_a_line_of_two_gigabytes_is_one_refused_row_in_little_memory() -> None:
    good = book(NEW, {"First Name": "Ann"})
    tail = b"\n" + good.splitlines()[1] + b"\n"
    found: list[Row | Refused] = []
    peak = peak_memory(lambda: found.extend(read(endless_line(before=good, after=tail))))
    assert peak < 16 * MEBIBYTE
    assert [(each.number, isinstance(each, Row)) for each in found] == [(1, True), (2, False), (3, True)]


def test_a_million_columns_are_refused() -> None:
    assert outcome(read, [b"," * 1_000_000 + b"\n"]).error
    wide = book(NEW) + b"," * 1_000_000 + b"\n"
    assert outcome(read, [wide]).refused == {1: "COLUMN_COUNT"}
    header = ",".join((*NEW, *(f"Phone {n} - Value" for n in range(2, 40_000)))).encode() + b"\n"
    assert outcome(read, [header, b"Ann" + b"," * (header.count(b",")) + b"\n"]).rows


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_what_is_said_of_the_file(data: bytes) -> None:
    outcome(read, [data])
    outcome(read, [book(NEW), data])


@given(st.text(st.sampled_from(',"\n\r\0a:* é'), max_size=300))
def test_arbitrary_tables_raise_nothing_but_what_is_said_of_the_file(text: str) -> None:
    outcome(read, [book(NEW), text.encode()])


@given(flipped(START))
def test_turned_bits_raise_nothing_but_what_is_said_of_the_file(data: bytes) -> None:
    outcome(read, [data])


@pytest.mark.parametrize("end", range(0, len(START), 97))
def test_wherever_a_file_ends_the_rows_before_are_as_they_were(end: int) -> None:
    found, whole = outcome(read, [START[:end]]), outcome(read, [START])
    complete = sum(1 for row in csv.reader(io.StringIO(START[:end].decode(errors="replace"), newline=""))) - 2
    assert found.said[: max(complete, 0)] == whole.said[: max(complete, 0)]
    assert found.error is None or not found.said
