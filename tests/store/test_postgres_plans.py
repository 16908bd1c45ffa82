"""However little PostgreSQL knows of a tenant, it looks a few times at each record that is meant, not at all others.

Statistics come late: a tenant that has just imported its address book has none, or there are only other tenants'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from capsule_core.contacts import Person
from capsule_core.index import query_token
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.records import Mark, Shelf, Where
from capsule_core.stores import EVERYONE, Share
from capsule_sql.backlog import releasing
from capsule_sql.postgres import Postgres
from capsule_sql.selections import Query, listing
from capsule_sql.statements import Connection
from tests.core.desk import ACME, ZETA, Desk, note, person
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

PEOPLE = 300
LOOKS = 40
"""How often a record may come by: once at each step of a plan. To look at all for each were as often as there are."""


@attrs.frozen
class Office:
    """A desk, and the database behind it."""

    desk: Desk
    data: Postgres


@pytest.fixture(params=["no statistics", "statistics of others", "statistics of many who have little"])
def office(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Office]:
    """The desk of a tenant that has just imported its address book."""
    desk, databases = opened(Place(tmp_path, str(database.server.folder), database.name), Steps())
    if request.param == "statistics of others":
        fill(desk, ZETA)
    elif request.param == "statistics of many who have little":
        for number in range(PEOPLE):
            desk.add(person("Other"), tenant=TenantId(f"t{number}"))
    if request.param.startswith("statistics"):
        with psycopg.connect(database.admin_url, autocommit=True) as owner:
            owner.execute("ANALYZE")
    if request.param != "nothing yet":
        fill(desk, ACME)
    yield Office(desk, databases[0])
    for each in databases:
        each.close()


def fill(desk: Desk, tenant: Any) -> None:
    names = [f"c{number:026d}" for number in range(PEOPLE)]
    desk.add(*(Person(id=name, given_name="P", tags=("all",), owner="u1") for name in names), tenant=tenant)
    desk.add(*(note(name, id=f"e{name[1:]}") for name in names), tenant=tenant)
    desk.add(person("Other"), tenant=tenant)


def looked_at(plan: Mapping[str, Any]) -> int:
    """Count the rows that a plan came by, used or not."""
    rows = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"))
    return int(rows * plan["Actual Loops"]) + sum(map(looked_at, plan.get("Plans", ())))


def asked(desk: Desk, tenant: TenantId) -> dict[str, tuple[Where, int]]:
    """What is asked for, and how many records are meant at most."""
    keys = desk.vault.tenant(tenant)
    tag = query_token(keys, "tags", Form.TEXT, "all", region=None)
    owner = query_token(keys, "owner", Form.TEXT, "u1", region=None)
    one, people = RecordId(f"c{7:026d}"), ("person", "organisation")
    return {
        "by tag": (Where(tenant=tenant, kinds=people, tokens=(tag,)), PEOPLE),
        "by owner and tag": (Where(tenant=tenant, kinds=people, tokens=(owner, tag)), PEOPLE),
        "all": (Where(tenant=tenant, kinds=people), PEOPLE),
        "the trash too": (Where(tenant=tenant, kinds=people, shelf=Shelf.ANY), PEOPLE),
        "by id": (Where(tenant=tenant, ids=(one,)), 1),
        "the history of one": (Where(tenant=tenant, kinds=("entry",), roots=(one,)), 1),
        "all of one": (Where(tenant=tenant, subjects=(SubjectKey(one),), shelf=Shelf.ANY), 2),
    }


def test_a_list_looks_at_each_record_a_few_times_and_never_at_all_for_each(office: Office) -> None:
    looks = {}
    for what, (where, meant) in asked(office.desk, ACME).items():
        query = listing(where, admits=Mark.NONE, limit=PEOPLE, after=None)
        ((((told),),),) = office.data.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}", query.values, tenant=ACME)
        looks[what] = looked_at(told["Plan"])
        assert len(office.desk.store.select(where, admits=Mark.NONE, limit=PEOPLE).records) == meant
    assert {what: count for what, count in looks.items() if count > LOOKS * PEOPLE} == {}


@pytest.mark.parametrize("office", ["nothing yet"], indirect=True)
def test_what_was_planned_while_there_was_little_is_planned_anew(office: Office) -> None:
    """The server itself would not hear of the import before its next statistics: a minute later."""
    office.desk.add(person("Other"))
    some = [where for where, _ in asked(office.desk, ACME).values()]
    for where in some * 8:  # then the server keeps a plan
        office.desk.store.select(where, admits=Mark.NONE, limit=PEOPLE)
    fill(office.desk, ACME)
    office.desk.store.select(some[0], admits=Mark.NONE, limit=PEOPLE)
    for where in some:
        query = listing(where, admits=Mark.NONE, limit=PEOPLE, after=None)
        read = office.data.read(lambda connection, query=query: _read(connection, query), tenant=ACME)
        assert read < LOOKS * PEOPLE


def _read(connection: Connection, query: Query) -> int:
    """Run it as it is prepared, and return how many rows it fetched from tables."""
    count = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    ((before,),) = connection.execute(count).fetchall()
    connection.execute(query.text, query.values)
    ((after,),) = connection.execute(count).fetchall()
    return int(after - before)


@pytest.mark.parametrize("office", ["no statistics", "statistics of others"], indirect=True)
@pytest.mark.parametrize("of", [ACME, EVERYONE], ids=["one", "all"])
def test_whoever_was_kept_in_part_is_looked_for_among_the_kept_alone(office: Office, of: TenantId | Share) -> None:
    text, values = releasing(of, shared=True)
    ((((told),),),) = office.data.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values)
    assert looked_at(told["Plan"]) < LOOKS
