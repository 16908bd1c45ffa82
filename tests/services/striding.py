"""A process that strides through a work and stands still in its third step, for whoever kills it there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from capsule_services.runtime.durable import open_engine
from capsule_services.runtime.engine import Answer, Job, Pace, Steps, Work


def striding(log: Path, third: Callable[[], object]) -> Job:
    """Make a job of five steps, each of which leaves a line in *log*."""

    def stride(steps: Steps, _: Work) -> Answer:
        def step(number: int) -> Answer:
            with log.open("a") as file:
                file.write(f"{os.getpid()} {number}\n")
            if number == 3:
                third()
            return {"number": number}

        return {"total": sum(steps.run("stride", lambda n=n: step(n))["number"] for n in range(1, 6))}

    return stride


def _stand() -> None:
    print("in the third step", flush=True)
    signal.sigwait({signal.SIGUSR1})


if __name__ == "__main__":
    file, url, log = sys.argv[1:]
    engine = open_engine("trial", {"stride": striding(Path(log), _stand)}, Pace(), file=Path(file), url=url or None)
    engine.begin(Work("w-1", "stride"))
    engine.answer("w-1", seconds=60)
