"""The suite for a keystore."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from capsule_core.names import TenantId
from capsule_core.pages import TENANT_SECRET, KeyMoved, Keystore, PageKey
from capsule_core.testing.conformance.clauses import Capabilities, at_once, explore, lacking, raised, require

__all__ = ["KeystoreUnderTest", "run_keystore_conformance"]

_TENANTS: Final = (TenantId("acme"), TenantId("zeta"))
_PAGES: Final = (0, 1, 2)
_Change = list[tuple[int, bool]]


class KeystoreUnderTest(Protocol):
    """A keystore; *reopen* opens the same data again, *files* gives the bytes of everything it wrote."""

    @property
    def store(self) -> Keystore:
        """The keystore that is tried."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def files(self) -> Sequence[bytes]:
        """Return the content of every file it keeps, mirrors and logs included."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_keystore_conformance(
    make: Callable[[], KeystoreUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty keystores that keep C1-C4 (docs/reference/ports.md).

    A destroyed key is looked for in the files by its id, which lies beside it, and as it is, unwrapped.

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    explore(lambda: _Keys(make, capabilities), settings)
    if capabilities.concurrent:
        for tried in (_one_replaces, _nobody_finds_neither):
            under = make()
            try:
                tried(under.store)
            finally:
                under.close()
    return lacking(capabilities, [("concurrent", "C2"), ("concurrent", "C4"), ("durable", "C3"), ("readable", "C3")])


class _Keys(RuleBasedStateMachine):
    def __init__(self, make: Callable[[], KeystoreUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.model: dict[tuple[TenantId, int], PageKey] = {}
        self.destroyed: list[PageKey] = []
        self.made = 0

    def teardown(self) -> None:
        self.under.close()

    @rule(tenant=st.sampled_from(_TENANTS), pages=st.lists(st.sampled_from(_PAGES), min_size=1, unique=True))
    def put(self, tenant: TenantId, pages: list[int]) -> None:
        keys = [self._key(tenant, page) for page in pages]
        refused = raised(lambda: self.under.store.put(keys), KeyMoved) is not None
        taken = any((tenant, page) in self.model for page in pages)
        require(refused == taken, "C1", "a page gets a key exactly if it has none")
        if not refused:
            self.model.update({(tenant, key.page): key for key in keys})
        self._agree("C1")

    @rule(
        tenant=st.sampled_from(_TENANTS),
        changes=st.lists(
            st.tuples(st.sampled_from(_PAGES), st.sampled_from((True, True, True, False))),
            min_size=1,
            unique_by=lambda change: change[0],
        ),
    )
    def replace(self, tenant: TenantId, changes: _Change) -> None:
        """Replace keys by their ids, some of which are not there any more."""
        wanted: list[tuple[bytes, PageKey]] = []
        for page, right in changes:
            held = self.model.get((tenant, page))
            wanted.append((held.id if held and right else b"no id ..", self._key(tenant, page)))
        refused = raised(lambda: self.under.store.replace(wanted), KeyMoved) is not None
        stale = any(not right or (tenant, page) not in self.model for page, right in changes)
        require(refused == stale, "C2", "keys are replaced exactly if all of them are there")
        if not refused:
            self.destroyed += [self.model[tenant, page] for page, _ in changes]
            self.model.update({(tenant, key.page): key for _, key in wanted})
        self._agree("C2")

    @rule(tenant=st.sampled_from(_TENANTS))
    def close(self, tenant: TenantId) -> None:
        mark = self._key(tenant, TENANT_SECRET)
        self.under.store.close(mark)
        gone = [key for key in self.model if key[0] == tenant]
        self.destroyed += [self.model.pop(key) for key in gone]
        self.model[tenant, TENANT_SECRET] = mark
        self._agree("C4")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("C3")

    def _agree(self, clause: str) -> None:
        require(self.under.store.mirrors >= 1, "C3", "there is no copy")
        for tenant in _TENANTS:
            found = list(self.under.store.get(tenant, _PAGES))
            seen = [key for key in found if key is not None]
            foreign = any(key.tenant != tenant for key in seen)
            require(not foreign, "C4", "a tenant is given another's key")
            require(found == [self.model.get((tenant, page)) for page in _PAGES], clause, "a page has another key")
        if self.capabilities.readable and self.destroyed:
            written = b"".join(self.under.files())
            left = [key for key in self.destroyed if key.id in written or key.key in written]
            require(not left, "C3", f"{len(left)} destroyed keys are left in a file")

    def _key(self, tenant: TenantId, page: int) -> PageKey:
        self.made += 1
        return PageKey(tenant=tenant, page=page, id=b"id%06d" % self.made, key=b"key %028d" % self.made)


def _one_replaces(store: Keystore) -> None:
    """Many replace the same key at once: the old one dies once."""

    def key(number: int) -> PageKey:
        return PageKey(tenant=_TENANTS[0], page=1, id=b"rival %02d" % number, key=b"key %028d" % number)

    store.put([key(99)])
    done = at_once(lambda number: store.replace([(key(99).id, key(number))]))
    lost = [result for result in done if isinstance(result, KeyMoved)]
    require(len(lost) == len(done) - 1, "C2", f"{len(done) - len(lost)} callers replaced the same key")
    require(store.get(_TENANTS[0], [1]) == [key(done.index(None))], "C2", "it is not the winner's key that is kept")


def _nobody_finds_neither(store: Keystore) -> None:
    """Who looks while a tenant is closed finds its keys, or the mark: one of the two, each time."""

    def key(name: str, page: int) -> PageKey:
        return PageKey(tenant=_TENANTS[0], page=page, id=f"{name} {page:>{7 - len(name)}}".encode(), key=bytes(32))

    secret, mark = key("old", TENANT_SECRET), key("mark", TENANT_SECRET)
    store.put([secret, key("old", 1)])
    closed = threading.Event()

    def close_or_look(number: int) -> list[PageKey | None]:
        if number == 0:
            try:
                store.close(mark)
            finally:
                closed.set()
            return []
        seen = list(store.get(_TENANTS[0], [TENANT_SECRET]))
        while not closed.is_set():
            seen += store.get(_TENANTS[0], [TENANT_SECRET])
        return seen

    seen = [each for looked in at_once(close_or_look) if not isinstance(looked, Exception) for each in looked]
    require(all(each in {secret, mark} for each in seen), "C4", "a tenant was without its secret and without a mark")
    require(list(store.get(_TENANTS[0], [TENANT_SECRET, 1])) == [mark, None], "C4", "a key outlived the tenant")
