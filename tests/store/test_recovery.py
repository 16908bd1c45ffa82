"""A PostgreSQL server that was recovered to a point in time: whoever was erased since stays erased."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs
import psycopg
import pytest

from capsule_core.records import Mark, Shelf, Where
from capsule_core.restoring import is_behind
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from tests.core.desk import ACME, Desk, note, person
from tests.core.history import MEMBERS, Member, at_a_desk, do, replayed
from tests.postgres import APP, Database, Server

ARCHIVING = (
    "fsync=off",
    "wal_level=replica",
    "archive_mode=on",
    "max_wal_senders=4",
)


@attrs.define
class Archived:
    """A server whose log is archived to a folder, and a copy of its files to recover from."""

    server: Server
    folder: Path

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def settings(self) -> tuple[str, ...]:
        return (*ARCHIVING, f"archive_command=cp %p {self.archive}/%f", f"restore_command=cp {self.archive}/%f %p")

    def base(self) -> None:
        """Copy the server's files while it runs, as ``pg_basebackup`` does."""
        self.server._run(
            [
                self.server.programs / "pg_basebackup",
                *("-D", self.folder / "base", "-h", self.server.folder, "-U", "admin"),
                *("--checkpoint=fast", "--wal-method=none", "--no-sync"),
            ]
        )

    def point(self) -> str:
        """Name this moment, and let the log up to it be archived."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            name = secrets.token_hex(4)
            admin.execute("SELECT pg_create_restore_point(%s)", (name,))
            admin.execute("SELECT pg_switch_wal()")
        return name

    def recover(self, to: str) -> None:
        """Start from the copy, and go on to the point *to*."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_switch_wal()")
        self.server.stop()
        data = self.server.folder / "data"
        shutil.rmtree(data)
        (self.folder / "base").rename(data)
        (data / "recovery.signal").touch()
        if self.server.user:
            os.chown(data / "recovery.signal", self.server.user["user"], self.server.user["group"])
        target = (f"recovery_target_name={to}", "recovery_target_action=promote")
        self.server.start(*self.settings(), *target)


@pytest.fixture
def archived() -> Iterator[Archived]:
    server = Server.begin()
    try:
        folder = server.folder / "away"
        for each in (folder, folder / "archive"):
            each.mkdir()
            if server.user:
                os.chown(each, server.user["user"], server.user["group"])
        made = Archived(server, folder)
        server.stop()
        server.start(*made.settings())
        yield made
    finally:
        server.end()


@attrs.define
class Service:
    """A desk whose records are on the server, with keystore and journal in files."""

    database: Database
    folder: Path
    opened: list[object] = attrs.Factory(list)

    def open(self) -> Desk:
        data = open_postgres(self.database.server.url(self.database.name, APP), Role.DATA)
        files = [open_database(self.folder / name, role) for name, role in FILES.items()]
        self.opened = [data, *files]
        keys, log, mirror = files
        journal = SqlJournal(log, mirror)
        keystore = SqlKeystore(keys, bytes(range(32)), secrets.token_bytes)
        return at_a_desk(Desk(SqlStore(data, journal), keystore, journal, SqlLedger(data)))

    def close(self) -> None:
        for each in self.opened:
            each.close()  # type: ignore[attr-defined]


FILES = {"keystore.db": Role.KEYSTORE, "journal.db": Role.JOURNAL, "mirror.db": Role.JOURNAL}


def recovered(database: Database) -> None:
    """Wait until the server is out of recovery."""
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        for _ in range(600):
            if not admin.execute("SELECT pg_is_in_recovery()").fetchone()[0]:  # type: ignore[index]
                return
            admin.execute("SELECT pg_sleep(0.05)")
    raise AssertionError("the server does not come out of recovery")


@pytest.mark.law("L7", "L6")
def test_whoever_was_erased_since_stays_erased_after_a_recovery(archived: Archived, tmp_path: Path) -> None:
    service = Service(archived.server.fresh(), tmp_path)
    desk = service.open()
    ann, bo = desk.add(person("Ann", email="ann@example.org"), person("Bo", email="bo@example.org"))
    desk.add(note(ann.id, "Xanthippe"), Member(id=MEMBERS[0], role="owner"))
    (sealed,) = desk.store.read(ACME, [ann.id], admits=Mark.NONE)
    archived.base()
    point = archived.point()
    desk.erase(ann.id)
    desk.mark(bo.id, Mark.RESTRICTED)
    do(desk, ("role", MEMBERS[0], "nobody"))
    service.close()

    archived.recover(point)
    recovered(service.database)
    desk = service.open()
    assert desk.store.read(ACME, [ann.id], admits=~Mark.NONE) != [None], "the recovery brought the row back"
    assert is_behind(desk.store, desk.journal)
    assert desk.store.is_behind()
    assert desk.vault.remaining(ACME, [ann.slot]) == [], "and her key is dead all the same"
    replayed(desk)
    assert not desk.store.is_behind()
    people = desk.store.subjects(ACME, [ann.subject, bo.subject])
    assert [each.marks for each in people] == [Mark.FENCED | Mark.ERASED, Mark.RESTRICTED]
    everything = Where(tenant=ACME, subjects=(ann.subject,), shelf=Shelf.ANY)
    assert desk.store.select(everything, admits=~Mark.NONE, limit=9).records == ()
    assert desk.get(MEMBERS[0]).content.role == "nobody"
    with psycopg.connect(service.database.admin_url) as admin:
        rows = admin.execute("SELECT sealed FROM data.records").fetchall()
    assert sealed.blob not in [bytes(blob) for (blob,) in rows]
    service.close()
