"""The operator's unsubscribe list on SQLite and PostgreSQL: the same laws as in memory, and after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core import test_unsubscribes as laws
from tests.core.comeback import SPELLINGS
from tests.core.desk import Desk
from tests.store.crashes import Place, Steps, opened

SHARED = (
    laws.test_an_address_is_on_the_list_in_all_its_spellings_and_nobody_else_is,
    laws.test_added_again_it_stays_since_when_it_was_and_only_a_change_leaves_a_leaf,
    laws.test_their_own_new_consent_takes_it_off_in_any_spelling_and_is_on_record,
    laws.test_it_is_nobodys_suppression_and_no_tenants_suppression_is_on_it,
    laws.test_its_owners_erasure_and_the_closing_of_their_tenant_leave_it,
    laws.test_no_sweep_closing_count_or_list_of_tenants_that_have_something_ever_names_it,
    laws.test_its_leaves_commit_to_nobody_who_acted,
)


@pytest.fixture(params=["files", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "files":
        return Place(tmp_path)
    database = request.getfixturevalue("database")
    return Place(tmp_path, str(database.server.folder), database.name)


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    desk, databases = opened(place, Steps())
    yield desk
    for each in databases:
        each.close()


@pytest.mark.parametrize("law", SHARED, ids=lambda each: each.__name__)
def test_what_holds_in_memory_holds_here(desk: Desk, law: Any) -> None:
    law(desk)


def test_it_is_on_the_list_after_a_restart(desk: Desk, place: Place) -> None:
    laws.added(desk)
    again, databases = opened(place, Steps())
    assert laws.unsubscribes(again).among(SPELLINGS) == [True] * len(SPELLINGS)
    for each in databases:
        each.close()
