"""Traces, if an operator asks for them: which service called which, and how long it took; never who and about whom.

They are off unless the environment says ``OTEL_TRACES_EXPORTER=otlp`` and the extra ``otel`` is installed. Everything
else that OpenTelemetry reads (endpoint, sampling, batches) it reads from its own ``OTEL_`` variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import grpc

from capsule_services.runtime.faults import StartRefused

__all__ = ["ATTRIBUTES", "Tracing", "tracing_from"]

ATTRIBUTES: Final = frozenset({"rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"})
"""Everything that a span may say besides its name, its times and whose child it is."""


def _untraced(channel: grpc.Channel) -> grpc.Channel:
    return channel


def _nothing() -> None:
    return


@attrs.frozen(kw_only=True)
class Tracing:
    """What traces calls: *interceptors* come before all others of a server, *traced* goes round every channel."""

    interceptors: Sequence[grpc.ServerInterceptor] = ()
    traced: Callable[[grpc.Channel], grpc.Channel] = _untraced
    close: Callable[[], None] = _nothing


def tracing_from(variables: Mapping[str, str], service: str) -> Tracing:
    """Make what the environment *variables* ask for; nothing is imported if they do not.

    Raises:
        StartRefused: they ask for an exporter that there is not, or the extra is not installed.
    """
    exporter = variables.get("OTEL_TRACES_EXPORTER", "none")
    if exporter == "none" or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing()
    if exporter != "otlp":
        raise StartRefused("OTEL_TRACES_EXPORTER must be otlp or none")
    try:
        from capsule_services.runtime.spans import exported  # noqa: PLC0415  the extra may be missing
    except ModuleNotFoundError:
        raise StartRefused(
            "OTEL_TRACES_EXPORTER is set, but OpenTelemetry is not installed; run: pip install 'capsule-core[otel]'"
        ) from None
    spans = exported(service)
    return Tracing(interceptors=spans.interceptors, traced=spans.traced, close=spans.close)
