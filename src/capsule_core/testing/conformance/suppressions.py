"""The suite for what may not come in again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from capsule_core.errors import RequestInFlight, VersionMismatch
from capsule_core.journal import Journal, Suppressed
from capsule_core.ledger import LedgerStore
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Act, Answer, Barred, Expected, Mark, Restore, Shelf, Slot, Touched, Trash, Where
from capsule_core.stores import Store
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance.clauses import Capabilities, at_once, explore, lacking, raised, require

__all__ = ["SuppressionsUnderTest", "run_suppressions_conformance"]

_HASHES: Final = (bytes(16), b"\xff" * 16, b"\x00" * 15 + b"\x01", bytes(range(32)))
_ROUNDS: Final = 5


class SuppressionsUnderTest(Protocol):
    """A store with the ledger its leaves go to and the journal it ships to; *reopen* opens the same data again."""

    @property
    def store(self) -> Store:
        """The store that is tried."""
        ...

    @property
    def ledger(self) -> LedgerStore:
        """Where its leaves go."""
        ...

    @property
    def journal(self) -> Journal:
        """Where what a restore must be told goes."""
        ...

    def reopen(self) -> None:
        """Open the same data again."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_suppressions_conformance(
    make: Callable[[], SuppressionsUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty stores that keep S1-S6 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """
    tries: list[Callable[[SuppressionsUnderTest], None]] = [_outlives_everything, _tells_the_journal]
    tries += [_race] if capabilities.concurrent else []
    for attempt in tries:
        under = make()
        try:
            attempt(under)
        finally:
            under.close()
    explore(lambda: _Machine(make, capabilities), settings)
    return lacking(capabilities, [("durable", "S4"), ("concurrent", "S2")])


class _Broken(Exception):
    pass


@attrs.define
class _Noting:
    """Makes the leaf *says*, or breaks; remembers what it was shown."""

    says: bytes = b"noted"
    breaks: bool = False
    shown: list[Sequence[Touched]] = attrs.Factory(list)

    def __call__(self, touched: Sequence[Touched]) -> bytes | None:
        if self.breaks:
            raise _Broken
        self.shown.append(tuple(touched))
        return self.says


def _some(**more: Any) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.sampled_from(_HASHES), max_size=4, **more)


class _Machine(RuleBasedStateMachine):
    """Suppresses, lifts and brings in, in any order, and compares with a set of pairs."""

    def __init__(self, make: Callable[[], SuppressionsUnderTest], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.suppressed: set[tuple[TenantId, bytes]] = set()
        self.numbers = count()

    def teardown(self) -> None:
        self.under.close()

    @rule(tenant=st.sampled_from(cases.TENANTS), hashes=_some(), lift=st.booleans())
    def suppress(self, tenant: TenantId, hashes: list[bytes], *, lift: bool) -> None:
        wanted = [each for each in dict.fromkeys(hashes) if ((tenant, each) in self.suppressed) == lift]
        witness, size = _Noting(), self.under.ledger.head().size
        changed = self.under.store.suppress(hashes, act=cases.act(tenant, witness=witness), lift=lift)
        require(list(changed) == wanted, "S3", "it does not say what it changed, each once and in order")
        require(witness.shown == [()] * bool(wanted), "S3", "its witness was shown something, or asked for nothing")
        leaves = self.under.ledger.head().size - size
        require(leaves == bool(wanted), "S3", f"{leaves} leaves for an act that changed {len(wanted)}")
        pairs = {(tenant, each) for each in wanted}
        self.suppressed = self.suppressed - pairs if lift else self.suppressed | pairs
        self._agree("S1", tenant)

    @rule(tenant=st.sampled_from(cases.TENANTS), hashes=_some(min_size=1), lift=st.booleans(), breaks=st.booleans())
    def fail(self, tenant: TenantId, hashes: list[bytes], *, lift: bool, breaks: bool) -> None:
        """Refused, for what is expected or by the witness, it changes nothing."""
        if all(((tenant, each) in self.suppressed) != lift for each in hashes):
            return
        size = self.under.ledger.head().size
        expects = () if breaks else (Expected(id=RecordId("nobody")),)
        act = cases.act(tenant, witness=_Noting(breaks=breaks), expects=expects)
        refusal = raised(lambda: self.under.store.suppress(hashes, act=act, lift=lift), _Broken, VersionMismatch)
        require(refusal is not None, "S3", "an act was done whose leaf broke, or whose expectation does not hold")
        require(self.under.ledger.head().size == size, "S3", "a refused act left a leaf")
        self._agree("S3", tenant)

    @rule(tenant=st.sampled_from(cases.TENANTS), brings=_some(), restores=st.booleans())
    def bring(self, tenant: TenantId, brings: list[bytes], *, restores: bool) -> None:
        barred = frozenset(each for each in brings if (tenant, each) in self.suppressed)
        number, size = next(self.numbers), self.under.ledger.head().size
        if restores:
            _keep(self.under, tenant, number)
            thrown = Trash(batch=f"b{number}", at=cases.START, until=cases.START)
            _move(self.under, tenant, number, thrown)
            size += 2
            refusal = raised(lambda: _move(self.under, tenant, number, Restore(f"b{number}"), brings), Barred)
        else:
            refusal = raised(lambda: _keep(self.under, tenant, number, brings), Barred)
        found = refusal.hashes if isinstance(refusal, Barred) else frozenset()
        require(found == barred, "S2", "other identifiers are refused than are suppressed")
        require(_is_live(self.under, tenant, number) != bool(barred), "S2", "what was refused was done, or the reverse")
        require(self.under.ledger.head().size == size + (not barred), "S2", "a refused act left a leaf")

    @rule(tenant=st.sampled_from(cases.TENANTS), hashed=st.sampled_from(_HASHES), lift=st.booleans())
    def ask_twice(self, tenant: TenantId, hashed: bytes, *, lift: bool) -> None:
        key = f"request {next(self.numbers)}".encode()
        answer = Answer(tenant=tenant, key=key, digest=b"d", until=cases.START, body=b"b")
        act = cases.act(tenant, witness=_Noting(), answer=answer)
        changed = self.under.store.suppress([hashed], act=act, lift=lift)
        kept = self.under.store.answered(tenant, key)
        require((kept == answer) == bool(changed), "S3", "its answer is not kept, or nothing was changed and it is")
        if changed:
            again = raised(lambda: self.under.store.suppress([hashed], act=act, lift=not lift), RequestInFlight)
            require(again is not None, "S3", "a request that was answered is done again")
            pairs = {(tenant, hashed)}
            self.suppressed = self.suppressed - pairs if lift else self.suppressed | pairs
        self._agree("S3", tenant)

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._agree("S4")

    def _agree(self, clause: str, changed: TenantId | None = None) -> None:
        for tenant in cases.TENANTS:
            said = clause if changed in {None, tenant} else "S1"
            wanted = frozenset(hashed for owner, hashed in self.suppressed if owner == tenant)
            found = self.under.store.suppressed(tenant, [*_HASHES, b"never suppressed"])
            require(found == wanted, said, "other identifiers are suppressed than should be")
            require(not self.under.store.suppressed(tenant, []), "S1", "something is suppressed among nothing")
            all_of_it = list(self.under.store.remembered(tenant, limit=len(_HASHES)))
            require(sorted(all_of_it) == sorted(wanted), "S6", "other identifiers are remembered, or one twice")
            few = self.under.store.remembered(tenant, limit=1)
            require(len(few) == min(1, len(wanted)) and wanted.issuperset(few), "S6", "too many, or too few")


def _keep(under: SuppressionsUnderTest, tenant: TenantId, number: int, brings: Sequence[bytes] = ()) -> None:
    name = RecordId(f"r{number}")
    draft = cases.plain(name, name, SubjectKey(f"s{number}")).sealed(
        tenant, version=1, slot=Slot(1 + number // 256, number % 256)
    )
    under.store.write([draft], admits=Mark.NONE, act=_act(tenant, f"brings {number}", brings))


def _move(
    under: SuppressionsUnderTest, tenant: TenantId, number: int, to: Trash | Restore, brings: Sequence[bytes] = ()
) -> None:
    where = Where(tenant=tenant, ids=(RecordId(f"r{number}"),), shelf=Shelf.ANY)
    under.store.move(where, to, admits=Mark.NONE, act=_act(tenant, f"moves {number}", brings))


def _is_live(under: SuppressionsUnderTest, tenant: TenantId, number: int) -> bool:
    where = Where(tenant=tenant, ids=(RecordId(f"r{number}"),), shelf=Shelf.LIVE)
    return bool(under.store.select(where, admits=Mark.NONE, limit=1).records)


def _act(tenant: TenantId, says: str, brings: Sequence[bytes] = ()) -> Act:
    return cases.act(tenant, witness=_Noting(says.encode()), brings=tuple(brings))


def _outlives_everything(under: SuppressionsUnderTest) -> None:
    """Write, mark, throw away and destroy: what was suppressed before is so after it."""
    tenant, hashed = cases.TENANTS[0], _HASHES[0]
    under.store.suppress([hashed], act=_act(tenant, "suppresses"))
    _keep(under, tenant, 1)
    _move(under, tenant, 1, Trash(batch="b", at=cases.START, until=cases.START))
    where = Where(tenant=tenant, subjects=(SubjectKey("s1"),), shelf=Shelf.ANY)
    under.store.destroy(where, admits=cases.EVERY, act=_act(tenant, "destroys"))
    under.store.forget(cases.MOMENTS[-1])
    require(hashed in under.store.suppressed(tenant, [hashed]), "S5", "a suppression went with something else")
    require(raised(lambda: _keep(under, tenant, 2, [hashed]), Barred), "S5", "it is remembered and not refused")


def _tells_the_journal(under: SuppressionsUnderTest) -> None:
    """Both ways, and only what was changed; when it returns, the journal has it."""
    tenant, wanted = cases.TENANTS[1], []
    for hashes, changed, lift in (
        (_HASHES[:2], _HASHES[:2], False),
        (_HASHES[1:3], _HASHES[2:3], False),
        (_HASHES[:1], _HASHES[:1], True),
        (_HASHES[:1], (), True),
    ):
        under.store.suppress(hashes, act=_act(tenant, "changes"), lift=lift)
        if changed:
            wanted.append(Suppressed(tenant=tenant, hashes=changed, since=cases.START, lift=lift))
        told = [entry for _, entry in under.journal.since(0)]
        require(told == wanted, "S4", "the journal was told something else than was changed, or not yet")


def _race(under: SuppressionsUnderTest) -> None:
    """Many bring in what one suppresses at the same moment: the log has no act that brings it after the suppression."""
    tenant = cases.TENANTS[0]
    for turn in range(_ROUNDS):
        hashed = bytes([turn] * 16)

        def do(number: int, hashed: bytes = hashed, turn: int = turn) -> None:
            if number == 0:
                under.store.suppress([hashed], act=_act(tenant, f"suppresses {turn}"))
            else:
                for again in range(4):
                    _keep(under, tenant, 1000 * turn + 10 * number + again, [hashed])

        failed = [error for error in at_once(do) if error is not None and not isinstance(error, Barred)]
        require(not failed, "S2", "a writer was told something else than that it is suppressed")
        size = under.ledger.head().size
        leaves = list(under.ledger.read(0, size))
        after = leaves[leaves.index(f"suppresses {turn}".encode()) + 1 :]
        require(not after, "S2", "an act that brings in a suppressed identifier was done after the suppression")
