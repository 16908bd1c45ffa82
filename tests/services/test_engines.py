"""The clauses of the durable engine, on memory, on a SQLite file and on PostgreSQL; and what survives a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_core.errors import InvalidField, SubjectHeld
from capsule_services.demo.forensics import search
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.durable import open_engine
from capsule_services.runtime.engine import Answer, Engine, Job, Pace, State, Steps, Work, WorkFailed
from capsule_services.runtime.remembering import MemoryEngine
from capsule_sql.provisioning import provision_engine, remove
from capsule_sql.remains import copy_rows
from tests.architecture.tree import REPOSITORY
from tests.postgres import Server

SOON = 30.0
PACE = Pace(at_once=2, starts=1000, seconds=1.0)
FAST = timedelta(days=1)
CANARY = "Rosalind Franklin"


@attrs.define
class World:
    """Where an engine keeps its state: opened again, it finds it there."""

    open: Callable[[Mapping[str, Job], Pace], Engine]
    copy: Callable[[Path], None] = lambda _: None


@pytest.fixture(scope="module")
def engine_url(postgres: Server) -> Iterator[str]:
    name = "capsule_trial_engine"
    url = provision_engine(postgres.url(), name, password="secret")
    yield url
    remove(postgres.url(), name)


@pytest.fixture(params=["memory", "file", "server"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "memory":
        memory: dict[str, Any] = {}
        return World(lambda jobs, pace: MemoryEngine(jobs, pace, memory))
    url = request.getfixturevalue("engine_url") if request.param == "server" else None
    file = tmp_path / "engine.db"

    def copy(to: Path) -> None:
        if url is None:
            for each in tmp_path.glob("engine.db*"):
                (to / each.name).write_bytes(each.read_bytes())
        else:
            assert copy_rows(request.getfixturevalue("postgres").url(), "capsule_trial_engine", to) > 5

    return World(lambda jobs, pace: open_engine("trial", jobs, pace, file=file, url=url), copy)


@contextmanager
def engine(world: World, *, pace: Pace = PACE, **jobs: Job) -> Iterator[Engine]:
    opened = world.open(jobs, pace)
    try:
        yield opened
    finally:
        opened.close()
        if not isinstance(opened, MemoryEngine):
            again = world.open(jobs, pace)
            again.forget(wall_time() + FAST)
            again.close()


def counting(steps: Steps, work: Work) -> Answer:
    """Add up what as many steps answer."""
    total = sum(steps.run("one", lambda: {"one": 1})["one"] for _ in range(work.numbers["steps"]))
    return {"total": total}


def test_what_is_begun_ends_once_and_is_known_by_its_id(world: World) -> None:
    with engine(world, count=counting) as trial:
        assert trial.begin(Work("w-1", "count", {"steps": 3}))
        assert not trial.begin(Work("w-1", "count", {"steps": 9})), "E1"
        assert trial.answer("w-1", seconds=SOON) == {"total": 3}
        assert trial.state("w-1") is State.DONE
        assert not trial.begin(Work("w-1", "count", {"steps": 9})), "E1: also when it has ended"
        assert (trial.state("w-2"), trial.answer("w-2", seconds=0)) == (None, None)


def test_what_has_not_ended_is_listed_oldest_first_and_no_more_is_under_way_than_may_be(world: World) -> None:
    gate, lock, under_way, most = threading.Event(), threading.Lock(), 0, 0
    order: list[str] = []
    stood = threading.Semaphore(0)

    def wait(steps: Steps, work: Work) -> Answer:
        def stand() -> Answer:
            nonlocal under_way, most
            with lock:
                order.append(work.id)
                under_way += 1
                most = max(most, under_way)
            stood.release()
            assert gate.wait(SOON)
            with lock:
                under_way -= 1
            return {}

        return steps.run("stand", stand)

    with engine(world, wait=wait) as trial:
        names = [f"w-{number}" for number in range(5)]
        for name in names:
            assert trial.begin(Work(name, "wait"))
        assert trial.begin(Work("other-1", "wait"))
        assert list(trial.unfinished("w-")) == names
        assert trial.answer("w-4", seconds=0) is None
        assert stood.acquire(timeout=SOON)
        assert stood.acquire(timeout=SOON)
        gate.set()
        for name in [*names, "other-1"]:
            assert trial.answer(name, seconds=SOON) == {}
        assert most == PACE.at_once, "E4"
        assert set(order[:2]) == {"w-0", "w-1"}
        assert trial.unfinished("") == []


def test_no_more_begin_in_a_while_than_may(world: World) -> None:
    """Counted, not timed: while the period has not passed, the rest waits."""
    with engine(world, pace=Pace(at_once=5, starts=2, seconds=3600), count=counting) as trial:
        for number in range(4):
            trial.begin(Work(f"w-{number}", "count", {"steps": 1}))
        assert trial.answer("w-0", seconds=SOON)
        assert trial.answer("w-1", seconds=SOON)
        assert trial.answer("w-2", seconds=1) is None
        assert list(trial.unfinished("")) == ["w-2", "w-3"], "E4"


def test_of_an_error_its_reason_is_kept_and_never_its_words(world: World, tmp_path: Path) -> None:
    def held(steps: Steps, _: Work) -> Answer:
        def refuse() -> Answer:
            raise SubjectHeld

        return steps.run("refuse", refuse)

    def broken(steps: Steps, _: Work) -> Answer:
        def fail() -> Answer:
            raise ValueError(CANARY)

        return steps.run("fail", fail)

    def loose(_: Steps, __: Work) -> Answer:
        raise KeyError(CANARY)

    def talkative(steps: Steps, _: Work) -> Answer:
        return steps.run("tell", lambda: {"name": CANARY})

    with engine(world, held=held, broken=broken, loose=loose, talkative=talkative) as trial:
        told = {}
        for job in ("held", "broken", "loose", "talkative"):
            trial.begin(Work(f"w-{job}", job))
            with pytest.raises(WorkFailed) as failed:
                trial.answer(f"w-{job}", seconds=SOON)
            told[job] = failed.value.reason
            assert trial.state(f"w-{job}") is State.FAILED
        assert told == {
            "held": "SUBJECT_HELD",
            "broken": "ValueError",
            "loose": "KeyError",
            "talkative": InvalidField.reason,
        }, "E7"
        copied = tmp_path / "copied"
        copied.mkdir()
        world.copy(copied)
        assert search(copied, [CANARY, *CANARY.split()]) == []


@pytest.mark.parametrize("numbers", [{"name": CANARY}, {CANARY: 1}, {"n": 1.5}])
def test_work_is_told_nothing_but_numbers(numbers: Any) -> None:
    with pytest.raises(InvalidField):
        Work("w-1", "count", numbers)


@pytest.mark.parametrize("name", ["", "Ann Smith", "a@b.example", "x" * 101, "-a"])
def test_an_id_is_letters_digits_and_hyphens(name: str) -> None:
    with pytest.raises(InvalidField):
        Work(name, "count")


def test_what_ended_is_forgotten_with_all_of_it_and_nothing_else(world: World) -> None:
    gate = threading.Event()

    def wait(steps: Steps, _: Work) -> Answer:
        return steps.run("stand", lambda: {"stood": int(gate.wait(SOON))})

    with engine(world, count=counting, wait=wait) as trial:
        trial.forget(wall_time() + FAST)  # what other tests left on the server
        trial.begin(Work("w-1", "count", {"steps": 2}))
        assert trial.answer("w-1", seconds=SOON) == {"total": 2}
        trial.begin(Work("w-2", "wait"))
        assert trial.forget(wall_time() - FAST) == 0, "E6: it ended later"
        assert trial.forget(wall_time() + FAST) == 1
        assert (trial.state("w-1"), trial.answer("w-1", seconds=0)) == (None, None)
        assert trial.begin(Work("w-1", "count", {"steps": 4})), "E6: it may be begun again"
        gate.set()
        assert trial.answer("w-2", seconds=SOON) == {"stood": 1}
        assert trial.answer("w-1", seconds=SOON) == {"total": 4}


def test_what_is_under_way_when_an_engine_closes_goes_on_where_it_was(world: World) -> None:
    done: list[int] = []
    reached, gate = threading.Event(), threading.Event()

    def walk(steps: Steps, _: Work) -> Answer:
        def stride(number: int) -> Answer:
            done.append(number)
            if number == 1:
                reached.set()
                gate.wait(0.1)
            return {"number": number}

        return {"total": sum(steps.run("stride", lambda n=n: stride(n))["number"] for n in range(60))}

    with engine(world, walk=walk) as trial:
        trial.begin(Work("w-1", "walk"))
        assert reached.wait(SOON)
    # The helper above has opened it again meanwhile, which went on with it, as this does.
    with engine(world, walk=walk) as trial:
        assert trial.answer("w-1", seconds=SOON) == {"total": sum(range(60))} or trial.state("w-1") is None
    assert set(done) == set(range(60)), "E2"
    assert len(done) <= 62, "E3: only what was under way is done again"


@pytest.mark.parametrize("place", ["file", "server"])
def test_a_killed_process_is_gone_on_with_and_its_steps_are_not_done_again(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Real processes: the first is killed in its third step; what a second one finds is done by it to the end."""
    url = request.getfixturevalue("engine_url") if place == "server" else None
    log, file = tmp_path / "log", tmp_path / "engine.db"
    arguments = [str(file), url or "", str(log)]
    begun = subprocess.Popen(
        [sys.executable, "-m", "tests.services.striding", *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "in the third step\n"
        begun.send_signal(signal.SIGKILL)
        assert begun.wait(SOON) == -signal.SIGKILL
    from tests.services.striding import striding

    trial = open_engine("trial", {"stride": striding(log, lambda: None)}, PACE, file=file, url=url)
    try:
        assert trial.answer("w-1", seconds=SOON) == {"total": 1 + 2 + 3 + 4 + 5}
    finally:
        trial.forget(wall_time() + FAST)
        trial.close()
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [number for _, number in lines] == ["1", "2", "3", "3", "4", "5"]
    assert len({process for process, _ in lines}) == 2
    assert lines[3][0] == str(os.getpid())


def test_one_of_two_processes_goes_on_with_what_the_other_left(engine_url: str, tmp_path: Path) -> None:
    """On a server both are there when one is killed, which the other learns by the lock that nobody holds any more."""
    log, file = tmp_path / "log", tmp_path / "none"
    from tests.services.striding import striding

    begun = subprocess.Popen(
        [sys.executable, "-m", "tests.services.striding", str(file), engine_url, str(log)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    with begun:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "in the third step\n"
        trial = open_engine("trial", {"stride": striding(log, lambda: None)}, PACE, file=file, url=engine_url)
        try:
            assert trial.take_over() == 0, "it lives"
            assert trial.state("w-1") is State.UNDER_WAY
            begun.send_signal(signal.SIGKILL)
            begun.wait(SOON)
            taken = 0
            while not taken:  # until the server has noticed that it is gone
                taken = trial.take_over()
            assert taken == 1
            assert trial.answer("w-1", seconds=SOON) == {"total": 15}
        finally:
            trial.forget(wall_time() + FAST)
            trial.close()
    numbers = [line.split()[1] for line in log.read_text().splitlines()]
    assert numbers == ["1", "2", "3", "3", "4", "5"]
