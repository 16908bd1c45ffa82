"""What is measured: the store of a service, as it is shipped; and plain tables beside it, with the same durability."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import attrs
import structlog

from capsule_core.contacts import Entry, Organisation, Person, Photo
from capsule_core.names import ActorRef, RecordId, TenantId
from capsule_core.personal import kind_of
from capsule_core.records import Act
from capsule_core.repository import Draft
from capsule_core.roles import EXPORT, Authority, Role
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from capsule_services.runtime.callers import UserCaller
from capsule_services.runtime.calls import Call
from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.clock import Clock
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.opening import Opened, open_holding
from capsule_services.runtime.process import Host
from capsule_services.runtime.settings import environment, settings_from
from capsule_sql.records import SqlStore
from tests.benchmarks.people import NOW, entry, person, photo_of

__all__ = [
    "CALL",
    "CALLER",
    "KINDS",
    "TENANT",
    "Rig",
    "act_of",
    "fill",
    "insert_plain",
    "opened",
    "plain_notes",
    "plain_row",
    "plain_table",
    "raw",
    "rigged",
]

TENANT: Final = TenantId("acme")
KINDS: Final = [kind_of(model) for model in (Person, Organisation, Entry, Photo)]
CALLER: Final = UserCaller(
    tenant=TENANT, user="u1", authority=Authority(Role.SUPER_ADMINISTRATOR, frozenset({EXPORT})), session="s1"
)
CALL: Final = Call(
    method="/capsule_api.contacts.v1.ContactsService/ExportContacts",
    permission="contacts.export",
    use=Use.EXPORT,
    caller=CALLER,
    tenant=TENANT,
)


@attrs.frozen
class Rig:
    """One open store."""

    holding: Holding
    opened: Opened

    @property
    def database(self) -> Any:
        return cast("SqlStore", self.holding.repository.store)._database


def opened(folder: Path, database: Path | None = None) -> Opened:
    """Open a service's folder, as its process does; *database* is the file that says where its PostgreSQL is."""
    unused = Credential(certificate=folder / "none", key=folder / "none", authority=folder / "none")
    told = {} if database is None else {"database": database}
    settings = settings_from(environment(unused, data=folder, addresses=folder, phone_region="GB", **told))
    return open_holding(
        cast("Host", SimpleNamespace(settings=settings, clock=Clock(), log=structlog.get_logger())), "contacts", KINDS
    )


@contextlib.contextmanager
def rigged(folder: Path, database: Path | None = None) -> Iterator[Rig]:
    """Open a store in *folder*, or on the server that *database* names, while the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    held = opened(folder, database)
    try:
        yield Rig(held.holding, held)
    finally:
        held.close()


def act_of(rig: Rig, verb: str, use: Use) -> Act:
    """Make an act that bears witness, for calling a store directly."""
    act = Act(tenant=TENANT, actor=ActorRef("user", "u1"), verb=verb, use=use.value, at=NOW)
    return attrs.evolve(act, witness=bears_witness(rig.holding.vault, act))


def fill(rig: Rig, numbers: Sequence[int], *, notes: int = 0, photo: bool = False, batch: int = 500) -> list[Person]:
    """Keep the people of these *numbers* with so many notes each."""
    people = [person(number) for number in numbers]
    act = act_of(rig, "contacts.ImportContacts", Use.IMPORT)
    for start in range(0, len(people), batch):
        drafts = []
        for number, each in zip(numbers[start : start + batch], people[start : start + batch], strict=True):
            drafts.append(Draft(each))
            drafts += [Draft(entry(each.id, number * 1000 + n), root=RecordId(each.id)) for n in range(notes)]
            if photo:
                drafts.append(Draft(photo_of(each.id), root=RecordId(each.id)))
        rig.holding.repository.add(drafts, act=act)
    return people


@contextlib.contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a plain database with the pragmas that ours has."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("PRAGMA cache_size = -16384")
        yield connection


_COLUMNS: Final = "id, given_name, family_name, organisation_name, job_title, email, phone, tag, owner, trashed"


def plain_table(connection: sqlite3.Connection) -> None:
    """Make the tables that somebody would make who encrypts nothing: a key by time, two indexes on random values."""
    connection.executescript(
        f"""CREATE TABLE contact ({_COLUMNS.replace("id,", "id TEXT PRIMARY KEY,")});
        CREATE INDEX by_email ON contact (email); CREATE INDEX by_phone ON contact (phone);
        CREATE TABLE note (id TEXT PRIMARY KEY, contact REFERENCES contact ON DELETE CASCADE, body, trashed);
        CREATE INDEX by_contact ON note (contact);"""
    )


def insert_plain(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], notes: Sequence[Any] = ()) -> None:
    """Insert rows made by :func:`plain_row` in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO contact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT INTO note (id, contact, body) VALUES (?, ?, ?)", notes)
    connection.execute("COMMIT")


def plain_row(each: Person) -> tuple[Any, ...]:
    """Write a person as a row of a plain table."""
    email, phone = each.emails[0].address, each.phones[0].number
    names = (each.id, each.given_name, each.family_name, each.organisation_name, each.job_title)
    return (*names, email, phone, each.tags[0], each.owner, None)


def plain_notes(each: Person, number: int, notes: int) -> list[tuple[str, str, str]]:
    """Write a person's notes as rows."""
    return [(made.id, each.id, made.body) for made in (entry(each.id, number * 1000 + n) for n in range(notes))]
