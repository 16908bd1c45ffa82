"""Key pages: subjects' keys lie 256 to a page, the page is one sealed blob, only the page's key must be destroyed.

A page is created full of random keys and sealed once under its page key. The process that made a page gives its places
out, each once; after a restart or a restore it makes a new one, so that no key is ever given out twice. To erase
subjects their page is sealed anew without their keys under a fresh page key, and the old page key is destroyed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

import attrs

from capsule_core.errors import SubjectErased
from capsule_core.journal import SealedPage
from capsule_core.names import TenantId
from capsule_core.sealing import KEY_BYTES, open_bytes, seal_bytes

__all__ = [
    "AT_ONCE",
    "PLACES",
    "TENANT_SECRET",
    "KeyMoved",
    "Keystore",
    "OpenPage",
    "PageKey",
    "PageStore",
    "open_page",
    "seal_page",
    "without",
]

PLACES: Final = 256
TENANT_SECRET: Final = 0
"""The page number under which a keystore keeps a tenant's secret; real pages count from 1."""
AT_ONCE: Final = 1000
"""How many keys a keystore is given in one call at most, all of one tenant."""
_GONE: Final = bytes(KEY_BYTES)


@attrs.frozen(kw_only=True)
class PageKey:
    """The key that opens one page; *id* is 8 random bytes that name it."""

    tenant: TenantId
    page: int
    id: bytes
    key: bytes = attrs.field(repr=False)


class KeyMoved(Exception):
    """The keystore holds another key for the page than the one that was to be replaced."""


class Keystore(Protocol):
    """Keeps page keys, outside the data and its backups. A call is given keys of one tenant, at most ``AT_ONCE``.

    C1. ``put`` keeps new keys, all or none, and raises KeyMoved if one of the pages has a key.
    C2. ``replace`` puts each new key in the place of the old one whose id is given, all or none; KeyMoved if it is not
        there.
    C3. When ``put``, ``replace`` or ``close`` returned, it is durable on every mirror, and no old key is left in any
        file.
    C4. Tenants do not see each other's keys. ``close`` puts a mark, which lies at ``TENANT_SECRET``, in the place of
        all keys of its tenant, at once: nobody finds a tenant without both, whatever ends the process.
    """

    def put(self, keys: Sequence[PageKey]) -> None:
        """Keep new keys."""
        ...

    def get(self, tenant: TenantId, pages: Sequence[int]) -> Sequence[PageKey | None]:
        """Return the keys of pages, in order; None for one that has none."""
        ...

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        """Destroy the keys whose ids are given and put new ones in their places."""
        ...

    def close(self, mark: PageKey) -> None:
        """Destroy all keys of the mark's tenant; the mark is what it has from then on."""
        ...

    @property
    def mirrors(self) -> int:
        """How many copies are kept."""
        ...


class PageStore(Protocol):
    """Keeps sealed pages, beside the records.

    P1. ``add`` keeps a new page; a number is used once in a tenant.
    P2. ``reseal`` replaces pages by newer generations and leaves a page that is as new or newer.
    P3. ``newest`` is the highest number that a page of the tenant has; 0 if there is none.
    """

    def add(self, page: SealedPage) -> None:
        """Keep a new page."""
        ...

    def pages(self, tenant: TenantId, numbers: Sequence[int]) -> Sequence[SealedPage | None]:
        """Return pages, in order; None for one that is not there."""
        ...

    def reseal(self, pages: Sequence[SealedPage]) -> None:
        """Replace pages by what they were sealed to anew."""
        ...

    def newest(self, tenant: TenantId) -> int:
        """Return the number of the tenant's newest page."""
        ...


@attrs.frozen(kw_only=True)
class OpenPage:
    """A page's keys, and which sealing of it they were read from."""

    tenant: TenantId
    number: int
    generation: int
    key_id: bytes
    keys: bytes = attrs.field(repr=False)

    def key(self, index: int) -> bytes:
        """Return the key in a place.

        Raises:
            SubjectErased: it was destroyed.
        """
        key = self.keys[index * KEY_BYTES : (index + 1) * KEY_BYTES]
        if key == _GONE:
            raise SubjectErased
        return key

    def holds(self, index: int) -> bool:
        """Tell whether the place still holds a key."""
        return self.keys[index * KEY_BYTES : (index + 1) * KEY_BYTES] != _GONE


def without(page: OpenPage, indexes: Collection[int], *, key_id: bytes) -> OpenPage:
    """Return the page's next generation, without the keys in the places *indexes*."""
    kept = bytearray(page.keys)
    for index in indexes:
        kept[index * KEY_BYTES : (index + 1) * KEY_BYTES] = _GONE
    return attrs.evolve(page, generation=page.generation + 1, key_id=key_id, keys=bytes(kept))


def seal_page(page: OpenPage, *, key: bytes, nonce: bytes) -> SealedPage:
    """Seal a page under its page key."""
    return SealedPage(
        tenant=page.tenant,
        number=page.number,
        generation=page.generation,
        key_id=page.key_id,
        blob=seal_bytes(page.keys, key=key, bound=_bound(page), nonce=nonce),
    )


def open_page(sealed: SealedPage, *, key: bytes) -> OpenPage:
    """Open a page with its page key.

    Raises:
        SealBroken: it was altered, or the key is another's.
    """
    return OpenPage(
        tenant=sealed.tenant,
        number=sealed.number,
        generation=sealed.generation,
        key_id=sealed.key_id,
        keys=open_bytes(sealed.blob, key=key, bound=_bound(sealed), what="key page"),
    )


def _bound(page: OpenPage | SealedPage) -> bytes:
    return f"page\0{page.tenant}\0{page.number}\0{page.generation}\0{page.key_id.hex()}".encode()
