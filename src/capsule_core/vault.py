"""The vault: gives every subject a key of their own, keeps it on a page, and destroys it.

It is an algorithm over three ports (pages beside the records, the keystore, the journal); the order of its steps is
what makes a destroyed key stay destroyed through any crash.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from capsule_core.blind import TenantKeys, derive
from capsule_core.errors import SealBroken, TenantClosed
from capsule_core.journal import Journal, PageResealed, SealedPage
from capsule_core.names import TenantId
from capsule_core.pages import (
    AT_ONCE,
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
_CLOSED: Final = bytes(_KEY_ID_BYTES)
"""Names what lies in the place of a closed tenant's secret, so that none is made again."""
_Page = OpenPage | SealedPage


@attrs.define(eq=False)
class Vault:
    """Holds the keys of subjects.

    Args:
        pages: where sealed pages lie.
        keystore: where page keys lie.
        journal: where a re-sealed page is durable before its old key dies.
        random: gives that many unpredictable bytes.
        cached: how many pages are kept in memory.
        shared: whether others use the same keystore: then pages are kept sealed, and each use asks for their keys, so
            that what somebody else destroyed is destroyed here too.
    """

    _pages: PageStore
    _keystore: Keystore
    _journal: Journal
    _random: Callable[[int], bytes]
    _cached: int = 4096
    _shared: bool = attrs.field(default=False, alias="shared")
    _held: OrderedDict[tuple[TenantId, int], _Page] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _secrets: dict[TenantId, TenantKeys] = attrs.field(factory=dict, init=False, repr=False)
    _next: dict[TenantId, Slot] = attrs.field(factory=dict, init=False)
    _closed: set[TenantId] = attrs.field(factory=set, init=False, repr=False)
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
        """Return the keys of a tenant, made at first use.

        Raises:
            TenantClosed: they were destroyed.
            SealBroken: they are lost.
        """
        keys = self._secrets.get(tenant)
        if keys is None:
            keys = derive(self._secret(tenant))
            with self._lock:
                if tenant not in self._closed:
                    self._secrets[tenant] = keys
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
            TenantClosed: all keys of the tenant were.
            SealBroken: a page does not open.
        """
        pages = self._open(tenant, _pages_of(slots))
        return [pages[slot.page].key(slot.index) for slot in slots]

    def shred(self, tenant: TenantId, slots: Sequence[Slot]) -> dict[int, str]:
        """Destroy the keys in *slots*; return for each of their pages the key it is sealed under now.

        Repeating it, also after a crash at any point, leads to the same end.
        """
        places: dict[int, set[int]] = defaultdict(set)
        for slot in slots:
            places[slot.page].add(slot.index)
        numbers, sealed = sorted(places), dict[int, str]()
        for start in range(0, len(numbers), AT_ONCE):
            sealed |= self._shred(tenant, {number: places[number] for number in numbers[start : start + AT_ONCE]})
        return sealed

    def _shred(self, tenant: TenantId, places: Mapping[int, set[int]]) -> dict[int, str]:
        while True:
            with self._shredding:
                try:
                    return self._reseal(tenant, places)
                except TenantClosed:
                    return {}  # no page of it is under any key
                except KeyMoved:
                    # Another process re-sealed one of the pages: begin again from its result.
                    self._forget(tenant, places)

    def secure(self, tenant: TenantId, slots: Sequence[Slot]) -> None:
        """Journal the pages of *slots* as they are: what lies under them must survive a restore of older data."""
        numbers = sorted({slot.page for slot in slots})
        if numbers:
            pages = self._pages.pages(tenant, numbers)
            self._journal.append([PageResealed(page) for page in pages if page is not None])

    def heal(self, tenant: TenantId, pages: Iterable[SealedPage]) -> int:
        """Store those of *pages* that are sealed under what is now their key, where an older one lies or none.

        Return how many were stored. A page under another key was sealed again since, or never came into use.
        """
        sealed = {(page.number, page.key_id): page for page in pages}
        numbers = sorted({number for number, _ in sealed})
        keys = self._keystore.get(tenant, numbers)
        current = [sealed.get((number, key.id)) if key else None for number, key in zip(numbers, keys, strict=True)]
        stored = self._pages.pages(tenant, numbers)
        healed = [
            (page, held)
            for page, held in zip(current, stored, strict=True)
            if page is not None and (held is None or held.generation < page.generation)
        ]
        self._store(healed)
        return len(healed)

    def remaining(self, tenant: TenantId, slots: Sequence[Slot]) -> list[Slot]:
        """Read back from the stores, past every cache, which of *slots* still hold a key."""
        try:
            newest = self._newest(tenant, _pages_of(slots), heal=True)
        except TenantClosed:
            return []
        pages = {page.number: open_page(page, key=key.key) for key, page in newest}
        return [slot for slot in slots if pages[slot.page].holds(slot.index)]

    def close(self, tenant: TenantId) -> None:
        """Destroy every key of a tenant; from then on nothing of it opens, and its id is not used again.

        The mark that says so takes their place in one step. Repeating it, also after a crash, leads to the same end.
        """
        mark = PageKey(tenant=tenant, page=TENANT_SECRET, id=_CLOSED, key=bytes(KEY_BYTES))
        with self._issuing, self._shredding:
            self._keystore.close(mark)
            self._next.pop(tenant, None)
            with self._lock:
                self._closed.add(tenant)
                self._secrets.pop(tenant, None)
                for each in [each for each in self._held if each[0] == tenant]:
                    del self._held[each]

    def is_closed(self, tenant: TenantId) -> bool:
        """Tell whether the keys of a tenant were destroyed, without making any for one that is not there."""
        held = self._keystore.get(tenant, [TENANT_SECRET])[0]
        return held is not None and held.id == _CLOSED

    def _secret(self, tenant: TenantId) -> bytes:
        held = self._keystore.get(tenant, [TENANT_SECRET])[0]
        if held is None and self._pages.newest(tenant):  # it is older than any page
            held = self._keystore.get(tenant, [TENANT_SECRET])[0]
            if held is None:
                raise SealBroken("tenant's secret")
        if held is not None:
            _refuse_mark(held)
            return held.key
        made = self._fresh_key(tenant, TENANT_SECRET)
        try:
            self._keystore.put([made])
        except KeyMoved:  # another process made it at the same moment
            return self._secret(tenant)
        return made.key

    def _refuse_closed(self, tenant: TenantId) -> None:
        held = self._keystore.get(tenant, [TENANT_SECRET])[0]
        if held is not None:
            _refuse_mark(held)

    def _new_page(self, tenant: TenantId) -> int:
        """Make a page of our own; its key is durable before the page is, so that no page is without."""
        self._secret(tenant)
        number = max(self._pages.newest(tenant), self._next.get(tenant, Slot(0, 0)).page)
        while True:
            number += 1
            key = self._fresh_key(tenant, number)
            try:
                self._keystore.put([key])
            except KeyMoved:
                continue  # a crash or another process got there first: that number is spent
            self._refuse_closed(tenant)  # after the key: if it was closed in between, nothing is ever sealed under it
            keys = self._random(PLACES * KEY_BYTES)
            page = OpenPage(tenant=tenant, number=number, generation=1, key_id=key.id, keys=keys)
            sealed = seal_page(page, key=key.key, nonce=self.nonce())
            self._journal.append([PageResealed(sealed)])  # before anything is sealed with its keys: a restore has it
            self._pages.add(sealed)
            self._remember(sealed if self._shared else page)
            return number

    def _open(self, tenant: TenantId, numbers: set[int]) -> Mapping[int, OpenPage]:
        with self._lock:
            held = {number: page for number in numbers if (page := self._held.get((tenant, number))) is not None}
            for number in held:
                self._held.move_to_end((tenant, number))
        opened = self._opened(tenant, held)
        missing = numbers - opened.keys()
        if missing:
            for key, sealed in self._newest(tenant, missing):
                opened[sealed.number] = page = open_page(sealed, key=key.key)
                self._remember(sealed if self._shared else page)
        return opened

    def _opened(self, tenant: TenantId, held: Mapping[int, _Page]) -> dict[int, OpenPage]:
        """Open those of the pages in memory that are sealed, if nobody has destroyed their keys since."""
        opened = {number: page for number, page in held.items() if isinstance(page, OpenPage)}
        sealed = [page for page in held.values() if isinstance(page, SealedPage)]
        if sealed:
            keys = self._keystore.get(tenant, [page.number for page in sealed])
            for key, page in zip(keys, sealed, strict=True):
                if key is not None and key.id == page.key_id:
                    opened[page.number] = open_page(page, key=key.key)
        return opened

    def _newest(self, tenant: TenantId, numbers: set[int], *, heal: bool = False) -> list[tuple[PageKey, SealedPage]]:
        """Read pages past the cache; *heal* also stores what the journal had to help out with.

        A witness opens pages inside a store's transaction, and a witness never writes: only who is outside may heal.
        Pages are read before their keys: if somebody re-seals one in between, the journal has it under the newer key.
        """
        ordered = sorted(numbers)
        stored = self._pages.pages(tenant, ordered)
        keys = self._keystore.get(tenant, ordered)
        if None in keys:
            self._refuse_closed(tenant)  # then they are not lost
        current = [self._current(key, page) for key, page in zip(keys, stored, strict=True)]
        if heal:
            self._store([(new, old) for (_, new), old in zip(current, stored, strict=True) if new is not old])
        return current

    def _store(self, healed: Sequence[tuple[SealedPage, SealedPage | None]]) -> None:
        for page, held in healed:
            if held is None:
                self._pages.add(page)
        self._pages.reseal([page for page, held in healed if held is not None])

    def _current(self, key: PageKey | None, page: SealedPage | None) -> tuple[PageKey, SealedPage]:
        if key is None:
            raise SealBroken("key page")
        if page is not None and page.key_id == key.id:
            return key, page
        # Missing, or older than its key, after a crash or a restore: the journal has its newest sealing.
        healed = self._journal.newest_page(key.tenant, key.page, key.id)
        if healed is None or (
            page is not None and healed.generation <= page.generation
        ):  # then it is the key that is old
            raise SealBroken("key page")
        return key, healed

    def _reseal(self, tenant: TenantId, places: Mapping[int, set[int]]) -> dict[int, str]:
        """Journal the new pages, then let the old keys die, then store the pages: no other order survives a crash."""
        pages: dict[int, _Page] = {}
        replaced: list[tuple[bytes, PageKey]] = []
        resealed: list[SealedPage] = []
        for old, stored in self._newest(tenant, set(places), heal=True):
            page, sealed = open_page(stored, key=old.key), stored
            if any(page.holds(index) for index in places[page.number]):
                key = self._fresh_key(tenant, page.number)
                page = without(page, places[page.number], key_id=key.id)
                sealed = seal_page(page, key=key.key, nonce=self.nonce())
                replaced.append((old.id, key))
                resealed.append(sealed)
            pages[page.number] = sealed if self._shared else page
        if resealed:
            self._journal.append([PageResealed(page) for page in resealed])
        self._journal.settle()
        # Even if none is left to replace: whoever did that may have died before the old ones were out of the files.
        self._keystore.replace(replaced)
        if resealed:
            self._pages.reseal(resealed)
        for kept in pages.values():
            self._remember(kept)
        return {number: page.key_id.hex() for number, page in pages.items()}

    def _fresh_key(self, tenant: TenantId, number: int) -> PageKey:
        return PageKey(tenant=tenant, page=number, id=self._random(_KEY_ID_BYTES), key=self._random(KEY_BYTES))

    def _remember(self, page: _Page) -> None:
        with self._lock:
            held = self._held.get((page.tenant, page.number))
            if page.tenant in self._closed or (held is not None and held.generation > page.generation):
                return  # it was closed, or re-sealed, while this older one was being read
            self._held[(page.tenant, page.number)] = page
            while len(self._held) > self._cached:
                self._held.popitem(last=False)

    def _forget(self, tenant: TenantId, numbers: Mapping[int, set[int]]) -> None:
        with self._lock:
            for number in numbers:
                self._held.pop((tenant, number), None)


def _refuse_mark(secret: PageKey) -> None:
    if secret.id == _CLOSED:
        raise TenantClosed


def _pages_of(slots: Iterable[Slot]) -> set[int]:
    return {slot.page for slot in slots}
