"""`capsule backup`, with real services: what was acknowledged after the backup stands, and nobody is served before."""

from __future__ import annotations

import json
import os
import select
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.epochs import OPENED
from capsule_core.ledger import Leaf
from capsule_services.commands import app
from capsule_services.demo.company import PASSWORD, Desk, invite, request_id, sign_in, sign_up, throw_away
from capsule_services.demo.forensics import search
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.faults import understood
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.settings import environment
from capsule_sql.database import open_database
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role

CAPSULE = [sys.executable, "-c", "import sys; from capsule_services.cli import main; sys.exit(main())"]
ERASED, KEPT = "Xanthippe Quillfeather", "Balthasar Norrington"


def capsule(*words: object) -> tuple[int, Any, str]:
    """Run a command, and return its code, what it says in JSON, and its complaint."""
    done = CliRunner().invoke(app, list(map(str, words)))
    told = json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done.exit_code, told, done.stderr


@attrs.frozen(kw_only=True)
class Life:
    """A deployment that was backed up while it ran, and lived on."""

    folder: Path
    place: Path
    backup: str
    tenant: str
    erased: str
    kept: str
    token: str

    def copied(self, to: Path) -> Life:
        shutil.copytree(self.folder, to / "deployment")
        shutil.copytree(self.place, to / "backups")
        return attrs.evolve(self, folder=to / "deployment", place=to / "backups")

    def restore(self, *more: object) -> tuple[int, Any, str]:
        return capsule("backup", "restore", f"{self.place}/{self.backup}", "--data", self.folder, "--json", *more)


def create(desk: Desk, given: str, family: str) -> str:
    contact = pb.Contact(person=pb.Person(given_name=given, family_name=family))
    request = pb.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=request_id())
    return desk.contacts.CreateContact(request).name


def users(desk: Desk) -> dict[str, Any]:
    return {
        user.email: user for user in desk.identity.ListUsers(identity_pb2.ListUsersRequest(parent=desk.tenant)).users
    }


def signed_in(deployment: Deployment, tenant: str, email: str) -> str:
    """Return a token; after a restore people are found by their addresses a moment later."""
    address = deployment.addresses["identity"]
    request = identity_pb2.SignInRequest(tenant=tenant, email=email, password=PASSWORD)
    with open_channel(address, service="identity", credential=deployment.credential) as channel:
        return patiently(lambda: identity_pb2_grpc.IdentityServiceStub(channel).SignIn(request).token)


def patiently(ask: Callable[[], Any]) -> Any:
    """Ask until what records are found by has been made again, and nobody else works on the same request."""
    for _ in range(600):
        try:
            return ask()
        except grpc.RpcError as error:
            if understood(error).reason not in {"INDEX_MISSING", "REQUEST_IN_FLIGHT"}:
                raise
            select.select([], [], [], 0.05)
    raise AssertionError("it is still busy")


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("life")
    data, place = folder / "deployment", folder / "backups"
    with running(data, Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", "anna@example.org")
        anna = sign_in(deployment, tenant, "anna@example.org")
        for who, role in (("bob", identity_pb2.ADMINISTRATOR), ("eve", identity_pb2.STANDARD)):
            invite(deployment, anna, who.title(), f"{who}@example.org", role)
        erased, kept = create(anna, *ERASED.split()), create(anna, *KEPT.split())
        code, told, err = capsule("backup", "create", "--data", data, "--to", place, "--json")
        assert (code, told["services"]) == (0, "contacts, identity, privacy"), err
        throw_away(anna, erased)
        anna.contacts.PurgeContact(pb.PurgeContactRequest(name=erased, confirm=True, request_id=request_id()))
        bob, eve = (users(anna)[f"{who}@example.org"].name for who in ("bob", "eve"))
        anna.identity.ChangeRole(
            identity_pb2.ChangeRoleRequest(name=bob, role=identity_pb2.RESTRICTED, request_id=request_id())
        )
        anna.identity.RemoveUser(identity_pb2.RemoveUserRequest(name=eve, request_id=request_id()))
        create(anna, "Created", "After")
        token = signed_in(deployment, tenant, "anna@example.org")
    return Life(
        folder=data,
        place=place,
        backup=told["backup"],
        tenant=tenant,
        erased=erased,
        kept=kept,
        token=token,
    )


@pytest.fixture
def mine(life: Life, tmp_path: Path) -> Life:
    return life.copied(tmp_path)


def assert_stands(life: Life, deployment: Deployment) -> None:
    """What was acknowledged after the backup stands; what was only written is as old as the backup."""
    signed_in(deployment, life.tenant, "anna@example.org")
    anna = sign_in(deployment, life.tenant, "anna@example.org")
    with pytest.raises(grpc.RpcError) as refusal:
        anna.contacts.GetContact(pb.GetContactRequest(name=life.erased))
    assert understood(refusal.value).reason in {"NOT_FOUND", "SUBJECT_ERASED"}
    wanted = pb.SearchContactsRequest(parent=life.tenant, name_prefix=KEPT.partition(" ")[0])
    assert [each.name for each in patiently(lambda: anna.contacts.SearchContacts(wanted)).contacts] == [life.kept]
    listed = anna.contacts.ListContacts(pb.ListContactsRequest(parent=life.tenant)).contacts
    assert [each.name for each in listed] == [life.kept]
    assert users(anna)["bob@example.org"].role == identity_pb2.RESTRICTED
    assert "eve@example.org" not in users(anna)
    with pytest.raises(grpc.RpcError) as refusal:
        signed_in(deployment, life.tenant, "eve@example.org")
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert_token_is_void(life, deployment)


def assert_token_is_void(life: Life, deployment: Deployment) -> None:
    with open_channel(
        deployment.addresses["contacts"], service="contacts", credential=deployment.credential, token=life.token
    ) as channel:
        old = contacts_pb2_grpc.ContactsServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            old.GetContact(pb.GetContactRequest(name=life.kept))
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def leaves(folder: Path, file: str = "contacts/data.db") -> list[Leaf]:
    role = Role.DATA if file.endswith("data.db") else Role.LEDGER
    with closing(open_database(folder / file, role)) as database:
        ledger = SqlLedger(database)
        return [Leaf.decode(data) for data in ledger.read(0, ledger.head().size)]


@pytest.mark.law("L7", "L6")
def test_what_was_acknowledged_after_the_backup_stands_after_its_restore(mine: Life) -> None:
    code, told, err = mine.restore("--replace")
    assert (code, told["backup"]) == (0, mine.backup), err
    assert (Path(told["moved_aside"]) / "contacts" / "data.db").exists()
    with running(mine.folder, Options(dev=True)) as deployment:
        assert_stands(mine, deployment)
    assert search(mine.folder / "contacts", ERASED.split()) == []
    for log in ("contacts/data.db", "contacts/reads.db", "identity/data.db"):
        assert [leaf.act for leaf in leaves(mine.folder, log)].count(OPENED) == 1, log
    code, found, _ = capsule("doctor", "--data", mine.folder, "--json")
    assert [each for each in found if each["grade"] == "mend"] == []
    with alone(mine.folder) as contacts:
        contacts.ready()
    assert [leaf.act for leaf in leaves(mine.folder)].count(OPENED) == 1


class Alone:
    """One service as a process of its own, to be killed."""

    def __init__(self, folder: Path, service: str = "contacts") -> None:
        self.credentials = prepared(folder / "tls", ORDER, now=wall_time())
        self.folder, self.service = folder, service
        told = environment(
            self.credentials[service],
            data=folder / service,
            addresses=folder / "addresses",
            dev=True,
            clock=folder / "clock",
            drain=0,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"capsule_services.{service}"],
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def log(self) -> Iterator[dict[str, Any]]:
        assert self.process.stderr is not None
        return (json.loads(line) for line in self.process.stderr if line.startswith("{"))

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["service"] == self.service

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        address = (self.folder / "addresses" / self.service).read_text().strip()
        with open_channel(address, service=self.service, credential=self.credentials["client"]) as channel:
            yield channel


@contextmanager
def alone(folder: Path) -> Iterator[Alone]:
    started = Alone(folder)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()


@pytest.mark.law("L7")
def test_nobody_is_served_before_the_journal_was_replayed(mine: Life) -> None:
    assert mine.restore("--replace")[0] == 0
    with closing(sqlite3.connect(mine.folder / "contacts" / "reads.db", isolation_level=None)) as holding:
        holding.execute("BEGIN IMMEDIATE")  # so that it has to wait before it replays
        with alone(mine.folder) as contacts:
            assert next(contacts.log())["event"] == "restored"
            with contacts.channel() as channel:
                said = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                assert said.status == health_pb2.HealthCheckResponse.NOT_SERVING
                with pytest.raises(grpc.RpcError) as refusal:
                    contacts_pb2_grpc.ContactsServiceStub(channel).GetContact(pb.GetContactRequest(name=mine.kept))
                assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            holding.execute("ROLLBACK")
            contacts.ready()
            with contacts.channel() as channel:
                said = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                assert said.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.law("L7")
@pytest.mark.parametrize("event", ["restored", "replayed"])
def test_a_replay_that_is_killed_is_led_to_its_end_by_the_next_start(mine: Life, event: str) -> None:
    assert mine.restore("--replace")[0] == 0
    with alone(mine.folder) as contacts:
        assert any(line["event"] == event for line in contacts.log())
        contacts.kill()
    with alone(mine.folder) as contacts:
        contacts.ready()
    with closing(open_database(mine.folder / "contacts" / "data.db", Role.DATA)) as data:
        rows = data.rows(
            "SELECT key, marks, (SELECT count(*) FROM records r WHERE r.subject_no = s.no) FROM subjects s", ()
        )
    marks = {key: (carried, records) for key, carried, records in rows}
    assert marks[mine.erased.rpartition("/")[2]] == (16 | 32, 0)
    assert marks[mine.kept.rpartition("/")[2]] == (0, 1)
    assert [leaf.act for leaf in leaves(mine.folder)].count(OPENED) == 1
    assert not (mine.folder / "contacts" / "restored.json").exists()


def test_data_that_was_put_back_by_hand_is_told_too(mine: Life) -> None:
    assert mine.restore("--replace")[0] == 0
    for service in ORDER:
        (mine.folder / service / "restored.json").unlink()
    with running(mine.folder, Options(dev=True)) as deployment:
        assert_stands(mine, deployment)
    assert [leaf.act for leaf in leaves(mine.folder)].count(OPENED) == 1


def test_where_there_is_data_a_restore_wants_to_be_told_and_moves_it_aside(mine: Life) -> None:
    before = contents(mine.folder)
    code, _, err = mine.restore()
    assert code == 2
    assert "--replace" in err
    assert contents(mine.folder) == before
    code, told, _ = mine.restore("--replace")
    assert code == 0
    aside = Path(told["moved_aside"])
    assert {path.relative_to(aside).as_posix() for path in aside.rglob("*.db")} == {
        f"{service}/{file}" for service in ORDER for file in ("data.db", "reads.db")
    }


def contents(folder: Path) -> dict[str, bytes]:
    lasting = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in lasting if path.name != "lock"}


@pytest.mark.parametrize("lost", ["missing", "older", "foreign"])
def test_without_its_journal_a_backup_is_refused_and_nothing_changed(mine: Life, lost: str) -> None:
    for name in ("journal.db", "mirror/journal.db"):
        _spoil(mine.folder / "contacts" / name, lost)
    before = contents(mine.folder)
    code, _, err = mine.restore("--replace")
    assert code == 2
    assert {"missing": "is missing", "older": "is older", "foreign": "another deployment"}[lost] in err
    assert mine.restore("--replace", "--without-journal", "something")[0] == 2
    assert contents(mine.folder) == before


def test_whoever_means_it_restores_without_the_journal_and_the_log_says_so(mine: Life) -> None:
    for name in ("journal.db", "mirror/journal.db"):
        _spoil(mine.folder / "contacts" / name, "missing")
    assert mine.restore("--replace", "--without-journal", "deployment")[0] == 0
    with running(mine.folder, Options(dev=True)) as deployment:
        signed_in(deployment, mine.tenant, "anna@example.org")
        anna = sign_in(deployment, mine.tenant, "anna@example.org")
        assert users(anna)["bob@example.org"].role == identity_pb2.RESTRICTED  # identity has its journal
        with pytest.raises(grpc.RpcError) as refusal:
            anna.contacts.GetContact(pb.GetContactRequest(name=mine.kept))  # whose key lay beside that of the erased
        assert understood(refusal.value).reason == "SEAL_BROKEN"
    assert "restore.unreplayed" in [leaf.act for leaf in leaves(mine.folder)]
    assert "restore.unreplayed" not in [leaf.act for leaf in leaves(mine.folder, "identity/data.db")]


def _spoil(journal: Path, how: str) -> None:
    if how == "missing":
        journal.unlink()
        return
    with closing(sqlite3.connect(journal)) as connection:
        if how == "older":
            connection.execute("DELETE FROM entries WHERE no > 1")
        else:
            connection.execute('UPDATE entries SET line = CAST(\'{"founded":"another"}\' AS BLOB) WHERE no = 1')
        connection.commit()


def test_a_running_deployment_is_backed_up_and_never_restored(mine: Life) -> None:
    with running(mine.folder, Options(dev=True)):
        code, told, err = capsule("backup", "create", "--data", mine.folder, "--to", mine.place, "--json")
        assert code == 0, err
        assert told["written"] < told["size"]
        code, _, err = mine.restore("--replace")
        assert (code, "is running" in err) == (2, True)
    code, listed, _ = capsule("backup", "list", mine.place, "--key", mine.folder / "backup.key", "--json")
    assert [each["backup"] for each in listed] == [mine.backup, told["backup"]]


def test_an_interrupted_restore_starts_nothing_until_it_is_done_again(mine: Life) -> None:
    assert mine.restore("--replace")[0] == 0
    marker = mine.folder / "identity" / "restored.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "placing": True}))
    (mine.folder / "identity" / "data.db").unlink()
    done = subprocess.run(
        [*CAPSULE, "up", "--data", str(mine.folder), "--dev"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "interrupted" in done.stderr
    assert not (mine.folder / "identity" / "data.db").exists()
    assert mine.restore("--replace")[0] == 0
    assert json.loads(marker.read_text())["placing"] is False
    assert (mine.folder / "identity" / "data.db").exists()


def test_data_that_is_gone_is_not_begun_anew_beside_its_journal(mine: Life) -> None:
    (mine.folder / "contacts" / "data.db").unlink()
    done = subprocess.run(
        [*CAPSULE, "up", "--data", str(mine.folder), "--dev"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "restore a backup" in done.stderr
