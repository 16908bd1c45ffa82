"""Where a tenant's retention policy is kept: one record of everybody's, with what it was until its grace is over."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Annotated, Final

import attrs

from capsule_core.answers import Request
from capsule_core.errors import VersionMismatch
from capsule_core.kept import Kept
from capsule_core.names import RecordId, TenantId
from capsule_core.personal import Plain, kind, kind_of
from capsule_core.policies import GRACE_PERIOD, amended, document, governed, parse_policy
from capsule_core.protection import EVERYBODY
from capsule_core.records import Act
from capsule_core.repository import Draft, Repository
from capsule_core.retention import NO_RULES, Policy
from capsule_core.uses import Use

__all__ = ["KIND", "Rulebook", "StandingPolicy"]

_ID: Final = RecordId("retention-policy")


@kind("retention_policy", subject="about", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class StandingPolicy:
    """What a tenant has decided on how long it keeps what; *earlier* are the policies whose grace may not be over."""

    id: str = _ID
    about: str = EVERYBODY
    document: Annotated[str, Plain("the rules, as policies.document writes them")]
    earlier: Annotated[str, Plain("the policies before it, and until when they count: JSON")] = "[]"
    set_by: Annotated[str, Plain("who set it")] = ""


KIND: Final = kind_of(StandingPolicy).name


@attrs.frozen
class Rulebook:
    """Keeps the policies of one store; :class:`StandingPolicy` is among its repository's kinds."""

    _repository: Repository
    _grace: timedelta = GRACE_PERIOD

    def of(self, tenant: TenantId, *, use: Use = Use.ERASE) -> Policy:
        """Return the policy of a tenant; nothing but the trash lets anything go if it never set one."""
        kept = self.kept(tenant, use=use) if KIND in self._repository.kinds else None
        return NO_RULES if kept is None else self.read(kept.content)

    def kept(self, tenant: TenantId, *, use: Use) -> Kept[StandingPolicy] | None:
        """Return the policy of a tenant as it is kept; None if it never set one."""
        return self._repository.read(tenant, [_ID], use=use)[0]

    def read(self, standing: StandingPolicy) -> Policy:
        """Make a policy of what is kept."""
        before, grace = None, None
        for text, until in json.loads(standing.earlier):
            before, grace = attrs.evolve(self.parse(text), before=before, grace=grace), datetime.fromisoformat(until)
        return attrs.evolve(self.parse(standing.document), before=before, grace=grace)

    def parse(self, text: str) -> Policy:
        """Read a policy that is about kinds of this store; errors as :func:`policies.parse_policy`."""
        return parse_policy(text, governed(self._repository.kinds))

    def set(
        self, text: str, *, act: Act, version: int | None = None, request: Request | None = None
    ) -> Kept[StandingPolicy]:
        """Put a policy in the place of the one before, which counts until its grace is over where it keeps longer.

        *version* is the one that the caller has seen; 0 if there was none, None if that does not matter.

        Raises:
            InvalidField: it cannot be carried out, or loosens what is locked; the policy before stays.
            VersionMismatch: it was changed since.
        """
        if request and (answered := self._repository.answered(act.tenant, request)):
            return answered[0]
        before = self.kept(act.tenant, use=Use(act.use))
        if version not in {None, 0 if before is None else before.version}:
            raise VersionMismatch
        old = NO_RULES if before is None else self.read(before.content)
        policy = amended(old, self.parse(text), now=act.at, grace=self._grace)
        content = StandingPolicy(
            document=document(policy), earlier=_earlier(policy), set_by=f"{act.actor.kind}/{act.actor.id}"
        )
        draft = Draft(content) if before is None else Draft(content, root=before.root, at=before.at, over=before)
        return self._repository.add([draft], act=act, request=request)[0]


def _earlier(policy: Policy) -> str:
    """Write the policies before one, the oldest first, each with until when it counts."""
    found: list[tuple[str, str]] = []
    while policy.before is not None and policy.grace is not None:
        found.insert(0, (document(policy.before), policy.grace.isoformat()))
        policy = policy.before
    return json.dumps(found)
