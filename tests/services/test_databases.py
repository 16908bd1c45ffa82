"""``capsule db init``, ``capsule demo --database-url``: what cannot be is refused in one sentence, and nothing stays.

Nothing is what lies in the folder, beside it among what is temporary, and on the server: roles, databases, passwords.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner

from capsule_services.commands import app
from capsule_services.databases import places
from capsule_services.demo import show
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE, ENGINE, ORDER
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.provisioning import database_of, provision, remove
from capsule_sql.standing import examine
from tests.postgres import Server

_CLUSTER = (
    "SELECT rolname, rolsuper, rolcanlogin, rolpassword FROM pg_authid ORDER BY oid",
    "SELECT datname, datdba, datacl::text FROM pg_database ORDER BY oid",
    "SELECT roleid, member FROM pg_auth_members ORDER BY 1, 2",
)


def on_server(server: Server) -> list[Any]:
    with psycopg.connect(server.url()) as admin:
        return [admin.execute(catalogue).fetchall() for catalogue in _CLUSTER]


def in_folder(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*"))
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in files
    }


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made: a folder of this test's own, so that whatever is left is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def told(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def refusal(*arguments: str) -> str:
    code, out, err = told(*arguments)
    assert (code, out.strip()) == (2, "")
    assert err.startswith("capsule: ")
    assert len(err.strip().splitlines()) == 1
    assert "secret" not in err
    return err


def init(url: str, folder: Path, *more: str) -> tuple[str, ...]:
    return "db", "init", "--admin-url", url, "--data", str(folder), *more


def demo(url: str, folder: Path, *more: str) -> tuple[str, ...]:
    return "demo", "--database-url", url, "--data", str(folder), *more


def nowhere(server: Server) -> str:
    return f"postgresql://admin:secret@/postgres?host={server.folder / 'nowhere'}"


WRONG: list[tuple[Callable[[Server], str], str]] = [
    (lambda _: "", "the admin URL is empty"),
    (lambda _: "postgresql://", "the admin URL is empty"),
    (lambda _: "nonsense", "the admin URL cannot be read"),
    (lambda _: "postgresql://admin:sec%zzret@h/x", "the admin URL cannot be read"),
    (lambda _: "postgresql:///postgres", "the admin URL names no server"),
    (lambda _: "postgresql://localhost/postgres", "the admin URL names no role"),
    (lambda _: "postgresql://admin:secret@db.example/x", "leads to another machine without sslmode=verify-full"),
    (nowhere, "no server answers at the admin URL"),
    (lambda _: "postgresql://admin:secret@127.0.0.1:1/x", "no server answers at the admin URL"),
    (lambda server: server.url(user="unknown"), "is not let in by the server"),
    (lambda server: server.url("unknown"), "is not let in by the server"),
    (lambda server: server.url(user="powerless"), "may not make roles; give it CREATEROLE and CREATEDB"),
    (lambda server: server.url(user="recruiter"), "may not make databases; give it CREATEROLE and CREATEDB"),
]


@pytest.fixture(scope="module")
def server(postgres: Server) -> Iterator[Server]:
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("CREATE ROLE powerless LOGIN")
        admin.execute("CREATE ROLE recruiter LOGIN CREATEROLE")
    yield postgres
    with psycopg.connect(postgres.url(), autocommit=True) as admin:
        admin.execute("DROP ROLE powerless")
        admin.execute("DROP ROLE recruiter")


@pytest.mark.parametrize("command", [init, demo], ids=["init", "demo"])
@pytest.mark.parametrize(("url", "sentence"), WRONG, ids=[sentence.replace(" ", "-") for _, sentence in WRONG])
def test_what_cannot_be_is_refused_in_one_sentence_and_leaves_nothing_behind(
    command: Callable[..., tuple[str, ...]],
    url: Callable[[Server], str],
    sentence: str,
    server: Server,
    tmp_path: Path,
) -> None:
    before = on_server(server), in_folder(tmp_path)
    assert sentence in refusal(*command(url(server), tmp_path / "deployment"))
    assert (on_server(server), in_folder(tmp_path)) == before


def test_a_demo_without_a_folder_that_is_refused_leaves_none_behind(server: Server, beside: Path) -> None:
    refusal("demo", "--database-url", server.url(user="powerless"))
    assert list(beside.iterdir()) == []


@pytest.fixture
def taken(server: Server) -> Iterator[str]:
    """The name of a deployment of which one database is there already."""
    name, database = "capsule_demo_taken", database_of("contacts", "capsule_demo_taken")
    provision(server.url(), database, password="theirs")
    with psycopg.connect(server.url(database), autocommit=True) as owner:
        owner.execute("INSERT INTO data.tenants (tenant) VALUES ('theirs')")
    yield name
    with psycopg.connect(server.url(database)) as owner:
        assert owner.execute("SELECT tenant FROM data.tenants").fetchall() == [("theirs",)]
    remove(server.url(), database)


def test_a_name_in_use_is_refused_and_what_is_there_stays(taken: str, server: Server, tmp_path: Path) -> None:
    before = on_server(server), in_folder(tmp_path)
    err = refusal(*init(server.url(), tmp_path / "deployment", "--name", taken))
    assert f"{taken}_contacts is not ours" in err
    assert "choose another --name" in err
    assert (on_server(server), in_folder(tmp_path)) == before


def test_a_demo_whose_name_is_in_use_takes_nothing_away(
    taken: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: taken.rpartition("_")[2])
    before = on_server(server), in_folder(tmp_path)
    assert f"{taken}_contacts is not ours" in refusal(*demo(server.url(), tmp_path / "deployment"))
    assert (on_server(server), in_folder(tmp_path)) == before


def test_a_demo_that_cannot_go_on_takes_away_what_it_had_made(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def refuse(*_: object) -> None:
        made.append(on_server(server))
        raise StartRefused("the services cannot be started")

    monkeypatch.setattr(show, "running", refuse)
    before = on_server(server)
    assert "cannot be started" in refusal(*demo(server.url(), tmp_path / "deployment"))
    assert made != [before], "something had been made"
    assert on_server(server) == before


@pytest.mark.parametrize("name", ["", "Capsule", "1st", "a-b", 'x"; DROP ROLE admin; --', "x" * 31])
def test_a_name_that_is_none_is_refused_before_anybody_is_asked(name: str, server: Server, tmp_path: Path) -> None:
    assert "--name" in refusal(*init(nowhere(server), tmp_path / "deployment", "--name", name))
    assert not (tmp_path / "deployment").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no text", "a folder"])
def test_a_url_file_that_cannot_be_read_is_refused_before_anything_is_made(
    content: bytes | None, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "deployment" / "contacts" / DATABASE
    file.parent.mkdir(parents=True)
    file.write_bytes(content) if content is not None else file.mkdir()
    before = on_server(server), in_folder(tmp_path)
    assert str(file) in refusal(*init(server.url(), tmp_path / "deployment"))
    assert (on_server(server), in_folder(tmp_path)) == before


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "deployment").write_text("not a folder")
    before = on_server(server)
    assert "choose a folder you may write to" in refusal(*init(server.url(), tmp_path / "deployment"))
    assert on_server(server) == before


def test_a_server_is_prepared_once_and_again_without_a_change(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    try:
        assert told(*init(server.url(), folder, "--name", "twice"))[0] == 0
        files = {called: folder / place for called, place in places("twice").items()}
        passwords = set()
        for called, file in files.items():
            assert file.stat().st_mode & 0o777 == 0o600
            url = file.read_text().strip()
            passwords.add(conninfo_to_dict(url)["password"])
            assert conninfo_to_dict(url)["user"] == called
            if file.name == DATABASE:
                examine(url)
                for role in (Role.DATA, Role.LEDGER):
                    open_postgres(url, role).close()
        assert len(passwords) == len(files) == 2 * len(ORDER), "each has a password of its own"
        before = in_folder(folder)
        assert told(*init(server.url(), folder, "--name", "twice"))[0] == 0
        assert in_folder(folder) == before
        assert {path.name for path in folder.rglob("*") if path.is_file()} == {DATABASE, ENGINE}
        for file in files.values():
            if file.name == DATABASE:
                open_postgres(file.read_text().strip(), Role.DATA).close()
    finally:
        for called in places("twice"):
            remove(server.url(), called)
