"""The transparency ledger: an append-only log over which nobody, its keeper included, can rewrite the past unseen.

The tree is that of RFC 6962 section 2 with SHA-256. Its leaves hold no personal data: who acted and who was acted on
stand there as keyed hashes, whose keys die with the person, so that erasing somebody leaves every proof whole.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, Protocol, Self

import attrs

from capsule_core.checkpoints import Checkpoint, moment, stamp, utc
from capsule_core.errors import InvalidField, LedgerBroken, NewerSchema, ReceiptInvalid
from capsule_core.names import TenantId, tenant_id

__all__ = [
    "Frontier",
    "Leaf",
    "LedgerStore",
    "MemoryLedger",
    "audit",
    "consistency",
    "inclusion",
    "leaf_hash",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

_BATCH: Final = 4096


def leaf_hash(data: bytes) -> bytes:
    """Hash the data of one leaf (RFC 6962 section 2.1)."""
    return sha256(b"\x00" + data).digest()


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
        return _extended(self, [leaf_hash(data) for data in leaves])

    def root(self) -> bytes:
        """Return the root of the tree over all leaves (RFC 6962 section 2.1)."""
        if not self.nodes:
            return sha256(b"").digest()
        *path, root = self.nodes
        for sibling in reversed(path):
            root = node_hash(sibling, root)
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


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over leaves with these *hashes*."""
    return _extended(Frontier(), hashes).root()


def inclusion(hashes: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Return the path from leaf *index* to the root of the first *size* leaves (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size <= len(hashes):
        raise InvalidField("index", "must be of a leaf within the tree, and the tree within the log")
    return _siblings(hashes, index, size, until=lambda low, high: high - low == 1)[0]


def consistency(hashes: Sequence[bytes], first: int, second: int) -> list[bytes]:
    """Return the proof that the tree of *second* leaves begins with that of *first* (RFC 6962 section 2.1.2)."""
    if not 0 <= first <= second <= len(hashes):
        raise InvalidField("first", "must be at most the second size, and that within the log")
    if first == 0:
        return []
    path, low = _siblings(hashes, first - 1, second, until=lambda _, high: high == first)
    return [root_of(hashes[low:first]), *path] if low else path


def _siblings(
    hashes: Sequence[bytes], index: int, size: int, *, until: Callable[[int, int], bool]
) -> tuple[list[bytes], int]:
    path: list[bytes] = []
    low, high = 0, size
    while not until(low, high):
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        aside = hashes[middle:high] if index < middle else hashes[low:middle]
        low, high = (low, middle) if index < middle else (middle, high)
        path.append(root_of(aside))
    return path[::-1], low


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


_HEX = re.compile(r"[0-9a-f]{16,128}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}")
# No space and no at sign: room for ids, digests and counts, none for what people write.
_VALUE = re.compile(r"[A-Za-z0-9_.,:;/+=-]{0,256}")


def _matches(pattern: re.Pattern[str], field: str, text: str) -> None:
    if not pattern.fullmatch(text):
        raise InvalidField(field, f"must match {pattern.pattern}")


@attrs.frozen(kw_only=True)
class Leaf:
    """One act, as the ledger keeps it: what was done when, in which tenant and for what use.

    *actor* and *subjects* are keyed hashes in lower-case hex, *records* counts what was touched, *detail* holds ids and
    digests: nothing in a leaf is personal data, for a leaf is never erased.
    """

    at: datetime = attrs.field(converter=utc)
    tenant: TenantId = attrs.field(converter=tenant_id)
    act: str
    use: str
    actor: str
    subjects: tuple[str, ...] = ()
    records: int = 0
    detail: Mapping[str, str] = attrs.Factory(dict[str, str])

    def __attrs_post_init__(self) -> None:
        _matches(_WORD, "act", self.act)
        _matches(_WORD, "use", self.use)
        _matches(_HEX, "actor", self.actor)
        if not all(map(_HEX.fullmatch, self.subjects)):
            raise InvalidField("subjects", f"must match {_HEX.pattern}")
        if type(self.records) is not int or self.records < 0:
            raise InvalidField("records", "must be a count")
        for key, value in self.detail.items():
            _matches(_WORD, "detail", key)
            _matches(_VALUE, "detail", value)

    def encode(self) -> bytes:
        """Write it in canonical JSON, the data of its leaf in the tree; nothing that it may hold has to be escaped."""
        subjects = ",".join([f'"{subject}"' for subject in self.subjects])
        detail = ",".join([f'"{name}":"{text}"' for name, text in sorted(self.detail.items())])
        done = f'"act":"{self.act}","actor":"{self.actor}","at":"{stamp(self.at)}","detail":{{{detail}}}'
        whom = f'"records":{self.records},"subjects":[{subjects}],"tenant":"{self.tenant}","use":"{self.use}"'
        return f'{{{done},{whom},"v":1}}'.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            InvalidField: it is not a leaf, or not spelled in the one way.
            NewerSchema: a newer version of this software wrote it.
        """
        try:
            told = json.loads(data.decode())
            version = told.pop("v")
            if type(version) is int and version > 1:
                raise NewerSchema("a leaf of the ledger")
            told["at"], told["subjects"] = moment(told["at"]), tuple(told["subjects"])
            leaf = cls(**told)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            raise InvalidField("leaf", "is not a leaf of the ledger") from None
        if leaf.encode() != data:
            raise InvalidField("leaf", "is not in canonical form")
        return leaf


class LedgerStore(Protocol):
    """Keeps the leaves of one log, in order, for ever.

    C1  What ``append`` was given is durable when it returns, all of it or none, side by side and in order.
    C2  ``append`` returns the frontier that ends with its own last leaf; of no leaves, the frontier as it is.
    C3  ``read`` returns the data of the leaves from *start* on, in order, at most *limit*; fewer only at the end.
    C4  ``head`` is the frontier after every leaf that was appended: what was appended before it was called is in it.
        ``at`` is the frontier that ``append`` returned when the log had that size, or would have.
    C5  A leaf once read reads the same ever after; none is changed, moved or removed.
    C6  Appends from several threads each happen, one after the other.
    C7  ``latest`` is the checkpoint last kept, durably; before the first, None.
    """

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        """Add the data of *leaves* to the end; return the frontier after them."""
        ...

    def read(self, start: int, limit: int) -> Sequence[bytes]:
        """Return the data of up to *limit* leaves from *start* on."""
        ...

    def head(self) -> Frontier:
        """Return the frontier after all leaves."""
        ...

    def at(self, size: int) -> Frontier:
        """Return the frontier as it was after the first *size* leaves, of which there are so many."""
        ...

    def keep(self, checkpoint: str) -> None:
        """Remember a signed checkpoint."""
        ...

    def latest(self) -> str | None:
        """Return the signed checkpoint that was kept last."""
        ...


class MemoryLedger:
    """A :class:`LedgerStore` in memory: durable as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaves: list[bytes] = []
        self._head = Frontier()
        self._checkpoint: str | None = None

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        """Add the data of *leaves* to the end; return the frontier after them."""
        with self._lock:
            self._head = self._head.append(leaves)
            self._leaves.extend(leaves)
            return self._head

    def read(self, start: int, limit: int) -> Sequence[bytes]:
        """Return the data of up to *limit* leaves from *start* on."""
        with self._lock:
            return self._leaves[start : start + limit]

    def head(self) -> Frontier:
        """Return the frontier after all leaves."""
        with self._lock:
            return self._head

    def at(self, size: int) -> Frontier:
        """Return the frontier as it was after the first *size* leaves, of which there are so many."""
        with self._lock:
            return Frontier().append(self._leaves[:size])

    def keep(self, checkpoint: str) -> None:
        """Remember a signed checkpoint."""
        with self._lock:
            self._checkpoint = checkpoint

    def latest(self) -> str | None:
        """Return the signed checkpoint that was kept last."""
        with self._lock:
            return self._checkpoint


def audit(store: LedgerStore, against: Checkpoint | None = None, *, recorded: Sequence[bytes] = ()) -> Frontier:
    """Read the whole log again and return its frontier, if it is the one that *store* and a checkpoint speak of.

    The checkpoint *against* should come from outside: whoever can rewrite the leaves can rewrite the store's head too.
    *recorded* are leaf hashes noted when the leaves were written, as many as there are: among them the first wrong leaf
    is named, beyond them the first of the subtree that it lies in.

    Raises:
        LedgerBroken: a leaf was edited, moved, added or removed.
    """
    head = store.head()
    if against and against.size > head.size:
        raise LedgerBroken(head.size, "it ends here, before the end that the checkpoint speaks of")
    frontier = then = _replayed(store, Frontier(), against.size if against else 0, recorded)
    frontier = _replayed(store, frontier, head.size, recorded)
    if frontier != head:
        raise LedgerBroken(_first_difference(frontier, head), "a leaf at or after this one is not what was appended")
    if against and then.root() != against.root:
        raise LedgerBroken(0, f"a leaf among the first {against.size} is not what the checkpoint speaks of")
    return frontier


def _replayed(store: LedgerStore, frontier: Frontier, size: int, recorded: Sequence[bytes]) -> Frontier:
    while frontier.size < size:
        start = frontier.size
        hashes = [leaf_hash(data) for data in store.read(start, min(_BATCH, size - start))]
        if not hashes:
            raise LedgerBroken(start, "it ends here, before the end that its head speaks of")
        for index, (found, noted) in enumerate(zip(hashes, recorded[start : start + _BATCH], strict=False), start):
            if found != noted:
                raise LedgerBroken(index, "it is not what was appended here")
        frontier = _extended(frontier, hashes)
    return frontier


def _first_difference(found: Frontier, head: Frontier) -> int:
    start, rest = 0, found.size - 1
    for ours, theirs in zip(found.nodes[:-1], head.nodes, strict=False):
        if ours != theirs:
            break
        width = 1 << rest.bit_length() - 1
        start, rest = start + width, rest - width
    return start
