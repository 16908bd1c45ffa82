"""An outbox: tells somebody else what the ledger says happened here, until they have taken it.

The ledger is what is sent from: its leaves are walked, and a small file remembers how far. What was not taken is told
again; whoever is told takes each thing once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.errors import CapsuleError, TenantClosed, Unavailable
from capsule_core.ledger import Leaf, LedgerStore
from capsule_core.names import TenantId

__all__ = ["NotYet", "Outbox"]

T = TypeVar("T")

_AT_ONCE: Final = 500
_AGAIN: Final = 2.0
"""Seconds until what was not taken is told again."""


class NotYet(Exception):
    """What a leaf speaks of cannot be seen yet: it is looked at again."""


@attrs.define(eq=False)
class Outbox(Generic[T]):
    """Tells what *read* makes of the leaves of *ledger*, in a thread called *name*, until *stopped*.

    *read* gives None for a leaf of which nothing is to be told, and may raise :class:`NotYet`; *tell* returns whether
    it was taken. *cursor* is the file that remembers.
    """

    _name: str
    _ledger: LedgerStore
    _read: Callable[[Leaf], T | None]
    _tell: Callable[[T], bool]
    _cursor: Path
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _awake: threading.Event = attrs.field(factory=threading.Event, init=False)
    _waiting: dict[int, tuple[TenantId, T]] = attrs.field(factory=dict, init=False, repr=False)
    _position: int | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Begin, with what is still untold."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def wake(self) -> None:
        """Look now: something happened."""
        self._awake.set()

    def owes(self, tenant: TenantId) -> bool:
        """Tell whether something of a tenant is still to be told, as far as is known here: yes, if nothing is known."""
        position = self._position
        if position is None or position < self._ledger.head().size:
            return True
        return any(owner == tenant for owner, _ in list(self._waiting.values()))

    def _run(self) -> None:
        try:
            self._tell_all()
        finally:
            self._stopped.set()  # a service that cannot tell any more must not look as if it could

    def _tell_all(self) -> None:
        read = self._remembered()
        self._awake.set()
        while not self._stopped.is_set():
            self._awake.wait(_AGAIN)
            self._awake.clear()
            try:
                read = self._position = self._find(read)
                self._deliver()
                self._remember(min(self._waiting, default=read))
            except CapsuleError as error:
                self._log.info("report_postponed", reason=error.reason)
            except OSError:  # a full disk: what is not remembered is told again
                self._log.info("report_postponed", reason=Unavailable.reason)

    def _find(self, position: int) -> int:
        """Collect what there is to tell from *position* on; return how far the ledger was read."""
        while leaves := self._ledger.read(position, _AT_ONCE):
            for index, data in enumerate(leaves, start=position):
                leaf = Leaf.decode(data)
                try:
                    said = self._read(leaf)
                except NotYet:
                    return index
                except TenantClosed:
                    continue  # nothing of it can be told any more
                if said is not None:
                    self._waiting[index] = leaf.tenant, said
            position += len(leaves)
        return position

    def _deliver(self) -> None:
        """Tell what waits; what is refused or not taken yet waits on, and holds up nothing else."""
        for index, (_, said) in list(self._waiting.items()):
            try:
                if self._tell(said):
                    del self._waiting[index]
            except Unavailable:
                raise  # nobody is there to tell the others to
            except TenantClosed:
                del self._waiting[index]  # whoever was to hear it has closed the tenant for good
            except CapsuleError as error:
                self._log.info("report_postponed", reason=error.reason)

    def _remembered(self) -> int:
        try:
            return int(self._cursor.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0  # whatever was told before is taken once all the same

    def _remember(self, position: int) -> None:
        fresh = self._cursor.with_suffix(".new")
        fresh.write_text(f"{position}\n", encoding="ascii")
        fresh.replace(self._cursor)
