"""The address book: keeping, finding, changing, throwing away and taking back contacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from capsule_core.answers import Request
from capsule_core.contacts import Contact, Person, Photo
from capsule_core.errors import AlreadyLive, InvalidField, ResourceMissing
from capsule_core.identifiers import canonical, words
from capsule_core.index import query_token
from capsule_core.kept import Kept, Listing
from capsule_core.moments import Past
from capsule_core.names import RecordId
from capsule_core.personal import Form
from capsule_core.records import Mark, Shelf, Where
from capsule_core.repository import Draft
from capsule_services.contacts.presence import KINDS, kept_contact, living_contact, photo_id, require_etag
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = [
    "Filters",
    "Lookup",
    "create",
    "delete",
    "find",
    "get",
    "get_photo",
    "list_contacts",
    "undelete",
    "update",
    "with_photo",
]


@attrs.frozen(kw_only=True)
class Lookup:
    """What to find contacts by: one of them."""

    email: str = ""
    phone: str = ""
    name_prefix: str = ""


@attrs.frozen(kw_only=True)
class Filters:
    """Which contacts to list: those of an owner, with a tag, who work for an organisation; empty is any.

    *stale* keeps those to whom nothing has happened for long.
    """

    owner: str = ""
    tag: str = ""
    organisation: str = ""
    stale: Past | None = None


def create(holding: Holding, call: Call, contact: Contact, request: Request | None) -> Kept[Contact]:
    """Keep a new contact; its id is made here, its owner is the caller unless it names one.

    Raises:
        InvalidField: an e-mail address or telephone number is none.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    _check_reached(holding, contact)
    fresh = attrs.evolve(contact, id=holding.new_id("c"), owner=contact.owner or call.actor.id, source="user")
    return holding.repository.add([Draft(fresh)], act=holding.act(call), request=request)[0]


def get(holding: Holding, call: Call, contact: str) -> tuple[Kept[Contact], bool]:
    """Return a contact, in the trash or not, and whether it has a photo."""
    name, photo = RecordId(contact), photo_id(contact)
    kept, has_photo = holding.repository.read_beside(call.within(), name, photo, use=call.use)
    if kept is None or kept.kind not in KINDS:
        kept = kept_contact(holding, call, contact)  # says why it is not there
    holding.shown(call, [kept])
    holding.opened(call, kept.subject)
    return kept, has_photo


def list_contacts(holding: Holding, call: Call, filters: Filters, *, show_deleted: bool, window: Window) -> Listing:
    """List the contacts that fit all filters, newest first.

    Raises:
        InvalidField: a filter is nothing that could be looked for.
    """
    _check(filters)
    keys = holding.vault.tenant(call.within())
    asked = (("owner", filters.owner), ("tags", filters.tag))
    where = Where(
        tenant=call.within(),
        kinds=KINDS,
        shelf=Shelf.ANY if show_deleted else Shelf.LIVE,
        tokens=tuple(query_token(keys, field, Form.TEXT, value, region=None) for field, value in asked if value),
        past=filters.stale,
    )
    found = holding.repository.select(
        where,
        use=call.use,
        limit=window.limit,
        after=window.after,
        words=filters.organisation,
        keeping=lambda kept: _works_for(kept.content, filters.organisation),
    )
    return _shown(holding, call, found)


def find(holding: Holding, call: Call, by: Lookup, *, window: Window) -> Listing:
    """Find living contacts by e-mail address, by phone number in any spelling, or by beginnings of names.

    Raises:
        InvalidField: nothing is asked for, or it has no letter or digit to look for.
    """
    keys, region = holding.vault.tenant(call.within()), holding.repository.region
    tokens: tuple[int, ...] = ()
    if by.email:
        tokens = (query_token(keys, "email", Form.EMAIL, by.email, region=None),)
    elif by.phone:
        tokens = (query_token(keys, "phone", Form.PHONE, by.phone, region=region),)
    elif not by.name_prefix:
        raise InvalidField("query", "is required: give email, phone or name_prefix")
    where = Where(tenant=call.within(), kinds=KINDS, tokens=tokens)
    found = holding.repository.select(where, use=call.use, limit=window.limit, after=window.after, words=by.name_prefix)
    return _shown(holding, call, found)


def update(
    holding: Holding,
    call: Call,
    contact: str,
    change: Callable[[Kept[Contact]], Contact],
    *,
    etag: Etag | None,
    request: Request | None,
) -> Kept[Contact]:
    """Keep what *change* makes of a contact.

    Raises:
        VersionMismatch: *etag* is not the current one.
        SubjectErased: the contact was erased; what a form opened before then says is not kept.
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = living_contact(holding, call, contact)
    require_etag(kept, etag)
    content = change(kept)
    if content == kept.content:
        return holding.repository.unchanged(kept, request=request)
    _check_reached(holding, content, kept.content)
    return holding.repository.change(kept, content, act=holding.act(call), request=request)


def delete(holding: Holding, call: Call, contact: str, *, etag: Etag | None, request: Request | None) -> Kept[Contact]:
    """Throw a contact away with all that hangs on it."""
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = living_contact(holding, call, contact)
    require_etag(kept, etag)
    return holding.repository.trash(kept, holding.new_id("b"), act=holding.act(call), request=request)


def undelete(
    holding: Holding, call: Call, contact: str, *, etag: Etag | None, request: Request | None
) -> Kept[Contact]:
    """Take a contact back, with what was thrown away together with it.

    Raises:
        AlreadyLive: it is not in the trash (AIP-164).
    """
    if request and (before := holding.repository.answered(call.within(), request)):
        return before[0]
    kept = kept_contact(holding, call, contact)
    require_etag(kept, etag)
    if kept.trash is None:
        raise AlreadyLive("contact")
    return holding.repository.restore(kept, act=holding.act(call), request=request)


def get_photo(holding: Holding, call: Call, contact: str) -> Kept[Photo]:
    """Return a contact's photo."""
    kept: Kept[Photo] = holding.repository.get(call.within(), photo_id(contact), use=call.use, resource="photo")
    if kept.root != contact:
        raise ResourceMissing("photo")
    holding.shown(call, [kept])
    return kept


def with_photo(holding: Holding, call: Call, contacts: Sequence[Kept[Contact]]) -> frozenset[str]:
    """Tell which of *contacts* have a photo."""
    ids = [photo_id(kept.id) for kept in contacts]
    found = holding.repository.store.read(call.within(), ids, admits=~Mark.NONE)
    return frozenset(kept.id for kept, photo in zip(contacts, found, strict=True) if photo is not None)


def _shown(holding: Holding, call: Call, listing: Listing) -> Listing:
    holding.shown(call, listing.records)
    return listing


def _check_reached(holding: Holding, contact: Contact, over: Contact | None = None) -> None:
    try:
        holding.repository.identifiers.check(contact, over)
    except InvalidField as error:
        raise InvalidField(f"contact.{error.field}", error.problem) from None


def _check(filters: Filters) -> None:
    if filters.tag and not canonical(Form.TEXT, filters.tag):
        raise InvalidField("tag", "is not one that could be looked for")
    if filters.organisation and not words(filters.organisation):
        raise InvalidField("organisation", "holds no letter or digit to look for")


def _works_for(contact: Contact, organisation: str) -> bool:
    if not organisation:
        return True
    employer = contact.organisation_name if isinstance(contact, Person) else ""
    return canonical(Form.TEXT, employer) == canonical(Form.TEXT, organisation)
