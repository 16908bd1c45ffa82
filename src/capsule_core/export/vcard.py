"""Read vCard 2.1, 3.0 (RFC 2426) and 4.0 (RFC 6350); write 3.0 and 4.0.

* N, FN, NICKNAME, X-PHONETIC-FIRST-NAME, X-PHONETIC-LAST-NAME, ORG, TITLE, BDAY, EMAIL, TEL, ADR, URL: their fields. A
  card with a full name and no parts of it keeps it as the given name. Of alternatives (ALTID) the first is taken.
* KIND:org, and X-ABShowAs:COMPANY of Apple, make an organisation.
* CATEGORIES become tags, NOTE becomes *about*; X-CAPSULE-FIELD is a field of the tenant's own (``key;value``), and so
  is a birthday that is no day of the calendar (``circa 1800``).
* Labels are types (``TYPE=work``) where there are such, and else X-ABLabel of a group, as Apple writes them.
* PHOTO is taken where the card holds it; one that it only points at is not fetched.
* UID, REV and every other property are passed over, and so are cards inside of cards (AGENT).

Writing leaves out the history, which vCard has no place for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from capsule_core.errors import InvalidField
from capsule_core.export import Record, Refused, Row, plain
from capsule_core.export._card import contact_of
from capsule_core.export._card_text import card_of
from capsule_core.export._content_lines import LIMIT, LIMIT_OF_MEDIA, unfolded
from capsule_core.export._lines import lines, utf8

__all__ = ["VERSIONS", "read", "write"]

VERSIONS: Final = ("3.0", "4.0")
"""What :func:`write` can write."""

_LIMIT_OF_CARD: Final = 2 * LIMIT_OF_MEDIA
_COST_OF_LINE: Final = 64
_MARK: Final = b"\xef\xbb\xbf"
_BOUNDARY = re.compile(rb"\s*(BEGIN|END)\s*:\s*VCARD\s*", re.IGNORECASE)
_AGENT = re.compile(rb"AGENT(;[^:]*)?:\s*", re.IGNORECASE)


def write(records: Iterable[Record], *, version: str = "4.0") -> Iterator[bytes]:
    """Write one card for each of *records*, in UTF-8.

    Raises:
        InvalidField: *version* is none of :data:`VERSIONS`.
    """
    if version not in VERSIONS:
        raise InvalidField("version", f"must be one of {', '.join(VERSIONS)}")
    modern = version == "4.0"
    return (card_of(plain(record), modern=modern) for record in records)


def read(
    chunks: Iterable[bytes], *, new_id: Callable[[int], str], photo_id: Callable[[int], str]
) -> Iterator[Row | Refused]:
    """Read contacts, card by card; *new_id* and *photo_id* make the ids of the contact and the photo in card n.

    Cards count from 1. UTF-8 is expected, or UTF-16 with a byte order mark; a card of version 2.1 may name another
    encoding line by line, and is taken to be in Windows-1252 where it names none and is no UTF-8.

    Raises:
        InvalidField: there is something in the file, but no card.
    """
    for card in _cards(unfolded(lines(utf8(chunks), limit=LIMIT_OF_MEDIA))):
        if card.problem:
            yield card.problem
        else:
            yield contact_of(card.lines, card.number, new_id=new_id, photo_id=photo_id)


@attrs.define
class _Pending:
    """A card while it is read: its lines, or what is wrong with it."""

    number: int
    lines: list[bytes] = attrs.Factory(list)
    last: bytes = b""
    size: int = 0
    depth: int = 0
    problem: Refused | None = None

    def take(self, line: bytes | None) -> None:
        self.last = line or b""
        if self.depth or self.problem:
            return
        self.size += len(self.last) + _COST_OF_LINE
        if line is None or self.size > _LIMIT_OF_CARD:
            problem = f"has a line longer than {LIMIT} bytes, or is longer than {_LIMIT_OF_CARD} bytes in all"
            self.refused("TOO_LONG", problem)
        else:
            self.lines.append(line)

    def swallows(self, boundary: bytes) -> bool:
        """Whether *boundary* belongs to a card inside of this one; only ``AGENT:`` announces one."""
        if boundary == b"BEGIN" and _AGENT.fullmatch(self.last):
            self.depth += 1
            return True
        if boundary == b"END" and self.depth:
            self.depth -= 1
            return True
        return False

    def unterminated(self) -> _Pending:
        return self.refused("CARD_UNTERMINATED", "does not end: END:VCARD is missing")

    def unstarted(self) -> _Pending:
        return self.refused("CARD_UNSTARTED", "ends without having begun: BEGIN:VCARD is missing")

    def refused(self, reason: str, problem: str) -> _Pending:
        self.problem = self.problem or Refused(self.number, reason=reason, field="card", problem=problem)
        self.lines.clear()
        return self


def _cards(found: Iterable[bytes | None]) -> Iterator[_Pending]:
    card: _Pending | None = None
    number, strange = 0, False
    for line in found:
        boundary = _boundary(line)
        if not boundary:
            strange = strange or line != b""
            if card:
                card.take(line)
        elif card and card.swallows(boundary):
            continue
        elif boundary == b"BEGIN":
            if card:
                yield card.unterminated()
            number += 1
            card = _Pending(number)
        else:
            number += card is None
            yield card or _Pending(number).unstarted()
            card = None
    if card:
        yield card.unterminated()
    elif strange and not number:
        raise InvalidField("file", "holds no vCard: there is no BEGIN:VCARD in it")


def _boundary(line: bytes | None) -> bytes | None:
    found = line and _BOUNDARY.fullmatch(line.removeprefix(_MARK))
    return found[1].upper() if found else None
