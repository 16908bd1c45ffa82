"""The transparency ledger: an append-only log over which nobody, its keeper included, can rewrite the past unseen.

Its leaves, over which ``merkle`` builds the tree, hold no personal data: who acted and who was acted on stand there as
keyed hashes, whose keys die with the person, so that erasing somebody leaves every proof whole.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol, Self

import attrs

from capsule_core.checkpoints import Checkpoint, moment, stamp, utc
from capsule_core.errors import InvalidField, LedgerBroken, NewerSchema
from capsule_core.merkle import Frontier, first_difference, leaf_hashes
from capsule_core.names import TenantId, owner_id

__all__ = ["Leaf", "LedgerStore", "MemoryLedger", "audit"]

_BATCH: Final = 4096
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
    tenant: TenantId = attrs.field(converter=owner_id)
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
        raise LedgerBroken(first_difference(frontier, head)[0], "a leaf at or after this one is not what was appended")
    if against and then.root() != against.root:
        raise LedgerBroken(0, f"a leaf among the first {against.size} is not what the checkpoint speaks of")
    return frontier


def _replayed(store: LedgerStore, frontier: Frontier, size: int, recorded: Sequence[bytes]) -> Frontier:
    while frontier.size < size:
        start = frontier.size
        hashes = leaf_hashes(store.read(start, min(_BATCH, size - start)))
        if not hashes:
            raise LedgerBroken(start, "it ends here, before the end that its head speaks of")
        for index, (found, noted) in enumerate(zip(hashes, recorded[start : start + _BATCH], strict=False), start):
            if found != noted:
                raise LedgerBroken(index, "it is not what was appended here")
        frontier = frontier.extend(hashes)
    return frontier
