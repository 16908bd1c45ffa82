"""The root key of a service that runs as a process of its own is replaced by another process, and nobody notices."""

from __future__ import annotations

import threading
from pathlib import Path

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_services.rootkeys import replace_root
from capsule_services.runtime.channels import open_channel
from tests.services.chassis import anna, token
from tests.services.office import fresh_id
from tests.services.wired import creating, process


def purge(stub: ContactsServiceStub, name: str) -> None:
    stub.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id()))
    stub.PurgeContact(pb.PurgeContactRequest(name=name, confirm=True, request_id=fresh_id()))


def test_a_running_service_goes_on_under_every_next_root_key_and_starts_under_the_last(tmp_path: Path) -> None:
    folder, roots = tmp_path / "data", list[bytes]()
    over, begun, failures, kept = threading.Event(), threading.Semaphore(0), list[BaseException](), list[str]()

    def use(stub: ContactsServiceStub) -> None:
        try:
            while not over.is_set():
                name, gone = stub.CreateContact(creating("Ada")).name, stub.CreateContact(creating("Bo")).name
                purge(stub, gone)  # each replaces a page key
                assert stub.GetContact(pb.GetContactRequest(name=name)).person.given_name == "Ada"
                kept.append(name)
                begun.release()
        except BaseException as failure:  # noqa: BLE001  it is for the test, not for the thread
            failures.append(failure)
            begun.release(100)

    with (
        process(tmp_path) as (_, credential, address),
        open_channel(address, service="contacts", credential=credential, token=token(anna())) as channel,
    ):
        user = threading.Thread(target=use, args=[ContactsServiceStub(channel)])
        user.start()
        try:
            for _ in range(3):
                assert begun.acquire(timeout=60)
                roots.append((folder / "root.key").read_bytes())
                assert replace_root(folder, {}) is not None
            assert begun.acquire(timeout=60)
        finally:
            over.set()
            user.join(60)
        assert failures == []
    assert len({*roots, (folder / "root.key").read_bytes()}) == 4
    with (
        process(tmp_path) as (_, credential, address),
        open_channel(address, service="contacts", credential=credential, token=token(anna())) as channel,
    ):
        stub = ContactsServiceStub(channel)
        for name in kept:
            assert stub.GetContact(pb.GetContactRequest(name=name)).person.given_name == "Ada"
