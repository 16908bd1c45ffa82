"""The communication history: notes, e-mails, calls and meetings with a contact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from capsule_core.answers import Request
from capsule_core.contacts import Entry
from capsule_core.errors import AlreadyLive, ResourceMissing
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId
from capsule_core.records import Expected, Shelf, Where
from capsule_core.repository import Draft
from capsule_services.contacts.presence import kept_contact, living_contact, require_etag
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["create", "delete", "get", "list_entries", "undelete", "update"]


def create(holding: Holding, call: Call, contact: str, entry: Entry, request: Request | None) -> Kept[Entry]:
    """Add an entry to a living contact's history; its author is the caller.

    Raises:
        SubjectErased: the contact was erased.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    living = living_contact(holding, call, contact)
    fresh = attrs.evolve(entry, id=holding.new_id("n"), contact=contact, author=call.actor.id)
    # The contact must still be there, and not in the trash, in the moment the entry is kept.
    act = holding.act(call, expects=(Expected(id=living.id),))
    return holding.repository.add([_draft(fresh, contact)], act=act, request=request)[0]


def get(holding: Holding, call: Call, contact: str, entry: str) -> Kept[Entry]:
    """Return an entry, in the trash or not."""
    kept = _entry(holding, call, contact, entry)
    holding.shown(call, [kept])
    return kept


def list_entries(holding: Holding, call: Call, contact: str, *, show_deleted: bool, window: Window) -> Listing:
    """List a contact's history, latest first."""
    where = Where(
        tenant=call.within(),
        kinds=("entry",),
        roots=(RecordId(contact),),
        shelf=Shelf.ANY if show_deleted else Shelf.LIVE,
    )
    kept_contact(holding, call, contact)
    listing = holding.repository.select(where, use=call.use, limit=window.limit, after=window.after)
    holding.shown(call, listing.records)
    return listing


def update(
    holding: Holding,
    call: Call,
    contact: str,
    entry: str,
    change: Callable[[Kept[Entry]], Entry],
    *,
    etag: Etag | None,
    request: Request | None,
) -> Kept[Entry]:
    """Keep what *change* makes of an entry."""
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = _living(holding, call, contact, entry, etag)
    content = change(kept)
    if content == kept.content:
        return holding.repository.unchanged(kept, request=request)
    draft = attrs.evolve(_draft(content, contact), over=kept)
    return holding.repository.add([draft], act=holding.act(call), request=request)[0]


def delete(
    holding: Holding, call: Call, contact: str, entry: str, *, etag: Etag | None, request: Request | None
) -> Kept[Entry]:
    """Throw one entry away; the contact stays."""
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = _living(holding, call, contact, entry, etag)
    return holding.repository.trash(kept, holding.new_id("b"), act=holding.act(call), request=request)


def undelete(
    holding: Holding, call: Call, contact: str, entry: str, *, etag: Etag | None, request: Request | None
) -> Kept[Entry]:
    """Take one entry back; its contact must be there.

    Raises:
        AlreadyLive: it is not in the trash (AIP-164).
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    living = living_contact(holding, call, contact)
    kept = _entry(holding, call, contact, entry)
    require_etag(kept, etag)
    if kept.trash is None:
        raise AlreadyLive("entry")
    act = holding.act(call, expects=(Expected(id=living.id),))
    return holding.repository.restore(kept, act=act, request=request)


def _draft(entry: Entry, contact: str) -> Draft:
    return Draft(entry, root=RecordId(contact), at=datetime.fromisoformat(entry.occurred_at))


def _entry(holding: Holding, call: Call, contact: str, entry: str) -> Kept[Entry]:
    kept = holding.repository.read(call.within(), [RecordId(entry)], use=call.use)[0]
    if kept is None or not isinstance(kept.content, Entry) or kept.root != contact:
        raise ResourceMissing("entry")
    return kept


def _living(holding: Holding, call: Call, contact: str, entry: str, etag: Etag | None) -> Kept[Entry]:
    living_contact(holding, call, contact)
    kept = _entry(holding, call, contact, entry)
    if kept.trash is not None:
        raise ResourceMissing("entry")
    require_etag(kept, etag)
    return kept
