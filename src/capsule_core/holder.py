"""Whatever keeps data on people: asked and told the same things, in this process or across the wire.

Whoever implements ``stores.RecordStore`` gets a holder for free: :class:`RecordHolder`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Protocol

import attrs

from capsule_core import closing, dissolution
from capsule_core.closure import Closure
from capsule_core.dissolution import Dissolution
from capsule_core.erasure import Eraser
from capsule_core.errors import InvalidField, ResourceMissing, SubjectErased, SubjectHeld, TenantClosed
from capsule_core.index import query_token
from capsule_core.names import ActorRef, RecordId, SubjectKey, SubjectRef, TenantId
from capsule_core.personal import Form, Personal
from capsule_core.receipts import Receipt
from capsule_core.records import Act, Cursor, Mark, Reason, Sealed, Shelf, Where
from capsule_core.remnants import person_of, with_remnants
from capsule_core.repository import Repository
from capsule_core.rulebook import Rulebook
from capsule_core.statements import Outcome
from capsule_core.story import Erasure
from capsule_core.sweeping import Expiry, Sweep, Swept
from capsule_core.upkeep import Upkeep
from capsule_core.uses import Use
from capsule_core.witness import bears_witness

__all__ = ["About", "Applied", "Collected", "Done", "Holder", "Identifier", "Match", "Order", "RecordHolder"]


class Order(enum.Enum):
    """What a holder can be told to do about a person.

    FENCE begins an erasure: the reason it is given for is the id of the erasure that will follow.
    """

    HOLD = "hold"
    RELEASE = "release"
    RESTRICT = "restrict"
    LIFT = "lift"
    FENCE = "fence"
    RECTIFY = "rectify"
    NOTIFY = "notify"


@attrs.frozen(kw_only=True)
class About:
    """Who a holder is, which kinds of records it keeps, and which orders it carries out."""

    name: str
    kinds: tuple[str, ...]
    orders: frozenset[Order]


@attrs.frozen
class Identifier:
    """Something a person is known by; of form TEXT it is the reference a caller uses, ``kind/id``."""

    form: Form
    value: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Match:
    """A subject that a holder knows, by which of the identifiers asked for, and how many records it keeps."""

    subject: SubjectKey
    identifiers: tuple[int, ...]
    records: int


@attrs.frozen(kw_only=True)
class Collected:
    """One record of a person, written out; *provided* if it holds anything that they gave themselves.

    *kept* is what outlived their erasure, because something obliges to keep it.
    """

    id: RecordId
    subject: SubjectKey
    kind: str
    media_type: str
    content: bytes = attrs.field(repr=False)
    provided: bool
    kept: bool = False


@attrs.frozen(kw_only=True)
class Applied:
    """Whom an order reached, and who is not known here."""

    applied: tuple[SubjectKey, ...]
    unknown: tuple[SubjectKey, ...]


@attrs.frozen
class Done:
    """How an erasure ended at a holder, with its receipt if anything was; None while something keeps the data."""

    outcome: Outcome | None
    receipt: Receipt | None


class Holder(Protocol):
    """Keeps data on people.

    H1. Calls speak of one tenant; a foreign subject and an unknown one give the same answer.
    H2. ``locate`` finds every subject that has one of the identifiers, and nobody else.
    H3. ``collect`` gives every record of the subjects, in the trash or not, and nobody else's.
    H4. ``apply`` says of each subject whether it was reached or is unknown; repeating it changes nothing.
    H5. After FENCE, or once ``erase`` began, nothing is written for the subject.
    H6. ``erase`` says ERASED only with a receipt, after which ``locate`` and ``collect`` find nothing but what that
        says is kept; NOTHING_HELD if the subject was never known; repeating it gives the same receipt. While something
        keeps one of the subjects, none is erased, and it says None.
    H7. ``sweep`` destroys what is due at the time given and nothing else.
    H8. ``close`` and ``reopen`` are taken again and again, late and out of turn: what was reopened, an old ``close``
        closes no more, and ``reopen`` takes back no other closing than its own. Neither destroys anything by itself.
    """

    def about(self) -> About:
        """Say who it is."""
        ...

    def locate(self, tenant: TenantId, identifiers: Sequence[Identifier]) -> Sequence[Match]:
        """Find whom the identifiers name."""
        ...

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        """Give everything that is kept on the subjects."""
        ...

    def apply(
        self,
        tenant: TenantId,
        subjects: Sequence[SubjectKey],
        order: Order,
        *,
        reason: str,
        by: ActorRef,
        now: datetime,
    ) -> Applied:
        """Carry out an order about the subjects, for the reason of that id."""
        ...

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        """Erase all of the subjects that are known, or none of them while something keeps one."""
        ...

    def sweep(self, tenant: TenantId, *, now: datetime) -> Swept:
        """Destroy what is due."""
        ...

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Hear that the tenant was closed, and when."""
        ...

    def reopen(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Hear that a closing was taken back in time."""
        ...


_MARKS: Final[Mapping[Order, tuple[Mark, bool]]] = {
    Order.HOLD: (Mark.HELD, False),
    Order.RELEASE: (Mark.HELD, True),
    Order.RESTRICT: (Mark.RESTRICTED, False),
    Order.LIFT: (Mark.RESTRICTED, True),
    Order.FENCE: (Mark.FENCED, False),
}
_AT_ONCE: Final = 200


@attrs.define(eq=False)
class RecordHolder:
    """Makes a holder of a repository: *name* is its service's, *new_erasure* makes ids for what a sweep erases."""

    name: str
    _repository: Repository
    _eraser: Eraser
    _new_erasure: Callable[[], str]

    def about(self) -> About:
        """Say who it is."""
        return About(name=self.name, kinds=tuple(sorted(self._repository.kinds)), orders=frozenset(_MARKS))

    def locate(self, tenant: TenantId, identifiers: Sequence[Identifier]) -> Sequence[Match]:
        """Find whom the identifiers name."""
        found: dict[SubjectKey, list[int]] = {}
        for place, identifier in enumerate(identifiers):
            for subject in self._named(tenant, place, identifier):
                found.setdefault(subject, []).append(place)
        return [
            Match(subject=subject, identifiers=tuple(places), records=sum(1 for _ in self.collect(tenant, [subject])))
            for subject, places in found.items()
        ]

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        """Give everything that is kept on the subjects."""
        for records, _ in self.pages(tenant, subjects):
            yield from records

    def pages(
        self, tenant: TenantId, subjects: Sequence[SubjectKey], *, after: Cursor | None = None
    ) -> Iterator[tuple[list[Collected], Cursor | None]]:
        """Give what :meth:`collect` does by the page, each with where to go on *after* it; None after the last."""
        where = Where(tenant=tenant, subjects=with_remnants(subjects), shelf=Shelf.ANY)
        for page in self._repository.stream(where, use=Use.SUBJECT_ACCESS, after=after):
            yield list(map(self._collected, page.records, page.contents)), page.after

    def apply(
        self,
        tenant: TenantId,
        subjects: Sequence[SubjectKey],
        order: Order,
        *,
        reason: str,
        by: ActorRef,
        now: datetime,
    ) -> Applied:
        """Carry out an order about the subjects, for the reason of that id.

        Raises:
            InvalidField: a store of records does not carry out that order.
        """
        if order not in _MARKS:
            raise InvalidField("order", "is not one that this holder carries out")
        mark, lift = _MARKS[order]
        halves = subjects if order is Order.FENCE else with_remnants(subjects)
        known = self._repository.store.subjects(tenant, halves)
        reached = tuple(subject.key for subject in known if subject is not None)
        act = Act(tenant=tenant, actor=by, verb=f"holder.{order.value}", use=Use.STORE.value, at=now)
        self._repository.store.mark(
            [Reason(id=reason, mark=mark, subject=subject, since=now) for subject in reached],
            lift=lift,
            act=attrs.evolve(act, witness=bears_witness(self._repository.vault, act)),
        )
        people = tuple(dict.fromkeys(map(person_of, reached)))
        return Applied(applied=people, unknown=tuple(key for key in subjects if key not in people))

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        """Erase the subjects that are known."""
        try:
            return Done(Outcome.ERASED, self._eraser.erase(erasure, now=now))
        except (ResourceMissing, SubjectErased):
            return Done(Outcome.NOTHING_HELD, None)
        except SubjectHeld:
            return Done(None, None)

    def sweep(self, tenant: TenantId, *, now: datetime) -> Swept:
        """Destroy what is due."""
        return self.expiry().sweep.run(tenant, now=now, new_erasure=self._new_erasure)

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Hear that the tenant was closed; one that is closed for good stays so."""
        act = Act(tenant=tenant, actor=by, verb="holder.close", use=Use.ADMINISTER.value, at=now)
        with suppress(TenantClosed):
            Closure(self._repository).close(act=act, at=closed)

    def reopen(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        """Hear that a closing was taken back.

        Raises:
            TenantClosed: data is being destroyed already, or nothing is left.
        """
        act = Act(tenant=tenant, actor=by, verb="holder.reopen", use=Use.ADMINISTER.value, at=now)
        closure = Closure(self._repository)
        kept = closure.of(tenant)
        if kept is not None and closing.closed(kept.content) == closed:
            closure.reopen(act=act, decided=True)

    def dissolution(
        self,
        random: Callable[[int], bytes],
        *,
        term: closing.Term = closing.Term.CUSTOMER_DATA,
        may_begin: Callable[[TenantId, datetime], bool] = dissolution.at_once,
        may_end: Callable[[TenantId], bool] = dissolution.nothing_told,
    ) -> Dissolution:
        """Return the duty to carry out closings, likewise."""
        return Dissolution(self._repository, self._eraser, random, term, may_begin, may_end)

    def expiry(self) -> Expiry:
        """Return the duty to sweep the trash, for whoever sweeps many tenants in turns."""
        repository = self._repository
        policies, closings = Rulebook(repository), Closure(repository)
        store, vault, kinds = repository.store, repository.vault, repository.kinds
        return Expiry(Sweep(store, self._eraser, vault, kinds, policies.of, closings.since), self._new_erasure)

    def upkeep(self, random: Callable[[int], bytes]) -> Upkeep:
        """Return the duty to carry out policies, likewise."""
        return Upkeep(self._repository, self._eraser, random)

    def _named(self, tenant: TenantId, place: int, identifier: Identifier) -> set[SubjectKey]:
        repository = self._repository
        if identifier.form is Form.TEXT:
            kind, _, own = identifier.value.partition("/")
            key = repository.subject_key(SubjectRef(tenant, kind, own))
            known = repository.store.subjects(tenant, with_remnants([key]))
            return {key} if any(half is not None and not half.marks & Mark.ERASED for half in known) else set()
        token = query_token(
            repository.vault.tenant(tenant),
            f"identifiers[{place}].value",
            identifier.form,
            identifier.value,
            region=repository.region,
        )
        found: set[SubjectKey] = set()
        after = None
        while True:
            where = Where(tenant=tenant, shelf=Shelf.ANY, tokens=(token,))
            listing = repository.select(where, use=Use.SUBJECT_ACCESS, limit=_AT_ONCE, after=after)
            found.update(person_of(kept.subject) for kept in listing.records)
            after = listing.after
            if after is None:
                return found

    def _collected(self, record: Sealed, contents: bytes) -> Collected:
        return Collected(
            id=record.id,
            subject=person_of(record.subject),
            kind=record.kind,
            media_type="application/json",
            content=contents,
            provided=self._provided(record.kind),
            kept=bool(record.marks & Mark.KEPT),
        )

    def _provided(self, kind: str) -> bool:
        declared = self._repository.kinds[kind].fields.values()
        return any(field.provided for field in declared if isinstance(field, Personal))
