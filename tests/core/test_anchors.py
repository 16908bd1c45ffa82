"""Checkpoints come soon after leaves, lie outside the data, and end when a log does not continue them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.anchors import LOOK, MOST, WITHIN, Growth, anchor, newest_anchor
from capsule_core.checkpoints import Signer, open_checkpoint
from capsule_core.epochs import open_epoch
from capsule_core.errors import LedgerBroken
from capsule_core.journal import Anchored, MemoryJournal
from capsule_core.ledger import MemoryLedger

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer.from_seed("contacts", bytes(range(32)))
SECOND = timedelta(seconds=1)


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 300), st.integers(1, MOST)), max_size=20),
    late=st.integers(0, 9),
)
def test_each_leaf_is_signed_for_within_a_minute_and_no_crowd_waits(arrivals: list[tuple[int, int]], late: int) -> None:
    growth, size, waiting = Growth(), 0, list[tuple[datetime, int]]()
    for tick in range(40):
        now = NOW + tick * LOOK + (tick % 2) * late * SECOND / 10
        before = now - LOOK
        for second, count in arrivals:
            if before < NOW + second * SECOND <= now:
                size += count
                waiting.append((NOW + second * SECOND, size))
        growth = growth.seen(size, now=now)
        if growth.due(size, now=now):
            assert waiting, "nothing is signed twice"
            growth, waiting = Growth(anchored=size), []
        assert all(now + LOOK + SECOND < at + WITHIN + SECOND for at, _ in waiting)
        assert size < growth.anchored + MOST


def test_a_log_that_does_not_grow_is_not_signed_again() -> None:
    growth = Growth(anchored=7).seen(7, now=NOW)
    assert not growth.due(7, now=NOW + 100 * WITHIN)


def test_a_checkpoint_is_in_the_journal_before_it_is_kept() -> None:
    class Watched(MemoryLedger):
        def keep(self, checkpoint: str) -> None:
            assert [entry for _, entry in journal.since(0)] == [Anchored("contacts", checkpoint)]
            super().keep(checkpoint)

    ledger, journal = Watched(), MemoryJournal()
    ledger.append([b"one", b"two"])
    signed = anchor(ledger, journal, log="contacts", signer=SIGNER)
    kept = ledger.latest()
    assert kept is not None
    assert open_checkpoint(kept, SIGNER.verifier) == signed == newest_anchor(journal, "contacts", SIGNER)
    assert newest_anchor(journal, "contacts.reads", SIGNER) is None


@pytest.mark.law("L8")
@pytest.mark.parametrize("harm", ["shorter", "rewritten", "older epoch"])
def test_a_log_that_does_not_continue_its_last_checkpoint_is_signed_no_more(harm: str) -> None:
    ledger, journal = MemoryLedger(), MemoryJournal()
    ledger.append([b"%d" % number for number in range(9)])
    last = anchor(ledger, journal, log="contacts", signer=SIGNER)
    put_back = MemoryLedger()
    put_back.append([b"%d" % number for number in range({"shorter": 8, "rewritten": 4, "older epoch": 9}[harm])])
    if harm == "rewritten":
        put_back.append([b"other %d" % number for number in range(9)])
    if harm == "older epoch":
        last = open_epoch(ledger, journal, log="contacts", signer=SIGNER, now=NOW)
    with pytest.raises(LedgerBroken):
        anchor(put_back, journal, log="contacts", signer=SIGNER, last=last)
    assert newest_anchor(journal, "contacts", SIGNER) == last, "and nothing of it is outside"
    ledger.append([b"more"])
    assert anchor(ledger, journal, log="contacts", signer=SIGNER, last=last).size > 9
