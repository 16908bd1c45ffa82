"""A backup holds what it should and nothing else; what is cut, altered, foreign or newer is refused whole."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Email, Person
from capsule_core.errors import CapsuleError, NewerSchema, ResourceMissing
from capsule_core.names import ActorRef, TenantId
from capsule_core.records import Act
from capsule_core.repository import Draft
from capsule_core.uses import Use
from capsule_services.backup.chunks import EMPTY, PACKS, BackupKey, Packer, Reader, Ref
from capsule_services.backup.faults import BackupDamaged, BackupForeign, RestoreRefused
from capsule_services.backup.making import files_of, forget, make
from capsule_services.backup.manifest import MANIFESTS, Manifest, load, newest, save
from capsule_services.backup.replacing import Placed, put_back, stopped
from capsule_services.backup.unpacking import check
from capsule_services.places.faults import PlaceRefused
from capsule_services.places.place import FolderPlace, open_place
from capsule_services.runtime.opening import open_holding
from tests.services.office import KINDS, host

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
KEY, OTHER = BackupKey(bytes(range(32))), BackupKey(bytes(32))


def unseen(done: int, total: int) -> None:
    assert 0 <= done <= total


def people(folder: Path, first: int, count: int) -> None:
    """Keep some people in contacts."""
    opened = open_holding(host(folder), "contacts", KINDS)
    act = Act(tenant=TenantId("acme"), actor=ActorRef("user", "u1"), verb="try", use=Use.EDIT.value, at=NOW)
    drafts = [
        Draft(Person(id=f"c{number:026d}", given_name=f"P{number}", emails=(Email(f"p{number}@example.org"),)))
        for number in range(first, first + count)
    ]
    opened.holding.repository.add(drafts, act=act)
    opened.close()


@attrs.frozen
class World:
    folder: Path
    place: FolderPlace

    def make(self, *, now: datetime = NOW, full: bool = False, key: BackupKey = KEY) -> Manifest:
        return make(self.folder, self.place, key, release="test", now=now, full=full, progress=unseen)

    def restore(self, made: Manifest, **more: Any) -> Placed:
        told = {"replace": True, "unreplayed": False, "now": NOW, "progress": unseen, **more}
        return put_back(self.place, made, KEY, self.folder, **told)

    def objects(self) -> dict[str, bytes]:
        return {name: self.place.get(name) for name in self.place.names("")}

    def contents(self) -> dict[str, bytes]:
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != "lock")
        return {str(path): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    people(folder, 0, 400)
    return folder


@pytest.fixture
def world(original: Path, tmp_path: Path) -> World:
    shutil.copytree(original, tmp_path / "deployment")
    return World(tmp_path / "deployment", FolderPlace(tmp_path / "backups"))


def rows(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in names}  # noqa: S608


def test_restored_it_is_what_it_was_but_for_what_records_are_found_by(world: World) -> None:
    before = rows(world.folder / "contacts" / "data.db")
    made = world.make()
    people(world.folder, 400, 50)
    aside = world.restore(made).aside
    after = rows(world.folder / "contacts" / "data.db")
    assert aside is not None
    assert len(rows(aside / "contacts" / "data.db")["records"]) == 450
    for name in ("tokens", "signatures", "unindexed", "sqlite_sequence"):
        before.pop(name, None)
        after.pop(name, None)
    assert after == before


def test_no_key_no_journal_and_nothing_that_is_derived_is_in_it(world: World) -> None:
    made = world.make()
    assert set(made.files) == {"contacts/data.db", "contacts/reads.db"}
    tokens = [token for _, _, _, token, *_ in rows(world.folder / "contacts" / "data.db")["tokens"]]
    reader = Reader(world.place, KEY)
    plain = b"".join(
        reader.chunk(ref)
        for file in made.files.values()
        for part in reader.chunks(file.lists)
        for ref in Ref.decode_all(part)
        if ref != EMPTY
    )
    secret_files = [path for path in (world.folder / "contacts").iterdir() if path.suffix == ".key"]
    assert len(secret_files) >= 3
    assert not [path.name for path in secret_files if path.read_bytes()[:32] in plain]
    with closing(sqlite3.connect(world.folder / "contacts" / "keystore.db")) as keystore:
        wrapped = [row for (row,) in keystore.execute("SELECT wrapped FROM keys")]
    assert wrapped
    assert not [each for each in wrapped if each in plain]
    assert not [token for token in tokens if int(token).to_bytes(8, "big", signed=True) in plain]


def test_nothing_of_the_data_can_be_read_in_the_place(world: World) -> None:
    world.make()
    stored = b"".join(world.objects().values())
    for told in (b"SQLite format 3", b"acme", b"data_0", b"contacts", b"records"):
        assert told not in stored
    folders = [path for path in world.place.folder.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_what_has_not_changed_is_not_written_again(world: World) -> None:
    first = world.make()
    second = world.make(now=NOW + timedelta(hours=1))
    assert first.written > 100_000
    assert second.written == 0
    people(world.folder, 400, 1)
    third = world.make(now=NOW + timedelta(hours=2))
    assert 0 < third.written < first.written
    assert world.make(now=NOW + timedelta(hours=3), full=True).written >= first.written
    for each in (first, second, third):
        check(world.place, each, KEY, unseen)
    assert newest(world.place, KEY) is not None
    assert newest(world.place, OTHER) is None


def test_a_pack_that_somebody_took_away_is_written_again(world: World) -> None:
    first = world.make()
    for name in world.place.names(PACKS):
        world.place.remove(name)
    second = world.make(now=NOW + timedelta(hours=1))
    check(world.place, second, KEY, unseen)
    with pytest.raises(BackupDamaged):
        check(world.place, first, KEY, unseen)


def test_old_backups_go_and_what_others_need_stays(world: World) -> None:
    first = world.make()
    people(world.folder, 400, 200)
    second = world.make(now=NOW + timedelta(days=20))
    assert forget(world.place, KEY, before=NOW) == []
    assert forget(world.place, KEY, before=NOW + timedelta(days=1)) == [first.name]
    check(world.place, second, KEY, unseen)
    third = world.make(now=NOW + timedelta(days=40), full=True)
    packs = world.place.names(PACKS)
    assert forget(world.place, KEY, before=NOW + timedelta(days=30)) == [second.name]
    assert set(world.place.names(PACKS)) < set(packs)
    check(world.place, third, KEY, unseen)


def test_nothing_goes_while_a_backup_cannot_be_read(world: World) -> None:
    made = world.make()
    world.place.put(f"{MANIFESTS}odd", b"something else")
    before = world.objects()
    with pytest.raises(BackupDamaged):
        forget(world.place, KEY, before=NOW + timedelta(days=99))
    assert world.objects() == before
    assert load(world.place, made.name, KEY) == made


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[World, Manifest], Any]] = {
    "a manifest that is cut": lambda w, m: w.place.put(
        f"{MANIFESTS}{m.name}", w.place.get(f"{MANIFESTS}{m.name}")[:-1]
    ),
    "a manifest of no length": lambda w, m: w.place.put(f"{MANIFESTS}{m.name}", b""),
    "a pack that is cut": lambda w, _: [w.place.put(n, w.place.get(n)[:-1]) for n in w.place.names(PACKS)],
    "a pack that is missing": lambda w, _: [w.place.remove(n) for n in w.place.names(PACKS)],
    "a pack of zeros": lambda w, _: [w.place.put(n, bytes(len(w.place.get(n)))) for n in w.place.names(PACKS)],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_cut_or_missing_is_refused_whole(world: World, damage: str) -> None:
    made = world.make()
    DAMAGES[damage](world, made)
    before = world.contents()
    with pytest.raises(BackupDamaged):
        world.restore(load(world.place, made.name, KEY))
    assert world.contents() == before


@given(share=st.floats(0, 1, exclude_max=True), which=st.integers(0, 10))
def test_a_bit_that_flipped_anywhere_is_found(original: Path, share: float, which: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "flipped"
    place = FolderPlace(folder)
    if not folder.exists():
        World(original, place).make()
    (manifest,) = place.names(MANIFESTS)
    name = [*place.names(PACKS), manifest][which % (len(place.names(PACKS)) + 1)]
    whole = place.get(name)
    place.put(name, flip(whole, int(share * len(whole))))
    try:
        with pytest.raises((BackupDamaged, BackupForeign, NewerSchema)):
            check(place, load(place, manifest.removeprefix(MANIFESTS), KEY), KEY, unseen)
    finally:
        place.put(name, whole)


def test_another_deployments_and_a_newer_formats_backups_are_refused(world: World) -> None:
    made = world.make()
    with pytest.raises(BackupForeign):
        load(world.place, made.name, OTHER)
    name = f"{MANIFESTS}{made.name}"
    head = len(b"capsule backup\0")
    world.place.put(name, world.place.get(name)[:head] + b"\x02" + world.place.get(name)[head + 1 :])
    with pytest.raises(NewerSchema):
        load(world.place, made.name, KEY)
    with pytest.raises(ResourceMissing):
        load(world.place, "another", KEY)


def test_a_manifest_stands_for_its_own_name_only(world: World) -> None:
    first, second = world.make(), world.make(now=NOW + timedelta(hours=1))
    world.place.put(f"{MANIFESTS}{second.name}", world.place.get(f"{MANIFESTS}{first.name}"))
    with pytest.raises(BackupDamaged):
        load(world.place, second.name, KEY)


def test_a_schema_that_is_newer_than_this_release_is_refused_whole(world: World) -> None:
    made = world.make()
    files = {name: attrs.evolve(file, revision="data_9999") for name, file in made.files.items()}
    save(attrs.evolve(made, files=files), world.place, KEY, secrets.token_bytes(12))
    before = world.contents()
    with pytest.raises(NewerSchema):
        world.restore(load(world.place, made.name, KEY))
    assert world.contents() == before


def test_more_or_fewer_chunks_than_the_pages_need_are_refused(world: World) -> None:
    made = world.make()
    for pages in (1, 10_000):
        files = {name: attrs.evolve(file, pages=pages) for name, file in made.files.items()}
        with pytest.raises(BackupDamaged):
            check(world.place, attrs.evolve(made, files=files), KEY, unseen)


def test_a_backup_that_breaks_off_is_none(world: World) -> None:
    first = world.make()

    @attrs.frozen
    class Full(FolderPlace):
        def put(self, name: str, data: bytes) -> None:
            if name.startswith(MANIFESTS):
                raise PlaceRefused("there", "no room")
            super().put(name, data)

    people(world.folder, 400, 100)
    with pytest.raises(PlaceRefused):
        World(world.folder, Full(world.place.folder)).make(now=NOW + timedelta(hours=1))
    assert world.place.names(MANIFESTS) == [f"{MANIFESTS}{first.name}"]
    second = world.make(now=NOW + timedelta(hours=2))
    for each in (first, second):
        check(world.place, each, KEY, unseen)


def test_an_error_in_the_place_reaches_whoever_makes_the_backup(world: World) -> None:
    @attrs.frozen
    class Broken(FolderPlace):
        def put(self, name: str, data: bytes) -> None:
            raise PlaceRefused("there", "broken")

    with pytest.raises(PlaceRefused):
        World(world.folder, Broken(world.place.folder)).make()


def test_a_running_deployment_is_not_restored_over(world: World) -> None:
    made = world.make()
    with stopped(world.folder), pytest.raises(RestoreRefused, match="is running"):
        world.restore(made)


def test_a_service_on_a_server_is_not_backed_up_and_not_restored_over(world: World) -> None:
    made = world.make()
    (world.folder / "contacts" / "database.url").write_text("postgresql://")
    with pytest.raises(RestoreRefused, match="PostgreSQL"):
        world.restore(made)
    with pytest.raises(RestoreRefused, match="no deployment"):
        files_of(world.folder)


@given(
    before=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    after=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
)
def test_chunks_come_back_as_they_were_and_the_same_are_not_packed_twice(
    before: list[bytes], after: list[bytes], tmp_path_factory: Any
) -> None:
    place = FolderPlace(tmp_path_factory.mktemp("packs"))
    with Packer(place, KEY, secrets.token_bytes).packing() as packer:
        first = [packer.add(each, EMPTY) for each in before]
    with Packer(place, KEY, secrets.token_bytes).packing() as packer:
        padded = first + [EMPTY] * len(after)
        second = [packer.add(each, old) for each, old in zip(after, padded, strict=False)]
    reader = Reader(place, KEY)
    assert [reader.chunk(ref) for ref in first] == before
    assert [reader.chunk(ref) for ref in second] == after
    same = [new == old for new, old in zip(after, before, strict=False)]
    assert [new is old for new, old in zip(second, first, strict=False)] == same
    shutil.rmtree(place.folder)


def test_a_chunk_does_not_open_in_anothers_place(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    with Packer(place, KEY, secrets.token_bytes).packing() as packer:
        one, other = packer.add(b"one", EMPTY), packer.add(b"two", EMPTY)
    reader = Reader(place, KEY)
    with pytest.raises(BackupDamaged):
        reader.chunk(attrs.evolve(one, start=other.start))


@pytest.fixture
def readonly(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "file"
    folder.write_text("mine")
    yield folder
    assert folder.read_text() == "mine"


def test_a_place_that_is_none_says_so(readonly: Path) -> None:
    for address in ("ftp://somewhere", "s3://"):
        with pytest.raises(CapsuleError):
            open_place(address).names("")
    with pytest.raises(PlaceRefused):
        open_place(str(readonly)).put("packs/x", b"")
