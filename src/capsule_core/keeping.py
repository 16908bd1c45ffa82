"""What an erasure has to leave, and how: sealed anew under a key of its own, and out of ordinary reach.

A hold or an obligation on single records does not keep the whole person. What it keeps is handed over to the person's
remnant when the fence goes up, in the same transaction, and is destroyed when the last ground has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_core.names import SubjectKey, TenantId
from capsule_core.records import GONE, GUARDED, Mark, Reason, RecordStore, Refused, Sealed, Shelf, Slot, Subject, Where
from capsule_core.remnants import is_remnant, remnant_of
from capsule_core.sealing import Identity, reseal_blob
from capsule_core.statements import Remainder
from capsule_core.stores import Store
from capsule_core.story import Erasure
from capsule_core.vault import Vault

__all__ = ["OBLIGATION", "Keeping", "keeping", "remainders"]

OBLIGATION: Final = "obligation"
"""The id of the reason for which records of an obliged kind are kept until somebody says that it has ended."""

_EVERY: Final = ~Mark.NONE
_GROUNDS: Final = ((Mark.HELD, "hold"), (Mark.OBLIGED, "obligation"), (Mark.RESTRICTED, "restriction"))


@attrs.frozen(kw_only=True)
class Keeping:
    """What is kept of some people: the records to hand over, the reasons to put, and how many by kind and ground."""

    parting: tuple[Sealed, ...] = ()
    reasons: tuple[Reason, ...] = ()
    counts: Mapping[tuple[str, str], int] = attrs.Factory(dict[tuple[str, str], int])

    @property
    def told(self) -> str:
        """Write the counts as a leaf holds them: ``note:hold:2,invoice:obligation:1``."""
        return ",".join(f"{kind}:{ground}:{count}" for (kind, ground), count in sorted(self.counts.items()))


def remainders(told: str) -> tuple[Remainder, ...]:
    """Read what :attr:`Keeping.told` wrote, as a receipt states it."""
    parts = [part.split(":") for part in told.split(",") if part]
    return tuple(Remainder(what=kind, ground=ground, records=int(count)) for kind, ground, count in parts)


def keeping(store: Store, vault: Vault, erasure: Erasure, people: Sequence[SubjectKey], *, now: datetime) -> Keeping:
    """Find out what the *erasure* of *people* has to leave, and seal it for that.

    Records of obliged kinds are always left. Records that something guards are left if the erasure parts them; if it
    does not, they keep the whole person, and that is not decided here.
    """
    tenant, persons = erasure.tenant, [key for key in people if not is_remnant(key)]
    guarded = list(_guarded(store, tenant, persons)) if erasure.parts else []
    known = _remnants(store, tenant, persons)
    fresh = sorted({remnant_of(record.subject) for record in guarded} - known.keys())
    slots = {key: subject.slot for key, subject in known.items()}
    slots |= dict(zip(fresh, vault.issue(tenant, len(fresh)), strict=True))
    parting = _sealed_anew(vault, tenant, guarded, slots)
    left = _left(store, tenant, [key for key, subject in known.items() if not subject.marks & GONE])
    counts = Counter((record.kind, _ground(record.marks)) for record in guarded)
    counts.update((record.kind, "obligation") for record in left)
    vault.secure(tenant, [record.slot for record in parting])
    obliged = {record.subject for record in left}
    reasons = [
        Reason(id=erasure.id, mark=Mark.KEPT, subject=key, since=now)
        for key in sorted(obliged | {record.subject for record in parting})
    ]
    reasons += [Reason(id=OBLIGATION, mark=Mark.OBLIGED, subject=key, since=now) for key in sorted(obliged)]
    return Keeping(parting=tuple(parting), reasons=tuple(reasons), counts=counts)


def _guarded(store: Store, tenant: TenantId, persons: Sequence[SubjectKey]) -> Iterator[Sealed]:
    """Find the records that carry a guard of their own."""
    reasons = store.reasons(tenant, persons)
    names = [reason.record for reason in reasons if reason.record is not None and reason.mark & GUARDED]
    for record in store.read(tenant, list(dict.fromkeys(names)), admits=_EVERY):
        if record is not None and not isinstance(record, Refused):
            yield record


def _remnants(store: RecordStore, tenant: TenantId, persons: Sequence[SubjectKey]) -> dict[SubjectKey, Subject]:
    found = store.subjects(tenant, [remnant_of(key) for key in persons])
    return {subject.key: subject for subject in found if subject is not None}


def _left(store: RecordStore, tenant: TenantId, remnants: Sequence[SubjectKey]) -> list[Sealed]:
    """Find what lies with remnants from the beginning: records of obliged kinds."""
    found: list[Sealed] = []
    where, after = Where(tenant=tenant, subjects=tuple(remnants), shelf=Shelf.ANY), None
    while remnants:
        page = store.select(where, admits=_EVERY, limit=500, after=after)
        found += page.records
        after = page.after
        if after is None:
            break
    return found


def _sealed_anew(
    vault: Vault, tenant: TenantId, records: Sequence[Sealed], slots: Mapping[SubjectKey, Slot]
) -> list[Sealed]:
    old = vault.keys(tenant, [record.slot for record in records])
    places = [slots[remnant_of(record.subject)] for record in records]
    new = vault.keys(tenant, places)
    return [
        attrs.evolve(
            record,
            subject=remnant_of(record.subject),
            slot=slot,
            blob=reseal_blob(
                record.blob,
                key=key,
                identity=_identity(record, record.subject),
                new_key=new_key,
                new_identity=_identity(record, remnant_of(record.subject)),
                nonce=vault.nonce(),
            ),
        )
        for record, key, slot, new_key in zip(records, old, places, new, strict=True)
    ]


def _identity(record: Sealed, subject: SubjectKey) -> Identity:
    return Identity(record.tenant, subject, record.kind, record.id, record.version)


def _ground(marks: Mark) -> str:
    return next(ground for mark, ground in _GROUNDS if marks & mark)
