"""A holder of somebody else's: a newsletter, its readers in a plain dictionary, that takes part in every erasure.

Run it: ``python examples/holder/newsletter.py``. The class is all that a third party writes; it keeps H1 to H8, as the
published suite says (tests/examples/test_holder.py asks it).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from capsule_core.blind import commitment
from capsule_core.checkpoints import Signer
from capsule_core.closing import GRACE
from capsule_core.errors import InvalidField, SubjectErased
from capsule_core.holder import About, Applied, Collected, Done, Identifier, Match, Order
from capsule_core.identifiers import canonical
from capsule_core.ledger import Leaf, MemoryLedger
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.receipts import Receipt, issue, verify
from capsule_core.statements import Destruction, Method, Outcome, Remainder, Statement, Verification
from capsule_core.story import Erasure
from capsule_core.sweeping import Swept

Who = tuple[TenantId, SubjectKey]
NEVER = datetime.max.replace(tzinfo=UTC)
ENDS = {Order.RELEASE: Order.HOLD, Order.LIFT: Order.RESTRICT}


@attrs.define(eq=False)
class Newsletter:
    """Keeps of each reader an e-mail address, and below it what they wrote back."""

    signer: Signer
    salt: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)
    kept: dict[Who, list[str]] = attrs.field(factory=dict, repr=False)
    leaving: dict[Who, datetime] = attrs.Factory(dict)
    reasons: dict[Who, set[tuple[Order, str]]] = attrs.Factory(dict)
    fenced: set[Who] = attrs.Factory(set)
    closed: dict[TenantId, datetime] = attrs.Factory(dict)
    reopened: set[tuple[TenantId, datetime]] = attrs.Factory(set)
    done: dict[tuple[TenantId, str], Done] = attrs.Factory(dict)
    ledger: MemoryLedger = attrs.Factory(MemoryLedger)
    lock: threading.Lock = attrs.Factory(threading.Lock)

    def keep(self, tenant: TenantId, reader: SubjectKey, text: str) -> None:
        """Keep a reader's address, or one more thing they wrote."""
        with self.lock:  # the fence and the write exclude each other
            if (tenant, reader) in self.fenced:
                raise SubjectErased
            self.kept.setdefault((tenant, reader), []).append(text)

    def unsubscribe(self, tenant: TenantId, reader: SubjectKey, *, now: datetime) -> datetime:
        """Forget a reader in 30 days; return when."""
        return self.leaving.setdefault((tenant, reader), now + timedelta(hours=30 * 24))

    def about(self) -> About:
        orders = frozenset({*ENDS, *ENDS.values(), Order.FENCE})
        return About(name=self.signer.name, kinds=("line",), orders=orders)

    def locate(self, tenant: TenantId, identifiers: Sequence[Identifier]) -> Sequence[Match]:
        matches = []
        for (owner, reader), lines in list(self.kept.items()):
            named = {(Form.TEXT, f"reader/{reader}"), (Form.EMAIL, canonical(Form.EMAIL, lines[0]))}
            places = tuple(place for place, each in enumerate(identifiers) if _asked(each) in named)
            if owner == tenant and places:
                matches.append(Match(subject=reader, identifiers=places, records=len(lines)))
        return matches

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        for reader in subjects:
            for place, line in enumerate(self.kept.get((tenant, reader), ())):
                yield Collected(
                    id=RecordId(f"{reader}-{place}"),
                    subject=reader,
                    kind="line",
                    media_type="text/plain",
                    content=line.encode(),
                    provided=True,
                )

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
        if order not in self.about().orders:
            raise InvalidField("order", "is not one that this holder carries out")
        with self.lock:
            known = tuple(key for key in subjects if (tenant, key) in self.kept or (tenant, key) in self.fenced)
            for who in ((tenant, key) for key in known if (tenant, key) not in self.fenced):
                reasons = self.reasons.setdefault(who, set())
                if order in ENDS:
                    reasons.discard((ENDS[order], reason))
                elif order is not Order.FENCE:
                    reasons.add((order, reason))
                elif not reasons:  # what is held or restricted is not fenced
                    self.fenced.add(who)
        return Applied(applied=known, unknown=tuple(key for key in subjects if key not in known))

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        with self.lock:
            if (finished := self.done.get((erasure.tenant, erasure.id))) is not None:
                return finished
            known = [who for key in erasure.subjects if (who := (erasure.tenant, key)) in self.kept]
            if not known:
                return Done(Outcome.NOTHING_HELD, None)
            if any(self.reasons.get(who) for who in known):  # all of them or none
                return Done(None, None)
            self.fenced.update(known)
            destroyed = sum(len(self.kept.pop(who)) for who in known)
            done = Done(Outcome.ERASED, self._receipt(erasure, [key for _, key in known], destroyed, now))
            return self.done.setdefault((erasure.tenant, erasure.id), done)

    def close(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        if (tenant, closed) not in self.reopened:
            self.closed[tenant] = closed

    def reopen(self, tenant: TenantId, *, closed: datetime, by: ActorRef, now: datetime) -> None:
        self.reopened.add((tenant, closed))
        if self.closed.get(tenant) == closed:
            del self.closed[tenant]

    def sweep(self, tenant: TenantId, *, now: datetime) -> Swept:
        with self.lock:
            waiting = {*self.kept} - self.fenced
            due = [who for who in waiting if who[0] == tenant and self._leaves(who) <= now]
        guarded = sum(len(self.kept[who]) for who in due if self.reasons.get(who))
        due = [who for who in due if not self.reasons.get(who)]
        done = self.erase(
            Erasure(
                tenant=tenant,
                id=f"e{secrets.token_hex(16)}",
                subjects=tuple(key for _, key in due),
                ground="trash_expired",
                by=ActorRef("clock", "sweep"),
                requested=now,
            ),
            now=now,
        )
        if done.receipt is None:
            return Swept(records=0, subjects=0, guarded=guarded, receipts=())
        told = done.receipt.statement
        records = told.destructions[0].records["line"]
        return Swept(records=records, subjects=len(told.subjects), guarded=guarded, receipts=(done.receipt,))

    def _leaves(self, who: Who) -> datetime:
        """Tell when a reader is to be forgotten: 30 days after leaving, 14 after their tenant has."""
        closed = self.closed.get(who[0], NEVER - GRACE)
        return min(self.leaving.get(who, NEVER), closed + GRACE)

    def _receipt(self, erasure: Erasure, readers: Sequence[SubjectKey], destroyed: int, now: datetime) -> Receipt:
        """State what was destroyed, commit that to the ledger, and sign both."""
        part = Destruction(
            holder=self.signer.name,
            outcome=Outcome.ERASED,
            method=Method.CLEAR,  # no keys of its own: gone from here at once, from backups when they expire
            technique="removed from the dictionary",
            media="the memory of this process",
            tool="newsletter 1.0",
            records={"line": destroyed},
            remaining=(Remainder(what="copies in backups", ground="they go when the oldest backup expires"),),
            verification=Verification(method="looked up again", result="not found", by=self.signer.name, at=now),
        )
        statement = Statement(
            erasure=erasure.id,
            service=self.signer.name,
            tenant=erasure.tenant,
            subjects=readers,
            ground=erasure.ground,
            policy=erasure.policy,
            scope="this service",
            requested_at=erasure.requested,
            fenced_at=now,
            destroyed_at=now,
            read_back_at=now,
            destructions=(part,),
        )
        leaf = Leaf(
            at=now,
            tenant=erasure.tenant,
            act="erasure.commit",
            use="erase",
            actor=commitment(self.salt, f"{erasure.by.kind}/{erasure.by.id}"),
            records=destroyed,
            detail={"erasure": erasure.id, "statement": statement.digest()},
        ).encode()
        frontier = self.ledger.append([leaf])
        return issue(statement, leaf=leaf, frontier=frontier, origin=self.signer.name, signer=self.signer)


def _asked(identifier: Identifier) -> tuple[Form, str | None]:
    exact = identifier.form is Form.TEXT
    return identifier.form, identifier.value if exact else canonical(identifier.form, identifier.value) or ""


def main() -> None:
    tenant, jana, now = TenantId("acme"), SubjectKey("c42"), datetime.now(UTC)
    newsletter = Newsletter(Signer.from_seed("newsletter", secrets.token_bytes(32)))
    newsletter.keep(tenant, jana, "jana@example.org")
    print("located:", newsletter.locate(tenant, [Identifier(Form.EMAIL, "Jana@Example.ORG")]))

    request = Erasure(
        tenant=tenant, id="e1", subjects=(jana,), ground="request", by=ActorRef("service", "privacy"), requested=now
    )
    done = newsletter.erase(request, now=now)
    assert done.receipt is not None
    assert not newsletter.locate(tenant, [Identifier(Form.EMAIL, "jana@example.org")])
    print("erased, and proved:", verify(done.receipt, newsletter.signer.verifier).destructions[0].method.value)
    try:
        newsletter.keep(tenant, jana, "jana@example.org")
    except SubjectErased as refused:
        print("a late form is told:", refused)


if __name__ == "__main__":
    main()
