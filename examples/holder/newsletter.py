"""A holder of somebody else's: a newsletter that keeps addresses in a plain dictionary and takes part in every erasure.

Run it: ``python examples/holder/newsletter.py``. The class is all that a third party writes; the published suite in
``capsule_core.testing.conformance`` says whether it keeps the contract (see tests/examples/test_holder.py).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs

from capsule_core.blind import commitment
from capsule_core.checkpoints import Signer
from capsule_core.errors import InvalidField, SubjectErased
from capsule_core.holder import About, Applied, Collected, Done, Identifier, Match, Order
from capsule_core.identifiers import canonical, email_problem
from capsule_core.ledger import Leaf, MemoryLedger
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.personal import Form
from capsule_core.receipts import Destruction, Method, Outcome, Receipt, Statement, issue, verify
from capsule_core.story import Erasure
from capsule_core.sweeping import Swept

Who = tuple[TenantId, SubjectKey]
ENDS = {Order.RELEASE: Order.HOLD, Order.LIFT: Order.RESTRICT}


@attrs.define(eq=False)
class Newsletter:
    """Keeps one e-mail address a subscriber; a holder (``capsule_core.holder.Holder``), H1 to H7."""

    signer: Signer
    salt: bytes = attrs.field(factory=lambda: secrets.token_bytes(32), repr=False)
    addresses: dict[Who, str] = attrs.field(factory=dict, repr=False)
    reasons: dict[Who, set[tuple[Order, str]]] = attrs.Factory(dict)
    fenced: set[Who] = attrs.Factory(set)
    done: dict[tuple[TenantId, str], Done] = attrs.Factory(dict)
    ledger: MemoryLedger = attrs.Factory(MemoryLedger)
    lock: threading.Lock = attrs.Factory(threading.Lock)

    def subscribe(self, tenant: TenantId, subject: SubjectKey, address: str) -> None:
        if problem := email_problem(address):
            raise InvalidField("address", problem)
        with self.lock:  # the fence and the write exclude each other
            if (tenant, subject) in self.fenced:
                raise SubjectErased
            self.addresses[tenant, subject] = address

    def recipients(self, tenant: TenantId) -> list[str]:
        """Whom to write to: nobody whose data is restricted."""
        stopped = {who for who, reasons in self.reasons.items() if any(order is Order.RESTRICT for order, _ in reasons)}
        return [address for who, address in self.addresses.items() if who[0] == tenant and who not in stopped]

    def about(self) -> About:
        orders = frozenset({*ENDS, *ENDS.values(), Order.FENCE})
        return About(name=self.signer.name, kinds=("subscription",), orders=orders)

    def locate(self, tenant: TenantId, identifiers: Sequence[Identifier]) -> Sequence[Match]:
        matches = []
        for (owner, subject), address in self.addresses.items():
            named = {(Form.TEXT, f"subscriber/{subject}"), (Form.EMAIL, canonical(Form.EMAIL, address))}
            places = tuple(place for place, each in enumerate(identifiers) if _asked(each) in named)
            if owner == tenant and places:
                matches.append(Match(subject=subject, identifiers=places, records=1))
        return matches

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        for subject in subjects:
            if (address := self.addresses.get((tenant, subject))) is not None:
                yield Collected(
                    id=RecordId(subject),
                    subject=subject,
                    kind="subscription",
                    media_type="text/plain",
                    content=address.encode(),
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
            known = tuple(subject for subject in subjects if (tenant, subject) in self.addresses)
            for who in ((tenant, subject) for subject in known):
                reasons = self.reasons.setdefault(who, set())
                if order in ENDS:
                    reasons.discard((ENDS[order], reason))
                elif order is not Order.FENCE:
                    reasons.add((order, reason))
                elif not reasons:  # what is held or restricted is not fenced
                    self.fenced.add(who)
        return Applied(applied=known, unknown=tuple(subject for subject in subjects if subject not in known))

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        with self.lock:
            if (finished := self.done.get((erasure.tenant, erasure.id))) is not None:
                return finished
            everybody = [(erasure.tenant, subject) for subject in erasure.subjects]
            known = [who for who in everybody if who in self.addresses]
            free = [who for who in known if not self.reasons.get(who)]
            if not free:
                return Done(None if known else Outcome.NOTHING_HELD, None)
            self.fenced.update(free)
            for who in free:
                del self.addresses[who]
            receipt = self._receipt(erasure, [subject for _, subject in free], now)
            return self.done.setdefault((erasure.tenant, erasure.id), Done(Outcome.ERASED, receipt))

    def sweep(self, tenant: TenantId, *, now: datetime) -> Swept:
        return Swept(records=0, subjects=0, guarded=0, receipts=())  # it keeps nothing in a trash

    def _receipt(self, erasure: Erasure, subjects: Sequence[SubjectKey], now: datetime) -> Receipt:
        """State what was destroyed, commit that to the ledger, and sign both."""
        part = Destruction(
            holder=self.signer.name,
            outcome=Outcome.ERASED,
            method=Method.CLEAR,  # no keys of its own: gone from here at once, from backups when they expire
            records={"subscription": len(subjects)},
            verified_at=now,
        )
        statement = Statement(
            erasure=erasure.id,
            service=self.signer.name,
            tenant=erasure.tenant,
            subjects=subjects,
            ground=erasure.ground,
            scope="this service",
            requested_at=erasure.requested,
            fenced_at=now,
            destroyed_at=now,
            read_back_at=now,
            destructions=(part,),
            remaining=("backups, until the oldest expires",),
        )
        leaf = Leaf(
            at=now,
            tenant=erasure.tenant,
            act="erasure.commit",
            use="erase",
            actor=commitment(self.salt, f"{erasure.by.kind}/{erasure.by.id}"),
            records=len(subjects),
            detail={"erasure": erasure.id, "statement": statement.digest()},
        ).encode()
        frontier = self.ledger.append([leaf])
        return issue(statement, leaf=leaf, frontier=frontier, origin=self.signer.name, signer=self.signer)


def _asked(identifier: Identifier) -> tuple[Form, str | None]:
    text = identifier.form is Form.TEXT
    return identifier.form, identifier.value if text else canonical(identifier.form, identifier.value)


def main() -> None:
    tenant, jana, now = TenantId("acme"), SubjectKey("c42"), datetime.now(UTC)
    newsletter = Newsletter(Signer.from_seed("newsletter", secrets.token_bytes(32)))
    newsletter.subscribe(tenant, jana, "jana@example.org")
    print("located:", newsletter.locate(tenant, [Identifier(Form.EMAIL, "Jana@Example.ORG")]))

    request = Erasure(
        tenant=tenant, id="e1", subjects=(jana,), ground="request", by=ActorRef("service", "privacy"), requested=now
    )
    done = newsletter.erase(request, now=now)
    assert done.receipt is not None
    assert not newsletter.locate(tenant, [Identifier(Form.EMAIL, "jana@example.org")])
    print("erased, and proved:", verify(done.receipt, newsletter.signer.verifier).destructions[0].method.value)
    try:
        newsletter.subscribe(tenant, jana, "jana@example.org")
    except SubjectErased as refused:
        print("a late form is told:", refused)


if __name__ == "__main__":
    main()
