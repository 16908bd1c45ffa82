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
RULE = {"id": "leads", "effect": "trash", "since": "created", "period": "P2M", "kinds": ["person"]}
RULES = {"rules": [RULE]}


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


def refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"capsule: {said}")
    assert result.stderr.count("\n") == 1
    assert "Errno" not in result.stderr


def written(folder: Path, document: object) -> str:
    file = folder / "policy.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


def test_a_policy_is_tried_set_previewed_and_explained(here: tuple[Path, Desk, str], tmp_path: Path) -> None:
    _, _, contact = here
    assert "nothing goes" in asked(here, "preview").stdout
    assert "it stays: no rule lets it go" in asked(here, "explain", contact).stdout
    (change,) = told(asked(here, "simulate", written(tmp_path, RULES), "--json"))
    assert (change["kind"], change["records"], change["sooner"]) == ("person", "1", True)
    assert "sooner" in asked(here, "simulate", written(tmp_path, RULES)).stdout
    assert told(asked(here, "policy")) == {"zone": "UTC", "rules": []}
    said = asked(here, "set", written(tmp_path, RULES)).stdout
    assert "the policy is set; its rules: leads" in said
    assert "lets go stays until 2" in said
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
        ({"rules": [{**RULE, "period": "P0D"}]}, "rules[0].period must be longer"),
        ({"rules": [{**RULE, "period": 90}]}, "rules[0].period must be a period like P6Y"),
        ({"rules": [{**RULE, "effect": "delete"}]}, "rules[0].effect must be one of keep, ask, trash"),
        ({"rules": [{**RULE, "since": "monday"}]}, "rules[0].since must be one of created, updated"),
        ({"rules": [{**RULE, "kinds": "person"}]}, "rules[0].kinds must be a list"),
        ({"rules": [{**RULE, "kinds": ["hold"]}]}, "rules[0].kinds[0] must be one of entry, organisation"),
        ({"rules": [{**RULE, "colour": "red"}]}, "rules[0].colour is not known; it may have after, effect"),
        ({"rules": "all"}, "rules must be a list"),
        ({"rulez": [RULE], "rules": []}, "rulez is not known; it may have rules, zone"),
        ({"time_zone": "Europe/Berlin", "rules": []}, "time_zone is not known; it may have rules, zone"),
        ({"zone": "Europe/Berln", "rules": []}, "zone must be the name of a time zone"),
        ({}, "rules must be a list"),
        ([], "policy must be an object with rules, zone"),
    ],
)
def test_a_policy_that_is_none_is_refused_in_one_sentence(
    here: tuple[Path, Desk, str], tmp_path: Path, document: object, said: str
) -> None:
    file = written(tmp_path, document)
    refused(asked(here, "simulate", file), f"{file}: {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, " does not exist"),
        (b'{"rules": [], "rules": []}', ": rules is there twice; it may have rules, zone"),
        (b'{"rules": [],\n}', ": policy must be JSON (line 2)"),
        (b'{"zone": "\xff"}', " is no policy: it must be JSON in UTF-8"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "set"])
def test_a_file_that_holds_no_policy_is_refused_before_anybody_is_asked(
    tmp_path: Path, command: str, content: bytes | None, said: str
) -> None:
    file = tmp_path / "policy.json"
    if content is not None:
        file.write_bytes(content)
    words = ["retention", command, str(file), "--data", str(tmp_path), "--tenant", "t", "--as", ADMIN]
    refused(CliRunner().invoke(app, words), f"{file}{said}")
    folder = [*words[:2], str(tmp_path), *words[3:]]
    refused(CliRunner().invoke(app, folder), f"{tmp_path} cannot be read: is a directory")


def test_a_policy_is_set_as_its_file_says_and_printed_as_json(here: tuple[Path, Desk, str], tmp_path: Path) -> None:
    follows = {"id": "later", "effect": "destroy", "after": "proof", "period": "PT720H", "kinds": ["entry"]}
    proof = {"id": "proof", "effect": "keep", "since": "created", "period": "P6M", "locked": True, "kinds": ["entry"]}
    policy = {"zone": "Europe/Berlin", "rules": [*RULES["rules"], proof, follows]}
    said = told(asked(here, "set", written(tmp_path, policy), "--json"))
    assert said.pop("grace_end_time")
    assert said == told(asked(here, "policy")) == policy
    loose = {**policy, "rules": [RULE, {**proof, "period": "P1M"}, follows]}
    for command in ("simulate", "set"):
        refused(asked(here, command, written(tmp_path, loose)), "rules[1].period is locked")
        refused(asked(here, command, written(tmp_path, RULES)), "rules must still have the rule 'proof'")
    assert told(asked(here, "policy")) == policy
    (tmp_path / "bom.json").write_text(json.dumps(policy), encoding="utf-8-sig")
    assert "leads, proof, later" in asked(here, "set", str(tmp_path / "bom.json")).stdout


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
