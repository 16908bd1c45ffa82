"""Sweeps as durable work: one for each range of tenants that has something to destroy, in turns.

A turn is a work of the engine named ``sweep-<moment>-<range>-<turn>``, of at most `STEPS` steps; if more waits then,
the range's next turn stands behind those of the others. So with *r* ranges waiting and *c* under way at the same time,
a range waits for at most ``ceil(r / c)`` turns, whatever the others hold; ``capsule_core.rounds`` says the same of the
tenants within. Works know numbers of ranges and counts, and nothing of any tenant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.rounds import Duty, Rounds, Stint
from capsule_core.stores import EVERYONE, Share
from capsule_services.runtime.engine import Answer, Engine, Job, Steps, Work, WorkFailed

__all__ = ["JOB", "PREFIX", "STEPS", "WIDE", "Sweeps", "Tally", "sweeping"]

JOB: Final = "sweep"
PREFIX: Final = "sweep-"
STEPS: Final = 20
"""Steps of a turn."""
WIDE: Final = 25
"""Tenants that get their slice in one step."""

_NAME: Final = re.compile(r"sweep-([0-9]{8}T[0-9]{6}Z)-([0-9]{4})-([0-9]+)")
_MOMENT: Final = "%Y%m%dT%H%M%SZ"
_LOST: Final = timedelta(hours=6)
"""After which a turn that has not ended is begun beside: nobody may be at it any more, and twice does no harm."""


@attrs.frozen(kw_only=True)
class Tally:
    """What sweeps have done; *postponed* counts tenants that could not be swept, and turns that failed."""

    records: int = 0
    subjects: int = 0
    postponed: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            records=self.records + other.records,
            subjects=self.subjects + other.subjects,
            postponed=self.postponed + other.postponed,
        )


def sweeping(
    duties: Sequence[Duty], now: Callable[[], datetime], swept: Callable[[], None], log: FilteringBoundLogger
) -> Job:
    """Make the job that does *duties* for a range; *swept* is told when people were erased."""

    def sweep(steps: Steps, work: Work) -> Answer:
        rounds = Rounds(duties, Share(work.numbers["range"], work.numbers["of"]), now, WIDE)

        def slices() -> Answer:
            stint = rounds.step()
            for reason in stint.postponed:
                log.info("sweep_postponed", reason=reason)
            if stint.subjects:
                swept()
            return _numbers(stint)

        total, left = Tally(), True
        for _ in range(STEPS):
            told = steps.run("slices", slices)
            total, left = total + _tally(told), bool(told["left"])
            if not left:
                break
        return {**attrs.asdict(total), "left": left}

    return sweep


@attrs.define(eq=False)
class Sweeps:
    """Begins turns on *engine*, and the ones after them, for tenants in so many *ranges*; one process does."""

    _engine: Engine
    _duties: Sequence[Duty]
    _ranges: int
    _log: FilteringBoundLogger
    _known: dict[str, None] = attrs.field(factory=dict, init=False)

    @property
    def under_way(self) -> int:
        """How many turns have not ended, as far as was seen."""
        return len(self._known)

    def begin(self, now: datetime) -> int:
        """Begin with every range that has something to destroy at *now* and is not under way; return how many.

        First is the range whose tenant has waited for longest.
        """
        waiting = (tenant for duty in self._duties for tenant in duty.waiting(now, EVERYONE))
        places = {tenant: place for place, tenant in enumerate(dict.fromkeys(waiting))}
        if not places:
            return 0
        busy, ranked = self._busy(now), []
        for number in range(self._ranges):
            share = Share(number, self._ranges)
            here = [places.get(t, len(places)) for duty in self._duties for t in duty.waiting(now, share)]
            if here and number not in busy:
                ranked.append((min(here), number))
        return sum(self._turn(f"{now.astimezone(UTC):{_MOMENT}}", number, 0) for _, number in sorted(ranked))

    def collect(self) -> Tally:
        """Take in the turns that have ended, and begin the next of those that left something."""
        unfinished = dict.fromkeys(self._engine.unfinished(PREFIX))
        ended = [name for name in self._known if name not in unfinished]
        self._known = unfinished
        total = Tally()
        for name in ended:
            total += self._ended(name)
        return total

    def _ended(self, name: str) -> Tally:
        try:
            told = self._engine.answer(name, seconds=0)
        except WorkFailed as error:
            self._log.info("sweep_postponed", reason=error.reason)
            return Tally(postponed=1)
        if told is None:
            return Tally()  # forgotten meanwhile
        found = _NAME.fullmatch(name)
        if told["left"] and found is not None:
            self._turn(found[1], int(found[2]), int(found[3]) + 1)
        return _tally(told)

    def _turn(self, moment: str, number: int, turn: int) -> bool:
        name = f"{PREFIX}{moment}-{number:04d}-{turn}"
        new = self._engine.begin(Work(name, JOB, {"range": number, "of": self._ranges}))
        if new:
            self._known[name] = None
        return new

    def _busy(self, now: datetime) -> set[int]:
        """Return the ranges that are under way."""
        names = [found for name in self._engine.unfinished(PREFIX) if (found := _NAME.fullmatch(name))]
        return {int(found[2]) for found in names if now - _moment(found[1]) < _LOST}


def _moment(text: str) -> datetime:
    return datetime.strptime(text, _MOMENT).replace(tzinfo=UTC)


def _numbers(stint: Stint) -> Answer:
    postponed = sum(stint.postponed.values())
    return {"records": stint.records, "subjects": stint.subjects, "postponed": postponed, "left": int(stint.left)}


def _tally(told: Answer) -> Tally:
    return Tally(records=told["records"], subjects=told["subjects"], postponed=told["postponed"])
