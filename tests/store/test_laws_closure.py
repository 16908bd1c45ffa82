"""The laws of closing on SQLite and PostgreSQL: the same ones as in memory, over real adapters of every port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core import test_closure as laws
from tests.core import test_obstacles as obstacles
from tests.core.desk import Desk
from tests.store.crashes import Place, Steps, opened

SHARED = (
    laws.test_not_a_microsecond_early_and_then_everything_goes_and_the_id_is_never_used_again,
    laws.test_reopened_in_time_everything_is_as_it_was_to_the_byte,
    laws.test_a_rule_that_keeps_does_not_stop_a_closing_and_a_hold_does,
    laws.test_a_hold_on_the_tenant_postpones_it_all_and_released_it_goes_by_itself,
    laws.test_held_and_obliged_records_live_on_under_keys_of_their_own_and_go_by_themselves,
    laws.test_of_whom_only_an_obliged_record_is_left_it_is_kept_and_out_of_reach,
    laws.test_people_of_whom_nothing_but_a_key_is_left_lose_it_too,
    laws.test_of_reopening_and_beginning_to_destroy_at_once_one_wins,
    laws.test_users_with_a_ground_on_record_outlive_the_others_until_its_end,
    laws.test_the_closing_of_one_tenant_is_none_of_anothers,
    obstacles.test_each_kind_is_counted_by_records_of_people_and_single_ones_in_the_trash_too,
    obstacles.test_what_an_obligation_keeps_of_somebody_erased_is_told,
    obstacles.test_what_keeps_all_of_a_tenant_says_since_when_and_is_no_other_tenants,
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


@pytest.mark.parametrize("law", SHARED, ids=lambda each: each.__name__)
def test_what_holds_in_memory_holds_here(desk: Desk, law: Any) -> None:
    law(desk)
