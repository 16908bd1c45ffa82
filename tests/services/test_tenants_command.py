"""``capsule tenants`` as whoever runs a deployment uses it: real services, a table to read and JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import Result
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_services.commands import app
from capsule_services.demo.company import Desk, sign_in, sign_up
from capsule_services.runtime.certificates import credential_of
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.deployment import Options, running
from tests.services.office import fresh_id

EMAIL = "anna@example.org"


@attrs.frozen
class Here:
    """A deployment with two accounts: one is in use, one closed, with a held and a restricted contact."""

    folder: Path
    closed: Desk
    open: Desk
    told: pb.Tenant

    @property
    def tenant(self) -> str:
        return self.closed.tenant.removeprefix("tenants/")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("deployment")
    with running(folder, Options(dev=True)) as deployment:
        desks = []
        for name in ("Acme", "Zeta"):
            tenant, _ = sign_up(deployment, name, "Anna", EMAIL)
            desks.append(sign_in(deployment, tenant, EMAIL))
        peers = Peers(folder / "addresses", credential_of(folder / "tls", "identity"))
        told = kept_and_closed(desks[0], peers)
        yield Here(folder, *desks, told)
        peers.close()


def kept_and_closed(desk: Desk, peers: Peers) -> pb.Tenant:
    """Keep two contacts, hold one and restrict the other, and give the account up."""
    names = []
    for given in ("Zo", "Ada"):
        contact = contacts_pb2.Contact(person=contacts_pb2.Person(given_name=given))
        request = contacts_pb2.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=fresh_id())
        names.append(desk.contacts.CreateContact(request).name)
    hold = contacts_pb2.Hold(target=names[0], ground=contacts_pb2.Hold.LEGAL_CLAIMS, authority="county court")
    desk.contacts.PlaceHold(contacts_pb2.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))
    holder = holder_pb2_grpc.HolderServiceStub(peers.channel("contacts"))
    order = holder_pb2.ApplyRequest(
        parent=desk.tenant,
        subjects=names[1:],
        order=holder_pb2.RESTRICT,
        reason=f"{desk.tenant}/reasons/r1",
        request_id=fresh_id(),
    )
    holder.Apply(order)
    closed: pb.Tenant = desk.identity.CloseTenant(pb.CloseTenantRequest(name=desk.tenant, confirm=True))
    for service in ("contacts", "privacy"):  # as identity does within a moment
        told = holder_pb2.CloseRequest(parent=desk.tenant, close_time=closed.close_time)
        holder_pb2_grpc.HolderServiceStub(peers.channel(service)).Close(told)
    return closed


def asked(here: Here, *words: str, data: Path | None = None) -> Result:
    return CliRunner().invoke(
        app, ["tenants", *words, "--data", str(data or here.folder)], env={"NO_COLOR": "1", "COLUMNS": "200"}
    )


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


def test_closings_are_listed_with_both_clocks_and_what_stands_in_the_way(here: Here) -> None:
    (line,) = told(asked(here, "list", "--json"))
    assert line["tenant"] == here.tenant
    times = (here.told.close_time, here.told.reopen_expire_time, here.told.account_expire_time)
    assert [line[key] for key in ("closed", "reopen_until", "account_until")] == [each.ToJsonString() for each in times]
    assert line["left_at"] == ["identity", "contacts", "privacy"]
    assert line["begun"] == {}
    assert line["obstacles"] == [
        {"service": "contacts", "kind": "hold", "until": "released", "on": "records", "records": 1},
        {"service": "contacts", "kind": "restriction", "until": "lifted", "on": "records", "records": 1},
    ]


def test_a_person_can_read_the_list(here: Here) -> None:
    said = asked(here, "list").stdout
    assert here.tenant in said
    assert here.open.tenant.removeprefix("tenants/") not in said
    assert "can be reopened" in said
    assert "contacts: hold on 1 record, until released" in said
    assert "contacts: restriction on 1 record, until lifted" in said
    assert f"{here.told.reopen_expire_time.ToDatetime():%Y-%m-%d %H:%M}" in said


def test_a_ground_is_put_on_record_gets_another_end_and_is_in_the_way(here: Here) -> None:
    user = here.closed.identity.ListUsers(pb.ListUsersRequest(parent=here.closed.tenant)).users[0].name
    first = asked(here, "retain", here.tenant, "disputes", "--until", "2130-01-31", "--json")
    assert told(first) == [{"ground": "disputes", "until": "2130-01-31T00:00:00Z", "user": None}]
    said = asked(
        here, "retain", here.closed.tenant, "fraud-and-abuse", "--until", "2131-01-31T12:00:00+01:00", "--user", user
    )
    assert "user u" in said.stdout
    asked(here, "retain", here.tenant, "DISPUTES", "--until", "2132-01-31")
    (line,) = told(asked(here, "list", "--json"))
    assert sorted(line["grounds"], key=lambda each: each["ground"]) == [
        {"ground": "disputes", "until": "2132-01-31T00:00:00Z", "user": None},
        {"ground": "fraud_and_abuse", "until": "2131-01-31T11:00:00Z", "user": user.rpartition("/")[2]},
    ]
    assert "ground disputes until 2132-01-31 00:00, all of the account's data" in asked(here, "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("retain", "{}", "spite", "--until", "2130-01-31"), "spite is no ground; one of: legal_obligation,"),
        (("retain", "{}", "disputes", "--until", "soon"), "--until must be a day like 2028-01-31"),
        (("retain", "{}", "disputes", "--until", "2001-01-31"), "--until must lie ahead"),
        (("retain", "no one", "disputes", "--until", "2130-01-31"), "TENANT must be 1 to 64 letters"),
        (("retain", "{}", "disputes", "--until", "2130-01-31", "--user", "u 1"), "--user must be 1 to 64 letters"),
        (("retain", "tunknown", "disputes", "--until", "2130-01-31"), "tunknown never was closed"),
    ],
)
def test_what_is_mistyped_gets_one_sentence(here: Here, words: tuple[str, ...], said: str) -> None:
    assert said in refused(asked(here, *(word.format(here.tenant) for word in words)))


def test_an_account_in_use_is_kept_on_no_ground_and_told_like_one_that_is_not_there(here: Here) -> None:
    name = here.open.tenant.removeprefix("tenants/")
    said = refused(asked(here, "retain", name, "disputes", "--until", "2130-01-31"))
    unknown = refused(asked(here, "retain", "tunknown", "disputes", "--until", "2130-01-31"))
    assert said.replace(name, "tunknown") == unknown


def test_where_there_is_no_deployment_or_it_does_not_run_it_says_so(here: Here, tmp_path: Path) -> None:
    assert "is not the folder of a deployment" in refused(asked(here, "list", data=tmp_path))
    (tmp_path / "tls").symlink_to(here.folder / "tls")
    said = refused(asked(here, "list", data=tmp_path))
    assert "identity does not answer; start it: capsule up" in said
    retain = ("retain", here.tenant, "disputes", "--until", "2130-01-31")
    assert "identity does not answer" in refused(asked(here, *retain, data=tmp_path))


def test_where_no_account_is_closed_it_says_so(tmp_path: Path) -> None:
    with running(tmp_path, Options(dev=True)):
        asking = ["tenants", "list", "--data", str(tmp_path)]
        assert CliRunner().invoke(app, asking).stdout == "no account is closed\n"
        assert json.loads(CliRunner().invoke(app, [*asking, "--json"]).stdout) == []
