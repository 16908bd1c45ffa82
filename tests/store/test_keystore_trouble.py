"""A keystore in trouble: each change is on both copies or on neither, is said in a sentence, and can be repeated."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.pages import TENANT_SECRET, PageKey
from capsule_core.wrapping import RootKey, Roots
from capsule_sql.database import Database
from capsule_sql.failures import DiskFull, Unwritable
from capsule_sql.keystores import SqlKeystore
from tests.store.test_sqlite_keystores import ACME, OTHER, Deployment, key

Trouble = Callable[[Database], AbstractContextManager[None]]


@contextmanager
def full(database: Database) -> Iterator[None]:
    (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
    database._writer.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        database._writer.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    database._writer.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        database._writer.execute("PRAGMA query_only = OFF")


@contextmanager
def written_by_another(database: Database) -> Iterator[None]:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield  # the end of the connection ends what it holds


@contextmanager
def read_by_another(database: Database) -> Iterator[None]:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM keys").fetchall()
        yield  # the end of the connection ends what it holds


@contextmanager
def closed(database: Database) -> Iterator[None]:
    was, database._closed = database._closed, True
    try:
        yield
    finally:
        database._closed = was


TROUBLES: dict[str, tuple[Trouble, type[CapsuleError]]] = {
    "full": (full, DiskFull),
    "read-only": (read_only, Unwritable),
    "written by another": (written_by_another, Unavailable),
    "read by another": (read_by_another, Unavailable),
    "gone": (closed, Unavailable),
}


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    made.close()


def put(store: SqlKeystore, old: list[PageKey]) -> list[PageKey]:
    fresh = [key(page) for page in range(1000, 1400)]
    store.put(fresh)
    return [*old, *fresh]


def replace(store: SqlKeystore, old: list[PageKey]) -> list[PageKey]:
    fresh = [key(each.page) for each in old]
    store.replace([(each.id, new) for each, new in zip(old, fresh, strict=True)])
    return fresh


def close(store: SqlKeystore, _: list[PageKey]) -> list[PageKey]:
    mark = key(TENANT_SECRET)
    store.close(mark)
    return [mark]


WAYS = {"put": put, "replace": replace, "close": close}
BLIND = {("replace", "full"), ("close", "full"), ("put", "read by another")}
"""What is no trouble: a row is written over in its place, and to keep a key nothing needs to be forgotten."""


@pytest.mark.parametrize("copy", [0, 1], ids=["file", "mirror"])
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("way", WAYS)
def test_a_change_in_trouble_is_on_both_copies_or_on_neither(
    deployment: Deployment, way: str, trouble: str, copy: int
) -> None:
    store = deployment.open()
    old = [key(page) for page in range(1, 60)]
    store.put(old)
    store.put([key(1, OTHER)])
    before = deployment.rows("keys.db")
    for each in store._copies:
        each._writer.execute("PRAGMA busy_timeout = 1")
    befalls, refusal = TROUBLES[trouble]
    with ExitStack() as stack:
        if (way, trouble) not in BLIND:
            refused = stack.enter_context(pytest.raises(refusal))
        with befalls(store._copies[copy]):
            after = WAYS[way](store, old)
    if (way, trouble) not in BLIND:
        assert str(refused.value).count(".") <= 3
        assert len(str(refused.value).splitlines()) == 1
        assert not any(each.key.hex() in str(refused.value) for each in old)
        rows = [{row[:3] for row in deployment.rows(name)} for name in ("keys.db", "mirror.db")]
        was = {row[:3] for row in before}
        assert trouble == "read by another" or rows == [was, was], "what was refused has not happened anywhere"
        store.level()
        assert deployment.rows("keys.db") == deployment.rows("mirror.db")
        held = [each for each in store.get(ACME, range(1, 60)) if each is not None]
        after = WAYS[way](store, held) if held or way == "put" else held
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")
    assert list(store.get(ACME, [each.page for each in after])) == after
    gone = [each for each in old if each not in after]
    left = deployment.everything()
    assert [each for each in gone if each.id in left or each.key in left] == []


def test_a_damaged_mirror_is_refused_in_a_sentence_and_made_anew_when_it_is_taken_away(deployment: Deployment) -> None:
    kept = key(1)
    deployment.open().put([kept])
    deployment.close()
    (deployment.folder / "mirror.db").write_bytes(b"not a database at all" * 400)
    with pytest.raises(CapsuleError, match="is not the keystore"):
        deployment.open()
    deployment.close()
    (deployment.folder / "mirror.db").unlink()
    assert deployment.open().get(ACME, [1]) == [kept]
    assert deployment.rows("keys.db") == deployment.rows("mirror.db")


def test_a_stale_mirror_under_a_root_key_that_is_gone_is_refused_and_not_believed(deployment: Deployment) -> None:
    """The mirror was away while the root key was replaced: it is not made like the file, and the file not like it."""
    deployment.open().put([kept := key(1)])
    deployment.close()
    (deployment.folder / "mirror.db").rename(deployment.folder / "away.db")
    store, new = deployment.open(), bytes(range(1, 33))
    deployment.close()
    assert store.mirrors == 2
    alone = deployment.open(mirrored=False)
    alone._roots = Roots(lambda: (bytes(range(32)), new))
    alone.adopt(RootKey(new))
    assert sum(alone.rewrap()) == 1
    alone.let_go()
    deployment.close()
    (deployment.folder / "away.db").replace(deployment.folder / "mirror.db")
    with pytest.raises(CapsuleError, match="another deployment"):
        deployment.open(root=new)
    deployment.close()
    (deployment.folder / "mirror.db").unlink()
    assert deployment.open(root=new).get(ACME, [1]) == [kept]
