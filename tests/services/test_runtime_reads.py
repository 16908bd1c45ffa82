"""The log of reads: durable before anybody is answered, and cheap because many share one commit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from capsule_core.errors import Unavailable
from capsule_core.ledger import MemoryLedger
from capsule_core.merkle import Frontier
from capsule_services.runtime.reads import ReadLog


class SlowLedger(MemoryLedger):
    """Commits when it is let, and counts the commits."""

    def __init__(self) -> None:
        super().__init__()
        self.let, self.entered, self.commits = threading.Event(), threading.Event(), 0

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        self.entered.set()
        assert self.let.wait(10)
        self.commits += 1
        return super().append(leaves)


@attrs.define
class FullLedger(MemoryLedger):
    def append(self, leaves: Sequence[bytes]) -> Frontier:
        raise OSError("no space left")


def test_every_leaf_is_in_the_ledger_once_when_its_caller_goes_on() -> None:
    ledger = MemoryLedger()

    def record(number: int) -> bool:
        leaf = b"leaf %d" % number
        log.record(leaf)
        return leaf in ledger.read(0, 1000)

    with ReadLog(ledger) as log, ThreadPoolExecutor(8) as callers:
        assert all(callers.map(record, range(200)))
    assert sorted(ledger.read(0, 1000)) == sorted(b"leaf %d" % number for number in range(200))


def test_nobody_goes_on_before_the_commit_and_who_came_meanwhile_share_the_next() -> None:
    ledger = SlowLedger()
    with ReadLog(ledger) as log, ThreadPoolExecutor(9) as callers:
        first = callers.submit(log.record, b"first")
        assert ledger.entered.wait(10)
        others = [callers.submit(log.record, b"other") for _ in range(8)]
        assert not first.done()
        while len(log._waiting) < len(others):
            threading.Event().wait(0.001)
        ledger.let.set()
        for each in (first, *others):
            each.result(10)
    assert ledger.commits == 2
    assert ledger.head().size == 9


def test_without_a_leaf_there_is_no_answer() -> None:
    with ReadLog(FullLedger()) as log, ThreadPoolExecutor(4) as callers:
        told = [callers.submit(log.record, b"leaf") for _ in range(4)]
        for each in told:
            with pytest.raises(Unavailable):
                each.result(10)


def test_a_closed_log_takes_nothing_and_has_written_what_it_took() -> None:
    ledger = MemoryLedger()
    log = ReadLog(ledger)
    log.record(b"leaf")
    log.close()
    with pytest.raises(Unavailable):
        log.record(b"late")
    assert ledger.read(0, 10) == [b"leaf"]
