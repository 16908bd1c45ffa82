"""The suite for a store of the ledger's leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from capsule_core.ledger import LedgerStore
from capsule_core.merkle import Frontier
from capsule_core.testing.conformance.clauses import Capabilities, at_once, explore, lacking, require

__all__ = ["LedgerUnderTest", "run_ledger_store_conformance"]


class LedgerUnderTest(Protocol):
    """A ledger store; *reopen* opens the same data again, as after a restart."""

    @property
    def store(self) -> LedgerStore:
        """The ledger that is tried."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_ledger_store_conformance(
    make: Callable[[], LedgerUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty ledger stores that keep C1-C7 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Leaves(make, capabilities), settings)
    if capabilities.concurrent:
        under = make()
        try:
            _many_append(under.store)
        finally:
            under.close()
    return lacking(capabilities, [("durable", "C1"), ("durable", "C7"), ("concurrent", "C6")])


class _Leaves(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], LedgerUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.model: list[bytes] = []
        self.checkpoint: str | None = None

    def teardown(self) -> None:
        self.under.close()

    @rule(leaves=st.lists(st.binary(max_size=20), max_size=5), times=st.sampled_from((1, 1, 1, 70)))
    def append(self, leaves: list[bytes], times: int) -> None:
        leaves = leaves * times
        end = self.under.store.append(leaves)
        self.model += leaves
        require(end == Frontier().append(self.model), "C2", "the frontier does not end with what was appended")
        self._agree("C1")

    @rule(start=st.integers(0, 400), limit=st.integers(1, 300))
    def read(self, start: int, limit: int) -> None:
        found = list(self.under.store.read(start, limit))
        require(found == self.model[start : start + limit], "C3", "other leaves are read")

    @rule(share=st.integers(0, 100))
    def look_back(self, share: int) -> None:
        size = len(self.model) * share // 100
        frontier = self.under.store.at(size)
        require(frontier == Frontier().append(self.model[:size]), "C4", "it was another frontier at that size")

    @rule(note=st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20))  # a signed note is plain text
    def keep(self, note: str) -> None:
        self.under.store.keep(note)
        self.checkpoint = note
        self._agree("C7")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("C1")

    def _agree(self, clause: str) -> None:
        found = list(self.under.store.read(0, len(self.model) + 1))
        require(
            found[: len(self.model)] == self.model, "C5" if len(found) >= len(self.model) else clause, "a leaf moved"
        )
        require(len(found) == len(self.model), clause, "there are not as many leaves as were appended")
        require(self.under.store.head() == Frontier().append(self.model), "C4", "the head is not after every leaf")
        require(self.under.store.latest() == self.checkpoint, "C7", "it is not the checkpoint kept last")


def _many_append(store: LedgerStore) -> None:
    """Many append at once: each call's leaves stand side by side, and its frontier ends with them."""

    def leaves(number: int) -> list[bytes]:
        return [b"%d %d" % (number, each) for each in range(5)]

    ends = at_once(lambda number: store.append(leaves(number)))
    written = list(store.read(0, 5 * len(ends) + 1))
    require(len(written) == 5 * len(ends), "C6", "appends from several threads were lost, or happened twice")
    for number, end in enumerate(ends):
        require(isinstance(end, Frontier), "C6", "an append from several threads failed")
        require(written[end.size - 5 : end.size] == leaves(number), "C1", "leaves do not stand side by side")
        require(end == Frontier().append(written[: end.size]), "C2", "the frontier does not end with its own leaves")
