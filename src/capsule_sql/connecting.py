"""Which URLs of a server are used: those that leave nothing to guess, and let nobody in between.

What a URL does not say, libpq takes from its environment and its defaults: an empty one leads somewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from capsule_core.errors import FailedPrecondition
from capsule_sql.refusals import UnsafeConnection

__all__ = ["UrlUnusable", "guarded", "is_safe", "lacking"]

_HERE: Final = {"localhost", "127.0.0.1", "::1"}
_SERVER: Final = ("host", "hostaddr")


@attrs.define
class UrlUnusable(FailedPrecondition):
    """The URL that a service was given leads nowhere; what it says may hold a password."""

    reason = "DATABASE_URL_UNUSABLE"
    sentence = "the URL of the database that holds {what} {problem}; run capsule db init, or correct it"
    what: str
    problem: str


def guarded(url: str, what: str) -> str:
    """Return *url* as it may be used for *what*; of several servers it names, only the one that is no standby.

    Raises:
        UrlUnusable: it cannot be read, or does not name server, role and database.
        UnsafeConnection: it leads to another machine, and nothing would prove which one answers.
    """
    problem = lacking(url, database=True)
    if problem:
        raise UrlUnusable(what, problem)
    if not is_safe(url):
        raise UnsafeConnection(what)
    # A standby may lag: what is decided on must be read where it is written.
    return make_conninfo(url, ssl_min_protocol_version="TLSv1.3", target_session_attrs="primary")


def lacking(url: str, *, database: bool) -> str:
    """Say what is wrong with a URL, and nothing of what it says; empty if it names server, role and *database*."""
    told = _told(url)
    if told is None:
        return "cannot be read"
    if not told:
        return "is empty"
    if not any(_each(told, name) for name in _SERVER):
        return "names no server"
    if not told.get("user"):
        return "names no role"
    return "" if told.get("dbname") or not database else "names no database"


def is_safe(url: str) -> bool:
    """Tell whether nobody can listen or answer in the server's place: it is on this machine, or proves who it is."""
    told = _told(url) or {}
    servers = [each for name in _SERVER for each in _each(told, name)]
    here = all(each.startswith("/") or each in _HERE for each in servers)
    return here or told.get("sslmode") == "verify-full"


def _told(url: str) -> Mapping[str, Any] | None:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return None  # the driver's words repeat what it could not read


def _each(told: Mapping[str, Any], name: str) -> list[str]:
    """Return every server that is named: there may be several, of which libpq takes the first that answers."""
    return [each for each in str(told.get(name) or "").split(",") if each]
