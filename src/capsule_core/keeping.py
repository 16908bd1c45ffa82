"""What an erasure has to leave, and how: sealed anew under a key of its own, and out of ordinary reach.

A hold or an obligation on single records does not keep the whole person. What it keeps is handed over to the person's
remnant when the fence goes up, in the same transaction, and is destroyed when the last ground has ended. Of a record of
which nothing but single fields is held, these are handed over and no other personal data, if it is valid without.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_core import codec
from capsule_core.holds import Hold, narrowed
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.opening import opened
from capsule_core.personal import Kind, kind_of
from capsule_core.records import (
    GONE,
    GUARDED,
    Expected,
    Mark,
    Reason,
    Refused,
    Sealed,
    Shelf,
    Slot,
    Subject,
    Where,
)
from capsule_core.remnants import is_remnant, remnant_of
from capsule_core.sealing import Identity, reseal_blob, seal_blob
from capsule_core.statements import Remainder
from capsule_core.stores import RecordStore, Store
from capsule_core.story import Erasure
from capsule_core.vault import Vault

__all__ = ["OBLIGATION", "Keeping", "keeping", "obligations", "remainders"]

OBLIGATION: Final = "obligation"
"""The id of the reason for which records of an obliged kind are kept until somebody says that it has ended."""

_EVERY: Final = ~Mark.NONE
_NAMED: Final = 100
"""Fewer characters name every field."""
_HOLD: Final = kind_of(Hold)
_GROUNDS: Final = ((Mark.HELD, "hold"), (Mark.OBLIGED, "obligation"), (Mark.RESTRICTED, "restriction"))


@attrs.frozen(kw_only=True)
class Keeping:
    """What is kept of some people: the records to hand over, the reasons to put, and how many by what and ground.

    *expects* is what that counts on: of a record that is narrowed to fields, that nothing else guards it by then.
    """

    parting: tuple[Sealed, ...] = ()
    reasons: tuple[Reason, ...] = ()
    counts: Mapping[tuple[str, str], int] = attrs.Factory(dict[tuple[str, str], int])
    expects: tuple[Expected, ...] = ()

    @property
    def told(self) -> str:
        """Write the counts as a leaf holds them: ``note:hold:2,invoice:obligation:1``."""
        return ",".join(f"{what}:{ground}:{count}" for (what, ground), count in sorted(self.counts.items()))


@attrs.frozen(kw_only=True)
class _Guarded:
    """A record that something guards: on which *ground*, by which reasons, and which *fields* alone, if not all.

    *reduced* are the contents that hold no other personal data, in the kind's current schema.
    """

    record: Sealed
    ground: str
    reasons: frozenset[str]
    fields: frozenset[str] = frozenset()
    reduced: bytes | None = attrs.field(default=None, repr=False)

    @property
    def told(self) -> tuple[str, str]:
        """What is kept, and on which ground, as :func:`remainders` reads it."""
        named = "+".join(sorted(self.fields))
        named = named if len(named) < _NAMED else f"{len(self.fields)}-fields"
        if self.reduced is not None:
            return f"{self.record.kind}.{named}", self.ground
        return self.record.kind, f"{self.ground}/{named}" if self.fields else self.ground

    @property
    def expected(self) -> Expected:
        """What narrowing it counts on."""
        record = self.record
        batch = record.trash.batch if record.trash else None
        return Expected(id=record.id, version=record.version, batch=batch, guards=self.reasons)


def obligations(store: Store, tenant: TenantId, person: SubjectKey) -> list[Reason]:
    """Return the reasons for which records of obliged kinds are kept of somebody: lift them when that has ended."""
    return [each for each in store.reasons(tenant, [remnant_of(person)]) if each.id == OBLIGATION]


def remainders(told: str) -> tuple[Remainder, ...]:
    """Read what :attr:`Keeping.told` wrote, as a receipt states it."""
    parts = [part.split(":") for part in told.split(",") if part]
    return tuple(Remainder(what=what, ground=_in_words(ground), records=int(count)) for what, ground, count in parts)


def _in_words(ground: str) -> str:
    """Say ``hold/archiving+legal_claims/body``: the last part names the field for whose sake a whole record is kept."""
    mark, why, whole = (*ground.split("/"), "", "")[:3]
    because = f" ({' and '.join(why.split('+'))})" if why else ""
    return f"{mark}{because}" + (f" of {whole}; the record is not valid without the rest" if whole else "")


def keeping(
    store: Store,
    vault: Vault,
    kinds: Mapping[str, Kind],
    erasure: Erasure,
    people: Sequence[SubjectKey],
    *,
    now: datetime,
) -> Keeping:
    """Find out what the *erasure* of *people* has to leave, and seal it for that.

    Records of obliged kinds are always left. Records that something guards are left if the erasure parts them; if it
    does not, they keep the whole person, and that is not decided here.
    """
    tenant, persons = erasure.tenant, [key for key in people if not is_remnant(key)]
    guarded = list(_guarded(store, vault, kinds, tenant, persons)) if erasure.parts else []
    known = _remnants(store, tenant, persons)
    fresh = sorted({remnant_of(each.record.subject) for each in guarded} - known.keys())
    slots = {key: subject.slot for key, subject in known.items()}
    slots |= dict(zip(fresh, vault.issue(tenant, len(fresh)), strict=True))
    parting = _sealed_anew(vault, tenant, guarded, slots, kinds)
    left = _left(store, tenant, [key for key, subject in known.items() if not subject.marks & GONE])
    counts = Counter(each.told for each in guarded)
    counts.update((record.kind, "obligation") for record in left)
    vault.secure(tenant, [record.slot for record in parting])
    halves = {record.subject for record in (*left, *parting)}
    reasons = [Reason(id=erasure.id, mark=Mark.KEPT, subject=key, since=now) for key in sorted(halves)]
    # Each record has its own: what is kept of them on other grounds goes when these end, however long this one lasts.
    reasons += [
        Reason(id=OBLIGATION, mark=Mark.OBLIGED, subject=record.subject, since=now, record=record.id) for record in left
    ]
    expects = tuple(each.expected for each in guarded if each.reduced is not None)
    return Keeping(parting=tuple(parting), reasons=tuple(reasons), counts=counts, expects=expects)


def _guarded(
    store: Store, vault: Vault, kinds: Mapping[str, Kind], tenant: TenantId, persons: Sequence[SubjectKey]
) -> Iterator[_Guarded]:
    """Find the records that carry a guard of their own."""
    found: dict[RecordId, list[Reason]] = defaultdict(list)
    for reason in store.reasons(tenant, persons):
        if reason.record is not None and reason.mark & GUARDED:
            found[reason.record].append(reason)
    holds = _holds(store, vault, tenant, [reason for reasons in found.values() for reason in reasons])
    for record in store.read(tenant, list(found), admits=_EVERY):
        if record is not None and not isinstance(record, Refused):
            fields = _fields(found[record.id], holds)
            yield _Guarded(
                record=record,
                ground=_ground(record, found[record.id], holds),
                reasons=frozenset(reason.id for reason in found[record.id]),
                fields=fields,
                reduced=_reduced(record, fields, vault, kinds) if fields else None,
            )


def _holds(store: Store, vault: Vault, tenant: TenantId, reasons: Sequence[Reason]) -> dict[str, Hold]:
    """Open what is on record of the holds that put some of the reasons; of an order from elsewhere there is nothing."""
    names = [RecordId(reason.id) for reason in reasons if reason.mark is Mark.HELD]
    found = store.read(tenant, list(dict.fromkeys(names)), admits=_EVERY)
    sealed = [each for each in found if isinstance(each, Sealed) and each.kind == _HOLD.name]
    return {hold.id: hold for hold in opened(sealed, vault, {_HOLD.name: _HOLD}, codec.decode)}


def _fields(reasons: Sequence[Reason], holds: Mapping[str, Hold]) -> frozenset[str]:
    """Return which fields alone are guarded; none if all of the record is."""
    named = [holds[each.id].field if each.mark is Mark.HELD and each.id in holds else "" for each in reasons]
    return frozenset(named) if all(named) else frozenset()


def _reduced(record: Sealed, fields: frozenset[str], vault: Vault, kinds: Mapping[str, Kind]) -> bytes | None:
    (content,) = opened([record], vault, kinds, codec.decode)
    reduced = narrowed(content, kinds[record.kind], fields)
    return None if reduced is None else codec.encode(reduced)


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
    vault: Vault,
    tenant: TenantId,
    guarded: Sequence[_Guarded],
    slots: Mapping[SubjectKey, Slot],
    kinds: Mapping[str, Kind],
) -> list[Sealed]:
    old = vault.keys(tenant, [each.record.slot for each in guarded])
    places = [slots[remnant_of(each.record.subject)] for each in guarded]
    new = vault.keys(tenant, places)
    return [
        attrs.evolve(
            each.record,
            subject=remnant_of(each.record.subject),
            slot=slot,
            blob=_blob(each, key, new_key, vault, kinds),
        )
        for each, key, slot, new_key in zip(guarded, old, places, new, strict=True)
    ]


def _blob(guarded: _Guarded, key: bytes, new_key: bytes, vault: Vault, kinds: Mapping[str, Kind]) -> bytes:
    record, nonce = guarded.record, vault.nonce()
    there = _identity(record, remnant_of(record.subject))
    if guarded.reduced is not None:
        schema = kinds[record.kind].schema
        return seal_blob(guarded.reduced, key=new_key, identity=there, schema=schema, nonce=nonce)
    here = _identity(record, record.subject)
    return reseal_blob(record.blob, key=key, identity=here, new_key=new_key, new_identity=there, nonce=nonce)


def _identity(record: Sealed, subject: SubjectKey) -> Identity:
    return Identity(record.tenant, subject, record.kind, record.id, record.version)


def _ground(record: Sealed, reasons: Sequence[Reason], holds: Mapping[str, Hold]) -> str:
    """Name the gravest ground; of holds also why the right to erasure does not apply, as far as it is on record."""
    ground = next(ground for mark, ground in _GROUNDS if record.marks & mark)
    why = sorted({holds[each.id].ground.value for each in reasons if each.id in holds})
    return f"{ground}/{'+'.join(why)}" if why else ground
