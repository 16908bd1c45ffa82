"""The clock of the domain: the system's, and with ``--dev`` ahead of it by an offset that only grows.

Credentials, TLS and deadlines keep the wall clock; only what the domain waits for can be reached sooner.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from capsule_core.errors import InvalidField
from capsule_services.runtime.faults import StartRefused

__all__ = ["Clock", "advance", "wall_time"]

_MICROSECOND: Final = timedelta(microseconds=1)
_LOOK_AGAIN: Final = timedelta(milliseconds=200)
_FARTHEST: Final = timedelta(days=365 * 100)


def wall_time() -> datetime:
    """Return the time of the system, which nobody moves."""
    return datetime.now(UTC)


@attrs.frozen
class Clock:
    """Tells the time of the domain; *offset_file* is what ``capsule clock advance`` writes, None without --dev."""

    offset_file: Path | None = None

    def now(self) -> datetime:
        return wall_time() + _offset(self.offset_file)

    def wait(self, until: datetime, stopped: threading.Event) -> bool:
        """Wait for the moment *until*, however it is reached; return False if *stopped* came first."""
        while not stopped.is_set():
            left = until - self.now()
            if left <= timedelta():
                return True
            stopped.wait((left if self.offset_file is None else min(left, _LOOK_AGAIN)).total_seconds())
        return False


def advance(offset_file: Path, by: timedelta) -> timedelta:
    """Put the clock that reads *offset_file* ahead, and return how far ahead of the system's it is then.

    Raises:
        InvalidField: *by* is negative, or leads out of the calendar.
        StartRefused: the file is damaged.
    """
    if by < timedelta():
        raise InvalidField("advance", "must not be negative; the clock goes forward only")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(offset_file.with_suffix(".lock").open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        ahead = _offset(offset_file) + by
        if ahead > _FARTHEST:
            raise InvalidField("advance", f"must not lead more than {_FARTHEST.days} days ahead")
        fresh = offset_file.with_suffix(".new")
        fresh.write_text(f"{ahead // _MICROSECOND}\n", encoding="ascii")
        fresh.replace(offset_file)
    return ahead


def _offset(offset_file: Path | None) -> timedelta:
    if offset_file is None:
        return timedelta()
    try:
        ahead = max(int(offset_file.read_text(encoding="ascii")), 0) * _MICROSECOND
    except FileNotFoundError:
        return timedelta()
    except (ValueError, OverflowError):
        ahead = None
    if ahead is None or ahead > _FARTHEST:
        raise StartRefused(
            f"{offset_file} is damaged: it must hold one number of microseconds; put it back, or write 0"
        )
    return ahead
