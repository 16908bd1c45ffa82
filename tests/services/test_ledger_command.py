"""``capsule ledger``: names the first wrong leaf of a deployment, on both databases, and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
from typer.testing import CliRunner

from capsule_core.anchors import anchor
from capsule_core.checkpoints import Checkpoint, Signer, sign_checkpoint
from capsule_core.epochs import open_epoch
from capsule_core.merkle import BLOCK, Frontier
from capsule_services.commands import app
from capsule_services.runtime.layout import DATABASE
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from tests.core.desk import NOON

SIGNER = Signer.from_seed("contacts", bytes(range(32)))
KEY = SIGNER.verifier.text()
LEAVES = [b'{"act":"try","no":%d}' % number for number in range(2 * BLOCK + 77)]
EARLIER, SIGNED = 300, 2 * BLOCK + 50

Run = Callable[..., None]


@attrs.define
class Premises:
    """A deployment of one service: its folder, and how somebody who owns the database writes to it."""

    folder: Path
    data: Any
    run: Run
    journal: SqlJournal = attrs.field(init=False)
    opened: list[Any] = attrs.Factory(list)

    def __attrs_post_init__(self) -> None:
        file = open_database(self.folder / "contacts" / "journal.db", Role.JOURNAL)
        self.opened = [self.data, file]
        self.journal = SqlJournal(file)

    @property
    def ledger(self) -> SqlLedger:
        return SqlLedger(self.data)

    def stop(self) -> None:
        for each in self.opened:
            each.close()

    def told(self, *more: str, code: int) -> list[dict[str, Any]]:
        result = CliRunner().invoke(app, ["ledger", "verify", "--data", str(self.folder), "--json", *more])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if result.stdout else []

    def compared(self, note: str, *, code: int) -> dict[str, Any]:
        file = self.folder.parent / "checkpoint"
        file.write_text(note, encoding="utf-8")
        (told,) = self.told("--against", str(file), "--key", KEY, code=code)
        return told


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Premises]:
    folder = tmp_path / "deployment"
    (folder / "contacts").mkdir(parents=True)
    if request.param == "sqlite":
        file = folder / "contacts" / "data.db"
        made = Premises(folder, open_database(file, Role.DATA), lambda *statement: _on_file(file, *statement))
    else:
        database = request.getfixturevalue("database")
        (folder / "contacts" / DATABASE).write_text(database.url + "\n", encoding="utf-8")
        opened = open_postgres(database.url, Role.DATA)
        made = Premises(folder, opened, lambda *statement: _on_server(database.admin_url, *statement))
    made.ledger.append(LEAVES[:EARLIER])
    anchor(made.ledger, made.journal, log="contacts", signer=SIGNER)
    made.ledger.append(LEAVES[EARLIER:])
    yield made
    made.stop()


def _on_file(file: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(statement, values)


def _on_server(url: str, statement: str, *values: Any) -> None:
    with psycopg.connect(url, autocommit=True, options="-c search_path=data") as database:
        database.execute(statement.replace("?", "%s"), values)


def outside(size: int = SIGNED, signer: Signer = SIGNER) -> str:
    return sign_checkpoint(Checkpoint("contacts", size, Frontier().append(LEAVES[:size]).root()), signer)


def edit(here: Premises) -> None:
    here.run("UPDATE leaves SET data = ? WHERE no = 400", b"forged")


def take_out(here: Premises) -> None:
    here.run("DELETE FROM leaves WHERE no = 400")


def swap(here: Premises) -> None:
    for number, data in ((400, LEAVES[401]), (401, LEAVES[400])):
        here.run("UPDATE leaves SET data = ? WHERE no = ?", data, number)


def cut_off(here: Premises) -> None:
    here.run("DELETE FROM leaves WHERE no >= 400")
    here.run("DELETE FROM frontiers WHERE size > 400")


DAMAGE = {"changed": edit, "missing": take_out, "cut_off": cut_off}


@pytest.mark.law("L8")
def test_a_whole_log_is_said_to_be_while_it_is_in_use_and_after_and_nothing_is_changed(here: Premises) -> None:
    for _ in range(2):
        before = state(here.folder)
        told = here.compared(outside(), code=0)
        assert (told["whole"], told["fault"], told["leaves"]) == (True, None, len(LEAVES))
        assert told["against"] == {"origin": "contacts", "size": SIGNED}
        assert f"the first {SIGNED} leaves are those of the checkpoint; the 27 after it agree" in told["found"]
        assert state(here.folder) == before
        here.stop()


def state(folder: Path) -> dict[str, str]:
    """All files but the memory that processes share: who reads besides is counted there."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.law("L8")
@pytest.mark.parametrize("wrong", DAMAGE)
def test_the_first_wrong_leaf_is_named_with_what_to_do(here: Premises, wrong: str) -> None:
    DAMAGE[wrong](here)
    told = here.compared(outside(), code=1)
    fault = told["fault"]
    assert (told["whole"], fault["wrong"], fault["proven"]) == (False, wrong, True)
    assert fault["first"] <= 400 <= fault["last"]
    assert fault["first"] // BLOCK == fault["last"] // BLOCK == 1
    assert "keep a copy of the database as evidence" in told["do"]


@pytest.mark.law("L8")
def test_two_leaves_that_changed_places_are_found(here: Premises) -> None:
    swap(here)
    fault = here.compared(outside(), code=1)["fault"]
    assert fault["first"] <= 400 <= fault["last"] < fault["first"] + BLOCK // 2


@pytest.mark.law("L8")
def test_who_rewrote_the_notes_too_is_found_between_two_checkpoints_of_the_journal(here: Premises) -> None:
    edit(here)
    forged = [*LEAVES]
    forged[400] = b"forged"
    for size in (2 * BLOCK, len(LEAVES)):
        encoded = Frontier().append(forged[:size]).encode()
        here.run("UPDATE frontiers SET frontier = ? WHERE size = ?", encoded, size)
    told = here.compared(outside(), code=1)
    assert (told["fault"]["first"], told["fault"]["last"]) == (EARLIER, SIGNED - 1), "after the one, before the other"
    (alone,) = (each for each in here.told("--service", "contacts", "--log", "changes", code=0))
    assert "whoever edits both is not found" in alone["found"]
    assert "--against" in alone["do"]


def test_without_a_checkpoint_what_its_own_notes_say_is_said_to_prove_less(here: Premises) -> None:
    edit(here)
    (told,) = here.told("--log", "changes", code=1)
    assert told["fault"]["proven"] is False
    assert told["found"].startswith("by its own notes, ")
    assert "--against" in told["do"]


@pytest.mark.law("L8")
def test_after_a_restore_a_checkpoint_of_what_was_lost_cannot_be_compared_and_one_of_the_new_epoch_can(
    here: Premises,
) -> None:
    lost = outside(len(LEAVES))
    here.run("DELETE FROM leaves WHERE no >= 512")
    here.run("DELETE FROM frontiers WHERE size > 512")
    first = open_epoch(here.ledger, here.journal, log="contacts", signer=SIGNER, now=NOON)
    told = here.compared(lost, code=2)
    assert "restored with 512 leaves" in told["found"]
    assert "contacts/2" in told["do"]
    assert here.compared(sign_checkpoint(first, SIGNER), code=0)["whole"] is True
    assert here.compared(outside(500), code=0)["whole"] is True, "what the restore brought back is still under the old"
    edit(here)
    assert here.compared(sign_checkpoint(first, SIGNER), code=1)["whole"] is False


@pytest.mark.law("L8")
def test_a_restore_that_nobody_signed_for_is_a_log_that_was_cut_off(here: Premises) -> None:
    here.run("DELETE FROM leaves WHERE no >= 512")
    here.run("DELETE FROM frontiers WHERE size > 512")
    kept = here.ledger.latest()
    open_epoch(here.ledger, here.journal, log="contacts", signer=SIGNER, now=NOON)
    assert kept is not None
    here.ledger.keep(sign_checkpoint(Checkpoint("contacts/2", 513, bytes(32)), Signer.from_seed("contacts", bytes(32))))
    assert here.compared(outside(len(LEAVES)), code=1)["whole"] is False


def test_the_newest_checkpoint_of_the_journal_is_printed_to_be_kept_elsewhere(here: Premises) -> None:
    result = CliRunner().invoke(app, ["ledger", "checkpoint", "--data", str(here.folder)])
    assert result.exit_code == 0
    assert here.compared(result.stdout, code=0)["against"]["size"] == EARLIER
    none = CliRunner().invoke(app, ["ledger", "checkpoint", "--data", str(here.folder), "--log", "reads"])
    assert (none.exit_code, none.stdout) == (2, "")
    assert "no checkpoint yet" in none.stderr


def test_a_log_that_cannot_be_read_is_said_so_beside_those_that_can(here: Premises) -> None:
    if (here.folder / "contacts" / DATABASE).exists():
        (here.folder / "contacts" / DATABASE).write_text("postgresql://nobody@/nothing?host=/nowhere\n")
        assert {each["leaves"] for each in here.told(code=2)} == {None}
        return
    told = {each["log"]: each for each in here.told(code=2)}
    assert told["changes"]["whole"] is True
    assert told["reads"]["leaves"] is None
    assert "cannot be read" in told["reads"]["found"]


def test_the_table_says_it_to_people(here: Premises) -> None:
    edit(here)
    arguments = ["ledger", "verify", "--data", str(here.folder), "--log", "changes"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 1
    assert "contacts" in result.stdout
    assert "leaves 384 to 447 is not what was appended" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--against", "{note}"], "--key"),
        (["--against", "{note}", "--key", "nonsense"], "must be a public key"),
        (["--against", "{missing}", "--key", KEY], "cannot read"),
        (["--against", "{note}", "--key", Signer.from_seed("contacts", bytes(32)).verifier.text()], "this key signed"),
        (["--against", "{note}", "--key", KEY, "--log", "reads"], "none of these logs"),
        (["--log", "writes"], "changes or reads"),
        (["--service", "nobody"], "no service"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "deployment" / "contacts").mkdir(parents=True)
    (tmp_path / "note").write_text(outside(), encoding="utf-8")
    told = [each.format(note=tmp_path / "note", missing=tmp_path / "missing") for each in arguments]
    result = CliRunner().invoke(app, ["ledger", "verify", "--data", str(tmp_path / "deployment"), *told])
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_folder_without_a_deployment_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ledger", "verify", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no deployment" in result.stderr
