"""What is wrong with a backup, or with restoring it, in one sentence that says what to do."""

from __future__ import annotations

import attrs

from capsule_core.errors import DataLoss, FailedPrecondition

__all__ = ["BackupDamaged", "BackupForeign", "RestoreRefused"]


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
