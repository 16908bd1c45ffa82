"""A closed tenant is closed for ever and for everybody; what is older than its key is never believed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from capsule_core.errors import SealBroken, TenantClosed
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId
from capsule_core.pages import AT_ONCE, PLACES, TENANT_SECRET, PageKey
from capsule_core.vault import Vault

ACME, ZETA = TenantId("acme"), TenantId("zeta")


@attrs.define
class Counting(MemoryKeystore):
    """Counts the keys of each call; *before* happens before a key is kept."""

    most: int = 0
    before: Callable[[PageKey], object] = lambda _: None

    def put(self, keys: Any) -> None:
        for key in keys:
            self.before(key)
        super().put(keys)

    def close(self, mark: PageKey) -> None:
        self.before(mark)
        super().close(mark)

    def replace(self, keys: Any) -> None:
        self.most = max(self.most, len(keys))
        super().replace(keys)


@attrs.define
class House:
    """A store, a keystore and a journal, and any number of vaults on them."""

    shared: bool = False
    store: MemoryStore = attrs.field(factory=lambda: MemoryStore(MemoryLedger(), MemoryJournal()))
    keystore: Counting = attrs.Factory(Counting)
    journal: MemoryJournal = attrs.Factory(MemoryJournal)

    def vault(self) -> Vault:
        return Vault(self.store, self.keystore, self.journal, secrets.token_bytes, shared=self.shared)


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def house(request: pytest.FixtureRequest) -> House:
    return House(shared=request.param)


def test_of_a_closed_tenant_nothing_opens_and_nothing_is_kept_any_more(house: House) -> None:
    vault = house.vault()
    slots, others = vault.issue(ACME, 300), vault.issue(ZETA, 3)
    secret, theirs = vault.tenant(ACME), vault.keys(ZETA, others)
    vault.keys(ACME, slots)
    vault.close(ACME)
    for each in (vault, house.vault()):
        for deed in (
            lambda each=each: each.keys(ACME, slots[:1]),
            lambda each=each: each.tenant(ACME),
            lambda each=each: each.issue(ACME, 1),
        ):
            with pytest.raises(TenantClosed, match="was closed"):
                deed()
        assert each.remaining(ACME, slots) == []
        assert each.shred(ACME, slots) == {}
        assert each.keys(ZETA, others) == theirs
    vault.close(ACME)
    with pytest.raises(TenantClosed):
        house.vault().tenant(ACME)
    assert [key.page for (tenant, _), key in house.keystore._keys.items() if tenant == ACME] == [TENANT_SECRET]
    assert secret not in vault._secrets.values()


def test_of_a_tenant_that_another_process_closed_no_page_in_memory_opens() -> None:
    house = House(shared=True)
    here, there = house.vault(), house.vault()
    slots = here.issue(ACME, 2)
    assert len(here.keys(ACME, slots)) == 2
    there.close(ACME)
    with pytest.raises(TenantClosed):
        here.keys(ACME, slots)
    with pytest.raises(TenantClosed):
        here.issue(ACME, PLACES)


def test_a_page_that_is_made_while_its_tenant_is_closed_gives_no_place_out(house: House) -> None:
    vault, other = house.vault(), house.vault()
    other.issue(ACME, 1)

    def close_first(key: PageKey) -> None:
        if key.page > 1:
            house.keystore.before = lambda _: None
            other.close(ACME)

    house.keystore.before = close_first
    with pytest.raises(TenantClosed):
        vault.issue(ACME, 1)
    assert house.store.pages(ACME, [2]) == [None]


def test_a_secret_that_is_made_while_its_tenant_is_closed_does_not_outlive_that(house: House) -> None:
    vault, other = house.vault(), house.vault()

    def make_first(key: PageKey) -> None:
        if key.id == bytes(8):
            house.keystore.before = lambda _: None
            other.tenant(ACME)

    house.keystore.before = make_first
    vault.close(ACME)
    with pytest.raises(TenantClosed):
        house.vault().tenant(ACME)


def test_who_opens_pages_while_their_tenant_is_closed_keeps_none(house: House) -> None:
    vault = house.vault()
    slots = vault.issue(ACME, PLACES * 4)
    begun, over = threading.Semaphore(0), threading.Event()

    def read() -> None:
        reader = house.vault() if house.shared else vault
        try:
            while True:
                reader.keys(ACME, slots)
                begun.release()
        except TenantClosed:
            over.set()

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(3):
        assert begun.acquire(timeout=30)
    vault.close(ACME)
    thread.join(30)
    assert over.is_set()
    assert vault._held == {}


def test_a_lost_secret_is_data_loss_and_never_made_again(house: House) -> None:
    vault = house.vault()
    vault.issue(ACME, 1)
    del house.keystore._keys[ACME, TENANT_SECRET]
    with pytest.raises(SealBroken):
        house.vault().tenant(ACME)
    assert (ACME, TENANT_SECRET) not in house.keystore._keys


def test_an_old_page_key_put_back_does_not_bring_an_erased_person_back(house: House) -> None:
    """The journal still has the page that it opens: but the page that is stored is newer than that."""
    vault = house.vault()
    slots = vault.issue(ACME, 3)
    vault.shred(ACME, slots[:1])
    old = house.keystore._keys[ACME, 1]
    vault.shred(ACME, slots[1:2])
    house.keystore._keys[ACME, 1] = old
    with pytest.raises(SealBroken):
        house.vault().keys(ACME, slots[1:2])
    with pytest.raises(SealBroken):
        house.vault().keys(ACME, slots[2:])


def test_many_pages_are_shredded_in_calls_that_a_keystore_takes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AT_ONCE == 1000
    monkeypatch.setattr("capsule_core.vault.AT_ONCE", 4)
    vault = house.vault()
    slots = vault.issue(ACME, PLACES * 10)
    sealed = vault.shred(ACME, slots[::PLACES])
    assert sorted(sealed) == list(range(1, 11))
    assert house.keystore.most == 4
    assert vault.remaining(ACME, slots[::PLACES]) == []
    assert len(vault.remaining(ACME, slots)) == 10 * (PLACES - 1)
