"""Durable work: begun by an id, once, and led to its end by whoever is there, however often processes die on the way.

An engine keeps which step of which work has ended, and nothing else: what work is told, what its steps answer and what
an error says are opaque ids and numbers, never anything about a person. Whoever needs to know what was really done
asks the ledger; an engine's state may be lost, and its work begun again.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

import attrs

from capsule_core.errors import CapsuleError, InvalidField

__all__ = ["Answer", "Body", "Engine", "Job", "Pace", "State", "Steps", "Work", "WorkFailed", "opaque", "reason_of"]

Answer = Mapping[str, int]
"""What a step or a work answers: names and numbers, which are kept as JSON."""

Body = Callable[[], Answer]
"""What a step does; it may be done again if the process dies within, so doing it twice must do no harm."""

_ID: Final = re.compile(r"[a-z0-9][A-Za-z0-9-]{0,99}")
_WORD: Final = re.compile(r"[a-z][a-z_]{0,39}")


@attrs.frozen
class Work:
    """So much to do: by which *job*, and with what *numbers*; *id* tells it from all other, for ever."""

    id: str
    job: str
    numbers: Answer = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not (_ID.fullmatch(self.id) and _WORD.fullmatch(self.job)):
            raise InvalidField("work", "must have an id and a job of letters, digits and hyphens")
        opaque(self.numbers)


class State(enum.Enum):
    """How far a work is."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"


@attrs.define
class WorkFailed(Exception):
    """A work ended with an error, of which the *reason* is kept and nothing else."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@attrs.frozen(kw_only=True)
class Pace:
    """How fast works may be done: *at_once* in one process, and everywhere no more than *starts* in *seconds*."""

    at_once: int = 2
    starts: int = 20
    seconds: float = 1.0


class Steps(Protocol):
    """What a job is given to do its steps with."""

    def run(self, name: str, body: Body) -> Answer:
        """Do a step, or give what it answered when it was done before; the same steps come in the same order."""
        ...


Job = Callable[[Steps, Work], Answer]
"""Does one kind of work; between its steps it decides by nothing but what they answered."""


class Engine(Protocol):
    """Leads works to their ends.

    E1. What was begun under an id is begun once: ``begin`` says whether it was new, and changes nothing if it was not.
    E2. Each work comes to its end, DONE or FAILED, also if the process dies at any moment, as long as one is there.
    E3. A step that has ended is not done again, whoever goes on, and gives the same answer again; at most the step that
        was under way when a process died is done again.
    E4. In a process no more than ``at_once`` works are under way, and no more than ``starts`` begin in ``seconds``.
        What waits is taken up in the order it was begun in.
    E5. ``state`` and ``answer`` know works by id, and nothing of an id that was not begun or is forgotten;
        ``unfinished`` names those WAITING and UNDER_WAY whose ids begin so, the oldest first.
    E6. ``forget`` drops what ended before a moment, with all that was kept of it, and nothing else; it may be begun
        again.
    E7. Of an error its reason is kept: ``CapsuleError.reason``, or the name of its class; never what it says.
    """

    def begin(self, work: Work) -> bool:
        """Begin *work*, and return whether it was not begun before."""
        ...

    def state(self, work: str) -> State | None:
        """Tell how far the work of that id is."""
        ...

    def answer(self, work: str, *, seconds: float) -> Answer | None:
        """Wait until a work has ended, at most so many seconds, and return what it answered; None if it has not.

        Raises:
            WorkFailed: it ended with an error.
        """
        ...

    def unfinished(self, beginning: str) -> Sequence[str]:
        """Name the works that have not ended."""
        ...

    def forget(self, before: datetime) -> int:
        """Drop what ended before; return how much it was. *before* is of the wall clock."""
        ...

    def take_over(self) -> int:
        """Take up what processes left that are gone; return how much it was."""
        ...

    def close(self) -> None:
        """Stop; what is under way goes on when an engine is opened again."""
        ...


def opaque(answer: Mapping[str, object]) -> dict[str, int]:
    """Return *answer* as it may be kept.

    Raises:
        InvalidField: it holds something else than names of ours and numbers.
    """
    kept: dict[str, int] = {}
    for name, number in answer.items():
        if not _WORD.fullmatch(name) or not isinstance(number, int):
            raise InvalidField("answer", "must be names and whole numbers")
        kept[name] = int(number)
    return kept


def reason_of(error: BaseException) -> str:
    """Say of an error what may be kept."""
    return error.reason if isinstance(error, CapsuleError | WorkFailed) else type(error).__name__
