"""What leaves can come back: export, import into an empty tenant, export again, and every byte is the same."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Entry, Photo
from capsule_core.export import Exported, Row, json
from capsule_core.names import TenantId
from capsule_core.records import Where
from capsule_core.testing.strategies import exports
from capsule_core.uses import Use
from tests.core.desk import ACME, ZETA, Desk, in_memory


def take_in(desk: Desk, tenant: TenantId, rows: Iterable[Row | Exported]) -> None:
    """Keep contacts with all that hangs on them, made and changed when they were made and changed."""
    for row in rows:
        assert row.created is not None
        assert row.updated is not None
        (kept,) = desk.add(row.contact, tenant=tenant, now=row.created, use=Use.IMPORT)
        hanging = [*row.entries, *([] if row.photo is None else [row.photo])]
        if hanging:
            desk.add(*hanging, tenant=tenant, now=row.created, use=Use.IMPORT)
        if row.updated != row.created:
            desk.repository.change(kept, row.contact, act=desk.act(tenant, now=row.updated, use=Use.IMPORT))


def give_out(desk: Desk, tenant: TenantId) -> bytes:
    """Export everything that lives in a tenant, in the order of ids."""
    everything = Where(tenant=tenant)
    kept = desk.repository.select(everything, use=Use.EXPORT, limit=1000).records
    records = []
    for contact in sorted((each for each in kept if each.root == each.id), key=lambda each: each.id):
        below = [each.content for each in kept if each.root == contact.id]
        entries = sorted((each for each in below if isinstance(each, Entry)), key=lambda entry: entry.id)
        photos = [each for each in below if isinstance(each, Photo)]
        records.append(
            Exported(
                contact.content,
                entries=tuple(entries),
                photo=photos[0] if photos else None,
                created=contact.created,
                updated=contact.updated,
            )
        )
    return b"".join(json.write(records))


@pytest.mark.law("L12")
@given(given=st.lists(exports(), max_size=3, unique_by=lambda each: each.contact.id))
def test_export_import_into_an_empty_tenant_export_is_byte_equal(given: list[Exported]) -> None:
    desk = in_memory()
    take_in(desk, ACME, given)
    first = give_out(desk, ACME)
    rows = list(json.read([first]))
    assert all(isinstance(row, Row) for row in rows)
    take_in(desk, ZETA, rows)
    assert give_out(desk, ZETA) == first
    assert len(rows) == len(given)
