"""``capsule backup``: what is not there is said to be not there, and a refusal leaves nothing behind."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from capsule_services.backup.faults import BackupForeign
from capsule_services.backups import _size, _table
from capsule_services.commands import app
from capsule_services.places.place import FolderPlace
from capsule_services.runtime.begun import FILES, SERVER, begun_in, tell_begun
from capsule_services.runtime.opening import open_holding
from tests.services.office import KINDS, host


def told(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["backup", *map(str, arguments)], env={"COLUMNS": "80", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: object) -> str:
    code, out, err = told(*arguments)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("capsule: ")
    assert len(err.strip().splitlines()) == 1
    return err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "deployment"
    open_holding(host(made), "contacts", KINDS).close()
    return made


@pytest.fixture
def place(folder: Path, tmp_path: Path) -> Path:
    assert told("create", "--data", folder, "--to", tmp_path / "place")[0] == 0
    return tmp_path / "place"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_a_place_that_is_not_there_holds_no_backups_that_are_whole(tmp_path: Path, folder: Path, place: Path) -> None:
    key = ("--key", folder / "backup.key")
    assert "there is no folder" in refused("verify", tmp_path / "nowhere", *key)
    assert "there is no folder" in refused("list", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "there is no backup in" in refused("verify", tmp_path / "empty", *key)
    assert "there is no backup 20260101-000000-ab12 in" in refused("verify", place / "20260101-000000-ab12", *key)
    assert "there is no backup 20260101-000000-ab12 in" in refused(
        "restore", place / "20260101-000000-ab12", "--data", folder
    )
    assert told("list", tmp_path / "empty")[0] == 0


def test_one_key_serves_them_all_and_is_looked_for_in_one_place(folder: Path, place: Path) -> None:
    code, out, err = told("list", place, "--data", folder)
    (name,) = [each["backup"] for each in json.loads(told("list", place, "--json")[1])]
    assert (code, err) == (0, "")
    assert "1 backup" in out
    assert "1 backups" not in out
    assert name in out, "no name is cut"
    assert told("verify", place, "--data", folder)[0] == 0
    code, out, err = told("list", place)
    assert code == 0
    assert "--data DIR or --key FILE" in err


def test_a_backup_that_is_refused_leaves_no_key(tmp_path: Path, folder: Path) -> None:
    assert "there is no deployment in" in refused("create", "--data", tmp_path / "nowhere", "--to", tmp_path / "p")
    assert not (tmp_path / "nowhere").exists()
    (folder / "contacts" / "database.url").write_text("postgresql://")
    assert "PostgreSQL" in refused("create", "--data", folder, "--to", tmp_path / "p")
    (folder / "contacts" / "database.url").unlink()
    (tmp_path / "file").write_bytes(b"")
    refused("create", "--data", folder, "--to", tmp_path / "file" / "p")
    assert not (folder / "backup.key").exists()


def test_a_service_that_is_lost_is_not_left_out_in_silence(tmp_path: Path, folder: Path) -> None:
    tell_begun(folder, {"contacts": FILES, "identity": FILES})
    assert "identity was begun in" in refused("create", "--data", folder, "--to", tmp_path / "p")


def test_a_restore_that_is_refused_leaves_no_folder(tmp_path: Path, folder: Path, place: Path) -> None:
    (name,) = [each["backup"] for each in json.loads(told("list", place, "--json")[1])]
    key = ("--key", folder / "backup.key")
    assert "journal of contacts is missing" in refused("restore", place / name, "--data", tmp_path / "a" / "b", *key)
    assert not (tmp_path / "a").exists()
    refused("restored", "--data", tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


def test_files_that_were_restored_are_what_the_service_has_now(folder: Path, place: Path) -> None:
    tell_begun(folder / "contacts", {"contacts": SERVER})
    (name,) = [each["backup"] for each in json.loads(told("list", place, "--json")[1])]
    assert told("restore", place / name, "--data", folder, "--replace")[0] == 0
    assert begun_in(folder / "contacts") == {"contacts": FILES}
    assert begun_in(folder) == {}


def test_a_place_in_the_deployment_is_refused_before_anything_is_written(tmp_path: Path, folder: Path) -> None:
    elsewhere, link = tmp_path / "disk", tmp_path / "link"
    link.symlink_to(folder)
    before = sorted(folder.rglob("*"))
    for place in (folder, folder / "b", folder / "contacts" / "b", link / "b", f"{tmp_path}/x/../deployment/b"):
        assert f"{place} lies in {folder}" in refused("create", "--data", folder, "--to", place)
    assert "lies in" in refused("create", "--data", link, "--to", folder / "b")
    assert sorted(folder.rglob("*")) == before
    (folder / "contacts").rename(elsewhere)
    (folder / "contacts").symlink_to(elsewhere)
    assert "lies in" in refused("create", "--data", folder, "--to", elsewhere / "b")
    assert told("create", "--data", folder, "--to", tmp_path / "deployment-b")[0] == 0


def test_whether_a_backup_is_in_the_folder_above_is_asked_of_its_manifests_alone(folder: Path, place: Path) -> None:
    (place.parent / "x" / "manifests").mkdir(parents=True)
    (place.parent / "x" / "manifests" / place.name).touch()
    assert FolderPlace(place.parent).names("manifests/") == []
    assert FolderPlace(place.parent).names("x/man") == [f"x/manifests/{place.name}"]
    assert told("verify", place, "--data", folder)[0] == 0


def test_at_80_columns_the_list_of_backups_is_whole() -> None:
    services = ["contacts", "identity", "privacy"]
    row = {"taken_at": "2026-11-29T19:47:01+00:00", "size": 987_654_321, "written": 999_499, "services": services}
    names = ["20261129-194701-ab12", "20261130-000000-ffff"]
    why = str(BackupForeign(names[1]))
    rows = [{**row, "backup": names[0], "services": ", ".join(services)}, {"backup": names[1], "taken_at": why}]
    written = StringIO()
    Console(file=written, width=80).print(_table(rows))
    lines = written.getvalue().splitlines()[1:]
    whole = ["2026-11-29 19:47 UTC", "988 MB", "999 kB", *names, *services, *why.split()]
    assert [each for each in whole if each not in written.getvalue()] == []
    assert {line[-1] for line in lines} == {"\u2513", "\u2503", "\u2529", "\u2502", "\u2518"}
    assert {len(line) for line in lines} <= set(range(81))
    assert "\N{HORIZONTAL ELLIPSIS}" not in written.getvalue()


@pytest.mark.parametrize(
    ("count", "size"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (2 * 10**12, "2 TB")]
)
def test_a_size_is_written_short(count: int, size: str) -> None:
    assert _size(count) == size


def test_a_restore_says_where_it_had_the_journal_from(tmp_path: Path, journal: Path) -> None:
    folder = tmp_path / "kept"
    opened = open_holding(host(folder, journal_place=str(journal)), "contacts", KINDS)
    opened.resume()
    opened.close()
    assert told("create", "--data", folder, "--to", tmp_path / "p")[0] == 0
    (name,) = [each["backup"] for each in json.loads(told("list", tmp_path / "p", "--json")[1])]
    restore = ("restore", tmp_path / "p" / name, "--data", folder, "--replace")
    assert "contacts: the one beside the data" in told(*restore)[1]
    for copy in ("journal.db", "mirror/journal.db"):
        (folder / "contacts" / copy).unlink()
    said = refused(*restore, "--journal", tmp_path / "mistyped")
    assert f"there is no journal of this deployment's contacts at {tmp_path / 'mistyped'}" in said
    assert "check the place" in said
    assert "shipped.json" not in said
    code, out, err = told(*restore, "--journal", journal, "--json")
    assert (code, err) == (0, "")
    with closing(sqlite3.connect(folder / "contacts" / "journal.db")) as database:
        ((count,),) = database.execute("SELECT count(*) FROM entries")
    entries = "entry" if count == 1 else "entries"
    assert json.loads(out)["journals"] == {"contacts": f"{count} {entries} fetched from {journal}"}
