"""When a log gets a signed checkpoint, and how that comes to lie outside the data.

A checkpoint that its keeper alone has proves nothing against the keeper. So a log is signed soon after it has grown,
and each checkpoint goes to the journal before it is kept beside the log. A log that does not continue its last
checkpoint is not signed any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.checkpoints import Checkpoint, Signer, epoch_of, sign_checkpoint
from capsule_core.epochs import anchors_of, current_origin
from capsule_core.errors import LedgerBroken
from capsule_core.journal import Anchored, Journal
from capsule_core.ledger import LedgerStore
from capsule_core.merkle import verify_consistency
from capsule_core.proofs import prove_consistency
from capsule_core.receipts import Receipt, issue
from capsule_core.statements import Statement

__all__ = ["LOOK", "MOST", "WITHIN", "Growth", "anchor", "check_anchored", "keep_newer", "newest_anchor", "prove"]

MOST: Final = 10_000
"""So many new leaves are signed for without waiting for more."""

WITHIN: Final = timedelta(minutes=1)
"""A leaf is under a checkpoint at the latest after so long."""

LOOK: Final = timedelta(seconds=10)
"""How often whoever signs looks whether a log has grown."""


@attrs.frozen(kw_only=True)
class Growth:
    """How a log has grown over the *anchored* leaves of its last checkpoint: more were first seen *since*."""

    anchored: int = 0
    since: datetime | None = None

    def seen(self, size: int, *, now: datetime) -> Growth:
        """Return what is known after the log was seen to have *size* leaves."""
        return attrs.evolve(self, since=None if size <= self.anchored else self.since or now)

    def due(self, size: int, *, now: datetime) -> bool:
        """Tell whether it has to be signed at this look: after the next one it might be too late.

        A log that is shorter than its checkpoint is due too, for :func:`anchor` to refuse it.
        """
        waits = self.since is not None and now >= self.since + WITHIN - 2 * LOOK
        return waits or not self.anchored <= size < self.anchored + MOST


def anchor(
    ledger: LedgerStore, journal: Journal, *, log: str, signer: Signer, last: Checkpoint | None = None
) -> Checkpoint:
    """Sign *log* as it is now, ship the checkpoint to the journal, and keep it.

    Raises:
        LedgerBroken: it does not continue its *last* checkpoint; nothing is signed.
    """
    head = ledger.head()
    checkpoint = Checkpoint(current_origin(ledger, log), head.size, head.root())
    if last is not None:
        _continued(ledger, last, checkpoint, log)
    note = sign_checkpoint(checkpoint, signer)
    journal.append([Anchored(checkpoint.origin, note)])
    keep_newer(ledger, note, log)
    return checkpoint


def keep_newer(ledger: LedgerStore, note: str, log: str) -> None:
    """Keep a checkpoint of *log*, unless a newer one is kept already."""
    kept = ledger.latest()
    if kept is None or _age(note, log) > _age(kept, log):
        ledger.keep(note)


def newest_anchor(journal: Journal, log: str, signer: Signer) -> Checkpoint | None:
    """Return the last checkpoint of *log* that was shipped; it takes reading the journal."""
    last = None
    for checkpoint in anchors_of(journal, log, signer.verifier):
        last = checkpoint
    return last


def check_anchored(ledger: LedgerStore, journal: Journal, *, log: str, signer: Signer) -> None:
    """Let pass a *log* that continues its newest checkpoint in the journal, or has none there yet.

    Raises:
        LedgerBroken: it was cut off or altered behind it.
    """
    last = newest_anchor(journal, log, signer)
    if last is not None:
        head = ledger.head()
        _continued(ledger, last, Checkpoint(current_origin(ledger, log), head.size, head.root()), log)


def prove(statement: Statement, ledger: LedgerStore, *, leaf: bytes, index: int, signer: Signer) -> Receipt:
    """Issue the receipt for *statement*, which the *leaf* at *index* commits to the log of the signer's name.

    Raises:
        ReceiptInvalid: the leaf commits another statement.
    """
    origin = current_origin(ledger, signer.name)
    receipt = issue(statement, leaf=leaf, frontier=ledger.at(index + 1), origin=origin, signer=signer)
    keep_newer(ledger, receipt.checkpoint, signer.name)
    return receipt


def _continued(ledger: LedgerStore, last: Checkpoint, now: Checkpoint, log: str) -> None:
    before, after = epoch_of(last.origin, log), epoch_of(now.origin, log)
    if before is None or after is None or before > after or (before == after and last.size > now.size):
        raise LedgerBroken(now.size, "it is older than its last checkpoint: it was put back by hand")
    if before == after:
        path = prove_consistency(ledger, last.size, now.size)
        verify_consistency(last.size, now.size, path, last.root, now.root)


def _age(note: str, log: str) -> tuple[int, int]:
    origin, size, *_ = [*note.split("\n", 2), "", ""]
    return epoch_of(origin, log) or 0, int(size) if size.isdecimal() else 0
