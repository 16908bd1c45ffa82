"""Trash and restore, in bulk and with children: against one UPDATE per plaintext table, and django-safedelete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from capsule_core.names import RecordId
from capsule_core.records import Restore, Shelf, Where
from capsule_core.trash import thrown
from capsule_core.uses import Use, admits
from tests.benchmarks import peers
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import NOW, person
from tests.benchmarks.rig import (
    TENANT,
    Rig,
    act_of,
    fill,
    insert_plain,
    plain_notes,
    plain_row,
    plain_table,
    raw,
    rigged,
)

__all__ = ["trashing"]


def trashing(scale: Scale, folder: Path) -> Iterator[Result]:
    """Throw the same contacts away and take them back, each with its children."""
    people = [person(n) for n in range(scale.trashed)]
    with rigged(folder / "ours") as rig, raw(folder / "plain.db") as plain:
        fill(rig, range(scale.trashed), notes=scale.children)
        plain_table(plain)
        notes = [note for n, each in enumerate(people) for note in plain_notes(each, n, scale.children)]
        insert_plain(plain, [plain_row(each) for each in people], notes)
        roots = tuple(RecordId(each.id) for each in people)
        keys = [each.id for each in people]

        def update(value: int | None) -> Callable[[int], Spent]:
            def body() -> None:
                plain.execute("BEGIN IMMEDIATE")
                plain.executemany("UPDATE contact SET trashed = ? WHERE id = ?", [(value, key) for key in keys])
                plain.executemany("UPDATE note SET trashed = ? WHERE contact = ?", [(value, key) for key in keys])
                plain.execute("COMMIT")

            return lambda _: spent(body)

        taken = interleaved(
            {
                "raw trash": update(1),
                "trash": lambda number: spent(lambda: _trash(rig, roots, f"b{number}")),
                "raw restore": update(None),
                "restore": lambda number: spent(lambda: _restore(rig, roots, f"b{number}")),
            },
            scale.rounds,
        )
        counts = [_statements(rig, roots[:1]), _statements(rig, roots[1:])]
    theirs = peers.safedelete(folder / "safedelete.db", scale.peers, scale.children)
    for act in ("trash", "restore"):
        own = min(side.cpu for side in taken[act]) / scale.trashed * 1e6
        plainly = min(side.cpu for side in taken[f"raw {act}"]) / scale.trashed * 1e6
        yield Result(
            name=act,
            against=f"one UPDATE per plaintext table; {scale.children} children each",
            unit="%",
            figure=100 * ratio(taken[f"raw {act}"], taken[act], "cpu"),
            ours=f"{own:.1f} us",
            reference=f"{plainly:.1f} us",
        )
        yield Result(
            name=act,
            against="django-safedelete, the same children",
            unit="x",
            figure=theirs and theirs[act] / own * 1e6,
            goal=Goal(50),
            ours=f"{own:.1f} us",
            reference=f"{theirs[act] * 1e6:.0f} us" if theirs else "",
            why="not installed",
        )
    yield Result(
        name="trash",
        against=f"statements for {len(roots):,} contacts with children, against those for one",
        unit="statements",
        figure=counts[1] - counts[0],
        goal=Goal(0, at_most=True),
        ours=f"{counts[1]}",
        reference=f"{theirs['statements']:.0f} of django-safedelete for one contact" if theirs else "",
    )


def _trash(rig: Rig, roots: tuple[RecordId, ...], batch: str) -> None:
    act = act_of(rig, "contacts.DeleteContact", Use.EDIT)
    where = Where(tenant=TENANT, roots=roots)
    assert rig.holding.repository.store.move(where, thrown(batch, now=NOW), admits=admits(Use.EDIT), act=act)


def _restore(rig: Rig, roots: tuple[RecordId, ...], batch: str) -> None:
    act = act_of(rig, "contacts.UndeleteContact", Use.EDIT)
    where = Where(tenant=TENANT, roots=roots, shelf=Shelf.TRASHED)
    assert rig.holding.repository.store.move(where, Restore(batch), admits=admits(Use.EDIT), act=act)


def _statements(rig: Rig, roots: tuple[RecordId, ...]) -> int:
    seen: list[str] = []
    rig.database._writer.set_trace_callback(seen.append)
    _trash(rig, roots, f"s{len(roots)}")
    rig.database._writer.set_trace_callback(None)
    return len(seen)
