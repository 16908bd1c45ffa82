"""``capsule up --workers``: several processes a service on PostgreSQL, started anew when one of them ends."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import attrs
import pytest

from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_api.identity.v1 import identity_pb2
from capsule_api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from capsule_services.databases import clear, prepare
from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.faults import StartRefused
from tests.postgres import Server
from tests.services.premises import PASSWORD, sign_up_request
from tests.services.test_deployment import assert_one_sentence, descendant, ended, gone, up
from tests.services.test_runtime_metrics import asked
from tests.services.wired import contacts, creating
from tests.services.worker import free_port

PROCESSES = ["identity-1", "identity-2", "contacts-1", "contacts-2", "privacy"]


@attrs.frozen
class Up:
    """A running ``capsule up --workers 2`` and what it said."""

    process: subprocess.Popen[str]
    said: dict[str, Any]
    folder: Path

    @contextmanager
    def channel(self, service: str, token: str = "") -> Iterator[Any]:
        files = {"certificate": self.said["certificate"], "key": self.said["key"], "authority": self.said["ca"]}
        credential = Credential(**{name: Path(path) for name, path in files.items()})
        with open_channel(self.said["addresses"][service], service=service, credential=credential, token=token) as it:
            yield it

    def is_ready(self, process: str) -> bool:
        try:
            return asked(self.said["metrics"][process].replace("/metrics", "/readyz"))[0] == 200
        except URLError:
            return False

    def calls(self, process: str) -> int:
        """Count the calls that one process has logged."""
        return (self.folder / "logs" / f"{process}.log").read_text().count('"event": "call"')

    def child(self, process: str) -> int:
        return descendant(self.process.pid, process)


@pytest.fixture
def deployment(postgres: Server, tmp_path: Path) -> Iterator[Up]:
    prepare(tmp_path, postgres.url(), "capsule_up")
    process = up(tmp_path, "--workers", "2", "--metrics-port", str(free_port()))
    try:
        assert process.stdout is not None
        yield Up(process, json.loads(process.stdout.readline()), tmp_path)
    finally:
        process.terminate()
        process.communicate(timeout=30)
        clear(postgres.url(), "capsule_up")


def test_every_process_works_and_one_that_is_killed_is_started_anew_while_the_others_serve(deployment: Up) -> None:
    assert list(deployment.said["metrics"]) == PROCESSES
    assert all(map(deployment.is_ready, PROCESSES))
    with ExitStack() as stack:
        anyone = IdentityServiceStub(stack.enter_context(deployment.channel("identity")))
        tenant = anyone.SignUp(sign_up_request()).tenant.name
        asking = identity_pb2.SignInRequest(tenant=tenant, email="anna@example.org", password=PASSWORD)
        token = anyone.SignIn(asking).token
        for _ in range(16):
            with deployment.channel("identity") as channel:
                IdentityServiceStub(channel).ListDocuments(identity_pb2.ListDocumentsRequest())
        stubs = [ContactsServiceStub(stack.enter_context(deployment.channel("contacts", token))) for _ in range(16)]
        kept = {stub.CreateContact(creating(parent=tenant)).name for stub in stubs}
        assert all(set(contacts(stub, tenant)) == kept for stub in stubs)
        assert all(deployment.calls(name) for name in PROCESSES[:4])
        os.kill(deployment.child("contacts-2"), signal.SIGKILL)
        kept |= {stub.CreateContact(creating(parent=tenant)).name for stub in stubs}
        assert deployment.process.stderr is not None
        assert "contacts-2 ended by itself and is started anew" in deployment.process.stderr.readline()
        for _ in range(600):
            if deployment.is_ready("contacts-2"):
                break
            select.select([], [], [], 0.1)
        with deployment.channel("contacts", token) as channel:
            assert set(contacts(ContactsServiceStub(channel), tenant)) == kept
        assert deployment.is_ready("contacts-2")
    deployment.process.send_signal(signal.SIGTERM)
    assert ended(deployment.process)[0] == 0
    gone(list(deployment.said["addresses"].values()))


def test_several_processes_on_files_are_refused_and_it_is_said_how_they_can_be_had(tmp_path: Path) -> None:
    code, out, err = ended(up(tmp_path / "d", "--workers", "2"))
    assert (code, out) == (2, "")
    assert_one_sentence(err)
    assert "capsule db init" in err
    assert not (tmp_path / "d" / "contacts").exists()


def test_a_port_for_many_that_somebody_else_has_is_refused(tmp_path: Path) -> None:
    for name in ("identity", "contacts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "database.url").write_text("postgresql:///nowhere")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = Options(workers=2, ports={"contacts": taken.getsockname()[1]})
        with pytest.raises(StartRefused, match="choose another address"), running(tmp_path, options):
            pass
