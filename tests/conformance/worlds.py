"""The adapters as the suites want them: opened, opened again, closed, with every byte they wrote."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs

from capsule_core.checkpoints import Signer
from capsule_core.closing import Closing
from capsule_core.contacts import Email, Entry, Person
from capsule_core.erasure import Eraser
from capsule_core.holder import Holder, RecordHolder
from capsule_core.journal import Journal, MemoryJournal
from capsule_core.ledger import LedgerStore, MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId, made_id, tenant_id
from capsule_core.pages import Keystore
from capsule_core.personal import kind_of
from capsule_core.records import Act
from capsule_core.repository import Draft, Repository
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_sql.database import Database, open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from capsule_sql.snapshots import STRIPPED
from tests.postgres import Database as Postgresql

ROOT_KEY = bytes(range(32))
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@attrs.define
class InMemory:
    """One port in memory; what is closed is gone."""

    store: Any
    ledger: LedgerStore = attrs.Factory(MemoryLedger)
    journal: Journal = attrs.Factory(MemoryJournal)

    def reopen(self) -> None:
        raise AssertionError("what is in memory is neither opened again nor read from files")

    def files(self) -> Sequence[bytes]:
        raise AssertionError("what is in memory is neither opened again nor read from files")

    def close(self) -> None:
        return


def memory_store() -> InMemory:
    ledger, journal = MemoryLedger(), MemoryJournal()
    return InMemory(MemoryStore(ledger, journal), ledger, journal)


def template(folder: Path) -> Path:
    """Make the files of a deployment once, to be copied for every example."""
    for name, role in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        open_database(folder / name, role).close()
    return folder


FILES = {
    "data.db": Role.DATA,
    "keystore.db": Role.KEYSTORE,
    "mirror/keystore.db": Role.KEYSTORE,
    "journal.db": Role.JOURNAL,
    "mirror/journal.db": Role.JOURNAL,
}


@attrs.define
class OnDisk:
    """All ports in the files of one folder; *port* says which of them a suite wants."""

    folder: Path
    port: str = "records"
    opened: list[Database] = attrs.Factory(list)
    records: SqlStore = attrs.field(init=False)
    keystore: SqlKeystore = attrs.field(init=False)
    journal: SqlJournal = attrs.field(init=False)
    ledger: SqlLedger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._open()

    @property
    def store(self) -> Any:
        return getattr(self, self.port)

    def reopen(self) -> None:
        self._close_files()
        self._open()

    def lose(self) -> None:
        """Lose what records are found by, as a backup is without it."""
        self.opened[0].write(forget_every_index)

    def files(self) -> Sequence[bytes]:
        return [path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()]

    def close(self) -> None:
        self._close_files()
        shutil.rmtree(self.folder)

    def _open(self) -> None:
        data, keys, keys_mirror, journal, journal_mirror = (
            open_database(self.folder / name, role) for name, role in FILES.items()
        )
        self.opened = [data, keys, keys_mirror, journal, journal_mirror]
        self.journal = SqlJournal(journal, journal_mirror)
        self.keystore = SqlKeystore(keys, ROOT_KEY, secrets.token_bytes, keys_mirror)
        self.records, self.ledger = SqlStore(data, self.journal), SqlLedger(data)

    def _close_files(self) -> None:
        for database in self.opened:
            database.close()


def forget_every_index(connection: Any) -> None:
    for statement in STRIPPED:
        connection.execute(statement)


def on_disk(original: Path, folder: Path, port: str) -> Callable[[], OnDisk]:
    """Return what makes one fresh deployment after the other."""
    numbers = count()

    def make() -> OnDisk:
        fresh = folder / f"{port}{next(numbers)}"
        shutil.copytree(original, fresh)
        return OnDisk(fresh, port)

    return make


@attrs.define
class OnServer:
    """All ports in a database of a server, the keystore in files of *folder*."""

    database: Postgresql
    folder: Path
    port: str = "records"
    opened: list[Any] = attrs.Factory(list)
    records: SqlStore = attrs.field(init=False)
    keystore: SqlKeystore = attrs.field(init=False)
    journal: SqlJournal = attrs.field(init=False)
    ledger: SqlLedger = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._open()

    @property
    def store(self) -> Any:
        return getattr(self, self.port)

    def reopen(self) -> None:
        self._close_connections()
        self._open()

    def files(self) -> Sequence[bytes]:
        raise AssertionError("what PostgreSQL deletes stays in its files; only keys are destroyed there")

    def lose(self) -> None:
        self.database.server.crash()  # with our connections open: they must find out by themselves

    def close(self) -> None:
        self._close_connections()
        self.database.empty()

    def _open(self) -> None:
        self.folder.mkdir(exist_ok=True)
        data, journal = open_postgres(self.database.url, Role.DATA), open_postgres(self.database.url, Role.JOURNAL)
        keys = open_database(self.folder / "keystore.db", Role.KEYSTORE)
        self.opened = [data, journal, keys]
        self.journal = SqlJournal(journal)
        self.keystore = SqlKeystore(keys, ROOT_KEY, secrets.token_bytes)
        self.records, self.ledger = SqlStore(data, self.journal), SqlLedger(data)

    def _close_connections(self) -> None:
        for each in self.opened:
            each.close()


def on_server(database: Postgresql, folder: Path, port: str) -> Callable[[], OnServer]:
    """Return what makes one fresh deployment after the other, in one database that is emptied in between."""
    numbers = count()
    return lambda: OnServer(database, folder / f"{port}{next(numbers)}", port)


@attrs.define
class Time:
    """A clock that stands until it is moved."""

    moment: datetime = START

    def now(self) -> datetime:
        return self.moment


NUMBERS = count()


@attrs.define
class Held:
    """A holder of contacts over any adapters, and the way in which contacts come there."""

    repository: Repository
    holder: Holder
    close: Callable[[], None]
    eraser: Eraser
    time: Time = attrs.Factory(Time)
    tenants: tuple[TenantId, TenantId] = attrs.field(
        factory=lambda: (tenant_id(f"a{next(NUMBERS)}"), tenant_id(f"b{next(NUMBERS)}"))
    )

    def meet(self, tenant: TenantId, email: str) -> SubjectKey:
        person = Person(id=self._id("c"), given_name="Ann", emails=(Email(email),))
        return self.repository.add([Draft(person)], act=self._act(tenant))[0].subject

    def write(self, tenant: TenantId, subject: SubjectKey) -> None:
        entry = Entry(id=self._id("e"), contact=subject, channel="note", occurred_at="2026-02-01T10:00:00Z", body="x")
        self.repository.add([Draft(entry, root=RecordId(subject))], act=self._act(tenant))

    def throw_away(self, tenant: TenantId, subject: SubjectKey) -> datetime:
        kept = self.repository.get(tenant, RecordId(subject), use=Use.EDIT)
        trashed = self.repository.trash(kept, self._id("b"), act=self._act(tenant)).trash
        assert trashed is not None
        return trashed.until

    def now(self) -> datetime:
        return self.time.now()

    def advance(self, by: timedelta) -> None:
        self.time.moment += by

    def _act(self, tenant: TenantId) -> Act:
        return Act(tenant=tenant, actor=ActorRef("user", "u1"), verb="try", use=Use.EDIT.value, at=self.now())

    def _id(self, letter: str) -> str:
        return made_id(letter, now=self.now(), randomness=secrets.token_bytes(10))


def held(
    store: Any,
    keystore: Keystore,
    journal: Journal,
    ledger: LedgerStore,
    *,
    close: Callable[[], None] = lambda: None,
    signer: Signer | None = None,
) -> Held:
    """Put a holder of contacts together."""
    signer = signer or Signer.from_seed("contacts", bytes(32))
    vault = Vault(store, keystore, journal, secrets.token_bytes)
    repository = Repository(store, vault, [kind_of(Person), kind_of(Entry), kind_of(Closing)])
    eraser = Eraser(store, vault, ledger, signer, "contacts", repository.identifiers)
    time = Time()

    def new_erasure() -> str:
        return made_id("e", now=time.now(), randomness=secrets.token_bytes(10))

    holder = RecordHolder("contacts", repository, eraser, new_erasure)
    return Held(repository, holder, close, eraser, time)


def held_in_memory() -> Held:
    ledger, journal = MemoryLedger(), MemoryJournal()
    return held(MemoryStore(ledger, journal), MemoryKeystore(), journal, ledger)


def held_on(disk: OnDisk | OnServer) -> Held:
    return held(disk.records, disk.keystore, disk.journal, disk.ledger, close=disk.close)
