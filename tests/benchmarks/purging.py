"""Purge: fence, shred, delete, read back, receipt; against one raw cascading DELETE, and effaced."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path
from random import Random

from capsule_core.contacts import Entry, Person
from capsule_core.erasure import Eraser
from capsule_core.names import ActorRef, SubjectKey, SubjectRef
from capsule_core.privacy import Privacy
from capsule_core.story import Erasure
from tests.benchmarks import peers
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import NOW, entry, person
from tests.benchmarks.rig import (
    TENANT,
    fill,
    insert_plain,
    plain_notes,
    plain_row,
    plain_table,
    raw,
    rigged,
)

__all__ = ["erase_all", "purging"]

_BY = ActorRef("user", "u1")


def purging(scale: Scale, folder: Path) -> Iterator[Result]:
    """Erase the same people with the same children, many at once and one by one."""
    share = scale.erased // (scale.rounds + 1)
    # Shuffled, so that each round meets every page of keys.
    order = Random(3).sample(range(scale.erased), scale.erased)  # noqa: S311  made up from a seed
    parts = [order[start * share : (start + 1) * share] for start in range(scale.rounds + 1)]
    with rigged(folder / "ours") as rig, raw(folder / "plain.db") as plain:
        fill(rig, range(scale.erased), notes=scale.children)
        plain_table(plain)
        people = [person(n) for n in range(scale.erased)]
        notes = [note for n, each in enumerate(people) for note in plain_notes(each, n, scale.children)]
        insert_plain(plain, [plain_row(each) for each in people], notes)

        def cascade(number: int) -> Spent:
            keys = [(people[n].id,) for n in parts[number]]

            def body() -> None:
                plain.execute("BEGIN IMMEDIATE")
                plain.executemany("DELETE FROM contact WHERE id = ?", keys)
                plain.execute("COMMIT")

            return spent(body)

        def ours(number: int) -> Spent:
            return spent(lambda: erase_all(rig.holding.eraser, [people[n].id for n in parts[number]]))

        bulk = interleaved({"raw": cascade, "ours": ours}, scale.rounds)
        singles = iter(parts[scale.rounds])
        one = [
            spent(lambda: erase_all(rig.holding.eraser, [people[next(singles)].id]))
            for _ in range(min(scale.erased_singly, share))
        ]
    theirs = peers.effaced(folder, scale.peers, scale.children)
    yield from _bulk(scale, share, bulk, theirs)
    yield from _single(one, [_in_memory(n, scale.children) for n in range(scale.rounds * 4)], theirs)


def _bulk(scale: Scale, share: int, bulk: dict[str, list[Spent]], theirs: dict[str, Spent] | None) -> Iterator[Result]:
    each = {name: min(side.cpu for side in sides) / share * 1e6 for name, sides in bulk.items()}
    yield Result(
        name="purge",
        against=f"one raw cascading DELETE; {share:,} at once of {scale.erased:,}, {scale.children} children each",
        unit="%",
        figure=100 * ratio(bulk["raw"], bulk["ours"], "cpu"),
        goal=Goal(80),
        ours=f"{each['ours']:.0f} us",
        reference=f"{each['raw']:.0f} us",
    )
    yield Result(
        name="purge",
        against="effaced, one by one (it has no other way)",
        unit="x",
        figure=theirs and theirs["erase"].cpu / each["ours"] * 1e6,
        goal=Goal(40),
        ours=f"{each['ours']:.0f} us",
        reference=f"{theirs['erase'].cpu * 1e6:.0f} us" if theirs else "",
        why="not installed",
    )


def _single(one: list[Spent], memory: list[Spent], theirs: dict[str, Spent] | None) -> Iterator[Result]:
    wall, cpu = sorted(side.wall for side in one)[len(one) // 2], sorted(side.cpu for side in one)[len(one) // 2]
    held = sorted(side.cpu for side in memory)[len(memory) // 2]
    yield Result(
        name="purge one",
        against="effaced on the wall, synchronous=FULL; ours with mirrored keystore and journal, and a receipt",
        unit="x",
        figure=theirs and theirs["erase"].wall / wall,
        goal=Goal(1),
        ours=f"{wall * 1e3:.1f} ms ({cpu * 1e3:.1f} ms CPU)",
        reference=f"{theirs['erase'].wall * 1e3:.1f} ms ({theirs['erase'].cpu * 1e3:.1f} ms CPU)" if theirs else "",
        why="not installed",
    )
    yield Result(
        name="purge one",
        against="effaced, ours in memory",
        unit="x",
        figure=theirs and theirs["erase"].cpu / held,
        goal=Goal(10),
        ours=f"{held * 1e6:.0f} us",
        reference=f"{theirs['erase'].cpu * 1e6:.0f} us" if theirs else "",
        why="not installed",
    )


def erase_all(eraser: Eraser, people: Sequence[str]) -> None:
    """Erase *people* at once."""
    subjects = tuple(SubjectKey(each) for each in people)
    name = f"e{secrets.token_hex(8)}"
    erasure = Erasure(tenant=TENANT, id=name, subjects=subjects, ground="purge", by=_BY, requested=NOW)
    assert eraser.erase(erasure, now=NOW.astimezone(UTC)) is not None


def _in_memory(number: int, children: int) -> Spent:
    privacy = Privacy.in_memory(kinds=[Person, Entry])
    each = person(number)
    privacy.save(TENANT, each, by=_BY, now=NOW)
    for child in range(children):
        privacy.save(TENANT, entry(each.id, child), by=_BY, now=NOW)
    plan = privacy.erase.plan(SubjectRef(TENANT, "person", each.id), by=_BY, now=NOW)
    return spent(lambda: privacy.erase.run(plan, now=NOW))
