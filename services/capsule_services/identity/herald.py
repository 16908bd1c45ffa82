"""The herald: tells every holder which tenants were closed and reopened, at least once and in turn; see ``outbox``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.closing import closed, is_closed
from capsule_core.closure import Closure
from capsule_core.errors import CapsuleError, TenantClosed
from capsule_core.holder import Holder
from capsule_core.ledger import Leaf
from capsule_core.names import ActorRef, TenantId
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.outbox import Outbox

__all__ = ["Herald"]

_CLOSED: Final = "identity.CloseTenant"
_REOPENED: Final = "identity.ReopenTenant"
_ACTOR: Final = ActorRef("service", "identity")


@attrs.frozen
class _News:
    tenant: TenantId
    closed: datetime
    reopened: bool


@attrs.define(eq=False)
class Herald:
    """Tells *holders* what happened in *holding*, in a thread of its own, until *stopped*."""

    _holding: Holding
    _holders: Mapping[str, Holder]
    _cursor: Path
    _stopped: threading.Event
    _log: FilteringBoundLogger
    _outbox: Outbox[_News] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        ledger = self._holding.ledger
        self._outbox = Outbox("herald", ledger, _news, self._tell, self._cursor, self._stopped, self._log)

    def start(self) -> None:
        """Begin, with what is still untold."""
        self._outbox.start()

    def wake(self) -> None:
        """Look now: a tenant was closed or reopened."""
        self._outbox.wake()

    def has_told(self, tenant: TenantId) -> bool:
        """Tell whether every holder knows all there is to know of a tenant."""
        return not self._outbox.owes(tenant)

    def _tell(self, news: _News) -> bool:
        if not news.reopened and self._is_over(news):
            return True  # it was reopened meanwhile, and whoever hears that first is never to hear this
        refused = [error for holder in self._holders.values() if (error := self._told(holder, news))]
        if refused:  # whoever has closed the tenant for good need not hear of it again; others must
            raise next((error for error in refused if not isinstance(error, TenantClosed)), refused[0])
        return True

    def _told(self, holder: Holder, news: _News) -> CapsuleError | None:
        """Tell one holder; what keeps it from hearing holds up no other."""
        hear = holder.reopen if news.reopened else holder.close
        try:
            hear(news.tenant, closed=news.closed, by=_ACTOR, now=self._holding.now())
        except CapsuleError as error:
            return error
        return None

    def _is_over(self, news: _News) -> bool:
        try:
            kept = Closure(self._holding.repository).of(news.tenant)
        except TenantClosed:
            return False
        if kept is None:
            return False
        return closed(kept.content) != news.closed or not is_closed(kept.content)


def _news(leaf: Leaf) -> _News | None:
    if leaf.act not in {_CLOSED, _REOPENED}:
        return None
    return _News(leaf.tenant, datetime.fromisoformat(leaf.detail["closed"]), leaf.act == _REOPENED)
