"""Backups in an object store: over HTTP on the loopback, from a store that also misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from capsule_core.errors import ResourceMissing
from capsule_services.backup.faults import BackupDamaged
from capsule_services.backup.making import make
from capsule_services.backup.manifest import load
from capsule_services.backup.unpacking import check
from capsule_services.places.faults import PlaceRefused, PlaceUnavailable
from capsule_services.places.place import open_place
from capsule_services.places.s3 import S3Place
from tests.services.objects import Store, serving
from tests.services.test_backup import KEY, NOW, people, unseen


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    with serving(monkeypatch, tmp_path) as made:
        yield made


@pytest.fixture
def place(store: Store) -> Iterator[S3Place]:  # noqa: ARG001  it must be there
    opened = open_place("s3://backups/deployments/acme")
    assert isinstance(opened, S3Place)
    yield opened
    opened.client.close()


def test_objects_come_back_and_are_listed_over_many_pages(place: S3Place, store: Store) -> None:
    names = [f"packs/{number:02}" for number in range(7)]
    for name in names:
        place.put(name, name.encode() * 100)
    place.put("manifests/x", b"")
    assert place.names("packs/") == names
    assert place.names("") == ["manifests/x", *names]
    assert [place.get(name) for name in names] == [name.encode() * 100 for name in names]
    assert all(path.startswith("/backups/deployments/acme/") for path in store.objects)
    place.remove("packs/00")
    place.remove("packs/00")
    assert place.names("packs/") == names[1:]
    with pytest.raises(ResourceMissing):
        place.get("packs/00")


@pytest.mark.parametrize("fault", ["500", "503"])
def test_a_store_that_stumbles_is_asked_again(place: S3Place, store: Store, fault: str) -> None:
    store.faults += [fault]
    place.put("packs/a", b"whole")
    store.faults += [fault]
    assert place.get("packs/a") == b"whole"
    assert store.asked == ["PUT", "PUT", "GET", "GET"]


def test_a_store_that_fails_and_one_that_refuses_are_told_apart(place: S3Place, store: Store) -> None:
    store.faults += ["500"] * 5
    with pytest.raises(PlaceUnavailable):
        place.put("packs/a", b"whole")
    store.faults += ["403"]
    with pytest.raises(PlaceRefused, match="AccessDenied"):
        place.names("")
    assert place.names("") == []


def test_an_object_that_comes_short_is_not_taken_for_whole(place: S3Place, store: Store) -> None:
    place.put("packs/a", b"whole" * 1000)
    store.faults += ["cut"]
    with pytest.raises(PlaceUnavailable):
        place.get("packs/a")
    assert place.get("packs/a") == b"whole" * 1000


def test_a_deployment_is_backed_up_there_and_what_is_altered_is_found(
    place: S3Place, store: Store, tmp_path: Path
) -> None:
    people(tmp_path / "deployment", 0, 30)
    made = make(tmp_path / "deployment", place, KEY, release="test", now=NOW, full=False, progress=unseen)
    check(place, load(place, made.name, KEY), KEY, unseen)
    assert make(tmp_path / "deployment", place, KEY, release="test", now=NOW, full=False, progress=unseen).written == 0
    (pack,) = (path for path in store.objects if "/packs/" in path)
    store.objects[pack] = store.objects[pack][:-1] + b"x"
    with pytest.raises(BackupDamaged):
        check(place, load(place, made.name, KEY), KEY, unseen)
