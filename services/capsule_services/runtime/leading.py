"""Leading: of the processes that share a service's folder one alone does what must not be done twice.

Whoever holds the lock on a file leads; when that process ends, however it ends, the next one has the lock. What a crash
left undone is led to its end by whoever comes next, be it to lead or to serve: doing it twice does no harm.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.locks import hold, holder_of

__all__ = ["Leading"]

_AGAIN: Final = 1.0
"""Seconds until duties that could not be taken up are tried again."""


@attrs.define(eq=False)
class Leading:
    """Takes up *duties* in one process at a time of those that use *folder*.

    *resume* does what a crash left, here or in another process; it comes before the duties, and before anybody is
    served. If the folder is not *shared*, nobody follows: whoever does not lead is refused.
    """

    _folder: Path
    _resume: Callable[[], None]
    _duties: Callable[[], None]
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _shared: bool = True
    _lead: IO[bytes] = attrs.field(init=False, repr=False)

    def begin(self) -> None:
        """Resume, and take up the duties now or when whoever leads has gone; when it returns this process may serve.

        It does not rely on the one who leads: that one may have ended a moment ago, and its heir not have begun.

        Raises:
            StartRefused: another process leads, and the folder is not shared.
        """
        self._lead = (self._folder / "leader.lock").open("a+b")  # for as long as the process
        with self._one_by_one():
            leads = self._leads()
            if not (leads or self._shared):
                raise StartRefused(
                    f"another process serves {self._folder}{holder_of(self._lead)}; several need PostgreSQL: run "
                    "capsule db init, or stop it"
                )
            self._resume()
            if leads:
                self._duties()
                self._log.info("leading")
            else:
                threading.Thread(target=self._succeed, name="leading", daemon=True).start()

    def _leads(self) -> bool:
        try:
            fcntl.flock(self._lead, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        hold(self._lead)
        return True

    @contextmanager
    def _one_by_one(self) -> Generator[None]:
        with (self._folder / "duties.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _succeed(self) -> None:
        taken = False
        try:
            fcntl.flock(self._lead, fcntl.LOCK_EX)
            hold(self._lead)
            while not (self._stopped.is_set() or (taken := self._taken_up())):
                self._stopped.wait(_AGAIN)
        finally:
            if not taken:
                self._stopped.set()  # a service that cannot take over must not look as if it could

    def _taken_up(self) -> bool:
        try:
            with self._one_by_one():
                self._resume()
                self._duties()
        except CapsuleError as error:
            self._log.info("lead_postponed", reason=error.reason)
            return False
        self._log.info("leading")
        return True
