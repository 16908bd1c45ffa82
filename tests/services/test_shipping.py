"""A journal at a place: acknowledged is what is there, in order and whole; what is not whole is not used at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from capsule_core.errors import CapsuleError, NewerSchema
from capsule_core.journal import Entry, PageResealed
from capsule_core.records import Mark
from capsule_services.places.faults import PlaceUnavailable
from capsule_services.places.place import FolderPlace, Place, open_place
from capsule_services.runtime.shipping.faults import (
    JournalUnshipped,
    ShippedAhead,
    ShippedDamaged,
    ShippedForeign,
    ShippedMissing,
)
from capsule_services.runtime.shipping.marks import SHIPPED, mark_in
from capsule_sql.journals import SqlJournal
from tests.services.objects import Store, serving
from tests.services.shipping import ACME, ID, Shipped, dropped, journal_place, marked, resealed, shipping, there

FOLDER = f"journal/contacts/{ID}/"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    with serving(monkeypatch, tmp_path) as made:
        yield made


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield FolderPlace(tmp_path / "place")
        return
    request.getfixturevalue("store")
    opened: Any = open_place("s3://backups/acme", patient=False)
    yield opened
    opened.client.close()


@pytest.fixture
def shipped(tmp_path: Path, place: Place) -> Iterator[Shipped]:
    with shipping(tmp_path / "contacts", place) as made:
        yield made


def objects(place: Place) -> dict[str, bytes]:
    return {name: place.get(name) for name in place.names("")}


def test_what_is_acknowledged_is_there_in_order_and_can_be_fetched(shipped: Shipped, tmp_path: Path) -> None:
    for no in range(5):
        shipped.acknowledged(marked(no), resealed(no, 1))
    assert there(shipped.place) == shipped.here()
    elsewhere = journal_place(tmp_path / "new" / "contacts", shipped.place)
    elsewhere.fetch(elsewhere.head(ID), elsewhere.folder / "journal.db")
    with shipping(elsewhere.folder, shipped.place) as again:
        assert again.here() == shipped.here()
        assert again.local.append([marked(9)]) == shipped.local.append([marked(9)])
    assert sorted(path.name for path in elsewhere.folder.glob("*.fetched*")) == []


def test_nobody_can_read_there_whose_journal_it_is(shipped: Shipped) -> None:
    shipped.acknowledged(*map(marked, range(3)), *(resealed(no, 1) for no in range(9)))
    found = objects(shipped.place)
    assert len(found) > 2, "among them is a piece"
    for name, data in found.items():
        for plain in (b"acme-of", b"hold-", b"marked", ID.encode()):
            assert plain not in data
        assert "acme" not in name.removeprefix("deployments/acme")


def test_a_place_that_does_not_answer_acknowledges_nothing_and_catches_up_unaided(store: Store, tmp_path: Path) -> None:
    place = open_place("s3://backups/x", patient=False)
    told: list[CapsuleError | None] = []
    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.shipper.told = told.append
        shipped.acknowledged(marked(1))
        before = there(place)
        store.gone = True
        for no in (2, 3):
            with pytest.raises(JournalUnshipped):
                shipped.acknowledged(marked(no))
        asked = len(store.asked)
        with pytest.raises(JournalUnshipped):
            shipped.journal.settle()
        assert len(store.asked) == asked, "nobody waits for what is known not to answer"
        with pytest.raises(PlaceUnavailable):
            shipped.shipper.look()
        store.gone = False
        assert there(place) == before
        shipped.shipper.look()
        shipped.journal.settle()
        assert there(place) == shipped.here()
        assert [entry for _, entry in shipped.here()[1:]] == [marked(1), marked(2), marked(3)]
    assert [error and error.reason for error in told] == ["PLACE_UNAVAILABLE", None]


@pytest.mark.parametrize("fault", ["500", "503", "torn", "lost", "403"])
@pytest.mark.parametrize("request_no", range(4))
def test_a_store_that_misbehaves_at_any_request_loses_nothing_that_was_acknowledged(
    store: Store, tmp_path: Path, fault: str, request_no: int
) -> None:
    """It fails so often that the client's own attempts are used up; then the machine is lost at once."""
    place: Any = open_place("s3://backups/x", patient=False)
    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.acknowledged(*(resealed(no, 1) for no in range(9)))
        acknowledged = shipped.here()
        store.faults = ["" for _ in range(request_no)] + [fault] * 3
        shipped.local.append([resealed(no, 2) for no in range(9)])
        try:
            shipped.journal.settle()
        except JournalUnshipped:
            pass
        else:
            acknowledged = shipped.here()
        store.faults = []
        assert there(place)[: len(acknowledged)] == acknowledged
        shipped.shipper.look()
        assert there(place) == shipped.here()


@pytest.mark.parametrize("fault", ["500", "torn", "lost"])
@pytest.mark.parametrize("request_no", range(2, 6))
def test_the_very_first_writing_may_fail_at_any_request_too(
    store: Store, tmp_path: Path, fault: str, request_no: int
) -> None:
    place: Any = open_place("s3://backups/x", patient=False)
    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.local.append([resealed(no, 1) for no in range(9)])
        store.faults = ["" for _ in range(request_no)] + [fault] * 3
        with suppress(JournalUnshipped):
            shipped.journal.settle()
        store.faults = []
    with shipping(tmp_path / "contacts", place) as again:
        again.shipper.look(always=True)
        again.journal.settle()
        assert there(place) == again.here()


def test_what_is_listed_late_is_neither_missed_nor_removed(store: Store, tmp_path: Path) -> None:
    place: Any = open_place("s3://backups/x", patient=False)
    with shipping(tmp_path / "contacts", place) as shipped:
        for generation in range(1, 4):
            shipped.acknowledged(*(resealed(no, generation) for no in range(9)))
            store.late |= store.objects.keys()
            assert there(place) == shipped.here()
            shipped.shipper.tidy()
        assert there(place) == shipped.here()
        store.late.clear()
        shipped.shipper.tidy()
        assert there(place) == shipped.here()


def missing(found: dict[str, bytes], name: str, _: str) -> None:
    del found[name]


def flipped(found: dict[str, bytes], name: str, _: str) -> None:
    middle = len(found[name]) // 2
    found[name] = found[name][:middle] + bytes([found[name][middle] ^ 1]) + found[name][middle + 1 :]


def cut(found: dict[str, bytes], name: str, _: str) -> None:
    found[name] = found[name][:-1]


def exchanged(found: dict[str, bytes], name: str, other: str) -> None:
    found[name], found[other] = found[other], found[name]


DAMAGES = [missing, flipped, cut, exchanged]


@pytest.mark.parametrize("damage", DAMAGES)
def test_pieces_that_are_not_what_was_written_are_refused_and_nothing_is_fetched(
    shipped: Shipped, tmp_path: Path, damage: Callable[..., None]
) -> None:
    for generation in range(1, 3):
        shipped.acknowledged(*(resealed(no, generation, size=400_000) for no in range(9)))
    original = objects(shipped.place)
    pieces = [name for name in original if "/pieces/" in name]
    assert len(pieces) > 2
    for at, name in enumerate(pieces):
        found = dict(original)
        damage(found, name, pieces[at - 1])
        place = put(tmp_path / f"{at}", found)
        setting = journal_place(tmp_path / "new", place)
        with pytest.raises(ShippedDamaged) as refusal:
            setting.fetch(setting.head(ID), setting.folder / "journal.db")
        assert "nothing was changed" in str(refusal.value)
        assert [path.name for path in setting.folder.iterdir()] == ["journal.key"]


def put(folder: Path, found: dict[str, bytes]) -> FolderPlace:
    place = FolderPlace(folder)
    for name, data in found.items():
        place.put(name, data)
    return place


@pytest.mark.parametrize("damage", [missing, flipped, cut])
def test_of_two_heads_one_is_enough_and_without_both_nothing_is_used(
    shipped: Shipped, tmp_path: Path, damage: Callable[..., None]
) -> None:
    shipped.acknowledged(marked(1))
    original = objects(shipped.place)
    for at in (0, 1):
        found = dict(original)
        damage(found, f"{FOLDER}heads/{at}", "")
        assert there(put(tmp_path / f"one-{at}", found)) == shipped.here()
        damage(found, f"{FOLDER}heads/{1 - at}", "")
        setting = journal_place(tmp_path / "new", put(tmp_path / f"both-{at}", found))
        with pytest.raises((ShippedDamaged, ShippedMissing)):
            setting.head(ID)


def test_a_journal_of_another_deployment_or_of_a_newer_format_is_refused(shipped: Shipped, tmp_path: Path) -> None:
    shipped.acknowledged(marked(1))
    found = objects(shipped.place)
    other = journal_place(tmp_path / "other", shipped.place, secret=bytes(32))
    with pytest.raises(ShippedForeign):
        other.head(ID)
    moved = {name.replace(ID, "f" * 16): data for name, data in found.items()}
    with pytest.raises(ShippedDamaged):
        journal_place(tmp_path / "moved", put(tmp_path / "m", moved)).head("f" * 16)
    newer = {name: data[:16] + b"\x02" + data[17:] for name, data in found.items()}
    with pytest.raises(NewerSchema):
        journal_place(tmp_path / "newer", put(tmp_path / "n", newer)).head(ID)


def test_a_journal_here_that_is_older_or_has_gone_another_way_writes_nothing_there(
    shipped: Shipped, tmp_path: Path
) -> None:
    shipped.acknowledged(marked(1), marked(2))
    before = objects(shipped.place)
    with shipping(tmp_path / "older", shipped.place) as older:
        older.local.append([marked(1)])
        with pytest.raises(ShippedAhead):
            older.shipper.look(always=True)
        older.local.append([marked(7), marked(8)])
        with pytest.raises(ShippedForeign):
            older.shipper.look(always=True)
    assert objects(shipped.place) == before


def test_an_emptied_place_is_not_taken_for_a_new_one(shipped: Shipped) -> None:
    shipped.acknowledged(marked(1))
    for name in shipped.place.names(""):
        shipped.place.remove(name)
    with shipping(shipped.folder, shipped.place) as again:
        with pytest.raises(ShippedMissing):
            again.shipper.look(always=True)
        assert shipped.place.names("") == []
        (shipped.folder / SHIPPED).unlink()
        again.shipper.look()
        assert there(shipped.place) == again.here()


def test_tidying_leaves_there_exactly_what_is_here(shipped: Shipped) -> None:
    for generation in range(1, 6):
        shipped.acknowledged(*(resealed(no, generation) for no in range(9)), marked(generation))
    dropped(shipped)
    assert shipped.shipper.tidy()
    assert there(shipped.place) == shipped.here()
    pages = [entry.page for _, entry in there(shipped.place) if isinstance(entry, PageResealed)]
    assert sorted(page.number for page in pages) == list(range(9))
    assert {page.generation for page in pages} == {5}
    before = objects(shipped.place)
    assert shipped.shipper.tidy() == 0
    assert objects(shipped.place) == before
    blobs = sum(len(data) for data in before.values())
    assert blobs < 9 * 8000 * 4 / 3 * 1.5, "old sealings are gone"


def test_there_are_few_pieces_however_often_something_is_appended(shipped: Shipped) -> None:
    for no in range(60):
        shipped.acknowledged(resealed(no, 1, size=30_000))
    shipped.shipper.tidy()
    assert len([name for name in shipped.place.names("") if "/pieces/" in name]) < 10
    assert there(shipped.place) == shipped.here()


def test_what_is_appended_while_pieces_are_made_is_there_once(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "place")

    class Busy:
        """A journal to which somebody appends whenever it was read."""

        def __init__(self, journal: SqlJournal) -> None:
            self.append = journal.append
            self._journal = journal

        def since(self, position: int) -> Iterator[tuple[int, Entry]]:
            read = list(self._journal.since(position))
            self._journal.append([resealed(7, 7)])
            return iter(read)

    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.shipper._local = Busy(shipped.local)  # type: ignore[assignment]
        for no in range(12):
            shipped.acknowledged(*(resealed(no, 1, size=30_000) for _ in range(3)))
        shipped.shipper._local = shipped.local
        shipped.shipper.look()
        assert there(place) == shipped.here()


def test_a_long_journal_goes_there_in_parts(shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capsule_services.runtime.shipping.shipper._LARGEST_PIECE", 100_000)
    shipped.acknowledged(*(resealed(no, 1) for no in range(200)))
    pieces = [data for name, data in objects(shipped.place).items() if "/pieces/" in name]
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 200_000
    assert there(shipped.place) == shipped.here()


def test_many_who_wait_at_once_share_one_writing(store: Store, tmp_path: Path) -> None:
    place: Any = open_place("s3://backups/x", patient=False)
    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.acknowledged()
        start = threading.Barrier(9)

        def work(no: int) -> None:
            start.wait()
            shipped.acknowledged(marked(no))

        threads = [threading.Thread(target=work, args=(no,)) for no in range(8)]
        for thread in threads:
            thread.start()
        with shipped.shipper._shipping:
            start.wait()
            while len(shipped.here()) < 9:
                pass
            before = len(store.asked)
        for thread in threads:
            thread.join()
        assert there(place) == shipped.here()
        assert store.asked[before:].count("PUT") == 2


def test_a_process_that_stays_at_the_place_keeps_others_no_longer_than_they_can_wait(
    shipped: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capsule_services.runtime.shipping.shipper._PATIENCE", 0.0)
    with shipping(shipped.folder, shipped.place) as other, other.shipper._alone(), pytest.raises(JournalUnshipped):
        shipped.acknowledged(marked(1))
    shipped.shipper.look()
    assert there(shipped.place) == shipped.here()
    assert mark_in(shipped.folder).position == shipped.here()[-1][0]


def test_the_marks_of_a_tenant_are_what_was_meant(shipped: Shipped) -> None:
    shipped.acknowledged(marked(1))
    ((_, entry),) = [row for row in there(shipped.place) if row[1] == marked(1)]
    assert (entry.tenant, entry.reasons[0].mark) == (ACME, Mark.HELD)
