"""Small worlds for a record store: few ids, few people, few moments, so that everything meets everything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from hypothesis import strategies as st

from capsule_core.moments import Before, Event, Past
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.protection import EVERYBODY
from capsule_core.records import GUARDED, Act, Expected, Mark, Reason, Sealed, Shelf, Slot, Trash, Where
from capsule_core.stores import Backlog

ACTOR: Final = ActorRef("user", "u1")
EVERY: Final = ~Mark.NONE
START: Final = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
MOMENTS: Final = tuple(START + timedelta(microseconds=count) for count in (0, 1, 2, 3_600_000_000, 10**13))
TENANTS: Final = (TenantId("acme"), TenantId("zeta"))
IDS: Final = tuple(RecordId(f"r{number}") for number in range(5))
SUBJECTS: Final = (*(SubjectKey(f"s{number}") for number in range(4)), SubjectKey("s0.kept"), EVERYBODY)
KINDS: Final = ("person", "note")
BATCHES: Final = ("b0", "b1")
KEYS: Final = (b"request 0", b"request 1", b"request 2")
_TOKENS: Final = (-(1 << 63), -7, 0, 11, (1 << 63) - 1)
_SIGNATURES: Final = (b"", bytes(32), bytes(31) + b"\x05", b"\x80" + bytes(30) + b"\x01", b"\xff" * 32)


@attrs.frozen(kw_only=True)
class Sketch:
    """A draft before it meets the store: *step* 1 makes it the next version, *strays* puts it in another's key slot."""

    id: RecordId
    root: RecordId
    subject: SubjectKey
    kind: str
    at: datetime
    step: int = 1
    strays: bool = False
    tokens: tuple[int, ...] = ()
    claims: tuple[int, ...] = ()
    signature: bytes = b""

    def sealed(self, tenant: TenantId, *, version: int, slot: Slot) -> Sealed:
        return Sealed(
            tenant=tenant,
            kind=self.kind,
            id=self.id,
            root=self.root,
            subject=self.subject,
            slot=slot,
            version=version,
            at=self.at,
            created=START,
            updated=self.at,
            blob=f"{tenant} {self.id} {self.subject} {version}".encode(),
            tokens=self.tokens,
            claims=self.claims,
            signature=self.signature,
        )


@attrs.frozen(kw_only=True)
class Manner:
    """How an act is done: what it expects, under which request, and whether its witness breaks."""

    expects: Expected | None = None
    request: bytes | None = None
    about: SubjectKey | None = None
    breaks: bool = False


def manners() -> st.SearchStrategy[Manner]:
    plain = st.just(Manner())
    guards = st.frozensets(st.sampled_from(("why", "because")))
    expected = st.builds(
        Expected,
        id=st.sampled_from(IDS),
        version=st.none() | st.integers(1, 3),
        batch=st.none() | st.sampled_from(BATCHES),
        guards=st.none() | st.none() | guards,
        unguarded=rarely(),
    )
    asked = st.builds(Manner, request=st.sampled_from(KEYS), about=st.none() | st.sampled_from(SUBJECTS))
    return plain | plain | asked | st.builds(Manner, expects=expected) | st.just(Manner(breaks=True))


def rarely() -> st.SearchStrategy[bool]:
    return st.integers(0, 7).map(lambda drawn: drawn == 7)


def sketches() -> st.SearchStrategy[Sketch]:
    tokens = st.lists(st.sampled_from(_TOKENS), unique=True, max_size=3).map(tuple)
    drawn = st.builds(
        Sketch,
        id=st.sampled_from(IDS),
        root=st.sampled_from(IDS),
        subject=st.sampled_from(SUBJECTS),
        kind=st.sampled_from(KINDS),
        at=st.sampled_from(MOMENTS),
        step=st.sampled_from((1, 1, 1, 1, 1, 0, 2)),
        strays=rarely(),
        tokens=tokens,
        signature=st.sampled_from(_SIGNATURES),
    )
    return st.tuples(drawn, st.sampled_from((0, 0, 1))).map(
        lambda pair: attrs.evolve(pair[0], claims=pair[0].tokens[: pair[1]])
    )


def admitted() -> st.SearchStrategy[Mark]:
    return st.sampled_from((Mark.NONE, GUARDED, Mark.HELD | Mark.OBLIGED | Mark.OBJECTED, GUARDED | Mark.OBJECTED))


def selections() -> st.SearchStrategy[Mapping[str, Any]]:
    """Conditions of a ``Where``, seldom many at once: what is meant should not always be nothing."""
    some = [
        st.tuples(st.just("ids"), _some(IDS)),
        st.tuples(st.just("roots"), _some(IDS)),
        st.tuples(st.just("subjects"), _some(SUBJECTS)),
        st.tuples(st.just("kinds"), _some(KINDS)),
        st.tuples(st.just("tokens"), st.lists(st.sampled_from(_TOKENS), unique=True, max_size=2).map(tuple)),
        st.tuples(st.just("signature"), st.sampled_from(_SIGNATURES)),
        st.tuples(st.just("batch"), st.sampled_from(BATCHES)),
        st.tuples(st.just("due"), st.sampled_from(MOMENTS)),
        st.tuples(st.just("past"), _pasts()),
    ]
    conditions: st.SearchStrategy[dict[str, Any]] = st.lists(st.one_of(some), max_size=2).map(dict)
    shelves = st.sampled_from(Shelf)
    return st.tuples(conditions, shelves).map(lambda pair: {**pair[0], "shelf": pair[1]})


def _pasts() -> st.SearchStrategy[Past]:
    own = st.sampled_from((Event.CREATED, Event.UPDATED, Event.TRASHED))
    before = st.builds(Before, own, st.none() | st.sampled_from(MOMENTS), st.booleans())
    return st.lists(st.lists(before, max_size=2).map(tuple), max_size=2).map(tuple).map(Past)


def meaning(tenant: TenantId, selection: Mapping[str, Any]) -> Where:
    return Where(tenant=tenant, **selection)


def trashes() -> st.SearchStrategy[Trash]:
    moments = st.sampled_from(MOMENTS)
    return st.builds(Trash, batch=st.sampled_from(BATCHES), at=moments, until=moments)


def reasons(marks: tuple[Mark, ...]) -> st.SearchStrategy[list[Reason]]:
    """Reasons for one of *marks*, the same for all of them; fences and erasures are always of a whole subject."""

    def of(mark: Mark) -> st.SearchStrategy[list[Reason]]:
        whole = mark in {Mark.FENCED, Mark.ERASED, Mark.KEPT}
        records = st.none() if whole else st.none() | st.sampled_from(IDS)
        one = st.builds(
            Reason,
            id=st.sampled_from(("why", "because")),
            mark=st.just(mark),
            subject=st.sampled_from(SUBJECTS),
            since=st.sampled_from(MOMENTS),
            record=records,
        )
        apart = (lambda reason: reason.subject) if whole else (lambda reason: (reason.subject, reason.id))
        return st.lists(one, min_size=1, max_size=2, unique_by=apart)

    return st.sampled_from(marks).flatmap(of)


def plain(name: RecordId, root: RecordId, subject: SubjectKey) -> Sketch:
    return Sketch(id=name, root=root, subject=subject, kind=KINDS[0], at=START)


def act(tenant: TenantId, **changes: Any) -> Act:
    return attrs.evolve(Act(tenant=tenant, actor=ACTOR, verb="try", use="store", at=START), **changes)


def _some(values: tuple[Any, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=3).map(tuple)


def people(store: Backlog, tenant: TenantId) -> list[SubjectKey]:
    """Ask a store page by page whom it knows who is not gone."""
    found: list[SubjectKey] = []
    while some := store.people(tenant, limit=2, after=found[-1] if found else None):
        found += some
    return sorted(found)
