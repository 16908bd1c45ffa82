"""Proofs made from kept frontiers are those of the definition, and take no more of the log than two blocks."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import InvalidField, LedgerBroken
from capsule_core.ledger import MemoryLedger
from capsule_core.merkle import (
    BLOCK,
    Frontier,
    consistency,
    inclusion,
    leaf_hashes,
    verify_consistency,
    verify_inclusion,
)
from capsule_core.proofs import prove_consistency, prove_inclusion

LONGEST = 9 * BLOCK + 37
DATA = [b"leaf %d" % number for number in range(LONGEST)]
HASHES = leaf_hashes(DATA)
EDGES = [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 8 * BLOCK, LONGEST]

sizes = st.integers(0, LONGEST) | st.sampled_from(EDGES)


@attrs.define
class Counting:
    """A log that counts what is asked of it."""

    log: MemoryLedger
    read_leaves: int = 0
    frontiers: int = 0

    def read(self, start: int, limit: int) -> Sequence[bytes]:
        self.read_leaves += limit
        return self.log.read(start, limit)

    def at(self, size: int) -> Frontier:
        self.frontiers += 1
        self.read_leaves += size % BLOCK  # from the nearest that was kept
        return self.log.at(size)

    def head(self) -> Frontier:
        return self.log.head()


@pytest.fixture(scope="module")
def log() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.append(DATA)
    return ledger


@given(places=st.tuples(sizes, sizes))
def test_an_inclusion_proof_is_that_of_the_definition(log: MemoryLedger, places: tuple[int, int]) -> None:
    index, size = min(places), max(places)
    if index == size:
        with pytest.raises(InvalidField):
            prove_inclusion(log, index, size)
        return
    asked = Counting(log)
    path = prove_inclusion(asked, index, size)
    assert path == inclusion(HASHES, index, size)
    verify_inclusion(HASHES[index], index, size, path, log.at(size).root())
    assert asked.read_leaves <= 2 * BLOCK
    assert asked.frontiers <= size.bit_length()


@given(places=st.tuples(sizes, sizes))
def test_a_consistency_proof_is_that_of_the_definition(log: MemoryLedger, places: tuple[int, int]) -> None:
    first, second = min(places), max(places)
    asked = Counting(log)
    path = prove_consistency(asked, first, second)
    assert path == consistency(HASHES, first, second)
    verify_consistency(first, second, path, log.at(first).root(), log.at(second).root())
    assert asked.read_leaves <= 2 * BLOCK
    assert asked.frontiers <= second.bit_length()


def test_what_is_not_in_the_log_is_not_proved(log: MemoryLedger) -> None:
    for index, size in ((-1, 3), (3, 3), (0, 0), (0, LONGEST + 1)):
        with pytest.raises(InvalidField):
            prove_inclusion(log, index, size)
    for first, second in ((-1, 3), (4, 3), (3, LONGEST + 1)):
        with pytest.raises(InvalidField):
            prove_consistency(log, first, second)


def test_a_proof_that_needs_a_missing_leaf_says_so() -> None:
    ledger = MemoryLedger()
    ledger.append(DATA[:40])
    del ledger._leaves[20:]
    with pytest.raises(LedgerBroken):
        prove_inclusion(ledger, 3, 40)
