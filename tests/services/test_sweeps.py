"""Sweeps in turns over ranges of tenants, and the sweeper that conducts them; with real stores and kills."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core import story
from capsule_core.errors import Unavailable
from capsule_core.ledger import Leaf
from capsule_core.names import SubjectKey, TenantId
from capsule_core.receipts import verify
from capsule_core.stores import EVERYONE
from capsule_services.demo.forensics import search
from capsule_services.runtime import sweeping as turns
from capsule_services.runtime.clock import advance
from capsule_services.runtime.clockwatch import ClockWatch, Measured, confirm, measure
from capsule_services.runtime.engine import Pace, State
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.log import made_log
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.process import Host
from capsule_services.runtime.remembering import MemoryEngine
from capsule_services.runtime.settings import environment, settings_from
from capsule_services.runtime.sweeper import ASKED, Sweeper, status_in
from capsule_services.runtime.sweepers import sweeper_of
from capsule_services.runtime.sweeping import JOB, Sweeps, Tally, sweeping
from capsule_sql.connecting import UrlUnusable
from capsule_sql.provisioning import provision_engine, remove
from capsule_sql.refusals import UnsafeConnection
from capsule_sql.remains import copy_rows
from tests.postgres import Server
from tests.services.chassis import anna
from tests.services.office import KINDS, Office, deleted, fresh_id, host, office, opened_on, person
from tests.services.wired import creating
from tests.services.worker import Ground, Worker, free_port

MONTH = timedelta(days=31)
SOON = 60.0
ENGINE_NAME = "capsule_sweeps_engine"
SILENT = made_log(StringIO(), service="contacts")


@pytest.fixture(params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    opened = opened_on(request.param, tmp_path)
    yield office(opened, tmp_path)
    opened.close()


def fill(here: Office, tenants: int, people: int = 2) -> list[TenantId]:
    """Let people of several tenants be thrown away, each tenant's a second after the one's before."""
    names = []
    for number in range(tenants):
        desk = here.desk(f"tenant{number}")
        for _ in range(people):
            deleted(desk, person(desk))
        names.append(TenantId(f"tenant{number}"))
        advance(here.folder / "clock", timedelta(seconds=1))
    return names


@contextmanager
def conducting(here: Office, *, ranges: int = 4, at_once: int = 2) -> Iterator[tuple[Sweeps, MemoryEngine]]:
    holding = here.opened.holding
    duties = [holding.holder.expiry()]
    engine = MemoryEngine({JOB: sweeping(duties, holding.over, lambda: None, SILENT)}, Pace(at_once=at_once))
    try:
        yield Sweeps(engine, duties, ranges, SILENT), engine
    finally:
        engine.close()


def to_the_end(sweeps: Sweeps, engine: MemoryEngine) -> Tally:
    total = Tally()
    while True:
        for name in engine.unfinished(turns.PREFIX):
            engine.answer(name, seconds=SOON)
        total += sweeps.collect()
        if not sweeps.under_way:
            return total


def test_every_range_with_something_due_has_a_turn_and_all_of_it_is_destroyed_once(here: Office) -> None:
    fill(here, 6)
    now = here.opened.holding.now
    with conducting(here) as (sweeps, engine):
        assert sweeps.begin(now()) == 0, "nothing is due"
        advance(here.folder / "clock", MONTH)
        begun = sweeps.begin(now())
        assert 1 <= begun <= 4
        assert all(turns._NAME.fullmatch(name) for name in engine.memory)
        assert to_the_end(sweeps, engine) == Tally(records=12, subjects=12)
        assert here.opened.holding.repository.store.due(now()) == []
        advance(here.folder / "clock", timedelta(seconds=1))
        assert sweeps.begin(now()) == 0, "once"


def test_the_range_whose_tenant_has_waited_for_longest_is_first(here: Office) -> None:
    tenants = fill(here, 8, people=1)
    advance(here.folder / "clock", MONTH)
    holding = here.opened.holding
    assert list(holding.repository.store.due(holding.now())) == tenants
    gate = threading.Event()

    with conducting(here, ranges=3, at_once=1) as (sweeps, engine):
        engine._jobs = {JOB: lambda steps, _: steps.run("wait", lambda: {"left": int(not gate.wait(SOON))})}
        sweeps.begin(holding.now())
        order = [case.work.numbers["range"] for case in engine.memory.values()]
        gate.set()
    firsts = []
    for number in order:
        share = turns.Share(number, 3)
        firsts.append(tenants.index(next(iter(holding.repository.store.due(holding.now(), share)))))
    assert firsts == sorted(firsts)


def test_a_range_that_is_under_way_is_not_begun_again_unless_it_is_lost(here: Office) -> None:
    fill(here, 3)
    advance(here.folder / "clock", MONTH)
    holding, gate = here.opened.holding, threading.Event()
    with conducting(here, ranges=1) as (sweeps, engine):
        engine._jobs = {JOB: lambda steps, _: steps.run("wait", lambda: {"left": int(not gate.wait(SOON))})}
        assert sweeps.begin(holding.now()) == 1
        assert sweeps.begin(holding.now() + timedelta(minutes=1)) == 0
        assert sweeps.begin(holding.now() + timedelta(hours=7)) == 1
        gate.set()


def test_what_a_turn_leaves_has_another_turn_behind_those_of_others(
    here: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted: a turn of one step of one tenant; every range has its first turn before any has its second."""
    monkeypatch.setattr(turns, "STEPS", 1)
    monkeypatch.setattr(turns, "WIDE", 1)
    fill(here, 9, people=1)
    advance(here.folder / "clock", MONTH)
    with conducting(here, ranges=3, at_once=1) as (sweeps, engine):
        begun = sweeps.begin(here.opened.holding.now())
        assert to_the_end(sweeps, engine) == Tally(records=9, subjects=9)
        turn = [int(name.rpartition("-")[2]) for name in engine.memory]
        assert turn == sorted(turn)
        assert turn.count(0) == begun
        assert len(turn) >= 9


def test_a_turn_that_failed_is_told_and_the_range_begins_anew(here: Office) -> None:
    fill(here, 1)
    advance(here.folder / "clock", MONTH)
    holding = here.opened.holding

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    with conducting(here, ranges=1) as (sweeps, engine):
        jobs, engine._jobs = engine._jobs, {JOB: fail}
        sweeps.begin(holding.now())
        for name in list(engine.memory):
            with pytest.raises(turns.WorkFailed, match="ZeroDivisionError"):
                engine.answer(name, seconds=SOON)
            assert engine.state(name) is State.FAILED
        assert sweeps.collect() == Tally(postponed=1)
        engine._jobs = jobs
        advance(here.folder / "clock", timedelta(minutes=1))
        sweeps.begin(holding.now())
        assert to_the_end(sweeps, engine) == Tally(records=2, subjects=2)


@attrs.define
class Sweeping:
    """A sweeper at work on an office, with a clock that a test may let jump."""

    office: Office
    sweeper: Sweeper
    stopped: threading.Event
    jump: timedelta = timedelta()

    def read(self) -> Measured:
        read = measure()
        return attrs.evolve(read, passed=read.passed - self.jump)

    def asked(self) -> Any:
        """Ask for a sweep, and wait until it is done."""
        word = fresh_id()
        (self.office.folder / ASKED).write_text(word)
        return until_swept(self.office.folder, self.stopped, word)


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Sweeping]:
    opened = opened_on("sqlite", tmp_path)
    stopped = threading.Event()
    working: Any = None

    def read() -> Measured:
        measured: Measured = working.read()
        return measured

    watch = ClockWatch(opened.holding.clock, tmp_path, timedelta(hours=25), lambda _, __: True, read)
    holding = attrs.evolve(opened.holding, watch=watch)

    def open_engine(job: Any) -> MemoryEngine:
        return MemoryEngine({JOB: job})

    sweeper = Sweeper(
        holding, open_engine, tmp_path, 4, timedelta(minutes=1), timedelta(days=7), False, lambda: None, stopped, SILENT
    )
    working = Sweeping(office(opened, tmp_path), sweeper, stopped)
    sweeper.start()
    sweeper.lead()
    yield working
    stopped.set()
    sweeper.close()
    opened.close()


def test_a_sweep_that_is_asked_for_is_done_now_and_says_what_it_did(at_work: Sweeping) -> None:
    fill(at_work.office, 3)
    assert at_work.asked().records == 0
    advance(at_work.office.folder / "clock", MONTH)
    at_work.asked()
    store = at_work.office.opened.holding.repository.store
    assert store.due(at_work.office.opened.holding.now()) == []
    assert not (at_work.office.folder / ASKED).exists()


@pytest.mark.law("L2")
def test_after_a_jump_of_the_clock_nothing_goes_until_somebody_confirms_it(at_work: Sweeping) -> None:
    fill(at_work.office, 3)
    at_work.asked()
    holding = at_work.office.opened.holding
    at_work.jump = MONTH  # so much less has passed than the wall clock would have it
    advance(at_work.office.folder / "clock", MONTH)  # which is ahead by as much again, and explained
    at_work.jump = 2 * MONTH
    status = at_work.asked()
    assert (status.asks, status.ahead > 0, status.records) == (True, True, 0)
    assert len(holding.repository.store.due(holding.now())) == 3
    assert at_work.sweeper.readings["capsule_clock_asks"]() == 1
    confirm(at_work.office.folder, measure().wall)
    status = at_work.asked()
    assert (status.asks, status.ahead) == (False, 0)
    assert holding.repository.store.due(holding.now()) == []


def test_an_engine_that_cannot_be_reached_is_waited_for(tmp_path: Path) -> None:
    opened, stopped = opened_on("sqlite", tmp_path), threading.Event()
    attempts = []

    def open_engine(job: Any) -> MemoryEngine:
        attempts.append(job)
        if len(attempts) == 1:
            raise Unavailable
        return MemoryEngine({JOB: job})

    log = StringIO()
    told = made_log(log, service="contacts")
    sweeper = Sweeper(
        opened.holding,
        open_engine,
        tmp_path,
        4,
        timedelta(minutes=1),
        timedelta(days=7),
        False,
        lambda: None,
        stopped,
        told,
    )
    sweeper.start()
    sweeper.lead()
    until_swept(tmp_path, stopped)
    assert len(attempts) == 2
    assert json.loads(log.getvalue().splitlines()[0])["event"] == "sweep_postponed"
    stopped.set()
    sweeper.close()
    opened.close()


@pytest.mark.parametrize(
    ("content", "refused", "sentence"),
    [
        (None, StartRefused, "cannot be read"),
        ("postgresql://engine:secret@db.example/engine", UnsafeConnection, "sslmode=verify-full"),
        ("postgresql://engine@/", UrlUnusable, "names no server"),
    ],
)
def test_an_engine_that_is_nowhere_refuses_the_start_in_one_sentence(
    content: str | None, refused: type[Exception], sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "engine.url"
    if content is not None:
        file.write_text(content)
    opened = opened_on("sqlite", tmp_path)
    with pytest.raises(refused, match=sentence) as told:
        sweeper_of(host(tmp_path, engine=file), opened, lambda: None)
    assert "secret" not in str(told.value)
    opened.close()


def until_swept(folder: Path, stopped: threading.Event, word: str = "") -> Any:
    """Wait until a sweep that was asked for by *word* is done."""
    for _ in range(int(SOON / 0.05)):
        status = status_in(folder)
        if status is not None and status.asked == word and not status.under_way:
            return status
        stopped.wait(0.05)
    raise AssertionError("it was not swept")


@pytest.fixture
def engine_url(postgres: Server) -> Iterator[str]:
    url = provision_engine(postgres.url(), ENGINE_NAME, password="secret")
    yield url
    remove(postgres.url(), ENGINE_NAME)


@pytest.mark.law("L2")
@pytest.mark.parametrize("place", ["file", "server"])
def test_what_a_killed_process_was_sweeping_is_destroyed_once_each_with_one_receipt(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Real processes. On a server two share the work and one is killed in it; on a file the next one finds it."""
    database = request.getfixturevalue("database") if place == "server" else None
    url = request.getfixturevalue("engine_url") if place == "server" else None
    ground = Ground(tmp_path, database, url)
    clock = tmp_path / "clock"
    clock.write_text("0")
    told: dict[str, Any] = {"dev": True, "clock": clock, "sweep_at_once": 1}
    with ExitStack() as stack:
        first = stack.enter_context(ground.worker(f"127.0.0.1:{free_port()}", **told))
        first.ready()
        people = {tenant: trashed(first, tenant) for tenant in ("acme", "zeta", "omega")}
        second = None
        if place == "server":
            second = stack.enter_context(ground.worker(f"127.0.0.1:{free_port()}", **told))
            second.ready()
        first.will("shredded", "kill")
        advance(clock, MONTH)
        first.died()
        if second is None:
            second = stack.enter_context(ground.worker(f"127.0.0.1:{free_port()}", **told))
            second.ready()
        second.says("swept")
        until_rested(second, ground.data)
    assert_destroyed_once(ground, people)


def trashed(worker: Worker, tenant: str) -> set[SubjectKey]:
    with worker.stub(anna(tenant)) as stub:
        names = [stub.CreateContact(creating(parent=f"tenants/{tenant}")).name for _ in range(4)]
        for name in names:
            stub.DeleteContact(pb.DeleteContactRequest(name=name, request_id=fresh_id()))
    return {SubjectKey(name.rpartition("/")[2]) for name in names}


def until_rested(worker: Worker, folder: Path) -> None:
    """Ask for one more sweep, and wait until everything is done."""
    word = fresh_id()
    (folder / ASKED).write_text(word)
    until_swept(folder, threading.Event(), word)
    assert worker.child.poll() is None


def assert_destroyed_once(ground: Ground, people: dict[str, set[SubjectKey]]) -> None:
    opened = open_holding(host_of(ground), "contacts", KINDS)
    try:
        holding = opened.holding
        far = holding.now() + 2 * MONTH
        assert holding.repository.store.due(far, EVERYONE) == []
        assert holding.repository.store.unfinished() == []
        leaves = [Leaf.decode(data) for data in holding.ledger.read(0, holding.ledger.head().size)]
        commits = [leaf for leaf in leaves if leaf.act == story.COMMIT]
        erased: dict[str, list[SubjectKey]] = {tenant: [] for tenant in people}
        for leaf in commits:
            receipt = holding.eraser.receipt(leaf.tenant, leaf.detail["erasure"], now=holding.now())
            assert receipt is not None
            verify(receipt, opened.signer.verifier.text())
            erased[leaf.tenant].extend(receipt.statement.subjects)
        assert len({leaf.detail["erasure"] for leaf in commits}) == len(commits), "one leaf each"
        for tenant, names in people.items():
            assert len(erased[tenant]) == len(names), "each once"
        words = [*people, *(name for names in people.values() for name in names)]
        engine = ground.folder / "engine"
        engine.mkdir()
        for file in ground.data.glob("engine.db*"):
            (engine / file.name).write_bytes(file.read_bytes())
        if ground.database is not None:
            assert copy_rows(ground.database.server.url(), ENGINE_NAME, engine) > 5
        assert any(engine.iterdir())
        assert search(engine, words) == [], "the engine knows nobody"
    finally:
        opened.close()


def host_of(ground: Ground) -> Host:
    """Give what the processes were given, to look at what they left."""
    made = host(ground.folder)
    more = {} if ground.database is None else {"database": ground.data / "database.url"}
    told = {"data": ground.data, "addresses": ground.folder, "dev": True, "clock": ground.folder / "clock", **more}
    return attrs.evolve(made, settings=settings_from(environment(made.settings.credential, **told)))
