"""The durable engine on DBOS: its state in a SQLite file, or in a PostgreSQL database that many processes share.

DBOS is one instance to a process, and what it runs is registered by name when a module is imported. So there is one
workflow here for every job: it is told which by name. Of two processes on PostgreSQL each goes on with what the other
left when that one is gone; on a file there is one process, which goes on with what an earlier one left.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import attrs
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
from dbos import error as refusals

from capsule_services.runtime.engine import Answer, Body, Job, Pace, State, Work, WorkFailed, opaque, reason_of
from capsule_sql.durable import Alive, Connections, engine_in_file, engine_on_server, staying

__all__ = ["DurableEngine", "open_engine"]

T = TypeVar("T")

_VERSION: Final = "1"
"""Of what jobs keep of their steps: work begun under another one is taken up by nobody. It changes when that does."""
_QUEUE: Final = "works"
_LOOKS: Final = 1.0
"""Seconds after which the queue is looked at again."""
_MOMENT: Final = 0.02
_AT_ONCE: Final = 500
_PATIENCE: Final = 5.0
"""Seconds that works under way get to end their steps when the engine closes; a kill would do no harm either."""
_STATES: Final[Mapping[str, State]] = {
    "ENQUEUED": State.WAITING,
    "DELAYED": State.WAITING,
    "PENDING": State.UNDER_WAY,
    "SUCCESS": State.DONE,
}
_UNFINISHED: Final = ["ENQUEUED", "DELAYED", "PENDING"]
_ENDED: Final = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class _Stopped(BaseException):
    """The engine closes: what is under way is left where it is, which DBOS does not take for its end."""


@attrs.define(eq=False)
class _Hands:
    """What the engine of this process does: its jobs, and how many of them are at work."""

    jobs: dict[str, Job] = attrs.field(factory=dict)
    at_work: int = 0
    closing: bool = False
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    @contextmanager
    def working(self) -> Generator[None]:
        with self.changed:
            self.at_work += 1
        try:
            yield
        finally:
            with self.changed:
                self.at_work -= 1
                self.changed.notify_all()

    def stop(self, seconds: float) -> None:
        """Let nobody begin another step; wait for those under way at most so long."""
        with self.changed:
            self.closing = True
            self.changed.wait_for(lambda: not self.at_work, seconds)


_hands = _Hands()


class _Steps:
    def run(self, name: str, body: Body) -> Answer:
        if _hands.closing:
            raise _Stopped
        return DBOS.run_step({"name": name}, _guarded, body)


def _guarded(body: Body) -> dict[str, int]:
    """Do a step; of its error only what may be kept leaves it."""
    try:
        return opaque(body())
    except Exception as error:  # noqa: BLE001  it would be kept with its words
        raise WorkFailed(reason_of(error)) from None


@DBOS.workflow(name="capsule_work")
def _perform(work: str, job: str, numbers: dict[str, int]) -> dict[str, int]:
    try:
        with _hands.working():
            return opaque(_hands.jobs[job](_Steps(), Work(work, job, numbers)))
    except refusals.DBOSException:
        raise  # its own, by which it ends what another process has taken over
    except Exception as error:  # noqa: BLE001  it would be kept with its words
        raise WorkFailed(reason_of(error)) from None


@attrs.define(eq=False)
class DurableEngine:
    """Keeps the clauses of ``engine.Engine`` on DBOS; :func:`open_engine` makes the one of this process."""

    _name: str
    _executor: str
    _connections: Connections
    _alive: Alive | None

    def begin(self, work: Work) -> bool:
        """Begin *work*, and return whether it was not begun before."""
        options: Any = {
            "queue_name": _QUEUE,
            "workflow_name": "capsule_work",
            "workflow_id": work.id,
            "app_version": _version(self._name),
            "workflow_id_reuse_policy": "reject",
        }

        def enqueue() -> bool:
            try:
                DBOS.enqueue_workflow_with_options(options, work.id, work.job, opaque(work.numbers))
            except refusals.DBOSWorkflowIDInUseError:
                return False
            return True

        return _told(enqueue)

    def state(self, work: str) -> State | None:
        """Tell how far the work of that id is."""
        found = _told(lambda: DBOS.get_workflow_status(work))
        return None if found is None else _STATES.get(found.status, State.FAILED)

    def answer(self, work: str, *, seconds: float) -> Answer | None:
        """Wait until a work has ended, at most so many seconds, and return what it answered; None if it has not."""
        until = time.monotonic() + seconds
        while (found := _told(lambda: DBOS.get_workflow_status(work))) is not None:
            state = _STATES.get(found.status, State.FAILED)
            if state is State.DONE:
                return opaque(found.output or {})
            if state is State.FAILED:
                raise WorkFailed(str(found.error) if found.error else found.status)
            if time.monotonic() >= until:
                break
            time.sleep(_MOMENT)
        return None

    def unfinished(self, beginning: str) -> Sequence[str]:
        """Name the works that have not ended."""
        return [each.workflow_id for each in self._listed(status=_UNFINISHED, workflow_id_prefix=beginning)]

    def forget(self, before: datetime) -> int:
        """Drop what ended before; return how much it was."""
        count = 0
        while over := self._listed(status=_ENDED, completed_before=before.isoformat(), limit=_AT_ONCE):
            names = [each.workflow_id for each in over]
            _told(partial(DBOS.delete_workflows, names))
            count += len(names)
        return count

    def take_over(self) -> int:
        """Take up what processes left that are gone; on a file every other one is."""
        left: dict[str, list[str]] = {}
        for each in self._listed(status="PENDING"):
            left.setdefault(each.executor_id, []).append(each.workflow_id)
        left.pop(self._executor, None)
        gone = [names for executor, names in left.items() if self._alive is None or self._alive.gone(executor)]
        for names in gone:
            _told(partial(DBOS.resume_workflows, names))
        return sum(map(len, gone))

    def close(self) -> None:
        """Stop; what is under way goes on when an engine is opened again, here or elsewhere."""
        _hands.stop(_PATIENCE)
        DBOS.destroy()
        self._connections.dispose()
        if self._alive is not None:
            self._alive.close()

    def _listed(self, **which: Any) -> Sequence[Any]:
        return _told(lambda: DBOS.list_workflows(**which, load_input=False, load_output=False))


def open_engine(name: str, jobs: Mapping[str, Job], pace: Pace, *, file: Path, url: str | None) -> DurableEngine:
    """Open the engine of this process, for the service *name*: in *file*, or in the database at *url*.

    Raises:
        CapsuleError: its database cannot be used; nothing of it is left open.
    """
    logger = logging.getLogger("dbos")
    logger.addHandler(logging.NullHandler())  # or it would write to standard error by itself
    logger.setLevel(logging.WARNING)
    executor = f"{os.getpid()}-{uuid4().hex}"
    alive = None if url is None else Alive(url)
    connections = engine_in_file(file) if url is None else engine_on_server(url)
    engine = DurableEngine(name, executor, connections, alive)
    _hands.jobs, _hands.closing = dict(jobs), False
    try:
        if alive is not None:
            alive.hold(executor)
        _told(lambda: _launch(name, connections, executor, pace))
        engine.take_over()
    except BaseException:
        engine.close()
        raise
    return engine


def _launch(name: str, connections: Connections, executor: str, pace: Pace) -> None:
    config: DBOSConfig = {
        "name": f"capsule-{name}",
        "system_database_engine": connections,
        "application_version": _version(name),
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(
        _QUEUE,
        worker_concurrency=pace.at_once,
        limiter={"limit": pace.starts, "period": pace.seconds},
        polling_interval_sec=_LOOKS,
        on_conflict="always_update",
    )


def _version(name: str) -> str:
    return f"capsule-{name}-{_VERSION}"


def _told(body: Callable[[], T]) -> T:
    """Ask DBOS, whose errors may repeat what is kept.

    Raises:
        Unavailable: its database cannot be used at this moment.
    """
    with staying():
        return body()
