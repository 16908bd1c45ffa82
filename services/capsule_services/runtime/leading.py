"""Leading: of the processes that share a service's folder one alone does what must not be done twice.

Whoever holds the lock on a file leads; when that process ends, however it ends, the next one has the lock.
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

__all__ = ["Leading"]

_AGAIN: Final = 1.0
"""Seconds until duties that could not be taken up are tried again."""


@attrs.define(eq=False)
class Leading:
    """Takes up *duties* in one process at a time of those that use *folder*."""

    _folder: Path
    _duties: Callable[[], None]
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _lead: IO[bytes] = attrs.field(init=False, repr=False)

    def begin(self) -> None:
        """Take up the duties now, or when whoever leads has gone; return when they are taken up by anybody."""
        self._lead = (self._folder / "leader.lock").open("ab")  # for as long as the process
        with self._taking_up():
            try:
                fcntl.flock(self._lead, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                threading.Thread(target=self._succeed, name="leading", daemon=True).start()
            else:
                self._duties()
                self._log.info("leading")

    @contextmanager
    def _taking_up(self) -> Generator[None]:
        """Keep the others from being served until what a crash left is done."""
        with (self._folder / "duties.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _succeed(self) -> None:
        taken = False
        try:
            fcntl.flock(self._lead, fcntl.LOCK_EX)
            while not (self._stopped.is_set() or (taken := self._taken_up())):
                self._stopped.wait(_AGAIN)
        finally:
            if not taken:
                self._stopped.set()  # a service that cannot take over must not look as if it could

    def _taken_up(self) -> bool:
        try:
            with self._taking_up():
                self._duties()
        except CapsuleError as error:
            self._log.info("lead_postponed", reason=error.reason)
            return False
        self._log.info("leading")
        return True
