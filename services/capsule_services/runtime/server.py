"""The gRPC server of one service: mutual TLS, the interceptor before every method, health, limits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import attrs
import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from capsule_services.runtime.admission import Admission
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.fairness import Allowance, Rate, Streams
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.health import Ailment, Answering, Health
from capsule_services.runtime.interceptor import Outcome, PolicyInterceptor
from capsule_services.runtime.policy import DEVELOPMENT, HEALTH, rules
from capsule_services.runtime.proofs import Proof, Proving
from capsule_services.runtime.workers import Workers

__all__ = ["Served", "Server", "opened"]

_THREADS: Final = 8
_WAITING: Final = 1024
_GRACE: Final = 3.0
_LIMITS: Final = (
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    # Beyond the first limit gRPC refuses some calls at random, beyond this one all.
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),
)
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


@attrs.frozen
class Served:
    """A service of the contract and who answers it; *add* is the generated ``add_...Servicer_to_server``."""

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.Server], None]
    servicer: object


@attrs.define
class Server:
    """A listening server; until it is told to be ready it says NOT_SERVING and answers UNAVAILABLE."""

    address: str
    _health: Health
    _server: grpc.Server
    _ready: threading.Event
    _workers: Workers

    def ready(self) -> None:
        """Serve from now on, and say so unless something else ails the service."""
        self._ready.set()
        self._health.mended(Ailment.STARTING)

    @property
    def busy(self) -> tuple[int, int]:
        """How many calls are under way, and how many streams."""
        return self._workers.busy

    def leave(self, hurry: threading.Event, drain: float) -> None:
        """Say NOT_SERVING, and go on answering for so many seconds: whoever sends calls here is to hear of it first.

        From *hurry* on nothing is waited for any more, not even calls under way.
        """
        self._health.ails(Ailment.STOPPING)
        hurry.wait(drain)

        def cut() -> None:
            hurry.wait()
            self._server.stop(0)

        threading.Thread(target=cut, name="hurry", daemon=True).start()

    def stop(self) -> None:
        """Say NOT_SERVING, take no more calls, give those under way three seconds."""
        self._health.ails(Ailment.STOPPING)
        self._ready.clear()
        self._health.end()
        self._server.stop(_GRACE).wait()
        self._workers.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def opened(
    *served: Served,
    domain: str,
    listen: str,
    credential: Proving,
    authenticator: Authenticator,
    observe: Callable[[Outcome], None],
    dev: bool = False,
    rate: Rate | None = None,
    outer: Sequence[grpc.ServerInterceptor] = (),
    health: Health | None = None,
    shared: bool = False,
) -> Server:
    """Open a server at *listen* (``HOST:PORT``, port 0 for any free one) with everything in *served*.

    A tenant may call at that *rate*; None is as often as it can. The interceptors *outer* see every call first. The
    server says that it serves while *health* is well, and refuses every call while it is not fit. Others may listen at
    the same address if it is *shared*; each then gets its part of the connections.

    Raises:
        StartRefused: the address is in use or not ours, the certificate cannot be read, or a method declares no policy.
    """
    table = rules([each.descriptor for each in served], *HEALTH, *(DEVELOPMENT if dev else ()))
    ready, workers, health = threading.Event(), Workers(domain, _THREADS), health or Health()
    guard = PolicyInterceptor(
        rules=table,
        authenticator=authenticator,
        domain=domain,
        observe=observe,
        ready=ready,
        fit=lambda: health.fit,
        admission=Admission(
            workers=workers, streams=Streams(_THREADS // 2), allowance=None if rate is None else Allowance(rate)
        ),
    )
    options = (*_LIMITS, ("grpc.so_reuseport", int(shared)))
    # gRPC only submits to it and shuts it down, whatever its types say.
    pool: Any = workers
    server = grpc.server(pool, interceptors=[*outer, guard], options=options, maximum_concurrent_rpcs=_WAITING)
    for each in served:
        each.add(each.servicer, server)
    names = tuple(each.descriptor.full_name for each in served)
    health_pb2_grpc.add_HealthServicer_to_server(Answering(frozenset(("", *names)), health), server)
    if dev:
        reflection.enable_server_reflection((*names, _HEALTH, reflection.SERVICE_NAME), server)
    port = _bound(server, listen, credential, shared=shared)
    server.start()
    return Server(f"{listen.rpartition(':')[0]}:{port}", health, server, ready, workers)


def _bound(server: grpc.Server, listen: str, credential: Proving, *, shared: bool) -> int:
    secured = grpc.dynamic_ssl_server_credentials(*_rotating(credential), require_client_authentication=True)
    host, _, port = listen.rpartition(":")
    try:
        if not shared:  # asked beforehand, because gRPC writes its own words about it to standard error
            _probe(host.strip("[]"), int(port))
        return server.add_secure_port(listen, secured)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "refused"
        raise StartRefused(f"cannot listen at {listen}: {why}; choose another address") from None


def _probe(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()


def _rotating(credential: Proving) -> tuple[Any, Callable[[], Any]]:
    """Return the certificate to begin with, and what gives the new one before a handshake if there is one."""
    lock, shown = threading.Lock(), credential.read()

    def fetch() -> Any:
        nonlocal shown
        with lock:
            try:
                proof = credential.read()
            except StartRefused:
                return None
            if proof == shown:
                return None
            shown = proof
            return _configured(proof)

    return _configured(shown), fetch


def _configured(proof: Proof) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(proof.key, proof.certificate)], root_certificates=proof.authority
    )
