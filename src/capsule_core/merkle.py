"""The hash tree of a log: that of RFC 6962 section 2 with SHA-256, from its right edge, and proofs about it.

A proof is the hashes of a few subtrees. Which ones is told by :func:`inclusion_of` and :func:`consistency_of`; whoever
keeps a log finds their hashes without reading the leaves (:meth:`Frontier.edge`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, Self

import attrs

from capsule_core.errors import InvalidField, LedgerBroken, ReceiptInvalid

__all__ = [
    "BLOCK",
    "Frontier",
    "Span",
    "consistency",
    "consistency_of",
    "first_difference",
    "inclusion",
    "inclusion_of",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

Span = tuple[int, int]
"""Leaves: from the first number up to, not including, the second."""

BLOCK: Final = 256
"""After so many leaves a log keeps its frontier for good: an earlier one is at most as many leaves away."""


def leaf_hash(data: bytes) -> bytes:
    """Hash the data of one leaf (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + data).digest()


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """Hash the data of many leaves."""
    return [sha256(b"\x00" + data).digest() for data in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbouring subtrees into their parent (RFC 6962 section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


@attrs.frozen
class Frontier:
    """The right edge of a log, which is all of it that appending needs.

    *nodes* are the hashes of the perfect subtrees that all leaves but the newest fall into, largest first, and then
    that of the newest leaf: read backwards, the leaf and its path to the root.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        """Return the frontier after *leaves*; a log grows the same in one step or in many."""
        return self.extend(leaf_hashes(leaves))

    def extend(self, hashes: Sequence[bytes]) -> Frontier:
        """Return the frontier after leaves with these *hashes*."""
        return _extended(self, hashes)

    def root(self) -> bytes:
        """Return the root of the tree over all leaves (RFC 6962 section 2.1)."""
        return self.edge(self.size) if self.nodes else sha256(b"").digest()

    def edge(self, width: int) -> bytes:
        """Return the root over the newest *width* leaves, 1 or more, which must make a subtree of the tree."""
        *nodes, root = self.nodes
        covered, rest = 1, self.size - 1
        while covered < width:
            step = rest & -rest
            covered, rest, root = covered + step, rest - step, node_hash(nodes.pop(), root)
        assert covered == width, "these leaves are no subtree"
        return root

    def last_path(self) -> list[bytes]:
        """Return the inclusion path of the newest leaf, from the leaf upwards (RFC 6962 section 2.1.1)."""
        return list(self.nodes[-2::-1])

    def encode(self) -> bytes:
        """Write it as 8 bytes of size, big-endian, and the nodes."""
        return self.size.to_bytes(8, "big") + b"".join(self.nodes)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            LedgerBroken: the bytes are not those of a frontier.
        """
        size, nodes = int.from_bytes(data[:8], "big"), data[8:]
        expected = (size - 1).bit_count() + 1 if size else 0
        if len(data) < 8 or len(nodes) != expected * 32:
            raise LedgerBroken(size, "the stored frontier has the wrong length")
        return cls(size, tuple(nodes[at : at + 32] for at in range(0, len(nodes), 32)))


def _extended(frontier: Frontier, hashes: Sequence[bytes]) -> Frontier:
    if not hashes:
        return frontier
    nodes = list(frontier.nodes)
    level, rest = [*nodes[-1:], *hashes[:-1]], max(frontier.size - 1, 0)
    del nodes[-1:]
    # A binary counter, level by level: what stands alone waits as a subtree, what has a neighbour is hashed upwards.
    waiting: list[bytes] = []
    while level:
        if rest & 1:
            level.insert(0, nodes.pop())
        if len(level) & 1:
            waiting.append(level[-1])
        pairs = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        rest >>= 1
    return Frontier(frontier.size + len(hashes), (*nodes, *reversed(waiting), hashes[-1]))


def first_difference(found: Frontier, noted: Frontier) -> Span:
    """Name the first subtree in which two frontiers of the same size differ; the newest leaf if none before it does."""
    start, rest = 0, found.size - 1
    for ours, theirs in zip(found.nodes[:-1], noted.nodes, strict=False):
        width = 1 << rest.bit_length() - 1
        if ours != theirs:
            return start, start + width
        start, rest = start + width, rest - width
    return start, found.size


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over leaves with these *hashes*."""
    return Frontier().extend(hashes).root()


def inclusion_of(index: int, size: int) -> list[Span]:
    """Name the subtrees whose hashes are the path from leaf *index* to the root of the first *size* leaves.

    Each is the leaves from its first number up to, not including, its second; the lowest comes first.

    Raises:
        InvalidField: there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise InvalidField("index", "must be of a leaf within the tree")
    return _siblings(index, size, until=lambda low, high: high - low == 1)[0]


def consistency_of(first: int, second: int) -> list[Span]:
    """Name the subtrees whose hashes prove that the tree of *second* leaves begins with that of *first*.

    Raises:
        InvalidField: the second tree is the smaller one.
    """
    if not 0 <= first <= second:
        raise InvalidField("first", "must be at most the second size")
    if first == 0:
        return []
    spans, low = _siblings(first - 1, second, until=lambda _, high: high == first)
    return [(low, first), *spans] if low else spans


def inclusion(hashes: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Return the path from leaf *index* to the root of the first *size* leaves (RFC 6962 section 2.1.1)."""
    _within("index", size, hashes)
    return [root_of(hashes[low:high]) for low, high in inclusion_of(index, size)]


def consistency(hashes: Sequence[bytes], first: int, second: int) -> list[bytes]:
    """Return the proof that the tree of *second* leaves begins with that of *first* (RFC 6962 section 2.1.2)."""
    _within("first", second, hashes)
    return [root_of(hashes[low:high]) for low, high in consistency_of(first, second)]


def _within(field: str, size: int, hashes: Sequence[bytes]) -> None:
    if size > len(hashes):
        raise InvalidField(field, "must be within the log")


def _siblings(index: int, size: int, *, until: Callable[[int, int], bool]) -> tuple[list[Span], int]:
    spans: list[Span] = []
    low, high = 0, size
    while not until(low, high):
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        spans.append((middle, high) if index < middle else (low, middle))
        low, high = (low, middle) if index < middle else (middle, high)
    return spans[::-1], low


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Let pass a leaf, given by its hash, whose *path* leads to *root* (RFC 9162 section 2.1.3.2).

    Raises:
        ReceiptInvalid: it does not, so the leaf is not shown to be at *index* of the tree of *size* leaves.
    """
    inner, border = _shape(index, size - 1)
    belongs = 0 <= index < size and len(path) == inner + border
    if not belongs or _climbed(leaf, path, index=index, inner=inner) != root:
        raise ReceiptInvalid("the path does not lead from its leaf to the root of the checkpoint")


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Let pass two roots of one log that only grew between them (RFC 9162 section 2.1.4.2).

    Raises:
        LedgerBroken: the *second* leaves are not shown to begin with the *first* that the earlier root stands for.
    """
    if 0 < first < second:
        kept = _grew(first, second, path, first_root, second_root)
    else:
        kept = 0 <= first <= second and not path and first_root == (second_root if first else root_of([]))
    if not kept:
        raise LedgerBroken(first, "the later checkpoint does not continue the earlier one")


def _grew(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    inner, border = _shape(first - 1, second - 1)
    shift = (first & -first).bit_length() - 1
    inner -= shift
    # A first tree that is one perfect subtree is its own start; any other is proved from its last perfect subtree.
    proof = path if first & (first - 1) else (first_root, *path)
    if len(proof) != 1 + inner + border:
        return False
    start, *rest = proof
    index = (first - 1) >> shift
    old = start
    for level, sibling in enumerate(rest):
        if level >= inner or index >> level & 1:
            old = node_hash(sibling, old)
    return old == first_root and _climbed(start, rest, index=index, inner=inner) == second_root


def _shape(index: int, last: int) -> tuple[int, int]:
    # Up to where the paths of a leaf and of the last one meet there is a sibling on each level; above, only left ones.
    inner = (index ^ last).bit_length()
    return inner, (index >> inner).bit_count()


def _climbed(node: bytes, path: Sequence[bytes], *, index: int, inner: int) -> bytes:
    for level, sibling in enumerate(path):
        is_right = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if is_right else node_hash(node, sibling)
    return node
