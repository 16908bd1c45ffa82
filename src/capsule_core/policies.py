"""Read, check and change what a tenant has decided on how long it keeps what.

A policy is a JSON document::

    {"zone": "Europe/Berlin",
     "rules": [{"id": "leads", "effect": "trash", "since": "contacted", "period": "P3Y", "kinds": ["person"]},
               {"id": "tax", "effect": "keep", "since": "created", "period": "P10Y", "kinds": ["invoice"]}]}

What is wrong with one is said with its path, and the policy before stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar

import attrs

from capsule_core.calendar import Period, parse_period, parse_zone
from capsule_core.errors import InvalidField
from capsule_core.moments import Event
from capsule_core.names import record_id
from capsule_core.personal import Kind, Personal
from capsule_core.retention import GRACE, TRASH, Effect, Policy, Rule, Scope

__all__ = ["GRACE_PERIOD", "amended", "document", "governed", "parse_policy", "scope_of"]

E = TypeVar("E", bound=Enum)

GRACE_PERIOD: Final = timedelta(days=30)
"""How long nothing goes that a changed policy lets go and the one before did not."""

_MOST_RULES: Final = 200
_KEYS: Final = frozenset({"id", "effect", "since", "after", "period", "kinds", "field", "purpose", "locked"})
_OF_FIELDS: Final = frozenset({Effect.KEEP, Effect.ASK, Effect.DESTROY})


def parse_policy(text: str, kinds: Mapping[str, Kind]) -> Policy:
    """Read a policy for a service that keeps *kinds*, and check that it can be carried out.

    Raises:
        InvalidField: it is malformed, has a key that is not known or is there twice, speaks of something that is not
            declared, runs in a circle, or contradicts itself; *field* is the path (``rules[2].period``).
    """
    given = _object("policy", _loaded(text), frozenset({"zone", "rules"}))
    rules = _list("rules", given.get("rules"))
    if len(rules) > _MOST_RULES:
        raise InvalidField("rules", f"must not be more than {_MOST_RULES}")
    policy = Policy(
        rules=tuple(_rule(f"rules[{place}]", each) for place, each in enumerate(rules)),
        zone=parse_zone("zone", _written_as_text(given.get("zone", "UTC"))),
    )
    for problem in _problems(policy, kinds):
        raise problem
    return policy


def document(policy: Policy) -> str:
    """Write a policy as :func:`parse_policy` reads it; what a grace period still brings with it is not in it."""
    rules = [
        {key: value for key, value in _written(rule).items() if value not in (None, False, [])} for rule in policy.rules
    ]
    return json.dumps({"zone": str(policy.zone), "rules": rules}, ensure_ascii=False, indent=1)


def amended(old: Policy, new: Policy, *, now: datetime, grace: timedelta = GRACE_PERIOD) -> Policy:
    """Put *new* in the place of *old*: what keeps longer counts at once, what lets go sooner after *grace*.

    Raises:
        InvalidField: a locked rule would be shortened, loosened or taken out.
    """
    for place, rule in enumerate(new.rules):
        before = old.named.get(rule.id)
        if before is not None and before.locked:
            _refuse_loosening(f"rules[{place}]", before, rule)
    for rule in old.rules:
        if rule.locked and rule.id not in new.named:
            raise InvalidField("rules", f"must still have the rule {rule.id!r}: it is locked")
    return attrs.evolve(new, before=_pruned(old, now), grace=now + grace)


def governed(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return the kinds that a policy speaks of: not what was decided about people, which the journal keeps."""
    return {name: declared for name, declared in kinds.items() if declared.governed and not declared.journaled}


def scope_of(declared: Kind, field: str | None = None) -> Scope:
    """Return what a decision on a record of that kind, or on a *field* of it, is about."""
    fields = declared.fields.values() if field is None else [declared.fields[field]]
    purposes = frozenset(each.purpose for each in fields if isinstance(each, Personal))
    return Scope(kind=declared.name, field=field, purposes=purposes)


def _pruned(policy: Policy, now: datetime) -> Policy:
    over = policy.grace is None or policy.grace <= now
    return attrs.evolve(policy, before=None, grace=None) if over else policy


def _refuse_loosening(path: str, before: Rule, rule: Rule) -> None:
    if not rule.locked:
        raise InvalidField(f"{path}.locked", "must stay true: a lock is not taken off")
    if attrs.evolve(rule, period=before.period) != before:
        raise InvalidField(path, "is locked: nothing but its period may be changed")
    if not _is_at_least(rule.period, before.period):
        raise InvalidField(f"{path}.period", f"is locked: it must not be shorter than {before.period}")


def _is_at_least(period: Period, other: Period) -> bool:
    """Tell whether a period is never shorter than another, whenever both begin."""
    mine, theirs = _parts(period), _parts(other)
    return all(part >= least for part, least in zip(mine, theirs, strict=True))


def _parts(period: Period) -> tuple[int, int, int]:
    return 12 * period.years + period.months, period.days, period.hours


def _written(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "effect": rule.effect.value,
        "since": rule.since.value if rule.since else None,
        "after": rule.after,
        "period": str(rule.period),
        "kinds": list(rule.kinds),
        "field": rule.field,
        "purpose": rule.purpose,
        "locked": rule.locked,
    }


def _loaded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=tuple)  # so that a key which is there twice is seen
    except (ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidField("policy", f"must be JSON{line}") from None


def _object(path: str, given: object, keys: frozenset[str]) -> Mapping[str, Any]:
    """Read an object, of :func:`_loaded` a tuple of pairs; what is in the outermost is named without a path."""
    if not isinstance(given, tuple):
        raise InvalidField(path, f"must be an object with {', '.join(sorted(keys))}")
    said: dict[str, Any] = {}
    for key, value in given:
        at = key[:64] if path == "policy" else f"{path}.{key[:64]}"
        if key not in keys:
            raise InvalidField(at, f"is not known; it may have {', '.join(sorted(keys))}")
        if key in said:
            raise InvalidField(at, f"is there twice; it may have {', '.join(sorted(keys))}, each once")
        said[key] = value
    return said


def _list(path: str, given: object) -> Sequence[object]:
    if not isinstance(given, list):
        raise InvalidField(path, "must be a list, in square brackets")
    return given


def _text(path: str, given: object) -> str:
    if not isinstance(given, str) or not given:
        raise InvalidField(path, "must be a text")
    return given


def _written_as_text(given: object) -> str:
    """Return a text, and none for what is something else: whoever parses it then says what it must be."""
    return given if isinstance(given, str) else ""


def _choice(path: str, given: object, choices: type[E]) -> E:
    try:
        return choices(given)
    except ValueError:
        raise InvalidField(path, f"must be one of {', '.join(each.value for each in choices)}") from None


def _rule(path: str, given: object) -> Rule:
    said = _object(path, given, _KEYS)
    at: Callable[[str], str] = lambda key: f"{path}.{key}"  # noqa: E731
    locked = said.get("locked", False)
    if not isinstance(locked, bool):
        raise InvalidField(at("locked"), "must be true or false")
    kinds = _list(at("kinds"), said.get("kinds", []))
    return Rule(
        id=_id(at("id"), said.get("id")),
        effect=_choice(at("effect"), said.get("effect"), Effect),
        period=parse_period(at("period"), _written_as_text(said.get("period"))),
        since=_choice(at("since"), said["since"], Event) if said.get("since") is not None else None,
        after=_text(at("after"), said["after"]) if said.get("after") is not None else None,
        kinds=tuple(_text(f"{path}.kinds[{place}]", each) for place, each in enumerate(kinds)),
        field=_text(at("field"), said["field"]) if said.get("field") is not None else None,
        purpose=_text(at("purpose"), said["purpose"]) if said.get("purpose") is not None else None,
        locked=locked,
    )


def _id(path: str, given: object) -> str:
    try:
        name = record_id(_text(path, given))
    except InvalidField as error:
        raise InvalidField(path, error.problem) from None
    if name in (TRASH.id, GRACE):
        raise InvalidField(path, "is taken by a rule that everybody has")
    return name


def _problems(policy: Policy, kinds: Mapping[str, Kind]) -> Iterator[InvalidField]:
    """Find everything that would keep a policy of well-formed rules from being carried out."""
    known: set[str] = set()
    for place, rule in enumerate(policy.rules):
        path = f"rules[{place}]"
        if rule.id in known:
            yield InvalidField(f"{path}.id", f"is the id of another rule too: {rule.id}")
        known.add(rule.id)
        yield from _of_clock(path, rule, policy)
        yield from _of_scope(path, rule, kinds)
    yield from _contradictions(policy)


def _of_clock(path: str, rule: Rule, policy: Policy) -> Iterator[InvalidField]:
    if rule.since is None and rule.after is None:
        yield InvalidField(f"{path}.since", "must be given, or else after")
    if rule.since is not None and rule.after is not None:
        yield InvalidField(f"{path}.after", "must not be given where since is")
    seen, step = {rule.id}, rule
    while step.after is not None:
        if step.after not in policy.named:
            yield InvalidField(f"{path}.after", f"names no rule: {step.after[:64]}")
            return
        step = policy.named[step.after]
        if step.id in seen:
            yield InvalidField(f"{path}.after", "leads back to itself: no rule of that circle would ever begin")
            return
        seen.add(step.id)
    if step.since is Event.TRASHED and rule.effect is not Effect.KEEP:
        yield InvalidField(
            f"{path}.since", "must not be trashed: the trash is emptied after 30 days; a rule may only keep"
        )


def _of_scope(path: str, rule: Rule, kinds: Mapping[str, Kind]) -> Iterator[InvalidField]:
    for place, name in enumerate(rule.kinds):
        if name not in kinds:
            yield InvalidField(f"{path}.kinds[{place}]", f"must be one of {', '.join(sorted(kinds))}")
            return
    meant = [kinds[name] for name in rule.kinds] or list(kinds.values())
    declared = [field for each in meant for field in each.fields.values() if isinstance(field, Personal)]
    if rule.purpose is not None and rule.purpose not in {field.purpose for field in declared}:
        purposes = ", ".join(sorted({field.purpose for field in declared}))
        yield InvalidField(f"{path}.purpose", f"is declared by none of its fields; they have {purposes}")
    if rule.field is not None:
        yield from _of_field(path, rule, meant)
    elif rule.effect is Effect.DEPERSONALISE:
        for each in meant:
            for name in each.needed:
                yield InvalidField(
                    f"{path}.effect", f"must not be depersonalise: a {each.name} cannot be without {name}"
                )


def _of_field(path: str, rule: Rule, meant: Sequence[Kind]) -> Iterator[InvalidField]:
    if not rule.kinds:
        yield InvalidField(f"{path}.kinds", "must say of which kinds the field is")
    if rule.effect not in _OF_FIELDS:
        yield InvalidField(f"{path}.effect", "must be keep, ask or destroy: a field goes, or stays with its record")
    for each in meant:
        if not isinstance(each.fields.get(rule.field or ""), Personal):
            yield InvalidField(f"{path}.field", f"must be a personal field of {each.name}")
        elif rule.effect is Effect.DESTROY and rule.field in each.needed:
            yield InvalidField(f"{path}.field", f"must be one that a {each.name} can be without")


def _contradictions(policy: Policy) -> Iterator[InvalidField]:
    """Find two rules of which neither wins: about the same, over at the same moment, and then of different effect."""
    seen: dict[object, tuple[int, Rule]] = {}
    for place, rule in enumerate(policy.rules):
        if rule.effect is Effect.KEEP:
            continue
        clock = policy.clock(rule)
        for kind in rule.kinds or (None,):
            key = (kind, rule.field, rule.purpose, clock.since, clock.periods)
            first, other = seen.setdefault(key, (place, rule))
            if other.effect is not rule.effect:
                yield InvalidField(f"rules[{place}].effect", f"contradicts rules[{first}], and neither wins")
