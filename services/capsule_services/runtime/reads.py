"""The log of reads: its own ledger, written for many callers at once, so that a read costs a share of one commit."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Final, Self

import attrs

from capsule_core.errors import Unavailable
from capsule_core.ledger import LedgerStore

__all__ = ["ReadLog"]

_PATIENCE: Final = 30.0


@attrs.define
class ReadLog:
    """Appends leaves to *ledger*; whoever asks waits until theirs is durable. No leaf, no answer."""

    ledger: LedgerStore
    _waiting: list[tuple[bytes, Future[None]]] = attrs.field(factory=list, init=False, repr=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _writer: threading.Thread = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._writer = threading.Thread(target=self._write, name="reads", daemon=True)
        self._writer.start()

    def record(self, leaf: bytes) -> None:
        """Return when *leaf* is durable.

        Raises:
            Unavailable: it is not; nothing that was read may be answered.
        """
        done: Future[None] = Future()
        with self._changed:
            if self._closed:
                raise Unavailable
            self._waiting.append((leaf, done))
            self._changed.notify()
        try:
            done.result(timeout=_PATIENCE)
        except TimeoutError:
            raise Unavailable from None

    def close(self) -> None:
        """Write what is waiting, and take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        while batch := self._taken():
            try:
                self.ledger.append([leaf for leaf, _ in batch])
            except Exception:  # noqa: BLE001  every waiting caller must hear of it, whatever it was
                for _, done in batch:
                    done.set_exception(Unavailable())
            else:
                for _, done in batch:
                    done.set_result(None)

    def _taken(self) -> list[tuple[bytes, Future[None]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch, self._waiting = self._waiting, []
            return batch
