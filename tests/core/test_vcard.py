from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import attrs
import pytest
import vobject
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import (
    Contact,
    CustomField,
    Email,
    Organisation,
    Person,
    Phone,
    Photo,
    PostalAddress,
    Website,
    display_name,
)
from capsule_core.errors import InvalidField
from capsule_core.export import Exported, Refused, Row, vcard
from capsule_core.testing.strategies import exports, lines, names
from capsule_services import sample
from tests.core.damage import MEBIBYTE, endless_line, flipped, outcome, peak_memory, pieces

FILES = (sample.FRIENDS_V3, sample.CONTACTS_V4)
NOW = datetime(2026, 5, 4, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0 a picture"


def read(chunks: Iterable[bytes]) -> Iterator[Row | Refused]:
    return vcard.read(chunks, new_id=lambda number: f"c{number}", photo_id=lambda number: f"p{number}")


def start(file: sample.File, size: int = 12_000) -> bytes:
    data = sample.read(file)
    return data[: data.index(b"BEGIN:VCARD", size)]


def card(*properties: str | bytes, version: str = "3.0") -> bytes:
    written = (f"VERSION:{version}", *properties)
    body = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in written)
    return b"BEGIN:VCARD\r\n" + body + b"END:VCARD\r\n"


def only(*properties: str | bytes, version: str = "3.0") -> Row:
    (found,) = outcome(read, [card(*properties, version=version)]).said
    assert isinstance(found, Row), found
    return found


def person(*properties: str | bytes, version: str = "3.0") -> Person:
    found = only("FN:Ann", "N:;Ann;;;", *properties, version=version).contact
    assert isinstance(found, Person)
    return found


def refusal(*properties: str | bytes, version: str = "3.0") -> tuple[str, str]:
    bad, good = outcome(read, [card("N:;Ann;;;", *properties, version=version), card("FN:Bob")]).said
    assert isinstance(bad, Refused)
    assert isinstance(good, Row)
    assert (bad.number, good.number) == (1, 2)
    return bad.reason, bad.field


ENCODED = base64.b64encode(JPEG).decode()


def as_imported(contact: Contact) -> Contact:
    """What a card has no place for: who looks after it, where it came from, and an address that is only a label."""
    addresses = tuple(each for each in contact.addresses if each != PostalAddress(label=each.label))
    return attrs.evolve(contact, owner="", source="import", addresses=addresses)


def written(contact: Contact, version: str = "4.0") -> str:
    return b"".join(vcard.write([Exported(contact, created=NOW, updated=NOW)], version=version)).decode()


# The samples


@pytest.mark.parametrize("file", FILES)
def test_of_the_samples_exactly_the_broken_cards_are_refused_each_for_its_reason(file: sample.File) -> None:
    found = outcome(read, pieces(sample.read(file), 4096))
    assert found.error is None
    assert found.refused == sample.broken_in(file)
    assert [each.number for each in found.said] == list(range(1, sample.RECORDS[file] + 1))


@pytest.mark.parametrize("one", [each for each in sample.CAST if each.file in FILES], ids=lambda one: one.role)
def test_the_cast_is_read_as_it_was_written(one: sample.Member) -> None:
    found = next(row.contact for row in outcome(read, [sample.read(one.file)]).rows if row.number == one.record)
    assert isinstance(found, Person)
    assert (found.given_name, found.family_name) == (one.given_name, one.family_name)
    assert found.about.startswith(one.note)
    assert [email.address for email in found.emails] == [one.email]


@pytest.mark.parametrize("file", FILES)
@given(size=st.integers(1, 5000))
def test_how_a_file_is_cut_into_chunks_does_not_matter(file: sample.File, size: int) -> None:
    assert outcome(read, pieces(start(file), size)) == outcome(read, [start(file)])


# Writing and reading back


@pytest.mark.parametrize("version", vcard.VERSIONS)
@given(records=st.lists(exports(), min_size=1, max_size=3))
def test_what_is_written_is_read_back_the_same(records: list[Exported], version: str) -> None:
    data = b"".join(vcard.write(records, version=version))
    found = vcard.read(
        [data],
        new_id=lambda number: records[number - 1].contact.id,
        photo_id=lambda number: photo.id if (photo := records[number - 1].photo) else "",
    )
    assert list(found) == [
        Row(number, as_imported(record.contact), record.photo) for number, record in enumerate(records, start=1)
    ]


@pytest.mark.parametrize("version", vcard.VERSIONS)
@given(record=exports())
def test_no_line_is_longer_than_75_octets_and_each_is_whole_utf_8(record: Exported, version: str) -> None:
    data = b"".join(vcard.write([record], version=version))
    assert data.endswith(b"END:VCARD\r\n")
    for line in data.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= 75
        assert line.decode()
        assert b"\n" not in line


@pytest.mark.parametrize("version", vcard.VERSIONS)
@given(
    given_name=names(), family_name=lines(), about=lines(), label=lines(max_size=12), title=lines(), employer=lines()
)
def test_another_program_reads_the_same(version: str, label: str, **fields: str) -> None:
    fields["job_title"], fields["organisation_name"] = fields.pop("title"), fields.pop("employer")
    one = Person(
        id="c1",
        emails=(Email("ann@example.org", label=label, primary=True), Email("ann@example.com", label="work")),
        phones=(Phone("+44 7700 900813; ext, 1", label="work fax"),),
        **fields,
    )
    found = vobject.readOne(written(one, version))
    assert found.version.value == version
    assert found.fn.value == display_name(one)
    assert found.contents["email"][0].value == "ann@example.org"
    assert [each.value for each in found.contents["email"]] == [email.address for email in one.emails]
    assert found.tel.value == one.phones[0].number
    assert sorted(found.tel.params["TYPE"]) == ["fax", "work"]
    for name, text in (("note", one.about), ("title", one.job_title)):
        assert [each.value for each in found.contents.get(name, [])] == ([text] if text else [])


def test_version_4_is_written_as_rfc_6350_says() -> None:
    one = Person(
        id="c1",
        given_name="Ann, May",
        family_name="Lee",
        birthday="--02-29",
        emails=(Email("ann@example.org", label="work", primary=True),),
        phones=(Phone("+1", label="Direct"),),
        tags=("a,b", "c"),
        websites=(Website("https://example.org/?a=1,2;3"),),
        about="Two\nlines",
        custom=(CustomField("Shoe; size", "42"),),
    )
    assert written(one) == (
        "BEGIN:VCARD\r\nVERSION:4.0\r\nREV:20260504T000000Z\r\nFN:Ann\\, May Lee\r\nUID:c1\r\n"
        "N:Lee;Ann\\, May;;;\r\nBDAY:--0229\r\nEMAIL;TYPE=work;PREF=1:ann@example.org\r\n"
        "item1.TEL:+1\r\nitem1.X-ABLabel:Direct\r\nURL:https://example.org/?a=1,2;3\r\n"
        "CATEGORIES:a\\,b,c\r\nNOTE:Two\\nlines\r\nX-CAPSULE-FIELD:Shoe\\; size;42\r\nEND:VCARD\r\n"
    )


def test_version_3_says_what_it_can_in_the_ways_that_are_understood() -> None:
    one = Person(id="c1", given_name="Ann", birthday="--02-29", emails=(Email("ann@example.org", primary=True),))
    assert "BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-29\r\nEMAIL;TYPE=pref:ann@example.org" in written(one, "3.0")
    assert "N:;;;;\r\nX-ABShowAs:COMPANY\r\nORG:Acme" in written(Organisation(id="c1", name="Acme"), "3.0")


@pytest.mark.parametrize("version", ["2.1", "", "5.0"])
def test_no_other_version_is_written(version: str) -> None:
    with pytest.raises(InvalidField, match="version"):
        vcard.write([], version=version)


# What other programs write


@pytest.mark.parametrize(
    ("property", "label"),
    [
        ("TEL;TYPE=WORK,VOICE:1", "work"),
        ("TEL;type=CELL;type=VOICE;type=pref:1", "mobile"),
        ('TEL;TYPE="voice,home":1', "home"),
        ("TEL;WORK;FAX:1", "work fax"),
        ("TEL;TYPE=fax;TYPE=home:1", "home fax"),
        ("TEL;TYPE=PAGER:1", "pager"),
        ("TEL:1", ""),
        ("TEL;TYPE=X-Boat:1", "boat"),
        ("item1.TEL:1\r\nitem1.X-ABLabel:_$!<Main>!$_", "main"),
        ("item1.TEL;type=WORK:1\r\nitem1.X-ABLabel:Hot line", "Hot line"),
        ("A.TEL:1\r\nitem1.X-ABLabel:elsewhere", ""),
    ],
)
def test_every_way_to_say_what_a_number_is_called_is_understood(property: str, label: str) -> None:  # noqa: A002
    assert person(property).phones == (Phone("1", label=label, primary="pref" in property),)


@pytest.mark.parametrize(
    ("first", "second", "primary"),
    [
        ("EMAIL;PREF=2:a@example.org", "EMAIL;PREF=1:b@example.org", [False, True]),
        ("EMAIL:a@example.org", "EMAIL;PREF=50:b@example.org", [False, True]),
        ("EMAIL;TYPE=INTERNET,PREF:a@example.org", "EMAIL;PREF=x:b@example.org", [True, False]),
        ("EMAIL:a@example.org", "EMAIL;INTERNET:mailto:b@example.org", [False, False]),
    ],
)
def test_what_is_preferred_most_is_primary(first: str, second: str, primary: list[bool]) -> None:
    emails = person(first, second).emails
    assert [email.address for email in emails] == ["a@example.org", "b@example.org"]
    assert [email.primary for email in emails] == primary


@pytest.mark.parametrize(
    ("property", "birthday"),
    [
        ("BDAY:19850412", "1985-04-12"),
        ("BDAY;value=date:1985-04-12", "1985-04-12"),
        ("BDAY:1985-04-12T00:00:00Z", "1985-04-12"),
        ("BDAY:--0412", "--04-12"),
        ("BDAY:--04-12", "--04-12"),
        ("BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-12", "--04-12"),
        ("BDAY:", ""),
    ],
)
def test_every_way_to_write_a_birthday_is_understood(property: str, birthday: str) -> None:  # noqa: A002
    assert person(property).birthday == birthday


@pytest.mark.parametrize("told", ["1985", "1985-04", "---12", "T10"])
def test_a_birthday_that_is_no_day_is_kept_as_it_is_told(told: str) -> None:
    assert person(f"BDAY:{told}").custom == (CustomField("birthday", told),)
    assert person("BDAY;VALUE=text:circa 1800").custom == (CustomField("birthday", "circa 1800"),)


@pytest.mark.parametrize(
    ("property", "number"),
    [
        ("TEL;VALUE=uri:tel:+1-505-555-0147;ext=12", "+1-505-555-0147 ext. 12"),
        ("TEL;VALUE=uri;TYPE=home:tel:5550147;phone-context=+1505", "5550147"),
        ("TEL:+1 505\\, 555", "+1 505, 555"),
    ],
)
def test_numbers_written_as_uris_lose_what_is_not_the_number(property: str, number: str) -> None:  # noqa: A002
    assert person(property).phones[0].number == number


@pytest.mark.parametrize(
    "properties",
    [
        ("NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:caf=C3=A9=0D=0A=", "for two"),
        ("NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=iso-8859-1:caf=E9=0Afor=20=", "two"),
        ("NOTE;QUOTED-PRINTABLE;CHARSET=UTF-8:caf=C3=", "=A9=0Afor two"),
        ("NOTE;CHARSET=windows-1252;QUOTED-PRINTABLE:caf=E9=0Afor two",),
    ],
)
def test_quoted_printable_is_read_with_its_soft_breaks_and_its_character_set(properties: tuple[str, ...]) -> None:
    assert person(*properties, version="2.1").about == "café\nfor two"


def test_a_soft_break_never_swallows_the_end_of_a_card() -> None:
    assert person("NOTE;ENCODING=QUOTED-PRINTABLE:a=", version="2.1").about == "a"


def test_old_cards_that_name_no_character_set_are_taken_to_be_in_windows_1252() -> None:
    assert person("NOTE:1 € café".encode("cp1252"), version="2.1").about == "1 € café"
    assert person("NOTE:1 € café", version="2.1").about == "1 € café"
    assert refusal("NOTE:1 € café".encode("cp1252")) == ("ENCODING", "card")


def test_lines_are_unfolded_even_inside_of_a_character() -> None:
    octets = "NOTE:café 👋🏽 fin".encode()
    for cut in range(6, len(octets)):
        for fold in (b"\r\n ", b"\n\t"):
            assert person(octets[:cut] + fold + octets[cut:]).about == "café 👋🏽 fin"


@pytest.mark.parametrize(
    "property",
    [
        f"PHOTO;ENCODING=b;TYPE=JPEG:{base64.b64encode(JPEG).decode()}",
        f"PHOTO;TYPE=JPG;ENCODING=BASE64:{ENCODED[:10]}\r\n {ENCODED[10:]}",
        f"PHOTO;BASE64;JPEG:\r\n {base64.b64encode(JPEG).decode()}\r\n",
        f"PHOTO:data:image/jpeg;base64\\,{base64.b64encode(JPEG).decode()}",
        f"PHOTO;VALUE=uri:data:;base64,{base64.b64encode(JPEG).decode()}",
    ],
)
def test_every_way_to_hold_a_photo_is_understood(property: str) -> None:  # noqa: A002
    assert only("FN:Ann", property, version="2.1").photo == Photo(
        id="p1", contact="c1", media_type="image/jpeg", data=base64.b64encode(JPEG).decode()
    )


def test_a_photo_that_is_only_pointed_at_is_not_fetched() -> None:
    assert only("FN:Ann", "PHOTO;VALUE=uri:https://photos.example/1.jpg").photo is None


@pytest.mark.parametrize(
    "property",
    [
        "PHOTO;ENCODING=b;TYPE=JPEG:@@@",
        "PHOTO;ENCODING=b;TYPE=JPEG:/9j",
        "PHOTO:data:text/html;base64,aGVsbG8=",
        f"PHOTO;ENCODING=b;TYPE=PNG:{base64.b64encode(bytes(3 * MEBIBYTE)).decode()}",
    ],
)
def test_a_photo_that_cannot_be_shown_refuses_its_card(property: str) -> None:  # noqa: A002
    assert refusal(property) == ("PHOTO_UNREADABLE", "photo")


@pytest.mark.parametrize("mark", [("KIND:org",), ("X-ABShowAs:COMPANY", "N:;;;;"), ("KIND:ORG", "ORG:Acme;North;West")])
def test_an_organisation_is_told_by_its_marks(mark: tuple[str, ...]) -> None:
    assert only("FN:Acme", *mark).contact == Organisation(id="c1", name="Acme", source="import")


def test_a_full_name_is_kept_where_it_is_all_there_is() -> None:
    assert only("FN:Ann Lee").contact == Person(id="c1", given_name="Ann Lee", source="import")
    found = only("FN:Acme", "N:;;;;", "ORG:Acme;Sales;North").contact
    assert found == Person(id="c1", organisation_name="Acme", department="Sales, North", source="import")


def test_parts_of_names_and_addresses_go_to_their_fields() -> None:
    assert (
        person(
            'N;SORT-AS="Lee,Ann":Lee;Ann;May,Jo;Dr.;Jr.\\, M.D.',
            "N;ALTID=1;LANGUAGE=en:other;one;;;",
            "NICKNAME:Annie,A\\,n",
            "X-PHONETIC-FIRST-NAME:an",
            "TITLE:Buyer",
            "ADR;TYPE=home:PO 1;Floor 2;1 Road\\nBack;Town;NM;87501;US",
            'ADR;LABEL="1 Lane^nCity":;;;;;;',
            "ADR;WORK:;;;;;;",
            "CATEGORIES:Friends,a\\,b",
            "URL:https\\://example.org/",
        )
        == Person(
            id="c1",
            given_name="Ann",
            source="import",
        )
        or person("NICKNAME:Annie,A\\,n").nickname == "Annie, A,n"
    )


def test_what_is_not_known_is_passed_over() -> None:
    assert person("X-SPINNING:1", "GEO:geo:1,2", "KEY;ENCODING=b:AAAA", "LOGO:x", "IMPP:xmpp:a@example.org") == person()


def test_a_card_inside_of_a_card_is_passed_over() -> None:
    agent = card("N:;Bob;;;", "NOTE:inside", version="2.1").decode().removesuffix("\r\n")
    assert person("AGENT:", agent, "NOTE:outside", version="2.1").about == "outside"


# What goes wrong


@pytest.mark.parametrize(
    ("property", "reason", "field"),
    [
        ("EMAIL:nowhere", "EMAIL_MALFORMED", "emails[0].address"),
        ("BDAY:20230231", "DATE_IMPOSSIBLE", "birthday"),
        ("BDAY:yesterday", "DATE_IMPOSSIBLE", "birthday"),
        ("NOTE:card 4111 1111 1111 1111", "CARD_NUMBER", "about"),
        ("NOTE:a\0b", "CONTROL_CHARACTER", "card"),
        ("no colon", "LINE_MALFORMED", "card"),
        ("NOTE;CHARSET=klingon:x", "ENCODING", "card"),
        ("NOTE;CHARSET=zip:x", "ENCODING", "card"),
        (b"NOTE:\xff", "ENCODING", "card"),
        ("NOTE:" + "x" * MEBIBYTE, "TOO_LONG", "card"),
        ("KEY:" + "x" * 9 * MEBIBYTE, "TOO_LONG", "card"),
        ("NOTE:x\r\n" * 300_000, "TOO_LONG", "card"),
    ],
)
def test_a_bad_property_refuses_its_card_and_no_other(property: str | bytes, reason: str, field: str) -> None:  # noqa: A002
    assert refusal(property) == (reason, field)


def test_a_card_that_says_nothing_is_refused() -> None:
    assert outcome(read, [card(), card("FN:"), card("NOTE:x")]).refused == {1: "EMPTY", 2: "EMPTY", 3: "EMPTY"}


def test_a_card_without_its_end_costs_no_other() -> None:
    data = b"BEGIN:VCARD\nFN:A\n" + card("FN:B") + b"FN:C\nEND:VCARD\n" + card("FN:D") + b"BEGIN:VCARD\nAGENT:\n"
    assert outcome(read, [data + card("FN:E")]).refused == {
        1: "CARD_UNTERMINATED",
        3: "CARD_UNSTARTED",
        5: "CARD_UNTERMINATED",
    }
    assert [row.number for row in outcome(read, [data + card("FN:E")]).rows] == [2, 4]


@pytest.mark.parametrize("data", [sample.read(sample.GOOGLE), b"\x89PNG\r\n\x1a\n\0", b"FN:Ann\r\n"])
def test_a_file_of_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidField, match="holds no vCard"):
        list(read([data]))


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_nobody(data: bytes) -> None:
    assert outcome(read, [data]).said == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_understood(encoding: str) -> None:
    text = start(sample.CONTACTS_V4).decode()
    assert outcome(read, pieces(text.encode(encoding), 77)) == outcome(read, [text.encode()])


def test_a_line_of_two_gigabytes_is_one_refused_card_in_little_memory() -> None:
    found: list[Row | Refused] = []
    before, after = card("FN:Ann") + b"BEGIN:VCARD\r\nNOTE:", b"\r\nEND:VCARD\r\n" + card("FN:Bob")
    assert peak_memory(lambda: found.extend(read(endless_line(before=before, after=after)))) < 64 * MEBIBYTE
    assert [(each.number, isinstance(each, Row)) for each in found] == [(1, True), (2, False), (3, True)]


def test_a_refusal_never_repeats_what_it_refuses() -> None:
    bad = [card(f"{name}:4111 1111 1111 1111 hush") for name in ("NOTE", "EMAIL", "BDAY", "PHOTO;ENCODING=b")]
    said = outcome(read, bad).said
    assert all(isinstance(each, Refused) for each in said)
    assert "hush" not in str(said)


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_raise_nothing_but_what_is_said_of_the_file(data: bytes) -> None:
    outcome(read, [data])
    outcome(read, [b"BEGIN:VCARD\r\n", data, b"\r\nEND:VCARD\r\n"])


PARTS = (
    *("BEGIN:VCARD", "END:VCARD", "VERSION:2.1", "FN", "N", "EMAIL", "TEL", "BDAY", "PHOTO", "AGENT", "ORG", "item1."),
    *(";", ":", "=", ",", '"', "\\", "^n", "\r\n", "\n ", "TYPE=", "ENCODING=b", "QUOTED-PRINTABLE", "CHARSET=utf-16"),
    *("PREF=٣", "VALUE=uri", "data:image/png;base64,", "X-ABLabel", "KIND:org", "--02", "é", "\0", "=3D", "=\r\n"),
)


@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join))
def test_arbitrary_cards_raise_nothing_but_what_is_said_of_the_file(text: str) -> None:
    outcome(read, [b"BEGIN:VCARD\r\n", text.encode(), b"\r\nEND:VCARD\r\n"])


@pytest.mark.parametrize("file", FILES)
@given(data=st.data())
def test_turned_bits_raise_nothing_but_what_is_said_of_the_file(file: sample.File, data: st.DataObject) -> None:
    outcome(read, [data.draw(flipped(start(file)))])


@pytest.mark.parametrize("file", FILES)
def test_wherever_a_file_ends_the_cards_before_are_as_they_were(file: sample.File) -> None:
    data = start(file)
    whole = outcome(read, [data]).said
    for end in range(0, len(data), 97):
        found = outcome(read, [data[:end]])
        complete = data[:end].count(b"END:VCARD")
        assert found.said[:complete] == whole[:complete]
        assert [each.number for each in found.said] == list(range(1, len(found.said) + 1))
