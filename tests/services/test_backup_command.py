"""``capsule backup``: what is not there is said to be not there, and a refusal leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capsule_services.commands import app
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
