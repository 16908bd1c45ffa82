"""What is wrong with a backup, or with restoring it, in one sentence that says what to do."""

from __future__ import annotations

import attrs

from capsule_core.errors import DataLoss, FailedPrecondition, Unavailable

__all__ = ["BackupDamaged", "BackupForeign", "PlaceRefused", "PlaceUnavailable", "RestoreRefused"]


@attrs.define
class BackupDamaged(DataLoss):
    """A backup is not what was written; nothing of it is used."""

    reason = "BACKUP_DAMAGED"
    sentence = "the backup is damaged: {what}; nothing was changed, use another one"
    what: str


@attrs.define
class BackupForeign(FailedPrecondition):
    """A backup was made with another key: by another deployment."""

    reason = "BACKUP_FOREIGN"
    sentence = "the backup {name} was made with another backup key; nothing was changed, name its key with --key"
    name: str


@attrs.define
class RestoreRefused(FailedPrecondition):
    """What is there now stands in the way of a restore."""

    reason = "RESTORE_REFUSED"
    sentence = "{what}; nothing was changed, {remedy}"
    what: str
    remedy: str


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
