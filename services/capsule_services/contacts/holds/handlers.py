"""Placing, showing and releasing holds: what a hold covers stays, on every path, until it is released."""

from __future__ import annotations

from typing import Final

import attrs

from capsule_core.answers import Request
from capsule_core.custody import Custody
from capsule_core.errors import InvalidField, ResourceMissing
from capsule_core.holds import Hold
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId, SubjectKey
from capsule_services.contacts.presence import KINDS
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["get", "list_holds", "place", "release"]


_KINDS: Final = {"contact": KINDS, "entry": ("entry",), "photo": ("photo",)}


def place(holding: Holding, call: Call, hold: Hold, *, resource: str, request: Request | None) -> Kept[Hold]:
    """Let a hold stand; its id is made here. *resource* is what it covers: a contact, an entry or a photo.

    Raises:
        ResourceMissing: what it covers is not there.
        SubjectErased: it comes too late.
        InvalidField: what it covers has no such field.
    """
    by = f"{call.actor.kind}/{call.actor.id}"
    fresh = attrs.evolve(hold, id=holding.new_id("h"), placed_at=holding.now().isoformat(), placed_by=by)
    try:
        custody, kinds = Custody(holding.repository), _KINDS[resource]
        return custody.place(fresh, act=holding.act(call), request=request, kinds=kinds)
    except ResourceMissing:
        raise ResourceMissing(resource) from None
    except InvalidField as error:
        raise InvalidField(f"hold.{error.field}", error.problem) from None


def get(holding: Holding, call: Call, hold: str) -> Kept[Hold]:
    """Return a hold, a released one too."""
    kept = Custody(holding.repository).get(call.within(), RecordId(hold), use=call.use)
    holding.shown(call, [kept])
    return kept


def list_holds(holding: Holding, call: Call, *, contact: str, show_released: bool, window: Window) -> Listing:
    """List the holds of the tenant, or those on one contact, newest first."""
    listing = Custody(holding.repository).listing(
        call.within(),
        use=call.use,
        limit=window.limit,
        after=window.after,
        subject=SubjectKey(contact) if contact else None,
        past=show_released,
    )
    holding.shown(call, listing.records)
    return listing


def release(holding: Holding, call: Call, hold: str, *, request: Request | None) -> Kept[Hold]:
    """End a hold; what nothing else keeps goes with the next sweep.

    Raises:
        ResourceMissing: there is none of that id.
    """
    return Custody(holding.repository).release(RecordId(hold), act=holding.act(call), request=request)
