"""``python -m tests.fuzzing.guided``: coverage-guided fuzzing, a process for each target.

The product is imported once, instrumented; then every target gets a process that is forked off. Nothing in this module
imports the product before that.

A folder for each target holds what it did: ``corpus`` (real samples at first), ``log``, and the input that broke it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import atheris

__all__ = ["main"]

_PRODUCT: Final = ["capsule_core", "capsule_services"]
_BESIDE: Final = ["capsule_sql", "joserfc"]
"""Instrumented too where there is time for it."""
_QUIET: Final = [
    "capsule_core.memory",
    "capsule_core.testing",
    "capsule_services.demo",
    "capsule_services.doctor",
    "capsule_services.sample",
    "capsule_services.runtime.children",
    "capsule_services.runtime.deployment",
    "capsule_services.runtime.log",
    "capsule_services.runtime.metrics",
    "capsule_services.runtime.process",
    "capsule_services.runtime.server",
    "capsule_services.runtime.workers",
]
"""What parses nothing guides nowhere, and takes its time to be instrumented."""
_SLOW: Final = 20
_MEBIBYTES: Final = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets that are named, some at a time; say on each line which began or ended, and how."""
    asked = _parser().parse_args(arguments)
    known = _targets(asked.names, _PRODUCT + _BESIDE if asked.seconds else _PRODUCT)
    waiting, running, worst, parent = list(asked.names), dict[int, str](), 0, os.getpid()
    try:
        while waiting or running:
            while waiting and len(running) < asked.jobs:
                name = waiting.pop(0)
                running[_begun(known[name], asked.folder / name, asked)] = name
                print("began", name, flush=True)
            process, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            worst = max(worst, abs(code))
            print("ended", running.pop(process), code, flush=True)
    finally:
        if os.getpid() == parent:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
    return 1 if worst else 0


def _targets(names: Sequence[str], instrumented: list[str]) -> Mapping[str, Any]:
    """Import the table of targets, and what they are of *instrumented*; if the planted one is all, only that."""
    atheris.enabled_hooks.add("str")
    if set(names) == {"planted"}:
        with atheris.instrument_imports(include=["tests.fuzzing.planted"]):
            from tests.fuzzing.planted import PLANTED
        return {"planted": PLANTED}
    with atheris.instrument_imports(include=instrumented, exclude=_QUIET):
        from tests.fuzzing.targets import TARGETS
    return TARGETS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing.guided", description=__doc__)
    parser.add_argument("folder", type=Path, help="where each target gets a folder")
    parser.add_argument("names", nargs="+", help="the targets")
    parser.add_argument("--seconds", type=int, default=0, help="for each target; without, its short run")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    return parser


def _begun(target: Any, folder: Path, asked: Any) -> int:
    process = os.fork()
    if process:
        return process
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    _fuzz(target, folder, seconds=asked.seconds)
    raise SystemExit  # and not by os._exit: libFuzzer writes what broke it when the interpreter ends


def _fuzz(target: Any, folder: Path, *, seconds: int) -> None:
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:32]).write_bytes(seed[: target.longest])
    options = {
        "seed": 1,
        "reload": 0,
        "max_len": target.longest,
        "timeout": _SLOW,
        "rss_limit_mb": _MEBIBYTES,
        "print_final_stats": 1,
        "artifact_prefix": f"{folder}/",
        **({"max_total_time": seconds} if seconds else {"runs": target.runs}),
    }

    def take(data: bytes) -> None:
        target.takes(data)

    atheris.Setup([sys.argv[0], *_written(options), str(corpus)], take)
    atheris.Fuzz()


def _written(options: Mapping[str, object]) -> Iterator[str]:
    return (f"-{name}={value}" for name, value in options.items())


if __name__ == "__main__":
    sys.exit(main())
