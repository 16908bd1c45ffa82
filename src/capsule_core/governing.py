"""Retention at the front door of the library: set a policy, ask what it will do and why something stays, run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs

from capsule_core import arguments
from capsule_core.erasure import Eraser
from capsule_core.errors import ResourceMissing
from capsule_core.forecasts import Change, Explanation, Forecast, explain, forecast, simulate
from capsule_core.kept import Kept
from capsule_core.moments import Event, Moment
from capsule_core.names import ActorRef, SubjectRef, TenantId, made_id, tenant_id
from capsule_core.policies import amended
from capsule_core.records import Act, Mark, Refused
from capsule_core.repository import Repository
from capsule_core.retaining import Retained, Retaining
from capsule_core.retention import Policy
from capsule_core.rulebook import Rulebook, StandingPolicy
from capsule_core.uses import Use

__all__ = ["Governing"]


@attrs.define(eq=False)
class Governing:
    """Keeps the policies of tenants, explains them, and carries them out."""

    _repository: Repository
    _eraser: Eraser
    _random: Callable[[int], bytes]

    def set(self, tenant: str, policy: str, *, by: ActorRef, now: datetime) -> Kept[StandingPolicy]:
        """Set the policy of a tenant: JSON, as ``policies`` describes it; errors as :meth:`Rulebook.set`."""
        act = Act(
            tenant=tenant_id(tenant),
            actor=arguments.actor(by),
            verb="retention.set",
            use=Use.ADMINISTER.value,
            at=arguments.moment("now", now),
        )
        arguments.instance("policy", policy, str)
        return self._rulebook.set(policy, act=act)

    def policy(self, tenant: str) -> Policy:
        """Return the policy of a tenant, with what its grace period still brings along."""
        return self._rulebook.of(tenant_id(tenant))

    def explain(self, kept: Kept[Any], *, now: datetime) -> Explanation:
        """Say why a record is still here, until when, and by which rules.

        Raises:
            ResourceMissing: it is not.
        """
        arguments.moment("now", now)
        arguments.instance("kept", kept, Kept)
        record = self._repository.store.read(kept.tenant, [kept.id], admits=~Mark.NONE)[0]
        if record is None or isinstance(record, Refused):
            raise ResourceMissing(kept.kind)
        return explain(self._repository, record, self._rulebook.of(kept.tenant), now=now)

    def forecast(self, tenant: str, *, now: datetime, weeks: int = 12) -> Sequence[Forecast]:
        """Say what goes in the next weeks, how, and by which rules; nothing is touched."""
        owner = tenant_id(tenant)
        arguments.moment("now", now)
        arguments.instance("weeks", weeks, int)
        return forecast(self._repository, owner, self._rulebook.of(owner), now=now, weeks=weeks)

    def simulate(self, tenant: str, policy: str, *, now: datetime, weeks: int = 52) -> Sequence[Change]:
        """Say what would go sooner or later if the policy were set now; errors as :meth:`set`, and nothing is."""
        owner = tenant_id(tenant)
        arguments.moment("now", now)
        arguments.instance("policy", policy, str)
        arguments.instance("weeks", weeks, int)
        standing = self._rulebook.of(owner)
        changed = amended(standing, self._rulebook.parse(policy), now=now)
        return simulate(self._repository, owner, standing, changed, now=now, weeks=weeks)

    def happened(self, who: SubjectRef, event: Event, *, at: datetime | None) -> None:
        """Say that something happened to a person, which rules may begin with; None takes it back."""
        subject = self._repository.subject_key(arguments.subject(who))
        arguments.instance("event", event, Event)
        if at is not None:
            arguments.moment("at", at)
        self._repository.store.happen(who.tenant, [Moment(subject, event, at)])

    def run(self, *, now: datetime) -> dict[TenantId, Retained]:
        """Do what the policies of all tenants have due."""
        arguments.moment("now", now)
        retaining = Retaining(self._repository, self._eraser, lambda letter: self._new_id(letter, now))
        policies = {tenant: self._rulebook.of(tenant) for tenant in self._repository.store.tenants()}
        return {
            tenant: retaining.run(tenant, policy, now=now)
            for tenant, policy in policies.items()
            if policy.rules or policy.before
        }

    @property
    def _rulebook(self) -> Rulebook:
        return Rulebook(self._repository)

    def _new_id(self, letter: str, now: datetime) -> str:
        return made_id(letter, now=now, randomness=self._random(10))
