"""The suite for a journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from capsule_core.journal import (
    Anchored,
    Entry,
    Founded,
    Journal,
    Marked,
    PageResealed,
    SealedPage,
    Suppressed,
    Written,
)
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Mark, Reason, Sealed, Slot, Trash
from capsule_core.testing.conformance.clauses import Capabilities, at_once, explore, lacking, require

__all__ = ["JournalUnderTest", "run_journal_conformance"]

_TENANTS: Final = (TenantId("acme"), TenantId("zeta"))
_KEY_IDS: Final = (bytes(8), b"\xff" * 8)


class JournalUnderTest(Protocol):
    """A journal; *reopen* opens the same data again, as after a restart."""

    @property
    def store(self) -> Journal:
        """The journal that is tried."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_journal_conformance(
    make: Callable[[], JournalUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty journals that keep C1-C5 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Entries(make, capabilities), settings)
    if capabilities.concurrent:
        under = make()
        try:
            _many_append(under.store)
        finally:
            under.close()
    return lacking(capabilities, [("durable", "C1"), ("concurrent", "C2")])


def _entries() -> st.SearchStrategy[Entry]:
    tenants = st.sampled_from(_TENANTS)
    pages = st.builds(
        SealedPage,
        tenant=tenants,
        number=st.integers(1, 2),
        generation=st.integers(1, 9),
        key_id=st.sampled_from(_KEY_IDS),
        blob=st.binary(max_size=30),
    )
    reasons = st.builds(
        Reason,
        id=st.sampled_from(("why", "because")),
        mark=st.sampled_from(Mark),
        subject=st.sampled_from((SubjectKey("s1"), SubjectKey("s2"))),
        since=st.datetimes(timezones=st.just(UTC)),
        record=st.none() | st.just(RecordId("r1")),
    )
    some = st.lists(reasons, min_size=1, max_size=3).map(tuple)
    moments = st.datetimes(timezones=st.just(UTC))
    hashes = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=3).map(tuple)
    details: st.SearchStrategy[dict[str, str]] = st.just({}) | st.just({"erasure": "e1", "ground": "request"})
    return st.one_of(
        st.builds(Founded, st.text(min_size=1, max_size=9)),
        st.builds(PageResealed, pages),
        st.builds(PageResealed, pages),
        st.builds(Marked, tenant=tenants, reasons=some, lift=st.booleans(), detail=details).map(_placed),
        st.builds(Suppressed, tenant=tenants, hashes=hashes, since=moments, lift=st.booleans()),
        st.builds(Written, _records()),
        st.builds(Anchored, st.just("contacts"), st.text(max_size=30)),
    )


def _placed(told: Marked) -> Marked:
    return attrs.evolve(told, slots=tuple(Slot(1, place) for place, _ in enumerate(told.reasons)))


def _records() -> st.SearchStrategy[Sealed]:
    moments = st.datetimes(timezones=st.just(UTC))
    return st.builds(
        Sealed,
        tenant=st.sampled_from(_TENANTS),
        kind=st.just("user"),
        id=st.just(RecordId("r1")),
        root=st.just(RecordId("r1")),
        subject=st.just(SubjectKey("s1")),
        slot=st.builds(Slot, st.integers(1, 9), st.integers(0, 255)),
        version=st.integers(1, 9),
        at=moments,
        created=moments,
        updated=moments,
        blob=st.binary(max_size=30),
        tokens=st.just(()),
        claims=st.just(()),
        signature=st.just(b""),
        trash=st.none() | st.builds(Trash, batch=st.just("b1"), at=moments, until=moments),
        marks=st.sampled_from(Mark),
    )


class _Entries(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], JournalUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.model: dict[int, Entry] = {}
        self.highest = 0

    def teardown(self) -> None:
        self.under.close()

    @rule(entries=st.lists(_entries(), max_size=5))
    def append(self, entries: list[Entry]) -> None:
        before = max(self.model, default=0)
        position = self.under.store.append(entries)
        added = list(self.under.store.since(before))
        require([entry for _, entry in added] == entries, "C2", "the entries are not those appended, in order")
        require(position == (added[-1][0] if added else before), "C1", "it is not the position of the last entry")
        require(not added or added[0][0] > self.highest, "C4", "a position is given out again")
        self.model.update(added)
        self.highest = max(self.highest, position)
        self._agree("C2")

    @rule(share=st.integers(50, 100), step=st.integers(1, 3))
    def drop(self, share: int, step: int) -> None:
        gone = list(self.model)[len(self.model) * share // 100 :: step]
        self.under.store.drop(gone)
        for position in gone:
            del self.model[position]
        self._agree("C4")

    @rule(share=st.integers(0, 100))
    def go_on(self, share: int) -> None:
        told = list(self.under.store.since(0))
        start = len(told) * share // 100
        position = told[start - 1][0] if start else 0
        require(list(self.under.store.since(position)) == told[start:], "C2", "it does not go on after a position")

    @rule()
    def settle(self) -> None:
        self.under.store.settle()
        self._agree("C5")

    @rule()
    def find_pages(self) -> None:
        pages = [entry.page for entry in self.model.values() if isinstance(entry, PageResealed)]
        newest = {(page.tenant, page.number, page.key_id): page for page in pages}
        for named in product(_TENANTS, (1, 2), _KEY_IDS):
            found = self.under.store.newest_page(*named)
            require(found == newest.get(named), "C3", "it is not the last re-sealing under that key")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("C1")

    def _agree(self, clause: str) -> None:
        told = list(self.under.store.since(0))
        require(
            told == list(self.model.items()), clause, "the entries are not those appended and left, in their places"
        )
        positions = [position for position, _ in told]
        require(_grow(positions), "C2", "the positions do not grow")


def _many_append(journal: Journal) -> None:
    """Many append at once: every entry is there once, and those of one call stand together."""
    since = datetime(2026, 1, 1, tzinfo=UTC)

    def entries(number: int) -> list[Entry]:
        reasons = [
            Reason(id=f"{number}", mark=Mark.HELD, subject=SubjectKey(f"s{each}"), since=since) for each in range(3)
        ]
        return [Marked(tenant=_TENANTS[0], reasons=(reason,)) for reason in reasons]

    done = at_once(lambda number: journal.append(entries(number)))
    told = [entry for _, entry in journal.since(0)]
    groups = [told[start : start + 3] for start in range(0, len(told), 3)]
    wanted = [entries(number) for number in range(len(done))]
    whole = len(groups) == len(wanted) and all(group in groups for group in wanted)
    require(whole, "C2", "entries appended together do not stand together, or are lost")


def _grow(positions: Sequence[int]) -> bool:
    return all(before < after for before, after in pairwise(positions))
