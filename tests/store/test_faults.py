"""The Nth call of any port fails, before or after it was done, for N = 1, 2, ... until a run passes untouched.

Whoever asked is told so by an error of the domain, and the same process goes on: what was begun ends fully before or
fully after, by itself or when it is asked for again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger, audit
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import SubjectKey
from capsule_core.receipts import verify
from capsule_core.records import Mark, Shelf, Where
from capsule_core.uses import Use
from tests.core.desk import ACME, NOON, Desk, invoice, note, person
from tests.store.crashes import ANN, BILL, BO, HELD, Place, Steps, opened, prepare_what_is_kept

pytestmark = pytest.mark.timeout(900)  # hundreds of runs, each through real files or a real server

LATER = NOON + timedelta(days=31)


class Failing(Steps):
    """Fails at the step *last*, once."""

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.last:
            raise Unavailable


@attrs.frozen
class Scenario:
    """What is there before, what is asked for (again, after a fault), and what must then be true."""

    prepare: Callable[[Desk], None]
    work: Callable[[Desk], Any]
    check: Callable[[Desk], None]


def two_people(desk: Desk) -> None:
    desk.add(person("Ann", id=ANN, email="ann@example.org"), note(ANN), note(ANN), person("Bo", id=BO))


def nothing_left(desk: Desk, *, deleted: int) -> None:
    where = Where(tenant=ACME, subjects=(SubjectKey(ANN),), shelf=Shelf.ANY)
    assert not desk.store.select(where, admits=~Mark.NONE, limit=1).records
    (subject,) = desk.store.subjects(ACME, [SubjectKey(ANN)])
    assert subject is not None
    assert subject.marks & Mark.ERASED
    assert not desk.vault.remaining(ACME, [subject.slot])
    acts = [leaf for leaf in desk.leaves() if leaf.act.startswith("erasure")]
    assert sum(leaf.records for leaf in acts if leaf.act == "erasure.delete") == deleted
    assert [leaf.act for leaf in acts].count("erasure.commit") == 1


def erased(desk: Desk) -> None:
    receipt = desk.eraser.receipt(ACME, "e1", now=NOON)
    assert receipt is not None
    assert verify(receipt, desk.signer.verifier).erasure == "e1"
    nothing_left(desk, deleted=3)
    assert desk.get(BO).content.given_name == "Bo"


def erase(desk: Desk) -> None:
    desk.eraser.resume(now=NOON)
    desk.erase(ANN, id="e1")


def swept(desk: Desk) -> None:
    nothing_left(desk, deleted=3)
    assert desk.get(BO).content.given_name == "Bo"


def thrown_away(desk: Desk) -> None:
    two_people(desk)
    desk.trash(ANN)


def sweep(desk: Desk) -> None:
    desk.eraser.resume(now=LATER)
    desk.sweep(now=LATER)


def restore(desk: Desk) -> None:
    if desk.get(ANN, use=Use.STORE).trash is not None:
        desk.restore(ANN)


def taken_back(desk: Desk) -> None:
    live = desk.store.select(Where(tenant=ACME), admits=Mark.NONE, limit=9).records
    assert sorted(record.kind for record in live) == ["entry", "entry", "person", "person"]
    assert {record.version for record in live} == {1}


def write(desk: Desk) -> None:
    if desk.store.subjects(ACME, [SubjectKey(ANN)])[0] is None:
        desk.add(person("Ann", id=ANN, email="ann@example.org"), note(ANN), invoice(ANN))


def written(desk: Desk) -> None:
    records = desk.store.select(Where(tenant=ACME), admits=Mark.NONE, limit=9).records
    assert sorted(each.content.__class__.__name__ for each in desk.repository.open(records)) == [
        "Entry",
        "Invoice",
        "Person",
    ]
    assert [leaf.records for leaf in desk.leaves()] == [3]


def erase_in_part(desk: Desk) -> None:
    desk.eraser.resume(now=NOON)
    desk.eraser.erase(desk.erasure(ANN, id="e1", parts=True), now=NOON)


def kept(desk: Desk) -> None:
    nothing_left(desk, deleted=2)
    assert desk.get(HELD, use=Use.LEGAL_CLAIM).content.body == "said hello"
    assert desk.get(BILL, use=Use.LEGAL_CLAIM).content.amount == "12.50 EUR"
    assert desk.sweep(now=NOON).receipts == ()


SCENARIOS = {
    "write": Scenario(lambda _: None, write, written),
    "erase": Scenario(two_people, erase, erased),
    "erase in part": Scenario(prepare_what_is_kept, erase_in_part, kept),
    "sweep": Scenario(thrown_away, sweep, swept),
    "restore from trash": Scenario(thrown_away, restore, taken_back),
}


def in_memory_with(steps: Steps, prepare: Callable[[Desk], None]) -> Desk:
    ledger, journal = MemoryLedger(), MemoryJournal()
    store, keystore = MemoryStore(ledger, journal), MemoryKeystore()
    plain = Desk(store, keystore, journal, ledger)
    prepare(plain)
    faulty = [steps.around(part) for part in (store, keystore, journal, ledger)]
    return Desk(*faulty)


def faulted(desk: Desk, steps: Failing, scenario: Scenario) -> bool:
    """Work until the fault, then ask again in the same process; return whether there was a fault."""
    try:
        scenario.work(desk)
    except CapsuleError as error:
        assert error.reason == "UNAVAILABLE"
    met = steps.taken >= steps.last
    steps.last = 0
    scenario.work(desk)
    scenario.work(desk)
    scenario.check(desk)
    assert audit(desk.ledger) == desk.ledger.head()
    return met


@pytest.mark.law("L8")
@pytest.mark.parametrize("name", SCENARIOS)
def test_in_memory_whatever_call_fails_it_ends_as_if_nothing_had_happened(name: str) -> None:
    scenario = SCENARIOS[name]
    for last in count(1):
        steps = Failing(last)
        desk = in_memory_with(steps, scenario.prepare)
        steps.taken = 0
        if not faulted(desk, steps, scenario):
            assert last > 10, "nothing was ever in its way"
            return


@pytest.fixture
def originals(folder: Path) -> Callable[[Scenario], Path]:
    """Prepare the files that every run of a scenario begins with."""

    def prepared(scenario: Scenario) -> Path:
        original = folder / "original"
        original.mkdir()
        desk, databases = opened(Place(original), Steps())
        scenario.prepare(desk)
        for each in databases:
            each.close()
        return original

    return prepared


@pytest.mark.law("L6", "L8")
@pytest.mark.parametrize("name", ["erase", "erase in part", "sweep"])
def test_on_disk_whatever_call_or_commit_fails_it_ends_as_if_nothing_had_happened(
    name: str, originals: Callable[[Scenario], Path], folder: Path
) -> None:
    scenario = SCENARIOS[name]
    original = originals(scenario)
    for last in count(1):
        steps = Failing()
        shutil.copytree(original, folder / "copy")
        desk, databases = opened(Place(folder / "copy"), steps)
        steps.last, steps.taken = last, 0
        met = faulted(desk, steps, scenario)
        for each in databases:
            each.close()
        shutil.rmtree(folder / "copy")
        if not met:
            assert last > 40, "nothing was ever in its way"
            return
