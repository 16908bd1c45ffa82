"""Proofs about a log that is too long to read: from the frontiers that were kept, and the leaves of two blocks at most.

The root of any subtree that ends after *n* leaves stands in the frontier as it was after *n* leaves; of a block of 256
there is one for good (``LedgerStore.at``). Smaller subtrees are hashed from the leaves of their block.
"""

from __future__ import annotations

from collections.abc import Sequence

from capsule_core.errors import InvalidField, LedgerBroken
from capsule_core.ledger import LedgerStore
from capsule_core.merkle import BLOCK, Span, consistency_of, inclusion_of, leaf_hashes, root_of

__all__ = ["prove_consistency", "prove_inclusion"]


def prove_inclusion(store: LedgerStore, index: int, size: int) -> list[bytes]:
    """Return the path from leaf *index* to the root of the first *size* leaves (RFC 6962 section 2.1.1).

    Raises:
        InvalidField: there is no such leaf, or the log is shorter.
    """
    spans = inclusion_of(index, size)
    _within(store, "size", size)
    return _hashes(store, spans, size)


def prove_consistency(store: LedgerStore, first: int, second: int) -> list[bytes]:
    """Return the proof that the tree of *second* leaves begins with that of *first* (RFC 6962 section 2.1.2).

    Raises:
        InvalidField: the second tree is the smaller one, or the log is shorter.
    """
    spans = consistency_of(first, second)
    _within(store, "second", second)
    return _hashes(store, spans, second)


def _within(store: LedgerStore, field: str, size: int) -> None:
    if size > store.head().size:
        raise InvalidField(field, "must be at most the number of leaves")


def _hashes(store: LedgerStore, spans: Sequence[Span], size: int) -> list[bytes]:
    blocks: dict[int, list[bytes]] = {}
    found: list[bytes] = []
    for low, high in spans:
        block = low // BLOCK
        if high > (block + 1) * BLOCK or high - low == BLOCK:
            found.append(store.at(high).edge(high - low))
            continue
        start = block * BLOCK
        if block not in blocks:
            blocks[block] = _leaves(store, start, min(BLOCK, size - start))
        found.append(root_of(blocks[block][low - start : high - start]))
    return found


def _leaves(store: LedgerStore, start: int, count: int) -> list[bytes]:
    hashes = leaf_hashes(store.read(start, count))
    if len(hashes) != count:
        raise LedgerBroken(start + len(hashes), "it is missing")
    return hashes
