"""Twin tenants behind the real servicers on a real store: both have lived the same life, down to ids and request ids.

And a look past every lock at each byte that is kept of one of them, in whatever table it lies.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2
from capsule_core.errors import CapsuleError
from capsule_core.ledger import Leaf, LedgerStore
from capsule_services.runtime.clock import Clock
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.opening import Opened, open_holding
from tests.postgres import Database
from tests.services.office import KINDS, Desk, host, import_messages, numbered_id, office, service_desk

FIRST, TWIN = "acme", "zeta"
HOLDER: Final = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]
_ADDRESSES: Final = 12
_REQUESTS: Final = 40
_CARD: Final = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada {0}\r\nN:{0};Ada;;;\r\nEMAIL:{0}@example.org\r\nEND:VCARD\r\n"
_GROWING: Final = {"leaves", "entries"}
"""What is only ever added to: there the first rows are the twin's, or older."""
_SHARED: Final = {
    *("alembic_version", "arrivals", "checkpoints", "frontiers", "indexed", "journaled"),
    *("outbox", "seals", "tenants", "unindexed"),
}
"""What is no tenant's; an entry of the outbox is in the journal by the time that its act has returned."""


@attrs.frozen
class Hands(Clock):
    """A clock whose hands a test moves."""

    at: list[datetime] = attrs.Factory(lambda: [datetime(2026, 5, 4, 9, 30, tzinfo=UTC)])

    def now(self) -> datetime:
        return self.at[0]

    def forward(self, by: timedelta) -> None:
        self.at[0] += by


@attrs.define
class Life:
    """What one tenant does through the public operations, by a seed: the same seed does the same, with the same ids."""

    desk: Desk
    holder: Desk
    chance: random.Random
    contacts: list[str] = attrs.Factory(list)
    entries: list[str] = attrs.Factory(list)
    outcomes: dict[str, set[str]] = attrs.Factory(dict)

    def step(self) -> None:
        """Do one thing; what is refused is refused."""
        way = self.chance.choice(_WAYS)
        outcome = "done"
        try:
            way(self)
        except CapsuleError as error:
            outcome = error.reason
        self.outcomes.setdefault(way.__name__, set()).add(outcome)

    def create(self) -> None:
        person = pb.Person(given_name=self.chance.choice(("Ada", "Bo", "Cy")), family_name="Larkspur")
        contact = pb.Contact(person=person, emails=[pb.Email(address=self._address())], tags=["friend"])
        made = self.desk.CreateContact(
            pb.CreateContactRequest(parent=self.desk.tenant, contact=contact, **self._asked())
        )
        self.contacts = [*self.contacts[-30:], made.name]

    def change(self) -> None:
        contact = pb.Contact(name=self._contact(), person=pb.Person(job_title=f"Title {self.chance.randrange(5)}"))
        request = pb.UpdateContactRequest(contact=contact, **self._asked())
        request.update_mask.paths.append("person.job_title")
        self.desk.UpdateContact(request)

    def delete(self) -> None:
        self.desk.DeleteContact(pb.DeleteContactRequest(name=self._contact(), **self._asked()))

    def undelete(self) -> None:
        self.desk.UndeleteContact(pb.UndeleteContactRequest(name=self._contact(), **self._asked()))

    def purge(self) -> None:
        name, confirm = self._contact(), self.chance.random() < 0.8
        with suppress(CapsuleError):
            self.desk.DeleteContact(pb.DeleteContactRequest(name=name))
        self.desk.PurgeContact(pb.PurgeContactRequest(name=name, confirm=confirm, **self._asked()))

    def get(self) -> None:
        self.desk.GetContact(pb.GetContactRequest(name=self._contact()))

    def list(self) -> None:
        owner = self.chance.choice(("", f"{self.desk.tenant}/users/u1"))
        more = {"owner": owner, "tag": self.chance.choice(("", "friend")), "show_deleted": self.chance.random() < 0.5}
        self.desk.ListContacts(pb.ListContactsRequest(parent=self.desk.tenant, page_size=5, **more))

    def search(self) -> None:
        by = self.chance.choice(({"email": self._address()}, {"name_prefix": "lark"}, {"phone": "+447700900813"}))
        self.desk.SearchContacts(pb.SearchContactsRequest(parent=self.desk.tenant, **by))

    def write(self) -> None:
        entry = pb.Entry(kind=pb.Entry.NOTE, body=f"Note {self.chance.randrange(9)}")
        request = pb.CreateEntryRequest(parent=self._contact(), entry=entry, **self._asked())
        self.entries = [*self.entries[-30:], self.desk.CreateEntry(request).name]

    def rewrite(self) -> None:
        entry = pb.Entry(name=self._entry(), body=f"Again {self.chance.randrange(9)}")
        request = pb.UpdateEntryRequest(entry=entry, **self._asked())
        request.update_mask.paths.append("body")
        self.desk.UpdateEntry(request)

    def unwrite(self) -> None:
        self.desk.DeleteEntry(pb.DeleteEntryRequest(name=self._entry(), **self._asked()))

    def take_back(self) -> None:
        self.desk.UndeleteEntry(pb.UndeleteEntryRequest(name=self._entry(), **self._asked()))

    def read(self) -> None:
        self.desk.GetEntry(pb.GetEntryRequest(name=self._entry()))
        self.desk.ListEntries(pb.ListEntriesRequest(parent=self._contact(), show_deleted=True))
        self.desk.PrintContact(pb.PrintContactRequest(name=self._contact()))

    def take_in(self) -> None:
        cards = "".join(_CARD.format(self._address().partition("@")[0]) for _ in range(2)).encode()
        self.desk.ImportContacts(import_messages(self.desk, cards, pb.ImportContactsRequest.VCARD, **self._asked()))

    def give_out(self) -> None:
        if self.chance.random() < 0.1:
            form = pb.ExportContactsRequest.JSON
            self.desk.ExportContacts(pb.ExportContactsRequest(parent=self.desk.tenant, format=form))

    def order(self) -> None:
        order = self.chance.choice([holder_pb2.HOLD, holder_pb2.RELEASE, holder_pb2.RESTRICT, holder_pb2.LIFT])
        reason = f"{self.desk.tenant}/holds/h{self.chance.randrange(3)}"
        self.holder.Apply(
            holder_pb2.ApplyRequest(parent=self.desk.tenant, subjects=[self._contact()], order=order, reason=reason)
        )

    def locate(self) -> None:
        identifier = holder_pb2.Identifier(kind=holder_pb2.Identifier.EMAIL, value=self._address())
        self.holder.Locate(holder_pb2.LocateRequest(parent=self.desk.tenant, identifiers=[identifier]))
        self.holder.Collect(holder_pb2.CollectRequest(parent=self.desk.tenant, subjects=[self._contact()]))

    def erase(self) -> None:
        name = f"{self.desk.tenant}/erasures/e{self.chance.randrange(1000)}"
        self.holder.Erase(holder_pb2.EraseRequest(erasure=name, subjects=[self._contact()]))

    def sweep(self) -> None:
        self.holder.Sweep(holder_pb2.SweepRequest(parent=self.desk.tenant))

    def _contact(self) -> str:
        return self.chance.choice(self.contacts or [f"{self.desk.tenant}/contacts/c0"])

    def _entry(self) -> str:
        return self.chance.choice(self.entries or [f"{self.desk.tenant}/contacts/c0/entries/n0"])

    def _address(self) -> str:
        return f"p{self.chance.randrange(_ADDRESSES)}@example.org"

    def _asked(self) -> dict[str, str]:
        return {"request_id": numbered_id(self.chance.randrange(_REQUESTS))} if self.chance.random() < 0.4 else {}


# What makes and changes stands here more often than what destroys: or there would soon be nobody left.
_WAYS: Final = (
    *(
        Life.create,
        Life.create,
        Life.create,
        Life.create,
        Life.change,
        Life.change,
        Life.write,
        Life.write,
        Life.take_in,
    ),
    *(Life.delete, Life.delete, Life.undelete, Life.undelete, Life.rewrite, Life.unwrite, Life.take_back),
    *(Life.get, Life.list, Life.search, Life.read, Life.give_out, Life.order, Life.order, Life.locate),
    *(Life.purge, Life.erase, Life.sweep),
)


@attrs.frozen
class Twins:
    """The first tenant's life, which goes on, and a look at what is kept of its twin, whose life stands still."""

    first: Life
    clock: Hands
    opened: Opened
    folder: Path
    database: Database | None
    lengths: dict[str, int] = attrs.Factory(dict)
    tenants: dict[str, set[bytes]] = attrs.Factory(dict)

    def rows(self) -> dict[str, list[Any]]:
        """Every row that is the twin's, with where it lies and who wrote it last."""
        found = dict(_in_files(self.folder / "contacts", self._rows_of_file))
        return found | (self._on_server(self.database) if self.database else {})

    def leaves(self) -> list[Leaf]:
        """Every leaf of both logs that is the twin's."""
        logs: Sequence[LedgerStore] = (self.opened.holding.ledger, self.opened.holding.reads.ledger)
        data = [leaf for log in logs for leaf in log.read(0, log.head().size)]
        return [leaf for leaf in map(Leaf.decode, data) if leaf.tenant == TWIN]

    def _rows_of_file(self, file: sqlite3.Connection, place: str, table: str, columns: set[str]) -> list[Any]:
        if "tenant_no" in columns:
            of_twin = "tenant_no = (SELECT no FROM tenants WHERE tenant = ?)"
            return file.execute(f"SELECT rowid, * FROM {table} WHERE {of_twin}", (TWIN,)).fetchall()  # noqa: S608
        if "tenant" in columns and table != "tenants":
            rows = file.execute(f"SELECT tenant, rowid, * FROM {table}").fetchall()  # noqa: S608
            ours = self.tenants.setdefault(f"{place}.{table}", {tenant for tenant, *_ in rows})
            return [row for row in rows if row[0] in ours]
        if table in _GROWING:
            rows = file.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid").fetchall()  # noqa: S608
            return rows[: self.lengths.setdefault(f"{place}.{table}", len(rows))]
        assert table in _SHARED or table.startswith("sqlite_"), f"{table}: say here whose its rows are"
        return []

    def _on_server(self, database: Database) -> dict[str, list[Any]]:
        columns = """SELECT table_schema || '.' || table_name, bool_or(column_name = 'tenant_no')
            FROM information_schema.columns WHERE table_schema IN ('data', 'reads') GROUP BY 1"""
        number, found = "(SELECT no FROM data.tenants WHERE tenant = 'zeta')", {}
        with psycopg.connect(database.admin_url) as owner:
            for table, of_tenants in owner.execute(columns).fetchall():
                select = f"SELECT ctid::text, xmin::text, xmax::text, t::text FROM {table} t"  # noqa: S608
                if of_tenants:
                    found[table] = owner.execute(f"{select} WHERE tenant_no = {number} ORDER BY ctid").fetchall()
                elif table.rpartition(".")[2] in _GROWING:
                    rows = owner.execute(f"{select} ORDER BY no").fetchall()
                    found[table] = rows[: self.lengths.setdefault(table, len(rows))]
                else:
                    assert table.rpartition(".")[2] in _SHARED, f"{table}: say here whose its rows are"
        return found


def _leave_alone(database: Database) -> None:
    """Keep the server's own housekeeping from the rows: it tidies away who locked one last."""
    tables = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('data', 'reads')"
    with psycopg.connect(database.admin_url, autocommit=True) as owner:
        for (table,) in owner.execute(tables).fetchall():
            owner.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")


def _in_files(folder: Path, look: Any) -> Iterator[tuple[str, list[Any]]]:
    for path in sorted(folder.rglob("*.db")):
        place = path.relative_to(folder).as_posix()
        with closing(sqlite3.connect(path)) as file:
            for (table,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = {name for _, name, *_ in file.execute(f"PRAGMA table_info({table})")}
                yield f"{place}.{table}", look(file, place, table, columns)


@contextmanager
def twins(folder: Path, database: Database | None, *, childhood: int) -> Iterator[Twins]:
    """Let both live the same *childhood* of so many steps; the twin ends it first, and stands still from then on."""
    clock, chance = Hands(), random.Random()  # noqa: S311  a seed, so that a failure comes again
    more: dict[str, Path] = {}
    if database is not None:
        more["database"] = folder / "database.url"
        more["database"].write_text(database.url)
        _leave_alone(database)
    opened = open_holding(attrs.evolve(host(folder, **more), clock=clock), "contacts", KINDS)
    opened = attrs.evolve(opened, holding=attrs.evolve(opened.holding, random=chance.randbytes))
    here = office(opened, folder)
    holder = service_desk(HOLDER, HolderServicer(opened.holding, opened.signer, opened.paging), "privacy")
    lives = []
    try:
        for tenant in (TWIN, FIRST):
            chance.seed(11)
            clock.at[0] = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
            life = Life(here.desk(tenant), holder, random.Random(7))  # noqa: S311
            lives.append(life)
            for _ in range(childhood):
                life.step()
                clock.forward(timedelta(seconds=1))
            if tenant == TWIN:
                opened.holding.ledger.head()  # numbers what waits for its place
                still = Twins(life, clock, opened, folder, database)
                still.rows()
        twin, first = lives
        assert [name.partition("/contacts/")[2] for name in first.contacts] == [
            name.partition("/contacts/")[2] for name in twin.contacts
        ], "they have the same ids"
        assert twin.outcomes == first.outcomes
        yield attrs.evolve(still, first=first)
    finally:
        opened.close()
