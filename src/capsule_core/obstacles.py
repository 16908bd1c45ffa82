"""What stands in the way of a closing in one store: holds, obligations, restrictions; counted, nothing personal."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs

from capsule_core.names import TenantId
from capsule_core.protection import EVERYBODY
from capsule_core.records import Mark, Shelf, Where
from capsule_core.stores import Store

__all__ = ["Obstacle", "obstacles"]

_GUARDS: Final = (Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED)
_EVERYTHING: Final = ~Mark.NONE


@attrs.frozen(kw_only=True)
class Obstacle:
    """What carries *mark*: so many *records*, by themselves or with their person; or all that the tenant has, *since*.

    None of the three has an end of its own: a hold is released, an obligation discharged, a restriction lifted.
    """

    mark: Mark
    records: int = 0
    since: datetime | None = None


def obstacles(store: Store, tenant: TenantId) -> tuple[Obstacle, ...]:
    """Tell what keeps something of a tenant from being destroyed now; first what keeps all of it."""
    everywhere = Where(tenant=tenant, shelf=Shelf.ANY)
    total = store.count(everywhere, admits=_EVERYTHING)
    began: dict[Mark, datetime] = {}
    for reason in store.reasons(tenant, [EVERYBODY]):
        if reason.record is None and reason.mark in _GUARDS:
            began[reason.mark] = min(reason.since, began.get(reason.mark, reason.since))
    whole = [Obstacle(mark=mark, since=began[mark]) for mark in _GUARDS if mark in began]
    counted = ((mark, total - store.count(everywhere, admits=~mark)) for mark in _GUARDS if mark not in began)
    return (*whole, *(Obstacle(mark=mark, records=records) for mark, records in counted if records))
