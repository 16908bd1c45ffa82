"""A ledger that takes no leaf stops everything with an effect, says nothing of what was rolled back, and has no gap."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from capsule_core.contacts import Person
from capsule_core.errors import CapsuleError, SubjectErased
from capsule_core.ledger import audit
from capsule_core.names import RecordId, SubjectKey
from capsule_core.receipts import verify
from capsule_core.records import Mark, Shelf, Where
from capsule_core.story import COMMIT, DELETE, FENCE
from capsule_core.witness import subject_commitments
from tests.core.desk import ACME, NOON, Desk, note, person
from tests.core.test_laws_acts import WAYS
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

Blocking = Callable[..., AbstractContextManager[None]]


@attrs.frozen
class World:
    """A desk, and how its ledger is blocked: wholly, or for leaves of one act."""

    desk: Desk
    blocked: Blocking


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        place, blocked = Place(tmp_path), _file_blocked(tmp_path / "data")
    else:
        database = request.getfixturevalue("database")
        place, blocked = Place(tmp_path, str(database.server.folder), database.name), _server_blocked(database)
    desk, databases = opened(place, Steps())
    if request.param == "sqlite":
        databases[0]._writer.execute("PRAGMA busy_timeout = 20")
    yield World(desk, blocked)
    for each in databases:
        each.close()


def _file_blocked(file: Path) -> Blocking:
    """Let another process hold the file; or, for one act alone, let the table refuse its leaf."""

    @contextmanager
    def blocked(act: str = "") -> Iterator[None]:
        refuse = (
            "CREATE TRIGGER no_room BEFORE INSERT ON leaves"
            f" WHEN instr(NEW.data, CAST('{act}' AS BLOB)) > 0 BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(refuse if act else "BEGIN IMMEDIATE")
            yield
            other.execute("DROP TRIGGER no_room" if act else "ROLLBACK")

    return blocked


def _server_blocked(database: Database) -> Blocking:
    @contextmanager
    def blocked(act: str = "") -> Iterator[None]:
        with psycopg.connect(database.admin_url, autocommit=True) as owner:
            owner.execute(
                f"""CREATE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN
                    IF position('{act}'::bytea IN NEW.leaf) > 0 THEN
                        RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
                    END IF;
                    RETURN NEW;
                END $$;
                CREATE TRIGGER no_room BEFORE INSERT ON data.arrivals FOR EACH ROW EXECUTE FUNCTION public.no_room()"""
            )
            yield
            owner.execute("DROP TRIGGER no_room ON data.arrivals; DROP FUNCTION public.no_room()")

    return blocked


def contents(desk: Desk) -> list[Any]:
    everything = Where(tenant=ACME, shelf=Shelf.ANY)
    return sorted(map(repr, desk.store.select(everything, admits=~Mark.NONE, limit=100).records))


@pytest.mark.law("L8")
@pytest.mark.parametrize("way", WAYS)
def test_while_the_ledger_is_blocked_nothing_with_an_effect_succeeds_and_afterwards_there_is_no_gap(
    world: World, way: str
) -> None:
    desk = world.desk
    (ann, _) = desk.add(person("Ann"), person("Bo"))
    if way in {"restore", "sweep"}:
        desk.trash(ann.id)
    if way == "release":
        desk.mark(ann.id, Mark.HELD)
    before, leaves = contents(desk), desk.ledger.head()
    with world.blocked(), pytest.raises(CapsuleError):
        WAYS[way](desk, ann.id)
    assert contents(desk) == before
    assert desk.ledger.head() == leaves
    assert desk.store.subjects(ACME, [ann.subject])[0].marks == (Mark.HELD if way == "release" else Mark.NONE)
    WAYS[way](desk, ann.id)
    acts = [leaf.act for leaf in desk.leaves()[leaves.size :]]
    assert [each for each in acts if each != "erasure.suppress"] == (
        [FENCE, DELETE, COMMIT] if way in {"erase", "sweep"} else ["try"]
    )
    assert audit(desk.ledger) == desk.ledger.head()


@pytest.mark.law("L8", "L15")
@pytest.mark.parametrize("step", [FENCE, DELETE, COMMIT])
def test_an_erasure_that_was_rolled_back_at_any_step_has_no_receipt_until_it_is_done(world: World, step: str) -> None:
    desk = world.desk
    (ann,) = desk.add(person("Ann"))
    with world.blocked(step), pytest.raises((CapsuleError, sqlite3.IntegrityError)):
        desk.erase(ann.id, id="e1")
    assert desk.eraser.receipt(ACME, "e1", now=NOON) is None
    assert [leaf.act for leaf in desk.leaves()].count(step) == 0
    if step == FENCE:
        assert desk.get(ann.id).content.given_name == "Ann"
        assert desk.erase(ann.id, id="e1") is not None
    else:
        with pytest.raises(SubjectErased):
            desk.add(note(ann.id))
        assert len(desk.eraser.resume(now=NOON)) == 1
    receipt = desk.eraser.receipt(ACME, "e1", now=NOON)
    assert receipt is not None
    assert verify(receipt, desk.signer.verifier).erasure == "e1"
    assert [leaf.act for leaf in desk.leaves()].count(step) == 1
    assert audit(desk.ledger) == desk.ledger.head()


@pytest.mark.law("L6", "L8")
def test_after_an_erasure_nobody_can_tell_any_more_whom_a_leaf_meant_and_the_tree_still_holds(world: World) -> None:
    desk = world.desk
    (ann, bo) = desk.add(person("Ann"), Person(id="c" + "b" * 26, given_name="Bo"))
    desk.rename(ann.id, "changed")
    salts = {each.subject: each.slot for each in (ann, bo)}
    meant = {each: subject_commitments(desk.vault, ACME, {each: salts[each]})[0] for each in salts}
    of_ann = [place for place, leaf in enumerate(desk.leaves()) if meant[ann.subject] in leaf.subjects]
    assert len(of_ann) == 2, "before, whoever has the key can tell"
    before = list(desk.ledger.read(0, 100))
    assert desk.erase(ann.id) is not None
    with pytest.raises(SubjectErased):
        subject_commitments(desk.vault, ACME, {ann.subject: ann.slot})
    assert desk.vault.remaining(ACME, [ann.slot]) == []
    assert subject_commitments(desk.vault, ACME, {bo.subject: bo.slot}) == (meant[bo.subject],), (
        "of others one still can"
    )
    assert list(desk.ledger.read(0, len(before))) == before, "no leaf was touched"
    assert audit(desk.ledger) == desk.ledger.head()
    assert desk.store.read(ACME, [RecordId(ann.id)], admits=~Mark.NONE)[0] is None
    assert desk.store.subjects(ACME, [SubjectKey(ann.subject)])[0].marks & Mark.ERASED
