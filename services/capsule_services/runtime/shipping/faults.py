"""What is wrong with a journal at a place, in one sentence that says what to do."""

from __future__ import annotations

import attrs

from capsule_core.errors import DataLoss, FailedPrecondition, Unavailable

__all__ = ["JournalUnshipped", "ShippedAhead", "ShippedDamaged", "ShippedForeign", "ShippedMissing"]


class JournalUnshipped(Unavailable):
    """What was done is not yet at the place of the journal, and must not be acknowledged."""

    reason = "JOURNAL_UNSHIPPED"
    sentence = "what was asked is under way, and is acknowledged when the journal's place answers again; repeat it then"


@attrs.define
class ShippedDamaged(DataLoss):
    """What lies at the place is not what was written there; nothing of it is used."""

    reason = "SHIPPED_DAMAGED"
    sentence = (
        "the journal at {place} is damaged: {what}; nothing was changed, use journal.db or its mirror, or put the "
        "place's own copy of it back"
    )
    place: str
    what: str


@attrs.define
class ShippedForeign(FailedPrecondition):
    """What lies at the place is of another journal, or under another key."""

    reason = "SHIPPED_FOREIGN"
    sentence = (
        "the journal at {place} is of another deployment, or of another copy of this one; nothing was changed, put the "
        "journal.key back that it was written with, or name another place"
    )
    place: str


@attrs.define
class ShippedAhead(DataLoss):
    """The place knows entries that the journal here does not."""

    reason = "SHIPPED_AHEAD"
    sentence = (
        "the journal here is older than the one at {place}: stop the service, and move journal.db and "
        "mirror/journal.db aside; a start fetches what is there"
    )
    place: str


@attrs.define
class ShippedMissing(DataLoss):
    """There is nothing at the place where the journal was."""

    reason = "SHIPPED_MISSING"
    sentence = (
        "there is no journal at {place}, and there was: put it back, or mount the disk; if it is lost, remove "
        "shipped.json beside the journal, and it is written anew"
    )
    place: str
