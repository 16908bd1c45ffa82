"""Contents made into sealed records, with all that operating them needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from capsule_core import codec
from capsule_core.errors import CapsuleError, VersionMismatch
from capsule_core.index import index
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Kind
from capsule_core.records import Act, Mark, Sealed, Slot
from capsule_core.sealing import Identity, seal_blob
from capsule_core.stores import RecordStore
from capsule_core.uses import Use, admits, refusal
from capsule_core.vault import Vault

__all__ = ["Place", "have_moved", "sealed", "slots_of", "untouched"]


@attrs.frozen(kw_only=True)
class Place:
    """Where contents are kept: whose they are and the key that seals them, and what is not sealed of a record."""

    tenant: TenantId
    id: RecordId
    root: RecordId
    subject: SubjectKey
    slot: Slot
    key: bytes = attrs.field(repr=False)
    version: int
    at: datetime
    created: datetime
    updated: datetime


def sealed(content: Any, kind: Kind, place: Place, *, vault: Vault, region: str | None) -> Sealed:
    """Seal *content* of a *kind*, with what it is found by; *region* is where national phone numbers are read."""
    found_by = index(kind, content, keys=vault.tenant(place.tenant), region=region)
    identity = Identity(place.tenant, place.subject, kind.name, place.id, place.version)
    contents = codec.encode(content)
    return Sealed(
        tenant=place.tenant,
        kind=kind.name,
        id=place.id,
        root=place.root,
        subject=place.subject,
        slot=place.slot,
        version=place.version,
        at=place.at,
        created=place.created,
        updated=place.updated,
        blob=seal_blob(contents, key=place.key, identity=identity, schema=kind.schema, nonce=vault.nonce()),
        tokens=found_by.tokens,
        claims=found_by.claims,
        signature=found_by.signature,
    )


def slots_of(store: RecordStore, vault: Vault, act: Act, subjects: Sequence[SubjectKey]) -> dict[SubjectKey, Slot]:
    """Find where the subjects' keys lie; new subjects get places of their own.

    Raises:
        SubjectErased, SubjectRestricted: one of them may not be touched for the act's use.
    """
    distinct, use = list(dict.fromkeys(subjects)), Use(act.use)
    slots: dict[SubjectKey, Slot] = {}
    for key, subject in zip(distinct, store.subjects(act.tenant, distinct), strict=True):
        if subject is not None:
            if subject.marks & ~admits(use):
                raise refusal(subject.marks & ~admits(use), use)
            slots[key] = subject.slot
    fresh = [key for key in distinct if key not in slots]
    slots.update(zip(fresh, vault.issue(act.tenant, len(fresh)), strict=True))
    return slots


def have_moved(store: RecordStore, tenant: TenantId, records: Sequence[Sealed]) -> bool:
    """Tell whether a subject is known by now under another slot than a record was sealed in."""
    known = store.subjects(tenant, [record.subject for record in records])
    return any(s is not None and s.slot != r.slot for s, r in zip(known, records, strict=True))


def untouched(store: RecordStore, tenant: TenantId, subject: SubjectKey, use: Use) -> CapsuleError:
    """Say why nothing of the subject was touched: for a mark that *use* does not admit, or because it has changed."""
    known = store.subjects(tenant, [subject])[0]
    marks = Mark.NONE if known is None else known.marks & ~admits(use)
    return refusal(marks, use) if marks else VersionMismatch()
