"""When what happened to people, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from capsule_core.moments import Event, Events, Moment
from capsule_core.names import SubjectKey, TenantId

__all__ = ["HappenedInMemory"]


@attrs.define(eq=False)
class HappenedInMemory:
    """The latest moment of each event, by tenant and subject."""

    _kept: dict[tuple[TenantId, SubjectKey], dict[Event, datetime]] = attrs.field(factory=dict, init=False)

    def to(self, tenant: TenantId, subject: SubjectKey) -> Events:
        """Tell when what happened to a subject."""
        return self._kept.get((tenant, subject), {})

    def keep(
        self, tenant: TenantId, moments: Iterable[Moment], known: Mapping[tuple[TenantId, SubjectKey], object]
    ) -> None:
        """Keep moments of those who are *known*."""
        for moment in moments:
            if (tenant, moment.subject) not in known:
                continue
            events = self._kept.setdefault((tenant, moment.subject), {})
            if moment.at is None:
                events.pop(moment.event, None)
            else:
                events[moment.event] = max(moment.at, events.get(moment.event, moment.at))

    def meet(self, tenant: TenantId, subject: SubjectKey, at: datetime) -> None:
        """Begin with somebody who became known at that time, if they were not before."""
        self._kept.setdefault((tenant, subject), {Event.OPENED: at, Event.CONTACTED: at})

    def forget(self, tenant: TenantId, subjects: Iterable[SubjectKey]) -> None:
        """Keep nothing of subjects any more."""
        for subject in subjects:
            self._kept[tenant, subject] = {}
