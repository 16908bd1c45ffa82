"""The suite for a store of sealed key pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from capsule_core.journal import SealedPage
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageStore
from capsule_core.testing.conformance.clauses import Capabilities, explore, lacking, raised, require

__all__ = ["PagesUnderTest", "run_page_store_conformance"]

_TENANTS: Final = (TenantId("acme"), TenantId("zeta"))
_NUMBERS: Final = (1, 2, 3, 700)


class PagesUnderTest(Protocol):
    """A page store; *reopen* opens the same data again, as after a restart."""

    @property
    def store(self) -> PageStore:
        """The store that is tried."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_page_store_conformance(
    make: Callable[[], PagesUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty page stores that keep P1-P3 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Pages(make, capabilities), settings)
    return lacking(capabilities, [("durable", "P1"), ("durable", "P2")])


class _Pages(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], PagesUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.model: dict[tuple[TenantId, int], SealedPage] = {}

    def teardown(self) -> None:
        self.under.close()

    @rule(tenant=st.sampled_from(_TENANTS), number=st.sampled_from(_NUMBERS), blob=st.binary(max_size=40))
    def add(self, tenant: TenantId, number: int, blob: bytes) -> None:
        page = SealedPage(tenant=tenant, number=number, generation=1, key_id=bytes(8), blob=blob)
        refused = raised(lambda: self.under.store.add(page), KeyMoved) is not None
        require(refused == ((tenant, number) in self.model), "P1", "a number is not used exactly once")
        self.model.setdefault((tenant, number), page)
        self._agree("P1")

    @rule(
        tenant=st.sampled_from(_TENANTS),
        step=st.sampled_from((-1, 0, 1, 3)),
        blob=st.binary(max_size=40),
        key_id=st.binary(min_size=8, max_size=8),
    )
    def reseal(self, tenant: TenantId, step: int, blob: bytes, key_id: bytes) -> None:
        """Re-seal every page of a tenant at once, some to what is older."""
        pages = [
            SealedPage(
                tenant=tenant,
                number=number,
                generation=page.generation + step + number % 2,
                key_id=key_id,
                blob=blob,
            )
            for (owner, number), page in self.model.items()
            if owner == tenant
        ]
        self.under.store.reseal(pages)
        newer = [page for page in pages if page.generation > self.model[tenant, page.number].generation]
        self.model.update({(tenant, page.number): page for page in newer})
        self._agree("P2")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("P2")

    def _agree(self, clause: str) -> None:
        for tenant in _TENANTS:
            found = self.under.store.pages(tenant, _NUMBERS)
            wanted = [self.model.get((tenant, number)) for number in _NUMBERS]
            require(list(found) == wanted, clause, "a page is not the one that was kept")
            numbers = [number for owner, number in self.model if owner == tenant]
            newest = max(numbers, default=0)
            require(self.under.store.newest(tenant) == newest, "P3", "the newest number is another")
