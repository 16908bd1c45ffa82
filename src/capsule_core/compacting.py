"""Keep the journal short: what no restore will ask for again is taken out of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from capsule_core.journal import Journal, PageResealed, Written
from capsule_core.names import RecordId, TenantId
from capsule_core.pages import Keystore

__all__ = ["compact"]

_AT_ONCE: Final = 1000


def compact(journal: Journal, keystore: Keystore) -> int:
    """Drop the sealings of pages and the versions of records that later ones have replaced; return how many.

    Of a page stays what is sealed under its key of now, and everything newer: that may be about to come into use. If
    nothing is under that key, everything stays. It may be interrupted, repeated, and run while others append: what they
    append is newer than what is dropped.
    """
    pages: dict[tuple[TenantId, int], list[tuple[int, bytes]]] = defaultdict(list)
    records: dict[tuple[TenantId, RecordId], int] = {}
    replaced: list[int] = []
    for position, entry in journal.since(0):
        match entry:
            case PageResealed(page):
                pages[page.tenant, page.number].append((position, page.key_id))
            case Written(record):
                before = records.get((record.tenant, record.id))
                replaced += [] if before is None else [before]
                records[record.tenant, record.id] = position
            case _:
                pass
    replaced += _sealed_again(pages, keystore)
    for start in range(0, len(replaced), _AT_ONCE):
        journal.drop(replaced[start : start + _AT_ONCE])
    return len(replaced)


def _sealed_again(pages: dict[tuple[TenantId, int], list[tuple[int, bytes]]], keystore: Keystore) -> list[int]:
    """Find the sealings of pages that are older than the one in use."""
    numbers: dict[TenantId, list[int]] = defaultdict(list)
    for (tenant, number), sealings in pages.items():
        if len(sealings) > 1:
            numbers[tenant].append(number)
    found: list[int] = []
    for tenant, ours in numbers.items():
        for number, key in zip(ours, keystore.get(tenant, ours), strict=True):
            sealings = pages[tenant, number]
            in_use = [position for position, key_id in sealings if key is not None and key_id == key.id]
            found += [position for position, _ in sealings if in_use and position < in_use[-1]]
    return found
