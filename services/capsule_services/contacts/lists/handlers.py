"""Saving lists, filling and reviewing them, throwing them away; and throwing away who was reviewed, and nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

import attrs

from capsule_core.answers import Request
from capsule_core.contacts import ContactList, Listed, listed_id
from capsule_core.errors import (
    AlreadyLive,
    InvalidField,
    ListsFull,
    ListUnfinished,
    SubjectErased,
    SubjectRestricted,
    TooMany,
    VersionMismatch,
)
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId
from capsule_core.protection import EVERYBODY
from capsule_core.records import GONE, Cursor, Expected, Mark, Sealed, Shelf, Where
from capsule_core.repository import Draft
from capsule_core.uses import admits
from capsule_services.contacts.obstacles import Obstacle, obstacles, untouched_since
from capsule_services.contacts.presence import KINDS, require_etag
from capsule_services.contacts.repeats import keep_answer, recalled
from capsule_services.contacts.rosters import LIST, kept_list, living_list, on_list, roster
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = [
    "AT_ONCE",
    "MOST_LISTED",
    "MOST_LISTS",
    "Reviewed",
    "Thrown",
    "create",
    "delete",
    "fill",
    "get",
    "list_lists",
    "review",
    "throw_away",
    "undelete",
]

T = TypeVar("T")

AT_ONCE: Final = 500
"""Contacts in one transaction: short enough that whoever else writes does not wait long."""

MOST_LISTED: Final = 10_000
"""Contacts on one list."""

MOST_LISTS: Final = 100
"""Lists of one tenant, those in the trash apart."""

_MOST_SKIPPED: Final = 1_000
_ATTEMPTS: Final = 5
_THERE: Final = ~GONE
_MOMENT: Final = timedelta(microseconds=1)


@attrs.frozen
class Reviewed:
    """A page of who is on a list, beside each what keeps them, and where to go on."""

    listing: Listing
    obstacles: Sequence[Obstacle | None]


@attrs.frozen(kw_only=True)
class Thrown:
    """What went in one call, how many are still to be looked at, and who was left out as far as it looked."""

    batch: str
    contacts: int
    remaining: int
    skipped: Sequence[tuple[RecordId, Obstacle]] = ()
    counts: Mapping[Obstacle, int] = attrs.Factory(dict)


def create(holding: Holding, call: Call, wanted: ContactList, *, request: Request | None) -> Kept[ContactList]:
    """Save a list and begin to fill it.

    Raises:
        InvalidField: a time is in the future.
        ListsFull: there are as many lists as there may be.
        TooMany: more are as stale than can be on a list.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        kept = kept_list(holding, call, before[0].id)  # as it is by now
        return kept if kept.content.reached or kept.trash else fill(holding, call, kept.id, request=None)
    _check(holding, call, wanted)
    fresh = attrs.evolve(wanted, id=holding.new_id("l"), creator=call.actor.id)
    kept = holding.repository.add([Draft(fresh)], act=holding.act(call), request=request)[0]
    return fill(holding, call, kept.id, request=None)


def fill(holding: Holding, call: Call, name: str, *, request: Request | None) -> Kept[ContactList]:
    """Put the next of those who are meant on a list, unless it is whole.

    Raises:
        ResourceMissing: there is none of that id.
    """
    if recalled(holding, call, request) is not None:
        return kept_list(holding, call, name)

    def filled() -> Kept[ContactList]:
        kept = living_list(holding, call, name)
        return kept if kept.content.state == "ready" else _filled(holding, call, kept)

    kept = _settled(filled)
    keep_answer(holding, call, request, [])
    return kept


def get(holding: Holding, call: Call, name: str) -> Kept[ContactList]:
    """Return a list, in the trash or not."""
    kept = kept_list(holding, call, name)
    holding.shown(call, [kept])
    return kept


def list_lists(holding: Holding, call: Call, *, show_deleted: bool, window: Window) -> Listing:
    """List the saved lists, newest first."""
    shelf = Shelf.ANY if show_deleted else Shelf.LIVE
    where = attrs.evolve(_lists(call), shelf=shelf)
    listing = holding.repository.select(where, use=call.use, limit=window.limit, after=window.after)
    holding.shown(call, listing.records)
    return listing


def review(holding: Holding, call: Call, name: str, *, window: Window) -> Reviewed:
    """Show who is on a list, in the order of the contacts, and what would keep each of them."""
    kept, store = living_list(holding, call, name), holding.repository.store
    page = roster(holding, kept, admitted=admits(call.use), limit=window.limit, after=window.after)
    where = Where(tenant=kept.tenant, ids=page.contacts, kinds=KINDS, shelf=Shelf.ANY)
    found = store.select(where, admits=admits(call.use), limit=window.limit).records
    listing = Listing(tuple(holding.repository.open(found)), page.after)
    holding.shown(call, [kept, *listing.records])
    return Reviewed(listing, obstacles(store, found, kept.created))


def throw_away(holding: Holding, call: Call, name: str, *, batch: str, request: Request | None) -> Thrown:
    """Throw away who is on a list, 500 at once, and say who is left out and why.

    Raises:
        ListUnfinished: not everybody is on it yet.
        VersionMismatch: they change all the time; asking again finds how they are now.
    """
    kept = living_list(holding, call, name)
    if kept.content.state != "ready":
        raise ListUnfinished
    before = recalled(holding, call, request)
    if before is not None:
        look = _look(holding, kept, str(before[0]))
        return _told(look, str(before[0]), went=int(before[1]), left=len(look.going))
    holding.openings.flush()  # who was opened a moment ago stays too
    together = batch or holding.new_id("b")

    def thrown() -> _Look:
        look = _look(holding, kept, together)
        _throw(holding, call, kept, look.going, together)
        return look

    look = _settled(thrown)
    keep_answer(holding, call, request, [together, len(look.going)])
    return _told(look, together, went=len(look.going))


def delete(holding: Holding, call: Call, name: str, *, etag: Etag | None, request: Request | None) -> Kept[ContactList]:
    """Throw a list away; who is on it stays."""
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = living_list(holding, call, name)
    require_etag(kept, etag)
    return holding.repository.trash(kept, holding.new_id("b"), act=holding.act(call), request=request)


def undelete(
    holding: Holding, call: Call, name: str, *, etag: Etag | None, request: Request | None
) -> Kept[ContactList]:
    """Take a list back.

    Raises:
        AlreadyLive: it is not in the trash (AIP-164).
        TrashExpired: its time there is over.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = kept_list(holding, call, name)
    require_etag(kept, etag)
    if kept.trash is None:
        raise AlreadyLive("contactList")
    return holding.repository.restore(kept, act=holding.act(call), request=request)


def _lists(call: Call) -> Where:
    return Where(tenant=call.within(), subjects=(EVERYBODY,), kinds=(LIST,))


def _check(holding: Holding, call: Call, wanted: ContactList) -> None:
    for event, at in wanted.since.items():
        if at > holding.now():
            raise InvalidField(f"contact_list.stale.not_{event.value}_since", "must not be in the future")
    store, admitted = holding.repository.store, admits(call.use)
    if store.count(_lists(call), admits=admitted) >= MOST_LISTS:
        raise ListsFull(MOST_LISTS)
    stale = Where(tenant=call.within(), kinds=KINDS, past=wanted.stale)
    if store.count(stale, admits=admitted) > MOST_LISTED:
        raise TooMany("contact_list.stale", MOST_LISTED)


def _filled(holding: Holding, call: Call, kept: Kept[ContactList]) -> Kept[ContactList]:
    """Put the next 500 on the list, and on the list itself how far it is: both or neither."""
    found, ends = _next(holding, call, kept)
    reached = found[-1].at.isoformat() if found else kept.content.reached or kept.created.isoformat()
    content = attrs.evolve(kept.content, reached=reached, state="ready" if ends else "filling")
    drafts = [
        Draft(Listed(id=listed_id(kept.id, each.id), contact=each.id, list=kept.id), root=kept.id, at=each.at)
        for each in found
    ]
    over = Draft(content, root=kept.root, at=kept.at, over=kept)
    filled: Kept[ContactList] = holding.repository.add([over, *drafts], act=holding.act(call))[0]
    call.last_look.forget()  # what is answered speaks of the list, and of nobody on it
    return filled


def _next(holding: Holding, call: Call, kept: Kept[ContactList]) -> tuple[list[Sealed], bool]:
    """Find the next who are meant and not on the list yet, and say whether they are the last.

    No contact's id is kept to go on from, for it might outlive them: all of the last moment are looked at once more.
    """
    store, reached = holding.repository.store, kept.content.reached
    where = Where(tenant=kept.tenant, kinds=KINDS, past=kept.content.stale)
    after = Cursor(datetime.fromisoformat(reached) + _MOMENT, RecordId("")) if reached else None
    found: list[Sealed] = []
    while True:
        page = store.select(where, admits=admits(call.use), limit=AT_ONCE - len(found), after=after)
        names = [listed_id(kept.id, record.id) for record in page.records]
        known = store.read(kept.tenant, names, admits=~Mark.NONE)
        found += [record for record, there in zip(page.records, known, strict=True) if there is None]
        after = page.after
        if after is None or len(found) == AT_ONCE:
            return found, after is None


@attrs.define
class _Look:
    """Who can go, who is left out, and how many were not looked at."""

    going: list[Sealed] = attrs.Factory(list)
    skipped: list[tuple[RecordId, Obstacle]] = attrs.Factory(list)
    rest: int = 0


def _look(holding: Holding, kept: Kept[ContactList], batch: str) -> _Look:
    """Look at who is on a list until 500 can go; those of *batch* have gone already."""
    look, looked, after = _Look(), 0, None
    while True:
        page = roster(holding, kept, admitted=_THERE, limit=AT_ONCE, after=after)
        for record, obstacle in _each(holding, kept, page.contacts):
            looked += 1
            if obstacle is None:
                look.going.append(record)
            elif record.trash is None or record.trash.batch != batch:
                look.skipped.append((record.id, obstacle))
            if len(look.going) == AT_ONCE:
                look.rest = max(on_list(holding, kept, admitted=_THERE) - looked, 0)
                return look
        after = page.after
        if after is None:
            return look


def _each(
    holding: Holding, kept: Kept[ContactList], contacts: tuple[RecordId, ...]
) -> Iterator[tuple[Sealed, Obstacle | None]]:
    store = holding.repository.store
    where = Where(tenant=kept.tenant, ids=contacts, kinds=KINDS, shelf=Shelf.ANY)
    records = store.select(where, admits=_THERE, limit=AT_ONCE).records
    return zip(records, obstacles(store, records, kept.created), strict=True)


def _throw(holding: Holding, call: Call, kept: Kept[ContactList], going: Sequence[Sealed], batch: str) -> None:
    if going:
        past = untouched_since(kept.created)
        expects = tuple(Expected(id=each.id, version=each.version, past=past, unguarded=True) for each in going)
        holding.repository.throw_away(going, batch, act=holding.act(call, expects=expects))


def _told(look: _Look, batch: str, *, went: int, left: int = 0) -> Thrown:
    return Thrown(
        batch=batch,
        contacts=went,
        remaining=look.rest + left,
        skipped=look.skipped[:_MOST_SKIPPED],
        counts=Counter(obstacle for _, obstacle in look.skipped),
    )


def _settled(change: Callable[[], T]) -> T:
    """Do a change that counts on how people are; look at them once more if one of them moved meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except (SubjectErased, SubjectRestricted, VersionMismatch):
            continue
    return change()
