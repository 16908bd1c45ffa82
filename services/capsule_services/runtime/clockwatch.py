"""The clocks that were seen: what is destroyed because its time is over is over by each of them.

The wall clock can be set. What cannot be set counts the seconds since the machine was started; a service notes both
where the next sweep, and the next process, finds them. While they agree, now is now. When the wall clock has run ahead
of what has passed, only what is over by the earlier clock goes: a step of less than the bound is forgotten after thirty
days, when nothing is left that was thrown away before it; a larger one waits until somebody says that it is right. A
clock that was set back is believed at once.

Across a restart of the machine nothing tells how long it was off: a gap below the bound is believed, and a larger one
too, unless it would destroy in bulk what the last clock that was seen would not. An advance of the movable clock of
``--dev`` is no step: its file explains it, and it is not looked at here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import attrs

from capsule_core.names import TenantId
from capsule_core.records import Mark, Shelf, Where
from capsule_core.stores import Store
from capsule_core.trash import PERIOD
from capsule_services.runtime.clock import Clock, wall_time

__all__ = [
    "BULK",
    "CONFIRMED",
    "NOTED",
    "Anchor",
    "ClockWatch",
    "Measured",
    "Seen",
    "confirm",
    "in_bulk",
    "judged",
    "measure",
    "noted",
]

NOTED: Final = "clock.seen"
"""The file in a service's folder that says which clocks were seen."""

CONFIRMED: Final = "clock.confirmed"
"""The file that says which clock somebody believes."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_UNTOLD: Final = uuid4().hex
"""Stands for this start of the machine where it does not tell: another process then knows nothing of it."""
BULK: Final = 100
"""Records more than which are destroyed in bulk."""

_MOST: Final = 1000
_NOTHING: Final = timedelta()
_JITTER: Final = timedelta(milliseconds=10)
"""Two clocks cannot be read at the same moment. So much is believed each time: a clock cannot creep further by it."""
_NEAR: Final = timedelta(hours=1)


@attrs.frozen
class Measured:
    """Both clocks at one moment: *passed* is the time since the start of the machine that is called *boot*."""

    wall: datetime
    passed: timedelta
    boot: str


@attrs.frozen
class Anchor:
    """A moment that is believed, and the latest one that was seen since."""

    at: Measured
    seen: datetime


@attrs.frozen
class Seen:
    """*now* is the moment up to which things are over by every clock; *ahead* is by how much the wall clock is later.

    *asks* says that nobody has explained that, and that it is too much to be believed.
    """

    now: datetime
    ahead: timedelta = _NOTHING
    asks: bool = False


def measure() -> Measured:
    """Read both clocks of this machine."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the former goes on while the machine sleeps
    passed, wall = time.clock_gettime(clock), wall_time()
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        boot = _UNTOLD
    return Measured(wall, timedelta(seconds=passed), boot)


def judged(
    anchor: Anchor | None, read: Measured, bound: timedelta, is_bulk: Callable[[datetime, datetime], bool]
) -> tuple[Anchor, Seen]:
    """Decide which moment is over by every clock, and what to note of it.

    *is_bulk* tells whether much more is over at its second moment than at its first; it is asked only when nothing else
    can tell whether a gap is real.
    """
    if anchor is None:
        return Anchor(read, read.wall), Seen(read.wall)
    if anchor.at.boot != read.boot:
        gap = read.wall - anchor.seen
        if gap > bound and is_bulk(anchor.seen, read.wall):
            return anchor, Seen(anchor.seen, gap, asks=True)
        return Anchor(read, read.wall), Seen(read.wall)
    expected = anchor.at.wall + (read.passed - anchor.at.passed)
    ahead = read.wall - expected
    if ahead <= _JITTER or (ahead <= bound and read.passed - anchor.at.passed > PERIOD):
        return Anchor(read, read.wall), Seen(read.wall)
    return attrs.evolve(anchor, seen=expected), Seen(expected, ahead, asks=ahead > bound)


def noted(folder: Path) -> Anchor | None:
    """Return what was noted; None if nothing was, or nothing that can be read."""
    try:
        told = json.loads((folder / NOTED).read_text(encoding="ascii"))
        at = Measured(datetime.fromisoformat(told["wall"]), timedelta(seconds=float(told["passed"])), str(told["boot"]))
        return Anchor(at, datetime.fromisoformat(told["seen"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def confirm(folder: Path, wall: datetime) -> None:
    """Say that *wall* is what the clock of this service rightly shows."""
    _write(folder / CONFIRMED, wall.isoformat())


@attrs.frozen
class ClockWatch:
    """Watches the clocks of one service, whose folder it is; *is_bulk* as in :func:`judged`."""

    clock: Clock
    folder: Path
    bound: timedelta
    is_bulk: Callable[[datetime, datetime], bool]
    read: Callable[[], Measured] = measure

    def look(self) -> Seen:
        """Tell up to which moment things are over by every clock."""
        return self._judged(lambda _, __: True)[1]

    def note(self) -> Seen:
        """Do the same, and note it for whoever looks next: for the one who leads."""
        anchor, seen = self._judged(self._is_bulk)
        if seen.ahead and self._is_confirmed():
            (self.folder / NOTED).unlink(missing_ok=True)
            anchor, seen = self._judged(self._is_bulk)
        at = {"wall": anchor.at.wall.isoformat(), "passed": anchor.at.passed.total_seconds(), "boot": anchor.at.boot}
        _write(self.folder / NOTED, json.dumps({**at, "seen": anchor.seen.isoformat()}))
        (self.folder / CONFIRMED).unlink(missing_ok=True)
        return seen

    def _judged(self, is_bulk: Callable[[datetime, datetime], bool]) -> tuple[Anchor, Seen]:
        now, read = self.clock.now(), self.read()
        anchor, seen = judged(noted(self.folder), read, self.bound, is_bulk)
        return anchor, attrs.evolve(seen, now=min(now, seen.now + (now - read.wall)))

    def _is_bulk(self, before: datetime, after: datetime) -> bool:
        offset = self.clock.now() - self.read().wall
        return self.is_bulk(before + offset, after + offset)

    def _is_confirmed(self) -> bool:
        try:
            wall = datetime.fromisoformat((self.folder / CONFIRMED).read_text(encoding="ascii").strip())
            return abs(wall - self.read().wall) < _NEAR
        except (OSError, ValueError, TypeError):
            return False


def in_bulk(store: Store) -> Callable[[datetime, datetime], bool]:
    """Tell of two moments whether between them more falls due in *store* than is destroyed unasked."""

    def is_bulk(before: datetime, after: datetime) -> bool:
        found = 0
        for tenant in store.due(after):
            by_now, by_then = (_due(store, tenant, moment) for moment in (after, before))
            found += by_now - by_then
            if found > BULK or by_now == _MOST:  # of so many the rest is not looked at
                return True
        return False

    return is_bulk


def _due(store: Store, tenant: TenantId, moment: datetime) -> int:
    where = Where(tenant=tenant, shelf=Shelf.TRASHED, due=moment)
    return len(store.select(where, admits=~Mark.NONE, limit=_MOST).records)


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(f"{text}\n", encoding="ascii")
    fresh.replace(path)
