"""Killed between any two steps, an erasure and an import end as if nothing had happened, and every act has one leaf.

In files every step is tried; on a server every third, and all of them in any profile but the quick one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.postgres import Database

pytestmark = pytest.mark.timeout(900)  # hundreds of runs, each through real files or a real server

REPOSITORY = Path(__file__).parents[2]
CRASHES = Path(__file__).with_name("crashes.py")


@pytest.fixture(params=["files", "server"])
def where(request: pytest.FixtureRequest, folder: Path) -> list[str]:
    """Everything in files, or the data on a server."""
    if request.param == "files":
        return [str(folder)]
    database: Database = request.getfixturevalue("database")
    return [str(folder), str(database.server.folder), database.name]


def apart(where: list[str]) -> int:
    """Say how far apart the steps lie that are tried: each step on a server costs a database."""
    return 3 if len(where) > 1 and settings.get_current_profile_name() == "dev" else 1


def told_of(scenario: str, where: list[str]) -> list[dict[str, Any]]:
    """Run the matrix of a scenario in a process that may fork, and return what each survivor told."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(CRASHES), scenario, str(apart(where)), *where],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_killed_everywhere(told: list[dict[str, Any]], where: list[str], at_least: int) -> None:
    steps = [each["step"] for each in told]
    assert steps == list(range(1, steps[-1] + 1, apart(where)))
    assert {each["killed"] for each in told[:-1]} == {signal.SIGKILL}
    assert told[-1]["killed"] == 0
    assert steps[-1] > at_least


@pytest.mark.law("L6", "L8")
def test_an_erasure_killed_at_any_step_is_not_begun_or_leads_to_its_one_end(where: list[str]) -> None:
    told = told_of("erasure", where)
    assert_killed_everywhere(told, where, at_least=40)
    assert {True, False} == {each["begun"] for each in told}
    for each in told:
        assert each["untouched"] != each["begun"], each
        assert each["erased by resuming"] == each["begun"], each
        assert each["receipt after resuming"] == each["begun"], each
        assert each["suppressed by resuming"] == each["begun"], each
        assert each["suppressed"], each
        assert each["acts"] == ["try", *(f"erasure.{act}" for act in ("fence", "suppress", "delete", "commit"))], each
        assert each["deleted"] == [4], each
        assert each["destroyed"] == {"person": 1, "entry": 3}, each
        assert (each["records left"], each["keys left"], each["others"]) == (0, 0, "Bo"), each
        assert each["same receipt"], each
        assert each["whole"], each
        assert list(dict.fromkeys(each["in the journal"])) == [16, 32], each


@pytest.mark.law("L7")
def test_a_replay_killed_at_any_step_is_led_to_its_end_by_the_next_start(where: list[str]) -> None:
    told = told_of("restore", where)
    assert_killed_everywhere(told, where, at_least=40)
    assert {True, False} == {each["was behind"] for each in told}
    for each in told:
        assert not each["is behind"], each
        assert each["marks"] == [16 | 32, 1, 8, 16], each
        assert (each["rows of the erased"], each["keys of the erased"], each["others"]) == (0, 0, "Bo"), each
        assert each["again"], each
        assert each["finished"] == ["request"], each
        assert each["whole"], each
        assert each["in the journal"] == 6, each


@pytest.mark.law("L4", "L6")
def test_what_is_kept_survives_a_kill_at_any_step_and_goes_when_nothing_keeps_it(where: list[str]) -> None:
    told = told_of("keeping", where)
    assert_killed_everywhere(told, where, at_least=40)
    for each in told:
        assert each["kept"] == ["Entry", "Invoice"], each
        assert each["marks"] == [16 | 32, 64], each
        assert each["told"] == [["entry", "hold", 1], ["invoice", "obligation", 1]], each
        assert each["destroyed"] == {"person": 1, "entry": 1}, each
        assert each["keys left"] == 0, each
        assert each["swept"] == [0, 0, 1], each
        assert each["records left"] == 0, each
        assert each["whole"], each


@pytest.mark.law("L4", "L8")
def test_a_hold_that_is_killed_at_any_step_stands_with_its_record_or_not_at_all_and_stands_when_placed_again(
    where: list[str],
) -> None:
    told = told_of("holding", where)
    assert_killed_everywhere(told, where, at_least=10)
    assert {True, False} == {each["guarded"] for each in told}
    for each in told:
        assert each["guarded"] == each["on record"], each
        assert each["once"], each
        assert each["refused"], each
        assert each["in the journal"] == ["Marked", "Written"], each
        assert each["released"] == ["h1"], each
        assert each["erased"], each
        assert each["whole"], each


@pytest.mark.law("L2", "L6", "L8")
def test_a_closing_killed_at_any_step_can_be_reopened_or_leads_to_the_one_end(where: list[str]) -> None:
    told = told_of("closing", where)
    assert_killed_everywhere(told, where, at_least=60)
    assert {True, False} == {each["begun"] for each in told}
    for each in told:
        assert each["reopened"] != each["begun"], each
        assert (each["again"], each["late"]) == (0, False), each
        own = ["closure.begin", "closure.end", "closure.forget", "closure.lift", "closure.tidy"]
        assert each["acts"] == [*own, *(f"erasure.{act}" for act in ("commit", "delete", "fence"))], each
        assert each["erased"] == [True, True, True], each
        assert (each["records left"], each["remembered"], each["keys left"]) == (0, 0, False), each
        assert each["whole"], each


@pytest.mark.law("L8", "L9")
def test_an_import_killed_at_any_step_has_every_row_once_when_it_is_sent_again(where: list[str]) -> None:
    told = told_of("import", where)
    assert_killed_everywhere(told, where, at_least=40)
    assert {0, 1, 2, 3} == {len(each["before"]) for each in told}
    for each in told:
        assert each["leaves"] == [200, 200, 200], each
        assert (each["rows"], each["all"], each["readable"], each["slots"]) == (600, 600, 600, 600), each
        assert each["versions"] == [1], each
        assert each["whole"], each
