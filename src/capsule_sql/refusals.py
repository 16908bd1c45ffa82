"""What a database server can refuse, said in one sentence that names the remedy."""

from __future__ import annotations

from typing import Final

import attrs
import psycopg

from capsule_core.errors import FailedPrecondition, Unavailable
from capsule_sql.failures import DiskFull

__all__ = ["NotPrepared", "ReadOnly", "ServerRefused", "UnprovenServer", "UnsafeConnection", "told_by_server"]


@attrs.define
class ReadOnly(Unavailable):
    """The server takes no changes: it is a standby, or was set so."""

    reason = "READ_ONLY"
    sentence = "the database that holds {what} is read-only; nothing was changed, connect to the primary or lift it"
    what: str


@attrs.define
class NotPrepared(FailedPrecondition):
    """The database has not the tables that this version needs."""

    reason = "NOT_PREPARED"
    sentence = "the database that holds {what} is not prepared for this version; run capsule db init"
    what: str


@attrs.define
class ServerRefused(FailedPrecondition):
    """The server does not know the database or the role, or does not let it in."""

    reason = "SERVER_REFUSED"
    sentence = "the database that holds {what} does not let this service in; run capsule db init, or correct its URL"
    what: str


@attrs.define
class UnsafeConnection(FailedPrecondition):
    """The connection would cross a network without TLS that proves who answers."""

    reason = "UNSAFE_CONNECTION"
    sentence = "the database that holds {what} is on another machine: say sslmode=verify-full in its URL"
    what: str


@attrs.define
class UnprovenServer(FailedPrecondition):
    """Whoever answered could not prove to be the server that was meant; nothing was said to it."""

    reason = "UNPROVEN_SERVER"
    sentence = "the server of {what} does not prove who it is; correct sslrootcert in its URL, or the certificate there"
    what: str


_MOMENTARY: Final = {"08", "40", "53", "55", "57", "58"}


def told_by_server(error: psycopg.Error, what: str) -> Exception:
    """Return what a server says about *what* as an error of the domain.

    A mistake of ours (a statement that is wrong, a constraint nobody expected) stays what it is.
    """
    state = error.sqlstate
    if state == "53100":
        return DiskFull(what)
    if state == "25006":
        return ReadOnly(what)
    if state is None:
        return _told_at_the_door(error, what)
    if state == "42501" or state[:2] in {"28", "3D"}:
        return ServerRefused(what)
    if state in {"42P01", "3F000", "42703"}:
        return NotPrepared(what)
    return Unavailable() if state[:2] in _MOMENTARY else error


def _told_at_the_door(error: psycopg.Error, what: str) -> Exception:
    """A refused connection has no code, only words: those of a server that starts or stops are a matter of time."""
    if not isinstance(error, psycopg.OperationalError):
        return error
    said = str(error)
    if any(word in said for word in ("certificate", "SSL")):
        return UnprovenServer(what)
    if "FATAL" in said and not any(word in said for word in ("starting up", "shutting down", "too many", "recovery")):
        return ServerRefused(what)
    return Unavailable()
