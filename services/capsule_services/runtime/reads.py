"""The log of reads: its own ledger, written for many callers at once, so that a read costs a share of one commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Self

import attrs

from capsule_core.errors import Unavailable
from capsule_core.ledger import LedgerStore
from capsule_services.runtime.calls import patience

__all__ = ["ReadLog"]

_PATIENCE: Final = 30.0


@attrs.define(eq=False)
class _Pending:
    """A leaf, and whether it was kept; None while nobody has tried."""

    leaf: bytes
    kept: bool | None = None


def _nothing() -> None:
    return


@attrs.define
class ReadLog:
    """Appends leaves to *ledger*; whoever asks waits until theirs is durable. No leaf, no answer.

    There is no writer: of those who wait, the first writes for all. *failed* is called when it could not write.
    """

    ledger: LedgerStore
    failed: Callable[[], object] = _nothing
    _waiting: list[_Pending] = attrs.field(factory=list, init=False, repr=False)
    _joining: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def waiting(self) -> int:
        """How many leaves are not durable yet."""
        return len(self._waiting)

    def record(self, leaf: bytes) -> None:
        """Return when *leaf* is durable; wait no longer than the caller does.

        Raises:
            Unavailable: it is not, as far as is known; nothing that was read may be answered.
        """
        ours = _Pending(leaf)
        with self._joining:
            if self._closed:
                raise Unavailable
            self._waiting.append(ours)
        if not self._writing.acquire(timeout=max(patience(_PATIENCE), 0)):
            raise Unavailable
        try:
            if ours.kept is None:
                self._write()
        finally:
            self._writing.release()
        if not ours.kept:
            raise Unavailable

    def close(self) -> None:
        """Take nothing more, and return when what was taken is written."""
        with self._joining:
            self._closed = True
        with self._writing:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        with self._joining:
            batch, self._waiting = self._waiting, []
        try:
            if batch:
                self.ledger.append([each.leaf for each in batch])
        except Exception:  # noqa: BLE001  every waiting caller must hear of it, whatever it was
            kept = False
            self.failed()
        else:
            kept = True
        for each in batch:
            each.kept = kept
