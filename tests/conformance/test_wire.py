"""A holder at the other end of a real connection keeps the same contract as one in this process.

What differs is the capability it lacks: across the wire, who acts and what time it is are the other side's to say.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import settings

from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.checkpoints import Signer
from capsule_core.errors import IdentifierSuppressed
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import ActorRef
from capsule_core.statements import Outcome
from capsule_core.story import REQUEST, Erasure
from capsule_core.testing.conformance.clauses import Capabilities, raised
from capsule_core.testing.conformance.holder import run_holder_conformance
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.holders.client import RemoteHolder
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.server import Served, opened
from tests.conformance.worlds import Held, held


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """Serve a holder with mutual TLS on the loopback, and reach it as the privacy service does."""
    ledger, journal, signer = MemoryLedger(), MemoryJournal(), Signer.from_seed("contacts", bytes(32))
    there = held(MemoryStore(ledger, journal), MemoryKeystore(), journal, ledger, signer=signer)
    credentials = prepared(tmp_path_factory.mktemp("tls"), ["contacts", "privacy"], now=datetime.now(UTC))
    with ReadLog(MemoryLedger()) as reads:
        holding = Holding(
            service="contacts",
            repository=there.repository,
            eraser=there.eraser,
            holder=there.holder,
            ledger=ledger,
            reads=reads,
            clock=there.time,
            random=secrets.token_bytes,
        )
        served = Served(
            holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
            holder_pb2_grpc.add_HolderServiceServicer_to_server,
            HolderServicer(holding, signer, Paging(bytes(32))),
        )
        with opened(
            served,
            domain="contacts.capsule",
            listen="127.0.0.1:0",
            credential=credentials["contacts"],
            authenticator=Authenticator(verify=_nobody, peers=frozenset({"privacy"})),
            observe=lambda _: None,
        ) as server:
            server.ready()
            channel = open_channel(server.address, service="contacts", credential=credentials["privacy"])
            with channel:
                yield attrs.evolve(there, holder=RemoteHolder("contacts", lambda: channel))


def _nobody(_: str) -> None:
    raise AssertionError("no user calls a holder")


def test_a_remote_holder_keeps_its_contract(remote: Held) -> None:
    usual = settings()
    fewer = settings(usual, max_examples=max(10, usual.max_examples // 3))
    untried = run_holder_conformance(lambda: held_again(remote), capabilities=Capabilities(given=False), settings=fewer)
    assert untried == ("H7: not given",)


def held_again(remote: Held) -> Held:
    """The same server and two tenants that nobody used before."""
    return Held(remote.repository, remote.holder, lambda: None, remote.eraser, remote.time)


def test_a_remote_holder_says_who_it_is(remote: Held) -> None:
    about = remote.holder.about()
    assert (about.name, set(about.kinds)) == ("contacts", {"person", "entry", "closing"})


@pytest.mark.parametrize("suppresses", [True, False])
def test_a_remote_holder_is_told_whether_the_person_may_come_back(remote: Held, suppresses: bool) -> None:
    here = held_again(remote)
    tenant = here.tenants[0]
    erasure = Erasure(
        tenant=tenant,
        id=f"e{tenant}",
        subjects=(here.meet(tenant, "jane@example.org"),),
        ground=REQUEST,
        by=ActorRef("service", "privacy"),
        requested=here.now(),
        suppresses=suppresses,
    )
    assert here.holder.erase(erasure, now=here.now()).outcome is Outcome.ERASED
    told = raised(lambda: here.meet(tenant, "JANE+again@example.org"), IdentifierSuppressed)
    assert (told is not None) == suppresses
