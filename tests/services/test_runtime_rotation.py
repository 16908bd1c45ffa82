"""Rotation on the wire: certificates and the authority change while everybody calls, and not one call fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import grpc
import pytest
from cryptography import x509

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_services.runtime.authority import Step
from capsule_services.runtime.certificates import prepared, take_step
from capsule_services.runtime.channels import Peers, open_channel, publish_address
from capsule_services.runtime.proofs import Proof, Proving
from capsule_services.runtime.renewal import Renewal
from tests.services.chassis import Deployment, deployed, token, wall
from tests.services.test_runtime_server import shown

SERVICES = ["contacts", "privacy"]
OWN = pb.GetContactRequest(name="tenants/acme/contacts/c1")
ENOUGH = 10


@attrs.frozen
class Held:
    """A proof that somebody read once and goes on with."""

    proof: list[Proof]

    def read(self) -> Proof:
        return self.proof[-1]


@attrs.define
class Load:
    """Calls that are made over and over, each kind by a thread of its own, and what became of them."""

    made: dict[str, int] = attrs.field(factory=dict)
    failed: list[grpc.RpcError] = attrs.field(factory=list)
    over: bool = False
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    def repeat(self, kind: str, call: Callable[[], object]) -> None:
        while not self.over:
            try:
                call()
            except grpc.RpcError as error:
                self.failed.append(error)
            with self.changed:
                self.made[kind] += 1
                self.changed.notify_all()

    def go_on(self) -> None:
        """Wait until each kind of call was made some times more."""
        with self.changed:
            until = {kind: number + ENOUGH for kind, number in self.made.items()}
            assert self.changed.wait_for(lambda: all(self.made[kind] >= until[kind] for kind in until), timeout=60)


@contextmanager
def under(calls: dict[str, Callable[[], object]]) -> Iterator[Load]:
    load = Load(dict.fromkeys(calls, 0))
    threads = [threading.Thread(target=load.repeat, args=item) for item in calls.items()]
    for thread in threads:
        thread.start()
    try:
        load.go_on()
        yield load
    finally:
        load.over = True
        for thread in threads:
            thread.join()


def asking(deployment: Deployment, credential: Proving) -> Callable[[], object]:
    """Connect anew for each call, as a client."""

    def ask() -> object:
        with open_channel(deployment.server.address, service="contacts", credential=credential, token=token()) as new:
            return contacts_pb2_grpc.ContactsServiceStub(new).GetContact(OWN)

    return ask


@contextmanager
def calling(deployment: Deployment, folder: Path, behind: Held) -> Iterator[Load]:
    """A client that stays connected, one that connects anew with what it has, and a service that reads its files."""
    publish_address(folder / "addresses", "contacts", deployment.server.address)
    deployment.contacts.deed = deployment.contacts.seen.clear  # a call that is remembered keeps its stream open
    renewal = Renewal(deployment.credentials["privacy"], "privacy", wall)
    peers = Peers(folder / "addresses", renewal)

    def about() -> object:
        return holder_pb2_grpc.HolderServiceStub(peers.channel("contacts")).About(holder_pb2.AboutRequest())

    def about_anew() -> object:
        with open_channel(deployment.server.address, service="contacts", credential=renewal) as new:
            return holder_pb2_grpc.HolderServiceStub(new).About(holder_pb2.AboutRequest())

    with deployment.stub() as stub:
        calls = {"steady": lambda: stub.GetContact(OWN), "anew": asking(deployment, behind)}
        with under({**calls, "service": about, "service anew": about_anew}) as load:
            yield load
    peers.close()


def signer(deployment: Deployment) -> x509.Name:
    return x509.load_der_x509_certificate(shown(deployment) or b"").issuer


def test_certificates_change_under_calls_and_none_fails(tmp_path: Path) -> None:
    with deployed(tmp_path, made=wall() - timedelta(days=70)) as deployment:
        behind = Held([deployment.credentials["client"].read()])
        with calling(deployment, tmp_path, behind) as load:
            before = shown(deployment)
            for _ in range(3):
                for name in SERVICES:
                    deployment.credentials[name].certificate.unlink()
                prepared(tmp_path / "tls", SERVICES, now=wall())
                load.go_on()
            assert shown(deployment) != before
        assert load.failed == []


def test_the_authority_changes_under_calls_and_none_fails(tmp_path: Path) -> None:
    with deployed(tmp_path) as deployment:
        behind = Held([deployment.credentials["client"].read()])
        with calling(deployment, tmp_path, behind) as load:
            before, signers = behind.read(), [signer(deployment)]
            for step in Step:
                take_step(tmp_path / "tls", step, now=wall())
                prepared(tmp_path / "tls", SERVICES, now=wall())
                load.go_on()  # while clients are one step behind
                behind.proof.append(deployment.credentials["client"].read())
                load.go_on()
                signers.append(signer(deployment))
        assert load.failed == []
        old, new = signers[0], signers[-1]
        assert signers == [old, old, new, new]
        with pytest.raises(grpc.RpcError):
            asking(deployment, Held([before]))()
