"""The laws of erasure on SQLite: real files, real threads, every byte looked at while the files are open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capsule_core.records import Mark
from tests.core.desk import Desk, note, person
from tests.core.siege import Traces, besiege
from tests.store.crashes import Place, Steps, opened

SEEDS = range(4)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk, databases = opened(Place(tmp_path), Steps())
    yield desk
    for database in databases:
        database.close()


def left_in_files(folder: Path, traces: Traces) -> set[str]:
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    return traces.left_among(files)


@pytest.mark.law("L5")
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_fence_no_write_for_the_subject_succeeds_on_any_path(desk: Desk, seed: int) -> None:
    besiege(desk, seed)


@pytest.mark.law("L6")
def test_after_a_receipt_no_plaintext_key_or_token_is_left_in_any_file(desk: Desk, tmp_path: Path) -> None:
    ann, bo = desk.add(person("Ann", email="ann@example.org", about="Xanthippe's secret"), person("Bo"))
    desk.add(*(note(ann.id, f"Xanthippe {number}") for number in range(20)))
    traces = Traces.of(desk, ann, "Xanthippe")
    assert left_in_files(tmp_path, traces) == {"token", "body"}, "the search finds nothing at all, or too much"
    desk.rename(ann.id, "Xanthippe again")
    assert desk.erase(ann.id) is not None
    assert left_in_files(tmp_path, traces) == set()
    assert desk.get(bo.id).content.given_name == "Bo"


@pytest.mark.law("L6")
def test_an_old_page_opens_under_no_key_that_is_left(desk: Desk, tmp_path: Path) -> None:
    """What a backup holds of the page stays closed: the key that opened it is in no file, wrapped or not."""
    (ann,) = desk.add(person("Ann"))
    (old,) = desk.keystore.get(ann.tenant, [ann.slot.page])
    assert old is not None
    ids = [path.name for path in sorted(tmp_path.iterdir()) if old.id in path.read_bytes() and "key" in path.name]
    assert ids, "the id of the page key is in its file"
    desk.erase(ann.id)
    for path in sorted(tmp_path.iterdir()):
        if path.is_file() and path.name.startswith("keys"):
            assert old.id not in path.read_bytes(), path.name
    (new,) = desk.keystore.get(ann.tenant, [ann.slot.page])
    assert new is not None
    assert new.id != old.id
    assert desk.store.subjects(ann.tenant, [ann.subject])[0].marks == Mark.FENCED | Mark.ERASED
