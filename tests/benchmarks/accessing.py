"""Subject access: everything on one person over three kinds, however many others there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from capsule_core.names import SubjectKey
from tests.benchmarks import peers
from tests.benchmarks.measuring import Goal, Result, Scale, spent
from tests.benchmarks.people import person
from tests.benchmarks.rig import TENANT, Rig, fill, rigged

__all__ = ["accessing"]

_ASKED = 25


def accessing(scale: Scale, folder: Path) -> Iterator[Result]:
    """Collect what is kept on some people, in a small address book and after it has grown."""
    few, many = scale.accessed
    asked = range(0, few, max(few // _ASKED, 1))
    with rigged(folder / "ours") as rig:
        everybody = set(asked)
        fill(rig, [number for number in range(few) if number not in everybody])
        fill(rig, list(asked), notes=2, photo=True)
        small = _collected(rig, scale, asked)
        fill(rig, range(few, many))
        large = _collected(rig, scale, asked)
    theirs = peers.effaced(folder, few, 2, erased=0)
    yield Result(
        name="subject access",
        against=f"effaced, {few:,} contacts",
        unit="x",
        figure=theirs and theirs["export"].cpu / small,
        goal=Goal(30),
        ours=f"{small * 1e6:.0f} us",
        reference=f"{theirs['export'].cpu * 1e6:.0f} us" if theirs else "",
        why="not installed",
    )
    yield Result(
        name="subject access",
        against=f"itself, from {few:,} to {many:,} contacts",
        unit="x",
        figure=large / small,
        goal=Goal(1.3, at_most=True),
        ours=f"{large * 1e6:.0f} us",
        reference=f"{small * 1e6:.0f} us",
    )


def _collected(rig: Rig, scale: Scale, asked: range) -> float:
    subjects = [SubjectKey(person(number).id) for number in asked]

    def collect() -> None:
        for subject in subjects:
            assert len(list(rig.holding.holder.collect(TENANT, [subject]))) == 4

    collect()
    return median(spent(collect).cpu for _ in range(scale.rounds)) / len(subjects)
