"""The ports in memory keep their contracts."""

from __future__ import annotations

from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore
from capsule_core.testing.conformance.clauses import Capabilities
from capsule_core.testing.conformance.derived import run_derived_conformance
from capsule_core.testing.conformance.holder import run_holder_conformance
from capsule_core.testing.conformance.journal import run_journal_conformance
from capsule_core.testing.conformance.keystore import run_keystore_conformance
from capsule_core.testing.conformance.ledger import run_ledger_store_conformance
from capsule_core.testing.conformance.moments import run_moments_conformance
from capsule_core.testing.conformance.pages import run_page_store_conformance
from capsule_core.testing.conformance.records import run_record_store_conformance
from capsule_core.testing.conformance.restorable import run_restorable_conformance
from capsule_core.testing.conformance.suppressions import run_suppressions_conformance
from tests.conformance.worlds import InMemory, held_in_memory, memory_store

IN_MEMORY = Capabilities(durable=False, readable=False)


def test_the_record_store_keeps_its_contract() -> None:
    assert run_record_store_conformance(memory_store, capabilities=IN_MEMORY) == ("C2: not durable",)


def test_what_may_not_come_in_again_keeps_its_contract() -> None:
    assert run_suppressions_conformance(memory_store, capabilities=IN_MEMORY) == ("S4: not durable",)


def test_what_records_are_found_by_keeps_its_contract() -> None:
    assert run_derived_conformance(memory_store) == ("I1: not losable", "I3: not losable")


def test_the_page_store_keeps_its_contract() -> None:
    untried = run_page_store_conformance(memory_store, capabilities=IN_MEMORY)
    assert untried == ("P1: not durable", "P2: not durable")


def test_the_keystore_keeps_its_contract() -> None:
    untried = run_keystore_conformance(lambda: InMemory(MemoryKeystore()), capabilities=IN_MEMORY)
    assert untried == ("C3: not durable", "C3: not readable")


def test_the_journal_keeps_its_contract() -> None:
    untried = run_journal_conformance(lambda: InMemory(MemoryJournal()), capabilities=IN_MEMORY)
    assert untried == ("C1: not durable",)


def test_the_ledger_store_keeps_its_contract() -> None:
    untried = run_ledger_store_conformance(lambda: InMemory(MemoryLedger()), capabilities=IN_MEMORY)
    assert untried == ("C1: not durable", "C7: not durable")


def test_the_holder_keeps_its_contract() -> None:
    assert run_holder_conformance(held_in_memory) == ()


def test_what_a_restore_does_to_a_store_keeps_its_contract() -> None:
    assert run_restorable_conformance(memory_store) == ()


def test_when_what_happened_keeps_its_contract() -> None:
    assert run_moments_conformance(memory_store, capabilities=IN_MEMORY) == ("M1: not durable",)
