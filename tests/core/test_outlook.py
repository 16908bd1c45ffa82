from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Contact, CustomField, Email, Organisation, Person, Phone, PostalAddress, Website
from capsule_core.errors import InvalidField
from capsule_core.export import Refused, Row, outlook
from capsule_services import sample
from tests.core.damage import MEBIBYTE, endless_line, flipped, outcome, peak_memory, pieces

SAMPLE = sample.read(sample.OUTLOOK)
START = b"".join(SAMPLE.splitlines(keepends=True)[:30])
DESKTOP = next(csv.reader(io.StringIO(SAMPLE.decode("cp1252"), newline="")))
ON_THE_WEB = [
    *("First Name", "Middle Name", "Last Name", "Title", "Suffix", "Nickname", "Given Yomi", "Surname Yomi"),
    *("E-mail Address", "E-mail 2 Address", "E-mail 3 Address", "Home Phone", "Business Phone", "Mobile Phone"),
    *("Job Title", "Department", "Company", "Office Location", "Business Street", "Business City", "Business State"),
    *("Business Postal Code", "Business Country/Region", "Personal Web Page", "Web Page", "Birthday", "Anniversary"),
    *("Notes", "Categories"),
]


def read(chunks: Iterable[bytes]) -> Iterator[Row | Refused]:
    return outlook.read(chunks, new_id=lambda number: f"c{number}")


def book(*rows: Mapping[str, str], header: list[str] = DESKTOP, encoding: str = "cp1252") -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, header, restval="")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode(encoding)


def only(cells: Mapping[str, str], header: list[str] = DESKTOP) -> Contact:
    (found,) = outcome(read, [book(cells, header=header)]).rows
    return found.contact


def test_of_the_sample_exactly_the_broken_rows_are_refused_each_for_its_reason() -> None:
    found = outcome(read, pieces(SAMPLE, 4096))
    assert found.error is None
    assert found.refused == sample.broken_in(sample.OUTLOOK)
    assert [each.number for each in found.said] == list(range(1, sample.RECORDS[sample.OUTLOOK] + 1))


@pytest.mark.parametrize("one", [each for each in sample.CAST if each.file == sample.OUTLOOK], ids=lambda one: one.role)
def test_the_cast_is_read_as_it_was_written(one: sample.Member) -> None:
    person = next(row.contact for row in outcome(read, [SAMPLE]).rows if row.number == one.record)
    assert isinstance(person, Person)
    assert (person.given_name, person.family_name, person.about) == (one.given_name, one.family_name, one.note)
    assert [email.address for email in person.emails] == [one.email]
    assert [phone.number for phone in person.phones] == [one.typed_phone]


@given(st.integers(1, 5000))
def test_how_a_file_is_cut_into_chunks_does_not_matter(size: int) -> None:
    assert outcome(read, pieces(START, size)) == outcome(read, [START])


def test_every_kind_of_column_goes_to_its_field() -> None:
    cells = {
        "Title": "Dr.",
        "First Name": "Renée",
        "Middle Name": "May",
        "Last Name": "Lee",
        "Suffix": "Jr.",
        "Company": "Acme",
        "Department": "Purchase",
        "Job Title": "Buyer",
        "Business Street": "1 Road",
        "Business Street 2": "Floor 3",
        "Business City": "Town",
        "Business State": "NM",
        "Business Postal Code": "87501",
        "Business Country/Region": "United States",
        "Business Address PO Box": "PO 7",
        "Home Fax": "1",
        "Mobile Phone": "2",
        "Business Phone 2": "3",
        "E-mail Address": "ann@example.org",
        "E-mail Type": "SMTP",
        "E-mail 2 Address": "/o=Acme/ou=Exchange/cn=Recipients/cn=ann",
        "E-mail 2 Type": "EX",
        "E-mail 3 Address": "lee@example.org",
        "Birthday": "4/12/1985",
        "Anniversary": "6/1/2014",
        "Categories": "Friends; Choir;",
        "Notes": "Two\r\nlines",
        "Spouse": "Bob",
        "Web Page": "https://example.org",
        "Priority": "Normal",
        "Gender": "Unspecified",
    }
    assert only(cells) == Person(
        id="c1",
        prefix="Dr.",
        given_name="Renée",
        additional_name="May",
        family_name="Lee",
        suffix="Jr.",
        organisation_name="Acme",
        department="Purchase",
        job_title="Buyer",
        birthday="1985-04-12",
        emails=(Email("ann@example.org"), Email("lee@example.org")),
        phones=(Phone("2", label="mobile"), Phone("3", label="work"), Phone("1", label="home fax")),
        addresses=(
            PostalAddress(
                street="1 Road\nFloor 3",
                po_box="PO 7",
                locality="Town",
                region="NM",
                postal_code="87501",
                country="United States",
                label="work",
            ),
        ),
        websites=(Website("https://example.org"),),
        tags=("Friends", "Choir"),
        custom=(CustomField("Anniversary", "2014-06-01"), CustomField("Spouse", "Bob")),
        about="Two\nlines",
        source="import",
    )


def test_what_outlook_on_the_web_exports_is_read_too() -> None:
    found = only({"First Name": "Ann", "Given Yomi": "an", "Business Phone": "1", "Nickname": "A"}, header=ON_THE_WEB)
    assert found == Person(
        id="c1",
        given_name="Ann",
        phonetic_given_name="an",
        nickname="A",
        phones=(Phone("1", label="work"),),
        source="import",
    )


@pytest.mark.parametrize("written", ["0/0/00", "0/0/0000", ""])
def test_a_date_of_zeros_is_none(written: str) -> None:
    found = only({"First Name": "Ann", "Birthday": written, "Anniversary": written})
    assert found == Person(id="c1", given_name="Ann", source="import")


@given(st.dates())
def test_dates_are_month_day_year(day: date) -> None:
    found = only({"First Name": "Ann", "Birthday": f"{day.month}/{day.day}/{day.year:04}"})
    assert isinstance(found, Person)
    assert found.birthday == str(day)


@pytest.mark.parametrize("written", ["13/1/2000", "2/30/2000", "4/12/85", "soon"])
def test_a_date_that_is_not_one_refuses_its_row(written: str) -> None:
    rows = book({"First Name": "Ann", "Birthday": written}, {"First Name": "Bob"})
    assert outcome(read, [rows]).refused == {1: "DATE_IMPOSSIBLE"}


def test_a_company_with_nobody_in_it_is_an_organisation() -> None:
    assert only({"Company": "Acme", "Priority": "Normal"}) == Organisation(id="c1", name="Acme", source="import")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_that_outlook_writes_is_found_out(encoding: str) -> None:
    rows = [{"First Name": f"P{number}"} for number in range(20)] + [{"First Name": "Renée", "Notes": "1 € – “q”"}]
    found = outcome(read, pieces(book(*rows, encoding=encoding), 100))
    assert found.refused == {}
    last = found.rows[-1].contact
    assert isinstance(last, Person)
    assert (last.given_name, last.about) == ("Renée", "1 € – “q”")


def test_a_file_that_turned_out_to_be_utf_8_stays_it() -> None:
    data = book({"First Name": "Renée"}, {"First Name": "Zoe"}, encoding="utf-8").replace(b"Zoe", b"Zo\xeb")
    assert outcome(read, [data]).refused == {2: "ENCODING"}
    assert outcome(read, [b"\xef\xbb\xbf" + book({"First Name": "Zo\xeb"})]).refused == {1: "ENCODING"}


def test_a_byte_that_windows_1252_does_not_have_refuses_its_row() -> None:
    data = book({"First Name": "Renée"}, {"First Name": "Zoe"}, {"First Name": "Bob"}).replace(b"Zoe", b"Zo\x81")
    assert outcome(read, [data]).refused == {2: "ENCODING"}


def test_a_file_of_another_layout_is_refused_and_told_which_columns_are_missing() -> None:
    with pytest.raises(InvalidField, match='"Company", "E-mail Address"'):
        list(read([sample.read(sample.GOOGLE)]))


def test_a_line_of_two_gigabytes_is_one_refused_row_in_little_memory() -> None:
    found: list[Row | Refused] = []
    good = book({"First Name": "Ann"})
    tail = b"\r\n" + good.splitlines()[1] + b"\r\n"
    assert peak_memory(lambda: found.extend(read(endless_line(before=good, after=tail)))) < 16 * MEBIBYTE
    assert [isinstance(each, Row) for each in found] == [True, False, True]


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_what_is_said_of_the_file(data: bytes) -> None:
    outcome(read, [data])
    outcome(read, [book(), data])


@given(flipped(START))
def test_turned_bits_raise_nothing_but_what_is_said_of_the_file(data: bytes) -> None:
    outcome(read, [data])


@pytest.mark.parametrize("end", range(0, len(START), 97))
def test_wherever_a_file_ends_the_rows_before_are_as_they_were(end: int) -> None:
    found, whole = outcome(read, [START[:end]]), outcome(read, [START])
    complete = sum(1 for _ in csv.reader(io.StringIO(START[:end].decode("cp1252"), newline=""))) - 2
    assert found.said[: max(complete, 0)] == whole.said[: max(complete, 0)]
    assert found.error is None or not found.said
