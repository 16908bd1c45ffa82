"""Numbers for operators: how many calls, how long, what waits. No label names a tenant or anybody else.

A label can only have values that were known before the first call: methods of the policy, codes of gRPC. Whatever else
there is to tell is a number without a label.
"""

from __future__ import annotations

import platform
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import attrs
import grpc
from cryptography import x509
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from capsule_core.errors import RateExceeded, StreamsExceeded
from capsule_services.release import release
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.proofs import Proving

__all__ = [
    "CODES",
    "GAUGES",
    "OTHER",
    "Metrics",
    "Reading",
    "State",
    "certificate_life",
    "made_metrics",
    "readings_of",
    "serve_metrics",
]

OTHER: Final = "other"
"""The label of a method that the policy does not know."""

CODES: Final = frozenset(grpc.StatusCode.__members__)
"""Each value that the label ``code`` can have."""

GAUGES: Final[Mapping[str, str]] = {
    "capsule_calls_in_flight": "Calls begun and not answered yet.",
    "capsule_streams_in_flight": "Streams begun and not ended yet.",
    "capsule_change_leaves": "Leaves in the log of changes.",
    "capsule_read_leaves": "Leaves in the log of reads.",
    "capsule_reads_waiting": "Reads that wait until the log of reads has them.",
    "capsule_tenants_due": "Tenants with trash whose time is over.",
    "capsule_erasures_unfinished": "Erasures begun and not finished.",
    "capsule_outbox_entries": "Entries committed and not yet in the journal.",
    "capsule_journal_behind": "Positions by which the place of the journal is behind; 0 without one.",
    "capsule_sweeps_under_way": "Ranges of tenants that are being swept.",
    "capsule_clock_ahead_seconds": "Seconds the clock is ahead of what has passed, which sweeps do not believe.",
    "capsule_clock_asks": "1 while sweeps wait for somebody to confirm the clock, which has jumped, else 0.",
    "capsule_certificate_seconds": "Seconds until the certificate of this service ends.",
    "capsule_certificate_held_back": "1 while a new certificate is not used because it is bad, else 0.",
    "capsule_keys_seconds": "Seconds since identity confirmed the keys that tokens are checked with.",
    "capsule_signing_keys_held_back": "1 while the file of the signing keys is not used because it is damaged, else 0.",
}
"""Each number that is read when somebody asks, and what it says; none has a label."""

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_RATES: Final = {RateExceeded.reason, StreamsExceeded.reason}

Reading = Callable[[], float]
"""Reads one number, cheaply; it may raise, and is then left out."""

State = Callable[[], bool]
"""Says whether all is well, at once."""


@attrs.define(eq=False)
class _Gauges(Collector):
    readings: dict[str, Reading] = attrs.field(factory=dict)

    def collect(self) -> Iterator[Metric]:
        for name, read in list(self.readings.items()):
            try:
                value = float(read())
            except Exception:  # noqa: BLE001, S112  what cannot be read now is absent, and the rest is told
                continue
            yield GaugeMetricFamily(name, GAUGES[name], value)

    def describe(self) -> Iterator[Metric]:
        return iter([GaugeMetricFamily(name, told) for name, told in GAUGES.items()])


@attrs.frozen(kw_only=True)
class Metrics:
    """The numbers of one process, in a registry of their own."""

    registry: CollectorRegistry
    methods: frozenset[str]
    calls: Counter
    seconds: Histogram
    rate_refusals: Counter
    certificates_refused: Counter
    _gauges: _Gauges = attrs.field(factory=_Gauges, repr=False, alias="gauges")

    def observe(self, outcome: Outcome) -> None:
        """Count a call that ended."""
        method = outcome.method if outcome.method in self.methods else OTHER
        self.calls.labels(method, outcome.code if outcome.code in CODES else "UNKNOWN").inc()
        self.seconds.labels(method).observe(outcome.seconds)
        if outcome.reason in _RATES:
            self.rate_refusals.inc()

    def watch(self, readings: Mapping[str, Reading]) -> None:
        """Read these gauges whenever somebody asks; KeyError for one that :data:`GAUGES` does not have."""
        for name, read in readings.items():
            GAUGES[name]
            self._gauges.readings[name] = read


def made_metrics(methods: Iterable[str]) -> Metrics:
    """Make the numbers of a process that answers *methods*, and has not answered anything yet."""
    registry = CollectorRegistry()
    gauges = _Gauges()
    registry.register(gauges)
    build = {"capsule": release(), "grpc": grpc.__version__}
    build |= {"python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION.split()[1]}
    Info("capsule_build", "What this process is made of.", registry=registry).info(build)
    return Metrics(
        registry=registry,
        methods=frozenset(methods),
        calls=Counter("capsule_calls", "Calls answered.", ["method", "code"], registry=registry),
        seconds=Histogram("capsule_call_seconds", "Time per call.", ["method"], registry=registry, buckets=_BUCKETS),
        rate_refusals=Counter("capsule_rate_refusals", "Calls refused for being too many.", registry=registry),
        certificates_refused=Counter(
            "capsule_certificates_refused", "New certificates that were not taken.", registry=registry
        ),
        gauges=gauges,
    )


def readings_of(holding: Holding, *, unshipped: Reading) -> Mapping[str, Reading]:
    """Return what can be read of a service's own files; *unshipped* counts what the journal does not have yet."""
    store = holding.repository.store
    return {
        "capsule_change_leaves": lambda: holding.ledger.head().size,
        "capsule_read_leaves": lambda: holding.reads.ledger.head().size,
        "capsule_reads_waiting": lambda: holding.reads.waiting,
        "capsule_tenants_due": lambda: len(store.due(holding.now())),
        "capsule_erasures_unfinished": lambda: len({(tenant, reason.id) for tenant, reason in store.unfinished()}),
        "capsule_outbox_entries": unshipped,
    }


def certificate_life(credential: Proving, wall: Callable[[], datetime]) -> float:
    """Return in how many seconds the certificate that is shown ends; below zero if it has."""
    certificate = x509.load_pem_x509_certificate(credential.read().certificate)
    return (certificate.not_valid_after_utc - wall()).total_seconds()


def _always() -> bool:
    return True


def serve_metrics(metrics: Metrics, port: int, *, live: State = _always, ready: State = _always) -> Callable[[], None]:
    """Serve *metrics* at a *port* of the loopback, in the format of Prometheus; return what ends it.

    ``/livez`` and ``/readyz`` answer 200 while *live* and *ready* hold, and 503 while they do not.

    Raises:
        StartRefused: the port is in use.
    """
    states = {"/livez": live, "/readyz": ready}
    try:
        server = _Server(("127.0.0.1", port), partial(_Answer, metrics.registry, states))
    except OSError as error:
        raise StartRefused(f"cannot serve metrics at port {port}: {error.strerror}; choose another port") from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever asked has gone, and a traceback has their address."""


class _Answer(BaseHTTPRequestHandler):
    timeout = 10

    def __init__(self, registry: CollectorRegistry, states: Mapping[str, State], *more: Any) -> None:
        self._registry = registry
        self._states = states
        super().__init__(*more)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._say(200, CONTENT_TYPE_LATEST, generate_latest(self._registry))
        elif path in self._states:
            well = _holds(self._states[path])
            self._say(200 if well else 503, "text/plain", b"ok\n" if well else b"no\n")
        else:
            self._say(404, "text/plain", b"there are /metrics, /livez and /readyz\n")

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Log nothing: it would be who asked, and for what."""


def _holds(state: State) -> bool:
    try:
        return state()
    except Exception:  # noqa: BLE001  what cannot be told is not well
        return False
