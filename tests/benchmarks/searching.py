"""Search: beginnings of words over sealed names, whole e-mail addresses and phone numbers over tokens."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import median

from capsule_core.blind import signature
from capsule_core.identifiers import words
from capsule_core.index import query_signature, query_token
from capsule_core.personal import Form
from capsule_core.records import Where
from capsule_core.uses import Use
from capsule_sql.rows import words as halves
from tests.benchmarks.measuring import Goal, Result, Scale, spent
from tests.benchmarks.people import FAMILY, GIVEN, person
from tests.benchmarks.rig import TENANT, Rig, fill, rigged

__all__ = ["searching"]

_PAGE = 50


def searching(scale: Scale, folder: Path) -> Iterator[Result]:
    """Search one tenant: so many real contacts, and signatures of made-up names up to the size that has the goal."""
    with rigged(folder / "ours") as rig:
        fill(rig, range(scale.searched))
        _add_signatures(rig, scale.signatures - scale.searched)
        random = Random(5)  # noqa: S311  made up from a seed
        asked = [person(random.randrange(scale.searched)) for _ in range(scale.queries)]
        found = _timed([_by_name(rig, f"{each.given_name[:4]} {each.family_name[:4]}") for each in asked])
        scan = _timed([_scan(rig, f"{each.given_name[:4]} {each.family_name[:4]}") for each in asked])
        yield Result(
            name="search",
            against=f"beginnings of two words among {scale.signatures:,} contacts "
            f"({scale.searched:,} real ones, else signatures only); p50",
            unit="ms",
            figure=found,
            goal=Goal(150, at_most=True),
            ours=f"{found:.1f} ms",
            reference=f"{scan:.1f} ms, the bare scan",
        )
        for name, form, values in (
            ("email", Form.EMAIL, [each.emails[0].address for each in asked]),
            ("phone", Form.PHONE, [each.phones[0].number for each in asked]),
        ):
            exact = _timed([_by_token(rig, name, form, value) for value in values])
            yield Result(
                name="search",
                against=f"whole {name} among {scale.searched:,}; p50",
                unit="ms",
                figure=exact,
                goal=Goal(2, at_most=True),
                ours=f"{exact:.2f} ms",
            )


def _timed(queries: list[Callable[[], object]]) -> float:
    return 1e3 * median(spent(query).wall for query in queries)


def _by_name(rig: Rig, text: str) -> Callable[[], object]:
    where = Where(tenant=TENANT, kinds=("person", "organisation"))

    def search() -> None:
        listing = rig.holding.repository.select(where, use=Use.SEARCH, limit=_PAGE, words=text)
        assert listing.records

    return search


def _by_token(rig: Rig, field: str, form: Form, value: str) -> Callable[[], object]:
    def search() -> None:
        asked = query_token(rig.holding.vault.tenant(TENANT), field, form, value, region="GB")
        where = Where(tenant=TENANT, kinds=("person", "organisation"), tokens=(asked,))
        assert rig.holding.repository.select(where, use=Use.SEARCH, limit=_PAGE).records

    return search


def _scan(rig: Rig, text: str) -> Callable[[], object]:
    wanted = halves(query_signature(rig.holding.vault.tenant(TENANT), text))
    select = "SELECT count(*) FROM signatures WHERE s0 & ? = ? AND s1 & ? = ? AND s2 & ? = ? AND s3 & ? = ?"
    values = [half for half in wanted for _ in range(2)]
    return lambda: rig.database.read(lambda connection: connection.execute(select, values).fetchall())


def _add_signatures(rig: Rig, count: int) -> None:
    """Add signatures of people who have no record: the union of those of a given and a family name."""
    keys, random = rig.holding.vault.tenant(TENANT), Random(9)  # noqa: S311  made up from a seed
    given, family = ([int.from_bytes(signature(keys, words(name))) for name in names] for names in (GIVEN, FAMILY))
    with closing(sqlite3.connect(rig.database.path)) as connection:
        newest = connection.execute("SELECT max(record_no) FROM signatures").fetchone()[0]
        rows = (
            (newest + n, *halves((random.choice(given) | random.choice(family)).to_bytes(32)))
            for n in range(1, count + 1)
        )
        connection.executemany("INSERT INTO signatures (record_no, s0, s1, s2, s3) VALUES (?, ?, ?, ?, ?)", rows)
        connection.commit()
