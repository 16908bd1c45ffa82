"""Find the first leaf of a log that is not what was appended, and say how surely that is known.

A checkpoint from outside tells whether a log is whole, not where it is not. For that there are the frontiers that the
log noted every 256 leaves. They lie beside the leaves, and whoever edits those can edit them; but if what they say of
all blocks leads to the root of the checkpoint, they are true, for nobody finds others that do. Then the first block
that is not what they say is the first that is wrong. If they do not, older checkpoints still tell between which two of
them the first difference lies.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import attrs

from capsule_core.checkpoints import Checkpoint, Verifier, open_checkpoint
from capsule_core.errors import LedgerBroken, ReceiptInvalid
from capsule_core.merkle import BLOCK, Frontier, Span, first_difference, leaf_hashes, node_hash, root_of

__all__ = ["Evidence", "Fault", "Inspection", "Told", "Wrong", "inspect"]

_BATCH: Final = 16 * BLOCK

Told = Callable[[int, Sequence[bytes]], object]
"""Is told which leaves were read: the number of the first, and their data."""


class Wrong(enum.Enum):
    """What is wrong with a leaf; one that was moved is another at both its places."""

    CHANGED = "changed"
    MISSING = "missing"
    CUT_OFF = "cut_off"
    NOTES = "notes"
    """The leaves are right; a frontier that the log noted is not, or is not there."""


class Evidence(Protocol):
    """A log as it is found."""

    def extent(self) -> tuple[int, bytes, int]:
        """Return of how many leaves its newest frontier speaks, that frontier, and the number behind its last leaf.

        All of one moment: a log that is in use grows on.
        """
        ...

    def read(self, start: int, until: int) -> Sequence[bytes]:
        """Return the leaves of the numbers from *start* up to, not including, *until*, as far as they are there."""
        ...

    def noted(self, after: int, until: int) -> Sequence[tuple[int, bytes]]:
        """Return the frontiers that were noted at sizes above *after*, up to *until*: size and encoding, in order."""
        ...

    def gap(self, start: int, until: int) -> int:
        """Return the first number from *start* on that has no leaf; *until* if all have one."""
        ...


@attrs.frozen(kw_only=True)
class Fault:
    """Something is *wrong*: no leaf before *first* is, and the first that is comes at *last* at the latest.

    *proven* says that a checkpoint shows it, and not only what the log noted of itself. *suspected* are the leaves that
    those notes point to, where the checkpoints leave more.
    """

    wrong: Wrong
    first: int
    last: int
    proven: bool
    suspected: Span | None = None


@attrs.frozen(kw_only=True)
class Inspection:
    """A log of *size* leaves was read, *against* a checkpoint from outside if there was one; *fault* is its first."""

    size: int
    against: Checkpoint | None
    fault: Fault | None


def inspect(
    evidence: Evidence,
    against: Checkpoint | None = None,
    *,
    notes: Sequence[str] = (),
    verifier: Verifier | None = None,
    told: Told = lambda _, __: None,
) -> Inspection:
    """Read a whole log and find its first fault.

    Args:
        evidence: the log.
        against: a checkpoint of it from outside; without one, the log is only compared with its own notes.
        notes: older checkpoints of the same epoch from outside, as they were signed, by size; they narrow a fault down.
        verifier: the key that signed *notes*.
        told: is told of each batch that was read.
    """
    walk = _Walk.along(evidence, told)
    own = walk.fault()
    if against is None:
        return Inspection(size=walk.size, against=None, fault=own)
    if walk.root_at(against.size) == against.root:
        return Inspection(size=walk.size, against=against, fault=own and _behind(own, against.size))
    good, bad = _bounds(walk, notes, verifier, against)
    span = walk.proven(bad) or walk.proven(against)
    last = min(bad.size - 1, walk.size)
    if span is not None:
        first, end = max(span[0], good), min(span[1], last + 1)
        fault = Fault(wrong=walk.kind(first, end), first=first, last=end - 1, proven=True)
        return Inspection(size=walk.size, against=against, fault=fault)
    suspected = (own.first, own.last + 1) if own else None
    fault = Fault(wrong=walk.kind(last, last + 1), first=good, last=last, proven=True, suspected=suspected)
    return Inspection(size=walk.size, against=against, fault=fault)


def _behind(own: Fault, size: int) -> Fault:
    """Judge what a log says against itself, when its first *size* leaves are known to be right."""
    if own.last < size:
        return attrs.evolve(own, wrong=Wrong.NOTES, proven=True)
    return attrs.evolve(own, first=max(own.first, size) if own.wrong is not Wrong.NOTES else own.first)


def _bounds(
    walk: _Walk, notes: Sequence[str], verifier: Verifier | None, against: Checkpoint
) -> tuple[int, Checkpoint]:
    """Return the size of the newest checkpoint that the log agrees with, and the oldest that it does not."""
    waiting, good, bad = list(notes), 0, against
    low, high = 0, len(waiting)
    while verifier is not None and low < high:
        middle = (low + high) // 2
        try:
            checkpoint = open_checkpoint(waiting[middle], verifier)
        except ReceiptInvalid:  # nobody's word
            del waiting[middle]
            high -= 1
            continue
        if walk.root_at(checkpoint.size) == checkpoint.root:
            low, good = middle + 1, max(good, checkpoint.size)
        else:
            high = middle
            bad = checkpoint if checkpoint.size < bad.size else bad
    return good, bad


@attrs.define(eq=False)
class _Walk:
    """What was found on the way through a log.

    *blocks* are the roots of the blocks of 256 leaves as they are, *claims* what the log noted of a block where that is
    something else, or where leaves are missing; *suspect* is the first difference, *unnoted* the first size at which a
    note is wrong or missing and nothing else is. *size* leaves were read, up to the first that is missing.
    """

    evidence: Evidence
    noted: int
    newest: bytes
    reach: int
    blocks: list[bytes] = attrs.Factory(list[bytes])
    claims: dict[int, Frontier] = attrs.Factory(dict[int, Frontier])
    suspect: Span | None = None
    unnoted: int | None = None
    size: int = 0
    _peaks: list[bytes] = attrs.Factory(list[bytes])

    @classmethod
    def along(cls, evidence: Evidence, told: Told) -> _Walk:
        """Read every leaf up to the first that is missing, and every frontier."""
        walk = cls(evidence, *evidence.extent())
        while walk.size < walk.reach:
            start, until = walk.size, min(walk.size + _BATCH, walk.reach)
            data = evidence.read(start, until)
            end = until if len(data) == until - start else evidence.gap(start, until)
            told(start, data[: end - start])
            walk._take(start, data[: end - start])
            if end < until:
                break
        for size, encoded in evidence.noted(walk.size, walk.noted):
            if (claim := _claim(size, encoded)) is not None:
                walk.claims.setdefault((size - 1) // BLOCK, claim[1])
        return walk

    def fault(self) -> Fault | None:
        """Return the first fault, as far as the log tells of itself."""
        if self.suspect is not None:
            low, high = self.suspect
            return Fault(wrong=self.kind(low, high), first=low, last=high - 1, proven=False)
        if self.size < max(self.noted, self.reach):
            block = self.size // BLOCK
            first = self._difference(block)[0] if block in self.claims else block * BLOCK
            return Fault(wrong=self.kind(self.size, self.size + 1), first=first, last=self.size, proven=False)
        unnoted = self.noted if self.unnoted is None and self.reach > self.noted else self.unnoted
        return None if unnoted is None else Fault(wrong=Wrong.NOTES, first=unnoted, last=unnoted, proven=False)

    def kind(self, low: int, high: int) -> Wrong:
        """Say what is wrong with the first wrong leaf among these."""
        if not low <= self.size < high:
            return Wrong.CHANGED
        return Wrong.MISSING if self.size < self.reach else Wrong.CUT_OFF

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first *size* leaves as they are; None if there are not so many."""
        if size > self.size:
            return None
        whole, rest = divmod(size, BLOCK)
        tail = [root_of(self._hashes(whole)[:rest])] if rest else []
        return root_of([*self.blocks[:whole], *tail])

    def proven(self, checkpoint: Checkpoint) -> Span | None:
        """Name where the first difference lies, if what the log noted of its blocks leads to the checkpoint's root."""
        whole, rest = divmod(checkpoint.size, BLOCK)
        roots = [root for root in map(self._claimed_root, range(whole)) if root is not None]
        tail = [root for root in [self._claimed_tail(whole, rest)] if root is not None] if rest else []
        if len(roots) < whole or bool(rest) != bool(tail) or root_of([*roots, *tail]) != checkpoint.root:
            return None
        return self._difference(min(self.claims))

    def _take(self, start: int, data: Sequence[bytes]) -> None:
        hashes = leaf_hashes(data)
        self.size = start + len(hashes)
        notes = dict(self.evidence.noted(start, self.size))
        for low in range(0, len(hashes), BLOCK):
            local = Frontier().extend(hashes[low : low + BLOCK])
            end = start + low + local.size
            if start + low < self.noted < end:  # the log says that it ended here
                self._compare(self.noted, Frontier().extend(hashes[low : self.noted - start]), self.newest)
            self._compare(end, local, self.newest if end == self.noted else notes.get(end))
            if local.size == BLOCK:
                self._push(local.root())

    def _compare(self, end: int, local: Frontier, encoded: bytes | None) -> None:
        if encoded is None and end % BLOCK:
            return  # the log goes on here, and notes nothing
        claim = _claim(end, encoded or b"")
        if claim is None:
            self.unnoted = end if self.unnoted is None else self.unnoted
        elif claim[1] != local:
            self.claims[(end - 1) // BLOCK] = claim[1]
            if self.suspect is None:
                low, high = first_difference(local, claim[1])
                self.suspect = (end - local.size + low, end - local.size + high)
        elif self.suspect is None and self.unnoted is None and claim[0] != tuple(self._peaks):
            self.unnoted = end

    def _push(self, root: bytes) -> None:
        count = len(self.blocks)
        self.blocks.append(root)
        while count & 1:
            root, count = node_hash(self._peaks.pop(), root), count >> 1
        self._peaks.append(root)

    def _hashes(self, block: int) -> list[bytes]:
        return leaf_hashes(self.evidence.read(block * BLOCK, min((block + 1) * BLOCK, self.size)))

    def _claimed_root(self, block: int) -> bytes | None:
        claim = self.claims.get(block)
        if claim is not None:
            return claim.root() if claim.size == BLOCK else None
        return self.blocks[block] if block < len(self.blocks) else None

    def _claimed_tail(self, block: int, rest: int) -> bytes | None:
        """Return the root over the first *rest* leaves of a block, as the log noted it, and as it is elsewhere."""
        hashes = self._hashes(block)
        noted = dict(_spans(self.claims[block])) if block in self.claims else {}
        root, high = None, rest
        while high:
            low = high - (high & -high)
            piece = _piece(noted, hashes, low, high)
            if piece is None:
                return None
            root, high = piece if root is None else node_hash(piece, root), low
        return root

    def _difference(self, block: int) -> Span:
        """Name the first leaves of a block that are not what the log noted."""
        start, hashes = block * BLOCK, self._hashes(block)
        for (low, high), node in _spans(self.claims[block]):
            if high > len(hashes):
                return start + low, start + len(hashes) + 1
            if root_of(hashes[low:high]) != node:
                return start + low, start + high
        return start, start + BLOCK


def _claim(size: int, encoded: bytes) -> tuple[tuple[bytes, ...], Frontier] | None:
    """Take a noted frontier apart: the whole blocks before the last one, and that block alone; None if it is none."""
    try:
        frontier = Frontier.decode(encoded)
    except LedgerBroken:
        return None
    if frontier.size != size or not size:
        return None
    before, local = divmod(size - 1, BLOCK)
    above = before.bit_count()
    return frontier.nodes[:above], Frontier(local + 1, frontier.nodes[above:])


def _spans(local: Frontier) -> Iterator[tuple[Span, bytes]]:
    start, rest = 0, local.size - 1
    for node in local.nodes[:-1]:
        width = 1 << rest.bit_length() - 1
        yield (start, start + width), node
        start, rest = start + width, rest - width
    yield (start, start + 1), local.nodes[-1]


def _piece(noted: Mapping[Span, bytes], hashes: Sequence[bytes], low: int, high: int) -> bytes | None:
    """Return the root of a perfect subtree, from the largest noted ones that it has, and from leaves."""
    if (low, high) in noted:
        return noted[(low, high)]
    if high - low == 1:
        return hashes[low] if low < len(hashes) else None
    middle = (low + high) // 2
    left, right = _piece(noted, hashes, low, middle), _piece(noted, hashes, middle, high)
    return None if left is None or right is None else node_hash(left, right)
