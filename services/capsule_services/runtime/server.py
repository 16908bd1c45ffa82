"""The gRPC server of one service: mutual TLS, the interceptor before every method, health, limits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

import attrs
import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.fairness import Streams
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.interceptor import Outcome, PolicyInterceptor
from capsule_services.runtime.policy import DEVELOPMENT, HEALTH, rules

__all__ = ["Served", "Server", "opened"]

_THREADS: Final = 8
_WAITING: Final = 256
_GRACE: Final = 3.0
_LIMITS: Final = (
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),
    # Two processes that share a port would each get half of the calls.
    ("grpc.so_reuseport", 0),
)
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


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
    _names: tuple[str, ...]
    _health: health.HealthServicer
    _server: grpc.Server
    _ready: threading.Event

    def ready(self) -> None:
        """Serve from now on, and say so."""
        self._ready.set()
        for name in ("", *self._names):
            self._health.set(name, _SERVING)

    def stop(self) -> None:
        """Say NOT_SERVING, take no more calls, give those under way three seconds."""
        self._health.enter_graceful_shutdown()
        self._server.stop(_GRACE).wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def opened(
    *served: Served,
    domain: str,
    listen: str,
    credential: Credential,
    authenticator: Authenticator,
    observe: Callable[[Outcome], None],
    dev: bool = False,
) -> Server:
    """Open a server at *listen* (``HOST:PORT``, port 0 for any free one) with everything in *served*.

    Raises:
        StartRefused: the address is in use or not ours, the certificate cannot be read, or a method declares no policy.
    """
    table = rules([each.descriptor for each in served], *HEALTH, *(DEVELOPMENT if dev else ()))
    ready = threading.Event()
    guard = PolicyInterceptor(
        rules=table,
        authenticator=authenticator,
        domain=domain,
        observe=observe,
        ready=ready,
        streams=Streams(_THREADS // 2),
    )
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=domain),
        interceptors=[guard],
        options=_LIMITS,
        maximum_concurrent_rpcs=_WAITING,
    )
    for each in served:
        each.add(each.servicer, server)
    names = tuple(each.descriptor.full_name for each in served)
    answers = _health(names)
    health_pb2_grpc.add_HealthServicer_to_server(answers, server)
    if dev:
        reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    port = _bound(server, listen, credential)
    server.start()
    return Server(f"{listen.rpartition(':')[0]}:{port}", names, answers, server, ready)


def _health(names: tuple[str, ...]) -> health.HealthServicer:
    answers = health.HealthServicer()
    for name in ("", *names):
        answers.set(name, _NOT_SERVING)
    return answers


def _bound(server: grpc.Server, listen: str, credential: Credential) -> int:
    secured = grpc.dynamic_ssl_server_credentials(*_rotating(credential), require_client_authentication=True)
    host, _, port = listen.rpartition(":")
    try:
        # Asked beforehand, because gRPC writes its own words about it to standard error.
        _probe(host.strip("[]"), int(port))
        return server.add_secure_port(listen, secured)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "refused"
        raise StartRefused(f"cannot listen at {listen}: {why}; choose another address") from None


def _probe(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()


def _rotating(credential: Credential) -> tuple[Any, Callable[[], Any]]:
    """Return the certificate to begin with, and what gives the new one once the files have changed."""
    lock, seen = threading.Lock(), credential.stamp() if credential.certificate.exists() else ()

    def configured() -> Any:
        certificate, key, authority = credential.read()
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)

    def fetch() -> Any:
        nonlocal seen
        with lock:
            try:
                stamp = credential.stamp()
                if stamp == seen:
                    return None
                fresh = configured()
            except (OSError, StartRefused, ValueError):
                return None  # half replaced; the old one goes on until the next handshake
            seen = stamp
            return fresh

    return configured(), fetch
