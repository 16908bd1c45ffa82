"""What was ever begun is never taken for something new: whoever lost it is told, and nobody is served from nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from capsule_core.errors import CapsuleError
from capsule_services.doctor.examine import examine
from capsule_services.doctor.findings import Finding, Grade
from capsule_services.doctor.place import Place
from capsule_services.runtime.begun import BEGUN, FILES, SERVER, begun_in, tell_begun
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.opening import open_holding
from capsule_sql.failures import MirrorsDiffer
from tests.services.office import KINDS, host, office, opened_on, person


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that ran, and in which somebody is kept."""
    folder = tmp_path_factory.mktemp("used") / "deployment"
    with running(folder, Options(dev=True)):
        pass
    here = office(opened_on("sqlite", folder), folder)
    person(here.desk("acme"))
    here.opened.close()
    return folder


@pytest.fixture
def copied(used: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(used, tmp_path / "copy"))


def names(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name for name in found if name != "lock" and not name.startswith("logs")}


def to_mend(folder: Path) -> dict[str, Finding]:
    return {each.what: each for each in examine(Place(folder=folder)) if each.grade is Grade.MEND}


def folder_lost(folder: Path) -> None:
    shutil.rmtree(folder / "contacts")


def folder_unmounted(folder: Path) -> None:
    shutil.rmtree(folder / "contacts")
    (folder / "contacts").mkdir(mode=0o700)


def records_lost(folder: Path) -> None:
    for file in (folder / "contacts").glob("data.db*"):
        file.unlink()


def reads_lost(folder: Path) -> None:
    (folder / "contacts" / "reads.db").unlink()


def records_emptied(folder: Path) -> None:
    (folder / "contacts" / "data.db").write_bytes(b"")


def url_lost(folder: Path) -> None:
    for place in (folder, folder / "contacts"):
        tell_begun(place, {"contacts": SERVER})


LOST: list[Callable[[Path], None]] = [
    folder_lost,
    folder_unmounted,
    records_lost,
    reads_lost,
    records_emptied,
    url_lost,
]


def test_what_was_begun_is_written_down(used: Path) -> None:
    assert begun_in(used) == dict.fromkeys(ORDER, FILES)
    assert begun_in(used / "contacts") == {"contacts": FILES}


@pytest.mark.parametrize("lose", LOST, ids=lambda lose: lose.__name__)
def test_what_was_lost_is_refused_and_nothing_new_is_begun_in_its_place(
    copied: Path, lose: Callable[[Path], None]
) -> None:
    lose(copied)
    before = names(copied)
    refused = pytest.raises(StartRefused, match=r"contacts was begun before.*missing.*restore a backup")
    with refused, running(copied, Options(dev=True)):
        pass
    assert names(copied) == before
    assert "records of contacts" in to_mend(copied)


@pytest.mark.parametrize("lose", LOST[2:], ids=lambda lose: lose.__name__)
def test_a_service_alone_knows_too(copied: Path, lose: Callable[[Path], None]) -> None:
    (copied / BEGUN).unlink()
    lose(copied)
    (copied / BEGUN).unlink(missing_ok=True)
    before = names(copied)
    with pytest.raises(StartRefused, match="contacts was begun before"):
        open_holding(host(copied), "contacts", KINDS)
    assert names(copied) == before
    assert "records of contacts" in to_mend(copied)


def test_a_deployment_that_is_older_than_this_is_opened_and_written_down(copied: Path) -> None:
    (copied / BEGUN).unlink()
    (copied / "contacts" / BEGUN).unlink()
    open_holding(host(copied), "contacts", KINDS).close()
    assert begun_in(copied / "contacts") == {"contacts": FILES}


@pytest.mark.parametrize("told", [b"", b"[]", b'{"contacts": "elsewhere"}', b"\xff"])
def test_what_was_begun_is_not_guessed(copied: Path, told: bytes) -> None:
    (copied / "contacts" / BEGUN).write_bytes(told)
    with pytest.raises(StartRefused, match=r"begun\.json cannot be read"):
        open_holding(host(copied), "contacts", KINDS)
    assert "records of contacts" in to_mend(copied)


def test_what_was_begun_before_is_kept(tmp_path: Path) -> None:
    tell_begun(tmp_path, {"contacts": FILES})
    tell_begun(tmp_path, {"identity": SERVER})
    assert json.loads((tmp_path / BEGUN).read_bytes()) == {"contacts": FILES, "identity": SERVER}


def keystores(folder: Path) -> tuple[Path, Path]:
    return folder / "contacts" / "keystore.db", folder / "contacts" / "mirror" / "keystore.db"


def test_page_keys_that_are_lost_on_both_media_are_not_made_anew(copied: Path, used: Path) -> None:
    for file in keystores(copied):
        file.unlink()
    told = to_mend(copied)
    assert "neither is in any backup" in told["schema of contacts/keystore.db"].do
    assert "page keys of contacts" in told
    before = names(copied)
    with pytest.raises(StartRefused, match=r"keystore\.db and its mirror are missing.*put one of the two back"):
        open_holding(host(copied), "contacts", KINDS)
    assert names(copied) == before
    shutil.copy(keystores(used)[0], keystores(copied)[0])
    assert "page keys of contacts" not in to_mend(copied)
    open_holding(host(copied), "contacts", KINDS).close()
    assert keystores(copied)[1].exists()


def test_page_keys_of_other_data_are_found_by_the_doctor(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "contacts").mkdir()
    shutil.copy(copied / "contacts" / "root.key", tmp_path / "contacts" / "root.key")
    open_holding(host(tmp_path), "contacts", KINDS).close()
    for file, other in zip(keystores(copied), keystores(tmp_path), strict=True):
        shutil.copy(other, file)
    assert "1 of 1 tenants" in to_mend(copied)["page keys of contacts"].found


def test_two_keystores_that_are_no_copies_of_each_other_are_called_that(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "contacts").mkdir()
    shutil.copy(copied / "contacts" / "root.key", tmp_path / "contacts" / "root.key")
    open_holding(host(tmp_path), "contacts", KINDS).close()
    shutil.copy(keystores(tmp_path)[1], keystores(copied)[1])
    with pytest.raises(CapsuleError, match="are no copies of each other") as refused:
        open_holding(host(copied), "contacts", KINDS)
    assert not isinstance(refused.value, MirrorsDiffer)
    assert "root key it was made with" not in str(refused.value)


@pytest.mark.parametrize("also", [(), ("receipts.pub",)])
def test_a_signing_key_that_is_lost_is_not_replaced(copied: Path, also: tuple[str, ...]) -> None:
    for name in ("receipts.key", *also):
        (copied / "contacts" / name).unlink()
    before = names(copied)
    with pytest.raises(StartRefused, match=r"receipts\.key is missing, and receipts were signed with it"):
        open_holding(host(copied), "contacts", KINDS)
    assert names(copied) == before
    assert "put it back" in to_mend(copied)["receipts of contacts"].do
