"""Retention policies on the wire and in the domain, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.forecasts import Change, Explanation, Forecast, Run
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.policies import document
from capsule_core.records import Mark
from capsule_core.retention import Ask, Decision, Effect, Keep, Policy
from capsule_core.rulebook import StandingPolicy
from capsule_services.contacts.names import policy_name
from capsule_services.runtime.etags import etag

__all__ = [
    "MOST_WEEKS",
    "changes_to",
    "document_from",
    "explanation_to",
    "forecasts_to",
    "moment_from",
    "policy_to",
    "weeks_from",
]

MOST_WEEKS: Final = 104
"""How far ahead anybody may look: a preview reads every record that is due by then."""


def document_from(message: pb.RetentionPolicy) -> str:
    """Read a policy as the document that ``policies.parse_policy`` takes.

    Raises:
        InvalidField: an effect or event is none.
    """
    rules = [_rule_from(place, rule) for place, rule in enumerate(message.rules)]
    return json.dumps({"zone": message.time_zone or "UTC", "rules": rules})


def policy_to(
    tenant: TenantId, policy: Policy, kept: Kept[StandingPolicy] | None, *, now: datetime
) -> pb.RetentionPolicy:
    """Write a policy as it is answered."""
    plain = json.loads(document(policy))
    message = pb.RetentionPolicy(
        name=policy_name(tenant),
        rules=[_rule_to(rule) for rule in plain["rules"]],
        time_zone=plain["zone"],
        etag=etag(0 if kept is None else kept.version),
    )
    if policy.grace is not None and policy.grace > now:
        message.grace_end_time.CopyFrom(_moment(policy.grace))
    if kept is not None:
        message.update_time.CopyFrom(_moment(kept.updated))
    return message


def forecasts_to(found: Sequence[Forecast]) -> list[pb.RetentionForecast]:
    """Write what goes."""
    return [
        pb.RetentionForecast(
            week_start_time=_moment(each.week),
            kind=each.kind,
            effect=_effect(each.effect),
            because=each.because,
            records=each.records,
            waits_for=_waits(each.guards),
        )
        for each in found
    ]


def changes_to(found: Sequence[Change]) -> list[pb.RetentionChange]:
    """Write what would change."""
    return [
        pb.RetentionChange(
            kind=each.kind,
            sooner=each.sooner,
            because=each.because,
            records=each.records,
            first_time=_moment(each.first),
            waits_for=_waits(each.guards),
        )
        for each in found
    ]


def explanation_to(found: Explanation) -> pb.ContactExplanation:
    """Write why a contact is still here."""
    effect, time = _decided(found.decision)
    return pb.ContactExplanation(
        effect=_effect(effect),
        time=None if time is None else _moment(time),
        because=found.decision.because,
        runs=map(_run_to, found.runs),
        guards=[
            pb.ContactExplanation.Guard(
                reason=guard.id, mark=(guard.mark.name or "").lower(), since_time=_moment(guard.since)
            )
            for guard in found.guards
        ],
        otherwise=None if found.otherwise is None else _otherwise_to(found.otherwise),
    )


def weeks_from(asked: int, *, usual: int) -> int:
    """Read how far to look.

    Raises:
        InvalidField: it is not from 0 to 104.
    """
    if not 0 <= asked <= MOST_WEEKS:
        raise InvalidField("weeks", f"must be from 0 to {MOST_WEEKS}")
    return asked or usual


def moment_from(message: Timestamp, *, field: str) -> datetime:
    """Read a time.

    Raises:
        InvalidField: it is not one of the years 1 to 9999.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidField(field, "must be a time of the years 1 to 9999") from None


def _rule_from(place: int, rule: pb.RetentionRule) -> dict[str, Any]:
    path = f"rules[{place}]"
    said = {
        "id": rule.id,
        "effect": _named(rule.effect, pb.RetentionRule.Effect, f"{path}.effect"),
        "since": _named(rule.since, pb.RetentionRule.Event, f"{path}.since") if rule.since else None,
        "after": rule.after or None,
        "period": rule.period,
        "kinds": list(rule.kinds),
        "field": rule.field or None,
        "purpose": rule.purpose or None,
        "locked": rule.locked,
    }
    return {key: value for key, value in said.items() if value is not None}


def _named(number: int, enum: Any, path: str) -> str:
    if not number or number not in enum.values():
        raise InvalidField(path, f"must be one of {', '.join(enum.keys()[1:])}")
    return str(enum.Name(number)).lower()


def _rule_to(rule: dict[str, Any]) -> pb.RetentionRule:
    return pb.RetentionRule(
        id=rule["id"],
        effect=pb.RetentionRule.Effect.Value(rule["effect"].upper()),
        since=pb.RetentionRule.Event.Value(rule.get("since", "event_unspecified").upper()),
        after=rule.get("after", ""),
        period=rule["period"],
        kinds=rule.get("kinds", []),
        field=rule.get("field", ""),
        purpose=rule.get("purpose", ""),
        locked=rule.get("locked", False),
    )


def _run_to(run: Run) -> pb.ContactExplanation.Run:
    return pb.ContactExplanation.Run(
        rule=run.rule.id,
        effect=_effect(run.rule.effect),
        begin_time=None if run.began is None else _moment(run.began),
        end_time=None if run.ends is None else _moment(run.ends),
    )


def _otherwise_to(decision: Decision) -> pb.ContactExplanation.Otherwise:
    effect, time = _decided(decision)
    return pb.ContactExplanation.Otherwise(
        effect=_effect(effect), time=None if time is None else _moment(time), because=decision.because
    )


def _waits(guards: Mark) -> list[str]:
    return [(mark.name or "").lower() for mark in guards]


def _decided(decision: Decision) -> tuple[Effect, datetime | None]:
    if isinstance(decision, Keep):
        return Effect.KEEP, decision.until
    return (Effect.ASK, decision.since) if isinstance(decision, Ask) else (decision.effect, decision.since)


def _effect(effect: Effect) -> pb.RetentionRule.Effect.ValueType:
    return pb.RetentionRule.Effect.Value(effect.value.upper())


def _moment(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message
