"""How something is measured here: beside its reference, in interleaved rounds, by processor time where it can be."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Literal

import attrs

__all__ = ["QUICK", "Benchmark", "Clock", "Goal", "Result", "Scale", "Spent", "interleaved", "ratio", "spent"]

Clock = Literal["cpu", "wall"]


@attrs.frozen
class Spent:
    """Seconds: of all processors by this process, and on the wall."""

    cpu: float
    wall: float

    def each(self, count: int) -> Spent:
        return Spent(self.cpu / count, self.wall / count)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cpu + other.cpu, self.wall + other.wall)


def spent(body: Callable[[], object]) -> Spent:
    """Run *body* and say what it took."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    body()
    return Spent(time.process_time() - cpu, time.perf_counter() - wall)


def interleaved(sides: Mapping[str, Callable[[int], Spent]], rounds: int) -> dict[str, list[Spent]]:
    """Ask every side once a round, in turn, so that whatever else the machine does meets them alike."""
    taken: dict[str, list[Spent]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            taken[name].append(side(number))
    return taken


def ratio(reference: list[Spent], ours: list[Spent], clock: Clock) -> float:
    """Return how many times as fast as the reference we are: the median over rounds."""
    pairs = zip(reference, ours, strict=True)
    return median(getattr(theirs, clock) / max(getattr(own, clock), 1e-9) for theirs, own in pairs)


@attrs.frozen
class Goal:
    """What a figure should be: at least *value*, or at most."""

    value: float
    at_most: bool = False

    def met_by(self, figure: float) -> bool:
        return figure <= self.value if self.at_most else figure >= self.value


@attrs.frozen(kw_only=True)
class Result:
    """One line of the table. *figure* is in *unit*; *goal* None: said for information; *why* there is no figure."""

    name: str
    against: str
    unit: Literal["%", "x", "us", "ms", "MiB", "/s", "statements"]
    figure: float | None
    goal: Goal | None = None
    ours: str = ""
    reference: str = ""
    why: str = ""

    @property
    def verdict(self) -> str:
        if self.figure is None:
            return self.why
        if self.goal is None:
            return ""
        return "met" if self.goal.met_by(self.figure) else "missed"


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured. The sizes of ``--quick`` prove that everything still runs, and nothing else."""

    rounds: int = 5
    batch: int = 500
    imported: int = 2_000
    signatures: int = 1_000_000
    searched: int = 20_000
    queries: int = 40
    calls: int = 300
    clients: int = 16
    trashed: int = 1_000
    children: int = 4
    erased: int = 10_000
    erased_singly: int = 20
    swept: int = 100_000
    swept_due: int = 1_000
    backed_up: int = 100_000
    exported: int = 5_000
    leaves: int = 20_000
    single_leaves: int = 200
    proved_leaves: int = 1_000_000
    proofs: int = 100
    decisions: int = 100_000
    accessed: tuple[int, int] = (10_000, 100_000)
    peers: int = 100


QUICK = Scale(
    rounds=1,
    batch=20,
    imported=40,
    signatures=400,
    searched=40,
    queries=2,
    calls=4,
    clients=2,
    trashed=6,
    children=2,
    erased=12,
    erased_singly=2,
    swept=50,
    swept_due=3,
    backed_up=60,
    exported=40,
    leaves=300,
    single_leaves=4,
    proved_leaves=600,
    proofs=3,
    decisions=100,
    accessed=(10, 30),
    peers=3,
)
"""A smoke run."""

Benchmark = Callable[[Scale, Path], Iterator[Result]]
"""Measures at a scale, with files in a folder of its own."""
