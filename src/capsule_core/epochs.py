"""The epochs of a log: within one it only grows; a restore, which may lose leaves, opens the next and says so.

In which epoch a log is, the checkpoint kept last tells by its origin: ``contacts`` in the first, ``contacts/2`` after
one restore. The first leaf of an epoch cites the last checkpoint that lies outside the data, so that whoever holds that
one can follow from epoch to epoch, and see how much was lost in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs

from capsule_core.checkpoints import (
    Checkpoint,
    Signer,
    Verifier,
    epoch_of,
    open_checkpoint,
    origin_of,
    sign_checkpoint,
)
from capsule_core.errors import CapsuleError, LedgerBroken, ReceiptInvalid
from capsule_core.journal import Anchored, Journal
from capsule_core.ledger import Leaf, LedgerStore
from capsule_core.merkle import leaf_hash, root_of, verify_inclusion
from capsule_core.names import TenantId

__all__ = ["OPENED", "Opening", "anchors_of", "current_epoch", "current_origin", "follow", "open_epoch", "opening_of"]

OPENED: Final = "ledger.epoch"
"""The act of the first leaf of an epoch."""

_NO_TENANT: Final = TenantId("capsule.ledger")
_NOBODY: Final = "0" * 32


@attrs.frozen(kw_only=True)
class Opening:
    """What the first leaf of an *epoch* says.

    The last checkpoint outside the data spoke of *size* leaves and their *root*; the log that was restored had
    *restored* leaves, which makes that the number of this leaf.
    """

    epoch: int
    size: int
    root: bytes
    restored: int

    @property
    def lost(self) -> int:
        """How many leaves the restore lost, as far as they were under a checkpoint."""
        return max(0, self.size - self.restored)


def current_epoch(ledger: LedgerStore, log: str) -> int:
    """Return in which epoch *log* is; a log that has no checkpoint yet is in its first."""
    note = ledger.latest()
    return epoch_of(note.partition("\n")[0], log) or 1 if note else 1


def current_origin(ledger: LedgerStore, log: str) -> str:
    """Return what checkpoints of *log* are signed for now."""
    return origin_of(log, current_epoch(ledger, log))


def open_epoch(ledger: LedgerStore, journal: Journal, *, log: str, signer: Signer, now: datetime) -> Checkpoint:
    """Open the next epoch of a log that was restored, and return its first checkpoint.

    To be called once for each log of a service, after the data is back and before anybody is served or a receipt is
    issued. The leaf that says so is appended, a checkpoint signed for the new origin, shipped to the journal and kept;
    called again after a crash in between, it goes on where that one ended.

    Args:
        ledger: the log as it was restored.
        journal: this deployment's journal, which no restore takes back: it has the last outside checkpoint.
        log: the log's name: the service's own for its changes, ``{service}.reads`` for its reads.
        signer: whoever signs the service's receipts.
        now: the time of the opening.

    Raises:
        LedgerBroken: what was restored is not this log: it differs from a checkpoint in the journal.
    """
    anchors = list(anchors_of(journal, log, signer.verifier))
    head, ours = ledger.head(), current_epoch(ledger, log)
    _same_log(ledger, [each for each in anchors if epoch_of(each.origin, log) == ours])
    begun = opening_of(ledger.read(head.size - 1, 1)[0]) if head.size else None
    if begun is None or begun.epoch <= ours:
        last = anchors[-1] if anchors else Checkpoint(log, 0, root_of([]))
        epoch = max(ours, epoch_of(last.origin, log) or 1) + 1
        begun = Opening(epoch=epoch, size=last.size, root=last.root, restored=head.size)
        head = ledger.append([_leaf(begun, now)])
    checkpoint = Checkpoint(origin_of(log, begun.epoch), head.size, head.root())
    note = sign_checkpoint(checkpoint, signer)
    journal.append([Anchored(checkpoint.origin, note)])
    ledger.keep(note)
    return checkpoint


def opening_of(data: bytes) -> Opening | None:
    """Read what a leaf says if it is the first of an epoch; None if it is any other."""
    if b'"act":"ledger.epoch"' not in data:
        return None
    try:
        leaf = Leaf.decode(data)
        told = leaf.detail
        opening = Opening(
            epoch=int(told["epoch"]),
            size=int(told["size"]),
            root=bytes.fromhex(told["root"]),
            restored=int(told["restored"]),
        )
    except (CapsuleError, KeyError, ValueError):
        return None
    return opening if leaf.act == OPENED and leaf.tenant == _NO_TENANT else None


def follow(last: Checkpoint, leaf: bytes, path: Sequence[bytes], first: Checkpoint, *, log: str) -> Opening:
    """Let pass the step from the *last* checkpoint of one epoch to the *first* of a later one, and return what it says.

    *leaf* is the first leaf of that later epoch, and *path* leads from it to the root of its checkpoint.

    Raises:
        LedgerBroken: the leaf does not continue that epoch, or cites another checkpoint.
        ReceiptInvalid: the leaf is not in the log of the later checkpoint.
    """
    opening = opening_of(leaf)
    before, after = epoch_of(last.origin, log), epoch_of(first.origin, log)
    if opening is None or before is None or after != opening.epoch or opening.epoch <= before:
        raise LedgerBroken(last.size, "what follows is not the first leaf of a later epoch of this log")
    if (opening.size, opening.root) != (last.size, last.root):
        raise LedgerBroken(opening.restored, "the first leaf of the epoch cites another checkpoint than this one")
    verify_inclusion(leaf_hash(leaf), opening.restored, first.size, path, first.root)
    return opening


def anchors_of(journal: Journal, log: str, verifier: Verifier) -> Iterator[Checkpoint]:
    """Give the checkpoints of *log* that this key signed, in the order of the journal; others' are passed over."""
    for _, entry in journal.since(0):
        if isinstance(entry, Anchored) and epoch_of(entry.origin, log) is not None:
            with suppress(ReceiptInvalid):
                yield open_checkpoint(entry.note, verifier)


def _same_log(ledger: LedgerStore, anchors: Sequence[Checkpoint]) -> None:
    """Refuse a log that the newest of our checkpoints within its length does not speak of."""
    size = ledger.head().size
    within = [each for each in anchors if each.size <= size]
    if within and ledger.at(within[-1].size).root() != within[-1].root:
        raise LedgerBroken(0, "what was restored is not the log that the checkpoints in the journal speak of")


def _leaf(opening: Opening, now: datetime) -> bytes:
    return Leaf(
        at=now,
        tenant=_NO_TENANT,
        act=OPENED,
        use="security",
        actor=_NOBODY,
        detail={
            "epoch": str(opening.epoch),
            "size": str(opening.size),
            "root": opening.root.hex(),
            "restored": str(opening.restored),
        },
    ).encode()
