"""When somebody was opened last, to within a day: written down behind the answer, so that no reader waits for it."""

from __future__ import annotations

import threading
from datetime import date, datetime
from typing import Final

import attrs

from capsule_core.errors import CapsuleError
from capsule_core.moments import Event, Moment
from capsule_core.names import SubjectKey, TenantId
from capsule_core.stores import Store

__all__ = ["Openings"]

_REMEMBERED: Final = 100_000
_PATIENCE: Final = 10.0


@attrs.define(eq=False)
class Openings:
    """Writes openings down in *store*, the first of each day of each person; a crash loses those of a moment."""

    _store: Store
    _noted: dict[tuple[TenantId, SubjectKey], date] = attrs.field(factory=dict, init=False)
    _waiting: dict[TenantId, list[Moment]] = attrs.field(factory=dict, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _wake: threading.Event = attrs.field(factory=threading.Event, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="openings", daemon=True)
        self._thread.start()

    def note(self, tenant: TenantId, subject: SubjectKey, now: datetime) -> None:
        """Have it written down that somebody was opened."""
        key = tenant, subject
        with self._lock:
            if self._noted.get(key) == now.date():
                return
            if len(self._noted) >= _REMEMBERED:
                self._noted.clear()
            self._noted[key] = now.date()
            self._waiting.setdefault(tenant, []).append(Moment(subject, Event.OPENED, now))
        self._wake.set()

    def flush(self) -> None:
        """Write down what waits, and return when whoever else is writing has too."""
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for tenant, moments in waiting.items():
                self._write(tenant, moments)

    def _write(self, tenant: TenantId, moments: list[Moment]) -> None:
        try:
            self._store.happen(tenant, moments)
        except CapsuleError:  # whoever is opened again is noted again
            with self._lock:
                for moment in moments:
                    self._noted.pop((tenant, moment.subject), None)

    def close(self) -> None:
        """Write down the last, and stop."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        self.flush()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            self.flush()
