"""The ports on SQLite keep their contracts, all of them, through any number of restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

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
from tests.conformance.worlds import held_on, on_disk, template


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("original"))


@pytest.fixture
def fewer() -> settings:
    """An example on a disk costs ten in memory."""
    usual = settings()
    return settings(usual, max_examples=max(10, usual.max_examples // 3))


def test_the_record_store_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_record_store_conformance(on_disk(original, tmp_path, "records"), settings=fewer) == ()


def test_what_may_not_come_in_again_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_suppressions_conformance(on_disk(original, tmp_path, "records"), settings=fewer) == ()


def test_what_records_are_found_by_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    losable = Capabilities(losable=True)
    make = on_disk(original, tmp_path, "records")
    assert run_derived_conformance(make, capabilities=losable, settings=fewer) == ()


def test_the_page_store_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_page_store_conformance(on_disk(original, tmp_path, "records"), settings=fewer) == ()


def test_the_keystore_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_keystore_conformance(on_disk(original, tmp_path, "keystore"), settings=fewer) == ()


def test_the_journal_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_journal_conformance(on_disk(original, tmp_path, "journal"), settings=fewer) == ()


def test_the_ledger_store_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_ledger_store_conformance(on_disk(original, tmp_path, "ledger"), settings=fewer) == ()


def test_the_holder_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    make = on_disk(original, tmp_path, "records")
    assert run_holder_conformance(lambda: held_on(make()), settings=fewer) == ()


def test_what_a_restore_does_to_a_store_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_restorable_conformance(on_disk(original, tmp_path, "records"), settings=fewer) == ()


def test_when_what_happened_keeps_its_contract(original: Path, tmp_path: Path, fewer: settings) -> None:
    assert run_moments_conformance(on_disk(original, tmp_path, "records"), settings=fewer) == ()
