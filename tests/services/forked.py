"""Processes for tests, forked from one that has loaded the services: what takes two seconds is done once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

import attrs

from capsule_services.runtime.children import NURSERY


@attrs.frozen(eq=False)
class Forked:
    """A process, what it says, and the end of a pipe that tells it, when it is closed, that its parent is gone."""

    process: BaseProcess
    stdout: IO[str]
    stderr: IO[str]
    parent: Connection

    @classmethod
    def begin(cls, program: str, *arguments: str, told: Mapping[str, str]) -> Forked:
        """Run *program*, a text, as ``python -c`` would, with this environment besides ours."""
        theirs, parent = os.pipe()
        out, out_of = os.pipe()
        err, err_of = os.pipe()
        with (
            Connection(theirs, writable=False) as watched,
            Connection(out_of, readable=False) as said,
            Connection(err_of, readable=False) as logged,
        ):
            pipes = (watched, said, logged)
            process = NURSERY.Process(
                target=_live, args=(program, arguments, {**os.environ, **told}, pipes), daemon=True
            )
            process.start()
        return cls(process, os.fdopen(out), os.fdopen(err), Connection(parent, readable=False))

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Return how it ended, or None if it has not within so many *seconds*."""
        self.process.join(seconds)
        return self.process.exitcode

    def stands(self) -> bool:
        """Say whether a signal has stopped it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def leave(self) -> None:
        """Be gone, as its parent."""
        self.parent.close()

    def rest(self) -> tuple[int, str, str]:
        """Return how it ended and what else it said."""
        with ThreadPoolExecutor(1) as pool:
            logged = pool.submit(self.stderr.read)
            out = self.stdout.read()
            err = logged.result()
        self.process.join()
        assert self.process.exitcode is not None
        self.close()
        return self.process.exitcode, out, err

    def close(self) -> None:
        """End it by force if it has not ended, and leave nothing open."""
        self.leave()
        self.process.kill()
        self.process.join()
        self.stdout.close()
        self.stderr.close()


def _live(program: str, arguments: Sequence[str], told: Mapping[str, str], pipes: Sequence[Connection]) -> None:
    parent, said, logged = pipes
    os.dup2(said.fileno(), sys.stdout.fileno())
    os.dup2(logged.fileno(), sys.stderr.fileno())
    said.close()
    logged.close()
    os.environ.clear()
    os.environ.update(told, CAPSULE_PARENT=str(parent.fileno()))
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102  a test's own
