"""The doctor at a PostgreSQL deployment: broken in every way that it looks for, it says so; it changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg
import pytest

from capsule_core.checkpoints import Signer
from capsule_core.ledger import Frontier
from capsule_services.doctor.examine import examine
from capsule_services.doctor.findings import Finding, Grade, exit_code
from capsule_services.doctor.place import Place
from capsule_services.doctor.servers import databases
from capsule_services.runtime.layout import DATABASE
from capsule_services.runtime.opening import open_holding
from tests.postgres import APP, Database, Server
from tests.services.office import KINDS, deleted, host, note, office, person, purged
from tests.services.test_doctor import state

GUEST: Final = "patient"
WELL: Final = {
    "database of contacts",
    "outbox of contacts",
    "erasures of contacts",
    "search index of contacts",
    "trash of contacts",
    "log of changes of contacts",
    "log of reads of contacts",
}
_copies = count(1)


@attrs.frozen
class Patient:
    """A deployment whose records are in a database of a server; *url* is the file that says so."""

    folder: Path
    database: Database

    @property
    def url(self) -> Path:
        return self.folder / "contacts" / DATABASE

    def spoil(self, *statements: str) -> None:
        with psycopg.connect(self.database.admin_url, autocommit=True) as owner:
            for statement in statements:
                owner.execute(statement)

    def rows(self) -> dict[str, list[Any]]:
        """Every row of every table, with who wrote it last; how far numbers were given; who may what."""
        tables = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('data', 'reads')"
        with psycopg.connect(self.database.admin_url) as owner:
            names = [name for (name,) in owner.execute(tables)]
            select = "SELECT t.ctid::text, t.xmin::text, t.xmax::text, t::text FROM {} t"
            found = {name: owner.execute(select.format(name)).fetchall() for name in names}
            found["numbers"] = owner.execute("SELECT last_value, is_called FROM data.numbers").fetchall()
            found["roles"] = owner.execute("SELECT * FROM pg_roles ORDER BY oid").fetchall()
            return found

    def found(self) -> dict[str, Finding]:
        return {finding.what: finding for finding in databases(Place(folder=self.folder))}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this module's own, for it is not treated well."""
    server = Server.begin()
    try:
        with psycopg.connect(server.url(), autocommit=True) as admin:
            server.fresh().drop()
            admin.execute(f"CREATE ROLE {GUEST} LOGIN IN ROLE {APP} PASSWORD 'right'")
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def used(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """A deployment in which people were kept, thrown away and erased."""
    folder, database = tmp_path_factory.mktemp("used") / "deployment", server.fresh()
    used = Patient(folder, database)
    known = host(folder, database=used.url)
    used.url.write_text(f"{server.url(database.name, GUEST)}\n")
    opened = open_holding(known, "contacts", KINDS)
    desk = office(opened, folder).desk("acme")
    kept = [person(desk) for _ in range(4)]
    note(desk, kept[0])
    deleted(desk, kept[1])
    purged(desk, kept[2])
    person(desk)
    opened.close()
    return used


@pytest.fixture
def patient(used: Patient, tmp_path: Path) -> Iterator[Patient]:
    """A copy of it, to be broken."""
    server, name = used.database.server, f"patient{next(_copies)}"
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {used.database.name} STRATEGY wal_log")
    patient = Patient(tmp_path / "deployment", Database(server, name))
    shutil.copytree(used.folder, patient.folder)
    patient.url.write_text(f"{server.url(name, GUEST)}\n")
    yield patient
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(f"ALTER ROLE {GUEST} NOSUPERUSER NOBYPASSRLS NOCREATEROLE")
        admin.execute(f"REVOKE {APP}_owner FROM {GUEST}")
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_a_database_that_is_well_is_said_to_be_and_is_left_as_it_is(patient: Patient) -> None:
    before = patient.rows(), state(patient.folder)
    found = patient.found()
    assert {what: finding.grade for what, finding in found.items()} == dict.fromkeys(WELL, Grade.GOOD)
    assert "under a checkpoint" in found["log of changes of contacts"].found
    assert (patient.rows(), state(patient.folder)) == before


def statements(*given: str) -> Callable[[Patient], None]:
    return lambda patient: patient.spoil(*given)


def written(content: bytes) -> Callable[[Patient], None]:
    return lambda patient: patient.url.write_bytes(content) and None


def log_rewritten(patient: Patient) -> None:
    """Rewrite the log so that it agrees with itself: only the checkpoint tells."""
    with psycopg.connect(patient.database.admin_url, autocommit=True) as owner:
        owner.execute("UPDATE data.leaves SET data = data || '\\x20' WHERE no = 1")
        leaves = [leaf for (leaf,) in owner.execute("SELECT data FROM data.leaves ORDER BY no")]
        frontier = Frontier().append(leaves)
        owner.execute("UPDATE data.frontiers SET frontier = %s WHERE size = %s", (frontier.encode(), frontier.size))


def another_public_key(patient: Patient) -> None:
    public = Signer.from_seed("contacts", bytes(32)).verifier.text()
    (patient.folder / "contacts" / "receipts.pub").write_text(f"{public}\n", encoding="ascii")


def no_public_key(patient: Patient) -> None:
    (patient.folder / "contacts" / "receipts.pub").unlink()


def a_folder_for_a_url(patient: Patient) -> None:
    patient.url.unlink()
    patient.url.mkdir()


def database_gone(patient: Patient) -> None:
    patient.database.drop()


UNFINISHED: Final = "UPDATE data.subjects SET marks = marks & ~32"
OWN, MEND, UNSEEN = "database of contacts", Grade.MEND, Grade.UNSEEN
REMOTE: Final = b"postgresql://patient:secret@db.example/x"
BROKEN: list[tuple[str, Callable[[Patient], None], str, Grade, str, str]] = [
    ("a table without policy", statements("CREATE TABLE data.added (tenant_no bigint)"), OWN, MEND,
     "row security is not forced on data.added", "FORCE ROW LEVEL SECURITY"),
    ("a policy dropped", statements("DROP POLICY tenancy ON data.records"), OWN, MEND,
     "data.records has no policy", "run capsule db init"),
    ("a table of nobody", statements("CREATE TABLE data.added (x int)"), OWN, MEND,
     "data.added belongs to no tenant", "drop it"),
    ("the role an owner", statements(f"GRANT {APP}_owner TO {GUEST}"), OWN, MEND,
     "the service's role owns data.alembic_version", "connect with the URL that capsule db init wrote"),
    ("the role above policies", statements(f"ALTER ROLE {GUEST} BYPASSRLS"), OWN, MEND,
     "the service's role is above row security", "connect with the URL it writes"),
    ("the role a superuser", statements(f"ALTER ROLE {GUEST} SUPERUSER"), OWN, MEND,
     "the service's role is above row security", "connect with the URL it writes"),
    ("the log may be changed", statements(f"GRANT UPDATE ON data.leaves TO {GUEST}"), OWN, MEND,
     "the service's role may change the log data.leaves", "revoke UPDATE and DELETE"),
    ("a right missing", statements(f"REVOKE ALL ON data.outbox FROM {APP}"), OWN, MEND,
     "it does not let the service in", "run capsule db init"),
    ("a newer schema", statements("UPDATE data.alembic_version SET version_num = 'server_data_9999'"), OWN, MEND,
     "a newer release wrote it", "run the release that wrote it"),
    ("a newer schema of reads", statements("UPDATE reads.alembic_version SET version_num = 'x'"), OWN, MEND,
     "a newer release wrote it", "run the release that wrote it"),
    ("no schema", statements("DELETE FROM data.alembic_version"), OWN, MEND,
     "it is not prepared for this release", "run capsule db init"),
    ("the database gone", database_gone, OWN, MEND, "it does not let the service in", "run capsule db init"),
    ("a full outbox", statements("INSERT INTO data.outbox (line) VALUES ('\\x00'), ('\\x01')"),
     "outbox of contacts", MEND, "2 entries did not reach the journal", "start the service"),
    ("an erasure unfinished", statements(UNFINISHED),
     "erasures of contacts", MEND, "1 begun and not finished", "start the service"),
    ("trash overdue", statements("UPDATE data.records SET until = 1 WHERE trashed IS NOT NULL"),
     "trash of contacts", MEND, "1 records are overdue", "start the service"),
    ("no index", statements("DELETE FROM data.indexed", "DELETE FROM data.tokens"),
     "search index of contacts", Grade.NOTE, "lost for 1 tenants in a crash of the server", "start the service"),
    ("a leaf altered", statements("UPDATE data.leaves SET data = data || '\\x20' WHERE no = 1"),
     "log of changes of contacts", MEND, "it was altered", "keep a copy as evidence"),
    ("a leaf removed", statements("DELETE FROM data.leaves WHERE no = (SELECT max(no) FROM data.leaves)"),
     "log of changes of contacts", MEND, "it was altered", "keep a copy as evidence"),
    ("the log rewritten", log_rewritten,
     "log of changes of contacts", MEND, "it was altered", "keep a copy as evidence"),
    ("the log of reads altered", statements("INSERT INTO reads.leaves (no, data) VALUES (0, '\\x00')",
     "INSERT INTO reads.frontiers (size, frontier) VALUES (1, '\\x0000000000000001' || sha256(''))"),
     "log of reads of contacts", MEND, "it was altered", "keep a copy as evidence"),
    ("another public key", another_public_key,
     "log of changes of contacts", MEND, "not signed by this service", "receipts.pub that belongs to it"),
    ("no public key", no_public_key,
     "log of changes of contacts", UNSEEN, "receipts.pub cannot be read", "see what is said about receipts"),
]  # fmt: skip


ASTRAY: list[tuple[str, Callable[[Patient], None], Grade, str, str]] = [
    ("no url", written(b""), MEND, "database.url is empty", "run capsule db init, or correct database.url"),
    ("a blank url", written(b" \n"), MEND, "database.url is empty", "run capsule db init"),
    ("a url without a server", written(b"postgresql://patient:secret@/x"), MEND,
     "database.url names no server", "correct database.url"),
    ("a url that is none", written(b"postgresql://patient:sec ret@h/x"), MEND,
     "database.url cannot be read", "correct database.url"),
    ("no text", written(b"\xff\xfe"), MEND, "database.url is no text", "correct database.url"),
    ("a url nobody can read", a_folder_for_a_url, UNSEEN,
     "database.url cannot be read (Is a directory)", "as the user who runs the services"),
    ("a server elsewhere", written(REMOTE), MEND,
     "it is on another machine, and nothing proves which", "say sslmode=verify-full in database.url"),
    ("a server nowhere", written(b"postgresql://patient:secret@/x?host=/nowhere"), UNSEEN,
     "it does not answer", "start the server"),
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=[each[0] for each in BROKEN])
def test_what_is_broken_is_named_with_what_to_do_and_nothing_is_changed(
    patient: Patient, broken: tuple[str, Callable[[Patient], None], str, Grade, str, str]
) -> None:
    _, damage, what, grade, says, do = broken
    damage(patient)
    kept = state(patient.folder)
    before = patient.rows() if damage is not database_gone else None
    found = patient.found()
    told = found[what]
    assert (told.grade, says in told.found, do in told.do) == (grade, True, True), told
    others = {each: finding.grade for each, finding in found.items() if each != what}
    assert set(others.values()) <= {Grade.GOOD}
    assert set(others) == WELL - {what} if what != OWN else set(others) < WELL
    assert state(patient.folder) == kept
    assert before is None or patient.rows() == before


@pytest.mark.parametrize("astray", ASTRAY, ids=[each[0] for each in ASTRAY])
def test_a_url_that_leads_nowhere_is_told_and_nothing_of_what_it_says(
    used: Patient, tmp_path: Path, astray: tuple[str, Callable[[Patient], None], Grade, str, str]
) -> None:
    _, damage, grade, says, do = astray
    patient = attrs.evolve(used, folder=tmp_path / "deployment")
    shutil.copytree(used.folder, patient.folder)
    damage(patient)
    kept = state(patient.folder)
    (told,) = patient.found().values()
    assert (told.what, told.grade, says in told.found, do in told.do) == (OWN, grade, True, True), told
    assert "sec" not in f"{told.found} {told.do}"
    assert state(patient.folder) == kept


@pytest.fixture
def locked(server: Server) -> Iterator[None]:
    """The server asks the role of the service for its password."""
    file = server.folder / "data" / "pg_hba.conf"
    before = file.read_text()
    _reloaded(server, f"local all {GUEST} scram-sha-256\n{before}")
    yield
    _reloaded(server, before)


def _reloaded(server: Server, rules: str) -> None:
    file = server.folder / "data" / "pg_hba.conf"
    file.write_text(rules)
    server.stop()
    server.start()


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(("password", "grade"), [("wrong", Grade.MEND), ("right", Grade.GOOD)])
def test_a_password_that_is_not_the_roles_is_told(patient: Patient, password: str, grade: Grade) -> None:
    url = patient.database.server.url(patient.database.name, f"{GUEST}:{password}")
    patient.url.write_text(url)
    told = patient.found()[OWN]
    assert told.grade is grade
    assert grade is Grade.GOOD or told.found == "it does not let the service in"


def test_what_a_crash_of_the_server_took_is_noted_and_a_server_that_is_gone_is_told(patient: Patient) -> None:
    server = patient.database.server
    server.crash()
    lost = patient.found()
    assert {what for what, finding in lost.items() if finding.grade is not Grade.GOOD} == {"search index of contacts"}
    assert lost["search index of contacts"].grade is Grade.NOTE
    server.stop()
    try:
        gone = patient.found()
    finally:
        server.start()
    assert [(each.what, each.grade, each.found) for each in gone.values()] == [
        (OWN, Grade.UNSEEN, "it does not answer")
    ]


def test_what_is_under_way_while_the_service_runs_is_not_broken(patient: Patient) -> None:
    (patient.folder / "addresses").mkdir(exist_ok=True)
    (patient.folder / "addresses" / "contacts").write_text("127.0.0.1:1")
    patient.spoil(UNFINISHED, "INSERT INTO data.outbox (line) VALUES ('\\x00')", "DELETE FROM data.indexed")
    found = patient.found()
    assert found["outbox of contacts"] == Finding(Grade.GOOD, "outbox of contacts", "1 entries under way")
    for what in ("erasures of contacts", "search index of contacts"):
        assert found[what].grade is Grade.NOTE
        assert "look again in a minute" in found[what].do


def test_what_a_hold_keeps_in_the_trash_is_not_overdue(patient: Patient) -> None:
    patient.spoil(
        "UPDATE data.records SET until = 1 WHERE trashed IS NOT NULL", "UPDATE data.subjects SET anywhere = 1"
    )
    assert patient.found()["trash of contacts"].grade is Grade.GOOD


def test_the_whole_examination_tells_it_beside_what_the_folder_says(patient: Patient) -> None:
    patient.spoil("DROP POLICY tenancy ON data.records")
    findings = examine(Place(folder=patient.folder))
    assert exit_code(findings) == 1
    assert OWN in {each.what for each in findings if each.grade is Grade.MEND}
    assert sum(each.what.startswith("mirror of") for each in findings) == 2


def test_a_service_that_cannot_be_looked_at_hides_no_other(patient: Patient) -> None:
    shutil.copytree(patient.folder / "contacts", patient.folder / "identity")
    a_folder_for_a_url(patient)
    found = patient.found()
    assert found[OWN].grade is Grade.UNSEEN
    assert found["database of identity"].grade is Grade.GOOD
    assert found["outbox of identity"].grade is Grade.GOOD
