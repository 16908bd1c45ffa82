"""Processes that ship one journal: killed between any two steps, and two at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from capsule_core.journal import Entry, PageResealed
from capsule_services.places.place import FolderPlace, Place
from capsule_services.runtime.children import NURSERY
from tests.services.shipping import dropped, marked, resealed, shipping, there


class Dying:
    """A place at which the process is killed before or after the Nth call."""

    def __init__(self, place: Place, last: int) -> None:
        self._place, self._last, self._taken = place, last, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._place, name)

        def asked(*args: Any) -> Any:
            self._step()
            result = found(*args)
            self._step()
            return result

        return asked

    def _step(self) -> None:
        self._taken += 1
        if self._taken == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def compacting(folder: Path, place: Path, last: int) -> None:
    with shipping(folder, Dying(FolderPlace(place), last)) as shipped:
        dropped(shipped)
        shipped.shipper.tidy()


def appending(folder: Path, place: Path, last: int) -> None:
    with shipping(folder, Dying(FolderPlace(place), last)) as shipped:
        shipped.acknowledged(*(resealed(no, 9) for no in range(9)))


@pytest.mark.parametrize("work", [compacting, appending])
def test_killed_between_any_two_steps_nothing_is_lost(tmp_path: Path, work: Callable[..., None]) -> None:
    for last in count(1, 2 if work is compacting else 1):
        folder, at = tmp_path / f"{last}" / "contacts", tmp_path / f"{last}" / "place"
        place = FolderPlace(at)
        with shipping(folder, place) as shipped:
            for generation in range(1, 4):
                shipped.acknowledged(*(resealed(no, generation) for no in range(9)), marked(generation))
            acknowledged = shipped.here()
        process = NURSERY.Process(target=work, args=(folder, at, last))
        process.start()
        process.join()
        kept = there(place)
        wanted = [row for row in acknowledged if row in kept] if work is compacting else acknowledged
        assert newest_of(kept) >= newest_of(acknowledged)
        assert kept[: len(wanted)] == wanted
        with shipping(folder, place) as again:
            again.shipper.look(always=True)
            dropped(again)
            again.shipper.tidy()
            assert there(place) == again.here()
            assert again.shipper.tidy() == 0
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert last > 8


def newest_of(rows: list[tuple[int, Entry]]) -> tuple[int, ...]:
    """Return the newest generation of each page, and how many marks there are."""
    pages: dict[int, int] = {}
    for _, entry in rows:
        if isinstance(entry, PageResealed):
            pages[entry.page.number] = max(pages.get(entry.page.number, 0), entry.page.generation)
    marks = sum(1 for _, entry in rows if not isinstance(entry, PageResealed))
    return (*(pages[number] for number in sorted(pages)), marks)


def writing(folder: Path, place: Path, first: int) -> None:
    with shipping(folder, FolderPlace(place)) as shipped:
        for no in range(first, first + 40):
            shipped.acknowledged(marked(no))
            if no % 10 == 0:
                shipped.shipper.tidy()


def test_two_processes_that_write_for_one_service_do_not_tear_it(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "place")
    with shipping(tmp_path / "contacts", place) as shipped:
        shipped.acknowledged()
        processes = [
            NURSERY.Process(target=writing, args=(shipped.folder, place.folder, first)) for first in (100, 200)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        kept = there(place)
        assert kept == shipped.here()
        assert sorted(kept[1:]) == kept[1:]
        ids = [entry.reasons[0].id for _, entry in kept[1:]]
        for first in (100, 200):
            ours = [name for name in ids if name.startswith(f"hold-{first // 100}")]
            assert ours == [f"hold-{no}" for no in range(first, first + 40)]
        shipped.acknowledged(marked(1))
        assert there(place) == shipped.here()
