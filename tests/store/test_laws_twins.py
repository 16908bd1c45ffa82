"""Twin tenants with the same ids, addresses and request ids: what one does for ever leaves each byte of the other."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from hypothesis import settings

from capsule_core.errors import CapsuleError
from capsule_core.names import TenantId
from capsule_core.records import Mark
from capsule_core.wrapping import owner_of
from tests.core.desk import ACME, NOON, ZETA, Desk, asked, note, person
from tests.core.test_laws_trash import DAYS
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

PEOPLE = [f"c{letter * 26}" for letter in "abcdefgh"]
LOOKED_AT_EVERY = 50
_OWN = ("subjects", "pages", "records", "tokens", "signatures", "reasons", "answers", "suppressions")


@attrs.define
class Twins:
    """Two tenants, and a look past every lock at all that is kept of one of them."""

    desk: Desk
    place: Place
    database: Database | None = None

    def rows(self, tenant: TenantId) -> dict[str, list[Any]]:
        """Every row of the tenant, with where it lies and who wrote it last."""
        kept = self._on_server(tenant) if self.database else self._in_file(tenant)
        keys = "SELECT rowid, * FROM keys WHERE tenant = ?"
        with closing(sqlite3.connect(self.place.folder / "keys")) as file:
            kept["keys"] = file.execute(keys, (owner_of(self.desk.keystore._names, tenant),)).fetchall()
        kept["journal"] = [entry for _, entry in self.desk.journal.since(0) if getattr(entry, "tenant", None) == tenant]
        kept["leaves"] = [leaf for leaf in self.desk.leaves() if leaf.tenant == tenant]
        return kept

    def _in_file(self, tenant: TenantId) -> dict[str, list[Any]]:
        with closing(sqlite3.connect(self.place.folder / "data")) as file:
            number = file.execute("SELECT no FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
            return {
                table: file.execute(f"SELECT rowid, * FROM {table} WHERE tenant_no = ?", number).fetchall()  # noqa: S608
                for table in _OWN
            }

    def _on_server(self, tenant: TenantId) -> dict[str, list[Any]]:
        assert self.database is not None
        with psycopg.connect(self.database.admin_url) as owner:
            number = owner.execute("SELECT no FROM data.tenants WHERE tenant = %s", (tenant,)).fetchone()
            select = "SELECT ctid::text, xmin::text, xmax::text, t.* FROM data.{} t WHERE tenant_no = %s"
            return {table: owner.execute(select.format(table), number).fetchall() for table in _OWN}


@pytest.fixture(params=["files", "server"])
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twins]:
    database = request.getfixturevalue("database") if request.param == "server" else None
    place = Place(tmp_path, *((str(database.server.folder), database.name) if database else ()))
    desk, databases = opened(place, Steps())
    yield Twins(desk, place, database)
    for each in databases:
        each.close()


def step(desk: Desk, chance: random.Random, number: int) -> None:
    """Do one thing as the first tenant, with ids and addresses that the second has too."""
    name = chance.choice(PEOPLE)
    request = asked(f"request {chance.randrange(20)}") if chance.random() < 0.3 else None
    ways = [
        lambda: desk.add(person("New", id=name, email=f"{name}@example.org"), tenant=ACME, request=request),
        lambda: desk.add(person("New", email=f"{chance.choice(PEOPLE)}@example.org"), tenant=ACME, request=request),
        lambda: desk.add(note(name, f"note {number}"), tenant=ACME, request=request),
        lambda: desk.rename(name, f"changed {number}", request=request),
        lambda: desk.trash(name),
        lambda: desk.restore(name),
        lambda: desk.mark(name, Mark.HELD),
        lambda: desk.mark(name, Mark.HELD, lift=True),
        lambda: desk.mark(name, Mark.RESTRICTED),
        lambda: desk.mark(name, Mark.RESTRICTED, lift=True),
        lambda: desk.forget(name, id=f"e{chance.randrange(9)}") if number % 7 == 0 else desk.get(name),
        lambda: desk.sweep(now=NOON + DAYS) if number % 11 == 0 else desk.get(name),
        lambda: desk.store.forget(NOON - DAYS),
        lambda: desk.eraser.resume(now=NOON),
    ]
    try:
        chance.choice(ways)()
    except CapsuleError:
        return


@pytest.mark.law("L1")
@pytest.mark.timeout(3600)
def test_whatever_one_twin_does_each_byte_of_the_other_stays(twins: Twins) -> None:
    desk, steps = twins.desk, min(10_000, 6 * settings().max_examples)
    for tenant in (ACME, ZETA):
        for name in PEOPLE:
            request = asked(f"request {PEOPLE.index(name)}")
            desk.add(person("Ann", id=name, email=f"{name}@example.org"), tenant=tenant, request=request)
            desk.add(note(name, "hello", id=f"e{name[1:]}"), tenant=tenant)
    desk.trash(PEOPLE[0], tenant=ZETA)
    desk.mark(PEOPLE[1], Mark.HELD, tenant=ZETA)
    desk.forget(PEOPLE[2], tenant=ZETA, id="e1")
    before, ours = twins.rows(ZETA), twins.rows(ACME)
    assert all(before[table] for table in (*_OWN, "keys", "journal", "leaves")), "the other has something of each"
    chance = random.Random(steps)  # noqa: S311  a seed, so that a failure comes again
    for number in range(steps):
        step(desk, chance, number)
        if number % LOOKED_AT_EVERY == 0:
            assert twins.rows(ZETA) == before, f"after step {number}"
    assert twins.rows(ZETA) == before
    assert twins.rows(ACME) != ours
