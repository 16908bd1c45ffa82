"""What statements run on, and how one text serves two databases.

Statements are written as SQLite reads them. Where PostgreSQL says a thing otherwise, it stands beside it:

* ``/*pg ... */`` only PostgreSQL reads; to SQLite it is a comment,
* ``/*lite*/ ... /*end*/`` only SQLite reads,
* ``?``, :data:`EACH` and ``CROSS JOIN`` are put into PostgreSQL's words.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, ClassVar, Final, Protocol, TypeVar

from capsule_core.names import TenantId
from capsule_sql.migration import Role

__all__ = ["EACH", "TENANT", "Connection", "Cursor", "Many", "Transactions", "in_postgres", "listed"]

T = TypeVar("T")

TENANT: Final = "(SELECT no FROM tenants WHERE tenant = ?)"
"""Stands for a tenant's number where its id is the parameter; an unknown one matches nothing."""

EACH: Final = "IN (SELECT value FROM json_each(?))"
"""Holds for each of many values, which one parameter made by :func:`listed` brings."""

_LITE: Final = re.compile(r"/\*lite\*/.*?/\*end\*/", re.DOTALL)
_POSTGRES: Final = re.compile(r"/\*pg (.*?)\*/", re.DOTALL)


class Many(list[Any]):
    """Many values as one parameter: an array to PostgreSQL, JSON to SQLite, which has no arrays."""

    def __conform__(self, protocol: object) -> str | None:
        """Adapt to SQLite (PEP 246, as ``sqlite3`` asks)."""
        return json.dumps(self) if protocol is sqlite3.PrepareProtocol else None


def listed(values: Iterable[int | str]) -> Many:
    """Make one parameter of many values."""
    return Many(values)


class Cursor(Protocol):
    """The rows of a statement that ran."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rest of the rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""
        ...


class Connection(Protocol):
    """A transaction that is open on one connection.

    *shared* says that others may change the data at the same moment: what is decided on must be locked first.
    """

    shared: ClassVar[bool]

    @property
    def tenant_no(self) -> int | None:
        """Whose rows can be seen, if the database itself keeps tenants apart."""
        ...

    def execute(self, text: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""
        ...

    def executemany(self, text: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of *rows*."""
        ...

    def alone(self, work: str) -> None:
        """Wait until nobody else is at this *work*, and keep them from it until the transaction ends."""
        ...

    def beside(self, work: str) -> None:
        """Wait until nobody is alone at this *work*, and let nobody be so until the transaction ends."""
        ...

    def within(self, tenant_no: int) -> None:
        """See the rows of this tenant from now on, and of no other."""
        ...

    def search(self, tenant_no: int) -> None:
        """Let pass if what the records of the tenant with this number are found by is there.

        Raises:
            IndexMissing: it was lost, and is not yet made again.
        """
        ...


class Transactions(Protocol):
    """A database, in which many callers read and write at the same time; *tenant* is whose rows they may see.

    *shared* says that others write side by side with us.
    """

    shared: ClassVar[bool]

    @property
    def place(self) -> str:
        """Where it is, as a sentence names it."""
        ...

    @property
    def role(self) -> Role:
        """What is kept there."""
        ...

    def rows(
        self, text: str, values: Sequence[Any], *, tenant: TenantId | None = None, search: bool = False
    ) -> list[Any]:
        """Run one statement that only reads, and return what it found; *search* as :meth:`Connection.search`."""
        ...

    def read(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body*, which only reads."""
        ...

    def write(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        """Run *body* in a transaction and return when it is durable; if it raises, nothing of it was done.

        *body* may run on another thread, and more than once if others were in its way.
        """
        ...

    def checkpoint(self) -> None:
        """Return when nothing deleted is left in files of ours, as far as the database can tell."""
        ...


@cache
def in_postgres(text: str) -> str:
    """Put a statement into PostgreSQL's words, for psycopg."""
    said = _POSTGRES.sub(r"\1", _LITE.sub("", text))
    said = said.replace("CROSS JOIN", "JOIN").replace("%", "%%").replace(EACH, "= ANY(?)")
    return said.replace("?", "%s")
