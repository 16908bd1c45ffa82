"""``capsule retention`` as an administrator uses it: real services, real TLS, tables to read and JSON beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.commands import app
from capsule_services.demo.company import PASSWORD, Desk, sign_in, sign_up
from capsule_services.runtime.deployment import Options, running
from tests.services.office import fresh_id

ADMIN = "anna@example.org"
RULES = {"rules": [{"id": "leads", "effect": "trash", "since": "created", "period": "P2M", "kinds": ["person"]}]}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Desk, str]]:
    """A deployment in which somebody keeps one contact and no policy."""
    folder = tmp_path_factory.mktemp("deployment")
    with running(folder, Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", ADMIN)
        desk = sign_in(deployment, tenant, ADMIN)
        contact = pb.Contact(person=pb.Person(given_name="Zoë"))
        request = pb.CreateContactRequest(parent=tenant, contact=contact, request_id=fresh_id())
        yield folder, desk, desk.contacts.CreateContact(request).name


def asked(here: tuple[Path, Desk, str], *words: str, password: str = PASSWORD) -> Result:
    folder, desk, _ = here
    tenant = desk.tenant.removeprefix("tenants/")
    asking = ["retention", *words, "--data", str(folder), "--tenant", tenant, "--as", ADMIN]
    return CliRunner().invoke(app, asking, env={"CAPSULE_PASSWORD": password, "NO_COLOR": "1", "COLUMNS": "200"})


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def written(folder: Path, document: object) -> str:
    file = folder / "policy.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


def test_a_policy_is_tried_set_previewed_and_explained(here: tuple[Path, Desk, str], tmp_path: Path) -> None:
    _, desk, contact = here
    assert "nothing goes" in asked(here, "preview").stdout
    assert "it stays: no rule lets it go" in asked(here, "explain", contact).stdout
    (change,) = told(asked(here, "simulate", written(tmp_path, RULES), "--json"))
    assert (change["kind"], change["records"], change["sooner"]) == ("person", "1", True)
    assert "sooner" in asked(here, "simulate", written(tmp_path, RULES)).stdout
    rule = pb.RetentionRule(id="leads", effect="TRASH", since="CREATED", period="P2M", kinds=["person"])
    policy = pb.RetentionPolicy(name=f"{desk.tenant}/retentionPolicy", rules=[rule])
    desk.contacts.SetRetentionPolicy(pb.SetRetentionPolicyRequest(policy=policy, request_id=fresh_id()))
    assert told(asked(here, "policy")) == {"zone": "UTC", **RULES}
    assert "to the trash" in asked(here, "preview").stdout
    assert told(asked(here, "preview", "--json"))[0]["because"] == ["leads"]
    said = asked(here, "explain", contact.rpartition("/")[2]).stdout
    assert "it stays until" in said
    assert "leads" in said
    assert told(asked(here, "explain", contact, "--json"))["effect"] == "KEEP"


def test_what_a_hold_keeps_is_said_to_wait_for_it(here: tuple[Path, Desk, str], tmp_path: Path) -> None:
    _, desk, contact = here
    policy = written(tmp_path, {"rules": [{**RULES["rules"][0], "effect": "destroy", "period": "P1M"}]})
    hold = pb.Hold(target=desk.tenant, ground=pb.Hold.LEGAL_CLAIMS, authority="the court")
    placed = desk.contacts.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))
    assert [each["waits_for"] for each in told(asked(here, "simulate", policy, "--json"))] == [["held"]]
    assert "waits for hold" in asked(here, "simulate", policy).stdout
    assert [each["waits_for"] for each in told(asked(here, "preview", "--json"))] == [["held"]]
    assert "waits for hold" in asked(here, "preview").stdout
    assert "waits for hold; without, it stays until" in asked(here, "explain", contact).stdout
    assert told(asked(here, "explain", contact, "--json"))["otherwise"]["because"] == ["leads"]
    desk.contacts.ReleaseHold(pb.ReleaseHoldRequest(name=placed.name, request_id=fresh_id()))
    assert "waits" not in asked(here, "preview").stdout


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"rules": [{"id": "r", "effect": "trash", "since": "created", "period": "P0D"}]}, "policy.rules[0].period"),
        ({"rules": [{"id": "r", "effect": "burn", "since": "created", "period": "P1D"}]}, "policy.rules[0]"),
        ({"rules": [{"id": "r", "colour": "red"}]}, "colour"),
        ({"rules": "all"}, "rules"),
        ([], "holds no policy"),
    ],
)
def test_a_policy_that_is_none_is_refused_in_one_sentence(
    here: tuple[Path, Desk, str], tmp_path: Path, document: object, said: str
) -> None:
    result = asked(here, "simulate", written(tmp_path, document))
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["explain", "c0000"], ["explain", "tenants/other/contacts/c1"]])
def test_whoever_is_not_there_is_not_explained(here: tuple[Path, Desk, str], words: list[str]) -> None:
    result = asked(here, *words)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_wrong_password_and_a_folder_that_is_none_are_told(here: tuple[Path, Desk, str], tmp_path: Path) -> None:
    assert asked(here, "preview", password="wrong horse battery").exit_code == 2
    away = (tmp_path, *here[1:])
    result = asked(away, "preview")
    assert result.exit_code == 2
    assert "say --data DIR" in result.stderr
