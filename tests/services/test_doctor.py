"""The doctor: a deployment is broken in every way that it looks for, and each time it says so; it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console
from typer.testing import CliRunner

from capsule_core.checkpoints import Signer
from capsule_core.merkle import Frontier
from capsule_services.commands import app
from capsule_services.doctor.examine import CHECKS, as_json, as_table, examine
from capsule_services.doctor.files import FLOORS
from capsule_services.doctor.findings import Finding, Grade, exit_code, good, mend, note, unseen
from capsule_services.doctor.place import Place
from capsule_services.runtime.authority import Step
from capsule_services.runtime.certificates import prepared, take_step
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import ORDER
from tests.services.chassis import wall
from tests.services.office import deleted, office, opened_on, person, purged
from tests.services.office import note as written

WELL = {Grade.GOOD, Grade.NOTE}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that ran, and in which people were kept, thrown away and erased."""
    folder = tmp_path_factory.mktemp("used") / "deployment"
    with running(folder, Options(dev=True)):
        pass
    here = office(opened_on("sqlite", folder), folder)
    desk = here.desk("acme")
    kept = [person(desk) for _ in range(4)]
    written(desk, kept[0])
    deleted(desk, kept[1])
    purged(desk, kept[2])
    person(desk)
    here.opened.close()
    (folder / "reported").unlink(missing_ok=True)
    (folder / "clock.lock").unlink(missing_ok=True)
    return folder


@pytest.fixture
def copied(used: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "[a] copy?#%41"
    shutil.copytree(used, folder)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Everything that could change: names, modes, times, sizes, contents."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.stat().st_size,
            sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }


def found(folder: Path, **outside: Any) -> list[Finding]:
    return examine(Place(folder=folder, **outside))


def ill(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings if finding.grade not in WELL}


def run(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def test_a_deployment_that_is_well_is_said_to_be_and_is_left_as_it_is(copied: Path) -> None:
    before = state(copied)
    findings = found(copied)
    assert ill(findings) == {}
    assert exit_code(findings) == 0
    assert {name for name in ORDER if any(name in each.what for each in findings)} == set(ORDER)
    assert any("of them under a checkpoint" in each.found for each in findings)
    assert state(copied) == before


def test_every_check_says_something_of_a_deployment_that_is_well(copied: Path) -> None:
    assert [check.__name__ for check in CHECKS if not list(check(Place(folder=copied)))] == []


def data(folder: Path) -> Path:
    return folder / "contacts" / "data.db"


def opened_to_others(folder: Path) -> None:
    (folder / "contacts" / "root.key").chmod(0o640)


def folder_opened_to_others(folder: Path) -> None:
    (folder / "privacy" / "mirror").chmod(0o755)


def newer_schema(folder: Path) -> None:
    run(data(folder), "UPDATE alembic_version SET version_num = 'data_9999'")


def swapped(folder: Path) -> None:
    shutil.copyfile(folder / "contacts" / "journal.db", data(folder))


def missing(folder: Path) -> None:
    (folder / "identity" / "reads.db").unlink()


def no_database(folder: Path) -> None:
    (folder / "identity" / "reads.db").write_bytes(b"not a database at all" * 500)


def damaged(folder: Path) -> None:
    with closing(sqlite3.connect(data(folder))) as database:
        ((root,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'")
        ((size,),) = database.execute("PRAGMA page_size")
    with data(folder).open("r+b") as file:
        file.seek((root - 1) * size + 7)  # how many bytes of the page are lost between cells
        file.write(b"\x3f")


def deleted_carelessly(folder: Path) -> None:
    run(
        folder / "contacts" / "mirror" / "keystore.db",
        "PRAGMA secure_delete = OFF",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
        " INSERT INTO keys (tenant, page, id, wrapped) SELECT x'00', i, randomblob(8), randomblob(60) FROM n",
        "DELETE FROM keys WHERE tenant = x'00'",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    )


def root_key_missing(folder: Path) -> None:
    (folder / "contacts" / "root.key").unlink()


def root_key_truncated(folder: Path) -> None:
    (folder / "contacts" / "root.key").write_bytes(b"short")


def root_key_of_another(folder: Path) -> None:
    shutil.copyfile(folder / "identity" / "root.key", folder / "contacts" / "root.key")


def keystore_emptied(folder: Path) -> None:
    run(folder / "contacts" / "keystore.db", "DELETE FROM seals")


def mirror_missing(folder: Path) -> None:
    (folder / "contacts" / "mirror" / "keystore.db").unlink()


def journal_mirror_missing(folder: Path) -> None:
    (folder / "contacts" / "mirror" / "journal.db").unlink()


def mirror_behind(folder: Path) -> None:
    run(folder / "contacts" / "mirror" / "keystore.db", "UPDATE keys SET wrapped = zeroblob(60) WHERE no = 1")


def journal_mirror_behind(folder: Path) -> None:
    run(folder / "contacts" / "mirror" / "journal.db", "DELETE FROM entries WHERE no = 1")


def unshipped(folder: Path) -> None:
    run(data(folder), "INSERT INTO outbox (line) VALUES (x'00')")


def erasure_unfinished(folder: Path) -> None:
    run(
        data(folder),
        "UPDATE subjects SET marks = marks & ~32",
        "UPDATE subjects SET anywhere = anywhere | 16, marks = marks | 16",
        "INSERT INTO reasons (tenant_no, subject_no, id, mark, record, since) "
        "SELECT tenant_no, no, 'e1', 16, '', 1 FROM subjects WHERE no NOT IN (SELECT subject_no FROM reasons) LIMIT 1",
    )


def overdue(folder: Path) -> None:
    run(data(folder), "UPDATE records SET until = 1 WHERE trashed IS NOT NULL")


def leaf_edited(folder: Path) -> None:
    run(data(folder), "UPDATE leaves SET data = CAST(data || x'20' AS BLOB) WHERE no = 1")


def leaf_removed(folder: Path) -> None:
    run(folder / "contacts" / "data.db", "DELETE FROM leaves WHERE no = (SELECT max(no) FROM leaves)")


def log_rewritten(folder: Path) -> None:
    """Rewrite the log so that it agrees with itself: only the checkpoint tells."""
    with closing(sqlite3.connect(data(folder), isolation_level=None)) as database:
        database.execute("UPDATE leaves SET data = CAST(data || x'20' AS BLOB) WHERE no = 1")
        leaves = [leaf for (leaf,) in database.execute("SELECT data FROM leaves ORDER BY no")]
        frontier = Frontier().append(leaves)
        database.execute("UPDATE frontiers SET frontier = ? WHERE size = ?", (frontier.encode(), frontier.size))


def read_log_altered(folder: Path) -> None:
    run(
        folder / "contacts" / "reads.db",
        "INSERT INTO leaves (no, data) VALUES (0, x'00')",
        "INSERT INTO frontiers (size, frontier) SELECT 1, CAST(x'0000000000000001' || zeroblob(32) AS BLOB)",
    )


def another_public_key(folder: Path) -> None:
    public = Signer.from_seed("contacts", bytes(32)).verifier.text()
    (folder / "contacts" / "receipts.pub").write_text(public + "\n", encoding="ascii")


def signing_key_missing(folder: Path) -> None:
    (folder / "privacy" / "receipts.key").unlink()


def signing_key_damaged(folder: Path) -> None:
    (folder / "privacy" / "receipts.key").write_bytes(b"short")


def certificate_of_another(folder: Path) -> None:
    shutil.copyfile(folder / "tls" / "contacts.key", folder / "tls" / "privacy.key")


def certificate_damaged(folder: Path) -> None:
    (folder / "tls" / "identity.pem").write_text("nonsense")


def authority_missing(folder: Path) -> None:
    (folder / "tls" / "authority.pem").unlink()


def clock_damaged(folder: Path) -> None:
    (folder / "clock").write_text("nonsense")


def stale_addresses(folder: Path) -> None:
    for name in ("contacts", "identity"):
        (folder / "addresses" / name).write_text("127.0.0.1:1")


def engine_damaged(folder: Path) -> None:
    file = folder / "contacts" / "engine.db"
    file.unlink(missing_ok=True)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i FROM n"
    run(file, "CREATE TABLE work (id)", f"INSERT INTO work {numbers}")
    run(file, "CREATE INDEX works ON work (id)")
    file.chmod(0o600)
    content = bytearray(file.read_bytes())
    content[-4096:] = bytes(4096)
    file.write_bytes(content)


def engine_no_database(folder: Path) -> None:
    (folder / "contacts" / "engine.db").write_bytes(b"nothing of the kind" * 400)


def engine_nowhere(folder: Path) -> None:
    (folder / "contacts" / "engine.url").write_text("postgresql://admin@db.example/x")


def clock_jumped(folder: Path) -> None:
    (folder / "contacts" / "sweep.json").write_text(json.dumps({"ahead": 900_000, "asks": True}))


BROKEN: list[tuple[Callable[[Path], None], str, str]] = [
    (opened_to_others, "rights", "contacts/root.key"),
    (folder_opened_to_others, "rights", "privacy/mirror"),
    (newer_schema, "schema of contacts/data.db", "data_9999"),
    (swapped, "schema of contacts/data.db", "another"),
    (missing, "schema of identity/reads.db", "missing"),
    (no_database, "schema of identity/reads.db", "cannot be read"),
    (no_database, "integrity of identity/reads.db", "cannot be read"),
    (damaged, "integrity of contacts/data.db", "damaged"),
    (deleted_carelessly, "deletion in contacts/mirror/keystore.db", "unused pages"),
    (root_key_missing, "keystore of contacts", "missing"),
    (root_key_truncated, "keystore of contacts", "damaged"),
    (root_key_of_another, "keystore of contacts", "does not open"),
    (keystore_emptied, "keystore of contacts", "empty"),
    (mirror_missing, "mirror of contacts/keystore.db", "missing"),
    (journal_mirror_missing, "mirror of contacts/journal.db", "missing"),
    (mirror_behind, "mirror of contacts/keystore.db", "not like its file"),
    (journal_mirror_behind, "mirror of contacts/journal.db", "not like its file"),
    (unshipped, "outbox of contacts", "1 entries"),
    (erasure_unfinished, "erasures of contacts", "begun and not finished"),
    (overdue, "trash of contacts", "1 records are overdue"),
    (leaf_edited, "log of changes of contacts", "altered"),
    (leaf_removed, "log of changes of contacts", "altered"),
    (log_rewritten, "log of changes of contacts", "altered"),
    (read_log_altered, "log of reads of contacts", "altered"),
    (another_public_key, "log of changes of contacts", "not signed"),
    (another_public_key, "receipts of contacts", "not its public key"),
    (signing_key_missing, "receipts of privacy", "missing"),
    (signing_key_damaged, "receipts of privacy", "damaged"),
    (certificate_of_another, "certificate of privacy", "does not fit"),
    (certificate_damaged, "certificate of identity", "damaged"),
    (authority_missing, "certificates", "missing"),
    (clock_damaged, "clock", "damaged"),
    (engine_damaged, "engine of contacts", "damaged"),
    (engine_no_database, "engine of contacts", "cannot be read"),
    (engine_nowhere, "engine of contacts", "leads nowhere"),
    (clock_jumped, "clock of the sweeps of contacts", "10 days, 10:00:00, which is not believed"),
    (stale_addresses, "health of contacts", "nobody answers"),
]


@pytest.mark.parametrize(("damage", "what", "says"), BROKEN, ids=[f"{each[0].__name__}-{each[1]}" for each in BROKEN])
def test_what_is_broken_is_named_with_what_to_do_and_nothing_is_changed(
    copied: Path, damage: Callable[[Path], None], what: str, says: str
) -> None:
    damage(copied)
    before = state(copied)
    findings = found(copied)
    told = ill(findings)[what]
    assert told.grade is Grade.MEND
    assert says in told.found
    assert len(told.do) > 10
    assert exit_code(findings) == 1
    assert state(copied) == before


def test_while_pages_wait_in_the_log_of_a_file_nobody_is_blamed_for_what_is_in_the_unused_ones(copied: Path) -> None:
    deleted_carelessly(copied)
    with closing(sqlite3.connect(copied / "contacts" / "mirror" / "keystore.db", isolation_level=None)) as writer:
        writer.execute("INSERT INTO keys (tenant, page, id, wrapped) VALUES (x'01', 1, x'00', x'00')")
        (told,) = [each for each in found(copied) if each.what == "deletion in contacts/mirror/keystore.db"]
    assert told.grade is Grade.NOTE
    assert "its log" in told.found


def test_what_a_hold_keeps_in_the_trash_is_not_overdue(copied: Path) -> None:
    overdue(copied)
    run(data(copied), "UPDATE subjects SET anywhere = anywhere | 1")
    assert ill(found(copied)) == {}


@pytest.mark.parametrize(("days", "says"), [(65, "25 days left"), (91, "it ended 1 days ago")])
def test_certificates_near_their_end_and_past_it_are_told_apart(copied: Path, days: int, says: str) -> None:
    told = ill(found(copied, wall=lambda: wall() + timedelta(days=days)))
    assert {told[f"certificate of {name}"].found for name in (*ORDER, "client")} == {says}
    assert "certificate of authority" not in told


def test_two_authorities_are_noted_until_one_is_left(copied: Path) -> None:
    for step in Step:
        take_step(copied / "tls", step, now=wall())
        prepared(copied / "tls", ORDER, now=wall())
        noted = [each for each in found(copied) if each.what == "authorities"]
        assert [each.grade for each in noted] == ([] if step is Step.RETIRE else [Grade.NOTE])
        assert ill(found(copied)) == {}


def test_a_disk_that_is_full_is_told_and_one_that_will_be_is_noted(copied: Path) -> None:
    def room(free: int) -> Finding:
        told = found(copied, space=lambda _: SimpleNamespace(free=free))
        return next(each for each in told if each.what == "room for the folder")

    assert [room(free).grade for free in (1 << 20, 1 << 30, 1 << 40)] == [Grade.MEND, Grade.NOTE, Grade.GOOD]


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_version_that_is_too_old_is_told(copied: Path, name: str) -> None:
    assert list(ill(found(copied, versions={name: "1.2.3"}))) == [name]


def test_a_clock_that_was_put_ahead_is_noted_and_trash_is_judged_by_it(copied: Path) -> None:
    (copied / "clock").write_text(f"{timedelta(days=31) // timedelta(microseconds=1)}\n")
    findings = found(copied)
    assert next(each for each in findings if each.what == "clock").found.startswith("31.0 days ahead")
    assert list(ill(findings)) == ["trash of contacts"]


def test_what_is_kept_on_a_server_is_not_looked_for_in_files(copied: Path) -> None:
    for premises in (copied / name for name in ORDER):
        (premises / "database.url").write_text(f"postgresql://nobody@/nothing?host={quote(str(copied))}\n")
        (premises / "database.url").chmod(0o600)
        for file in ("data.db", "reads.db"):
            (premises / file).unlink()
    findings = found(copied)
    assert {what: each.grade for what, each in ill(findings).items()} == {
        f"database of {name}": Grade.UNSEEN for name in ORDER
    }
    assert sum(each.what.startswith("mirror of") for each in findings) == 2 * len(ORDER)


def test_one_service_alone_is_looked_at_without_the_others(copied: Path) -> None:
    for name in ("identity", "privacy", "tls"):
        shutil.rmtree(copied / name)
    (copied / "begun.json").unlink()
    findings = found(copied)
    assert ill(findings) == {}
    assert next(each for each in findings if each.what == "certificates").grade is Grade.NOTE


def test_certificates_that_were_issued_here_are_missed(copied: Path) -> None:
    shutil.rmtree(copied / "tls")
    told = ill(found(copied))
    assert list(told) == ["certificates"]
    assert "client.pem" in told["certificates"].do


def test_addresses_that_a_crash_left_behind_make_nobody_run(copied: Path) -> None:
    (copied / "addresses").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (copied / "addresses" / "contacts").write_text(f"127.0.0.1:{port}\n")
    told = {finding.what: finding for finding in found(copied) if finding.what.startswith("health")}
    assert told["health of contacts"].found == f"nobody answers at 127.0.0.1:{port}"
    assert {told[f"health of {name}"].found for name in ("identity", "privacy")} == {"stopped"}


def test_why_a_check_could_not_look_is_said_in_words_and_no_path_is_cut(copied: Path) -> None:
    def refused(_: Place) -> Iterator[Finding]:
        raise StartRefused(f"{copied / 'contacts' / 'database.url'} cannot be read")

    (finding,) = examine(Place(folder=copied), [refused])
    assert "database.url cannot be read" in finding.found
    written = StringIO()
    Console(file=written, width=80).print(as_table([finding]))
    assert "\N{HORIZONTAL ELLIPSIS}" not in written.getvalue()


def test_what_cannot_be_looked_at_is_said_and_keeps_nothing_else_from_being_looked_at(copied: Path) -> None:
    data(copied).unlink()
    data(copied).mkdir(mode=0o700)
    findings = found(copied)
    assert {each.what for each in findings if each.grade is Grade.UNSEEN} >= {"schemas", "outboxes", "trash"}
    assert "keystore of contacts" in {each.what for each in findings if each.grade is Grade.GOOD}
    assert exit_code(findings) == 2


def test_another_check_is_one_more_function() -> None:
    def server(_: Place) -> Iterator[Finding]:
        yield mend("roles", "the service owns its tables", "run capsule db init")

    def refused(_: Place) -> Iterator[Finding]:
        raise StartRefused("no")

    place = Place(folder=Path())
    assert [each.what for each in examine(place, [server])] == ["folder"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "services", ("contacts",))
        assert [(each.what, each.grade) for each in examine(place, [server, refused])] == [
            ("roles", Grade.MEND),
            ("refused", Grade.UNSEEN),
        ]


def test_the_exit_code_is_that_of_the_worst() -> None:
    well, noted, bad, dark = good("a", "b"), note("a", "b"), mend("a", "b", "c"), unseen("a", "b", "c")
    assert [exit_code(each) for each in ([], [well, noted], [well, dark], [dark, bad])] == [0, 0, 2, 1]


def ailing(folder: Path) -> set[str]:
    return {name.partition(" of ")[0] for name in ill(found(folder))}


def as_a_kill_leaves_it(deployment: Deployment, to: Path) -> Path:
    """Copy all files as they are in one moment, in which no mirror is behind its file."""
    for number in range(50):
        with standing_still(deployment):
            copy = Path(shutil.copytree(deployment.folder, to / f"killed-{number}"))
        if "mirror" not in ailing(copy):
            return copy
    raise AssertionError("its mirrors are always behind")


@contextmanager
def standing_still(deployment: Deployment) -> Iterator[None]:
    """Stop every process of a deployment for as long as the block lasts."""
    pids = [process.pid for process in deployment.processes.values() if process.pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_deployment_that_runs_is_looked_at_while_it_runs_and_after_it_was_killed(
    copied: Path, tmp_path: Path
) -> None:
    with running(copied, Options(dev=True)) as deployment:
        findings = found(copied)
        assert ill(findings) == {}
        assert sum(each.found.startswith("SERVING") for each in findings) == len(ORDER)
        killed = as_a_kill_leaves_it(deployment, tmp_path)
        (copied / "addresses" / "privacy").rename(tmp_path / "privacy")
        assert ill(found(copied))["health of privacy"].found == "stopped, while others run"
        (tmp_path / "privacy").rename(copied / "addresses" / "privacy")
    assert list(killed.rglob("*-wal"))
    before = state(killed)
    assert ailing(killed) == {"health"}
    assert state(killed) == before


def test_the_command_tells_people_and_programs_and_its_exit_code_tells_scripts(copied: Path) -> None:
    def told(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["doctor", "--data", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})
        return result.exit_code, result.stdout

    code, text = told(str(copied))
    assert code == 0
    assert "✓" in text
    root_key_missing(copied)
    code, text = told(str(copied), "--json")
    assert code == 1
    told_ill = [each for each in json.loads(text) if each["grade"] == "mend"]
    assert [(each["what"], each["found"]) for each in told_ill] == [("keystore of contacts", "root.key is missing")]
    assert told_ill[0]["do"].endswith(str(copied / "contacts" / "root.key"))
    assert told(str(copied / "nothing"))[0] == 2
    assert as_json([good("a", "b")]) == [{"grade": "good", "what": "a", "found": "b", "do": ""}]
    assert as_table([good("[a]", "b")]).row_count == 1
    assert sys.version_info >= tuple(map(int, FLOORS["python"].split(".")))


def test_for_people_what_is_broken_comes_first_and_what_is_well_is_counted() -> None:
    findings = [
        good("a", "fine"),
        note("b", "known"),
        unseen("c", "dark", "look"),
        mend("d", "broken", "mend"),
        good("e", "f"),
    ]
    written = StringIO()
    Console(file=written, width=80).print(as_table(findings))
    text = written.getvalue()
    order = [text.index(each) for each in ("d: broken", "mend", "c: dark", "b: known", "2 that are well")]
    assert order == sorted(order)
    assert "fine" not in text
