"""Channels: the other services are where they say they are, also after they moved."""

from __future__ import annotations

import gc
import threading
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.errors import Unavailable
from capsule_services.runtime.authority import load_authorities
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import Peers, address_of, publish_address, withdraw_address
from capsule_services.runtime.renewal import Renewal
from tests.services.certified import BAD, Maker, put
from tests.services.chassis import Deployment, deployed, token, wall

OWN = "tenants/acme/contacts/c1"


def asked(peers: Peers) -> str:
    return holder_pb2_grpc.HolderServiceStub(peers.channel("contacts")).About(holder_pb2.AboutRequest()).holder


def publish(deployment: Deployment, folder: Path) -> None:
    publish_address(folder, "contacts", deployment.server.address)


def test_a_service_that_does_not_run_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        address_of(tmp_path, "contacts")
    publish_address(tmp_path, "contacts", "127.0.0.1:1")
    assert address_of(tmp_path, "contacts") == "127.0.0.1:1"
    withdraw_address(tmp_path, "contacts")
    withdraw_address(tmp_path, "contacts")
    with pytest.raises(Unavailable):
        address_of(tmp_path, "contacts")


def test_a_service_that_moved_is_found_again(tmp_path: Path) -> None:
    with deployed(tmp_path) as first, deployed(tmp_path) as second:
        peers = Peers(tmp_path / "addresses", first.credentials["privacy"])
        publish(first, peers.addresses)
        assert asked(peers) == "privacy"
        assert peers.channel("contacts") is peers.channel("contacts")
        first.server.stop()
        publish(second, peers.addresses)
        assert asked(peers) == "privacy"
        peers.close()


def test_a_renewed_certificate_is_used_without_being_told(tmp_path: Path) -> None:
    with deployed(tmp_path, made=wall() - timedelta(days=70)) as deployment:
        peers = Peers(tmp_path / "addresses", deployment.credentials["privacy"])
        publish(deployment, peers.addresses)
        before = peers.channel("contacts")
        assert asked(peers) == "privacy"
        prepared(tmp_path / "tls", ["contacts", "privacy"], now=wall())
        assert peers.channel("contacts") is not before
        assert asked(peers) == "privacy"
        peers.close()


@pytest.mark.parametrize("bad", [name for name in BAD if name != "no authority"])
def test_a_caller_whose_new_certificate_is_bad_goes_on_with_the_old_one_wherever_it_connects(
    tmp_path: Path, bad: str
) -> None:
    with deployed(tmp_path) as first, deployed(tmp_path) as second:
        credential = first.credentials["privacy"]
        peers = Peers(tmp_path / "addresses", Renewal(credential, "privacy", wall))
        publish(first, peers.addresses)
        assert asked(peers) == "privacy"
        before, maker = peers.channel("contacts"), Maker(load_authorities(tmp_path / "tls", wall()).signing, "privacy")
        put(attrs.evolve(BAD[bad][0](maker), authority=credential.read().authority), credential)
        assert peers.channel("contacts") is before
        assert asked(peers) == "privacy"
        publish(second, peers.addresses)
        assert peers.channel("contacts") is not before
        assert asked(peers) == "privacy"
        peers.close()


def test_a_call_under_way_survives_that_its_channel_is_replaced(tmp_path: Path) -> None:
    began, end = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        assert end.wait(30)

    with deployed(tmp_path, made=wall() - timedelta(days=70)) as deployment:
        deployment.contacts.deed = wait
        peers = Peers(tmp_path / "addresses", Renewal(deployment.credentials["privacy"], "privacy", wall))
        publish(deployment, peers.addresses)
        metadata = (("authorization", f"Bearer {token()}"),)
        stub = contacts_pb2_grpc.ContactsServiceStub(peers.channel("contacts"))
        under_way = stub.GetContact.future(contacts_pb2.GetContactRequest(name=OWN), metadata=metadata)
        del stub
        assert began.wait(30)
        prepared(tmp_path / "tls", ["contacts", "privacy"], now=wall())
        assert asked(peers) == "privacy"
        gc.collect()
        end.set()
        assert under_way.result(30).name == OWN
        peers.close()
