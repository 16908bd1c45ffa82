"""Numbers for operators: how many calls, how long, by method and code. No label names a tenant or anybody else."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.interceptor import Outcome

__all__ = ["Metrics", "made_metrics", "serve_metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


@attrs.frozen(kw_only=True)
class Metrics:
    """The numbers of one process, in a registry of their own."""

    registry: CollectorRegistry
    calls: Counter
    seconds: Histogram

    def observe(self, outcome: Outcome) -> None:
        """Count a call that ended."""
        self.calls.labels(outcome.method, outcome.code).inc()
        self.seconds.labels(outcome.method).observe(outcome.seconds)


def made_metrics() -> Metrics:
    """Make the numbers of a process that has not answered anything yet."""
    registry = CollectorRegistry()
    return Metrics(
        registry=registry,
        calls=Counter("capsule_calls", "Calls answered.", ["method", "code"], registry=registry),
        seconds=Histogram("capsule_call_seconds", "Time per call.", ["method"], registry=registry, buckets=_BUCKETS),
    )


def serve_metrics(metrics: Metrics, port: int) -> Callable[[], None]:
    """Serve *metrics* at a *port* of the loopback, in the format of Prometheus; return what ends it.

    Raises:
        StartRefused: the port is in use.
    """
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as error:
        raise StartRefused(f"cannot serve metrics at port {port}: {error.strerror}; choose another port") from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
