"""A log that was cut off or altered behind its newest checkpoint in the journal is named, and is not served."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from capsule_core.anchors import anchor
from capsule_services.commands import app
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.opening import Opened, open_holding
from tests.services.office import KINDS, host, office, person


def opened(folder: Path) -> Opened:
    return open_holding(host(folder), "contacts", KINDS)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service whose log of changes is under a checkpoint, but for its last leaf."""
    folder = tmp_path_factory.mktemp("signed")
    opening = opened(folder)
    desk = office(opening, folder).desk("acme")
    for _ in range(4):
        person(desk)
    anchor(opening.holding.ledger, opening.journal, log="contacts", signer=opening.signer)
    person(desk)
    opening.close()
    return folder


@pytest.fixture
def copied(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def verified(folder: Path) -> tuple[int, dict[str, Any]]:
    arguments = ["ledger", "verify", "--data", str(folder), "--log", "changes", "--json"]
    result = CliRunner().invoke(app, arguments)
    (told,) = json.loads(result.stdout)
    return result.exit_code, told


def diagnosed(folder: Path) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(app, ["doctor", "--data", str(folder), "--json"])
    return {each["what"]: each for each in json.loads(result.stdout)}


EMPTIED = ("DELETE FROM leaves", "DELETE FROM checkpoints", "DELETE FROM frontiers")
CUT_OFF = ("DELETE FROM leaves WHERE no > 1", "DELETE FROM checkpoints", "DELETE FROM frontiers WHERE size > 2")
TYPED = ("UPDATE leaves SET data = CAST(data AS TEXT) WHERE no = 1",)
GARBLED = ("UPDATE leaves SET data = CAST(x'ff' AS TEXT) WHERE no = 1",)
GONE = ("DROP TABLE leaves",)


def damaged(folder: Path, statements: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(folder / "contacts" / "data.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.law("L8")
def test_a_log_that_is_whole_is_compared_with_the_journal_and_served(copied: Path) -> None:
    code, told = verified(copied)
    assert code == 0
    assert "those of the newest checkpoint in the journal" in told["found"]
    assert told["leaves"] == told["against"]["size"] + 1
    assert "under a checkpoint" in diagnosed(copied)["log of changes of contacts"]["found"]
    opening = opened(copied)
    opening.resume()
    opening.close()


@pytest.mark.law("L8")
@pytest.mark.parametrize("statements", [EMPTIED, CUT_OFF, TYPED], ids=["emptied", "cut off", "typed"])
def test_a_log_that_is_not_what_was_signed_is_found_and_not_served(copied: Path, statements: tuple[str, ...]) -> None:
    damaged(copied, statements)
    code, told = verified(copied)
    assert (code, told["whole"], told["fault"]["proven"]) == (1, False, True)
    assert diagnosed(copied)["log of changes of contacts"]["grade"] == "mend"
    opening = opened(copied)
    with pytest.raises(StartRefused, match="the log contacts is not the one that its newest checkpoint"):
        opening.resume()
    opening.close()


@pytest.mark.law("L8")
@pytest.mark.parametrize("statements", [TYPED, GARBLED])
def test_a_leaf_of_another_type_is_named(copied: Path, statements: tuple[str, ...]) -> None:
    damaged(copied, statements)
    code, told = verified(copied)
    assert (code, told["fault"]["wrong"]) == (1, "changed")
    assert told["fault"]["first"] <= 1 <= told["fault"]["last"]


def test_a_log_without_its_table_is_said_to_be(copied: Path) -> None:
    damaged(copied, GONE)
    code, told = verified(copied)
    assert code == 1
    assert "no such table: leaves" in told["found"]


def test_while_a_restore_waits_the_log_may_be_older(copied: Path) -> None:
    damaged(copied, CUT_OFF)
    (copied / "contacts" / "restored.json").write_text("{}")
    assert verified(copied)[1]["against"] is None
