"""Where the doctor looks, and how: files are opened so that nothing in or beside them changes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import quote

import attrs

from capsule_core.names import TenantId
from capsule_core.wrapping import Roots
from capsule_services.runtime.clock import Clock, wall_time
from capsule_services.runtime.clockwatch import ClockWatch
from capsule_services.runtime.layout import DATABASE, ORDER
from capsule_services.runtime.safekeeping import ELSEWHERE, ROOT_KEY
from capsule_services.runtime.sweeper import status_in
from capsule_sql.migration import Role
from capsule_sql.statements import Connection

__all__ = [
    "MIRROR",
    "MIRRORED",
    "File",
    "Interrupted",
    "Look",
    "Place",
    "Premises",
    "Unreadable",
    "looking",
    "overwrites",
    "sqlite_version",
]

T = TypeVar("T")

_MOVABLE: Final = (("data.db", Role.DATA), ("reads.db", Role.LEDGER))
_FIXED: Final = (("journal.db", Role.JOURNAL), ("keystore.db", Role.KEYSTORE))
_UNOPENED: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_STEPS: Final = 10_000
_EVERY: Final = 60
MIRROR: Final = "mirror"
"""The folder of the second copies."""
MIRRORED: Final = frozenset({Role.JOURNAL, Role.KEYSTORE})
"""What there are second copies of."""


@attrs.frozen
class File:
    """A database file; *name* is how people call it."""

    name: str
    path: Path
    role: Role


@attrs.frozen
class Premises:
    """The folder of one service."""

    service: str
    folder: Path

    @property
    def on_server(self) -> bool:
        """Whether records and logs are in a PostgreSQL database."""
        return (self.folder / DATABASE).exists()

    @property
    def roots(self) -> Roots:
        """The root key as it is, and the next one while it is replaced."""
        files = (self.folder / ROOT_KEY, self.folder / f"{ROOT_KEY}.next")
        return Roots(lambda: [file.read_bytes() for file in files if file.exists()])

    @property
    def in_openbao(self) -> bool:
        """Whether the page keys are in OpenBao."""
        return (self.folder / ELSEWHERE).exists()

    @property
    def files(self) -> tuple[File, ...]:
        """The database files that belong here, mirrors apart."""
        names = _FIXED if self.on_server else (*_MOVABLE, *_FIXED)
        here = [(name, role) for name, role in names if role is not Role.KEYSTORE or not self.in_openbao]
        return tuple(File(f"{self.service}/{name}", self.folder / name, role) for name, role in here)

    @property
    def mirrored(self) -> tuple[tuple[File, File], ...]:
        """The files of which there is a second copy, each beside it."""
        return tuple((file, self._copy(file.path.name, file.role)) for file in self.files if file.role in MIRRORED)

    @property
    def present(self) -> tuple[File, ...]:
        """All database files that are there, mirrors among them."""
        every = (*self.files, *(copy for _, copy in self.mirrored))
        return tuple(file for file in every if file.path.exists())

    def file(self, role: Role) -> File | None:
        """Return the file of a role; None if it is not in a file."""
        return next((file for file in self.files if file.role is role), None)

    def _copy(self, name: str, role: Role) -> File:
        return File(f"{self.service}/{MIRROR}/{name}", self.folder / MIRROR / name, role)


@attrs.frozen(kw_only=True)
class Place:
    """A deployment: its *folder*, and what the world outside it says."""

    folder: Path
    wall: Callable[[], datetime] = wall_time
    space: Callable[[Path], Any] = shutil.disk_usage
    versions: Mapping[str, str] = attrs.field(factory=dict)
    variables: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)

    @property
    def services(self) -> tuple[Premises, ...]:
        """The services that have a folder here."""
        return tuple(Premises(name, self.folder / name) for name in ORDER if (self.folder / name).is_dir())

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    @property
    def addresses(self) -> Path:
        return self.folder / "addresses"

    def now(self) -> datetime:
        """Return the time of the deployment's own clock."""
        return Clock(self.folder / "clock").now()

    def over(self, premises: Premises) -> datetime:
        """Return the moment up to which things are over by every clock that this service has seen."""
        watch = ClockWatch(Clock(self.folder / "clock"), premises.folder, timedelta(), lambda _, __: True)
        return watch.look().now

    def overdue(self, premises: Premises) -> datetime:
        """Return the moment before which nothing is due any more: one sweep may have begun, the next one takes it."""
        status = status_in(premises.folder)
        return self.over(premises) - 2 * timedelta(seconds=status.every if status else _EVERY)

    def runs(self, service: str) -> bool:
        """Tell whether *service* has said where it listens."""
        return (self.addresses / service).exists()


class Unreadable(Exception):
    """A file is not what it should be."""


class Interrupted(Exception):
    """Looking took longer than it may."""


class _Reader(sqlite3.Connection):
    shared: ClassVar[bool] = False
    tenant_no: int | None = None

    def alone(self, work: str) -> None:
        return

    def beside(self, work: str) -> None:
        return

    def within(self, tenant_no: int) -> None:
        return

    def search(self, tenant_no: int) -> None:
        return


@attrs.frozen(eq=False)
class Look:
    """A file, open for nothing but reading; the store's own parts read through it."""

    place: str
    role: Role
    connection: _Reader
    shared: ClassVar[bool] = False

    def rows(
        self, text: str, values: Sequence[Any] = (), *, tenant: TenantId | None = None, search: bool = False
    ) -> list[Any]:
        return self.connection.execute(text, values).fetchall()

    def read(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        return body(self.connection)

    def write(self, body: Callable[[Connection], T], *, tenant: TenantId | None = None) -> T:
        raise sqlite3.OperationalError("the doctor writes nothing")

    def checkpoint(self) -> None:
        raise sqlite3.OperationalError("the doctor writes nothing")

    def hurry(self, seconds: float) -> None:
        """Give whatever comes next so many seconds; Interrupted if it takes longer."""
        until = time.monotonic() + seconds
        self.connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)

    def pragma(self, name: str) -> Any:
        """Return the first value that a pragma answers."""
        return self.connection.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def looking(file: File) -> Generator[Look]:
    """Open *file* as it is: with what is in its log, if it has one, and without making one if it has none.

    Raises:
        FileNotFoundError: it is not there.
        Unreadable: it is not what it should be.
        sqlite3.Error: it cannot be opened.
    """
    with file.path.open("rb"):
        pass
    log = file.path.with_name(f"{file.path.name}-wal")
    # Without a log nobody writes; with one, its index is read as it is or built in memory, never on the disk.
    how = "mode=ro&readonly_shm=1" if log.exists() else "mode=ro&immutable=1"
    address = f"file:{quote(str(file.path.absolute()))}?{how}"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=1, factory=_Reader)) as connection:
        try:
            yield Look(str(file.path), file.role, connection)
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code in _UNOPENED:
                raise
            raise (Interrupted if code == sqlite3.SQLITE_INTERRUPT else Unreadable)(str(error)) from None


def overwrites() -> bool:
    """Tell whether the SQLite at hand overwrites what it deletes."""
    with closing(sqlite3.connect(":memory:")) as probe:
        return bool(probe.execute("PRAGMA secure_delete = ON").fetchone() == (1,))


def sqlite_version() -> str:
    """Return the version of the SQLite at hand."""
    return sqlite3.sqlite_version
