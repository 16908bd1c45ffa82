"""Address books in, exports and print summaries out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import attrs

from capsule_core.errors import CapsuleError, InvalidField, SubjectErased, VersionMismatch
from capsule_core.export import Exported, Record, Refused, Row, html, plain_record, refused
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId, SubjectKey, encoded
from capsule_core.personal import kind_of
from capsule_core.records import Mark, Where
from capsule_core.repository import Draft
from capsule_services.contacts.parcels import Incoming, Report, Writer
from capsule_services.contacts.presence import KINDS, kept_contact, photo_id
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["BATCH", "export_contacts", "import_contacts", "print_contact"]

BATCH: Final = 200
"""Contacts in one transaction: short enough that whoever else writes does not wait long."""

_AT_ONCE: Final = 250
_CHUNK: Final = 64 * 1024


def import_contacts(holding: Holding, call: Call, incoming: Incoming, chunks: Iterable[bytes]) -> Report:
    """Take in every row that is whole, batch by batch; a row is kept whole or refused with its reason.

    After a crash or a lost connection, sending the same again under the same name goes on where it ended.

    Raises:
        InvalidField: the file is not of the layout said; nothing was kept.
    """
    report = Report()
    rows = _until_unreadable(incoming.read(chunks, new_id=lambda number: _row_id(holding, call, incoming, number)))
    while batch := list(islice(rows, BATCH)):
        _take(holding, call, _admitted(batch, incoming, report), report)
    return report


def _until_unreadable(rows: Iterator[Row | Refused]) -> Iterator[Row | Refused]:
    """Refuse, as one more row, the place from which a file cannot be read on; what came before it was whole."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except InvalidField as error:
        if number == 0 or error.field != "file":
            raise  # nothing could be read, or it is not the file that is at fault but how it is sent
        yield refused(number + 1, error)


def export_contacts(holding: Holding, call: Call, write: Writer) -> Iterator[bytes]:
    """Write every living contact with all that hangs on it, in pieces of 64 KiB."""
    return _pieces(write(_all(holding, call)))


def print_contact(holding: Holding, call: Call, contact: str) -> Iterator[bytes]:
    """Write the print summary of one contact."""
    kept = kept_contact(holding, call, contact)
    select = partial(holding.repository.select, use=call.use)
    ((_, entries, photo),) = _with_belongings(holding, call, [kept], select)
    exported = Exported(kept.content, entries=tuple(entries), photo=photo, created=kept.created, updated=kept.updated)
    return _pieces(html.write([exported]))


def _take(holding: Holding, call: Call, rows: list[Row], report: Report) -> None:
    """Keep the rows that are new; others are here already, or belong to somebody erased."""
    while rows:
        fresh = _fresh(holding, call, rows, report)
        drafts = [draft for row in fresh for draft in _drafts(row)]
        try:
            if drafts:
                holding.repository.add(drafts, act=holding.act(call))
        except (SubjectErased, VersionMismatch):
            continue  # erased, or kept by another sending of the same, since we looked: look again
        report.created += len(fresh)
        return


def _admitted(batch: Sequence[Row | Refused], incoming: Incoming, report: Report) -> list[Row]:
    """Return the rows that may be kept, as what they become; the others are on the report."""
    rows: list[Row] = []
    for row in batch:
        try:
            if isinstance(row, Row):
                rows.append(_owned(row, incoming))
            else:
                report.refuse(row)
        except CapsuleError as error:
            report.refuse(refused(row.number, error))
    return rows


def _fresh(holding: Holding, call: Call, rows: list[Row], report: Report) -> list[Row]:
    subjects = holding.repository.store.subjects(call.within(), [SubjectKey(row.contact.id) for row in rows])
    fresh: list[Row] = []
    for row, subject in zip(list(rows), subjects, strict=True):
        if subject is None:
            fresh.append(row)
            continue
        rows.remove(row)
        if subject.marks & (Mark.FENCED | Mark.ERASED):
            report.refuse(refused(row.number, SubjectErased()))
        else:
            report.already_applied += 1
    return fresh


def _drafts(row: Row) -> Iterator[Draft]:
    yield Draft(row.contact)
    if row.photo is not None:
        name = row.contact.id
        photo = attrs.evolve(row.photo, id=photo_id(name), contact=name)
        yield Draft(photo, root=RecordId(name))


def _owned(row: Row, incoming: Incoming) -> Row:
    contact = row.contact
    tags = (*contact.tags, *(tag for tag in incoming.tags if tag not in contact.tags))
    contact = attrs.evolve(contact, owner=incoming.owner, tags=tags, source="import")
    refuse_cards(kind_of(type(contact)), contact)
    return attrs.evolve(row, contact=contact)


def _row_id(holding: Holding, call: Call, incoming: Incoming, number: int) -> str:
    """Name the contact of a row: the same each time this sending is repeated, and next to the rows around it."""
    named = f"import\0{call.actor.id}\0{incoming.run}".encode()
    run = hmac.digest(holding.vault.tenant(call.within()).surrogates, named, "sha256")
    return "c" + encoded(run[:10] + number.to_bytes(6, "big"))


def _all(holding: Holding, call: Call) -> Iterator[Record]:
    where, after = Where(tenant=call.within(), kinds=KINDS), None
    select = partial(holding.repository.select_plain, use=call.use)
    while True:
        listing = select(where, limit=_AT_ONCE, after=after)
        for kept, entries, photo in _with_belongings(holding, call, listing.records, select):
            times = {"created": kept.created, "updated": kept.updated}
            yield plain_record(kept.kind, kept.content, entries=entries, photo=photo, **times)
        after = listing.after
        if after is None:
            return


def _with_belongings(
    holding: Holding, call: Call, contacts: Sequence[Kept[Any]], select: Callable[..., Listing]
) -> list[tuple[Kept[Any], list[Any], Any]]:
    """Put to each contact its history and photo; it is logged as read before it goes anywhere."""
    roots = tuple(kept.id for kept in contacts)
    entries: dict[RecordId, list[Any]] = {root: [] for root in roots}
    photos: dict[RecordId, Any] = {}
    read, after = list(contacts), None
    where = Where(tenant=call.within(), roots=roots, kinds=("entry", "photo"))
    while roots:
        listing = select(where, limit=1000, after=after)
        for kept in listing.records:
            if kept.kind == "photo":
                photos.setdefault(kept.root, kept.content)
            else:
                entries[kept.root].append(kept.content)
        read += listing.records
        after = listing.after
        if after is None:
            break
    holding.shown(call, read)
    return [(kept, entries[kept.id][::-1], photos.get(kept.id)) for kept in contacts]


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= _CHUNK:
            yield bytes(waiting[:_CHUNK])
            del waiting[:_CHUNK]
    if waiting:
        yield bytes(waiting)
