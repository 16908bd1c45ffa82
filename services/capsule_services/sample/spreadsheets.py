"""Address books as Google Contacts and classic Outlook export them to CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from capsule_services.sample.people import Address, Person

__all__ = ["GOOGLE_HEADER", "OUTLOOK_HEADER", "Row", "google_book", "google_row", "outlook_book", "outlook_row"]

Row = list[str]

_PARTS: Final = (
    "Label",
    "Formatted",
    "Street",
    "City",
    "PO Box",
    "Region",
    "Postal Code",
    "Country",
    "Extended Address",
)
GOOGLE_HEADER: Final = (
    *("First Name", "Middle Name", "Last Name"),
    *("Phonetic First Name", "Phonetic Middle Name", "Phonetic Last Name"),
    *("Name Prefix", "Name Suffix", "Nickname", "File As"),
    *("Organization Name", "Organization Title", "Organization Department"),
    *("Birthday", "Notes", "Photo", "Labels"),
    *(f"E-mail {place} - {part}" for place in (1, 2, 3) for part in ("Label", "Value")),
    *(f"Phone {place} - {part}" for place in (1, 2, 3) for part in ("Label", "Value")),
    *(f"Address {place} - {part}" for place in (1, 2) for part in _PARTS),
    *("Relation 1 - Label", "Relation 1 - Value", "Website 1 - Label", "Website 1 - Value"),
    *("Event 1 - Label", "Event 1 - Value", "Custom Field 1 - Label", "Custom Field 1 - Value"),
)

_PLACE: Final = ("Street", "Street 2", "Street 3", "City", "State", "Postal Code", "Country/Region")
OUTLOOK_HEADER: Final = (
    *("Title", "First Name", "Middle Name", "Last Name", "Suffix", "Company", "Department", "Job Title"),
    *(f"{label} {part}" for label in ("Business", "Home", "Other") for part in _PLACE),
    *("Assistant's Phone", "Business Fax", "Business Phone", "Business Phone 2", "Callback", "Car Phone"),
    *("Company Main Phone", "Home Fax", "Home Phone", "Home Phone 2", "ISDN", "Mobile Phone", "Other Fax"),
    *("Other Phone", "Pager", "Primary Phone", "Radio Phone", "TTY/TDD Phone", "Telex"),
    *("Account", "Anniversary", "Assistant's Name", "Billing Information", "Birthday", "Business Address PO Box"),
    *("Categories", "Children", "Directory Server"),
    *("E-mail Address", "E-mail Type", "E-mail Display Name"),
    *("E-mail 2 Address", "E-mail 2 Type", "E-mail 2 Display Name"),
    *("E-mail 3 Address", "E-mail 3 Type", "E-mail 3 Display Name"),
    *("Gender", "Government ID Number", "Hobby", "Home Address PO Box", "Initials", "Internet Free Busy"),
    *("Keywords", "Language", "Location", "Manager's Name", "Mileage", "Notes", "Office Location"),
    *("Organizational ID Number", "Other Address PO Box", "Priority", "Private", "Profession", "Referred By"),
    *("Sensitivity", "Spouse", "User 1", "User 2", "User 3", "User 4", "Web Page"),
)


def google_row(one: Person, number: int) -> Row:
    """Lay *one* out for Google; every tenth shows what only some contacts carry (an event, a relation, a photo)."""
    some, phonetic = number % 10 == 0, one.roman if one.roman != (one.given, one.family) else ("", "")
    cells = {
        "First Name": one.given,
        "Middle Name": one.middle,
        "Last Name": one.family,
        "Phonetic First Name": phonetic[0] if number % 3 == 0 else "",
        "Phonetic Last Name": phonetic[1] if number % 3 == 0 else "",
        "Name Prefix": one.prefix,
        "Nickname": one.nickname,
        "Organization Name": one.organisation,
        "Organization Title": one.title,
        "Organization Department": one.department,
        "Birthday": "" if one.birthday is None else one.birthday.strftime(" --%m-%d" if some else "%Y-%m-%d"),
        "Notes": one.note,
        "Photo": f"https://photos.example.com/contacts/{number}" if some else "",
        "Labels": " ::: ".join(("* myContacts", *one.tags)),
        "Website 1 - Label": "Profile" if one.website else "",
        "Website 1 - Value": one.website,
        "Event 1 - Label": "Anniversary" if some else "",
        "Event 1 - Value": "2014-06-21" if some else "",
        "Relation 1 - Label": "Assistant" if some else "",
        "Relation 1 - Value": "Ask at the desk" if some else "",
        "Custom Field 1 - Label": "Shoe size" if some else "",
        "Custom Field 1 - Value": str(36 + number % 9) if some else "",
    }
    cells |= _google_emails(one) | _google_phones(one)
    for place, address in enumerate(one.addresses, start=1):
        cells |= {f"Address {place} - {part}": text for part, text in _google_address(address).items()}
    return [cells.get(name, "") for name in GOOGLE_HEADER]


def _google_emails(one: Person) -> dict[str, str]:
    """The first address is marked with a star, as Google marks what it holds to be primary."""
    labels = ("* Home", "Work", "Other")
    return {
        f"E-mail {place} - {part}": text
        for place, (label, email) in enumerate(zip(labels, one.emails, strict=False), start=1)
        for part, text in (("Label", label), ("Value", email))
    }


def _google_phones(one: Person) -> dict[str, str]:
    """Numbers of one label share a cell, parted by three colons."""
    phones = [(phone.label, phone.text) for phone in one.phones]
    if len(phones) == 3:
        phones = [phones[0], ("Work", f"{phones[1][1]} ::: {phones[2][1]}")]
    return {
        f"Phone {place} - {part}": text
        for place, (label, number) in enumerate(phones, start=1)
        for part, text in (("Label", label), ("Value", number))
    }


def _google_address(address: Address) -> dict[str, str]:
    city, _, region = address.city.partition(", ")
    return {
        "Label": address.label,
        "Formatted": f"{address.street}\n{address.city} {address.code}\n{address.country}",
        "Street": address.street,
        "City": city,
        "Region": region,
        "Postal Code": address.code,
        "Country": address.country,
    }


def google_book(rows: Iterable[Sequence[str]]) -> bytes:
    """Write *rows* as Google does: UTF-8 without a mark, lines ended by LF, quotes only where needed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(GOOGLE_HEADER)
    writer.writerows(rows)
    return text.getvalue().encode()


def outlook_row(one: Person, number: int) -> Row:
    """Lay *one* out for Outlook, with the defaults it writes into every row: an unset date is 0/0/00."""
    cells = {
        "Title": one.prefix,
        "First Name": one.given,
        "Middle Name": one.middle,
        "Last Name": one.family,
        "Company": one.organisation,
        "Department": one.department,
        "Job Title": one.title,
        "Anniversary": "0/0/00",
        "Birthday": "0/0/00"
        if one.birthday is None
        else f"{one.birthday.month}/{one.birthday.day}/{one.birthday.year}",
        "Categories": ";".join(one.tags),
        "Gender": "Unspecified",
        "Language": one.culture.language if number % 7 == 0 else "",
        "Notes": one.note.replace("\n", "\r\n"),
        "Priority": "Normal",
        "Private": "False",
        "Sensitivity": "Normal",
        "Web Page": one.website,
    }
    columns = {"Mobile": "Mobile Phone", "Home": "Home Phone", "Work": "Business Phone"}
    cells |= {columns[phone.label]: phone.text for phone in one.phones} | _outlook_emails(one)
    for address in one.addresses:
        cells |= _outlook_address(address)
    return [cells.get(name, "") for name in OUTLOOK_HEADER]


def _outlook_emails(one: Person) -> dict[str, str]:
    return {
        f"{field} {part}": text
        for field, email in zip(("E-mail", "E-mail 2", "E-mail 3"), one.emails, strict=False)
        for part, text in (("Address", email), ("Type", "SMTP"), ("Display Name", f"{one.full_name} ({email})"))
    }


def _outlook_address(address: Address) -> dict[str, str]:
    label = "Business" if address.label == "Work" else "Home"
    city, _, region = address.city.partition(", ")
    street, _, second = address.street.partition(", ")
    parts = (street, second, "", city, region, address.code, address.country_name)
    return {f"{label} {part}": text for part, text in zip(_PLACE, parts, strict=True)}


def outlook_book(rows: Iterable[Sequence[str]]) -> bytes:
    """Write *rows* as Outlook does: Windows-1252, lines ended by CRLF, every cell that holds something in quotes."""
    quoted = (
        ",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if cell else "" for cell in row)
        for row in (OUTLOOK_HEADER, *rows)
    )
    return "".join(f"{line}\r\n" for line in quoted).encode("cp1252")
