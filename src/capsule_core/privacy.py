"""The front door of the library: one object that keeps, finds, throws away, takes back and erases.

::

    p = Privacy.in_memory(kinds=[Ticket])
    p.save("acme", ticket, by=agent, now=now)
    plan = p.erase.plan(SubjectRef("acme", "customer", "c-42"), by=agent, now=now)
    receipt = p.erase.run(plan, now=now)
    verify(receipt, p.public_key)
    p.holds.place(ticket, ground=Ground.LEGAL_CLAIMS, authority="county court, 12 C 34/26", by=agent, now=now)
    p.retention.set("acme", policy, by=agent, now=now)
    p.retention.explain(kept, now=now)
    p.closing.close("acme", by=agent, now=now)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import attrs

from capsule_core import arguments
from capsule_core.checkpoints import Signer
from capsule_core.closing import Closing
from capsule_core.closure import Closure
from capsule_core.custody import Custody
from capsule_core.ending import Ending
from capsule_core.erasure import Eraser, Plan
from capsule_core.errors import InvalidField
from capsule_core.governing import Governing
from capsule_core.grounds import policy_of
from capsule_core.holds import Ground, Hold
from capsule_core.identifiers import words as words_of
from capsule_core.index import query_token
from capsule_core.journal import Journal, MemoryJournal
from capsule_core.keeping import obligations
from capsule_core.kept import Kept, Listing
from capsule_core.ledger import LedgerStore, MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import ActorRef, SubjectRef, TenantId, made_id, tenant_id
from capsule_core.pages import Keystore, PageStore
from capsule_core.personal import Exact, Form, Kind, kind_of
from capsule_core.readmission import readmit
from capsule_core.receipts import Receipt
from capsule_core.records import Act, Cursor, Reason, Where
from capsule_core.remnants import with_remnants
from capsule_core.repository import Draft, Repository
from capsule_core.rulebook import Rulebook, StandingPolicy
from capsule_core.statements import Policy
from capsule_core.stores import EVERYONE, Store
from capsule_core.story import REQUEST, Erasure
from capsule_core.sweeping import Sweep, Swept
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import bears_witness

__all__ = ["Erasing", "Holding", "Privacy", "StoreWithPages"]

T = TypeVar("T")


class StoreWithPages(Store, PageStore, Protocol):
    """A store that keeps the sealed key pages beside the records, as all of ours do."""


@attrs.define(eq=False)
class Erasing:
    """Plans and runs erasures."""

    _repository: Repository
    _eraser: Eraser
    _random: Callable[[int], bytes]

    def plan(
        self, who: SubjectRef, *, by: ActorRef, now: datetime, ground: str = REQUEST, policy: Policy | None = None
    ) -> Plan:
        """Find out what erasing *who* would destroy; a *ground* of your own comes with its *policy* (``grounds``).

        Erased at their own request, on the ground REQUEST, they may not come back under what they were known by.

        Raises:
            ResourceMissing: nothing is known of them.
            SubjectErased: they were erased before.
        """
        arguments.subject(who)
        arguments.text("ground", ground)
        return self._eraser.plan(
            Erasure(
                tenant=who.tenant,
                id=made_id("e", now=arguments.moment("now", now), randomness=self._random(10)),
                subjects=(self._repository.subject_key(who),),
                ground=ground,
                policy=arguments.instance("policy", policy or policy_of(ground), Policy),
                by=arguments.actor(by),
                requested=now,
                suppresses=ground == REQUEST,
                parts=ground == REQUEST,
            )
        )

    def run(self, plan: Plan, *, now: datetime) -> Receipt:
        """Carry out a plan, and give the receipt; again, if it was carried out before.

        Raises:
            InvalidField: *now* is before the plan.
            PlanStale: the facts moved since it was made.
            SubjectHeld: a hold, an obligation or a restriction keeps them.
        """
        return self._eraser.run(arguments.instance("plan", plan, Plan), now=arguments.moment("now", now))


@attrs.define(eq=False)
class Holding:
    """Places, lists and releases holds."""

    _repository: Repository
    _random: Callable[[int], bytes]

    def place(
        self,
        on: TenantId | SubjectRef | Kept[Any],
        *,
        ground: Ground,
        authority: str,
        by: ActorRef,
        now: datetime,
        reason: str = "",
        field: str = "",
    ) -> Kept[Hold]:
        """Hold all of a tenant, a person, a record, or one *field* of a record; errors as :meth:`Custody.place`."""
        if not isinstance(on, str | SubjectRef):
            arguments.instance("on", on, Kept)
        tenant = arguments.tenant(on if isinstance(on, str) else on.tenant)
        act = _act(tenant, "hold", by, now, Use.ADMINISTER)
        hold = Hold(
            id=made_id("h", now=now, randomness=self._random(10)),
            subject=self._repository.subject_key(arguments.subject(on)) if isinstance(on, SubjectRef) else "",
            record=on.id if isinstance(on, Kept) else "",
            field=arguments.text("field", field, empty=True),
            ground=arguments.instance("ground", ground, Ground),
            authority=arguments.text("authority", authority),
            reason=arguments.instance("reason", reason, str),
            placed_at=now.isoformat(),
            placed_by=f"{by.kind}/{by.id}",
        )
        return Custody(self._repository).place(hold, act=act)

    def release(self, hold: Kept[Hold], *, by: ActorRef, now: datetime) -> Kept[Hold]:
        """End a hold: what was waiting goes with the next sweep."""
        arguments.instance("hold", hold, Kept)
        return Custody(self._repository).release(hold.id, act=_act(hold.tenant, "release", by, now, Use.ADMINISTER))

    def standing(self, tenant: str, *, past: bool = False, limit: int = 50, after: Cursor | None = None) -> Listing:
        """List the holds that stand, newest first; *past* ones too if asked for."""
        custody = Custody(self._repository)
        return custody.listing(tenant_id(tenant), use=Use.ADMINISTER, limit=limit, after=after, past=past)


@attrs.define(eq=False)
class Privacy:
    """Keeps values of declared kinds, and every promise about them.

    Whatever a method is given that is not of the type it says, a ``now`` without its time zone or an empty id included,
    is refused with an ``InvalidField`` that names it, before anything is done; so is a text in a value that is none, is
    too long, or is no valid Unicode. Actors are the caller's own: any kind and id that are not empty.
    """

    repository: Repository
    erase: Erasing
    holds: Holding
    retention: Governing
    closing: Ending
    public_key: str
    _eraser: Eraser
    _random: Callable[[int], bytes]

    @classmethod
    def in_memory(
        cls,
        *,
        kinds: Sequence[type[Any]],
        service: str = "example",
        random: Callable[[int], bytes] = secrets.token_bytes,
        region: str | None = None,
    ) -> Privacy:
        """Start with everything in memory: for trying it out, and for tests; *region* as in :meth:`over`."""
        ledger, journal = MemoryLedger(), MemoryJournal()
        return cls.over(
            MemoryStore(ledger, journal),
            keystore=MemoryKeystore(),
            journal=journal,
            ledger=ledger,
            signer=Signer.from_seed(service, random(32)),
            kinds=kinds,
            random=random,
            region=region,
        )

    @classmethod
    def over(
        cls,
        store: StoreWithPages,
        *,
        keystore: Keystore,
        journal: Journal,
        ledger: LedgerStore,
        signer: Signer,
        kinds: Sequence[type[Any]],
        random: Callable[[int], bytes] = secrets.token_bytes,
        region: str | None = None,
    ) -> Privacy:
        """Put it together over adapters of the ports; *store* keeps records and, beside them, the sealed key pages.

        *region* is where phone numbers without a country code are read (ISO 3166-1 alpha-2, ``GB``); without one they
        are refused.
        """
        vault = Vault(store, keystore, journal, random)
        repository = Repository(
            store, vault, [kind_of(model) for model in (*kinds, Hold, StandingPolicy, Closing)], region
        )
        eraser = Eraser(store, vault, ledger, signer, signer.name, repository.identifiers)
        erasing, holding = Erasing(repository, eraser, random), Holding(repository, random)
        governing, ending = Governing(repository, eraser, random), Ending(repository, eraser, random)
        return cls(repository, erasing, holding, governing, ending, signer.verifier.text(), eraser, random)

    def save(self, tenant: str, content: T, *, by: ActorRef, now: datetime, use: Use = Use.EDIT) -> Kept[T]:
        """Keep *content*, over what was kept under its id before.

        Raises:
            SubjectErased: its subject was erased.
            SubjectRestricted: its subject may not be touched for *use*.
            CardNumberFound: a text holds a payment card number.
            IdentifierSuppressed: an identifier is of somebody who was erased at their request.
            InvalidField: an e-mail address or phone number is none.
        """
        owner, declared = tenant_id(tenant), self._kind(type(content))
        act = _act(owner, "save", by, now, use)
        own_id = arguments.text("id", getattr(content, "id"))  # noqa: B009
        name = self.repository.record_key(owner, declared, own_id)
        before = self.repository.read(owner, [name], use=use)[0]
        if before is not None:
            return self.repository.change(before, content, act=act)
        return self.repository.add([Draft(content)], act=act)[0]

    def get(self, model: type[T], tenant: str, own_id: str, *, use: Use = Use.DISPLAY) -> Kept[T]:
        """Return the value that was kept under *own_id*.

        Raises:
            ResourceMissing: there is none.
            SubjectErased, SubjectRestricted: its subject may not be touched for *use*.
        """
        owner, declared = tenant_id(tenant), self._kind(model)
        name = self.repository.record_key(owner, declared, arguments.text("own_id", own_id))
        return self.repository.get(owner, name, use=arguments.instance("use", use, Use), resource=declared.name)

    def find(
        self,
        model: type[T],
        tenant: str,
        *,
        words: str | None = None,
        equal: tuple[str, str] | None = None,
        use: Use = Use.SEARCH,
        limit: int = 50,
        after: Cursor | None = None,
    ) -> Listing:
        """Find values by beginnings of words, or by a field: ``equal=("email", "jane@example.org")``; or list them all.

        Raises:
            InvalidField: there is nothing in *words* or *equal* that could be looked for: an empty box finds nobody.
        """
        owner, declared = tenant_id(tenant), self._kind(model)
        arguments.instance("use", use, Use)
        if arguments.instance("limit", limit, int) < 1:
            raise InvalidField("limit", "must be at least 1")
        if words is not None and not words_of(arguments.text("words", words, empty=True)):
            raise InvalidField("words", "holds no letter or digit to look for; leave it out to list all")
        tokens: tuple[int, ...] = ()
        if equal is not None:
            field, value = _pair(equal)
            declaration = declared.fields.get(field)
            search = declaration.search if declaration is not None else None
            if not isinstance(search, Exact):
                raise InvalidField("equal", f"must name a field of {declared.name} that is declared search=Exact()")
            keys = self.repository.vault.tenant(owner)
            tokens = (query_token(keys, field, search.form, value, region=self.repository.region),)
        where = Where(tenant=owner, kinds=(declared.name,), tokens=tokens)
        return self.repository.select(where, use=use, limit=limit, after=after, words=words or "")

    def trash(self, kept: Kept[T], *, by: ActorRef, now: datetime) -> Kept[T]:
        """Throw it away with all that hangs on it; it can be taken back for 30 x 24 hours."""
        act = _act(arguments.instance("kept", kept, Kept).tenant, "trash", by, now, Use.EDIT)
        return self.repository.trash(kept, made_id("b", now=now, randomness=self._random(10)), act=act)

    def restore(self, kept: Kept[T], *, by: ActorRef, now: datetime) -> Kept[T]:
        """Take it back, exactly as it was, with what was thrown away together with it.

        Raises:
            TrashExpired: 30 x 24 hours have passed by *now*, whether it was destroyed yet or something keeps it.
            VersionMismatch: it is not in the trash any more, or has changed.
            IdentifierSuppressed: somebody was erased at their request who was known by what is in it.
        """
        act = _act(arguments.instance("kept", kept, Kept).tenant, "restore", by, now, Use.STORE)
        return self.repository.restore(kept, act=act)

    def sweep(self, *, now: datetime) -> dict[TenantId, Swept]:
        """Destroy what has been in the trash for its time, in every tenant; first finish what a crash interrupted."""
        repository = self.repository
        self._eraser.resume(now=arguments.moment("now", now))
        policies, closings = Rulebook(repository), Closure(repository)
        store, vault, kinds = repository.store, repository.vault, repository.kinds
        sweep = Sweep(store, self._eraser, vault, kinds, policies.of, closings.since)
        return {
            tenant: sweep.run(tenant, now=now, new_erasure=lambda: made_id("e", now=now, randomness=self._random(10)))
            for tenant in sweep.waiting(now, EVERYONE)
        }

    def readmit(self, tenant: str, form: Form, value: str, *, evidence: str, by: ActorRef, now: datetime) -> None:
        """Let an e-mail address or phone number in again, by its owner's own new consent, which *evidence* names.

        Raises:
            ResourceMissing: it is not suppressed.
        """
        act = _act(tenant_id(tenant), "readmit", by, now, Use.ADMINISTER)
        arguments.text("value", value)
        readmit(
            self.repository.store,
            self.repository.identifiers,
            arguments.instance("form", form, Form),
            value,
            evidence=arguments.text("evidence", evidence),
            act=act,
        )

    def discharge(self, who: SubjectRef, *, by: ActorRef, now: datetime) -> None:
        """Say that nothing obliges any more to keep records of *who*: what was kept goes with the next sweep."""
        store = self.repository.store
        ended = obligations(store, arguments.subject(who).tenant, self.repository.subject_key(who))
        act = _act(who.tenant, "discharge", by, now, Use.ADMINISTER)
        act = attrs.evolve(act, witness=bears_witness(self.repository.vault, act))
        store.mark(ended, lift=True, act=act)

    def reasons(self, who: SubjectRef) -> Sequence[Reason]:
        """Return every reason that *who* and their records carry: holds, restrictions, objections, an erasure."""
        halves = with_remnants([self.repository.subject_key(arguments.subject(who))])
        return self.repository.store.reasons(who.tenant, halves)

    def _kind(self, model: type[Any]) -> Kind:
        declared = kind_of(arguments.instance("model", model, type))
        if self.repository.kinds.get(declared.name) is not declared:
            raise InvalidField("model", f"{declared.name} is not among the kinds that this was opened with")
        return declared


def _act(tenant: TenantId, verb: str, by: ActorRef, now: datetime, use: Use) -> Act:
    return Act(
        tenant=tenant,
        actor=arguments.actor(by),
        verb=verb,
        use=arguments.instance("use", use, Use).value,
        at=arguments.moment("now", now),
    )


def _pair(equal: tuple[str, str]) -> tuple[str, str]:
    if len(arguments.instance("equal", equal, tuple)) != 2:
        raise InvalidField("equal", "must be the name of a field and a value of it")
    field, value = equal
    return arguments.text("equal[0]", field), arguments.text("equal[1]", value)
