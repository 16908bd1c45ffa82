"""The clocks that were seen: nothing is over before it is by each of them, and a jump is asked about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.trash import PERIOD
from capsule_services.runtime.clock import Clock, advance
from capsule_services.runtime.clockwatch import CONFIRMED, NOTED, ClockWatch, Measured, Seen, confirm, measure

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
BOUND = 25 * HOUR


@attrs.define
class Machine:
    """A machine whose clocks a test sets: *passed* goes on whatever *wall* does, until it is started anew."""

    folder: Path
    wall: datetime = NOON
    passed: timedelta = 100 * DAY
    boot: str = "first"
    bulk: bool = True

    def lasts(self, span: timedelta) -> Machine:
        self.wall += span
        self.passed += span
        return self

    def starts_anew(self, off: timedelta) -> Machine:
        self.wall += off
        self.passed, self.boot = SECOND, f"{self.boot}-next"
        return self

    def watch(self) -> ClockWatch:
        read = Measured(self.wall, self.passed, self.boot)
        return ClockWatch(
            attrs.evolve(Still(), moment=self.wall), self.folder, BOUND, lambda _, __: self.bulk, lambda: read
        )

    def note(self) -> Seen:
        return self.watch().note()

    def look(self) -> Seen:
        return self.watch().look()


@attrs.frozen
class Still(Clock):
    moment: datetime = NOON

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_while_both_clocks_agree_now_is_now(machine: Machine) -> None:
    assert machine.note() == Seen(NOON)
    assert machine.lasts(400 * DAY).note() == Seen(NOON + 400 * DAY)


@pytest.mark.law("L2")
def test_a_jump_beyond_the_bound_is_asked_about_and_what_was_due_by_the_old_clock_goes_on(machine: Machine) -> None:
    machine.note()
    machine.lasts(HOUR)
    machine.wall += 400 * DAY
    assert machine.note() == Seen(NOON + HOUR, 400 * DAY, asks=True)
    assert machine.lasts(HOUR).note() == Seen(NOON + 2 * HOUR, 400 * DAY, asks=True)
    assert machine.lasts(HOUR).look() == Seen(NOON + 3 * HOUR, 400 * DAY, asks=True)


def test_what_somebody_confirms_is_believed_from_then_on(machine: Machine) -> None:
    machine.note()
    machine.wall += 400 * DAY
    assert machine.note().asks
    confirm(machine.folder, machine.wall)
    assert machine.lasts(SECOND).note() == Seen(NOON + 400 * DAY + SECOND)
    assert not (machine.folder / CONFIRMED).exists()
    assert machine.lasts(HOUR).note().ahead == timedelta()


def test_a_confirmation_of_another_clock_is_none(machine: Machine) -> None:
    machine.note()
    machine.wall += 400 * DAY
    confirm(machine.folder, machine.wall - 2 * DAY)
    assert machine.note().asks
    confirm(machine.folder, machine.wall)
    machine.wall += 400 * DAY  # and jumped again before anybody looked
    assert machine.note() == Seen(NOON, 800 * DAY, asks=True)


def test_a_step_within_the_bound_is_waited_out_without_a_question(machine: Machine) -> None:
    """What was thrown away before it is over by both clocks; thirty days later nothing of that is left."""
    machine.note()
    machine.wall += HOUR
    assert machine.note() == Seen(NOON, HOUR)
    assert machine.lasts(PERIOD).note() == Seen(NOON + PERIOD, HOUR)
    assert machine.lasts(SECOND).note() == Seen(NOON + PERIOD + HOUR + SECOND)


def test_steps_that_are_small_each_are_one_large_one_together(machine: Machine) -> None:
    machine.note()
    for _ in range(5):
        machine.wall += 6 * HOUR
        seen = machine.lasts(SECOND).note()
    assert seen == Seen(NOON + 5 * SECOND, 30 * HOUR, asks=True)


def test_a_clock_set_back_is_believed_at_once(machine: Machine) -> None:
    machine.note()
    machine.wall -= 400 * DAY
    assert machine.note() == Seen(NOON - 400 * DAY)
    machine.wall += 400 * DAY  # and right again: by the clock that was seen meanwhile nothing has passed
    assert machine.note() == Seen(NOON - 400 * DAY, 400 * DAY, asks=True)


@pytest.mark.parametrize(("off", "bulk", "asks"), [(DAY, True, False), (3 * DAY, False, False), (3 * DAY, True, True)])
def test_a_machine_that_was_off_is_believed_unless_it_would_destroy_in_bulk(
    machine: Machine, off: timedelta, bulk: bool, asks: bool
) -> None:
    machine.note()
    machine.bulk = bulk
    assert machine.starts_anew(off).note() == (Seen(NOON, off, asks=True) if asks else Seen(NOON + off))
    confirm(machine.folder, machine.wall)
    assert machine.note() == Seen(NOON + off)


def test_whoever_only_looks_believes_nothing_that_was_not_noted(machine: Machine) -> None:
    machine.note()
    machine.bulk = False
    machine.starts_anew(3 * DAY)
    assert machine.look() == Seen(NOON, 3 * DAY, asks=True)
    machine.note()
    assert machine.look() == Seen(NOON + 3 * DAY)


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"wall": 1}', '{"wall": "x", "passed": 1, "boot": "", "seen": ""}']
)
def test_a_note_that_cannot_be_read_is_none(machine: Machine, damage: str) -> None:
    (machine.folder / NOTED).write_text(damage)
    assert machine.note() == Seen(NOON)


def test_an_advance_of_the_movable_clock_is_no_jump(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "offset")
    watch = ClockWatch(clock, tmp_path, BOUND, lambda _, __: True)
    assert not watch.note().asks
    advance(tmp_path / "offset", 31 * DAY)
    seen = watch.note()
    assert not seen.asks
    assert abs(clock.now() - seen.now) < HOUR


def test_this_machine_has_a_clock_that_nobody_sets() -> None:
    first, second = measure(), measure()
    assert first.boot == second.boot
    assert first.passed <= second.passed


Act = Callable[[Machine], object]
ACTS = st.lists(
    st.one_of(
        st.integers(0, 60).map(lambda days: lambda machine: machine.lasts(days * DAY)),
        st.integers(-40, 40).map(lambda days: lambda machine: attrs_add(machine, days * DAY)),
    ),
    max_size=12,
)


def attrs_add(machine: Machine, by: timedelta) -> None:
    machine.wall += by


@pytest.mark.law("L2")
@given(acts=ACTS)
def test_what_was_thrown_away_is_never_over_before_thirty_days_have_passed(acts: list[Act]) -> None:
    """Without a confirmation, however the clock is set: seen over is over by the clock that cannot be set too."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        machine.note()
        thrown = []
        for act in acts:
            act(machine)
            seen = machine.note()
            thrown.append((machine.passed, machine.wall))
            for passed, wall in thrown:
                if wall + PERIOD <= seen.now:
                    assert machine.passed - passed >= PERIOD
