"""Two vaults over one store and one keystore, as two processes have them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import attrs

from capsule_core.journal import MemoryJournal, SealedPage
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId
from capsule_core.vault import Vault


@attrs.define(eq=False)
class Interrupted(MemoryStore):
    """A store in which others are faster: what waits in *between* happens just after pages were read."""

    between: list[Callable[[], object]] = attrs.field(factory=list, init=False)

    def pages(self, tenant: TenantId, numbers: Sequence[int]) -> Sequence[SealedPage | None]:
        found = super().pages(tenant, numbers)
        waiting, self.between = self.between, []
        for each in waiting:
            each()
        return found


@attrs.frozen
class Two:
    """Two vaults that share everything but their memory."""

    store: Interrupted
    keystore: MemoryKeystore
    ours: Vault
    theirs: Vault


def two(*, cached: int = 4096, keystore: MemoryKeystore | None = None) -> Two:
    journal, keystore, chance = MemoryJournal(), keystore or MemoryKeystore(), random.Random(7)  # noqa: S311  a seed
    store = Interrupted(MemoryLedger(), journal)
    made = [Vault(store, keystore, journal, chance.randbytes, cached=cached, shared=True) for _ in range(2)]
    return Two(store, keystore, *made)
