"""What a database file can refuse, said in one sentence that names the remedy."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import attrs

from capsule_core.errors import DataLoss, FailedPrecondition, Unavailable

__all__ = [
    "Damaged",
    "DamagedKey",
    "DataAbsent",
    "DiskFull",
    "ForeignFile",
    "ForeignJournal",
    "ForeignKeystore",
    "JournalAhead",
    "JournalBehind",
    "KeystoresDiffer",
    "MirrorsDiffer",
    "MissingKey",
    "UnsafeDeletion",
    "Unwritable",
    "told",
]


@attrs.define
class ForeignFile(FailedPrecondition):
    """The file was not written by this software, or is another of its files."""

    reason = "FOREIGN_FILE"
    sentence = "{path} is not {what} of this software; nothing in it was changed, name another file"
    what: str
    path: str


@attrs.define
class ForeignKeystore(FailedPrecondition):
    """The root key is not the one that the keystore was made with."""

    reason = "FOREIGN_KEYSTORE"
    sentence = (
        "{path} is the keystore of another deployment: the root key does not open it; use the root key it was made with"
    )
    path: str


@attrs.define
class KeystoresDiffer(FailedPrecondition):
    """The root key opens the keystore and its mirror, and they are of different deployments or beginnings."""

    reason = "KEYSTORES_DIFFER"
    sentence = (
        "{path} and its mirror are no copies of each other: they were made apart; keep both, find out with capsule"
        " doctor which one opens the data, and move the other away"
    )
    path: str


@attrs.define
class ForeignJournal(FailedPrecondition):
    """The journal is not the one that the data was written with."""

    reason = "FOREIGN_JOURNAL"
    sentence = (
        "the journal in {path} does not belong to the data beside it; put back the journal, or its mirror, that does"
    )
    path: str


@attrs.define
class JournalBehind(DataLoss):
    """The journal lacks entries that the data has seen in it."""

    reason = "JOURNAL_BEHIND"
    sentence = (
        "the journal in {path} is older than the data: entries are missing at its end; put back a newer copy of it,"
        " or its mirror"
    )
    path: str


class JournalAhead(Unavailable):
    """The journal knows acts that the data does not: the data was restored, and was not told them yet."""

    reason = "JOURNAL_AHEAD"
    sentence = "the data is older than its journal; restart the service: it does again what the data has lost"


@attrs.define
class DataAbsent(FailedPrecondition):
    """The data is new, and the journal beside it is not: there was data here."""

    reason = "DATA_ABSENT"
    sentence = (
        "{path} holds nothing, and the journal beside it says that it did; restore a backup, or put the data back"
    )
    path: str


@attrs.define
class Unwritable(FailedPrecondition):
    """The operating system does not let us write."""

    reason = "UNWRITABLE"
    sentence = "{path} cannot be written; create its folder, or give this user the right to write there"
    path: str


@attrs.define
class UnsafeDeletion(FailedPrecondition):
    """The SQLite at hand would leave deleted bytes in its files."""

    reason = "UNSAFE_DELETION"
    sentence = (
        "{path} cannot be opened: this build of SQLite does not overwrite what it deletes (secure_delete); use another"
    )
    path: str


@attrs.define
class DamagedKey(DataLoss):
    """The file of the root key holds something else."""

    reason = "DAMAGED_KEY"
    sentence = "{path} does not hold a root key of 32 bytes; put back the one this deployment was made with"
    path: str


@attrs.define
class MissingKey(DataLoss):
    """The root key is not there, and something is wrapped with it."""

    reason = "MISSING_KEY"
    sentence = "{path} is missing, and there are page keys that it wraps; put back the one they were made with"
    path: str


@attrs.define
class MirrorsDiffer(DataLoss):
    """A mirror is not one of the file that it stands beside."""

    reason = "MIRRORS_DIFFER"
    sentence = "{path} is not a mirror of {what}; name the right file, or an empty one to be filled anew"
    what: str
    path: str


@attrs.define
class DiskFull(Unavailable):
    """There is no room for what was to be written."""

    reason = "DISK_FULL"
    sentence = "the disk that holds {what} is full; nothing was changed, free some space and repeat"
    what: str


@attrs.define
class Damaged(DataLoss):
    """The file is not readable as what it was."""

    reason = "DAMAGED_FILE"
    sentence = "{path} is damaged; stop the service and restore {what}"
    what: str
    path: str


_CODE = 0xFF  # the low byte of an extended result code is the primary one
_UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_MOMENTARY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}


def told(error: Exception, what: str, path: Path) -> Exception:
    """Return what SQLite or the operating system says about a file as an error of the domain.

    A mistake of ours (a statement that is wrong, a constraint nobody expected) stays what it is.
    """
    if isinstance(error, OSError):
        return Unwritable(str(path))
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _CODE
    if code in _MOMENTARY:
        return Unavailable()
    if code in _UNWRITABLE:
        return Unwritable(str(path))
    known = {
        sqlite3.SQLITE_FULL: DiskFull(what),
        sqlite3.SQLITE_NOTADB: ForeignFile(what, str(path)),
        sqlite3.SQLITE_CORRUPT: Damaged(what, str(path)),
    }
    return known.get(code, error)
