"""Who is on a saved list: found page by page, in the order of the contacts."""

from __future__ import annotations

from typing import Final

import attrs

from capsule_core.contacts import ContactList, Listed, listed_id
from capsule_core.errors import ResourceMissing
from capsule_core.kept import Kept, Opened
from capsule_core.moments import Past
from capsule_core.names import RecordId
from capsule_core.personal import kind_of
from capsule_core.records import Cursor, Mark, Shelf, Where
from capsule_core.uses import Use, admits
from capsule_services.contacts.presence import KINDS
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["LIST", "Roster", "kept_list", "living_list", "on_list", "opened_page", "roster"]

LIST: Final = kind_of(ContactList).name
_LISTED: Final = kind_of(Listed).name
_SEEN: Final = admits(Use.SEARCH)


@attrs.frozen
class Roster:
    """Some who are on a list, newest first, by their ids, and where to go on; None after the last."""

    contacts: tuple[RecordId, ...]
    after: Cursor | None


def kept_list(holding: Holding, call: Call, name: str) -> Kept[ContactList]:
    """Return a list, in the trash or not.

    Raises:
        ResourceMissing: there is none of that id.
    """
    found = holding.repository.read(call.within(), [RecordId(name)], use=call.use)[0]
    if found is None or found.kind != LIST:
        raise ResourceMissing("contactList")
    return found


def living_list(holding: Holding, call: Call, name: str) -> Kept[ContactList]:
    """Return a list that is not in the trash; errors as :func:`kept_list`."""
    found = kept_list(holding, call, name)
    if found.trash is not None:
        raise ResourceMissing("contactList")
    return found


def on_list(holding: Holding, kept: Kept[ContactList], *, admitted: Mark = _SEEN) -> int:
    """Count those on a list who carry no more than is *admitted*."""
    return holding.repository.store.count(_of(kept), admits=admitted)


def roster(
    holding: Holding, kept: Kept[ContactList], *, admitted: Mark, limit: int, after: Cursor | None = None
) -> Roster:
    """Name up to *limit* of those on a list who carry no more than is *admitted*; *after* is where a contact lies."""
    begin = None if after is None else Cursor(after.at, listed_id(kept.id, after.id))
    page = holding.repository.store.select(_of(kept), admits=admitted, limit=limit, after=begin)
    end = None if page.after is None else Cursor(page.after.at, RecordId(page.after.id.removeprefix(f"{kept.id}.")))
    return Roster(tuple(RecordId(record.subject) for record in page.records), end)


def opened_page(holding: Holding, call: Call, kept: Kept[ContactList], past: Past | None, window: Window) -> Opened:
    """Open the contacts of a page of a list who are not in the trash, and to whom nothing has happened for so long."""
    page = roster(holding, kept, admitted=admits(call.use), limit=window.limit, after=window.after)
    where = Where(tenant=kept.tenant, ids=page.contacts, kinds=KINDS, past=past)
    opened = holding.repository.page(where, use=call.use, limit=window.limit)
    return Opened(opened.records, opened.contents, page.after)


def _of(kept: Kept[ContactList]) -> Where:
    where = Where(tenant=kept.tenant, roots=(kept.id,), kinds=(_LISTED,))
    return where if kept.trash is None else attrs.evolve(where, shelf=Shelf.TRASHED, batch=kept.trash.batch)
