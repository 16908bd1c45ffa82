"""Import: sealed records with their index and leaf, against one plaintext table; and against SQLModel, in plaintext."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlmodel import Field, Session, SQLModel, create_engine

from capsule_core.repository import Draft
from capsule_core.uses import Use
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import person
from tests.benchmarks.rig import act_of, insert_plain, plain_row, plain_table, raw, rigged

__all__ = ["importing"]


class BenchContact(SQLModel, table=True):
    """What somebody would declare who encrypts nothing."""

    id: str = Field(primary_key=True)
    given_name: str
    family_name: str
    organisation_name: str
    job_title: str
    email: str = Field(index=True)
    phone: str = Field(index=True)
    tag: str
    owner: str
    trashed: str | None = None


_FIELDS = tuple(BenchContact.model_fields)


def importing(scale: Scale, folder: Path) -> Iterator[Result]:
    """Import the same people, batch by batch, each batch one durable transaction."""
    people = [[person(n + r * scale.imported) for n in range(scale.imported)] for r in range(scale.rounds + 1)]
    engine = _engine(folder / "sqlmodel.db")
    with rigged(folder / "ours") as rig, raw(folder / "plain.db") as plain:
        plain_table(plain)
        act = act_of(rig, "contacts.ImportContacts", Use.IMPORT)

        def batches(number: int) -> Iterator[list[Any]]:
            for start in range(0, scale.imported, scale.batch):
                yield people[number + 1][start : start + scale.batch]

        def ours(number: int) -> Spent:
            drafts = [[Draft(each) for each in batch] for batch in batches(number)]
            return spent(lambda: [rig.holding.repository.add(batch, act=act) for batch in drafts])

        def raw_table(number: int) -> Spent:
            rows = [[plain_row(each) for each in batch] for batch in batches(number)]
            return spent(lambda: [insert_plain(plain, batch) for batch in rows])

        def sqlmodel(number: int) -> Spent:
            return spent(lambda: [_add_all(engine, batch) for batch in batches(number)])

        ours(-1)  # the first page of keys, the caches
        taken = interleaved({"raw": raw_table, "sqlmodel": sqlmodel, "ours": ours}, scale.rounds)
    engine.dispose()
    each = {name: min(side.cpu for side in sides) / scale.imported * 1e6 for name, sides in taken.items()}
    yield Result(
        name="import",
        against=f"one plaintext table, two indexes; synchronous=FULL, {scale.batch} a transaction",
        unit="%",
        figure=100 * ratio(taken["raw"], taken["ours"], "cpu"),
        goal=Goal(20),
        ours=f"{each['ours']:.0f} us",
        reference=f"{each['raw']:.1f} us",
    )
    yield Result(
        name="import",
        against="SQLModel add_all, in plaintext",
        unit="x",
        figure=ratio(taken["sqlmodel"], taken["ours"], "cpu"),
        goal=Goal(2),
        ours=f"{each['ours']:.0f} us",
        reference=f"{each['sqlmodel']:.0f} us",
    )


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()

    SQLModel.metadata.create_all(engine, tables=[BenchContact.__table__])
    return engine


def _add_all(engine: Engine, people: list[Any]) -> None:
    with Session(engine) as session:
        session.add_all([BenchContact(**dict(zip(_FIELDS, plain_row(each), strict=True))) for each in people])
        session.commit()
