"""The contacts service and a bare echo in one process, for :mod:`tests.benchmarks.serving`.

It says when it listens, and whenever it is asked how much processor time it has used so far.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_core.names import RecordId
from capsule_core.uses import Use
from capsule_services.contacts.book.convert import contact_to
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime import server
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.certificates import CLIENT, Credential, prepared
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.log import made_log
from capsule_services.runtime.metrics import made_metrics
from capsule_services.runtime.policy import HEALTH, rules
from capsule_services.runtime.process import _observing
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.tokens import KeyRing, made_key, published, sign_token
from tests.benchmarks.beside import say
from tests.benchmarks.rig import CALLER, TENANT, Rig, fill, rigged

__all__ = ["ECHO", "serve"]

ECHO: Final = "/bench.Echo/GetContact"
SERVICE: Final = pb.DESCRIPTOR.services_by_name["ContactsService"]


def serve(folder: Path, contacts: int) -> None:
    with ExitStack() as stack:
        rig = stack.enter_context(rigged(folder / "contacts"))
        people = fill(rig, range(contacts))
        credentials = prepared(folder / "tls", ["contacts"], now=wall_time())
        key = made_key()
        listening = stack.enter_context(
            _service(rig, credentials["contacts"], KeyRing(lambda: published(key), wall_time))
        )
        kept = rig.holding.repository.get(TENANT, RecordId(people[0].id), use=Use.DISPLAY)
        echo = _echo(credentials["contacts"], contact_to(kept))
        say(
            service=listening.address,
            echo=f"127.0.0.1:{echo[1]}",
            credential={name: str(path) for name, path in attrs.asdict(credentials[CLIENT]).items()},
            token=sign_token(CALLER, key, now=wall_time(), lifetime=timedelta(hours=1)),
            names=[f"tenants/{TENANT}/contacts/{each.id}" for each in people],
        )
        for _ in sys.stdin:
            say(cpu=time.process_time())
        echo[0].stop(0).wait()


def _service(rig: Rig, credential: Credential, ring: KeyRing) -> Any:
    log = made_log(Path(os.devnull).open("w"), service="contacts")  # noqa: SIM115  for as long as the process
    reporter = Reporter(rig.holding, lambda _: True, Path(os.devnull), threading.Event(), log)
    listening = server.opened(
        server.Served(
            SERVICE,
            contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
            ContactsServicer(holding=rig.holding, paging=rig.opened.paging, reporter=reporter),
        ),
        domain="contacts.capsule",
        listen="127.0.0.1:0",
        credential=credential,
        authenticator=Authenticator(verify=ring.verify, peers=frozenset({"contacts"})),
        observe=_observing(made_metrics(rules([SERVICE], *HEALTH)), log),
    )
    listening.ready()
    return listening


def _echo(credential: Credential, contact: pb.Contact) -> tuple[grpc.Server, int]:
    """Answer the same message on the same kind of server, and do nothing else."""
    proof = credential.read()
    secured = grpc.ssl_server_credentials([(proof.key, proof.certificate)], proof.authority, require_client_auth=True)
    handler = grpc.unary_unary_rpc_method_handler(
        lambda *_: contact,
        request_deserializer=pb.GetContactRequest.FromString,
        response_serializer=pb.Contact.SerializeToString,
    )
    service, _, method = ECHO.lstrip("/").partition("/")
    echo = grpc.server(
        ThreadPoolExecutor(server._THREADS),
        handlers=[grpc.method_handlers_generic_handler(service, {method: handler})],
        options=server._LIMITS,
    )
    port = echo.add_secure_port("127.0.0.1:0", secured)
    echo.start()
    return echo, port
