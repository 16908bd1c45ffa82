"""The ledger: appending against an insert that hashes nothing, inspecting the whole log, and proofs from a long one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from capsule_core.checkpoints import Checkpoint
from capsule_core.inspection import inspect
from capsule_core.proofs import prove_consistency, prove_inclusion
from capsule_sql.database import open_database
from capsule_sql.evidence import SqlEvidence
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from tests.benchmarks.measuring import Goal, Result, Scale, interleaved, ratio, spent
from tests.benchmarks.rig import raw

__all__ = ["keeping_log"]

_TOGETHER = 1_000
_LEAF = b'{"act":"contacts.GetContact","actor":"%032x","at":"2026-05-04T09:30:00.000000Z","records":1,"tenant":"acme"}'


def keeping_log(scale: Scale, folder: Path) -> Iterator[Result]:
    """Append many leaves at once and one by one; then verify them all."""
    leaves = [_LEAF % number for number in range(scale.leaves)]
    database = open_database(folder / "reads.db", Role.LEDGER)
    ledger = SqlLedger(database)
    with raw(folder / "plain.db") as plain:
        plain.execute("CREATE TABLE leaves (no INTEGER PRIMARY KEY, data BLOB)")
        parts = [leaves[start : start + _TOGETHER] for start in range(0, scale.leaves, _TOGETHER)]
        single = [[leaf] for leaf in leaves[: scale.single_leaves]]
        taken = interleaved(
            {
                "raw bulk": lambda _: spent(lambda: [_insert(plain, part) for part in parts]),
                "bulk": lambda _: spent(lambda: [ledger.append(part) for part in parts]),
                "raw single": lambda _: spent(lambda: [_insert(plain, part) for part in single]),
                "single": lambda _: spent(lambda: [ledger.append(part) for part in single]),
            },
            scale.rounds,
        )
        head = ledger.head()
        signed = Checkpoint("reads", head.size, head.root())
        whole = SqlEvidence(database)
        verified = min(spent(lambda: inspect(whole, signed)).cpu for _ in range(scale.rounds))
    for start in range(head.size, scale.proved_leaves, _TOGETHER):
        ledger.append([_LEAF % number for number in range(start, min(start + _TOGETHER, scale.proved_leaves))])
    size = ledger.head().size
    places = [size * number // scale.proofs for number in range(scale.proofs)]
    proving = {
        "inclusion": spent(lambda: [prove_inclusion(ledger, place, size) for place in places]),
        "consistency": spent(lambda: [prove_consistency(ledger, place, size) for place in places]),
    }
    database.close()
    for way, count, least in (("bulk", scale.leaves, 60), ("single", scale.single_leaves, 70)):
        rate = {name: count / min(side.cpu for side in taken[name]) for name in (way, f"raw {way}")}
        together = f"{_TOGETHER:,} at once" if way == "bulk" else "one by one"
        yield Result(
            name="ledger append",
            against=f"an insert that hashes nothing, {together}, synchronous=FULL",
            unit="%",
            figure=100 * ratio(taken[f"raw {way}"], taken[way], "cpu"),
            goal=Goal(least),
            ours=f"{rate[way]:,.0f} /s",
            reference=f"{rate[f'raw {way}']:,.0f} /s",
        )
    yield Result(
        name="ledger verify",
        against="every leaf and frontier, and a checkpoint",
        unit="/s",
        figure=head.size / verified,
        goal=Goal(400_000),
        ours=f"{head.size / verified:,.0f} /s",
    )
    for kind, taken_for in proving.items():
        each = 1000 * taken_for.cpu / scale.proofs
        yield Result(
            name="ledger proof",
            against=f"{kind}, of a log of {size:,} leaves",
            unit="ms",
            figure=each,
            goal=Goal(10, at_most=True),
            ours=f"{each:.2f} ms",
        )


def _insert(plain: sqlite3.Connection, leaves: Sequence[bytes]) -> None:
    plain.execute("BEGIN IMMEDIATE")
    plain.executemany("INSERT INTO leaves (data) VALUES (?)", [(leaf,) for leaf in leaves])
    plain.execute("COMMIT")
