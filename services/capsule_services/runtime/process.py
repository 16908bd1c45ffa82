"""A service as a process: from its environment to its readiness, until its parent or a signal ends it."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import Final
from uuid import uuid4

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.channels import Peers, publish_address, withdraw_address
from capsule_services.runtime.clock import Clock, wall_time
from capsule_services.runtime.fairness import Rate
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.health import Ailment, Health, Look, look_after
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.log import made_log, quieten_libraries
from capsule_services.runtime.metrics import Metrics, Reading, certificate_life, made_metrics, serve_metrics
from capsule_services.runtime.policy import CONSTANT, DEVELOPMENT, HEALTH, rules
from capsule_services.runtime.proofs import Flaw
from capsule_services.runtime.renewal import Renewal
from capsule_services.runtime.server import Served, Server, opened
from capsule_services.runtime.settings import Settings, settings_from
from capsule_services.runtime.tracing import Tracing, tracing_from

__all__ = ["REFUSED", "Host", "Service", "run"]

REFUSED: Final = 2
"""Exit code of a service that cannot start; one sentence on standard error says why."""

_UNFORESEEN: Final = 1
_PATIENCE: Final = 20.0
_GLANCE: Final = 0.5
"""Seconds for which a signal may be overlooked."""


@attrs.frozen(kw_only=True)
class Host:
    """What a service gets from its chassis: *stopped* is set when it is to end, for threads of its own.

    *health* is told what ails it.
    """

    settings: Settings
    clock: Clock
    peers: Peers
    log: FilteringBoundLogger
    stopped: threading.Event
    health: Health = attrs.field(factory=Health)


def _nothing() -> None:
    return


@attrs.frozen(kw_only=True)
class Service:
    """What a process serves. *resume* runs when it listens and before it says SERVING, *close* at the end.

    *readings* are numbers for whoever watches, *looks* find out each second what still can be used.
    """

    served: tuple[Served, ...]
    authenticator: Authenticator
    readings: Mapping[str, Reading] = attrs.field(factory=dict)
    looks: Mapping[Ailment, Look] = attrs.field(factory=dict)
    resume: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing


def run(name: str, build: Callable[[Host], Service]) -> int:
    """Run the service *name* until it is told to end; return the exit code.

    Standard output gets one line of JSON when it is ready, standard error the log.
    """
    log = made_log(sys.stderr, service=name)
    quieten_libraries(log)
    _hide_tracebacks(log)
    try:
        _serve(name, build, log)
    except (StartRefused, CapsuleError) as error:
        return _refuse(name, str(error), REFUSED)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        return _refuse(name, f"cannot use {what}{error.strerror}; check its permissions and the space left", REFUSED)
    except Exception as error:  # noqa: BLE001  a traceback would show what no log may hold
        error_id = _mention(log, type(error))
        return _refuse(name, f"failed in a way nobody foresaw; the log has more under {error_id}", _UNFORESEEN)
    return 0


def _serve(name: str, build: Callable[[Host], Service], log: FilteringBoundLogger) -> None:
    settings = settings_from(os.environ)
    stopped, hurry = threading.Event(), threading.Event()
    _stop_on_signals(stopped, hurry)
    if settings.parent is not None:
        _stop_with_parent(settings.parent, stopped, hurry)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        tracing = tracing_from(os.environ, name)
        stack.callback(tracing.close)
        renewal = Renewal(settings.credential, name, wall_time)
        renewal.read()  # refused now rather than at the first call
        peers = Peers(settings.addresses, renewal, tracing.traced)
        stack.callback(peers.close)
        host = Host(settings=settings, clock=Clock(settings.offset_file), peers=peers, log=log, stopped=stopped)
        service = build(host)
        stack.callback(service.close)
        server = stack.enter_context(_listening(name, service, host, renewal, stack=stack, tracing=tracing))
        service.resume()
        for ailment, look in service.looks.items():
            look_after(host.health, ailment, look, stopped)
        gc.freeze()  # no collection of garbage looks again at what stays: that takes a tenth of a second of everybody's
        server.ready()
        log.info("started")
        _tell_changes(host.health, log)
        _say({"service": name, "address": server.address})
        while not stopped.wait(_GLANCE):
            pass  # a signal that came just before the wait began does not end it; the next turn sees it
        _end_at_last()
        server.leave(hurry, settings.drain)
    log.info("stopped")


@contextmanager
def _listening(
    name: str, service: Service, host: Host, renewal: Renewal, *, stack: ExitStack, tracing: Tracing
) -> Generator[Server]:
    metrics = made_metrics(rules([each.descriptor for each in service.served], *HEALTH, *DEVELOPMENT))
    metrics.watch(service.readings)
    _watch_certificate(renewal, metrics, host)
    if host.settings.metrics is not None:
        stack.callback(serve_metrics(metrics, host.settings.metrics, ready=lambda: host.health.well))
    with opened(
        *service.served,
        domain=f"{name}.capsule",
        listen=host.settings.listen,
        credential=renewal,
        authenticator=service.authenticator,
        observe=_observing(metrics, host.log),
        dev=host.settings.dev,
        rate=Rate(host.settings.rate, host.settings.burst),
        outer=tracing.interceptors,
        health=host.health,
        shared=host.settings.workers > 1,
    ) as server:
        busy = {"capsule_calls_in_flight": lambda: server.busy[0], "capsule_streams_in_flight": lambda: server.busy[1]}
        metrics.watch(busy)
        with _published(host.settings, name, server.address):
            yield server


def _watch_certificate(renewal: Renewal, metrics: Metrics, host: Host) -> None:
    metrics.watch(
        {
            "capsule_certificate_seconds": lambda: certificate_life(renewal, wall_time),
            "capsule_certificate_held_back": lambda: renewal.is_held_back,
        }
    )

    def tell(flaw: Flaw | None) -> None:
        if flaw is None:
            host.log.info("certificate_taken")
        else:
            metrics.certificates_refused.inc()
            host.log.error("certificate_refused", flaw=flaw.name.lower())

    renewal.told = tell
    renewal.follow(host.stopped)


@contextmanager
def _published(settings: Settings, name: str, address: str) -> Generator[None]:
    if settings.workers > 1:  # then whoever started them all tells, for no one of them may withdraw it
        yield
        return
    publish_address(settings.addresses, name, address)
    try:
        yield
    finally:
        withdraw_address(settings.addresses, name)


def _observing(metrics: Metrics, log: FilteringBoundLogger) -> Callable[[Outcome], None]:
    def observe(outcome: Outcome) -> None:
        metrics.observe(outcome)
        if outcome.method in CONSTANT and outcome.code == "OK":
            return
        told: dict[str, object] = {"method": outcome.method, "code": outcome.code, "seconds": outcome.seconds}
        if outcome.reason:
            told |= {"reason": outcome.reason}
        if outcome.error_id:
            told |= {"error": outcome.error, "error_id": outcome.error_id}
        (log.error if outcome.error_id else log.info)("failed" if outcome.error_id else "call", **told)

    return observe


def _tell_changes(health: Health, log: FilteringBoundLogger) -> None:
    def tell() -> None:
        for well in islice(health.follow(), 1, None):
            log.info("serving" if well else "not_serving")

    threading.Thread(target=tell, name="health", daemon=True).start()


def _stop_on_signals(stopped: threading.Event, hurry: threading.Event) -> None:
    def stop() -> None:
        (hurry if stopped.is_set() else stopped).set()

    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGTERM, signal.SIGINT):
            # From a thread: the main one, which runs this, may be inside the very lock that setting takes.
            signal.signal(each, lambda *_: threading.Thread(target=stop, daemon=True).start())


def _stop_with_parent(descriptor: int, stopped: threading.Event, hurry: threading.Event) -> None:
    def watch() -> None:
        with suppress(OSError):
            while os.read(descriptor, 64):
                pass
        stopped.set()
        hurry.set()
        _end_at_last()  # also if it is still starting, and waits for something that does not come

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _end_at_last() -> None:
    """What never returns, a handler or a start, must not keep the process alive."""
    timer = threading.Timer(_PATIENCE, os._exit, [_UNFORESEEN])
    timer.daemon = True
    timer.start()


def _hide_tracebacks(log: FilteringBoundLogger) -> None:
    def mention(told: threading.ExceptHookArgs | sys.UnraisableHookArgs) -> None:
        _mention(log, told.exc_type)

    threading.excepthook = sys.unraisablehook = mention


def _mention(log: FilteringBoundLogger, kind: type[BaseException] | None) -> str:
    error_id = uuid4().hex
    log.error("failed", error=kind or BaseException, error_id=error_id)
    return error_id


def _refuse(name: str, sentence: str, code: int) -> int:
    sys.stderr.write(f"{name}: {sentence}\n")
    return code


def _say(line: dict[str, str]) -> None:
    # Nobody listening any more is for the parent's pipe to tell.
    with suppress(OSError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
