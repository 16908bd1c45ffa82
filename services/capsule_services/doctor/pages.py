"""Whether the page keys at hand are those of the data: of some tenants the newest page is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from capsule_core.errors import CapsuleError
from capsule_core.journal import SealedPage
from capsule_core.pages import TENANT_SECRET, open_page
from capsule_core.wrapping import Roots, Row, names_under, owner_of, unwrap
from capsule_services.doctor.findings import Finding, good, mend, note
from capsule_services.doctor.place import File, Place, Premises, Unreadable, looking
from capsule_services.runtime.layout import DATABASE, url_in
from capsule_sql.keypages import some
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres

__all__ = ["MOST", "pages"]

MOST: Final = 20
"""Of so many tenants of a service a page is opened."""


def pages(place: Place) -> Iterator[Finding]:
    """The newest page of each of the first tenants opens with the keystore that is there."""
    for premises in place.services:
        what, keystore = f"page keys of {premises.service}", premises.file(Role.KEYSTORE)
        if keystore is None:
            yield note(what, "they are in OpenBao: no page was opened")
        elif keystore.path.exists():
            yield _opens(what, premises, keystore)
        else:
            yield mend(what, "they are missing", "see what is said about the schema of the file")


def _opens(what: str, premises: Premises, keystore: File) -> Finding:
    try:
        sealed = _sealed(premises)
    except (OSError, CapsuleError, Unreadable):
        return note(what, "the data cannot be read", "see what is said about it")
    try:
        shut = _shut(sealed, keystore, premises.roots)
    except (CapsuleError, Unreadable):
        return note(what, "they cannot be read", "see what is said about the keystore")
    if shut:
        do = "put back the keystore.db that the data was written with, or its mirror; without it the data is lost"
        return mend(what, f"the data of {shut} of {len(sealed)} tenants looked at does not open with them", do)
    return good(what, f"a page of each of {len(sealed)} tenants opens" if sealed else "nothing is kept yet")


def _sealed(premises: Premises) -> Sequence[SealedPage]:
    file = premises.file(Role.DATA)
    if file is None:
        with closing(open_postgres(url_in(premises.folder / DATABASE, DATABASE), Role.DATA)) as database:
            return some(database, MOST)
    with looking(file) as look:
        return some(look, MOST)


def _shut(sealed: Sequence[SealedPage], keystore: File, roots: Roots) -> int:
    """Count the pages that do not open. Pages were read before their keys: no page is there before its key."""
    with looking(keystore) as look:
        seals = look.rows("SELECT sealed FROM seals ORDER BY no")
        names = names_under(seals[-1][0], roots=roots) if seals else b""
        select = "SELECT tenant, page, id, wrapped FROM keys WHERE tenant = ? AND page IN (?, ?) ORDER BY page"
        kept = [look.rows(select, (owner_of(names, each.tenant), each.number, TENANT_SECRET)) for each in sealed]
    return sum(not _is_open(page, [Row(*row) for row in rows], roots) for page, rows in zip(sealed, kept, strict=True))


def _is_open(page: SealedPage, rows: Sequence[Row], roots: Roots) -> bool:
    """Tell whether a page opens; one of a closed tenant need not, and one older than its key is healed at a start."""
    ours = next((row for row in rows if row.page == page.number), None)
    if ours is None or ours.id != page.key_id:
        return bool(rows)
    try:
        open_page(page, key=unwrap(ours, page.tenant, roots=roots).key)
    except CapsuleError:
        return False
    return True
