"""Where PostgreSQL gives a transaction up for another's sake, it is begun again, and has one effect or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from capsule_core.errors import VersionMismatch
from tests.core.desk import Desk, asked, person
from tests.postgres import Database
from tests.store.crashes import Place, Steps, opened

SERIALIZATION_FAILURE, DEADLOCK_DETECTED = "40001", "40P01"
# Numbers of a sequence are not taken back with a transaction: so the server itself counts what was tried.
GIVING_UP = """
CREATE SEQUENCE public.tried;
GRANT USAGE ON SEQUENCE public.tried TO PUBLIC;
CREATE FUNCTION public.give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('public.tried') <= {times} THEN RAISE EXCEPTION 'given up' USING ERRCODE = '{code}'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER give_up BEFORE INSERT ON data.arrivals FOR EACH ROW EXECUTE FUNCTION public.give_up();
"""


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    desk, databases = opened(Place(tmp_path, str(database.server.folder), database.name), Steps())
    yield desk
    for each in databases:
        each.close()


def give_up(database: Database, code: str, times: int) -> None:
    """Let the server give up so many times, at the end of the act: all that it did before is done and undone."""
    with psycopg.connect(database.admin_url, autocommit=True) as owner:
        owner.execute(GIVING_UP.format(code=code, times=times))


def tried(database: Database) -> int:
    with psycopg.connect(database.admin_url) as owner:
        ((number,),) = owner.execute("SELECT last_value FROM public.tried").fetchall()
        return int(number)


@pytest.mark.law("L8", "L9")
@pytest.mark.parametrize("code", [SERIALIZATION_FAILURE, DEADLOCK_DETECTED])
def test_an_act_that_was_given_up_is_done_again_and_has_one_effect_and_one_leaf(
    desk: Desk, database: Database, code: str
) -> None:
    (ann,) = desk.add(person("Ann", email="ann@example.org"))
    give_up(database, code, 3)
    changed = desk.rename(ann.id, "changed", request=asked("once"))
    assert tried(database) == 4
    assert (changed.version, desk.get(ann.id).content.about) == (2, "changed")
    assert [leaf.records for leaf in desk.leaves()] == [1, 1]
    assert desk.repository.answered(desk.act().tenant, asked("once")) == [changed]


@pytest.mark.law("L8", "L9")
@pytest.mark.parametrize("code", [SERIALIZATION_FAILURE, DEADLOCK_DETECTED])
def test_an_act_that_is_given_up_again_and_again_is_refused_and_has_no_effect(
    desk: Desk, database: Database, code: str
) -> None:
    (ann,) = desk.add(person("Ann"))
    give_up(database, code, 1000)
    for act in (lambda: desk.rename(ann.id, "changed", request=asked("once")), lambda: desk.trash(ann.id)):
        with pytest.raises(VersionMismatch):
            act()
    kept = desk.get(ann.id)
    assert (kept.version, kept.content.about, kept.trash) == (1, "", None)
    assert len(desk.leaves()) == 1
    assert not desk.repository.answered(desk.act().tenant, asked("once"))
