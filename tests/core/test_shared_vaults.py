"""Two vaults over one store and one keystore, as two processes have them: what one destroys is destroyed in both."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import SubjectErased
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId
from capsule_core.pages import PLACES, PageKey
from capsule_core.records import Slot
from capsule_core.vault import Vault
from tests.core.desk import ACME, ZETA
from tests.core.siege import values_reachable_from
from tests.core.vaults import Two, two


@pytest.mark.law("L6")
def test_a_key_that_another_destroyed_is_at_once_neither_given_nor_left_in_memory() -> None:
    """Its page was open here a moment ago, and nobody has told this vault anything since."""
    both = two()
    ann, bo = both.ours.issue(ACME, 2)
    (key, other) = both.theirs.keys(ACME, [ann, bo])
    page_key = both.keystore.get(ACME, [ann.page])[0]
    assert page_key is not None
    both.ours.shred(ACME, [ann])
    left = [value for value in values_reachable_from(both.theirs) if isinstance(value, bytes)]
    assert not [value for value in left if key in value or page_key.key in value], "the key is still in memory"
    with pytest.raises(SubjectErased):
        both.theirs.keys(ACME, [ann])
    assert both.theirs.keys(ACME, [bo]) == [other], "who shares the page stays readable"
    assert both.theirs.remaining(ACME, [ann, bo]) == [bo]


@pytest.mark.law("L6")
def test_one_vault_alone_forgets_what_it_destroys() -> None:
    journal, chance = MemoryJournal(), random.Random(1)  # noqa: S311  a seed
    vault = Vault(MemoryStore(MemoryLedger(), journal), MemoryKeystore(), journal, chance.randbytes)
    ann, bo = vault.issue(ACME, 2)
    key, other = vault.keys(ACME, [ann, bo])
    vault.shred(ACME, [ann])
    assert not [value for value in values_reachable_from(vault) if isinstance(value, bytes) and key in value]
    assert vault.keys(ACME, [bo]) == [other]


def test_whoever_reads_while_a_page_is_sealed_anew_gets_their_keys_all_the_same() -> None:
    """An innocent neighbour must not be told that their data is damaged."""
    both = two()
    ann, bo, cleo = both.ours.issue(ACME, 3)
    (key,) = both.ours.keys(ACME, [bo])
    both.store.between.append(lambda: both.ours.shred(ACME, [ann]))
    assert both.theirs.keys(ACME, [bo]) == [key]
    both.store.between += [lambda: both.ours.shred(ACME, [cleo]), lambda: both.ours.shred(ACME, [ann])]
    assert both.theirs.remaining(ACME, [ann, bo, cleo]) == [bo]


def test_two_that_destroy_on_one_page_at_once_destroy_both_and_nothing_else() -> None:
    both = two()
    ann, bo, cleo = both.ours.issue(ACME, 3)
    (key,) = both.ours.keys(ACME, [cleo])
    both.store.between.append(lambda: both.theirs.shred(ACME, [bo]))
    both.ours.shred(ACME, [ann])
    for vault in (both.ours, both.theirs):
        assert vault.remaining(ACME, [ann, bo, cleo]) == [cleo]
        assert vault.keys(ACME, [cleo]) == [key]


@attrs.define(eq=False)
class Noted(MemoryKeystore):
    """A keystore that notes how many keys each replacement was of."""

    replaced: list[int] = attrs.field(factory=list, init=False)

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        super().replace(keys)
        self.replaced.append(len(keys))


@pytest.mark.law("L6")
def test_whoever_finds_a_key_destroyed_already_asks_all_the_same_that_nothing_of_it_be_left() -> None:
    """Whoever destroyed it may have died before the files were rid of it (clause C3)."""
    keystore = Noted()
    both = two(keystore=keystore)
    (ann,) = both.ours.issue(ACME, 1)
    both.ours.shred(ACME, [ann])
    both.theirs.shred(ACME, [ann])
    assert keystore.replaced == [1, 0]


@pytest.mark.law("L6")
@given(data=st.data())
def test_in_any_order_of_work_a_key_is_the_same_everywhere_or_gone_everywhere(data: st.DataObject) -> None:
    both = two(cached=data.draw(st.sampled_from((1, 2, 4096))))
    known: dict[tuple[TenantId, Slot], bytes | None] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        vault, tenant = data.draw(st.sampled_from((both.ours, both.theirs))), data.draw(st.sampled_from((ACME, ZETA)))
        living = [slot for (owner, slot), key in known.items() if owner == tenant and key is not None]
        if living and data.draw(st.booleans()):
            gone = data.draw(st.lists(st.sampled_from(living), min_size=1, max_size=3, unique=True))
            vault.shred(tenant, gone)
            known.update(dict.fromkeys((tenant, slot) for slot in gone))
        else:
            slots = vault.issue(tenant, data.draw(st.sampled_from((1, 2, PLACES - 1))))[-2:]
            assert not [slot for slot in slots if (tenant, slot) in known], "a place is given out twice"
            known.update({(tenant, slot): key for slot, key in zip(slots, vault.keys(tenant, slots), strict=True)})
        _agree(both, known)


def _agree(both: Two, known: dict[tuple[TenantId, Slot], bytes | None]) -> None:
    for vault in (both.ours, both.theirs):
        for (tenant, slot), key in known.items():
            if key is not None:
                assert vault.keys(tenant, [slot]) == [key]
            else:
                with pytest.raises(SubjectErased):
                    vault.keys(tenant, [slot])
