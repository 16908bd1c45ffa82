"""Backing up: against copying the file; again after a few changes; and the replay of many erasures after a restore."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs

from capsule_core.names import RecordId
from capsule_core.restoring import replay
from capsule_core.uses import Use
from capsule_services.backup.chunks import BackupKey
from capsule_services.backup.making import make
from capsule_services.backup.manifest import Manifest
from capsule_services.backup.replacing import put_back
from capsule_services.places.place import FolderPlace
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import NOW, person
from tests.benchmarks.purging import erase_all
from tests.benchmarks.rig import TENANT, Rig, act_of, fill, rigged

__all__ = ["backing_up"]

_KEY: Final = BackupKey(bytes(32))
_SINGLY: Final = 20
"""As many people are erased by one act, so that the journal has many acts and many sealings of pages."""


def backing_up(scale: Scale, folder: Path) -> Iterator[Result]:
    """Back up, change a little, back up again; erase, restore, and replay."""
    data = folder / "deployment"
    with rigged(data / "contacts") as rig:
        fill(rig, range(scale.backed_up))
    yield from _made(scale, folder, data)
    yield _again(scale, folder, data)
    yield _restored(scale, folder, data)


def _make(data: Path, place: Path, *, full: bool = False) -> Manifest:
    return make(data, FolderPlace(place), _KEY, release="", now=NOW, full=full, progress=lambda _, __: None)


def _made(scale: Scale, folder: Path, data: Path) -> Iterator[Result]:
    original, copy = data / "contacts" / "data.db", folder / "copy"
    with closing(sqlite3.connect(original)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def copied(_: int) -> Spent:
        def body() -> None:
            with original.open("rb") as read, copy.open("wb") as written:
                shutil.copyfileobj(read, written, 1 << 20)
                written.flush()
                os.fsync(written.fileno())

        copy.unlink(missing_ok=True)
        return spent(body)

    def ours(number: int) -> Spent:
        return spent(lambda: _make(data, folder / f"place{number}", full=True))

    taken = interleaved({"copy": copied, "ours": ours}, scale.rounds)
    size = original.stat().st_size / 2**20
    best = {name: min(each.wall for each in sides) for name, sides in taken.items()}
    yield Result(
        name="backup",
        against=f"copying the file of {scale.backed_up:,} contacts, {size:.0f} MiB, and syncing it; on the wall",
        unit="%",
        figure=100 * ratio(taken["copy"], taken["ours"], "wall"),
        goal=Goal(50),
        ours=f"{best['ours'] * 1e3:.0f} ms",
        reference=f"{best['copy'] * 1e3:.0f} ms",
    )


def _again(scale: Scale, folder: Path, data: Path) -> Result:
    place = folder / "place0"
    changed = max(scale.backed_up * 3 // 1000, 1)
    with rigged(data / "contacts") as rig:
        _edit(rig, range(0, scale.backed_up, max(scale.backed_up // changed, 1)))
    made: list[Manifest] = []
    took = spent(lambda: made.append(_make(data, place)))
    share = 100 * made[0].written / max(made[0].size, 1)
    return Result(
        name="backup again",
        against=f"the whole, after edits of {changed:,} contacts all over",
        unit="%",
        figure=share,
        ours=f"{made[0].written / 2**20:.1f} MiB in {took.wall * 1e3:.0f} ms",
        reference=f"{made[0].size / 2**20:.0f} MiB",
    )


def _edit(rig: Rig, numbers: range) -> None:
    act = act_of(rig, "contacts.UpdateContact", Use.EDIT)
    for number in numbers:
        kept = rig.holding.repository.get(TENANT, RecordId(person(number).id), use=Use.EDIT)
        rig.holding.repository.change(kept, attrs.evolve(kept.content, job_title=secrets.token_hex(4)), act=act)


def _restored(scale: Scale, folder: Path, data: Path) -> Result:
    place = folder / "place0"
    made = _make(data, place)
    with rigged(data / "contacts") as rig:
        for start in range(0, scale.erased, _SINGLY):
            erase_all(rig.holding.eraser, [person(n).id for n in range(start, min(start + _SINGLY, scale.erased))])
    told = {"replace": True, "unreplayed": False, "now": NOW, "progress": lambda _, __: None}
    back = spent(lambda: put_back(FolderPlace(place), made, _KEY, data, **told))  # type: ignore[arg-type]
    (data / "contacts" / "restored.json").unlink()
    with rigged(data / "contacts") as rig:
        store, journal = rig.holding.repository.store, rig.opened.journal
        replayed = spent(lambda: replay(store, rig.holding.vault, journal, since=store.position(), now=NOW))
    return Result(
        name="restore",
        against=f"restoring, and replaying {scale.erased:,} erasures, {_SINGLY} an act; on the wall",
        unit="ms",
        figure=(back.wall + replayed.wall) * 1e3,
        goal=Goal(30_000, at_most=True),
        ours=f"{back.wall:.1f} s and {replayed.wall:.1f} s",
    )
