"""Clients at a steady pace, and what they call: what the benchmarks of latency share."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_core.names import TenantId
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.certificates import CLIENT, Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.fairness import Rate
from capsule_services.runtime.log import made_log
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.server import Served, opened
from capsule_services.runtime.tokens import KeyRing, made_key, published, sign_token
from tests.benchmarks.beside import say
from tests.benchmarks.rig import CALLER, TENANT, fill, rigged

__all__ = ["calling", "paced", "percentile", "serve"]

_PACE: Final = 0.02
_LOUD: Final = TenantId("loud")


def paced(stub: Any, name: str, calls: int) -> list[float]:
    """Get a contact at a steady pace, and say how long each answer took."""
    taken, due = list[float](), time.perf_counter()
    for _ in range(calls):
        due += _PACE
        time.sleep(max(due - time.perf_counter(), 0))
        began = time.perf_counter()
        stub.GetContact(pb.GetContactRequest(name=name))
        taken.append(time.perf_counter() - began)
    return taken


def percentile(taken: list[float], share: float) -> float:
    """Return what that share of the answers did not take longer than."""
    return sorted(taken)[int(len(taken) * share)]


@contextlib.contextmanager
def calling(said: dict[str, Any], token: str) -> Iterator[contacts_pb2_grpc.ContactsServiceStub]:
    """Connect to the service that :func:`serve` serves, as the tenant of that token."""
    credential = Credential(**{name: Path(path) for name, path in said["credential"].items()})
    with open_channel(said["address"], service="contacts", credential=credential, token=token) as channel:
        yield contacts_pb2_grpc.ContactsServiceStub(channel)


def serve(folder: Path, *, rate: Rate | None = None, database: Path | None = None, one_log: bool = False) -> None:
    """Serve contacts until standard input ends; say where, a contact to get, and tokens of two tenants.

    With *one_log* reads are logged where changes are, as they are not otherwise.
    """
    key, log = made_key(), made_log(sys.stderr, service="contacts")
    credentials = prepared(folder / "tls", ["contacts"], now=wall_time())
    with rigged(folder / "contacts", database) as rig:
        kept = fill(rig, range(50))[0]
        if one_log:
            rig.holding.reads.ledger = rig.holding.ledger
        reporter = Reporter(rig.holding, lambda _: True, Path(os.devnull), threading.Event(), log)
        servicer = ContactsServicer(holding=rig.holding, paging=rig.opened.paging, reporter=reporter)
        with opened(
            Served(
                pb.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                servicer,
            ),
            domain="contacts.capsule",
            listen="127.0.0.1:0",
            credential=credentials["contacts"],
            authenticator=Authenticator(verify=KeyRing(lambda: published(key), wall_time).verify, peers=frozenset()),
            observe=lambda _: None,
            rate=rate,
        ) as server:
            server.ready()
            tokens = {
                name: sign_token(attrs.evolve(CALLER, tenant=tenant), key, now=wall_time(), lifetime=timedelta(hours=1))
                for name, tenant in (("quiet", TENANT), ("loud", _LOUD))
            }
            say(
                address=server.address,
                credential={name: str(path) for name, path in attrs.asdict(credentials[CLIENT]).items()},
                name=f"tenants/{TENANT}/contacts/{kept.id}",
                parent=f"tenants/{_LOUD}",
                **tokens,
            )
            sys.stdin.read()
