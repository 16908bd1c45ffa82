"""What is particular to a keystore in files: nothing of a destroyed key is left in any of them."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import attrs
import pytest

from capsule_core.errors import SealBroken, Unavailable
from capsule_core.names import TenantId
from capsule_core.pages import TENANT_SECRET, KeyMoved, PageKey
from capsule_sql.database import open_database
from capsule_sql.failures import DamagedKey, ForeignKeystore
from capsule_sql.keystores import SqlKeystore
from capsule_sql.migration import Role
from capsule_sql.root_key import load_or_create_root_key

ACME, OTHER = TenantId("acme"), TenantId("other")
ROOT = bytes(range(32))
RANDOM = Random(7)  # noqa: S311  keys that a test can search for


def key(page: int, tenant: TenantId = ACME) -> PageKey:
    return PageKey(tenant=tenant, page=page, id=RANDOM.randbytes(8), key=RANDOM.randbytes(32))


@attrs.define
class Deployment:
    folder: Path
    stack: ExitStack = attrs.field(factory=ExitStack)

    def open(self, *, root: bytes = ROOT, mirrored: bool = True) -> SqlKeystore:
        names = ["keys.db", "mirror.db"][: 1 + mirrored]
        opened = [self.stack.enter_context(closing(open_database(self.folder / n, Role.KEYSTORE))) for n in names]
        return SqlKeystore(opened[0], root, RANDOM.randbytes, opened[1] if mirrored else None)

    def close(self) -> None:
        self.stack.close()

    def rows(self, name: str) -> set[tuple[bytes, int, bytes, bytes]]:
        with closing(sqlite3.connect(self.folder / name)) as connection:
            return set(connection.execute("SELECT tenant, page, id, wrapped FROM keys"))

    def everything(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    made.close()


def test_nothing_of_a_replaced_or_closed_key_is_left_in_any_file(deployment: Deployment) -> None:
    store = deployment.open()
    old = [key(page) for page in range(1, 300)]
    theirs = [key(page, OTHER) for page in range(1, 50)]
    store.put(old)
    store.put(theirs)
    wrapped = {row[3] for row in deployment.rows("keys.db")}
    assert len(wrapped) == len(old) + len(theirs)
    assert all(each in deployment.everything() for each in wrapped)
    store.replace([(each.id, key(each.page)) for each in old])
    store.close(mark := key(TENANT_SECRET, OTHER))
    left = deployment.everything()
    assert [each for each in wrapped if each in left or each[12:44] in left] == []
    assert [each for each in (*old, *theirs) if each.id in left or each.key in left] == []
    assert store.get(OTHER, [TENANT_SECRET, 1]) == [mark, None]


def test_no_key_and_no_tenant_can_be_read_in_a_file(deployment: Deployment) -> None:
    store = deployment.open()
    kept = key(1)
    store.put([kept])
    written = deployment.everything()
    assert kept.key not in written
    assert b"acme" not in written
    assert store.get(ACME, [1]) == [kept]


def test_every_copy_has_every_key_when_a_call_returns(deployment: Deployment) -> None:
    store = deployment.open()
    assert store.mirrors == 2
    first = key(1)
    store.put([first, key(2)])
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")
    store.replace([(first.id, key(1))])
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")
    assert len(deployment.rows("mirror.db")) == 2


def test_a_refused_replacement_changes_no_copy(deployment: Deployment) -> None:
    store = deployment.open()
    first, second = key(1), key(2)
    store.put([first, second])
    before = deployment.rows("keys.db")
    with pytest.raises(KeyMoved):
        store.replace([(first.id, key(1)), (b"no such.", key(2))])
    with pytest.raises(KeyMoved):
        store.put([key(3), key(2)])
    assert deployment.rows("keys.db") == deployment.rows("mirror.db") == before


def test_a_mirror_left_behind_by_a_crash_loses_the_old_key_when_the_keystore_is_opened(deployment: Deployment) -> None:
    store = deployment.open()
    old = key(1)
    store.put([old])
    deployment.close()
    alone = deployment.open(mirrored=False)
    alone.replace([(old.id, new := key(1))])
    deployment.close()
    (stale,) = deployment.rows("mirror.db")
    assert deployment.open().get(ACME, [1]) == [new]
    assert stale[3] not in deployment.everything()
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")


def test_a_lost_file_is_made_anew_from_its_mirror(deployment: Deployment) -> None:
    kept = key(5)
    deployment.open().put([kept])
    deployment.close()
    (deployment.folder / "keys.db").unlink()
    assert deployment.open().get(ACME, [5]) == [kept]
    assert len(deployment.rows("keys.db")) == 1


def test_a_destruction_that_a_reader_holds_up_is_not_acknowledged_and_is_finished_later(deployment: Deployment) -> None:
    store = deployment.open()
    old = key(1)
    store.put([old])
    (row,) = deployment.rows("keys.db")
    for each in store._copies:
        each._writer.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(deployment.folder / "mirror.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM keys").fetchall()
        with pytest.raises(Unavailable):
            store.replace([(old.id, key(1))])
        with pytest.raises(Unavailable):
            store.get(ACME, [1])
    store.get(ACME, [1])
    assert row[3] not in deployment.everything()


@pytest.mark.law("L6")
@pytest.mark.parametrize("finish", [lambda store: store.replace([]), lambda store: store.level()])
def test_a_destruction_whose_process_died_before_its_end_is_finished_by_another_that_was_open(
    deployment: Deployment, finish: Callable[[SqlKeystore], None]
) -> None:
    dying, other = deployment.open(), deployment.open()
    old = key(1)
    dying.put([old])
    (row,) = deployment.rows("keys.db")
    dying._mirror._writer.execute("PRAGMA busy_timeout = 1")  # type: ignore[union-attr]
    with closing(sqlite3.connect(deployment.folder / "mirror.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM keys").fetchall()
        with pytest.raises(Unavailable):
            dying.replace([(old.id, new := key(1))])
    assert row[3] in deployment.everything(), "what held it up is gone, and so is who would have tried again"
    finish(other)
    assert row[3] not in deployment.everything()
    assert other.get(ACME, [1]) == [new]
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_keystore_of_another_deployment_is_refused(deployment: Deployment, *, mirrored: bool) -> None:
    deployment.open(mirrored=mirrored).put([key(1)])
    deployment.close()
    before = deployment.rows("keys.db")
    with pytest.raises(ForeignKeystore, match="another deployment"):
        deployment.open(root=bytes(32), mirrored=mirrored)
    deployment.close()
    assert deployment.rows("keys.db") == before


def test_a_key_moved_to_another_place_does_not_open(deployment: Deployment) -> None:
    store = deployment.open(mirrored=False)
    store.put([key(1)])
    store._database.write(lambda connection: connection.execute("UPDATE keys SET page = 2"))
    with pytest.raises(SealBroken):
        store.get(ACME, [2])


def test_a_keystore_copied_while_it_was_open_is_whole(deployment: Deployment, tmp_path: Path) -> None:
    kept = key(1)
    deployment.open().put([kept])
    copy = tmp_path / "copy"
    shutil.copytree(deployment.folder, copy, ignore=shutil.ignore_patterns("copy"))
    other = Deployment(copy)
    assert other.open().get(ACME, [1]) == [kept]
    other.close()


def test_a_root_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    made = load_or_create_root_key(path)
    assert len(made) == 32
    assert load_or_create_root_key(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["root.key"]
    assert load_or_create_root_key(tmp_path / "other.key") != made


def test_a_root_key_of_the_wrong_length_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "root.key"
    path.write_bytes(b"short")
    with pytest.raises(DamagedKey):
        load_or_create_root_key(path)
    assert path.read_bytes() == b"short"
