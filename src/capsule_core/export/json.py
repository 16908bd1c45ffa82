"""Contacts as JSON: everything, one contact a line, the same bytes for the same values.

::

    {"format":"capsule-contacts","version":1,"contacts":[
    {"contact":{...},"created":"2026-05-04T09:30:00Z","entries":[...],"kind":"person","photo":null,"updated":"..."},
    {...}
    ]}

The whole is one JSON document (RFC 8259) for whoever reads it so; :func:`read` goes line by line, in bounded memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, cast

from capsule_core.contacts import Contact, Entry, Organisation, Person, Photo
from capsule_core.errors import CapsuleError, InvalidField, NewerSchema
from capsule_core.export import Record, Refused, Row, plain, refused
from capsule_core.export._lines import lines
from capsule_core.export._shape import assembled, mapping

__all__ = ["FORMAT", "VERSION", "read", "write"]

FORMAT: Final = "capsule-contacts"
"""What the first line says that the file is."""

VERSION: Final = 1
"""The version of the format that is written here, and the newest that is read."""

_HEAD: Final = f'{{"format":"{FORMAT}","version":{VERSION},"contacts":['
_TAIL: Final = "]}"
_LONGEST_LINE: Final = 64 * 2**20
_BLOCK: Final = 64 * 2**10
_FIELDS: Final = {"contact", "created", "entries", "kind", "photo", "updated"}
_MODELS: Final = {"person": Person, "organisation": Organisation}
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def write(records: Iterable[Record], *, begins: bool = True, ends: bool = True) -> Iterator[bytes]:
    """Stream *records* as one JSON document, in blocks of some 64 KiB.

    Of a document in parts, only the first *begins* it, with a contact at least if it is not the last, which *ends* it.
    """
    block, size = [_HEAD if begins else ""], 0
    before = "\n" if begins else ",\n"
    for record in records:
        line = _encode(plain(record))
        block.append(before + line)
        before, size = ",\n", size + len(line)
        if size > _BLOCK:
            yield "".join(block).encode()
            block, size = [], 0
    yield "".join([*block, f"\n{_TAIL}\n" if ends else ""]).encode()


def read(chunks: Iterable[bytes]) -> Iterator[Row | Refused]:
    """Stream the contacts of a document that :func:`write` made, whatever the sizes of *chunks*.

    Raises:
        InvalidField: ``file`` is of another shape, not in UTF-8, cut off, or has a line of more than 64 MiB.
        NewerSchema: it was written by a newer version.
    """
    found = _whole(lines(chunks, limit=_LONGEST_LINE))
    _open(next(found, b""))
    number, comma = 0, False
    for line in found:
        if line == _TAIL.encode():
            break
        if number and not comma:
            raise InvalidField("file", "has a line that follows no comma")
        number, comma = number + 1, line.endswith(b",")
        yield _row(number, line.removesuffix(b","))
    else:
        raise InvalidField("file", "ends before its last line: it was cut off")
    if comma or any(found):
        raise InvalidField("file", "does not end as it should: something is missing, or was added")


def _whole(found: Iterable[bytes | None]) -> Iterator[bytes]:
    for line in found:
        if line is None:
            raise InvalidField("file", f"has a line of more than {_LONGEST_LINE} bytes")
        yield line.strip()


def _open(line: bytes) -> None:
    try:
        head = json.loads(line.removeprefix(b"\xef\xbb\xbf").decode() + _TAIL)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or set(head) != {"format", "version", "contacts"} or head["format"] != FORMAT:
        raise InvalidField("file", f"does not begin with the line {_HEAD}")
    if isinstance(head["version"], int) and head["version"] > VERSION:
        raise NewerSchema("the file")


def _row(number: int, line: bytes) -> Row | Refused:
    try:
        return _contact(number, mapping("line", json.loads(line.decode())))
    except (ValueError, RecursionError):
        return Refused(number, reason=InvalidField.reason, field="line", problem="is not JSON in UTF-8")
    except CapsuleError as error:
        return refused(number, error)


def _contact(number: int, held: Mapping[str, Any]) -> Row:
    if not set(held) <= _FIELDS:
        raise InvalidField("line", "has a field that this version does not know")
    model = _MODELS.get(str(held.get("kind")))
    if model is None:
        raise InvalidField("kind", 'must be "person" or "organisation"')
    photo = held.get("photo")
    return Row(
        number,
        cast("Contact", assembled(model, held.get("contact"), "contact")),
        photo=None if photo is None else cast("Photo", assembled(Photo, photo, "photo")),
        entries=cast("tuple[Entry, ...]", assembled(tuple[Entry, ...], held.get("entries", []), "entries")),
        created=_moment("created", held.get("created")),
        updated=_moment("updated", held.get("updated")),
    )


def _moment(path: str, held: object) -> datetime:
    try:
        moment = datetime.fromisoformat(cast("str", held))
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidField(path, "must be a moment with its time zone (RFC 3339)")
    return moment
