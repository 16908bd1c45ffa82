"""``python -m tests.fuzzing``: fuzz every way in from outside, guided by coverage; what breaks one is kept and told."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.fuzzing.targets import TARGETS

__all__ = ["Outcome", "fuzzed", "main"]

_REPOSITORY: Final = Path(__file__).parents[2]
_RUNS: Final = re.compile(r"number_of_executed_units: ([0-9]+)")
_COVERAGE: Final = re.compile(r" cov: ([0-9]+) ")
_BROKE: Final = re.compile(r"(crash|timeout|oom|leak)-[0-9a-f]+")


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a target: how many inputs it was given, how many branches they reached, what broke it."""

    name: str
    code: int
    runs: int
    coverage: int
    broke: tuple[Path, ...]
    log: str = attrs.field(repr=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what the command line asks for; 1 if something broke."""
    asked = _parser().parse_args(arguments)
    if asked.input is not None:
        return _once(asked.only, asked.input)
    if find_spec("atheris") is None:
        sys.exit("atheris is not published for this platform; tox -e deep tries the same targets without it")
    names = asked.only or list(TARGETS)
    each = max(1, asked.seconds * asked.jobs // len(names))
    with tempfile.TemporaryDirectory(prefix="capsule-fuzzing-") as folder:
        found = list(fuzzed(names, Path(folder), seconds=each, jobs=asked.jobs, console=Console(stderr=True)))
        kept = {outcome.name: [_kept(path, outcome.name, asked.output) for path in outcome.broke] for outcome in found}
    _show(found, seconds=each)
    for outcome in found:
        if outcome.code:
            print(f"\n{outcome.name} broke:\n{_last_lines(outcome.log)}")
        for path in kept[outcome.name]:
            print(f"  python -m tests.fuzzing --only {outcome.name} --input {path}")
    return 1 if any(outcome.code for outcome in found) else 0


def fuzzed(names: Sequence[str], folder: Path, *, seconds: int, jobs: int, console: Console) -> Iterator[Outcome]:
    """Fuzz the targets *names* in *folder*, *jobs* at a time; without *seconds* for each, its short run."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        _guided([str(folder), *names, "--seconds", str(seconds), "--jobs", str(jobs)]) as told,
    ):
        everything = progress.add_task("targets", total=len(names))
        running: dict[str, TaskID] = {}
        for line in told:
            what, name, *code = line.split()
            if what == "began":
                running[name] = progress.add_task(f"  {name}", total=None)
            else:
                progress.remove_task(running.pop(name))
                progress.advance(everything)
                yield _outcome(name, int(code[0]), folder / name)


@contextmanager
def _guided(arguments: Sequence[str]) -> Iterator[Iterator[str]]:
    command = [sys.executable, "-m", "tests.fuzzing.guided", *arguments]
    # What a set is iterated in is the same in every run, so that what is tried is too.
    process = subprocess.Popen(
        command,
        cwd=_REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            yield iter(process.stdout)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            problem = process.stderr.read()
    if process.returncode not in {0, 1}:
        raise RuntimeError(problem)


def _outcome(name: str, code: int, folder: Path) -> Outcome:
    log = (folder / "log").read_text(errors="replace")
    return Outcome(
        name=name,
        code=code,
        runs=int(found[-1]) if (found := _RUNS.findall(log)) else 0,
        coverage=int(found[-1]) if (found := _COVERAGE.findall(log)) else 0,
        broke=tuple(path for path in sorted(folder.iterdir()) if _BROKE.fullmatch(path.name)),
        log=log,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument("--only", action="append", choices=list(TARGETS), help="one of them; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--output", type=Path, help="folder for inputs that broke something; without, a new one")
    parser.add_argument("--input", type=Path, help="give this file to the target of --only, once")
    return parser


def _once(only: Sequence[str] | None, path: Path) -> int:
    if only is None or len(only) != 1:
        sys.exit("say the target of the input: --only NAME")
    print("taken" if TARGETS[only[0]].takes(path.read_bytes()) else "refused")
    return 0


def _kept(path: Path, name: str, output: Path | None) -> Path:
    folder = output or Path(tempfile.mkdtemp(prefix="capsule-broken-"))
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, folder / f"{name}-{path.name}"))


def _last_lines(log: str) -> str:
    _, found, rest = log.partition("=== Uncaught Python exception: ===")
    return (rest if found else log).strip().partition("\n==")[0]


def _show(outcomes: Sequence[Outcome], *, seconds: int) -> None:
    table = Table("target", "inputs", "a second", "branches", "", title=f"{seconds} seconds for each target")
    for outcome in outcomes:
        held = "[bold red]broke[/]" if outcome.code else "[green]held[/]"
        rate = f"{outcome.runs / seconds:,.0f}"
        table.add_row(outcome.name, f"{outcome.runs:,}", rate, str(outcome.coverage), held)
    table.add_row("together", f"{sum(each.runs for each in outcomes):,}", "", "", "")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


if __name__ == "__main__":
    sys.exit(main())
