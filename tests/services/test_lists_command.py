"""``capsule lists`` as an administrator uses it: save, review, export, trash and undo, with tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.commands import app
from capsule_services.demo.company import PASSWORD, Desk, sign_in, sign_up
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.clock import advance, wall_time
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.layout import ORDER
from capsule_services.speech import folded, named
from tests.services.office import fresh_id

ADMIN = "anna@example.org"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Desk, list[str]]]:
    """A deployment in which somebody keeps three contacts, and ten days have passed."""
    folder = tmp_path_factory.mktemp("deployment")
    with running(folder, Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", ADMIN)
        desk = sign_in(deployment, tenant, ADMIN)
        names = []
        for given in ("Zoë", "Bo", "Cy"):
            contact = pb.Contact(person=pb.Person(given_name=given))
            request = pb.CreateContactRequest(parent=tenant, contact=contact, request_id=fresh_id())
            names.append(desk.contacts.CreateContact(request).name)
        advance(folder / "clock", timedelta(days=10))
        yield folder, desk, names


def asked(here: tuple[Path, Desk, list[str]], *words: str, password: str = PASSWORD) -> Result:
    folder, desk, _ = here
    tenant = desk.tenant.removeprefix("tenants/")
    asking = ["lists", *words, "--data", str(folder), "--tenant", tenant, "--as", ADMIN]
    return CliRunner().invoke(app, asking, env={"CAPSULE_PASSWORD": password, "NO_COLOR": "1", "COLUMNS": "200"})


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_list_is_saved_reviewed_exported_trashed_and_undone(
    here: tuple[Path, Desk, list[str]], tmp_path: Path
) -> None:
    _, desk, names = here
    assert "no list is saved" in said(asked(here, "show"))
    since = (wall_time() + timedelta(days=5)).date().isoformat()
    kept = told(asked(here, "save", "Leads", "--not-updated-since", since, "--not-contacted-since", since, "--json"))
    assert (kept["state"], kept["contacts"], kept["display_name"]) == ("READY", 3, "Leads")
    name = kept["name"].rpartition("/")[2]
    shown = said(asked(here, "show"))
    assert "Leads" in shown
    assert f"contacted {since}" in shown
    change = pb.UpdateContactRequest(contact=pb.Contact(name=names[1], about="x"), request_id=fresh_id())
    change.update_mask.paths.append("about")
    desk.contacts.UpdateContact(change)
    table = said(asked(here, "review", name))
    assert "Zoë" in table
    assert "updated since" in table
    assert [each["contact"]["name"] for each in told(asked(here, "review", name, "--json"))] == names[::-1]
    file = tmp_path / "leads.csv"
    assert "written to" in said(asked(here, "export", name, str(file)))
    assert "Zoë" in file.read_text("utf-8-sig")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "is there already" in asked(here, "export", name, str(file)).stderr
    done = told(asked(here, "trash", name, "--json"))
    assert (done["contacts"], done["counts"]) == (2, [{"obstacle": "UPDATED", "contacts": 1}])
    assert done["skipped"] == [{"contact": names[1], "obstacle": "UPDATED"}]
    assert "2 records are back" in said(asked(here, "undo", done["batch"]))
    answer = said(asked(here, "trash", name))
    assert names[1].rpartition("/")[2] in answer
    assert "left out: 1 updated since" in answer
    assert "2 contacts are in the trash; take them back: capsule lists undo b" in answer
    assert "is in the trash until" in said(asked(here, "delete", name))


def test_an_id_is_whole_in_a_narrow_terminal_and_what_is_beside_it_is_folded() -> None:
    told, long = StringIO(), "Wolfeschlegelsteinhausenbergerdorff"
    table = Table(named("contact", ["c06h2hk0evtq8h9gce6m5n6p7q"]), *folded("name", "changed on", "stays, because"))
    table.add_row("c06h2hk0evtq8h9gce6m5n6p7q", long, "2026-11-29", "in the trash already")
    Console(file=told, width=60).print(table)
    assert "c06h2hk0evtq8h9gce6m5n6p7q" in told.getvalue()
    assert "…" not in told.getvalue()


def test_a_wrong_password_is_said_to_be_one(here: tuple[Path, Desk, list[str]]) -> None:
    result = asked(here, "show", password="wrong")
    assert (result.exit_code, result.stderr) == (
        2,
        "capsule: the tenant, the e-mail address or the password is wrong\n",
    )


def test_of_services_that_do_not_run_it_is_said_how_they_are_started(
    here: tuple[Path, Desk, list[str]], tmp_path: Path
) -> None:
    prepared(tmp_path / "tls", ORDER, now=wall_time())
    result = asked((tmp_path, *here[1:]), "show")
    assert (result.exit_code, result.stderr) == (
        2,
        f"capsule: identity does not answer; start it: capsule up --data {tmp_path}\n",
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["save", "Leads"], "say since when"),
        (["save", "Leads", "--not-opened-since", "soon"], "--not-opened-since must be a day"),
        (["save", " ", "--not-opened-since", "2020-01-01"], "NAME must not be empty"),
        (["save", "Leads", "--not-opened-since", "2199-01-01"], "must not be in the future"),
        (["review", "l0000"], "no such contactList"),
        (["review", "Leads nobody called"], "must be the id of a list"),
        (["trash", "l0000"], "no such contactList"),
        (["delete", "tenants/other/contactLists/l1"], "denied"),
        (["undo", "b1"], "batch"),
        (["export", "l0000", "{}/x.csv"], "no such contactList"),
        (["export", "l0000", "{}/x.csv", "--format", "xlsx"], "--format be one of"),
        (["export", "l0000", "{}/x.xlsx"], "FILE must end in .json, .csv, .vcf"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    here: tuple[Path, Desk, list[str]], tmp_path: Path, words: list[str], sentence: str
) -> None:
    result = asked(here, *(word.format(tmp_path) for word in words))
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
