"""What rules do, and what a forecast says they will, on SQLite and PostgreSQL: the same laws as in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core import test_retaining as retaining
from tests.core import test_waits as waits
from tests.core.desk import Desk
from tests.store.crashes import Place, Steps, opened

SHARED = (
    waits.test_what_is_said_to_go_goes_and_what_is_said_to_wait_goes_when_nothing_is_held_any_more,
    waits.test_what_is_in_the_trash_waits_too,
    waits.test_a_simulation_tells_who_would_wait_apart,
    retaining.test_who_takes_back_what_a_rule_threw_away_has_it_for_the_whole_period_anew,
    retaining.test_what_was_emptied_is_not_opened_again_until_somebody_writes_or_another_rule_says_more,
)


@pytest.fixture(params=["files", "server"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    place = Place(tmp_path)
    if request.param == "server":
        database = request.getfixturevalue("database")
        place = Place(tmp_path, str(database.server.folder), database.name)
    desk, databases = opened(place, Steps())
    yield desk
    for each in databases:
        each.close()


@pytest.mark.law("L4")
@pytest.mark.parametrize("law", SHARED, ids=lambda each: each.__name__)
def test_what_holds_in_memory_holds_here(desk: Desk, law: Any) -> None:
    law(desk=desk)
