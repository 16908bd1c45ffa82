"""The sweeper: destroys what has been in the trash for its time, and forgets old answers, while the service runs.

One process of a folder leads the sweeps: it looks each minute of the domain's clock, or as often as it is told, what is
due, and has the durable engine sweep it. With an engine on a server the others lend a hand, and whoever leads takes up
what any of them left.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError
from capsule_core.rounds import Duty
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.clockwatch import Seen
from capsule_services.runtime.engine import Engine, Job
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.metrics import Reading
from capsule_services.runtime.sweeping import Sweeps, Tally, sweeping

__all__ = ["ASKED", "STATUS", "Opening", "Status", "Sweeper", "status_in"]

ASKED: Final = "sweep.asked"
"""The file in a service's folder by which a sweep is asked for now; it holds a word that the status then repeats."""

STATUS: Final = "sweep.json"
"""The file that says how far the sweeps are."""

_SELDOM: Final = timedelta(hours=1)
_MOMENT: Final = 0.25
_AGAIN: Final = 1.0
_PATIENCE: Final = 10.0

Opening = Callable[[Job], Engine]
"""Opens the engine of this process, which is to do the sweeps by that job."""


@attrs.frozen(kw_only=True)
class Status:
    """How far the sweeps of a service are: what was done since they were last at rest.

    *asked* is the last word by which one was asked for, *ahead* and *asks* as in ``clockwatch.Seen``, in seconds, as is
    *every*, the time between two looks.
    """

    asked: str = ""
    under_way: int = 0
    records: int = 0
    subjects: int = 0
    postponed: int = 0
    ahead: int = 0
    asks: bool = False
    every: int = 60
    at: str = ""


def status_in(folder: Path) -> Status | None:
    """Read how far the sweeps of the service in *folder* are; None if that cannot be read."""
    try:
        return Status(**json.loads((folder / STATUS).read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _always() -> bool:
    return True


@attrs.define(eq=False)
class Sweeper:
    """Sweeps *holding* until *stopped*, in so many *ranges*, *every* so long; does *more* duties in the same turns.

    *swept* is told when something was erased. Its files are in *folder*. *helps* says that this process does sweeps
    also while another one leads them. What has ended is remembered for *history*. It begins once the service *serves*.
    """

    _holding: Holding
    _open: Opening
    _folder: Path
    _ranges: int
    _every: timedelta
    _history: timedelta
    _helps: bool
    _swept: Callable[[], None]
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _serves: Callable[[], bool] = _always
    _more: Sequence[Duty] = ()
    _duties: Sequence[Duty] = attrs.field(init=False, repr=False)
    _leads: threading.Event = attrs.field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False, repr=False)
    _status: Status = attrs.field(factory=Status, init=False)
    _told: Status = attrs.field(factory=Status, init=False)
    _done: Tally = attrs.field(factory=Tally, init=False)
    _next: datetime | None = attrs.field(default=None, init=False)
    _cleaned: datetime | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        holder = self._holding.holder
        self._duties = (holder.expiry(), holder.upkeep(self._holding.random), *self._more)

    @property
    def readings(self) -> Mapping[str, Reading]:
        """What can be read of it by whoever watches."""
        return {
            "capsule_sweeps_under_way": lambda: self._status.under_way,
            "capsule_clock_ahead_seconds": lambda: self._status.ahead,
            "capsule_clock_asks": lambda: self._status.asks,
        }

    def start(self) -> None:
        """Begin to lend a hand."""
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def lead(self) -> None:
        """Begin to lead, with what is due already."""
        self._leads.set()

    def close(self) -> None:
        """Wait until it has stopped, but not for ever."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            while not (self._stopped.is_set() or self._may_begin()):
                self._stopped.wait(_MOMENT)
            engine = self._opened()
            if engine is not None:
                try:
                    self._sweep(engine)
                finally:
                    engine.close()
        finally:
            self._stopped.set()  # a service that cannot sweep any more must not look as if it could

    def _may_begin(self) -> bool:
        # Loading the engine takes a second of the processor, which whoever waits for the service should not.
        return self._serves() and (self._helps or self._leads.is_set())

    def _opened(self) -> Engine | None:
        """Open the engine as soon as its database can be used; None if it is too late."""
        job = sweeping(self._duties, self._holding.over, self._swept, self._log)
        while not self._stopped.is_set():
            try:
                return self._open(job)
            except CapsuleError as error:
                self._log.info("sweep_postponed", reason=error.reason)
                self._stopped.wait(_AGAIN)
        return None

    def _sweep(self, engine: Engine) -> None:
        sweeps = Sweeps(engine, self._duties, self._ranges, self._log)
        while not self._stopped.is_set():
            if self._leads.is_set():
                try:
                    self._look(engine, sweeps)
                except CapsuleError as error:
                    self._log.info("sweep_postponed", reason=error.reason)
                    self._stopped.wait(_AGAIN)
            self._stopped.wait(_MOMENT)

    def _look(self, engine: Engine, sweeps: Sweeps) -> None:
        now, asked = self._holding.now(), self._asked()
        looks = bool(asked) or self._next is None or not self._next - self._every <= now < self._next
        if looks or sweeps.under_way:
            self._done += sweeps.collect()
        if looks:
            seen = self._note()
            engine.take_over()
            self._clean(engine, seen.now)
            self._next = now + self._every
            rested = not sweeps.under_way
            if sweeps.begin(seen.now) and rested:
                self._done = Tally()
            every = int(self._every.total_seconds())
            self._status = attrs.evolve(
                self._status, asked=asked or self._status.asked, at=now.isoformat(), every=every
            )
        elif sweeps.under_way:
            engine.take_over()
        self._tell(sweeps)
        if asked:
            (self._folder / ASKED).unlink(missing_ok=True)

    def _note(self) -> Seen:
        watch = self._holding.watch
        seen = Seen(self._holding.now()) if watch is None else watch.note()
        if seen.asks and not self._status.asks:
            self._log.warning("clock_jumped", seconds=seen.ahead.total_seconds())
        elif self._status.asks and not seen.asks:
            self._log.info("clock_believed")
        self._status = attrs.evolve(self._status, ahead=int(seen.ahead.total_seconds()), asks=seen.asks)
        return seen

    def _clean(self, engine: Engine, now: datetime) -> None:
        """Forget what was kept for its time, answers and works alike."""
        if self._cleaned is None or not self._cleaned <= now < self._cleaned + _SELDOM:
            self._holding.repository.store.forget(now)
            engine.forget(wall_time() - self._history)
            self._cleaned = now

    def _asked(self) -> str:
        try:
            return (self._folder / ASKED).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def _tell(self, sweeps: Sweeps) -> None:
        """Write down how far the sweeps are, if that has changed."""
        done, before = self._done, self._told
        told = self._told = attrs.evolve(
            self._status,
            under_way=sweeps.under_way,
            records=done.records,
            subjects=done.subjects,
            postponed=done.postponed,
        )
        if told == before:
            return
        self._status = told
        if before.under_way and not told.under_way:
            self._log.info("swept", count=told.records)
        fresh = self._folder / f"{STATUS}.new"
        fresh.write_text(json.dumps(attrs.asdict(told)) + "\n", encoding="ascii")
        fresh.replace(self._folder / STATUS)
