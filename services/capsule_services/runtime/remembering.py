"""An engine that remembers in this process alone: to try jobs with, and what the durable one is compared to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.engine import Answer, Body, Job, Pace, State, Work, WorkFailed, opaque, reason_of

__all__ = ["MemoryEngine"]

_ENDED: Final = {State.DONE, State.FAILED}


@attrs.define(eq=False)
class _Case:
    """One work, and what is known of it."""

    work: Work
    state: State = State.WAITING
    steps: dict[int, Answer] = attrs.field(factory=dict)
    answer: Answer | None = None
    reason: str = ""
    ended: datetime | None = None


@attrs.define(eq=False)
class _Steps:
    case: _Case
    stopped: Callable[[], bool]
    number: int = 0

    def run(self, name: str, body: Body) -> Answer:
        number, self.number = self.number, self.number + 1
        if number not in self.case.steps:
            if self.stopped():
                raise _Stopped
            self.case.steps[number] = opaque(body())
        return dict(self.case.steps[number])


class _Stopped(BaseException):
    """The engine was closed; the work goes on when it is opened again."""


@attrs.define(eq=False)
class MemoryEngine:
    """Does works in threads of this process; *memory* outlives the engine as a database would."""

    _jobs: Mapping[str, Job]
    _pace: Pace = attrs.field(factory=Pace)
    memory: dict[str, _Case] = attrs.field(factory=dict)
    _starts: deque[float] = attrs.field(factory=deque, init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _threads: list[threading.Thread] = attrs.field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for case in self.memory.values():
            if case.state is State.UNDER_WAY:
                case.state = State.WAITING
        for number in range(self._pace.at_once):
            thread = threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def begin(self, work: Work) -> bool:
        """Begin *work*, and return whether it was not begun before."""
        with self._changed:
            if work.id in self.memory:
                return False
            self.memory[work.id] = _Case(work)
            self._changed.notify_all()
        return True

    def state(self, work: str) -> State | None:
        """Tell how far the work of that id is."""
        case = self.memory.get(work)
        return None if case is None else case.state

    def answer(self, work: str, *, seconds: float) -> Answer | None:
        """Wait until a work has ended, at most so many seconds, and return what it answered; None if it has not."""
        with self._changed:
            self._changed.wait_for(lambda: self.state(work) in {*_ENDED, None}, seconds)
            case = self.memory.get(work)
        if case is not None and case.state is State.FAILED:
            raise WorkFailed(case.reason)
        return None if case is None else case.answer

    def unfinished(self, beginning: str) -> Sequence[str]:
        """Name the works that have not ended."""
        with self._changed:
            return [
                name for name, case in self.memory.items() if name.startswith(beginning) and case.state not in _ENDED
            ]

    def forget(self, before: datetime) -> int:
        """Drop what ended before; return how much it was."""
        with self._changed:
            over = [name for name, case in self.memory.items() if case.ended is not None and case.ended < before]
            for name in over:
                del self.memory[name]
        return len(over)

    def take_over(self) -> int:
        """Take up nothing: what this process leaves is gone with it."""
        return 0

    def close(self) -> None:
        """Stop; what is under way stops at its next step."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (case := self._next()) is not None:
            try:
                answer = opaque(self._jobs[case.work.job](_Steps(case, lambda: self._closed), case.work))
            except _Stopped:
                return
            except Exception as error:  # noqa: BLE001  whatever it was, the work has failed, and the others go on
                self._end(case, State.FAILED, reason=reason_of(error))
            else:
                self._end(case, State.DONE, answer=answer)

    def _next(self) -> _Case | None:
        with self._changed:
            while not self._closed:
                waiting = next((case for case in self.memory.values() if case.state is State.WAITING), None)
                pause = self._pause() if waiting else None
                if waiting is not None and not pause:
                    self._starts.append(time.monotonic())
                    waiting.state = State.UNDER_WAY
                    return waiting
                self._changed.wait(pause)
        return None

    def _pause(self) -> float:
        """Return the seconds until one more may begin."""
        now = time.monotonic()
        while self._starts and self._starts[0] <= now - self._pace.seconds:
            self._starts.popleft()
        if len(self._starts) < self._pace.starts:
            return 0
        return self._starts[0] + self._pace.seconds - now

    def _end(self, case: _Case, state: State, *, answer: Answer | None = None, reason: str = "") -> None:
        with self._changed:
            case.answer, case.reason, case.ended, case.state = answer, reason, wall_time(), state
            self._changed.notify_all()
