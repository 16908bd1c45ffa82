"""Restore and replay give the state as if the backup had never existed, as far as the journal's acts go."""

from __future__ import annotations

from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from tests.core.desk import Desk
from tests.core.history import KEPT_IN_PART, UNSUBSCRIBED, Deed, at_a_desk, do, histories, replayed, standing, tried_out


class Crash(Exception):
    """The process ends here."""


@attrs.define(eq=False)
class Mortal:
    """Any part; the process dies before its call number *last* (0: never), and once after it."""

    part: Any
    calls: Any
    last: int

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.part, name)
        if not callable(found):
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            self._step()
            result = found(*args, **kwargs)
            self._step()
            return result

        return called

    def _step(self) -> None:
        if next(self.calls) == self.last:
            raise Crash


@attrs.define(eq=False)
class InMemory:
    """A desk in memory, whose data can be put back."""

    desk: Desk = attrs.field(init=False)
    _copy: dict[str, Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ledger, journal = MemoryLedger(), MemoryJournal()
        self.desk = at_a_desk(Desk(MemoryStore(ledger, journal), MemoryKeystore(), journal, ledger))

    def back_up(self) -> None:
        leaves = self.desk.ledger.read(0, self.desk.ledger.head().size)
        kept = {name: copied(value) for name, value in vars_of(self.desk.store).items()}
        self._copy = {"leaves": list(leaves), "store": kept}

    def restore(self, last: int = 0) -> Desk:
        """Open the copy; the process dies at the step *last*."""
        ledger, journal, calls = MemoryLedger(), self.desk.journal, count(1)
        ledger.append(self._copy["leaves"])
        store = MemoryStore(ledger, journal)
        for name, value in self._copy["store"].items():
            setattr(store, name, copied(value))
        if not last:
            return at_a_desk(Desk(store, self.desk.keystore, journal, ledger))
        parts = [Mortal(part, calls, last) for part in (store, self.desk.keystore, journal, ledger)]
        return at_a_desk(Desk(*parts))


def vars_of(store: MemoryStore) -> dict[str, Any]:
    parts = {"_ledger", "_journal", "_lock"}
    names = [field.name for field in attrs.fields(MemoryStore) if field.name not in parts]
    return {name: getattr(store, name) for name in names}


def copied(value: Any) -> Any:
    if attrs.has(type(value)):
        return attrs.evolve(value) if not hasattr(value, "_since") else _suppressed(value)
    return value.copy() if hasattr(value, "copy") else value


def _suppressed(value: Any) -> Any:
    fresh = type(value)()
    fresh._since = dict(value._since)
    return fresh


@pytest.mark.law("L7")
@example(history=KEPT_IN_PART[0])
@example(history=KEPT_IN_PART[1])
@example(history=KEPT_IN_PART[2])
@example(history=UNSUBSCRIBED)
@given(history=histories())
def test_restored_and_replayed_it_stands_as_if_it_had_never_been_lost(history: tuple[list[Deed], list[Deed]]) -> None:
    tried_out(InMemory(), *history)


@pytest.mark.law("L7")
@given(history=histories(8))
def test_a_replay_that_dies_at_any_step_is_led_to_its_end_by_the_next(history: tuple[list[Deed], list[Deed]]) -> None:
    world = InMemory()
    before, after = history
    for deed in before:
        do(world.desk, deed)
    world.back_up()
    for deed in after:
        do(world.desk, deed)
    meant = standing(world.desk)
    for last in count(1):
        dying = world.restore(last)
        try:
            replayed(dying)
        except Crash:
            desk = at_a_desk(Desk(dying.store.part, dying.keystore.part, dying.journal.part, dying.ledger.part))
            replayed(desk)
            assert standing(desk) == meant
        else:
            return


@pytest.mark.law("L7")
@given(
    history=histories(), again=st.lists(st.tuples(st.just("role"), st.just("u" + "a" * 26), st.just("x")), max_size=2)
)
def test_what_was_done_after_one_restore_stands_after_the_next(
    history: tuple[list[Deed], list[Deed]], again: list[Deed]
) -> None:
    world = InMemory()
    before, after = history
    for deed in before:
        do(world.desk, deed)
    world.back_up()
    for deed in after:
        do(world.desk, deed)
    first = world.restore()
    replayed(first)
    world.desk = first
    for deed in (*again, *after):
        do(first, deed)
    meant = standing(first)
    second = world.restore()
    replayed(second)
    assert standing(second) == meant
