"""What was altered, swapped, cut or put back by hand is data loss, told as such, and never garbage.

By whoever may write every row: in the very file of SQLite, as the owner of a PostgreSQL database, in the keystore.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import RootKeyAbsent, SealBroken
from capsule_core.journal import SealedPage
from capsule_core.names import RecordId, TenantId
from capsule_core.pages import PLACES, OpenPage, PageKey, open_page, seal_page
from capsule_core.records import Mark, Sealed
from capsule_core.sealing import KEY_BYTES, Identity, open_blob, seal_blob
from capsule_core.wrapping import RootKey, Roots, owner_of, unwrap, wrap
from capsule_sql.database import open_database
from capsule_sql.failures import ForeignKeystore
from capsule_sql.keystores import SqlKeystore
from capsule_sql.migration import Role
from tests.core.desk import ACME, ZETA, Desk, note, person
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

ANN, BO, CY = (f"c{letter * 26}" for letter in "abc")
CALL, MAIL = (f"n{letter * 26}" for letter in "ab")
KEYS = "keys"


@attrs.define
class House:
    """Two tenants with the same people: Ann (changed once) with two entries, and Bo; Cy's key is on another page."""

    place: Place
    database: Database | None = None
    opened: list[Any] = attrs.Factory(list)

    def desk(self) -> Desk:
        """Open everything anew, with nothing in memory."""
        self.close()
        desk, self.opened = opened(self.place, Steps())
        return desk

    def close(self) -> None:
        for each in self.opened:
            each.close()
        self.opened = []

    def run(self, text: str, *values: Any, keystore: bool = False) -> list[Any]:
        """Do something to the rows as whoever may do anything."""
        if keystore or self.database is None:
            with closing(sqlite3.connect(self.place.folder / (KEYS if keystore else "data"), timeout=30)) as file:
                found = file.execute(text, values).fetchall()
                file.commit()
            return found
        with psycopg.connect(self.database.admin_url, options="-c search_path=data") as owner:
            done = owner.execute(text.replace("?", "%s"), values)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

    def one(self, text: str, *values: Any, keystore: bool = False) -> Any:
        ((found,),) = self.run(text, *values, keystore=keystore)
        return found

    def names(self) -> bytes:
        return self.desk().keystore._names  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(params=["files", "server"])
def house(request: pytest.FixtureRequest, folder: Path) -> Iterator[House]:
    database = request.getfixturevalue("database") if request.param == "server" else None
    made = House(Place(folder, *((str(database.server.folder), database.name) if database else ())), database)
    desk = made.desk()
    for tenant in (ACME, ZETA):
        desk.add(person("Ann", id=ANN, email="ann@example.org"), person("Bo", id=BO), tenant=tenant)
        desk.add(note(ANN, "called", id=CALL), note(ANN, "wrote", id=MAIL), tenant=tenant)
    made.desk().add(person("Cy", id=CY))
    yield made
    made.close()


# Records

RECORD = "SELECT sealed FROM records WHERE tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND id = ?"
SUBJECT = "SELECT no FROM subjects WHERE tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND key = ?"


def put(house: House, tenant: TenantId, name: str, blob: bytes) -> None:
    update = "UPDATE records SET sealed = ? WHERE tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND id = ?"
    house.run(update, blob, tenant, name)


def swapped(one: tuple[TenantId, str], other: tuple[TenantId, str]) -> Callable[[House], None]:
    def swap(house: House) -> None:
        first, second = (house.one(RECORD, *each) for each in (one, other))
        put(house, *one, second)
        put(house, *other, first)

    return swap


def update(text: str, *values: Any) -> Callable[[House], None]:
    return lambda house: house.run(f"UPDATE {text}", *values) and None


def cut(length: int) -> Callable[[House], None]:
    return lambda house: put(house, ACME, ANN, house.one(RECORD, ACME, ANN)[:length])


def under_a_later_version(house: House) -> None:
    old = house.one(RECORD, ACME, ANN)
    house.desk().rename(ANN, "changed")
    put(house, ACME, ANN, old)


def under_another_subject(house: House) -> None:
    ours = "tenant_no = (SELECT no FROM tenants WHERE tenant = ?)"
    bo = house.one(SUBJECT, ACME, BO)
    house.run(f"UPDATE records SET subject_no = ? WHERE {ours} AND id = ?", bo, ACME, CALL)  # noqa: S608


def names_swapped(house: House) -> None:
    for old, new in ((CALL, "x"), (MAIL, CALL), ("x", MAIL)):
        house.run("UPDATE records SET id = ? WHERE id = ?", new, old)


RECORDS: dict[str, tuple[Callable[[House], None], list[str]]] = {
    "two people swapped": (swapped((ACME, ANN), (ACME, BO)), [ANN, BO]),
    "two entries of one person swapped": (swapped((ACME, CALL), (ACME, MAIL)), [CALL, MAIL]),
    "the same person of two tenants swapped": (swapped((ACME, ANN), (ZETA, ANN)), [ANN]),
    "one of another kind in its place": (swapped((ACME, ANN), (ACME, CALL)), [ANN, CALL]),
    "said to be of another kind": (update("records SET kind = 'organisation' WHERE id = ?", ANN), [ANN]),
    "said to be another's": (under_another_subject, [CALL]),
    "said to have other names": (names_swapped, [CALL, MAIL]),
    "said to be a later version": (update("records SET version = 2 WHERE id = ?", ANN), [ANN]),
    "the contents before under the version after": (under_a_later_version, [ANN]),
    "another place on the page": (update("subjects SET place = 200 WHERE key = ?", ANN), [ANN, CALL, MAIL]),
    "another page": (update("subjects SET page = 2 WHERE key = ? AND page = 1", BO), [BO]),
    "nothing left": (cut(0), [ANN]),
    "cut in the format": (cut(1), [ANN]),
    "cut in the schema": (cut(2), [ANN]),
    "cut in the kind": (cut(7), [ANN]),
    "cut in the nonce": (cut(15), [ANN]),
    "cut in the tag": (cut(-1), [ANN]),
    "nothing but zeros": (update("records SET sealed = ? WHERE id = ?", bytes(200), ANN), [ANN]),
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_record_that_is_not_the_one_that_belongs_here_does_not_open(house: House, damage: str) -> None:
    deed, broken = RECORDS[damage]
    house.close()
    deed(house)
    desk = house.desk()
    for name in broken:
        with pytest.raises(SealBroken, match="does not open") as told:
            desk.get(name)
        assert not re.search("Ann|Bo|called|wrote|example", str(told.value))
    assert desk.get(CY).content.given_name == "Cy"


def test_a_bit_of_a_record_turned_anywhere_is_found(house: House) -> None:
    desk, blob = house.desk(), house.one(RECORD, ACME, CALL)
    for place in range(len(blob)):
        turned = bytearray(blob)
        turned[place] ^= 1 << place % 8
        put(house, ACME, CALL, bytes(turned))
        with pytest.raises(SealBroken):
            desk.get(CALL)
    put(house, ACME, CALL, blob)
    assert desk.get(CALL).content.body == "called"


@given(st.binary(max_size=40), st.integers(1, 0xFFFF), st.data())
def test_of_a_sealed_record_no_bit_may_turn_and_no_byte_be_missing(contents: bytes, schema: int, data: Any) -> None:
    key, identity = bytes(KEY_BYTES), Identity("acme", "c1", "person", "c1", 3)
    blob = seal_blob(contents, key=key, identity=identity, schema=schema, nonce=bytes(12))
    assert open_blob(blob, key=key, identity=identity, schema=schema) == (schema, contents)
    for place in range(len(blob)):
        turned = bytearray(blob)
        turned[place] ^= 1 << data.draw(st.integers(0, 7))
        for damaged in (bytes(turned), blob[:place]):
            with pytest.raises(SealBroken):
                open_blob(damaged, key=key, identity=identity, schema=0xFFFF)


# Pages

PAGE = "SELECT sealed FROM pages WHERE tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND page = ?"
WHOLE = PAGE.replace("sealed", "generation, key_id, sealed")


def put_page(house: House, tenant: TenantId, page: int, **columns: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    where = "tenant_no = (SELECT no FROM tenants WHERE tenant = ?) AND page = ?"
    house.run(f"UPDATE pages SET {names} WHERE {where}", *columns.values(), tenant, page)  # noqa: S608


def pages_swapped(one: tuple[TenantId, int], other: tuple[TenantId, int], *, whole: bool) -> Callable[[House], None]:
    def swap(house: House) -> None:
        rows = [
            dict(zip(("generation", "key_id", "sealed"), *house.run(WHOLE, *each), strict=True))
            for each in (one, other)
        ]
        for place, row in zip((one, other), reversed(rows), strict=True):
            put_page(house, *place, **(row if whole else {"sealed": row["sealed"]}))

    return swap


def old_page_under_its_new_key(house: House) -> None:
    old = house.one(PAGE, ACME, 1)
    desk = house.desk()
    desk.erase(BO)
    put_page(house, ACME, 1, sealed=old)


PAGES: dict[str, Callable[[House], None]] = {
    "two pages swapped": pages_swapped((ACME, 1), (ACME, 2), whole=False),
    "two pages swapped with the ids of their keys": pages_swapped((ACME, 1), (ACME, 2), whole=True),
    "pages of two tenants swapped": pages_swapped((ACME, 1), (ZETA, 1), whole=False),
    "pages of two tenants swapped with the ids of their keys": pages_swapped((ACME, 1), (ZETA, 1), whole=True),
    "said to be of another generation": lambda house: put_page(house, ACME, 1, generation=2),
    "said to be under another key": lambda house: put_page(house, ACME, 1, key_id=bytes(8)),
    "cut": lambda house: put_page(house, ACME, 1, sealed=house.one(PAGE, ACME, 1)[:-1]),
    "nothing left": lambda house: put_page(house, ACME, 1, sealed=b""),
    "nothing but zeros": lambda house: put_page(house, ACME, 1, sealed=bytes(8220)),
    "the page before under the key after": old_page_under_its_new_key,
}


@pytest.mark.parametrize("damage", PAGES)
def test_a_page_that_is_not_the_one_that_belongs_here_does_not_open(house: House, damage: str) -> None:
    house.close()
    PAGES[damage](house)
    desk = house.desk()
    for name in (ANN, CALL):
        with pytest.raises(SealBroken, match="key page"):
            desk.get(name)


def test_a_page_that_was_taken_away_is_read_from_the_journal_and_put_back(house: House) -> None:
    before = house.desk().get(ANN).content
    house.close()
    house.run("DELETE FROM pages WHERE page = 1")
    desk = house.desk()
    kept = desk.get(ANN)
    assert kept.content == before
    assert desk.store.pages(ACME, [1]) == [None]
    assert desk.vault.remaining(ACME, [kept.slot]) == [kept.slot]
    assert desk.store.pages(ACME, [1]) != [None]


def test_a_bit_of_a_page_turned_anywhere_is_found(house: House) -> None:
    """In the rows at every hundredth byte, and in the beginning and the end at each; all of them in the next test."""
    desk, blob = house.desk(), house.one(PAGE, ACME, 1)
    slot = desk.get(ANN).slot
    for place in (*range(30), *range(30, len(blob) - 20, 101), *range(len(blob) - 20, len(blob))):
        turned = bytearray(blob)
        turned[place] ^= 1 << place % 8
        put_page(house, ACME, 1, sealed=bytes(turned))
        with pytest.raises(SealBroken):
            desk.vault.remaining(ACME, [slot])
    put_page(house, ACME, 1, sealed=blob)
    assert desk.vault.remaining(ACME, [slot]) == [slot]


def test_of_a_sealed_page_no_bit_may_turn() -> None:
    keys = bytes(range(256)) * (PLACES * KEY_BYTES // 256)
    page = OpenPage(tenant=ACME, number=1, generation=1, key_id=b"original", keys=keys)
    sealed = seal_page(page, key=bytes(KEY_BYTES), nonce=bytes(12))
    assert open_page(sealed, key=bytes(KEY_BYTES)) == page
    for place in range(len(sealed.blob)):
        turned = bytearray(sealed.blob)
        turned[place] ^= 1 << place % 8
        with pytest.raises(SealBroken):
            open_page(attrs.evolve(sealed, blob=bytes(turned)), key=bytes(KEY_BYTES))


def test_an_old_page_put_back_is_healed_from_the_journal_and_brings_nobody_back(house: House) -> None:
    old = dict(zip(("generation", "key_id", "sealed"), *house.run(WHOLE, ACME, 1), strict=True))
    desk = house.desk()
    slot = desk.get(BO).slot
    desk.erase(BO)
    house.close()
    put_page(house, ACME, 1, **old)
    desk = house.desk()
    assert desk.get(ANN).content.given_name == "Ann"
    assert desk.vault.remaining(ACME, [slot]) == []
    assert house.one(PAGE.replace("sealed", "generation"), ACME, 1) == 2, "looking past the cache has put it right"


def test_an_old_page_that_the_journal_knows_nothing_of_is_data_loss(house: House) -> None:
    old = dict(zip(("generation", "key_id", "sealed"), *house.run(WHOLE, ACME, 1), strict=True))
    house.desk().erase(BO)
    house.close()
    put_page(house, ACME, 1, **old)
    for name in ("log", "log2"):
        with closing(sqlite3.connect(house.place.folder / name)) as file:
            file.execute("DELETE FROM entries WHERE key_id IS NOT NULL")
            file.commit()
    with pytest.raises(SealBroken, match="key page"):
        house.desk().get(ANN)


# Page keys


def put_key(house: House, tenant: TenantId, number: int, /, **columns: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    owner = owner_of(house.names(), tenant)
    house.close()
    where = "WHERE tenant = ? AND page = ?"
    house.run(f"UPDATE keys SET {names} {where}", *columns.values(), owner, number, keystore=True)  # noqa: S608


def key_row(house: House, tenant: TenantId, page: int) -> dict[str, Any]:
    owner = owner_of(house.names(), tenant)
    ((name, wrapped),) = house.run(
        "SELECT id, wrapped FROM keys WHERE tenant = ? AND page = ?", owner, page, keystore=True
    )
    return {"id": name, "wrapped": wrapped}


def keys_swapped(one: tuple[TenantId, int], other: tuple[TenantId, int], *, whole: bool) -> Callable[[House], None]:
    def swap(house: House) -> None:
        rows = [key_row(house, *each) for each in (one, other)]
        for place, row in zip((one, other), reversed(rows), strict=True):
            put_key(house, *place, **(row if whole else {"wrapped": row["wrapped"]}))

    return swap


def tenants_swapped(house: House) -> None:
    ours, theirs = (owner_of(house.names(), tenant) for tenant in (ACME, ZETA))
    house.close()
    for old, new in ((ours, b"x"), (theirs, ours), (b"x", theirs)):
        house.run("UPDATE keys SET tenant = ? WHERE tenant = ?", new, old, keystore=True)


def key_before_put_back(house: House) -> None:
    old = key_row(house, ACME, 1)
    house.desk().erase(BO)
    put_key(house, ACME, 1, **old)


ROWS: dict[str, Callable[[House], None]] = {
    "two keys swapped": keys_swapped((ACME, 1), (ACME, 2), whole=False),
    "two keys swapped with their ids": keys_swapped((ACME, 1), (ACME, 2), whole=True),
    "keys of two tenants swapped": keys_swapped((ACME, 1), (ZETA, 1), whole=False),
    "keys of two tenants swapped with their ids": keys_swapped((ACME, 1), (ZETA, 1), whole=True),
    "all keys of two tenants swapped": tenants_swapped,
    "said to have another id": lambda house: put_key(house, ACME, 1, id=bytes(8)),
    "said to be another page's": lambda house: put_key(house, ACME, 1, page=77),
    "cut": lambda house: put_key(house, ACME, 1, wrapped=key_row(house, ACME, 1)["wrapped"][:-1]),
    "nothing left": lambda house: put_key(house, ACME, 1, wrapped=b""),
    "nothing but zeros": lambda house: put_key(house, ACME, 1, wrapped=bytes(68)),
    "the key before put back": key_before_put_back,
}


@pytest.mark.parametrize("damage", ROWS)
def test_a_page_key_that_is_not_the_one_that_belongs_here_does_not_open(house: House, damage: str) -> None:
    ROWS[damage](house)
    house.close()
    desk = house.desk()
    with pytest.raises(SealBroken):
        desk.get(ANN)


def test_a_lost_secret_of_a_tenant_is_not_made_anew(house: House) -> None:
    """Or everything that was written before would be found no more, without a word."""
    put_key(house, ACME, 0, page=78)
    with pytest.raises(SealBroken, match="secret"):
        house.desk().add(person("Dee"))


def test_a_bit_of_a_page_key_turned_anywhere_is_found(house: House) -> None:
    desk, row = house.desk(), key_row(house, ACME, 1)
    owner = owner_of(house.names(), ACME)
    desk = house.desk()
    slot = desk.get(ANN).slot
    for place in range(len(row["wrapped"])):
        turned = bytearray(row["wrapped"])
        turned[place] ^= 1 << place % 8
        house.run("UPDATE keys SET wrapped = ? WHERE tenant = ? AND page = 1", bytes(turned), owner, keystore=True)
        with pytest.raises(SealBroken):
            desk.vault.remaining(ACME, [slot])


def test_a_keystore_whose_own_seal_was_altered_is_refused_when_it_is_opened(house: House) -> None:
    house.close()
    sealed = bytearray(house.one("SELECT sealed FROM seals", keystore=True))
    for place in (0, 8, 20, 67):
        turned = bytearray(sealed)
        turned[place] ^= 1
        house.run("UPDATE seals SET sealed = ?", bytes(turned), keystore=True)
        files = [open_database(house.place.folder / name, Role.KEYSTORE) for name in (KEYS, f"{KEYS}2")]
        with pytest.raises(ForeignKeystore):
            SqlKeystore(files[0], bytes(range(32)), secrets.token_bytes, files[1])
        for each in files:
            each.close()
    house.run("UPDATE seals SET sealed = ?", bytes(sealed), keystore=True)
    assert house.desk().get(ANN).content.given_name == "Ann"


@given(st.integers(0, 67), st.integers(0, 7))
def test_of_a_wrapped_key_no_bit_may_turn(place: int, bit: int) -> None:
    root, kept = RootKey(bytes(range(32))), PageKey(tenant=ACME, page=1, id=b"original", key=bytes(range(32)))
    row = wrap(kept, names=bytes(32), root=root, nonce=bytes(12))
    roots = Roots(lambda: (root.key,))
    assert unwrap(row, ACME, roots=roots) == kept
    turned = bytearray(row.wrapped)
    turned[place] ^= 1 << bit
    with pytest.raises(RootKeyAbsent if place < 8 else SealBroken):
        unwrap(attrs.evolve(row, wrapped=bytes(turned)), ACME, roots=roots)


def test_the_sample_has_what_the_tables_speak_of(house: House) -> None:
    """Or a damage would find nothing to damage."""
    desk = house.desk()
    for tenant in (ACME, ZETA):
        found = desk.store.read(tenant, [RecordId(name) for name in (ANN, BO, CALL, MAIL)], admits=Mark.NONE)
        assert all(isinstance(each, Sealed) for each in found)
    assert (desk.get(ANN).slot.page, desk.get(CY).slot.page) == (1, 2)
    assert isinstance(desk.store.pages(ACME, [1])[0], SealedPage)
