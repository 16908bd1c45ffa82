"""The suite for what records are found by: it may be lost, and is made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import attrs
import hypothesis
from hypothesis import strategies as st

from capsule_core.errors import IdentifierTaken, IndexMissing
from capsule_core.names import RecordId, SubjectKey
from capsule_core.records import Act, FoundBy, Mark, Restore, Sealed, Shelf, Slot, Trash, Where
from capsule_core.stores import Store
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Witness
from capsule_core.testing.conformance.clauses import Capabilities, lacking, raised, require

__all__ = ["DerivedUnderTest", "run_derived_conformance"]

_OURS, _THEIRS = cases.TENANTS[:2]
_GONE: Final = RecordId("gone")
_BATCH: Final = Trash(batch="lost", at=cases.MOMENTS[0], until=cases.MOMENTS[-1])


class DerivedUnderTest(Protocol):
    """A store, and what makes it *lose* all that records are found by, as a crash does."""

    @property
    def store(self) -> Store:
        """The store that is tried."""
        ...

    def lose(self) -> None:
        """Lose what records are found by, and nothing else."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def run_derived_conformance(
    make: Callable[[], DerivedUnderTest],
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008  frozen
    settings: hypothesis.settings | None = None,
) -> tuple[str, ...]:
    """Check that *make* makes empty stores that keep I1-I4 (docs/reference/ports.md).

    Returns:
        the clauses that went untried because the adapter lacks a capability.

    Raises:
        ClauseBroken: a clause does not hold; its id begins the message.
    """

    @hypothesis.given(sketches=st.lists(cases.sketches(), min_size=1, max_size=5, unique_by=lambda each: each.id))
    @(settings or hypothesis.settings())
    def explore(sketches: list[cases.Sketch]) -> None:
        under = make()
        try:
            _lose_and_make_again(under, _distinct(sketches), losable=capabilities.losable)
        finally:
            under.close()

    explore()
    return lacking(capabilities, [("losable", "I1"), ("losable", "I3")])


def _distinct(sketches: Sequence[cases.Sketch]) -> list[Sealed]:
    """Seal sketches so that each is new, in a place of its own, and none claims what another does."""
    taken: set[int] = set()
    slots: dict[str, Slot] = {}
    drafts: list[Sealed] = []
    for sketch in sketches:
        slot = slots.setdefault(sketch.subject, Slot(1, len(slots)))
        claims = tuple(claim for claim in sketch.claims if claim not in taken)
        taken.update(claims)
        drafts.append(attrs.evolve(sketch, claims=claims).sealed(_OURS, version=1, slot=slot))
    return drafts


def _lose_and_make_again(under: DerivedUnderTest, drafts: Sequence[Sealed], *, losable: bool) -> None:
    store = under.store
    for tenant in (_OURS, _THEIRS):
        ours = [attrs.evolve(draft, tenant=tenant) for draft in drafts]
        store.write(ours, admits=Mark.NONE, act=_act(tenant))
    thrown = Where(tenant=_OURS, ids=(drafts[0].id,))
    store.move(thrown, _BATCH, admits=Mark.NONE, act=_act(_OURS))
    if losable:
        under.lose()
        require(set(store.unindexed()) == {_OURS, _THEIRS}, "I4", "a tenant whose index is missing is not named")
        _expect_refusal(store, drafts)
    again = [FoundBy(id=d.id, tokens=d.tokens, claims=d.claims, signature=d.signature) for d in drafts]
    for _ in range(2):
        store.reindex(_OURS, [*again, FoundBy(id=_GONE, tokens=(1,), claims=(1,))])
    if losable:
        _expect_refusal(store, drafts)
    store.indexed(_OURS)
    require(list(store.unindexed()) == ([_THEIRS] if losable else []), "I4", "others are named than those it misses")
    _expect_found(store, drafts)
    if losable:
        _refused(lambda: store.select(Where(tenant=_THEIRS, tokens=(1,)), admits=Mark.NONE, limit=1), "another tenant")
    _expect_claims(store, drafts)


def _expect_refusal(store: Store, drafts: Sequence[Sealed]) -> None:
    by_token, by_word = Where(tenant=_OURS, tokens=(1,)), Where(tenant=_OURS, signature=b"\x01" * 32)
    for where in (by_token, by_word):
        _refused(lambda where=where: store.select(where, admits=Mark.NONE, limit=1), "a search")  # type: ignore[misc]
    fresh = attrs.evolve(drafts[0], id=_GONE, root=_GONE, claims=(2,))
    _refused(lambda: store.write([fresh], admits=Mark.NONE, act=_act(_OURS)), "a write")
    found = store.read(_OURS, [draft.id for draft in drafts], admits=Mark.NONE)
    require(all(isinstance(each, Sealed) for each in found), "I1", "records were lost with what they are found by")


def _refused(call: Callable[[], object], what: str) -> None:
    require(raised(call, IndexMissing) is not None, "I1", f"{what} was answered while the index is missing")


def _expect_found(store: Store, drafts: Sequence[Sealed]) -> None:
    def ids(**conditions: Any) -> set[RecordId]:
        where = Where(tenant=_OURS, shelf=Shelf.ANY, **conditions)
        return {record.id for record in store.select(where, admits=Mark.NONE, limit=99).records}

    for token in {token for draft in drafts for token in (*draft.tokens, *draft.claims)} | {1}:
        meant = {draft.id for draft in drafts if token in (*draft.tokens, *draft.claims)}
        require(ids(tokens=(token,)) == meant, "I2", "a token finds other records than before")
    for bit in (b"\x05", b"\xff"):
        wanted = bit.rjust(32, b"\0")
        number = int.from_bytes(wanted, "big")
        meant = {draft.id for draft in drafts if int.from_bytes(draft.signature, "big") & number == number}
        require(ids(signature=wanted) == meant, "I3", "a signature finds other records than before")


def _expect_claims(store: Store, drafts: Sequence[Sealed]) -> None:
    """What a live record claims stays taken; what one in the trash claimed is free, and its restore finds that out."""
    for number, draft in enumerate(drafts):
        for claim in draft.claims:
            name = RecordId(f"rival{number}")
            slot = Slot(2, number)
            rival = attrs.evolve(
                draft, id=name, root=name, subject=SubjectKey(name), slot=slot, tokens=(claim,), claims=(claim,)
            )
            refusal = raised(lambda r=rival: store.write([r], admits=Mark.NONE, act=_act(_OURS)), IdentifierTaken)  # type: ignore[misc]
            require(
                (refusal is None) == (draft is drafts[0]), "I2", "a claim is not what its record's trash lets it be"
            )
    if drafts[0].claims:
        back = Where(tenant=_OURS, ids=(drafts[0].id,))
        taken = raised(
            lambda: store.move(back, Restore(_BATCH.batch), admits=Mark.NONE, act=_act(_OURS)), IdentifierTaken
        )
        require(taken, "I2", "two live records hold one claim")


def _act(tenant: Any) -> Act:
    return attrs.evolve(cases.act(tenant), witness=Witness())
