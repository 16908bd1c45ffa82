"""Closing an account and reopening it: acts on the one record that says so, each with its leaf."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from capsule_core.answers import Request
from capsule_core.closing import ENDED, ID, KIND, Closing, Remaining, closed, figures, is_closed, reopen_until
from capsule_core.errors import ResourceMissing, TenantClosed, VersionMismatch
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.records import Act, Mark
from capsule_core.repository import Draft, Repository
from capsule_core.uses import Use

__all__ = ["Closure"]

_ATTEMPTS: Final = 5


def _nothing() -> Sequence[Draft]:
    return ()


@attrs.frozen
class Closure:
    """Keeps what was closed in one store; the kind of :class:`Closing` is among its repository's.

    What an act changes *beside* is asked for anew in each attempt, and is kept in the same transaction.
    """

    _repository: Repository

    def of(self, tenant: TenantId, *, use: Use = Use.ERASE) -> Kept[Closing] | None:
        """Return what is kept of a closing, of one that was taken back too; None if the tenant never was closed.

        Raises:
            TenantClosed: it is closed for good, and its keys are destroyed.
        """
        if self.has_ended(tenant):
            raise TenantClosed
        kept = self._read(tenant, use)
        if kept is None and self._repository.vault.is_closed(tenant):
            raise TenantClosed
        return kept

    def since(self, tenant: TenantId) -> datetime | None:
        """Return since when a tenant is closed; None if it is not, or if nothing of it is left."""
        kept = self._read(tenant, Use.ERASE)
        return closed(kept.content) if kept is not None and is_closed(kept.content) else None

    def close(
        self,
        *,
        act: Act,
        at: datetime | None = None,
        request: Request | None = None,
        beside: Callable[[], Sequence[Draft]] = _nothing,
    ) -> Kept[Closing]:
        """Close the act's tenant, *at* a moment that was decided elsewhere or else now.

        Again, it changes nothing: no clock runs anew. Nor does it close what was closed at that moment and reopened.
        """
        if request and (answered := self._repository.answered(act.tenant, request)):
            return answered[0]

        def done() -> Kept[Closing]:
            before = self.of(act.tenant)
            if before is not None and _stays(before.content, at):
                return self._repository.unchanged(before, request=request)
            content = Closing(
                closed_at=(at or _now(act, before)).isoformat(),
                closed_by=f"{act.actor.kind}/{act.actor.id}",
                grounds=() if before is None else before.content.grounds,
            )
            return self._kept(
                before, content, _telling(act, closed=content.closed_at), request=request, beside=beside()
            )

        return _settled(done)

    def reopen(
        self,
        *,
        act: Act,
        decided: bool = False,
        request: Request | None = None,
        beside: Callable[[], Sequence[Draft]] = _nothing,
    ) -> Kept[Closing]:
        """Take the closing of the act's tenant back; again, it changes nothing. All is as if it had not been closed.

        Raises:
            ResourceMissing: it never was closed.
            TenantClosed: it is too late: the time is over, unless it was *decided* elsewhere in time, or data is being
                destroyed already.
        """
        if request and (answered := self._repository.answered(act.tenant, request)):
            return answered[0]

        def done() -> Kept[Closing]:
            before = self._there(act.tenant)
            if not is_closed(before.content):
                return self._repository.unchanged(before, request=request)
            if before.content.begun_at or (not decided and act.at >= reopen_until(before.content)):
                raise TenantClosed
            by = f"{act.actor.kind}/{act.actor.id}"
            content = attrs.evolve(before.content, reopened_at=act.at.isoformat(), reopened_by=by)
            return self._kept(
                before, content, _telling(act, closed=content.closed_at), request=request, beside=beside()
            )

        return _settled(done)

    def record(self, remaining: Remaining, *, act: Act, request: Request | None = None) -> Kept[Closing]:
        """Put a ground on record, or give it another end: for a closed account, or one that was reopened.

        Raises:
            ResourceMissing: the act's tenant never was closed.
        """
        if request and (answered := self._repository.answered(act.tenant, request)):
            return answered[0]
        act = _telling(act, ground=remaining.ground.value, until=remaining.until)

        def done() -> Kept[Closing]:
            before = self._there(act.tenant)
            same = (remaining.ground, remaining.user)
            others = (each for each in before.content.grounds if (each.ground, each.user) != same)
            content = attrs.evolve(before.content, grounds=(*others, remaining))
            return self._kept(before, content, act, request=request)

        return _settled(done)

    def begin(self, kept: Kept[Closing], people: Mapping[str, int], *, act: Act) -> Kept[Closing]:
        """Say that data is being destroyed from now on; the leaf says how many *people* there were, if many.

        Raises:
            VersionMismatch: it was reopened, or begun, by now.
        """
        content = attrs.evolve(kept.content, begun_at=act.at.isoformat(), figures=figures(people))
        told = {each.kind: str(each.count) for each in content.figures}
        return self._kept(kept, content, _telling(act, closed=content.closed_at, **told))

    def end(self, kept: Kept[Closing], *, act: Act) -> None:
        """Say that nothing of anybody is left; said again, it changes nothing."""
        if not self.has_ended(kept.tenant):
            told = _telling(act, closed=kept.content.closed_at)
            self._repository.add([Draft(attrs.evolve(kept.content, id=ENDED))], act=told)

    def has_ended(self, tenant: TenantId) -> bool:
        """Tell whether that was said; it takes no key, for there may be none any more."""
        return self._repository.store.read(tenant, [ENDED], admits=~Mark.NONE)[0] is not None

    def _read(self, tenant: TenantId, use: Use) -> Kept[Closing] | None:
        return self._repository.read(tenant, [ID], use=use)[0] if KIND in self._repository.kinds else None

    def _there(self, tenant: TenantId) -> Kept[Closing]:
        kept = self.of(tenant)
        if kept is None:
            raise ResourceMissing("closing")
        return kept

    def _kept(
        self,
        before: Kept[Closing] | None,
        content: Closing,
        act: Act,
        *,
        request: Request | None = None,
        beside: Sequence[Draft] = (),
    ) -> Kept[Closing]:
        draft = Draft(content) if before is None else Draft(content, root=before.root, at=before.at, over=before)
        return self._repository.add([draft, *beside], act=act, request=request)[0]


def _now(act: Act, before: Kept[Closing] | None) -> datetime:
    """Say when a tenant is closed now: after any closing before, whatever clocks say, for the moment names it."""
    return act.at if before is None else max(act.at, closed(before.content) + timedelta.resolution)


def _telling(act: Act, **told: str) -> Act:
    return attrs.evolve(act, detail={**act.detail, **told})


def _stays(closing: Closing, at: datetime | None) -> bool:
    if at is not None and closed(closing) >= at:
        return True
    return is_closed(closing) and (at is None or bool(closing.begun_at))


def _settled(change: Callable[[], Kept[Any]]) -> Kept[Any]:
    """Do a change that counts on how things are; once more from the beginning if they moved meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except VersionMismatch:
            continue
    return change()
