"""Channels: the other services are where they say they are, also after they moved."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.errors import Unavailable
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import Peers, address_of, publish_address, withdraw_address
from tests.services.chassis import Deployment, deployed, wall


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
