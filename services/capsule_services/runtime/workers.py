"""The threads that answer calls: whoever asks much waits for their own calls, not others for theirs.

gRPC hands every call to one executor. The interceptor runs on the same thread just before and says whose the call is,
so calls can wait in a queue of each party instead of one for all. Streams have threads of their own: interactive calls
never wait for one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, Final

import attrs

from capsule_core.errors import RateExceeded
from capsule_services.runtime.fairness import Turns

__all__ = ["ANYONE", "NEWCOMERS", "OPERATIONS", "SERVICES", "Crew", "Job", "Workers"]

_MOST_WAITING: Final = 128
_PAUSE: Final = 100
_PATIENCE: Final = 1.0

# No tenant's id has a slash.
NEWCOMERS: Final = "callers/newcomers"
"""Users whose token was not seen before."""

ANYONE: Final = "callers/anyone"
"""Whoever calls what is for anyone."""

SERVICES: Final = "callers/services"
"""Whoever calls what is for services."""

OPERATIONS: Final = "callers/operations"
"""Whoever asks for the health, or what services ask each other all the time."""

_PARTS: Final = {NEWCOMERS: 4, ANYONE: 4, SERVICES: 4, OPERATIONS: 8}
_HALF: Final = 2

Job = Callable[[], None]
"""Answers one call, or part of it."""


@attrs.define(eq=False)
class Crew:
    """So many threads, at work in turns; they are started when they are first needed."""

    name: str
    turns: Turns[Job]
    _ready: SimpleQueue[tuple[str, Job] | None] = attrs.field(factory=SimpleQueue, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _threads: list[threading.Thread] = attrs.field(factory=list, init=False, repr=False)

    def do(self, party: str, job: Job) -> None:
        """Have *job* done when it is the turn of *party*."""
        with self._lock:
            self.turns.add(party, job)
            begun = self.turns.begin()
            if begun is not None and self.turns.busy > len(self._threads):
                self._start()
        if begun is not None:
            self._ready.put(begun)

    def crowded(self, party: str) -> bool:
        """Tell whether *party* has as many jobs waiting as it may."""
        return self.turns.waiting(party) >= _MOST_WAITING

    def end(self, patience: float) -> None:
        """Let the threads end when nothing waits any more; wait at most so many seconds for them."""
        for _ in self._threads:
            self._ready.put(None)
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))

    def _start(self) -> None:
        name = f"{self.name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (begun := self._ready.get()) is not None:
            while begun is not None:
                begun[1]()
                with self._lock:
                    self.turns.end(begun[0])
                    begun = self.turns.begin()


class Workers(Executor):
    """The crews of a server: *width* threads for calls, as many for streams, and one that refuses what is too much.

    A tenant has at most half of those for calls. Callers who have not shown a token that was seen before have a quarter
    by kind, and together not all: whoever is known always finds a thread.
    """

    def __init__(self, name: str, width: int) -> None:
        def share(party: str) -> int:
            return max(width // _PARTS.get(party, _HALF), 1)

        self._calls = Crew(f"{name}-call", Turns(width, share))
        self._streams = Crew(f"{name}-stream", Turns(width, lambda _: width))
        self._refusals = Crew(f"{name}-refusal", Turns(1, lambda _: 1))
        self._next = (self._calls, ANYONE)

    @property
    def busy(self) -> tuple[int, int]:
        """How many calls are under way, and how many streams."""
        return self._calls.turns.busy, self._streams.turns.busy

    def expect(self, party: str, *, stream: bool) -> None:
        """Say whose call is submitted next, by the thread that says it.

        Raises:
            RateExceeded: too many of that party are waiting.
        """
        crew = self._streams if stream else self._calls
        if crew.crowded(party):
            raise RateExceeded(_PAUSE)
        self._next = (crew, party)

    def expect_refusal(self) -> None:
        """Say that the call submitted next is one that is refused at once."""
        self._next = (self._refusals, ANYONE)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call answered when its turn comes."""
        (crew, party), self._next = self._next, (self._calls, ANYONE)
        future: Future[Any] = Future()
        crew.do(party, lambda: _fulfil(future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end when nothing waits any more; *wait* for them a moment."""
        for crew in (self._calls, self._streams, self._refusals):
            crew.end(_PATIENCE if wait else 0)


def _fulfil(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  it is for whoever looks at the future; the thread goes on
        future.set_exception(error)
    else:
        future.set_result(result)
