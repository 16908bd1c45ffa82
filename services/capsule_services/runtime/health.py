"""Health that is meant: a service is well while nothing it needs is known to fail, and it looks again each second.

While one of its two logs cannot be written it says so and refuses every call: what leaves no leaf has no effect.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from capsule_core.errors import RateExceeded

__all__ = ["JOURNAL", "Ailment", "Answering", "Health", "Look", "look_after"]

_EVERY: Final = 1.0
_OVERDUE: Final = 10.0
"""Seconds after which a look that has not come back tells as much as one that failed."""
_WATCHERS: Final = 2
"""Each keeps a thread."""
_PAUSE: Final = 1000
_PB: Any = health_pb2  # its types know nothing of lists
_Status = health_pb2.HealthCheckResponse

Look = Callable[[], object]
"""Tries whether something can be used, and leaves nothing of it; it raises if it cannot."""


class Ailment(enum.Enum):
    """Why a service is not to be called."""

    STARTING = "what a crash left to do is not done yet"
    STORE = "the store, with its log of changes, cannot be written"
    READS = "the log of reads cannot be written"
    PLACE = "the journal cannot be kept at its place: what it must know is not acknowledged"
    STOPPING = "the service ends"


_UNLOGGED: Final = frozenset({Ailment.STORE, Ailment.READS})
_LEFT: Final = frozenset({Ailment.PLACE})
"""With these a service is called all the same: most of what it does needs nothing that fails."""

JOURNAL: Final = "journal"
"""The name under which health tells whether decisions can be acknowledged."""


@attrs.define(eq=False)
class Health:
    """What ails a service, as everybody is told who asks; at first it is starting."""

    _ailments: set[Ailment] = attrs.field(factory=lambda: {Ailment.STARTING}, init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False, repr=False)
    _over: bool = attrs.field(default=False, init=False)

    @property
    def well(self) -> bool:
        """Whether it may be called."""
        return self._ailments <= _LEFT

    @property
    def whole(self) -> bool:
        """Whether all that it does can be done."""
        return not self._ailments

    @property
    def fit(self) -> bool:
        """Whether what it does can be logged."""
        return self._ailments.isdisjoint(_UNLOGGED)

    def ails(self, ailment: Ailment) -> None:
        """Say that it must not be called, and why."""
        with self._changed:
            self._ailments.add(ailment)
            self._changed.notify_all()

    def mended(self, ailment: Ailment) -> None:
        """Say that this is over."""
        with self._changed:
            self._ailments.discard(ailment)
            self._changed.notify_all()

    def end(self) -> None:
        """Let go everybody who follows."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def follow(self, stays: Callable[[], bool] = lambda: True) -> Iterator[bool]:
        """Give whether it is well, now and after each change, until :meth:`end` or while whoever asks *stays*."""
        told: bool | None = None
        while True:
            with self._changed:
                while not (over := self._over or not stays()) and self.well is told:
                    self._changed.wait()
                well = self.well
            if well is not told:
                yield well
            if over:
                return
            told = well

    def stir(self) -> None:
        """Have everybody who follows look whether they still stay."""
        with self._changed:
            self._changed.notify_all()


@attrs.frozen
class Answering(health_pb2_grpc.HealthServicer):
    """Answers ``grpc.health.v1`` for services of these *names*, for all of them alike, and for :data:`JOURNAL`."""

    names: frozenset[str]
    health: Health
    _places: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(_WATCHERS), init=False)

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  the contract's name
        if request.service == JOURNAL:
            return _Status(status=_status(well=self.health.whole))
        if request.service in self.names:
            return _Status(status=_status(well=self.health.well))
        context.set_code(grpc.StatusCode.NOT_FOUND)
        return _Status()

    def List(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  the contract's name
        one = _Status(status=_status(well=self.health.well))
        journal = _Status(status=_status(well=self.health.whole))
        return _PB.HealthListResponse(statuses={**dict.fromkeys(self.names, one), JOURNAL: journal})

    def Watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802  the contract's name
        """Stream each change.

        Raises:
            RateExceeded: enough others watch already.
        """
        if request.service not in self.names:
            yield _Status(status=_Status.SERVICE_UNKNOWN)
            return
        if not self._places.acquire(blocking=False):
            raise RateExceeded(_PAUSE)
        try:
            if context.add_callback(self.health.stir):
                for well in self.health.follow(context.is_active):
                    yield _Status(status=_status(well=well))
        finally:
            self._places.release()


def look_after(health: Health, ailment: Ailment, look: Look, stopped: threading.Event) -> None:
    """Look each second, in a thread of its own, until *stopped*."""

    def watch() -> None:
        while not stopped.wait(_EVERY):
            _look_once(health, ailment, look)

    threading.Thread(target=watch, name=f"look-{ailment.name.lower()}", daemon=True).start()


def _look_once(health: Health, ailment: Ailment, look: Look) -> None:
    overdue = threading.Timer(_OVERDUE, health.ails, [ailment])
    overdue.daemon = True
    overdue.start()
    try:
        look()
    except Exception:  # noqa: BLE001  whatever it was, it cannot be used
        health.ails(ailment)
    else:
        health.mended(ailment)
    finally:
        overdue.cancel()


def _status(*, well: bool) -> Any:
    return _Status.SERVING if well else _Status.NOT_SERVING
