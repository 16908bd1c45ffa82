"""The one interceptor: nothing reaches a servicer that its rule does not admit, and no error leaves as it is."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from uuid import uuid4

import attrs
import grpc

from capsule_core.errors import CapsuleError, InvalidField, RateExceeded, Unavailable
from capsule_core.names import TenantId
from capsule_services.runtime.admission import Admission
from capsule_services.runtime.callers import Authenticator, Caller, UserCaller
from capsule_services.runtime.calls import CURRENT, Call
from capsule_services.runtime.faults import code_of, failure, refusal, understood
from capsule_services.runtime.policy import Callers, Rule, admit, permit
from capsule_services.runtime.requests import InFlight, check

__all__ = ["Outcome", "PolicyInterceptor"]

_END: Final = object()
_DAMAGED: Final = object()
_MOMENT: Final = 0.05


@attrs.frozen
class Outcome:
    """How a call ended: for logs and metrics, so it says nothing about whom and what it was about."""

    method: str
    code: str
    seconds: float
    reason: str = ""
    error: type[Exception] | None = None
    error_id: str = ""


@attrs.frozen
class _Told:
    reason: str = ""
    error: type[Exception] | None = None
    error_id: str = ""


@attrs.frozen
class _Guarded:
    """How a method is answered: to whoever was counted when the call arrived, and to whoever was not known yet."""

    rule: Rule
    stream: bool
    known: Any
    unknown: Any


def _always() -> bool:
    return True


class _CallerGone(Exception):
    """Nobody waits for the answer any more."""


@attrs.frozen(kw_only=True)
class PolicyInterceptor(grpc.ServerInterceptor):
    """Enforces *rules* on every call; *domain* signs the errors, *observe* is told how each call ended.

    Until *ready* is set nobody is served: what a crash or a restore left to do comes first. Nor while it is not *fit*:
    what could not be logged is not begun.
    """

    rules: Mapping[str, Rule]
    authenticator: Authenticator
    domain: str
    observe: Callable[[Outcome], None]
    ready: threading.Event
    admission: Admission
    seconds: Callable[[], float] = time.perf_counter
    fit: Callable[[], bool] = _always
    _in_flight: InFlight = attrs.field(factory=InFlight, init=False, repr=False)
    _guarded: dict[str, _Guarded] = attrs.field(factory=dict, init=False, repr=False)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            rule = self.rules.get(method)
            handler = continuation(handler_call_details) if rule is not None else None
            if rule is None or handler is None:
                return None
            guarded = self._guarded[method] = self._guard(rule, handler)
        return self._admitted(guarded, handler_call_details.invocation_metadata)

    def _admitted(self, guarded: _Guarded, metadata: Any) -> Any:
        try:
            known = self.admission.arrive(guarded.rule, metadata, stream=guarded.stream)
        except RateExceeded as error:
            self.admission.refuse()
            return self._refusing(guarded.rule, error)
        return guarded.known if known else guarded.unknown

    def _refusing(self, rule: Rule, error: RateExceeded) -> Any:
        def refuse(_: Any, context: grpc.ServicerContext) -> None:
            with self._answering(rule, context):
                raise error

        # As a stream, so that nobody waits for a message that is not looked at.
        return grpc.stream_unary_rpc_method_handler(refuse)

    def _guard(self, rule: Rule, handler: Any) -> _Guarded:
        kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
        behaviour = getattr(handler, "_".join(kind))
        make = getattr(grpc, "_".join((*kind, "rpc_method_handler")))
        guard = self._stream if handler.response_streaming else self._unary

        def guarded(*, counted: bool) -> Any:
            read = _tolerant(handler.request_deserializer)
            return make(guard(rule, behaviour, counted=counted), read, handler.response_serializer)

        return _Guarded(rule, "stream" in kind, known=guarded(counted=True), unknown=guarded(counted=False))

    def _unary(self, rule: Rule, behaviour: Callable[[Any, Any], Any], *, counted: bool) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with self._answering(rule, context) as stack:
                entered, admitted = self._enter(rule, request, context, stack, counted=counted)
                response = entered.run(behaviour, admitted, context)
                entered[CURRENT].last_look.take()
                return response

        return answer

    def _stream(
        self, rule: Rule, behaviour: Callable[[Any, Any], Any], *, counted: bool
    ) -> Callable[[Any, Any], Iterator[Any]]:
        def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._answering(rule, context) as stack:
                entered, admitted = self._enter(rule, request, context, stack, counted=counted)
                responses, stand = iter(entered.run(behaviour, admitted, context)), self._standing(rule, context)
                while (response := entered.run(next, responses, _END)) is not _END:
                    stand()
                    entered[CURRENT].last_look.take()
                    yield response

        return answers

    def _enter(
        self, rule: Rule, request: Any, context: grpc.ServicerContext, stack: ExitStack, *, counted: bool
    ) -> tuple[contextvars.Context, Any]:
        caller = self._caller(rule, context, counted=counted)
        if rule.streams and isinstance(caller, UserCaller):
            stack.enter_context(self.admission.streams.held(caller.tenant))
        if isinstance(request, Iterator):
            opening = next(request, None)
            tenant = _begin(rule, caller, opening)
            request = _stream(rule, caller, opening, _whole(request, context), self._standing(rule, context))
        else:
            tenant = _pass(rule, caller, request)
            who = (rule.method, caller.actor.kind, caller.actor.id, str(tenant))
            stack.enter_context(self._in_flight.alone(request, *who))
        call = Call(
            method=rule.method,
            permission=rule.permission,
            use=rule.use,
            caller=caller,
            tenant=tenant,
            remaining=context.time_remaining,
        )
        entered = contextvars.copy_context()
        entered.run(CURRENT.set, call)
        if not (context.is_active() and context.time_remaining() > 0):
            raise _CallerGone
        return entered, request

    def _caller(self, rule: Rule, context: grpc.ServicerContext, *, counted: bool) -> Caller:
        caller: Caller = self.authenticator.peer(context)
        if rule.ours and not (self.ready.is_set() and self.fit()):
            raise Unavailable
        if rule.callers is Callers.USERS:
            caller = self.authenticator.user(context)
            if not counted:
                self.admission.recognise(context.invocation_metadata(), caller.tenant)
        permit(rule, caller)
        return caller

    def _standing(self, rule: Rule, context: grpc.ServicerContext) -> Callable[[], None]:
        """Return what ends a stream whose caller is believed no more."""
        return self.authenticator.stands(context) if rule.callers is Callers.USERS else lambda: None

    @contextmanager
    def _answering(self, rule: Rule, context: grpc.ServicerContext) -> Generator[ExitStack]:
        began = self.seconds()
        code, told = "CANCELLED", _Told()
        try:
            with ExitStack() as stack:
                yield stack
            code = _said(context)
        except Exception as error:  # noqa: BLE001  whatever it is, it leaves as a status
            left = _left(error, context)
            if left is None:
                status, told = self._refused(error)
                code = status.code.name
                context.abort_with_status(status)
            code = left.name
            context.abort(left, "nobody waits for the answer")
        finally:
            seconds = self.seconds() - began
            self.observe(Outcome(rule.method, code, seconds, told.reason, told.error, told.error_id))

    def _refused(self, error: Exception) -> tuple[grpc.Status, _Told]:
        known = understood(error) if isinstance(error, grpc.RpcError) else error
        if isinstance(known, CapsuleError) and code_of(known) is not grpc.StatusCode.INTERNAL:
            return refusal(known, domain=self.domain), _Told(known.reason)
        told = _Told(CapsuleError.reason, type(error), uuid4().hex)
        return failure(domain=self.domain, error_id=told.error_id), told


def _left(error: Exception, context: grpc.ServicerContext) -> grpc.StatusCode | None:
    """Return how a caller left who did not wait for the answer; None if that is not what *error* is about."""
    if not isinstance(error, _CallerGone) and (context.is_active() or not isinstance(error, grpc.RpcError)):
        return None
    return grpc.StatusCode.CANCELLED if context.time_remaining() > 0 else grpc.StatusCode.DEADLINE_EXCEEDED


def _begin(rule: Rule, caller: Caller, opening: Any) -> TenantId | None:
    if opening is not None:
        return _pass(rule, caller, opening)
    if rule.subject:
        raise InvalidField(rule.subject, "is required")
    return None


def _pass(rule: Rule, caller: Caller, message: Any, *, opening: bool = True) -> TenantId | None:
    if message is _DAMAGED:
        raise InvalidField("request", "cannot be read: it is damaged, or a text in it is not UTF-8")
    if not rule.ours:
        return None
    tenant = admit(rule, caller, message, opening=opening)
    check(message)
    return tenant


def _stream(rule: Rule, caller: Caller, opening: Any, rest: Iterator[Any], stand: Callable[[], None]) -> Iterator[Any]:
    if opening is not None:
        yield opening
    for message in rest:
        stand()
        _pass(rule, caller, message, opening=False)
        yield message


def _whole(messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    """Tell a stream that was cut from one that ended: gRPC ends both alike, and says a moment later that it was cut."""
    yield from messages
    cut = threading.Event()
    if not context.add_callback(cut.set) or cut.wait(_MOMENT):
        raise _CallerGone


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Make damaged bytes a message to refuse: gRPC itself would call them an internal error."""

    def reads(data: bytes) -> Any:
        try:
            return read(data)
        except Exception:  # noqa: BLE001  whatever a parser raises means the same here
            return _DAMAGED

    return reads


def _said(context: grpc.ServicerContext) -> str:
    # Health answers an unknown service with a code it sets, not with an error it raises.
    code = getattr(context, "code", lambda: None)()
    return code.name if isinstance(code, grpc.StatusCode) else "OK"
