"""A part of a benchmark in a process of its own, forked from one that has loaded the services."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import IO, Any

import attrs

from capsule_services.runtime.children import NURSERY

__all__ = ["Beside", "beside", "say"]

_PATIENCE = 30


@attrs.frozen
class Beside:
    """What goes on beside us, what it *said* when it was ready, and how to ask it."""

    said: dict[str, Any]
    _asks: IO[str]
    _answers: IO[str]

    def ask(self) -> dict[str, Any]:
        """Send an empty line, and return what is said to that."""
        self._asks.write("\n")
        self._asks.flush()
        return _heard(self._answers)


@contextmanager
def beside(work: Callable[..., None], *arguments: object) -> Iterator[Beside]:
    """Do *work* in another process while the block lasts: until its standard input ends."""
    asked, asks = os.pipe()
    answers, answered = os.pipe()
    with os.fdopen(asks, "w") as to_it, os.fdopen(answers) as from_it:
        with Connection(asked, writable=False) as theirs, Connection(answered, readable=False) as said:
            process = NURSERY.Process(target=_live, args=(work, arguments, theirs, said), daemon=True)
            process.start()
        try:
            yield Beside(_heard(from_it), to_it, from_it)
        finally:
            to_it.close()
            process.join(_PATIENCE)
            process.kill()
            process.join()


def say(**said: Any) -> None:
    """Say something to whoever is beside this process."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _heard(answers: IO[str]) -> dict[str, Any]:
    return dict(json.loads(answers.readline()))


def _live(work: Callable[..., None], arguments: tuple[object, ...], asked: Connection, said: Connection) -> None:
    os.dup2(asked.fileno(), 0)
    os.dup2(said.fileno(), 1)
    asked.close()
    said.close()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  as long as the process
    work(*arguments)
