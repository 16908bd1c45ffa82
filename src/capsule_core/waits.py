"""What would go by a rule, and waits all the same: for the end of a hold, an obligation or a restriction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capsule_core.names import SubjectKey, TenantId
from capsule_core.personal import Kind
from capsule_core.protection import protectors
from capsule_core.records import GUARDED, Reason, Sealed
from capsule_core.retention import Effect
from capsule_core.stores import Backlog

__all__ = ["waiting_for"]


def waiting_for(
    store: Backlog, kinds: Mapping[str, Kind], tenant: TenantId, going: Sequence[tuple[Sealed, Effect]]
) -> list[tuple[Reason, ...]]:
    """Return of each of some records, each with what is to be done with it, the reasons that it waits for.

    They are its own, its subject's, those of all of the tenant; and where a person is to be destroyed with everything
    that there is of them, those of any of it.
    """
    people = dict.fromkeys(key for record, _ in going for key in (record.subject, *protectors(record.subject)))
    carried: dict[SubjectKey, list[Reason]] = {key: [] for key in people}
    for reason in store.reasons(tenant, list(people)) if going else ():
        if reason.mark & GUARDED:
            carried[reason.subject].append(reason)
    return [tuple(_of(record, carried, whole=_is_whole(kinds, record, effect))) for record, effect in going]


def _is_whole(kinds: Mapping[str, Kind], record: Sealed, effect: Effect) -> bool:
    return kinds[record.kind].is_root and effect is Effect.DESTROY


def _of(record: Sealed, carried: Mapping[SubjectKey, Sequence[Reason]], *, whole: bool) -> list[Reason]:
    own = [each for each in carried[record.subject] if whole or each.record in {None, record.id}]
    return own + [each for key in protectors(record.subject) for each in carried[key] if each.record is None]
