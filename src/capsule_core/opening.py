"""Sealed records opened: for whoever knows their kinds and has their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capsule_core import codec
from capsule_core.codec import Reading
from capsule_core.personal import Kind
from capsule_core.records import Sealed
from capsule_core.sealing import Identity, open_blob
from capsule_core.vault import Vault

__all__ = ["opened"]


def opened(
    records: Sequence[Sealed], vault: Vault, kinds: Mapping[str, Kind], reading: Reading = codec.current
) -> list[Any]:
    """Open the contents of sealed records of one tenant, in order: bytes, or what *reading* makes of them.

    Raises:
        SubjectErased: the key of one of them was destroyed.
        SealBroken: one does not open.
        NewerSchema: a newer version of this software wrote one.
    """
    if not records:
        return []
    keys = vault.keys(records[0].tenant, [record.slot for record in records])
    return [_opened(record, key, kinds[record.kind], reading) for record, key in zip(records, keys, strict=True)]


def _opened(record: Sealed, key: bytes, kind: Kind, reading: Reading) -> Any:
    identity = Identity(record.tenant, record.subject, record.kind, record.id, record.version)
    schema, contents = open_blob(record.blob, key=key, identity=identity, schema=kind.schema)
    return reading(contents, kind, schema)
