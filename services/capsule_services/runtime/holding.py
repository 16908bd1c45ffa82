"""What a service stands on: repository, eraser, clock, log of reads. Handlers are given it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from capsule_core.answers import Request
from capsule_core.erasure import Eraser
from capsule_core.holder import RecordHolder
from capsule_core.kept import Kept
from capsule_core.ledger import LedgerStore
from capsule_core.names import SubjectKey, made_id
from capsule_core.records import Act, Expected, Mark, Sealed
from capsule_core.repository import Repository
from capsule_core.vault import Vault
from capsule_core.witness import read_leaf
from capsule_services.runtime.calls import Call
from capsule_services.runtime.clock import Clock
from capsule_services.runtime.clockwatch import ClockWatch
from capsule_services.runtime.openings import Openings
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.requests import request_digest

__all__ = ["Holding", "verb"]

_ANSWERS_KEPT: Final = timedelta(hours=48)


@attrs.frozen(kw_only=True)
class Holding:
    """Everything a handler may use."""

    service: str
    repository: Repository
    eraser: Eraser
    holder: RecordHolder
    ledger: LedgerStore
    reads: ReadLog
    clock: Clock
    random: Callable[[int], bytes]
    watch: ClockWatch | None = None
    openings: Openings = attrs.field(
        default=attrs.Factory(lambda self: Openings(self.repository.store), takes_self=True), repr=False
    )

    @property
    def vault(self) -> Vault:
        return self.repository.vault

    def now(self) -> datetime:
        return self.clock.now()

    def over(self) -> datetime:
        """Return the moment up to which what is to be destroyed is over by every clock that was seen."""
        return self.now() if self.watch is None else self.watch.look().now

    def new_id(self, letter: str) -> str:
        return made_id(letter, now=self.now(), randomness=self.random(10))

    def act(self, call: Call, *, expects: tuple[Expected, ...] = (), detail: Mapping[str, str] | None = None) -> Act:
        """Make the act of a call: who, by which method, for which use, now."""
        return Act(
            tenant=call.within(),
            actor=call.actor,
            verb=verb(call),
            use=call.use.value,
            at=self.now(),
            expects=expects,
            detail=detail or {},
        )

    def recognised(self, call: Call, message: Any) -> Request | None:
        """Recognise a request by the id it carries; None if it carries none."""
        if not message.request_id:
            return None
        return Request(
            caller=f"{call.actor.kind}/{call.actor.id}",
            method=call.method,
            id=message.request_id,
            digest=request_digest(message),
            until=self.now() + _ANSWERS_KEPT,
        )

    def shown(self, call: Call, records: Sequence[Kept[Any] | Sealed]) -> None:
        """Log that *records* were read: whoever answers with them must have come back from here.

        Raises:
            Unavailable: the log is not durable; nothing may be answered.
        """
        slots = {kept.subject: kept.slot for kept in records}
        self.reads.record(read_leaf(self.vault, self.act(call), slots, records=len(records)))

    def opened(self, call: Call, subject: SubjectKey) -> None:
        """Have it noted that somebody was opened; whoever answers does not wait for it."""
        self.openings.note(call.within(), subject, self.now())

    def searched(self, call: Call, subjects: Sequence[SubjectKey]) -> None:
        """Log that everything on *subjects* is about to be read; errors as :meth:`shown`."""
        known = self.repository.store.subjects(call.within(), subjects)
        slots = {s.key: s.slot for s in known if s is not None and not s.marks & Mark.ERASED}
        self.reads.record(read_leaf(self.vault, self.act(call), slots, records=len(slots)))


def verb(call: Call) -> str:
    """Name the act by what the method is called on the wire: ``contacts.UpdateContact``."""
    package, _, method = call.method.removeprefix("/capsule_api.").partition("/")
    return f"{package.partition('.')[0]}.{method}"
