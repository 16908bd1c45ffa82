"""Empty what is personal of records, and keep of each, in one number, that it is done: so that each is opened once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import attrs

from capsule_core.errors import SubjectErased, VersionMismatch
from capsule_core.moments import Events
from capsule_core.names import ActorRef
from capsule_core.personal import Kind
from capsule_core.policies import scope_of
from capsule_core.records import Act, Expected, Sealed
from capsule_core.repository import Draft, Repository
from capsule_core.retention import Destroy, Effect, Facts, Policy, decide
from capsule_core.uses import Use

__all__ = ["emptied", "fields_due", "ruled_fields"]

_POSITIVE: Final = 2**63 - 1


def ruled_fields(kind: Kind, policy: Policy) -> list[str]:
    """Name the fields of a kind that a policy has rules about."""
    return sorted({rule.field for rule in policy.rules if rule.field and kind.name in rule.kinds})


def fields_due(kind: Kind, policy: Policy, events: Events, now: datetime) -> frozenset[str]:
    """Say which fields of a record are to be empty *now*: each by a rule of its own, or all by one about the record."""
    whole = decide(Facts(scope=scope_of(kind), events=events), policy, now)
    if isinstance(whole, Destroy) and whole.effect is Effect.DEPERSONALISE:
        return frozenset(name for name in kind.personal if name not in kind.needed) | _single(kind, policy, events, now)
    return _single(kind, policy, events, now)


def emptied(
    repository: Repository,
    kind: Kind,
    due: Iterable[tuple[Sealed, frozenset[str]]],
    *,
    actor: ActorRef,
    now: datetime,
) -> int:
    """Empty the fields that are due of records of one tenant; return of how many there was something to empty.

    One that changed or is held by now stays as it is, and one of which these fields were emptied before is not opened.
    """
    left = [(record, fields) for record, fields in due if fields and record.done != _number(fields)]
    opened = repository.open([record for record, _ in left])
    defaults = {field.name: field.default for field in attrs.fields(kind.model)}
    ticked: list[Sealed] = []
    count = 0
    for kept, (record, fields) in zip(opened, left, strict=True):
        content = attrs.evolve(kept.content, **{name: _default(defaults[name]) for name in fields})
        version = kept.version
        if content != kept.content:
            draft = Draft(content, root=kept.root, at=kept.at, over=kept)
            if not _written(repository, draft, Expected(id=kept.id, version=version, unguarded=True), actor, now):
                continue
            version, count = version + 1, count + 1
        ticked.append(attrs.evolve(record, version=version, done=_number(fields)))
    if ticked:
        repository.store.tick(ticked[0].tenant, ticked)
    return count


def _single(kind: Kind, policy: Policy, events: Events, now: datetime) -> frozenset[str]:
    decisions = {
        name: decide(Facts(scope=scope_of(kind, name), events=events), policy, now)
        for name in ruled_fields(kind, policy)
    }
    return frozenset(name for name, decision in decisions.items() if isinstance(decision, Destroy))


def _written(repository: Repository, draft: Draft, free: Expected, actor: ActorRef, now: datetime) -> bool:
    kept = draft.over
    if kept is None:
        return False
    act = Act(tenant=kept.tenant, actor=actor, verb="retention.empty", use=Use.STORE.value, at=now, expects=(free,))
    try:
        repository.add([draft], act=act)
    except (VersionMismatch, SubjectErased):
        return False
    return True


def _number(fields: frozenset[str]) -> int:
    """Stand for a set of names of fields, which are the same for everybody: it says nothing of what was in them."""
    named = "\0".join(sorted(fields)).encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big") & _POSITIVE


def _default(declared: Any) -> Any:
    return declared.factory() if isinstance(declared, attrs.Factory) else declared  # type: ignore[arg-type]
