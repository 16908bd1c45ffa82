"""The vault: gives every subject a key of their own, keeps it on a page, and destroys it.

It is an algorithm over three ports (pages beside the records, the keystore, the journal); the order of its steps is
what makes a destroyed key stay destroyed through any crash.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from capsule_core.blind import TenantKeys, derive
from capsule_core.errors import SealBroken
from capsule_core.journal import Journal, PageResealed, SealedPage
from capsule_core.names import TenantId
from capsule_core.pages import (
    PLACES,
    TENANT_SECRET,
    KeyMoved,
    Keystore,
    OpenPage,
    PageKey,
    PageStore,
    open_page,
    seal_page,
    without,
)
from capsule_core.records import Slot
from capsule_core.sealing import KEY_BYTES, NONCE_BYTES

__all__ = ["Vault"]

_KEY_ID_BYTES: Final = 8


@attrs.define(eq=False)
class Vault:
    """Holds the keys of subjects.

    Args:
        pages: where sealed pages lie.
        keystore: where page keys lie.
        journal: where a re-sealed page is durable before its old key dies.
        random: gives that many unpredictable bytes.
        cached: how many opened pages are kept in memory.
        shared: whether others use the same keystore: then a cached page counts only while its key is there.
    """

    _pages: PageStore
    _keystore: Keystore
    _journal: Journal
    _random: Callable[[int], bytes]
    _cached: int = 4096
    _shared: bool = False
    _opened: OrderedDict[tuple[TenantId, int], OpenPage] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _secrets: dict[TenantId, TenantKeys] = attrs.field(factory=dict, init=False, repr=False)
    _next: dict[TenantId, Slot] = attrs.field(factory=dict, init=False)
    # Whoever writes holds the store's lock and then asks for keys: so nothing may wait for the store under the lock of
    # the cache, and what does wait for it has locks of its own.
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _issuing: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _shredding: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    @property
    def mirrors(self) -> int:
        """How many copies of the keystore are kept."""
        return self._keystore.mirrors

    def nonce(self) -> bytes:
        """Return 12 bytes that were never a nonce before."""
        return self._random(NONCE_BYTES)

    def tenant(self, tenant: TenantId) -> TenantKeys:
        """Return the keys of a tenant, made at first use."""
        keys = self._secrets.get(tenant)
        if keys is None:
            keys = self._secrets[tenant] = derive(self._secret(tenant))
        return keys

    def issue(self, tenant: TenantId, count: int) -> list[Slot]:
        """Give out places for *count* new subjects; a place is never given out twice."""
        issued: list[Slot] = []
        with self._issuing:
            while len(issued) < count:
                slot = self._next.get(tenant)
                if slot is None or slot.index >= PLACES:
                    slot = Slot(self._new_page(tenant), 0)
                end = min(PLACES, slot.index + count - len(issued))
                issued.extend(Slot(slot.page, index) for index in range(slot.index, end))
                self._next[tenant] = Slot(slot.page, end)
        return issued

    def keys(self, tenant: TenantId, slots: Sequence[Slot]) -> list[bytes]:
        """Return the keys in *slots*, in order.

        Raises:
            SubjectErased: one of them was destroyed.
            SealBroken: a page does not open.
        """
        pages = self._open(tenant, {slot.page for slot in slots})
        return [pages[slot.page].key(slot.index) for slot in slots]

    def shred(self, tenant: TenantId, slots: Sequence[Slot]) -> dict[int, str]:
        """Destroy the keys in *slots*; return for each of their pages the key it is sealed under now.

        Repeating it, also after a crash at any point, leads to the same end.
        """
        places: dict[int, set[int]] = defaultdict(set)
        for slot in slots:
            places[slot.page].add(slot.index)
        while True:
            with self._shredding:
                try:
                    return self._reseal(tenant, places)
                except KeyMoved:
                    # Another process re-sealed one of the pages: begin again from its result.
                    self._forget(tenant, places)

    def remaining(self, tenant: TenantId, slots: Sequence[Slot]) -> list[Slot]:
        """Read back from the stores, past every cache, which of *slots* still hold a key."""
        pages = self._load(tenant, {slot.page for slot in slots}, heal=True)
        return [slot for slot in slots if pages[slot.page].holds(slot.index)]

    def _secret(self, tenant: TenantId) -> bytes:
        held = self._keystore.get(tenant, [TENANT_SECRET])[0]
        if held is not None:
            return held.key
        made = PageKey(tenant=tenant, page=TENANT_SECRET, id=self._random(_KEY_ID_BYTES), key=self._random(KEY_BYTES))
        try:
            self._keystore.put([made])
        except KeyMoved:  # another process made it at the same moment
            return self._secret(tenant)
        return made.key

    def _new_page(self, tenant: TenantId) -> int:
        """Make a page of our own; its key is durable before the page is, so that no page is without."""
        number = max(self._pages.newest(tenant), self._next.get(tenant, Slot(0, 0)).page)
        while True:
            number += 1
            key = PageKey(tenant=tenant, page=number, id=self._random(_KEY_ID_BYTES), key=self._random(KEY_BYTES))
            try:
                self._keystore.put([key])
            except KeyMoved:
                continue  # a crash or another process got there first: that number is spent
            keys = self._random(PLACES * KEY_BYTES)
            page = OpenPage(tenant=tenant, number=number, generation=1, key_id=key.id, keys=keys)
            self._pages.add(seal_page(page, key=key.key, nonce=self.nonce()))
            self._remember(page)
            return number

    def _open(self, tenant: TenantId, numbers: set[int]) -> Mapping[int, OpenPage]:
        with self._lock:
            found = {number: page for number in numbers if (page := self._opened.get((tenant, number))) is not None}
            for number in found:
                self._opened.move_to_end((tenant, number))
        if self._shared:
            found = self._still_valid(tenant, found)
        missing = numbers - found.keys()
        if missing:
            for page in self._load(tenant, missing).values():
                found[page.number] = page
                self._remember(page)
        return found

    def _still_valid(self, tenant: TenantId, found: dict[int, OpenPage]) -> dict[int, OpenPage]:
        """Keep the pages whose keys nobody has destroyed since they were opened."""
        keys = self._keystore.get(tenant, list(found))
        return {
            number: page
            for (number, page), key in zip(found.items(), keys, strict=True)
            if key is not None and key.id == page.key_id
        }

    def _load(self, tenant: TenantId, numbers: set[int], *, heal: bool = False) -> dict[int, OpenPage]:
        """Read pages past the cache; *heal* also stores what the journal had to help out with.

        A witness opens pages inside a store's transaction, and a witness never writes: only who is outside may heal.
        """
        ordered = sorted(numbers)
        keys = self._keystore.get(tenant, ordered)
        stored = self._pages.pages(tenant, ordered)
        current = [self._current(key, page) for key, page in zip(keys, stored, strict=True)]
        if heal and (healed := [new for (_, new), old in zip(current, stored, strict=True) if new is not old]):
            self._pages.reseal(healed)
        return {page.number: open_page(page, key=key.key) for key, page in current}

    def _current(self, key: PageKey | None, page: SealedPage | None) -> tuple[PageKey, SealedPage]:
        if key is None or page is None:
            raise SealBroken("key page")
        if page.key_id == key.id:
            return key, page
        # Older than its key, after a crash or a restore: the journal has its newest sealing.
        healed = self._journal.newest_page(page.tenant, page.number, key.id)
        if healed is None:
            raise SealBroken("key page")
        return key, healed

    def _reseal(self, tenant: TenantId, places: Mapping[int, set[int]]) -> dict[int, str]:
        """Journal the new pages, then let the old keys die, then store the pages: no other order survives a crash."""
        pages = self._load(tenant, set(places), heal=True)
        replaced: list[tuple[bytes, PageKey]] = []
        resealed: list[SealedPage] = []
        for number, page in pages.items():
            if not any(page.holds(index) for index in places[number]):
                continue
            key = PageKey(tenant=tenant, page=number, id=self._random(_KEY_ID_BYTES), key=self._random(KEY_BYTES))
            pages[number] = without(page, places[number], key_id=key.id)
            replaced.append((page.key_id, key))
            resealed.append(seal_page(pages[number], key=key.key, nonce=self.nonce()))
        if resealed:
            self._journal.append([PageResealed(page) for page in resealed])
            self._keystore.replace(replaced)
            self._pages.reseal(resealed)
        for page in pages.values():
            self._remember(page)
        return {number: page.key_id.hex() for number, page in pages.items()}

    def _remember(self, page: OpenPage) -> None:
        with self._lock:
            held = self._opened.get((page.tenant, page.number))
            if held is not None and held.generation > page.generation:
                return  # it was re-sealed while this older one was being read
            self._opened[(page.tenant, page.number)] = page
            while len(self._opened) > self._cached:
                self._opened.popitem(last=False)

    def _forget(self, tenant: TenantId, numbers: Mapping[int, set[int]]) -> None:
        with self._lock:
            for number in numbers:
                self._opened.pop((tenant, number), None)
