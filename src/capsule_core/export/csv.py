"""Contacts as a flat table: one contact a row, numbered columns for what there may be several of (RFC 4180, UTF-8).

Tags share one cell, a line each. What has no column of its own, because there are more than the table is wide, goes to
the cell ``more`` as JSON, so nothing is left out. Photos and history are not in a table; JSON has them.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end for a formula: such a cell
is written with an apostrophe in front, which :func:`read` takes away again. So is one of these signs that stands after
a semicolon, a tab or a line end: where those part cells, as in most of Europe, it is what a cell begins with (OWASP,
CSV Injection).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, cast

import attrs

from capsule_core.contacts import Contact, CustomField, Email, Organisation, Person, Phone, PostalAddress, Website
from capsule_core.errors import CapsuleError, InvalidField
from capsule_core.export import Record, Refused, Row, plain, refused
from capsule_core.export._shape import assembled, mapping
from capsule_core.export._table import opened

__all__ = ["Widths", "read", "write"]

_BLOCK: Final = 64 * 2**10
_MARK: Final = "\ufeff"
_FORMULA = re.compile(r"""\A(?='*[=+\-@\t\r\n＝＋－＠])|(?<=[;\t\r\n])(?=['"]*[=+\-@＝＋－＠])""")
_ESCAPED = re.compile(r"""\A'(?='*[=+\-@\t\r\n＝＋－＠])|(?<=[;\t\r\n])'(?=['"]*[=+\-@＝＋－＠])""")
_RISKY: Final = frozenset("'=+-@\t\r\n＝＋－＠")
_MODELS: Final = {"person": Person, "organisation": Organisation}
_ITEMS: Final = {"email": Email, "phone": Phone, "address": PostalAddress, "website": Website, "custom": CustomField}
_LISTS: Final = {
    "email": "emails",
    "phone": "phones",
    "address": "addresses",
    "website": "websites",
    "custom": "custom",
}
_NUMBERED = re.compile(r"(email|phone|address|website|custom)_([1-9][0-9]{0,2})_([a-z_]+)")


@attrs.frozen(kw_only=True)
class Widths:
    """How many of each a row has columns for."""

    email: int = 3
    phone: int = 3
    address: int = 2
    website: int = 1
    custom: int = 3


@attrs.frozen
class _Layout:
    header: tuple[str, ...]
    place: Mapping[str, int]
    slots: Mapping[str, Sequence[Mapping[str, int]]]


def write(records: Iterable[Record], *, widths: Widths | None = None, begins: bool = True) -> Iterator[bytes]:
    """Stream *records* as a table, in blocks of some 64 KiB; of a table in parts, only the first *begins* it."""
    layout = _layout(widths or Widths())
    block = io.StringIO(newline="")
    table = csv.writer(block)
    if begins:
        block.write(_MARK)
        table.writerow(layout.header)
    for record in records:
        table.writerow(_cells(plain(record), layout))
        if block.tell() > _BLOCK:
            yield block.getvalue().encode()
            block.seek(0)
            block.truncate()
    yield block.getvalue().encode()


def read(chunks: Iterable[bytes]) -> Iterator[Row | Refused]:
    """Stream the contacts of a table that :func:`write` made, whatever the sizes of *chunks* and the columns' order.

    Raises:
        InvalidField: ``file`` is another table, or not one at all. (A row that cannot be read is refused by itself: not
            in UTF-8, quotes that do not close, more than 1 MiB, a cell of more than 131,072 characters.)
    """
    table = opened(chunks)
    _check_header(table.header)
    for found in table.rows:
        yield found if isinstance(found, Refused) else _taken(found[0], table.header, found[1])


@cache
def _layout(widths: Widths) -> _Layout:
    names = [name for name in _single_names() if name not in ("created", "updated")]
    slots: dict[str, list[dict[str, int]]] = {}
    for item, model in _ITEMS.items():
        slots[_LISTS[item]] = []
        for index in range(1, getattr(widths, item) + 1):
            parts = [field.name for field in attrs.fields(model)]
            slots[_LISTS[item]].append({part: len(names) + at for at, part in enumerate(parts)})
            names += [f"{item}_{index}_{part}" for part in parts]
    names += ["more", "created", "updated"]
    return _Layout(tuple(names), {name: place for place, name in enumerate(names)}, slots)


@cache
def _single_names() -> tuple[str, ...]:
    models = (Organisation, Person)
    fields = [field.name for model in models for field in attrs.fields(model) if field.name not in _LISTS.values()]
    last = ("tags", "about", "owner", "source")
    return tuple(dict.fromkeys(["kind", *(name for name in fields if name not in last), *last, "created", "updated"]))


def _cells(record: Mapping[str, Any], layout: _Layout) -> list[str]:
    row = [""] * len(layout.header)
    place, more = layout.place, {}
    for name in ("kind", "created", "updated"):
        row[place[name]] = record[name]
    for name, held in record["contact"].items():
        if not held:
            continue
        if held.__class__ is str:
            row[place[name]] = _harmless(held)
        elif name == "tags":
            row[place[name]] = _harmless("\n".join(held))
        elif beyond := _fill(row, layout.slots[name], held):
            more[name] = beyond
    if more:
        row[place["more"]] = _harmless(json.dumps(more, ensure_ascii=False, sort_keys=True))
    return row


def _fill(row: list[str], slots: Sequence[Mapping[str, int]], items: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    for slot, item in zip(slots, items, strict=False):
        for part, held in item.items():
            if held:
                row[slot[part]] = "true" if held is True else _harmless(held)
    return items[len(slots) :]


def _harmless(cell: str) -> str:
    if cell[0] in _RISKY or ";" in cell or "\n" in cell or "\t" in cell or "\r" in cell:
        return _FORMULA.sub("'", cell)
    return cell


def _check_header(header: Sequence[str]) -> None:
    known = {*_single_names(), "more"}
    for name in header:
        numbered = _NUMBERED.fullmatch(name)
        parts = [field.name for field in attrs.fields(_ITEMS[numbered[1]])] if numbered else []
        if name not in known and not (numbered and numbered[3] in parts):
            raise InvalidField("file", "has a column that this layout does not know")
    if "kind" not in header or len(set(header)) != len(header):
        raise InvalidField("file", 'must have a column "kind", and no column twice')


def _taken(number: int, header: Sequence[str], cells: Sequence[str]) -> Row | Refused:
    try:
        return _row(number, {name: _original(cell) for name, cell in zip(header, cells, strict=False) if cell})
    except CapsuleError as error:
        return refused(number, error)


def _row(number: int, held: dict[str, str]) -> Row:
    model = _MODELS.get(held.pop("kind", ""))
    if model is None:
        raise InvalidField("kind", 'must be "person" or "organisation"')
    created, updated = _moment("created", held), _moment("updated", held)
    fields = _fields(held)
    try:
        contact = cast("Contact", assembled(model, {"id": "", "source": "", **fields}, "contact"))
    except InvalidField as error:
        raise InvalidField(error.field.removeprefix("contact."), error.problem) from None
    return Row(number, contact, created=created, updated=updated)


def _fields(held: dict[str, str]) -> dict[str, Any]:
    more = held.pop("more", "")
    fields: dict[str, Any] = {}
    items: dict[tuple[str, int], dict[str, Any]] = {}
    for name, cell in held.items():
        if numbered := _NUMBERED.fullmatch(name):
            item = items.setdefault((numbered[1], int(numbered[2])), {})
            item[numbered[3]] = cell if numbered[3] != "primary" else _flag(name, cell)
        else:
            fields[name] = cell.split("\n") if name == "tags" else cell
    for (item_name, _), item in sorted(items.items(), key=lambda found: found[0]):
        fields.setdefault(_LISTS[item_name], []).append(item)
    for name, beyond in _more(more).items():
        if name not in _LISTS.values() or not isinstance(beyond, list):
            raise InvalidField("more", "has a field that this layout does not know")
        fields.setdefault(name, []).extend(beyond)
    return fields


def _more(cell: str) -> dict[str, Any]:
    try:
        return mapping("more", json.loads(cell or "{}"))
    except (ValueError, RecursionError):
        raise InvalidField("more", "is not JSON") from None


def _flag(name: str, cell: str) -> bool:
    if cell != "true":
        raise InvalidField(name, 'must be "true" or empty')
    return True


def _moment(name: str, held: dict[str, str]) -> datetime | None:
    cell = held.pop(name, "")
    try:
        moment = datetime.fromisoformat(cell) if cell else None
    except ValueError:
        raise InvalidField(name, "must be a moment (RFC 3339)") from None
    return moment


def _original(cell: str) -> str:
    return _ESCAPED.sub("", cell) if "'" in cell else cell
