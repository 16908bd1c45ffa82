"""The laws on PostgreSQL: real threads on real connections, side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import psycopg
import pytest

from capsule_core.errors import CapsuleError, SubjectErased
from capsule_core.holds import Ground, Hold
from capsule_core.protection import EVERYBODY
from capsule_core.records import Act, Mark, Reason, Touched, Where
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, Desk, asked, new_id, note, person
from tests.core.siege import Traces, besiege
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

SEEDS = range(4)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
HOLD = Hold(id="h1", ground=Ground.ARCHIVING, authority="the archivist", placed_at="", placed_by="user/u1")


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Place:
    return Place(tmp_path, str(database.server.folder), database.name)


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    desk, databases = opened(place, Steps())
    yield desk
    for each in databases:
        each.close()


@pytest.mark.law("L5")
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_fence_no_write_for_the_subject_succeeds_on_any_path(desk: Desk, seed: int) -> None:
    besiege(desk, seed)


@pytest.mark.law("L5", "L6")
def test_what_another_process_erased_is_not_served_from_our_cache(desk: Desk, place: Place) -> None:
    """Two openings of one database and keystore, as two workers have; one erases, the other had the key in memory."""
    (ann, bo) = desk.add(person("Ann"), person("Bo"))
    other, databases = opened(place, Steps())
    assert other.get(ann.id).content.given_name == "Ann"
    assert desk.erase(ann.id) is not None
    with pytest.raises(CapsuleError):
        other.get(ann.id)
    with pytest.raises(SubjectErased):
        other.vault.keys(ACME, [ann.slot])
    assert other.get(bo.id).content.given_name == "Bo"
    other.rename(bo.id, "said elsewhere")
    assert desk.get(bo.id).content.about == "said elsewhere"
    assert other.erase(bo.id) is not None
    with pytest.raises(SubjectErased):
        desk.vault.keys(ACME, [bo.slot])
    for each in databases:
        each.close()


@pytest.mark.law("L6")
def test_no_plaintext_reaches_the_server_and_no_key_opens_what_stays_there(
    desk: Desk, database: Database, place: Place
) -> None:
    """PostgreSQL keeps what it deletes, in heap and write-ahead log: all of that is sealed, and the key is gone."""
    (ann,) = desk.add(person("Ann", email="ann@example.org", about="Xanthippe's secret"))
    desk.add(*(note(ann.id, f"Xanthippe {number}") for number in range(20)))
    traces = Traces.of(desk, ann, "Xanthippe")

    def everywhere(*folders: Path) -> set[str]:
        return traces.left_among(
            [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
        )

    server = database.server.folder / "data"
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute("CHECKPOINT")  # in the log alone a body may be cut by the header of a page
    assert everywhere(server, place.folder) >= {"body"}, "the search finds nothing at all"
    assert desk.erase(ann.id) is not None
    assert everywhere(server, place.folder) <= {"body", "token"}
    assert everywhere(place.folder) == set(), "neither key nor name where keys are kept"


@pytest.mark.law("L4")
@pytest.mark.parametrize("ending", ["destroy", "fence"])
def test_whoever_holds_the_tenant_waits_for_what_is_just_being_destroyed(
    desk: Desk, database: Database, ending: str
) -> None:
    """So that what is there when the hold is said to stand is there for good."""
    desk.add(person("Bo"), attrs.evolve(HOLD, id=new_id("h")))
    (ann,) = desk.add(person("Ann"))
    order: list[str] = []
    reason = Reason(id="h1", mark=Mark.HELD, subject=EVERYBODY, since=NOON)
    holding = threading.Thread(target=lambda: (desk.store.mark([reason], act=witnessed(desk)), order.append("held")))

    def meanwhile(touched: Sequence[Touched]) -> bytes | None:
        """Within the transaction that destroys: begin to hold, and wait until that has come as far as it can."""
        holding.start()
        with psycopg.connect(database.admin_url, autocommit=True) as admin:
            while not order and admin.execute(WAITING).fetchone() == (0,):
                pass
        order.append("destroyed")
        return b"leaf" if touched else None

    act = attrs.evolve(desk.act(), witness=meanwhile)
    if ending == "destroy":
        assert desk.store.destroy(Where(tenant=ACME, ids=(ann.id,)), admits=Mark.NONE, act=act)
    else:
        fence = Reason(id="e1", mark=Mark.FENCED, subject=ann.subject, since=NOON)
        assert desk.store.mark([fence], act=act)
    holding.join(60)
    assert order == ["destroyed", "held"]


def witnessed(desk: Desk) -> Act:
    act = desk.act()
    return attrs.evolve(act, witness=bears_witness(desk.vault, act))


@pytest.mark.law("L9")
def test_the_same_request_from_fifty_at_once_has_one_effect(desk: Desk) -> None:
    together = threading.Barrier(50)
    outcomes: list[str] = []

    def ask() -> None:
        together.wait(60)
        try:
            desk.add(person("Ann"), request=asked("once"))
            outcomes.append("done")
        except CapsuleError as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 50
    assert set(outcomes) <= {"done", "REQUEST_IN_FLIGHT"}
    assert [leaf.records for leaf in desk.leaves()] == [1]


@pytest.mark.law("L8")
def test_every_act_of_many_writers_has_one_leaf_in_the_order_of_their_returns(desk: Desk) -> None:
    people = desk.add(*(person(f"P{number}") for number in range(8)))
    before = desk.ledger.head().size

    def write(name: str) -> None:
        for number in range(20):
            desk.rename(name, f"v{number}")

    threads = [threading.Thread(target=write, args=[each.id]) for each in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert desk.ledger.head().size == before + 160
    assert all(each.version == 21 for each in map(desk.get, (person.id for person in people)))
    assert desk.store.subjects(ACME, [people[0].subject])[0].marks == Mark.NONE
