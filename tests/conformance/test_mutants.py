"""Every broken adapter is caught, by the clause it breaks: the suites can fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings

from capsule_core.holder import RecordHolder
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryStore
from capsule_core.testing.conformance.clauses import Capabilities, ClauseBroken
from capsule_core.testing.conformance.holder import run_holder_conformance
from capsule_core.testing.conformance.journal import run_journal_conformance
from capsule_core.testing.conformance.keystore import run_keystore_conformance
from capsule_core.testing.conformance.ledger import run_ledger_store_conformance
from capsule_core.testing.conformance.moments import run_moments_conformance
from capsule_core.testing.conformance.pages import run_page_store_conformance
from capsule_core.testing.conformance.records import run_record_store_conformance
from capsule_core.testing.conformance.restorable import run_restorable_conformance
from capsule_core.testing.conformance.suppressions import run_suppressions_conformance
from tests.conformance import mutants, worlds
from tests.conformance.worlds import InMemory

# The same walk on every run, ended at the first fault: what is asked is whether it is found, not how small it is.
FINDING = settings(
    max_examples=200, derandomize=True, database=None, phases=[Phase.generate], report_multiple_bugs=False
)
IN_MEMORY = Capabilities(durable=False, readable=False)

STORES = [
    (mutants.LosesOneUpdate, "C2"),
    (mutants.LeaksAnotherTenant, "C1"),
    (mutants.ReadsAnotherTenant, "C1"),
    (mutants.IgnoresMarks, "C4"),
    (mutants.AdmitsWhomeverTheDraftNames, "C4"),
    (mutants.PurgesHeldRows, "C9"),
    (mutants.RestoresTooMuch, "C6"),
    (mutants.FreesNoClaims, "C6"),
    (mutants.ClaimsTwice, "C7"),
    (mutants.KeepsClaimsOfTheDestroyed, "C9"),
    (mutants.KeepsAnswersOfTheDestroyed, "C9"),
    (mutants.TwoLeaves, "C5"),
    (mutants.LeafWithoutChange, "C5"),
    (mutants.AnswersWhatWasNotDone, "C5"),
    (mutants.ForgetsRequests, "C12"),
    (mutants.WritesForTheOtherHalf, "C13"),
    (mutants.LosesReasonsOfTheParted, "C8"),
    (mutants.FindsTheParted, "C10"),
    (mutants.PartsWhatChanged, "C14"),
    (mutants.FencesWhomEverybodyHolds, "C15"),
    (mutants.DestroysWhomEverybodyHolds, "C15"),
    (mutants.ReleasesWhomEverybodyHolds, "B4"),
    (mutants.ReleasesAllOrNothing, "B4"),
    (mutants.FencesEverybody, "C15"),
    (mutants.WritesLessOverTheHeld, "C15"),
    (mutants.MarksWithoutWhatStandsBeside, "C16"),
    (mutants.WritesBesideWhatChanged, "C16"),
    (mutants.IgnoresOtherGuards, "C3"),
    (mutants.KeepsForEver, "B4"),
    (mutants.ReleasesEverybodyEverywhere, "B5"),
    (mutants.NamesTheYoungestTrashFirst, "B1"),
    (mutants.LeavesATenantToNobody, "B5"),
    (mutants.ExpectsNothing, "C3"),
    (mutants.ChangesBeforeRaising, "C2"),
    (mutants.LiftsTooMuch, "C8"),
    (mutants.FencesTheHeld, "C8"),
    (mutants.GivesASlotTwice, "C11"),
    (mutants.ListsAPageTwice, "C10"),
    (mutants.CountsTheRefused, "C17"),
    (mutants.NamesWhoHadIt, "B6"),
    (mutants.ForgetsAnErasureAtRestart, "B2"),
    (mutants.ForgetsWhoIsKnownByNothing, "B7"),
    (mutants.NamesTheErased, "B7"),
    (mutants.ForgetsAnswersEarly, "A3"),
    (mutants.NeverForgetsAnswers, "A3"),
]
SUPPRESSIONS = [
    (mutants.SuppressesForEverybody, "S1"),
    (mutants.LetsTheSuppressedIn, "S5"),
    (mutants.TakesTheSuppressedBack, "S2"),
    (mutants.AsksTooEarly, "S2"),
    (mutants.SaysWhatItWasAsked, "S3"),
    (mutants.SuppressesInSilence, "S3"),
    (mutants.SuppressesBeforeItsLeaf, "S3"),
    (mutants.SuppressesForItself, "S4"),
    (mutants.LiftsWithTheDestroyed, "S5"),
    (mutants.RemembersLittle, "S6"),
]
MOMENTS = [
    (mutants.FindsNothingPast, "M1"),
    (mutants.ForgetsWhatCameBack, "M1"),
    (mutants.TicksTheWrongVersion, "M5"),
    (mutants.StaysTicked, "M5"),
    (mutants.GoesBackInTime, "M2"),
    (mutants.HappensWithoutTheAct, "M3"),
    (mutants.RemembersTheErased, "M4"),
]
PAGES = [(mutants.AddsAPageOverAnother, "P1"), (mutants.TakesAnOlderPage, "P2"), (mutants.GivesANumberTwice, "P3")]
KEYSTORES = [
    (mutants.KeepsTheOldKey, "C2"),
    (mutants.ClosesNobody, "C4"),
    (mutants.LeavesNoMark, "C4"),
    (mutants.LeavesTheOldKeyInAFile, "C3"),
]
JOURNALS = [
    (mutants.LosesOrder, "C2"),
    (mutants.FindsTheFirstPage, "C3"),
    (mutants.SaysWhereTheFirstEntryLies, "C1"),
    (mutants.DropsTheNextEntryToo, "C4"),
    (mutants.GivesPositionsOutAgain, "C4"),
    (mutants.SettlesByForgetting, "C5"),
]
RESTORABLE = [
    (mutants.ForgetsWhatItSaw, "R1"),
    (mutants.GoesBack, "R2"),
    (mutants.MovesTheKnown, "R3"),
    (mutants.PutsBackWhatIsOlder, "R4"),
    (mutants.PutsBackTheErased, "R4"),
    (mutants.TellsTheJournalAgain, "R4"),
    (mutants.CallsTheIndexWhole, "R5"),
    (mutants.NamesNobody, "R6"),
]
LEDGERS = [(mutants.DropsALeaf, "C1"), (mutants.RewritesALeaf, "C5"), (mutants.ForgetsTheCheckpoint, "C7")]
HOLDERS = [
    (mutants.SaysErasedAndFindsStill, "H6"),
    (mutants.ErasedWithoutReceipt, "H6"),
    (mutants.CollectsEverybody, "H3"),
    (mutants.SweepsEarly, "H7"),
    (mutants.DestroysWhenItHears, "H8"),
]


def assert_caught(run: Callable[..., object], make: Callable[[], Any], clause: str) -> None:
    with pytest.raises(ClauseBroken, match=rf"^{clause}: "):
        run(make, capabilities=IN_MEMORY, settings=FINDING)


@pytest.mark.parametrize(("mutant", "clause"), STORES)
def test_a_broken_record_store_is_caught(mutant: type[MemoryStore], clause: str) -> None:
    def make() -> InMemory:
        ledger = MemoryLedger()
        return InMemory(mutant(ledger, MemoryJournal()), ledger)

    assert_caught(run_record_store_conformance, make, clause)


@pytest.mark.parametrize(("mutant", "clause"), SUPPRESSIONS)
def test_a_store_that_lets_the_suppressed_in_is_caught(mutant: type[MemoryStore], clause: str) -> None:
    def make() -> InMemory:
        ledger, journal = MemoryLedger(), MemoryJournal()
        return InMemory(mutant(ledger, journal), ledger, journal)

    assert_caught(run_suppressions_conformance, make, clause)


@pytest.mark.parametrize(("mutant", "clause"), MOMENTS)
def test_a_store_that_forgets_when_what_happened_is_caught(mutant: type[MemoryStore], clause: str) -> None:
    assert_caught(run_moments_conformance, lambda: InMemory(mutant(MemoryLedger(), MemoryJournal())), clause)


@pytest.mark.parametrize(("mutant", "clause"), PAGES)
def test_a_broken_page_store_is_caught(mutant: type[MemoryStore], clause: str) -> None:
    assert_caught(run_page_store_conformance, lambda: InMemory(mutant(MemoryLedger(), MemoryJournal())), clause)


@pytest.mark.parametrize(("mutant", "clause"), KEYSTORES)
def test_a_broken_keystore_is_caught(mutant: type[Any], clause: str) -> None:
    class Readable(InMemory):
        def files(self) -> list[bytes]:
            return [key.key for key in self.store._keys.values()]

    capabilities = Capabilities(durable=False)
    with pytest.raises(ClauseBroken, match=rf"^{clause}: "):
        run_keystore_conformance(lambda: Readable(mutant()), capabilities=capabilities, settings=FINDING)


@pytest.mark.parametrize(("mutant", "clause"), JOURNALS)
def test_a_broken_journal_is_caught(mutant: type[Any], clause: str) -> None:
    assert_caught(run_journal_conformance, lambda: InMemory(mutant()), clause)


@pytest.mark.parametrize(("mutant", "clause"), RESTORABLE)
def test_a_broken_restorable_store_is_caught(mutant: type[MemoryStore], clause: str) -> None:
    def make() -> InMemory:
        journal = MemoryJournal()
        return InMemory(mutant(MemoryLedger(), journal), journal=journal)

    with pytest.raises(ClauseBroken, match=rf"^{clause}: "):
        run_restorable_conformance(make, settings=FINDING)


@pytest.mark.parametrize(("mutant", "clause"), LEDGERS)
def test_a_broken_ledger_store_is_caught(mutant: type[Any], clause: str) -> None:
    assert_caught(run_ledger_store_conformance, lambda: InMemory(mutant()), clause)


@pytest.mark.parametrize(("mutant", "clause"), HOLDERS)
def test_a_broken_holder_is_caught(mutant: type[RecordHolder], clause: str) -> None:
    def make() -> worlds.Held:
        sound = worlds.held_in_memory()
        sound.holder = mutant("contacts", sound.repository, sound.eraser, sound.holder._new_erasure)  # type: ignore[attr-defined]
        return sound

    assert_caught(run_holder_conformance, make, clause)
