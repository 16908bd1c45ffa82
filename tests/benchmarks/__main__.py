"""``python -m tests.benchmarks``: measure, print the table, write bench.json."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.benchmarks.accessing import accessing
from tests.benchmarks.backing_up import backing_up
from tests.benchmarks.deciding import deciding
from tests.benchmarks.exporting import exporting
from tests.benchmarks.fairness import fairness
from tests.benchmarks.importing import importing
from tests.benchmarks.keeping_log import keeping_log
from tests.benchmarks.measuring import QUICK, Benchmark, Result, Scale
from tests.benchmarks.on_server import on_server
from tests.benchmarks.purging import purging
from tests.benchmarks.reading import reading
from tests.benchmarks.retaining import retaining
from tests.benchmarks.searching import searching
from tests.benchmarks.serving import serving
from tests.benchmarks.sweeping import sweeping_tenants
from tests.benchmarks.trashing import trashing

__all__ = ["BENCHMARKS", "main", "measured"]

BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "permission": deciding,
    "retention": retaining,
    "ledger": keeping_log,
    "import": importing,
    "trash": trashing,
    "purge": purging,
    "sweep": sweeping_tenants,
    "export": exporting,
    "get": serving,
    "fairness": fairness,
    "reading": reading,
    "access": accessing,
    "search": searching,
    "backup": backing_up,
    "server": on_server,
}
"""What there is to measure, the quickest first."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for; a goal that is missed is said, and is no failure."""
    asked = _parser().parse_args(arguments)
    scale = QUICK if asked.quick else Scale()
    results = measured(asked.only or list(BENCHMARKS), scale, Console(stderr=True))
    rows = [_row(result) for result in results]
    text = json.dumps({"quick": asked.quick, "results": rows}, indent=2) + "\n"
    asked.output.write_text(text, encoding="utf-8")
    if asked.json:
        print(text, end="")
    else:
        _show(results, Console(width=None if sys.stdout.isatty() else 150), quick=asked.quick)


def measured(names: Sequence[str], scale: Scale, console: Console) -> list[Result]:
    """Run the benchmarks *names* one after the other, each in a folder of its own that does not stay."""
    results: list[Result] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for name in names:
            task = progress.add_task(name, total=1)
            with tempfile.TemporaryDirectory() as folder:
                results += BENCHMARKS[name](scale, Path(folder))
            progress.update(task, completed=1)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything still run?")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="one of them; may be repeated")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where to write the results")
    return parser


def _row(result: Result) -> dict[str, object]:
    goal = result.goal
    told = attrs.asdict(result, filter=lambda field, _: field.name not in {"goal", "why"})
    limit = None if goal is None else {"value": goal.value, "at_most": goal.at_most}
    return {**told, "goal": limit, "verdict": result.verdict}


def _show(results: Sequence[Result], console: Console, *, quick: bool) -> None:
    table = Table(title="a smoke run: the figures mean nothing" if quick else None)
    for column in ("operation", "against", "ours", "reference", "figure", "goal", ""):
        table.add_column(column, overflow="fold")
    colours = {"met": "green", "missed": "red"}
    for result in results:
        style = colours.get(result.verdict, "dim")
        verdict = f"[{style}]{result.verdict}[/]"
        goal = "" if result.goal is None else _goal(result)
        figure = "" if result.figure is None else _figure(result.figure, result.unit)
        table.add_row(result.name, result.against, result.ours, result.reference, figure, goal, verdict)
    console.print(table)


def _goal(result: Result) -> str:
    assert result.goal
    return f"{'≤' if result.goal.at_most else '≥'} {_figure(result.goal.value, result.unit)}"


def _figure(value: float, unit: str) -> str:
    shown = f"{value:,.0f}" if abs(value) >= 20 or value == int(value) else f"{value:.2g}"
    return f"{shown}{'' if unit in '%x' else ' '}{unit}"


if __name__ == "__main__":
    main()
