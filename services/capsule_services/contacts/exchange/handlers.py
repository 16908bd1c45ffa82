"""Address books in, exports and print summaries out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import attrs

from capsule_core.codec import decode_plains
from capsule_core.errors import CapsuleError, IdentifierSuppressed, InvalidField, SubjectErased, VersionMismatch
from capsule_core.export import Exported, Record, Refused, Row, html, plain_record, refused
from capsule_core.intake import refuse_cards
from capsule_core.kept import Kept, Opened
from capsule_core.moments import Past
from capsule_core.names import RecordId, SubjectKey, encoded
from capsule_core.personal import kind_of
from capsule_core.records import Cursor, Mark, Sealed, Where
from capsule_core.repository import Draft
from capsule_services.contacts.parcels import Form, Incoming, Part, Piece, Report
from capsule_services.contacts.presence import KINDS, kept_contact, photo_id
from capsule_services.contacts.rosters import living_list, opened_page
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.packing import PIECE
from capsule_services.runtime.paging import Window

__all__ = ["BATCH", "BESIDE", "Only", "export_contacts", "import_contacts", "parts", "print_contact"]

BATCH: Final = 200
"""Contacts in one transaction: short enough that whoever else writes does not wait long."""

BESIDE: Final = ("entry", "photo")
"""The kinds of records that hang on a contact."""

_AT_ONCE: Final = {"entry": 100, "photo": 4}
_AHEAD: Final = 500
_MUCH: Final = 2 * 2**20
_Opened = tuple[Sealed, bytes]


@attrs.frozen(kw_only=True)
class Only:
    """Who is meant where not everybody is: those that are *stale*, those on a saved list, or who is both."""

    stale: Past | None = None
    contact_list: str = ""


_EVERYBODY: Final = Only()


def import_contacts(holding: Holding, call: Call, incoming: Incoming, chunks: Iterable[bytes]) -> Report:
    """Take in every row that is whole, batch by batch; a row is kept whole or refused with its reason.

    After a crash or a lost connection, sending the same again under the same name goes on where it ended.

    Raises:
        InvalidField: the file is not of the layout said; nothing was kept.
    """
    report = Report()
    rows = _until_unreadable(incoming.read(chunks, new_id=lambda number: _row_id(holding, call, incoming, number)))
    while batch := list(islice(rows, BATCH)):
        _take(holding, call, _admitted(holding, batch, incoming, report), report)
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


def export_contacts(
    holding: Holding, call: Call, form: Form, window: Window, only: Only = _EVERYBODY
) -> Iterator[Piece]:
    """Write every living contact with what the format holds beside it, or those after where a stream was lost.

    *Only* those, if anybody is meant by it.
    """
    for part in parts(holding, call, form.beside, window, only):
        written = form.write(_told(holding, part), begins=part.begins, ends=part.after is None)
        *earlier, last = list(_pieces(written)) or [b""]
        yield from map(Piece, earlier)
        if last:
            yield Piece(last, part.after)


def parts(
    holding: Holding, call: Call, beside: Sequence[str], window: Window, only: Only = _EVERYBODY
) -> Iterator[Part]:
    """Open every living contact and what hangs on it of the kinds *beside*: logged ahead, given part by part."""
    paged, ahead, after = _paged(holding, call, only), window.limit, window.after
    while True:
        call.last_look.forget()  # what was opened before this has left
        page = paged(ahead, after)
        found = list(zip(page.records, page.contents, strict=True))
        contacts, belongings = _with_belongings(holding, call, found, beside)
        holding.shown(call, [record for record, _ in (*contacts, *belongings)])
        end = page.after if len(contacts) == len(found) else _end(contacts)
        yield from _divided(contacts, belongings, window.limit, before=after, after=end)
        if end is None:
            return
        ahead, after = min(_AHEAD, 2 * len(contacts) or window.limit), end


def print_contact(holding: Holding, call: Call, contact: str) -> Iterator[bytes]:
    """Write the print summary of one contact."""
    kept = kept_contact(holding, call, contact)
    where = Where(tenant=call.within(), roots=(kept.id,), kinds=BESIDE)
    hanging = list(_all(holding, call, where))
    holding.shown(call, [kept, *hanging])
    entries = tuple(each.content for each in reversed(hanging) if each.kind == "entry")
    photo = next((each.content for each in hanging if each.kind == "photo"), None)
    exported = Exported(kept.content, entries=entries, photo=photo, created=kept.created, updated=kept.updated)
    return _pieces(html.write([exported]))


def _paged(holding: Holding, call: Call, only: Only) -> Callable[[int, Cursor | None], Opened]:
    if only.contact_list:
        kept = living_list(holding, call, only.contact_list)
        return lambda limit, after: opened_page(holding, call, kept, only.stale, Window(limit, after))
    where = Where(tenant=call.within(), kinds=KINDS, past=only.stale)
    return lambda limit, after: holding.repository.page(where, use=call.use, limit=limit, after=after)


def _take(holding: Holding, call: Call, rows: list[Row], report: Report) -> None:
    """Keep the rows that are new; others are here already, or belong to somebody erased."""
    while rows:
        fresh = _fresh(holding, call, rows, report)
        fresh = _not_suppressed(holding, call, fresh, rows, report)
        drafts = [draft for row in fresh for draft in _drafts(row)]
        try:
            if drafts:
                holding.repository.add(drafts, act=holding.act(call))
                call.last_look.forget()  # the report is about rows, not about people
        except (SubjectErased, IdentifierSuppressed, VersionMismatch):
            continue  # erased, or kept by another sending of the same, since we looked: look again
        report.created += len(fresh)
        return


def _admitted(holding: Holding, batch: Sequence[Row | Refused], incoming: Incoming, report: Report) -> list[Row]:
    """Return the rows that may be kept, as what they become; the others are on the report."""
    rows: list[Row] = []
    for row in batch:
        try:
            if isinstance(row, Row):
                rows.append(_owned(holding, row, incoming))
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


def _not_suppressed(holding: Holding, call: Call, fresh: list[Row], rows: list[Row], report: Report) -> list[Row]:
    """Return the rows of whom nobody was erased at their own request; the others are on the report."""
    repository, contacts = holding.repository, [row.contact for row in fresh]
    fields = repository.identifiers.suppressed(repository.store, call.within(), contacts)
    staying: list[Row] = []
    for row, field in zip(fresh, fields, strict=True):
        if field is None:
            staying.append(row)
        else:
            rows.remove(row)
            report.refuse(refused(row.number, IdentifierSuppressed(field)))
    return staying


def _drafts(row: Row) -> Iterator[Draft]:
    yield Draft(row.contact)
    if row.photo is not None:
        name = row.contact.id
        photo = attrs.evolve(row.photo, id=photo_id(name), contact=name)
        yield Draft(photo, root=RecordId(name))


def _owned(holding: Holding, row: Row, incoming: Incoming) -> Row:
    contact = row.contact
    tags = (*contact.tags, *(tag for tag in incoming.tags if tag not in contact.tags))
    contact = attrs.evolve(contact, owner=incoming.owner, tags=tags, source="import")
    refuse_cards(kind_of(type(contact)), contact)
    holding.repository.identifiers.check(contact)
    return attrs.evolve(row, contact=contact)


def _row_id(holding: Holding, call: Call, incoming: Incoming, number: int) -> str:
    """Name the contact of a row: the same each time this sending is repeated, and next to the rows around it."""
    named = f"import\0{call.actor.id}\0{incoming.run}".encode()
    run = hmac.digest(holding.vault.tenant(call.within()).surrogates, named, "sha256")
    return "c" + encoded(run[:10] + number.to_bytes(6, "big"))


def _all(holding: Holding, call: Call, where: Where) -> Iterator[Kept[Any]]:
    after = None
    while True:
        listing = holding.repository.select(where, use=call.use, limit=100, after=after)
        yield from listing.records
        after = listing.after
        if after is None:
            return


def _with_belongings(
    holding: Holding, call: Call, contacts: list[_Opened], kinds: Sequence[str]
) -> tuple[list[_Opened], list[_Opened]]:
    """Open what hangs on *contacts*; if that is much, leave later ones of them for another time."""
    belongings: list[_Opened] = []
    for kind in kinds:
        after = None
        while contacts:
            where = Where(tenant=call.within(), roots=tuple(record.id for record, _ in contacts), kinds=(kind,))
            page = holding.repository.page(where, use=call.use, limit=_AT_ONCE[kind], after=after)
            belongings += zip(page.records, page.contents, strict=True)
            contacts, belongings = _lightened(contacts, belongings)
            after = page.after
            if after is None:
                break
    return _lightened(contacts, belongings)


def _lightened(contacts: list[_Opened], belongings: list[_Opened]) -> tuple[list[_Opened], list[_Opened]]:
    while len(contacts) > 1 and sum(len(contents) for _, contents in (*contacts, *belongings)) > _MUCH:
        contacts = contacts[: len(contacts) // 2]
        staying = {record.id for record, _ in contacts}
        belongings = [each for each in belongings if each[0].root in staying]
    return contacts, belongings


def _divided(
    contacts: list[_Opened], belongings: list[_Opened], limit: int, *, before: Cursor | None, after: Cursor | None
) -> Iterator[Part]:
    """Divide what was opened between two cursors into parts of at most *limit* contacts, at least one part."""
    hanging: dict[RecordId, list[_Opened]] = {}
    for each in belongings:
        hanging.setdefault(each[0].root, []).append(each)
    for start in range(0, len(contacts) or 1, limit):
        some = contacts[start : start + limit]
        theirs = [each for record, _ in some for each in hanging.get(record.id, ())]
        end = after if start + limit >= len(contacts) else _end(some)
        yield Part(contacts=some, belongings=theirs, begins=before is None, after=end)
        before = end


def _end(contacts: Sequence[_Opened]) -> Cursor:
    last, _ = contacts[-1]
    return Cursor(last.at, last.id)


def _told(holding: Holding, part: Part) -> Iterator[Record]:
    """Put to each contact its history and photo, as a format takes them."""
    opened = [*part.contacts, *part.belongings]
    kinds = [holding.repository.kinds[record.kind] for record, _ in opened]
    plains = decode_plains([contents for _, contents in opened], kinds)
    entries: dict[RecordId, list[Any]] = {record.id: [] for record, _ in part.contacts}
    photos: dict[RecordId, Any] = {}
    for (record, _), plain in zip(part.belongings, plains[len(part.contacts) :], strict=True):
        if record.kind == "photo":
            photos.setdefault(record.root, plain)
        else:
            entries[record.root].append(plain)
    for (record, _), plain in zip(part.contacts, plains, strict=False):
        history, photo = entries[record.id][::-1], photos.get(record.id)
        times = {"created": record.created, "updated": record.updated}
        yield plain_record(record.kind, plain, entries=history, photo=photo, **times)


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) >= PIECE:
            yield bytes(waiting[:PIECE])
            del waiting[:PIECE]
    if waiting:
        yield bytes(waiting)
