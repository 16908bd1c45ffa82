"""What stands in the way of a place, in one sentence that says what to do."""

from __future__ import annotations

import attrs

from capsule_core.errors import FailedPrecondition, Unavailable

__all__ = ["PlaceRefused", "PlaceUnavailable"]


@attrs.define
class PlaceRefused(FailedPrecondition):
    """The place does not let us read or write there, or is none."""

    reason = "PLACE_REFUSED"
    sentence = "{place} cannot be used: {why}; name another, or correct its rights"
    place: str
    why: str


@attrs.define
class PlaceUnavailable(Unavailable):
    """The place did not answer, or had no room."""

    reason = "PLACE_UNAVAILABLE"
    sentence = "{place} failed: {why}; nothing was changed there that counts, repeat it"
    place: str
    why: str
