"""What the suites share: how a clause is named when it is broken, what an adapter may lack, and real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

import attrs
import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

__all__ = ["Capabilities", "ClauseBroken", "at_once", "explore", "lacking", "raised", "require"]

_THREADS: Final = 8
_PATIENCE: Final = 60.0


class ClauseBroken(AssertionError):
    """A port's contract is not kept; the message begins with the clause: ``C5: ...``."""


@attrs.frozen(kw_only=True)
class Capabilities:
    """What an adapter can be tried for; what it lacks is left out, and the suite returns those clauses by name.

    *durable*: ``reopen`` gives the same data from a second opening. *concurrent*: many threads may call at once.
    *readable*: the files it keeps can be searched. *given*: time and actor of a call are the caller's to give (across a
    wire they are the other side's). *losable*: what records are found by can be lost.
    """

    durable: bool = True
    concurrent: bool = True
    readable: bool = True
    given: bool = True
    losable: bool = False


_Capability = Literal["durable", "concurrent", "readable", "given", "losable"]


def require(holds: object, clause: str, because: str) -> None:
    """Let pass what keeps *clause*.

    Raises:
        ClauseBroken: it does not.
    """
    if not holds:
        raise ClauseBroken(f"{clause}: {because}")


def raised(call: Callable[[], object], *expected: type[Exception]) -> Exception | None:
    """Return the error of one of the classes *expected* that *call* raised; None if it raised none."""
    try:
        call()
    except expected as error:
        return error
    return None


def lacking(capabilities: Capabilities, clauses: Sequence[tuple[_Capability, str]]) -> tuple[str, ...]:
    """Name the clauses that go untried, each with the capability that is missing for it."""
    return tuple(f"{clause}: not {name}" for name, clause in clauses if not getattr(capabilities, name))


def explore(machine: Callable[[], RuleBasedStateMachine], settings: hypothesis.settings | None) -> None:
    """Let Hypothesis walk through machines that *machine* makes; *settings* are those of the profile if None."""
    made = cast("type[RuleBasedStateMachine]", machine)
    run_state_machine_as_test(made, settings=settings or hypothesis.settings())


def at_once(call: Callable[[int], Any], count: int = _THREADS) -> list[Any]:
    """Call *count* times from as many threads, let loose together; return what each returned, or its error."""
    results: list[Any] = [None] * count
    together = threading.Barrier(count)

    def run(number: int) -> None:
        together.wait(_PATIENCE)
        try:
            results[number] = call(number)
        except Exception as error:  # noqa: BLE001  whoever asked decides what it means
            results[number] = error

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    return results
