"""The movable clock: forward only, shared by all who read one file, and not the clock of credentials."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import InvalidField
from capsule_services.runtime.clock import Clock, advance, wall_time

DAYS = st.timedeltas(timedelta(), timedelta(days=1000))


def test_without_a_file_it_is_the_clock_on_the_wall() -> None:
    before = wall_time()
    assert before <= Clock().now() <= wall_time()


@given(steps=st.lists(DAYS, min_size=1, max_size=5))
def test_every_clock_on_the_file_is_ahead_by_the_sum_of_all_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[timedelta]
) -> None:
    path = tmp_path_factory.mktemp("clock") / "offset"
    clock, last = Clock(path), wall_time()
    for step in steps:
        advance(path, step)
        assert clock.now() >= last + step
        last = clock.now()
    total = sum(steps, timedelta())
    before = wall_time()
    assert before + total <= Clock(path).now() <= wall_time() + total


def test_thirty_days_are_thirty_days_and_the_wall_stays_where_it_is(tmp_path: Path) -> None:
    before = wall_time()
    assert advance(tmp_path / "offset", timedelta(days=30)) == timedelta(days=30)
    assert Clock(tmp_path / "offset").now() >= before + timedelta(days=30)
    assert wall_time() < before + timedelta(days=1)


@pytest.mark.parametrize("step", [timedelta(microseconds=-1), timedelta(days=36501)])
def test_it_never_goes_back_or_out_of_the_calendar(tmp_path: Path, step: timedelta) -> None:
    path = tmp_path / "offset"
    advance(path, timedelta(days=1))
    with pytest.raises(InvalidField):
        advance(path, step)
    assert advance(path, timedelta()) == timedelta(days=1)


def test_steps_taken_at_once_all_count(tmp_path: Path) -> None:
    path = tmp_path / "offset"
    steps = [threading.Thread(target=advance, args=(path, timedelta(hours=1))) for _ in range(20)]
    for step in steps:
        step.start()
    for step in steps:
        step.join()
    assert advance(path, timedelta()) == timedelta(hours=20)


def test_who_waits_for_a_moment_is_woken_when_the_clock_is_put_ahead(tmp_path: Path) -> None:
    path, reached, stopped = tmp_path / "offset", threading.Event(), Stop()
    clock = Clock(path)
    until = clock.now() + timedelta(days=30)
    waiting = threading.Thread(target=lambda: clock.wait(until, stopped) and reached.set(), daemon=True)
    waiting.start()
    assert stopped.waited_for.wait(10)
    assert not reached.is_set()
    advance(path, timedelta(days=30))
    assert reached.wait(10)
    waiting.join(10)


class Stop(threading.Event):
    """Says when somebody began to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.set()
        return super().wait(timeout)


def test_who_waits_is_let_go_when_the_service_stops() -> None:
    stopped, clock = threading.Event(), Clock()
    stopped.set()
    assert not clock.wait(clock.now() + timedelta(days=1), stopped)
