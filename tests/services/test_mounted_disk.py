"""A disk of its own under each thing a service keeps, full or read-only: said at once, nothing lost, and it goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.ledger import Leaf, audit
from capsule_core.receipts import verify
from capsule_services.runtime.faults import understood
from capsule_services.runtime.process import REFUSED
from capsule_sql.database import open_database
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from tests.services.office import fresh_id
from tests.services.wired import creating
from tests.services.worker import Ground, Worker, free_port

Status = health_pb2.HealthCheckResponse
EVERYTHING = health_pb2.HealthCheckRequest()
MIB = 1 << 20


@attrs.frozen
class Disk:
    """A small file system of its own, as long as the test."""

    folder: Path

    def fill(self) -> None:
        """Leave no room for a byte."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()

    def read_only(self, *, yes: bool) -> None:
        subprocess.run(["mount", "-o", f"remount,{'ro' if yes else 'rw'}", self.folder], check=True)


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a file system in memory; where that is not allowed the test is skipped."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "capsule-test", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system here")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


WHERE = ("", "reads.db", "keystore.db", "journal.db", "mirror")
"""What lies on the small disk: the whole folder of the service, one of its files, or the mirror of keys and journal."""


@pytest.fixture(params=WHERE, ids=lambda name: name or "all")
def disk(request: pytest.FixtureRequest, ground: Ground) -> Iterator[Disk]:
    name: str = request.param
    if name in {"", "mirror"}:
        with mounted(ground.data / name, 8 * MIB) as found:
            yield found
        return
    with mounted(ground.folder / "disk", 8 * MIB) as found:
        ground.data.mkdir(mode=0o700)
        (ground.data / name).symlink_to(found.folder / name)
        yield found


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def noting(name: str) -> pb.CreateEntryRequest:
    entry = pb.Entry(kind=pb.Entry.NOTE, body="A long walk. " * 1500)
    return pb.CreateEntryRequest(parent=name, entry=entry, request_id=fresh_id())


def entries(stub: ContactsServiceStub, name: str) -> set[str]:
    asked = pb.ListEntriesRequest(parent=name, page_size=1000)
    return {each.name for each in stub.ListEntries(asked).entries}


def tried(call: Any, request: Any) -> Any:
    """Return the answer; or None if it was refused as whoever repeats it later must be."""
    try:
        return call(request)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, (error.code(), understood(error))
        return None


def logged(worker: Worker) -> list[dict[str, Any]]:
    """Return what it has logged so far, or said."""
    return [worker._events.get() for _ in range(worker._events.qsize())]


def audited(ground: Ground) -> list[str]:
    """Name the acts in the log of changes; that log, and the log of reads, have no gap."""
    acts: list[str] = []
    for name, role in (("data.db", Role.DATA), ("reads.db", Role.LEDGER)):
        with closing(open_database(ground.data / name, role)) as database:
            ledger = SqlLedger(database)
            head = ledger.head()
            assert audit(ledger) == head
            acts += [Leaf.decode(data).act for data in ledger.read(0, head.size)] if role is Role.DATA else []
    return acts


@pytest.mark.law("L8")
def test_on_a_full_or_read_only_disk_nothing_acknowledged_is_lost_all_are_told_and_then_it_goes_on(
    ground: Ground, disk: Disk
) -> None:
    address = f"127.0.0.1:{free_port()}"
    with ground.worker(address) as worker, worker.stub() as stub:
        worker.ready()
        ann, kept = fill_up(ground, disk, worker, stub)
        told = [each for each in logged(worker) if each["event"] not in {"call", "started", "leading"}]
    assert [each for each in told if each["event"] in {"failed", "said"}] == [], "no INTERNAL, no trace"
    assert [each["event"] for each in told if each["event"].endswith("serving")] == ["not_serving", "serving"]
    disk.read_only(yes=True)
    with ground.worker(address) as worker:
        assert worker.child.wait(60) == REFUSED
        worker._hearing.join()
        (said,) = [each["sentence"] for each in logged(worker) if each["event"] == "said"]
        assert "cannot" in said
    disk.read_only(yes=False)
    with ground.worker(address) as worker, worker.stub() as stub:
        worker.ready()
        assert entries(stub, ann) == kept
        kept.add(stub.CreateEntry(noting(ann)).name)
    acts = audited(ground)
    assert (acts.count("contacts.CreateEntry"), acts.count("erasure.commit")) == (len(kept), 1)


def fill_up(ground: Ground, disk: Disk, worker: Worker, stub: ContactsServiceStub) -> tuple[str, set[str]]:
    """Write and purge while the disk is full, and again when it is not; return whom was written of, and what."""
    with worker.health() as health:
        watched = health.Watch(EVERYTHING)
        assert next(watched).status == Status.SERVING
        ann, bo = (stub.CreateContact(creating()).name for _ in range(2))
        stub.DeleteContact(pb.DeleteContactRequest(name=bo, request_id=fresh_id()))
        purge = pb.PurgeContactRequest(name=bo, confirm=True, request_id=fresh_id())
        kept = {stub.CreateEntry(noting(ann)).name}
        disk.fill()
        assert next(watched).status == Status.NOT_SERVING
        answers = [tried(stub.CreateEntry, noting(ann)) for _ in range(20)]
        kept |= {each.name for each in answers if each}
        purged = tried(stub.PurgeContact, purge)
        disk.make_room()
        assert next(watched).status == Status.SERVING
    receipt = stub.PurgeContact(purge).receipt
    assert purged is None or purged.receipt == receipt
    verify(receipt, (ground.data / "receipts.pub").read_text())
    kept.add(stub.CreateEntry(noting(ann)).name)
    assert entries(stub, ann) == kept
    return ann, kept
