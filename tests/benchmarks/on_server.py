"""The same on PostgreSQL: import, list, purge and search, beside what one would write there without any of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import psycopg

from capsule_core.blind import signature
from capsule_core.identifiers import words
from capsule_core.index import query_token
from capsule_core.personal import Form
from capsule_core.records import Where
from capsule_core.repository import Draft
from capsule_core.uses import Use
from capsule_core.witness import read_leaf
from capsule_sql.rows import words as halves
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import FAMILY, GIVEN, person
from tests.benchmarks.purging import erase_all
from tests.benchmarks.rig import TENANT, Rig, act_of, fill, plain_notes, plain_row, rigged
from tests.postgres import Database, Server

__all__ = ["on_server"]

_PAGE = 50
_DURABLE = ("fsync=on", "full_page_writes=on", "shared_buffers=512MB", "autovacuum=off")
_PLAIN = """
CREATE TABLE contact (id text PRIMARY KEY, given_name text, family_name text, organisation_name text, job_title text,
  email text, phone text, tag text, owner text, trashed text);
CREATE INDEX ON contact (email); CREATE INDEX ON contact (phone);
CREATE TABLE note (id text PRIMARY KEY, contact text REFERENCES contact ON DELETE CASCADE, body text, trashed text);
CREATE INDEX ON note (contact);
"""


def on_server(scale: Scale, folder: Path) -> Iterator[Result]:
    """Begin a server that keeps what it acknowledges, and measure both sides on it, on the wall."""
    server = Server.begin()
    try:
        server.stop()
        server.start(*_DURABLE)
        for measure in (_importing, _purging, _reading, _searching):
            database = server.fresh()
            place = folder / f"{measure.__name__}.url"
            place.write_text(database.url)
            with rigged(folder / measure.__name__, place) as rig, _plain(database) as plain:
                yield from measure(scale, rig, plain)
    finally:
        server.end()


def _plain(database: Database) -> psycopg.Connection[Any]:
    connection = psycopg.connect(database.admin_url, autocommit=True)
    connection.execute(_PLAIN)
    return connection


def _insert_plain(plain: psycopg.Connection[Any], rows: list[Any], notes: list[Any] = []) -> None:  # noqa: B006  read only
    with plain.transaction(), plain.cursor() as cursor:
        for table, kept in (("contact", rows), ("note (id, contact, body)", notes)):
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for row in kept:
                    copy.write_row(row)


def _importing(scale: Scale, rig: Rig, plain: psycopg.Connection[Any]) -> Iterator[Result]:
    people = [[person(n + r * scale.imported) for n in range(scale.imported)] for r in range(scale.rounds + 1)]
    act = act_of(rig, "contacts.ImportContacts", Use.IMPORT)

    def batches(number: int) -> Iterator[list[Any]]:
        for start in range(0, scale.imported, scale.batch):
            yield people[number + 1][start : start + scale.batch]

    def ours(number: int) -> Spent:
        drafts = [[Draft(each) for each in batch] for batch in batches(number)]
        return spent(lambda: [rig.holding.repository.add(batch, act=act) for batch in drafts])

    def raw(number: int) -> Spent:
        rows = [[plain_row(each) for each in batch] for batch in batches(number)]
        return spent(lambda: [_insert_plain(plain, batch) for batch in rows])

    ours(-1)
    taken = interleaved({"raw": raw, "ours": ours}, scale.rounds)
    each = {name: min(side.wall for side in sides) / scale.imported * 1e6 for name, sides in taken.items()}
    yield Result(
        name="import, PostgreSQL",
        against=f"COPY into one plaintext table, two indexes; {scale.batch} a transaction; on the wall",
        unit="%",
        figure=100 * ratio(taken["raw"], taken["ours"], "wall"),
        goal=Goal(20),
        ours=f"{each['ours']:.0f} us",
        reference=f"{each['raw']:.1f} us",
    )


def _purging(scale: Scale, rig: Rig, plain: psycopg.Connection[Any]) -> Iterator[Result]:
    share = scale.erased // (scale.rounds + 1)
    order = Random(3).sample(range(scale.erased), scale.erased)  # noqa: S311  made up from a seed
    parts = [order[start * share : (start + 1) * share] for start in range(scale.rounds + 1)]
    fill(rig, range(scale.erased), notes=scale.children)
    people = [person(n) for n in range(scale.erased)]
    notes = [note for n, each in enumerate(people) for note in plain_notes(each, n, scale.children)]
    _insert_plain(plain, [plain_row(each) for each in people], notes)
    plain.execute("ANALYZE")

    def cascade(number: int) -> Spent:
        keys = [people[n].id for n in parts[number]]
        return spent(lambda: plain.execute("DELETE FROM contact WHERE id = ANY(%s)", (keys,)))

    def ours(number: int) -> Spent:
        return spent(lambda: erase_all(rig.holding.eraser, [people[n].id for n in parts[number]]))

    taken = interleaved({"raw": cascade, "ours": ours}, scale.rounds)
    each = {name: min(side.wall for side in sides) / share * 1e6 for name, sides in taken.items()}
    yield Result(
        name="purge, PostgreSQL",
        against=f"one raw cascading DELETE; {share:,} at once, {scale.children} children each; on the wall",
        unit="%",
        figure=100 * ratio(taken["raw"], taken["ours"], "wall"),
        goal=Goal(75),
        ours=f"{each['ours']:.0f} us",
        reference=f"{each['raw']:.0f} us",
    )


def _reading(scale: Scale, rig: Rig, plain: psycopg.Connection[Any]) -> Iterator[Result]:
    count = scale.searched
    people = fill(rig, range(count))
    _insert_plain(plain, [plain_row(each) for each in people])
    repository, random = rig.holding.repository, Random(7)  # noqa: S311  made up from a seed
    act = act_of(rig, "contacts.GetContact", Use.DISPLAY)

    def get() -> None:
        kept = repository.get(TENANT, people[random.randrange(count)].id, use=Use.DISPLAY)
        rig.holding.reads.record(read_leaf(rig.holding.vault, act, {kept.subject: kept.slot}, records=1))

    def hundred() -> None:
        where = Where(tenant=TENANT, kinds=("person", "organisation"))
        assert repository.select(where, use=Use.DISPLAY, limit=100).records

    def raw_get() -> None:
        plain.execute("SELECT * FROM contact WHERE id = %s", (people[random.randrange(count)].id,)).fetchall()

    def raw_hundred() -> None:
        plain.execute("SELECT * FROM contact WHERE trashed IS NULL ORDER BY id DESC LIMIT 100").fetchall()

    for name, ours, raw in (("get", get, raw_get), ("list of 100", hundred, raw_hundred)):
        both = {
            side: [_median(call, scale.calls // scale.rounds or 1) for _ in range(scale.rounds)]
            for side, call in (("ours", ours), ("raw", raw))
        }
        mine, theirs = (1e6 * median(both[side]) for side in ("ours", "raw"))
        yield Result(
            name=f"{name}, PostgreSQL",
            against="one plaintext SELECT; p50, without the wire" + (", with a durable leaf" if name == "get" else ""),
            unit="%",
            figure=100 * theirs / mine,
            ours=f"{mine:.0f} us",
            reference=f"{theirs:.0f} us",
        )


def _searching(scale: Scale, rig: Rig, plain: psycopg.Connection[Any]) -> Iterator[Result]:
    fill(rig, range(scale.searched))
    _add_signatures(rig, plain, scale.signatures - scale.searched)
    random = Random(5)  # noqa: S311  made up from a seed
    asked = [person(random.randrange(scale.searched)) for _ in range(scale.queries)]
    repository, where = rig.holding.repository, Where(tenant=TENANT, kinds=("person", "organisation"))

    def by_name(text: str) -> Callable[[], object]:
        return lambda: repository.select(where, use=Use.SEARCH, limit=_PAGE, words=text)

    names = [by_name(f"{each.given_name[:4]} {each.family_name[:4]}") for each in asked]
    found = 1e3 * median(spent(query).wall for query in names)
    yield Result(
        name="search, PostgreSQL",
        against=f"beginnings of two words among {scale.signatures:,} contacts "
        f"({scale.searched:,} real ones, else signatures only); p50",
        unit="ms",
        figure=found,
        goal=Goal(150, at_most=True),
        ours=f"{found:.1f} ms",
    )

    def by_email(value: str) -> Callable[[], object]:
        token = query_token(rig.holding.vault.tenant(TENANT), "emails", Form.EMAIL, value, region="GB")
        return lambda: repository.select(
            Where(tenant=TENANT, kinds=where.kinds, tokens=(token,)), use=Use.SEARCH, limit=_PAGE
        )

    exact = 1e3 * median(spent(by_email(each.emails[0].address)).wall for each in asked)
    yield Result(
        name="search, PostgreSQL",
        against=f"whole email among {scale.searched:,}; p50",
        unit="ms",
        figure=exact,
        goal=Goal(2, at_most=True),
        ours=f"{exact:.2f} ms",
    )


def _median(call: Callable[[], object], times: int) -> float:
    return median(spent(call).wall for _ in range(times))


def _add_signatures(rig: Rig, owner: psycopg.Connection[Any], count: int) -> None:
    """Add signatures of people who have no record: the union of those of a given and a family name."""
    keys, random = rig.holding.vault.tenant(TENANT), Random(9)  # noqa: S311  made up from a seed
    given, family = ([int.from_bytes(signature(keys, words(name))) for name in names] for names in (GIVEN, FAMILY))
    statement = "COPY data.signatures (tenant_no, record_no, s0, s1, s2, s3) FROM STDIN"
    with owner.cursor() as cursor, cursor.copy(statement) as copy:
        for number in range(count):
            union = random.choice(given) | random.choice(family)
            copy.write_row((1, (1 << 40) + number, *halves(union.to_bytes(32))))
    owner.execute("VACUUM ANALYZE")
