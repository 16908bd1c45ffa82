"""Setting retention policies, saying what they will do, and why a contact is still here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from capsule_core.answers import Request
from capsule_core.errors import InvalidField, ResourceMissing
from capsule_core.forecasts import Change, Explanation, Forecast, explain, forecast, simulate
from capsule_core.kept import Kept
from capsule_core.moments import Event, Moment
from capsule_core.names import RecordId
from capsule_core.policies import amended
from capsule_core.records import Refused
from capsule_core.repository import Draft
from capsule_core.retention import Policy
from capsule_core.rulebook import Rulebook, StandingPolicy
from capsule_core.uses import admits
from capsule_services.contacts.presence import KINDS, living_contact
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["check", "end_relationship", "explained", "kept_policy", "preview", "set_policy", "simulated"]


def kept_policy(holding: Holding, call: Call) -> tuple[Policy, Kept[StandingPolicy] | None]:
    """Return the policy of the tenant, and the record it is kept in, if it was ever set."""
    rulebook = Rulebook(holding.repository)
    kept = rulebook.kept(call.within(), use=call.use)
    holding.shown(call, [] if kept is None else [kept])
    return rulebook.of(call.within(), use=call.use), kept


def set_policy(
    holding: Holding, call: Call, document: str, *, version: int | None, request: Request | None
) -> tuple[Policy, Kept[StandingPolicy]]:
    """Set the policy of the tenant; errors as :meth:`Rulebook.set`."""
    rulebook = Rulebook(holding.repository)
    kept = rulebook.set(document, act=holding.act(call), version=version, request=request)
    return rulebook.read(kept.content), kept


def check(holding: Holding, call: Call, document: str) -> Policy:
    """Return the policy that would be set; errors as :func:`set_policy`."""
    rulebook = Rulebook(holding.repository)
    return amended(rulebook.of(call.within(), use=call.use), rulebook.parse(document), now=holding.now())


def preview(holding: Holding, call: Call, *, weeks: int) -> Sequence[Forecast]:
    """Say what goes in the next weeks; the log says that it was asked, and nobody was looked at."""
    policy = Rulebook(holding.repository).of(call.within(), use=call.use)
    found = forecast(holding.repository, call.within(), policy, now=holding.now(), weeks=weeks)
    holding.shown(call, [])
    return found


def simulated(holding: Holding, call: Call, document: str, *, weeks: int) -> Sequence[Change]:
    """Say what a policy would change; errors as :func:`check`."""
    before = Rulebook(holding.repository).of(call.within(), use=call.use)
    after = check(holding, call, document)
    found = simulate(holding.repository, call.within(), before, after, now=holding.now(), weeks=weeks)
    holding.shown(call, [])
    return found


def explained(holding: Holding, call: Call, contact: str) -> Explanation:
    """Say why a contact is still here.

    Raises:
        ResourceMissing: there is none of that id.
    """
    record = holding.repository.store.read(call.within(), [RecordId(contact)], admits=admits(call.use))[0]
    if record is None or isinstance(record, Refused) or record.kind not in KINDS:
        raise ResourceMissing("contact")
    policy = Rulebook(holding.repository).of(call.within())
    found = explain(holding.repository, record, policy, now=holding.now())
    holding.shown(call, [record])
    return found


def end_relationship(
    holding: Holding, call: Call, contact: str, *, at: datetime | None, request: Request | None
) -> None:
    """Say when the relationship with a contact ended, or that it goes on.

    Raises:
        InvalidField: it is said to end in the future.
        ResourceMissing, SubjectErased, SubjectRestricted: the contact is not there, or may not be touched.
    """
    if at is not None and at > holding.now():
        raise InvalidField("end_time", "must not be in the future")
    if request is not None and holding.repository.answered(call.within(), request):
        return
    kept = living_contact(holding, call, contact)
    moments = tuple(Moment(kept.subject, Event.RELATIONSHIP_ENDED, each) for each in dict.fromkeys((None, at)))
    act = attrs.evolve(holding.act(call), happened=moments)
    draft = Draft(kept.content, root=kept.root, at=kept.at, over=kept)
    holding.repository.add([draft], act=act, request=request)
