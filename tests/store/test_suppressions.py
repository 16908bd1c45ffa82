"""Nobody comes back, on real files and a real server: real threads, and every byte looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from capsule_core.errors import IdentifierSuppressed
from capsule_core.personal import Form
from capsule_core.readmission import readmit
from capsule_core.uses import Use
from tests.core.comeback import ERASED, PHONE, PHONE_SPELLINGS, SPELLINGS, WAYS, besiege_the_door, reached, thrown_away
from tests.core.desk import ACME, ZETA, Desk
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

SEEDS = range(3)
_ROWS = "SELECT t.tenant, s.hash FROM {0}suppressions s JOIN {0}tenants t ON t.no = s.tenant_no"


@attrs.frozen
class Kept:
    """A desk, and the folders that hold whatever was ever written."""

    desk: Desk
    place: Place
    database: Database | None

    def folders(self) -> list[Path]:
        if self.database is None:
            return [self.place.folder]
        with psycopg.connect(self.database.admin_url, autocommit=True) as admin:
            admin.execute("CHECKPOINT")
        return [self.place.folder, self.database.server.folder / "data"]

    def rows(self) -> list[tuple[Any, ...]]:
        """Every suppression, as it lies there."""
        if self.database is not None:
            with psycopg.connect(self.database.admin_url) as owner:
                return owner.execute(_ROWS.format("data.")).fetchall()
        with closing(sqlite3.connect(self.place.folder / "data")) as file:
            return file.execute(_ROWS.format("")).fetchall()


@pytest.fixture(params=["files", "server"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    database = request.getfixturevalue("database") if request.param == "server" else None
    place = Place(tmp_path, *((str(database.server.folder), database.name) if database else ()))
    desk, databases = opened(place, Steps())
    yield Kept(desk, place, database)
    for each in databases:
        each.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_writer_slips_in_between_in_any_spelling_and_way(kept: Kept, seed: int) -> None:
    besiege_the_door(kept.desk, seed)


@pytest.mark.parametrize("way", WAYS)
def test_every_spelling_is_refused_on_every_way_in_and_another_tenant_accepts_it(kept: Kept, way: str) -> None:
    desk = kept.desk
    thrown = {email: thrown_away(desk, email) for email in SPELLINGS}
    (jane,) = desk.add(reached(email=ERASED, phone=PHONE))
    desk.forget(jane.id)
    for email in SPELLINGS:
        with pytest.raises(IdentifierSuppressed):
            WAYS[way](desk, email, ACME, thrown[email])
        WAYS[way](desk, email, ZETA, None)


def test_nothing_readable_of_them_is_left_where_anything_was_written(kept: Kept) -> None:
    """Also after their consent was lifted and they were erased again: neither identifier nor evidence."""
    desk = kept.desk
    for evidence in ("", "the letter of Jane Doe, 3 May"):
        if evidence:
            for form, value in ((Form.EMAIL, SPELLINGS[3]), (Form.PHONE, PHONE)):
                act = desk.act(use=Use.ADMINISTER)
                readmit(desk.store, desk.repository.identifiers, form, value, evidence=evidence, act=act)
        (jane,) = desk.add(reached(email=ERASED, phone=PHONE, name="Jane"))
        desk.forget(jane.id)
    assert len({hashed for _, hashed in kept.rows()}) == 2, "both are remembered"
    told = [each.encode() for each in (*SPELLINGS, *PHONE_SPELLINGS, "janedoe", "79460958", "letter of Jane")]
    files = [path.read_bytes().lower() for folder in kept.folders() for path in folder.rglob("*") if path.is_file()]
    hashes = [hashed.encode() for _, hashed in kept.rows()]
    assert all(any(hashed in file for file in files) for hashed in hashes), "the search finds nothing at all"
    assert [text for text in told if any(text.lower() in file for file in files)] == []


def test_the_same_address_has_another_hash_in_every_tenant(kept: Kept) -> None:
    for tenant in (ACME, ZETA):
        (jane,) = kept.desk.add(reached(email=ERASED), tenant=tenant)
        kept.desk.forget(jane.id, tenant=tenant)
    rows = kept.rows()
    assert [tenant for tenant, _ in sorted(rows)] == [ACME, ZETA]
    assert len({hashed for _, hashed in rows}) == 2
    assert all(len(bytes.fromhex(hashed)) >= 16 for _, hashed in rows)


def test_it_is_remembered_after_a_restart(kept: Kept) -> None:
    (jane,) = kept.desk.add(reached(email=ERASED))
    kept.desk.forget(jane.id)
    again, databases = opened(kept.place, Steps())
    with pytest.raises(IdentifierSuppressed):
        again.add(reached(email=SPELLINGS[1]))
    for each in databases:
        each.close()
