"""A service whose journal is at a place too: how it starts, what the doctor says, what a restore checks first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import ResourceMissing, SubjectErased
from capsule_core.journal import Founded, PageResealed
from capsule_core.names import TenantId
from capsule_core.records import Slot
from capsule_services.backup.faults import RestoreRefused
from capsule_services.backup.making import make
from capsule_services.backup.replacing import put_back
from capsule_services.doctor import shipped
from capsule_services.doctor.findings import Finding, Grade
from capsule_services.doctor.place import Place
from capsule_services.places.faults import PlaceRefused, PlaceUnavailable
from capsule_services.places.place import FolderPlace
from capsule_services.runtime.begun import FILES, tell_begun
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.health import Ailment, Health
from capsule_services.runtime.opening import Opened, open_holding
from capsule_services.runtime.shipping.faults import JournalUnshipped, ShippedAhead, ShippedForeign, ShippedMissing
from tests.services.objects import Store, serving
from tests.services.office import KINDS, Desk, Office, deleted, fresh_id, host, office, person, purged
from tests.services.shipping import marked
from tests.services.test_backup import KEY, NOW, unseen

PLACE = "s3://journals/acme"
COPIES = ("journal.db", "mirror/journal.db")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    with serving(monkeypatch, tmp_path) as made:
        made.page = 1000
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deployment"


def started(folder: Path, place: str = PLACE) -> Opened:
    """Open contacts as a start does, until it would serve."""
    opened = open_holding(host(folder, journal_place=place), "contacts", KINDS)
    try:
        opened.resume()
    except BaseException:
        opened.close()
        raise
    return opened


def at_work(folder: Path) -> Office:
    return office(started(folder), folder)


def purge(desk: Desk, contact: pb.Contact, request: str) -> Any:
    return desk.PurgeContact(pb.PurgeContactRequest(name=contact.name, confirm=True, request_id=request))


def lose_both(folder: Path) -> None:
    for name in COPIES:
        (folder / "contacts" / name).unlink()


def told(opened: Opened) -> list[tuple[int, Any]]:
    return list(opened.journal.since(0))


def test_a_service_that_lost_both_copies_fetches_its_journal_and_goes_on(store: Store, folder: Path) -> None:
    here = at_work(folder)
    purged(here.desk("acme"), person(here.desk("acme")))
    before = told(here.opened)
    here.opened.close()
    lose_both(folder)
    again = started(folder)
    assert told(again) == before
    assert (folder / "contacts" / "mirror" / "journal.db").exists()
    again.close()
    lose_both(folder)
    store.objects.clear()
    with pytest.raises(ShippedMissing):
        started(folder)
    assert not (folder / "contacts" / "journal.db").exists()


def test_while_the_place_is_gone_a_service_starts_and_nothing_is_acknowledged(store: Store, folder: Path) -> None:
    here = at_work(folder)
    desk = here.desk("acme")
    somebody, request = person(desk), fresh_id()
    deleted(desk, somebody)
    health = Health()
    looks = here.opened.watched(health)
    store.gone = True
    for _ in range(2):
        with pytest.raises(JournalUnshipped):
            purge(desk, somebody, request)
    assert here.opened.readings["capsule_journal_behind"]() > 0
    assert health._ailments >= {Ailment.PLACE}
    with pytest.raises(PlaceUnavailable):
        looks[Ailment.PLACE]()
    here.opened.close()
    here = at_work(folder)
    person(here.desk("acme"))
    looks = here.opened.watched(health)
    assert here.opened.readings["capsule_erasures_unfinished"]() == 1
    with pytest.raises(JournalUnshipped):
        purge(here.desk("acme"), somebody, request)
    store.gone = False
    looks[Ailment.PLACE]()
    assert purge(here.desk("acme"), somebody, request).receipt
    assert here.opened.readings["capsule_erasures_unfinished"]() == 0
    assert here.opened.readings["capsule_journal_behind"]() == 0
    here.opened.close()
    lose_both(folder)
    started(folder).close()


def test_no_page_key_is_replaced_before_the_place_has_the_new_sealing(store: Store, folder: Path) -> None:
    here = at_work(folder)
    desk = here.desk("acme")
    person(desk)
    vault = here.opened.holding.vault
    keys = [entry.page.key_id for _, entry in told(here.opened) if isinstance(entry, PageResealed)]
    store.gone = True
    with pytest.raises(JournalUnshipped):
        vault.shred(TenantId(desk.tenant.removeprefix("tenants/")), [Slot(1, 0)])
    sealed = [entry.page for _, entry in told(here.opened) if isinstance(entry, PageResealed)]
    (held,) = vault._keystore.get(sealed[0].tenant, [sealed[0].number])
    assert held is not None
    assert held.id == keys[0]
    here.opened.close()


def test_a_service_does_not_start_beside_a_place_that_knows_more_or_is_of_another(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    started(folder).close()
    saved = {name: (folder / "contacts" / name).read_bytes() for name in COPIES}
    opened = started(folder)
    opened.journal.append([marked(1)])
    opened.journal.settle()
    opened.close()
    newer = dict(store.objects)
    for name, data in saved.items():
        (folder / "contacts" / name).write_bytes(data)
    with pytest.raises(ShippedAhead):
        started(folder)
    assert store.objects == newer
    (folder / "contacts" / "journal.key").unlink()
    with pytest.raises(ShippedForeign):
        started(folder)
    with pytest.raises(StartRefused):
        started(folder, str(folder / "contacts" / "place"))
    with pytest.raises(PlaceRefused):
        started(folder, "gs://elsewhere")
    store.faults = ["403"] * 4
    with pytest.raises(PlaceRefused):
        started(tmp_path / "another")


@pytest.mark.usefixtures("store")
def test_the_place_is_compacted_to_the_newest_sealing_of_each_page(folder: Path) -> None:
    here = at_work(folder)
    desk = here.desk("acme")
    for _ in range(4):
        purged(desk, person(desk))
    assert here.opened.compact()
    left = told(here.opened)
    here.opened.close()
    lose_both(folder)
    again = started(folder)
    assert told(again) == left
    pages = [(entry.page.tenant, entry.page.number) for _, entry in left if isinstance(entry, PageResealed)]
    assert len(pages) == len(set(pages))
    again.close()


def looked(folder: Path, address: str = PLACE) -> Finding:
    variables = {"CAPSULE_JOURNAL_PLACE": address} if address else {}
    (finding,) = shipped.journals(Place(folder=folder, variables=variables))
    return finding


def test_the_doctor_says_whether_the_place_can_be_written_and_how_far_it_is_behind(store: Store, folder: Path) -> None:
    assert looked(folder, "").grade is Grade.NOTE
    started(folder, "").close()
    assert (looked(folder).grade, looked(folder).found) == (Grade.NOTE, "nothing was written there yet")
    started(folder).close()
    before = dict(store.objects)
    assert looked(folder).grade is Grade.GOOD
    assert store.objects == before
    store.gone = True
    assert "cannot be written" in looked(folder).found
    store.gone = False
    opened = open_holding(host(folder), "contacts", KINDS)
    opened.journal.append([marked(1), marked(2)])
    opened.close()
    assert looked(folder).found == "it is 2 positions behind"
    (folder / "addresses").mkdir(exist_ok=True)
    (folder / "addresses" / "contacts").touch()
    assert "journal_unshipped" in looked(folder).do
    assert looked(folder, "").grade is Grade.UNSEEN
    heads = {name: data for name, data in store.objects.items() if "/heads/" in name}
    for name, data in heads.items():
        store.objects[name] = data[:-1]
    assert (looked(folder).grade, "damaged" in looked(folder).do) == (Grade.MEND, True)
    for name in heads:
        del store.objects[name]
    assert (looked(folder).grade, looked(folder).found) == (Grade.MEND, "it is empty")


def test_a_restore_wants_all_of_the_journal_that_a_backup_has_seen(store: Store, folder: Path, tmp_path: Path) -> None:
    opened, backups = started(folder), FolderPlace(tmp_path / "backups")
    first = make(folder, backups, KEY, release="test", now=NOW, full=False, progress=unseen)
    older = dict(store.objects)
    here = office(opened, folder)
    somebody = person(here.desk("acme"))
    purged(here.desk("acme"), somebody)
    make(folder, backups, KEY, release="test", now=NOW.replace(hour=10), full=False, progress=unseen)
    whole = told(opened)
    opened.close()
    lose_both(folder)

    def restore() -> None:
        put_back(backups, first, KEY, folder, replace=True, unreplayed=False, journals=PLACE, now=NOW, progress=unseen)

    newest, store.objects = store.objects, older
    with pytest.raises(RestoreRefused, match="older than a backup"):
        restore()
    assert not (folder / "contacts" / "restored.json").exists()
    store.objects = newest
    restore()
    again = started(folder)
    assert told(again)[: len(whole)] == whole
    assert [entry.id for _, entry in whole if isinstance(entry, Founded)]
    with pytest.raises((ResourceMissing, SubjectErased)):
        office(again, folder).desk("acme").GetContact(pb.GetContactRequest(name=somebody.name))
    again.close()


def test_a_place_in_the_deployments_folder_is_refused_at_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "journal"
    monkeypatch.setenv("CAPSULE_JOURNAL_PLACE", str(place))
    with pytest.raises(StartRefused, match=r"lies in .* would be lost with it"), running(folder, Options()):
        pass
    assert not (folder / "tls").exists()
    tell_begun(folder, {"contacts": FILES})
    with pytest.raises(StartRefused, match=r"lies in .* would be lost with it"):
        started(folder, str(place))
    started(folder, str(folder.with_name("deployment-journal"))).close()
    assert not place.exists()
