"""A service as a process: it says when it is ready; it ends with its parent, at a signal, and in one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import attrs
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.settings import environment
from tests.services.certified import Maker, put
from tests.services.chassis import refused, wall
from tests.services.forked import Forked

PROGRAM = """
import sys
from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_core.errors import NewerSchema, Unauthenticated
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.server import Served

def verify(token):
    raise Unauthenticated

def build(host):
    DEED
    return Service(
        served=(
            Served(
                contacts_pb2.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                contacts_pb2_grpc.ContactsServiceServicer(),
            ),
        ),
        authenticator=Authenticator(verify=verify, peers=frozenset()),
        close=lambda: (host.settings.data / "closed").touch(),
    )

sys.exit(run("contacts", build))
"""


class Process:
    """The program above as a child, with a pipe that tells it when its parent is gone."""

    def __init__(self, folder: Path, deed: str, **settings: str | int | Path) -> None:
        self.credentials = prepared(folder / "tls", ["contacts"], now=wall())
        self.data, self.addresses = folder / "data", folder / "addresses"
        told: dict[str, str | int | Path] = {"data": self.data, "addresses": self.addresses, "drain": 0, **settings}
        self.child = Forked.begin(PROGRAM.replace("DEED", deed), told=environment(self.credentials["contacts"], **told))

    @property
    def client(self) -> Credential:
        return self.credentials["client"]

    def ready(self) -> str:
        line = json.loads(self.child.stdout.readline())
        assert line.keys() == {"service", "address"}
        assert line["service"] == "contacts"
        return str(line["address"])

    def ended(self) -> tuple[int, str, str]:
        return self.child.rest()


@contextlib.contextmanager
def process(folder: Path, deed: str = "pass", **settings: str | int | Path) -> Iterator[Process]:
    started = Process(folder, deed, **settings)
    try:
        yield started
    finally:
        started.child.close()


def test_it_serves_when_it_says_so_and_ends_with_its_parent(tmp_path: Path) -> None:
    with process(tmp_path) as service:
        address = service.ready()
        assert (service.addresses / "contacts").read_text() == address
        with open_channel(address, service="contacts", credential=service.client) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        service.child.leave()
        code, _, err = service.ended()
    assert code == 0
    assert (service.data / "closed").exists()
    assert not (service.addresses / "contacts").exists()
    assert {json.loads(line)["event"] for line in err.splitlines()} == {"started", "call", "not_serving", "stopped"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path) as service:
        service.ready()
        service.child.send_signal(number)
        code, _, err = service.ended()
    assert code == 0
    assert (service.data / "closed").exists()
    assert "Traceback" not in err


def test_a_signal_that_does_not_wake_whoever_waits_is_seen_all_the_same(tmp_path: Path) -> None:
    """It reached another thread, or came in the moment before the wait began: the wait goes on as if it had not."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    deed = f"""
    import signal, threading
    def signalled():
        open({str(gate)!r}).read()
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=signalled, daemon=True).start()"""
    with process(tmp_path, deed=deed.strip()) as service:
        service.ready()
        gate.open("w").close()
        assert service.child.wait(30) == 0


def test_no_collection_of_garbage_looks_at_what_was_loaded_before_it_served(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    os.mkfifo(answer)
    deed = f"""
    import gc, threading
    def tell():
        with open({str(answer)!r}, "w") as told:
            told.write(str(gc.get_freeze_count()))
    threading.Thread(target=tell, daemon=True).start()"""
    with process(tmp_path, deed=deed.strip()) as service:
        service.ready()
        assert int(answer.read_text()) > 50_000


def sentence(service: Process, code: int) -> str:
    """What was said by a service that could not start; there is one sentence for people, and no traceback."""
    returned, out, err = service.ended()
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    assert (returned, out, len(lines)) == (code, "", 1), err
    assert lines[0].startswith("contacts: ")
    return lines[0]


def test_a_port_in_use_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with process(tmp_path, listen=address) as service:
            assert f"cannot listen at {address}" in sentence(service, 2)
    assert (service.data / "closed").exists()


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with process(tmp_path, data=tmp_path / "file" / "data") as service:
        assert str(tmp_path / "file") in sentence(service, 2)


def test_data_of_a_newer_version_is_told_in_a_sentence(tmp_path: Path) -> None:
    with process(tmp_path, deed="raise NewerSchema('the database')") as service:
        assert "upgrade before opening it" in sentence(service, 2)


def test_what_nobody_foresaw_is_told_without_its_words(tmp_path: Path) -> None:
    with process(tmp_path, deed="raise LookupError('anna.canary@example.com')") as service:
        said = sentence(service, 1)
    assert "canary" not in said
    assert "nobody foresaw" in said


def test_a_missing_setting_is_told_in_a_sentence(tmp_path: Path) -> None:
    with process(tmp_path, listen="nowhere") as service:
        assert "CAPSULE_LISTEN" in sentence(service, 2)


def test_a_thread_that_fails_shows_no_traceback(tmp_path: Path) -> None:
    deed = "import threading; thread = threading.Thread(target=int, args=('canary',)); thread.start(); thread.join()"
    with process(tmp_path, deed=deed) as service:
        service.ready()
        service.child.leave()
        code, _, err = service.ended()
    assert code == 0
    assert "canary" not in err
    assert "ValueError" in err


def test_a_caller_who_is_refused_is_not_in_the_log(tmp_path: Path) -> None:
    with process(tmp_path) as service:
        address = service.ready()
        with open_channel(address, service="contacts", credential=service.client, token="canary") as channel:
            stub = contacts_pb2_grpc.ContactsServiceStub(channel)
            refused(lambda: stub.GetContact(contacts_pb2.GetContactRequest(name="tenants/canary/contacts/canary")))
        service.child.leave()
        _, _, err = service.ended()
    assert "canary" not in err
    assert "127.0.0.1" not in err
    assert "UNAUTHENTICATED" in err


def lines_until(service: Process, event: str) -> list[dict[str, object]]:
    """Read the log up to the next line of that event."""
    lines = []
    for line in service.child.stderr:
        lines.append(json.loads(line))
        if lines[-1]["event"] == event:
            return lines
    raise AssertionError(f"the log ended without {event}")


def numbers(port: int, *names: str) -> list[float]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        told = dict(line.split(" ") for line in answer.read().decode().splitlines() if line.startswith(names))
    return [float(told[name]) for name in names]


def test_a_new_certificate_that_is_bad_is_told_once_until_a_good_one_comes(tmp_path: Path) -> None:
    told = ("capsule_certificates_refused_total", "capsule_certificate_held_back", "capsule_certificate_seconds")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with process(tmp_path, metrics=port) as service:
        address, credential = service.ready(), service.credentials["contacts"]
        good = credential.read()
        put(attrs.evolve(Maker().proof(days=-100), authority=good.authority), credential)
        assert lines_until(service, "certificate_refused")[-1]["flaw"] == "time"
        for _ in range(5):
            with open_channel(address, service="contacts", credential=service.client) as channel:
                assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status
        refused_, held_back, left = numbers(port, *told)
        assert (refused_, held_back, left > 0) == (1, 1, True)
        put(good, credential)
        assert "certificate_refused" not in [line["event"] for line in lines_until(service, "certificate_taken")]
        assert numbers(port, *told)[:2] == [1, 0]
