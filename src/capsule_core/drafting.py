"""Contents made into sealed records, with all that operating them needs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from capsule_core import codec
from capsule_core.index import index
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.personal import Kind
from capsule_core.records import Sealed, Slot
from capsule_core.sealing import Identity, seal_blob
from capsule_core.vault import Vault

__all__ = ["Place", "sealed"]


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
