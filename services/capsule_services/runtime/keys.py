"""Where a service gets the public keys that user tokens are checked with: from the identity service, all the time.

It asks more than twice a second. A key that is withdrawn is published no more, so no service believes it a second
later; while identity does not answer, keys are believed for half a minute (:data:`BELIEVED`), and then nobody is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_services.runtime.callers import Authenticator, UserCaller, any_tenant
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.faults import telling
from capsule_services.runtime.metrics import Reading
from capsule_services.runtime.process import Host
from capsule_services.runtime.tokens import KeyRing

__all__ = ["EVERY", "SERVICES", "authenticator_of", "fetched_from", "kids_published", "readings_of_keys", "ring_of"]

SERVICES: Final = frozenset({"contacts", "identity", "privacy"})
"""The services of a deployment, by the names in their certificates."""

EVERY: Final = 0.4
"""Seconds between two questions."""

_PATIENCE: Final = 1.0


def ring_of(host: Host) -> KeyRing:
    """Make the key ring of a service that does not issue tokens itself, and keep it up to date until the end."""
    ring = KeyRing(fetched_from(host.peers), wall_time)
    threading.Thread(target=_follow, args=(ring, host.stopped, host.log), name="keys", daemon=True).start()
    return ring


def authenticator_of(ring: KeyRing, bounded: Callable[[UserCaller], UserCaller] = any_tenant) -> Authenticator:
    """Make what tells who calls a service that does not issue tokens itself; *bounded* as ``Authenticator`` has it."""
    return Authenticator(verify=ring.verify, peers=SERVICES, standing=ring.standing, bounded=bounded)


def readings_of_keys(ring: KeyRing) -> Mapping[str, Reading]:
    """Return what can be read of a key ring."""
    return {"capsule_keys_seconds": ring.age}


def fetched_from(peers: Peers) -> Callable[[], bytes]:
    """Return what asks the identity service for its keys."""

    def fetch() -> bytes:
        with telling():
            stub = identity_pb2_grpc.IdentityServiceStub(peers.channel("identity"))
            return stub.GetSigningKeys(identity_pb2.GetSigningKeysRequest(), timeout=_PATIENCE).jwks

    return fetch


def kids_published(peers: Peers) -> frozenset[str]:
    """Ask the identity service which keys it publishes, by their names.

    Raises:
        Unavailable: it does not run, or does not answer.
    """
    return frozenset(str(key["kid"]) for key in json.loads(fetched_from(peers)())["keys"])


def _follow(ring: KeyRing, stopped: threading.Event, log: FilteringBoundLogger) -> None:
    was_confirmed = True
    while not stopped.wait(EVERY):
        _refresh(ring)
        is_confirmed = ring.age() < ring.believed.total_seconds()
        if is_confirmed is not was_confirmed:
            was_confirmed = is_confirmed
            (log.info if is_confirmed else log.error)("keys_confirmed" if is_confirmed else "keys_unconfirmed")


def _refresh(ring: KeyRing) -> None:
    with suppress(Exception):  # whatever it was, it is asked again at once, and the age of the keys tells
        ring.refresh()
