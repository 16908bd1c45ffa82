"""Spans of OpenTelemetry for calls, linked by W3C ``traceparent`` and by nothing else.

``tracestate`` and ``baggage`` are neither read nor sent: whoever calls could write anything into them. No span says an
address, a tenant, a message or the text of an error.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import attrs
import grpc
from opentelemetry.context import Context, attach
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from capsule_services.release import release
from capsule_services.runtime.policy import CONSTANT

__all__ = ["Spans", "exported", "made_provider", "spanning"]

_PARENT: Final = "traceparent"
_LINK: Final = TraceContextTextMapPropagator()
_END: Final = object()
_DETAILS: Final = ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
_OURS: Final = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""What is an error of the server's; whatever else it refuses is the caller's (OpenTelemetry, semantic conventions)."""


@attrs.frozen(kw_only=True)
class Spans:
    """What makes spans of calls: as an interceptor of a server, round a channel; and how to end it."""

    interceptors: Sequence[grpc.ServerInterceptor]
    traced: Callable[[grpc.Channel], grpc.Channel]
    close: Callable[[], None]


def exported(service: str) -> Spans:
    """Trace the calls of *service*, and send the spans where the ``OTEL_EXPORTER_OTLP_`` variables say."""
    provider = made_provider(service)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return spanning(provider)


def made_provider(service: str) -> TracerProvider:
    """Make what gives spans; they say of this process its name and release, and not its host."""
    resource = Resource({"service.name": f"capsule.{service}", "service.version": release()})
    return TracerProvider(resource=resource, shutdown_on_exit=False)


def spanning(provider: TracerProvider) -> Spans:
    """Trace calls by the spans of *provider*."""
    tracer = provider.get_tracer("capsule_services")
    calling = _Calling(tracer)
    return Spans(
        interceptors=(_Answering(tracer),),
        traced=lambda channel: grpc.intercept_channel(channel, calling),
        close=provider.shutdown,
    )


@attrs.frozen
class _Answering(grpc.ServerInterceptor):
    tracer: Tracer

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method in CONSTANT:
            return handler  # if it is None nobody answers this, and its name may be anything
        kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
        traced = self._stream if handler.response_streaming else self._unary
        make = getattr(grpc, "_".join((*kind, "rpc_method_handler")))
        behaviour = traced(handler_call_details.method, getattr(handler, "_".join(kind)))
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def _unary(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._span(method, context) as entered:
                return entered.run(behaviour, request, context)

        return answer

    def _stream(self, method: str, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Iterator[Any]]:
        def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._span(method, context) as entered:
                responses = iter(entered.run(behaviour, request, context))
                while (response := entered.run(next, responses, _END)) is not _END:
                    yield response

        return answers

    @contextmanager
    def _span(self, method: str, context: Any) -> Generator[contextvars.Context]:
        sent = next((value for key, value in context.invocation_metadata() if key == _PARENT), "")
        parent = _LINK.extract({_PARENT: sent}, context=Context())
        span = _begun(self.tracer, method, SpanKind.SERVER, parent)
        entered = contextvars.copy_context()
        entered.run(attach, set_span_in_context(span))
        try:
            yield entered
        finally:
            gone = grpc.StatusCode.OK if context.is_active() else grpc.StatusCode.CANCELLED
            code = context.code() or gone
            _ended(span, code, failed=code in _OURS)


@attrs.frozen
class _Calling(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    tracer: Tracer

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._call(continuation, client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._call(continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._call(continuation, client_call_details, request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._call(continuation, client_call_details, request_iterator)

    def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        if details.method in CONSTANT:
            return continuation(details, request)
        span = _begun(self.tracer, details.method, SpanKind.CLIENT, None)
        carrier: dict[str, str] = {}
        _LINK.inject(carrier, context=set_span_in_context(span))
        linked = SimpleNamespace(**{name: getattr(details, name) for name in _DETAILS})
        linked.metadata = [*(details.metadata or ()), (_PARENT, carrier[_PARENT])]
        call = continuation(linked, request)
        call.add_done_callback(lambda done: _ended(span, done.code(), failed=done.code() is not grpc.StatusCode.OK))
        return call


def _begun(tracer: Tracer, method: str, kind: SpanKind, parent: Context | None) -> Span:
    service, _, name = method.removeprefix("/").partition("/")
    return tracer.start_span(
        f"{service}/{name}",
        context=parent,
        kind=kind,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        record_exception=False,
        set_status_on_exception=False,
    )


def _ended(span: Span, code: grpc.StatusCode, *, failed: bool) -> None:
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()
