"""The processes of a deployment: started, waited for, started anew where others of their service go on, and stopped.

They are forked from one process that has loaded what they run, and has done nothing else: loading takes two seconds of
a processor, and is paid once for all of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import attrs

from capsule_services.runtime.faults import StartRefused

__all__ = ["NURSERY", "Child", "Children"]

_ENGINE: Final = "runtime.durable"
"""What two services of three import when they are ready, and a command that runs none never."""

NURSERY: Final = get_context("forkserver")
"""Where they are forked; what is begun first pays for the loading."""
NURSERY.set_forkserver_preload(
    [f"capsule_services.{name}" for name in ("contacts.__main__", "identity.__main__", "privacy.__main__", _ENGINE)]
)

_READY_WITHIN: Final = 30.0
_STOPPED_WITHIN: Final = 10.0


@attrs.frozen(kw_only=True)
class Child:
    """A process of *service*, *called* as its log is; its environment says what is *told*."""

    service: str
    called: str
    told: Mapping[str, str] = attrs.field(repr=False)


@attrs.define(eq=False)
class Children:
    """Processes with a log each in the folder *logs*; they inherit the descriptor *parent*, which tells them to end."""

    _logs: Path
    _parent: int
    processes: dict[str, BaseProcess] = attrs.field(factory=dict, init=False)
    _children: dict[str, Child] = attrs.field(factory=dict, init=False, repr=False)
    _said: dict[str, Future[str]] = attrs.field(factory=dict, init=False, repr=False)

    def start(self, children: Sequence[Child]) -> Mapping[str, str]:
        """Start *children* side by side; return where their services listen, when all are ready.

        Raises:
            StartRefused: one of them is not; the text says why.
        """
        for child in children:
            self._start(child)
        return {child.service: self._address(child.called) for child in children}

    def failed(self) -> str | None:
        """Name one that has ended and cannot be replaced: the last of its service, or one that never was ready."""
        return next((called for called in self._ended() if not self._is_replaceable(called)), None)

    def end_of(self, called: str) -> str:
        """Say how a process has ended: by itself, or by a signal, and which."""
        code = self.processes[called].exitcode
        if code is None or code >= 0:
            return "ended by itself"
        return f"was ended by {_signal(-code)}"

    def replaced(self) -> Sequence[str]:
        """Start anew those that have ended while others of their service go on; name them."""
        names = [called for called in self._ended() if self._is_replaceable(called)]
        for called in names:
            self.processes[called].close()
            self._start(self._children[called])
        return names

    def stop(self, order: Iterable[str]) -> None:
        """End all of them, service by service in *order*; return when none is left."""
        for service in order:
            for called, process in self.processes.items():
                if self._children[called].service == service:
                    process.terminate()
        for process in self.processes.values():
            process.join(_STOPPED_WITHIN)
            process.kill()
            process.join()

    def _ended(self) -> list[str]:
        return [called for called, process in self.processes.items() if process.exitcode is not None]

    def _is_replaceable(self, called: str) -> bool:
        service = self._children[called].service
        others = [each for each, child in self._children.items() if child.service == service and each != called]
        return self._was_ready(called) and any(map(self._serves, others))

    def _serves(self, called: str) -> bool:
        return self._was_ready(called) and self.processes[called].exitcode is None

    def _was_ready(self, called: str) -> bool:
        said = self._said[called]
        return said.done() and bool(said.result())

    def _start(self, child: Child) -> None:
        whole = attrs.evolve(child, told={**os.environ, **child.told})
        log = self._logs.absolute() / f"{child.called}.log"
        heard, told = os.pipe()
        with Connection(os.dup(self._parent), writable=False) as parent, Connection(told, readable=False) as said:
            process = NURSERY.Process(target=_live, args=(whole, Path.cwd(), log, parent, said), daemon=True)
            process.start()
        self._children[child.called], self.processes[child.called] = child, process
        self._said[child.called] = _readiness(heard)

    def _address(self, called: str) -> str:
        try:
            line = self._said[called].result(timeout=_READY_WITHIN)
        except TimeoutError:
            raise StartRefused(
                f"{called} is not ready after {_READY_WITHIN:.0f} seconds; see logs/{called}.log"
            ) from None
        if line:
            return str(json.loads(line)["address"])
        lines = (self._logs / f"{called}.log").read_text(errors="replace").splitlines() or [""]
        self.processes[called].join(_STOPPED_WITHIN)  # it has closed its output, which is about all it still does
        raise StartRefused(
            lines[-1] if not lines[-1].startswith("{") else f"{called} {self.end_of(called)}; see logs/{called}.log"
        )


def _live(child: Child, folder: Path, log: Path, parent: Connection, said: Connection) -> None:
    """Be *child*: what it reads, writes and is called is as if it had been started by itself."""
    os.setsid()  # Ctrl-C is for whoever started us, and stops us in order
    os.chdir(folder)
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.dup2(said.fileno(), sys.stdout.fileno())
    said.close()
    os.environ.clear()
    os.environ.update(child.told, CAPSULE_PARENT=str(parent.fileno()))
    with suppress(OSError):
        Path("/proc/self/comm").write_text(child.called)  # where there is such a thing, ps and top show it
    service = import_module(f"capsule_services.{child.service}.__main__")
    sys.exit(service.run(service.NAME, service.build))


def _readiness(heard: int) -> Future[str]:
    """Read the line a service says when it is ready, without waiting for one after the other."""
    said: Future[str] = Future()

    def read() -> None:
        with os.fdopen(heard) as out:
            said.set_result(out.readline())

    threading.Thread(target=read, daemon=True).start()
    return said


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one has no name
        return f"signal {number}"
