"""The print summary: a contact with its whole history on one page that stands alone, for a person to read.

Nothing is loaded from anywhere and nothing runs: the style is inside, the photo is a data URI, and the page's own
Content-Security-Policy forbids the rest. Every value is escaped and finds its own direction of writing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from itertools import chain
from typing import Final

from capsule_core.contacts import Contact, Entry, Person, Photo, PostalAddress, display_name
from capsule_core.export import Exported

__all__ = ["write"]

_STYLE: Final = """
:root { color-scheme: light; --ink: #1c2430; --quiet: #5a6575; --line: #d9dee5; --wash: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--wash); color: var(--ink); line-height: 1.45; overflow-wrap: anywhere;
  font-family: system-ui, "Segoe UI", "Noto Sans", "Noto Sans Arabic", "Noto Sans CJK SC", sans-serif; }
main { max-width: 52rem; margin: 2rem auto; }
article { background: #fff; border: 1px solid var(--line); border-radius: .5rem; padding: 2rem 2.25rem;
  margin-block-end: 2rem; }
header { display: flex; gap: 1.5rem; align-items: center; padding-block-end: 1.25rem;
  border-block-end: 2px solid var(--ink); }
header img { inline-size: 6rem; block-size: 6rem; object-fit: cover; border-radius: .5rem; flex: none; }
header > div { flex: 1; min-inline-size: 0; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
header p { margin: .35rem 0 0; color: var(--quiet); }
h2 { font-size: 1.05rem; margin: 1.9rem 0 .5rem; }
table { inline-size: 100%; border-collapse: collapse; }
th, td { text-align: start; vertical-align: top; padding: .4rem .75rem .4rem 0;
  border-block-end: 1px solid var(--line); }
h1, td.text { text-align: left; }
tbody th { font-weight: normal; color: var(--quiet); inline-size: 11rem; }
thead th { font-weight: 600; font-size: .85rem; color: var(--quiet); border-block-end-color: var(--quiet); }
.history tbody th { inline-size: 8.5rem; font-variant-numeric: tabular-nums; }
.history td:nth-child(2) { inline-size: 6rem; }
.text { white-space: pre-wrap; unicode-bidi: plaintext; }
.subject { font-weight: 600; }
.quiet, footer { color: var(--quiet); font-size: .85rem; }
footer { margin-block-start: 1.75rem; }
@page { margin: 16mm 15mm; }
@media print {
  body { background: #fff; font-size: 10pt; }
  main { margin: 0; max-width: none; }
  article { border: 0; padding: 0; margin: 0; break-after: page; }
  article:last-child { break-after: auto; }
  h2, thead { break-after: avoid; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = f"default-src 'none'; img-src data:; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
"""
_TAIL: Final = "</main>\n</body>\n</html>\n"

_CHANNELS: Final = {"note": "Note", "email": "E-mail", "call": "Call", "meeting": "Meeting"}
_DIRECTIONS: Final = {"": "", "in": "incoming", "out": "outgoing"}

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

_Row = tuple[str, str, str]


def write(records: Iterable[Exported], *, printed: datetime | None = None) -> Iterator[bytes]:
    """Stream a page on *records*, each beginning on a sheet of its own; *printed* is told at the foot of each."""
    every = iter(records)
    first = next(every, None)
    title = escape(display_name(first.contact)) if first else "No contacts"
    yield _HEAD.format(policy=escape(_POLICY), title=title, style=_STYLE).encode()
    for record in chain([first] if first else [], every):
        yield from (part.encode() for part in _article(record, printed))
    yield _TAIL.encode()


def _article(record: Exported, printed: datetime | None) -> Iterator[str]:
    contact = record.contact
    yield f"<article>\n<header>\n{_picture(record.photo)}<div>\n"
    yield f'<h1 dir="auto">{escape(display_name(contact))}</h1>\n{_role(contact)}</div>\n</header>\n'
    yield _section("Reached at", _reached_at(contact))
    yield _section("Name and work", _names(contact) if isinstance(contact, Person) else [])
    yield _section("Also kept", _also_kept(contact))
    yield from _history(record.entries)
    yield f"<footer>{_footer(record, printed)}</footer>\n</article>\n"


def _picture(photo: Photo | None) -> str:
    if photo is None:
        return ""
    return f'<img src="data:{escape(photo.media_type)};base64,{escape(photo.data)}" alt="Photo">\n'


def _role(contact: Contact) -> str:
    if not isinstance(contact, Person):
        return "<p>Organisation</p>\n"
    shown = [_isolated(part) for part in (contact.job_title, contact.department, contact.organisation_name) if part]
    return f"<p>{' · '.join(shown)}</p>\n" if shown else ""


def _reached_at(contact: Contact) -> list[_Row]:
    return [
        *((_heading("E-mail", primary=email.primary), email.label, email.address) for email in contact.emails),
        *((_heading("Phone", primary=phone.primary), phone.label, phone.number) for phone in contact.phones),
        *(("Address", address.label, _lines(address)) for address in contact.addresses),
        *(("Website", website.label, website.uri) for website in contact.websites),
    ]


def _heading(heading: str, *, primary: bool) -> str:
    return f"{heading} (primary)" if primary else heading


def _lines(address: PostalAddress) -> str:
    town = " ".join(part for part in (address.postal_code, address.locality) if part)
    lines = (address.po_box, address.extended, address.street, town, address.region, address.country)
    return "\n".join(line for line in lines if line)


def _names(person: Person) -> list[_Row]:
    return [
        ("Prefix", "", person.prefix),
        ("Given name", "", person.given_name),
        ("Additional name", "", person.additional_name),
        ("Family name", "", person.family_name),
        ("Suffix", "", person.suffix),
        ("Nickname", "", person.nickname),
        ("Given name", "as spoken", person.phonetic_given_name),
        ("Family name", "as spoken", person.phonetic_family_name),
        ("Birthday", "", _day(person.birthday)),
        ("Organisation", "", person.organisation_name),
        ("Department", "", person.department),
        ("Job title", "", person.job_title),
    ]


def _day(birthday: str) -> str:
    if not birthday:
        return ""
    year, month, day = birthday.rsplit("-", 2)
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year.strip('-')}".strip()


def _also_kept(contact: Contact) -> list[_Row]:
    return [
        ("Tags", "", "\n".join(contact.tags)),
        *(("Own field", field.key, field.value) for field in contact.custom),
        ("About", "", contact.about),
        ("Looked after by", "", contact.owner),
        ("Came from", "", contact.source),
    ]


def _section(heading: str, rows: list[_Row]) -> str:
    shown = "".join(_row(*row) for row in rows if row[2])
    return f"<h2>{heading}</h2>\n<table>\n<tbody>\n{shown}</tbody>\n</table>\n" if shown else ""


def _row(heading: str, label: str, text: str) -> str:
    beside = f' <span class="quiet">{_isolated(label)}</span>' if label else ""
    return f'<tr><th scope="row">{heading}{beside}</th><td class="text" dir="auto">{escape(text)}</td></tr>\n'


def _history(entries: tuple[Entry, ...]) -> Iterator[str]:
    yield "<h2>History</h2>\n"
    if not entries:
        yield '<p class="quiet">Nothing was written down.</p>\n'
        return
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("When (UTC)", "What", "Content"))
    yield f'<table class="history">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    for entry in entries:
        yield _entry(entry)
    yield "</tbody>\n</table>\n"


def _entry(entry: Entry) -> str:
    at = escape(entry.occurred_at)
    what = _CHANNELS[entry.channel]
    way = f'<br><span class="quiet">{_DIRECTIONS[entry.direction]}</span>' if entry.direction else ""
    subject = f'<div class="subject" dir="auto">{escape(entry.subject_line)}</div>' if entry.subject_line else ""
    body = f'<div class="text" dir="auto">{escape(entry.body)}</div>' if entry.body else ""
    author = f'<div class="quiet">written down by {_isolated(entry.author)}</div>' if entry.author else ""
    when = f'<time datetime="{at}">{at[:10]} {at[11:16]}</time>'
    return f'<tr><th scope="row">{when}</th><td>{what}{way}</td><td>{subject}{body}{author}</td></tr>\n'


def _footer(record: Exported, printed: datetime | None) -> str:
    number = [f"Record {_isolated(record.contact.id)}"] if record.contact.id else []
    moments = [("kept since", record.created), ("last changed", record.updated), ("printed", printed)]
    return " · ".join([*number, *(f"{what} {_moment(at)}" for what, at in moments if at)])


def _moment(at: datetime) -> str:
    moment = at.astimezone(UTC).isoformat(timespec="seconds")
    return f'<time datetime="{moment}">{moment[:10]} {moment[11:16]} UTC</time>'


def _isolated(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"
