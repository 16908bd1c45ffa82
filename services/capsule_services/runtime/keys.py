"""Where a service gets the public keys that user tokens are checked with: from the identity service."""

from __future__ import annotations

from typing import Final

from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.faults import telling
from capsule_services.runtime.process import Host
from capsule_services.runtime.tokens import KeyRing

__all__ = ["SERVICES", "authenticator_of"]

SERVICES: Final = frozenset({"contacts", "identity", "privacy"})
"""The services of a deployment, by the names in their certificates."""


def authenticator_of(host: Host) -> Authenticator:
    """Make what tells who calls a service that does not issue tokens itself."""

    def fetch() -> bytes:
        with telling():
            stub = identity_pb2_grpc.IdentityServiceStub(host.peers.channel("identity"))
            return stub.GetSigningKeys(identity_pb2.GetSigningKeysRequest()).jwks

    return Authenticator(verify=KeyRing(fetch, wall_time).verify, peers=SERVICES)
