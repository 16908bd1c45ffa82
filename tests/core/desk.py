"""A desk at which contacts are kept, over any adapters of the ports: what the laws of the domain are tried on."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import attrs

from capsule_core.answers import Request
from capsule_core.checkpoints import Signer
from capsule_core.closing import Closing
from capsule_core.contacts import Email, Entry, Organisation, Person, Photo
from capsule_core.erasure import Eraser
from capsule_core.holds import Hold
from capsule_core.journal import Journal, MemoryJournal
from capsule_core.kept import Kept
from capsule_core.ledger import Leaf, LedgerStore, MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId, made_id
from capsule_core.pages import Keystore
from capsule_core.personal import Category, Personal, kind, kind_of
from capsule_core.receipts import Receipt
from capsule_core.records import Act, Mark, Reason
from capsule_core.repository import Draft, Repository
from capsule_core.rulebook import StandingPolicy
from capsule_core.story import Erasure
from capsule_core.sweeping import Sweep, Swept
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import bears_witness

ACME, ZETA = TenantId("acme"), TenantId("zeta")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = ActorRef("user", "u1")


@kind("invoice", subject="contact", server_ids=True, obliged=True)
@attrs.frozen(kw_only=True)
class Invoice:
    """What the law obliges to keep, whatever becomes of the person."""

    id: str
    contact: str
    amount: Annotated[str, Personal(Category.FINANCIAL, purpose="accounting")]


KINDS = [kind_of(model) for model in (Person, Organisation, Entry, Photo, Invoice, Hold, StandingPolicy, Closing)]


def new_id(letter: str) -> str:
    return made_id(letter, now=NOON, randomness=secrets.token_bytes(10))


def person(name: str = "Ann", *, id: str = "", email: str = "", about: str = "") -> Person:  # noqa: A002
    emails = (Email(email),) if email else ()
    return Person(id=id or new_id("c"), given_name=name, emails=emails, about=about)


def note(contact: str, body: str = "said hello", *, id: str = "") -> Entry:  # noqa: A002
    return Entry(id=id or new_id("e"), contact=contact, channel="note", occurred_at="2026-02-01T10:00:00Z", body=body)


def invoice(contact: str, amount: str = "12.50 EUR") -> Invoice:
    return Invoice(id=new_id("i"), contact=contact, amount=amount)


def asked(name: str, *, digest: bytes = b"digest") -> Request:
    return Request(caller="user/u1", method="save", id=name, digest=digest, until=NOON)


@attrs.define(eq=False)
class Desk:
    """Everything between the ports and a caller."""

    store: Any
    keystore: Keystore
    journal: Journal
    ledger: LedgerStore
    vault: Vault = attrs.field(init=False)
    repository: Repository = attrs.field(init=False)
    eraser: Eraser = attrs.field(init=False)
    sweeping: Sweep = attrs.field(init=False)
    signer: Signer = attrs.field(factory=lambda: Signer.from_seed("contacts", bytes(32)))

    def __attrs_post_init__(self) -> None:
        self.vault = Vault(
            self.store, self.keystore, self.journal, secrets.token_bytes, shared=getattr(self.store, "shared", False)
        )
        self.repository = Repository(self.store, self.vault, KINDS)
        known_by = self.repository.identifiers
        self.eraser = Eraser(self.store, self.vault, self.ledger, self.signer, self.signer.name, known_by)
        self.sweeping = Sweep(self.store, self.eraser, self.vault, self.repository.kinds)

    def act(self, tenant: TenantId = ACME, *, now: datetime = NOON, use: Use = Use.EDIT, verb: str = "try") -> Act:
        return Act(tenant=tenant, actor=USER, verb=verb, use=use.value, at=now)

    def add(
        self,
        *contents: Any,
        tenant: TenantId = ACME,
        now: datetime = NOON,
        use: Use = Use.EDIT,
        request: Request | None = None,
    ) -> list[Kept[Any]]:
        drafts = [Draft(each, root=RecordId(each.contact) if hasattr(each, "contact") else None) for each in contents]
        return self.repository.add(drafts, act=self.act(tenant, now=now, use=use), request=request)

    def get(self, name: str, *, tenant: TenantId = ACME, use: Use = Use.DISPLAY) -> Kept[Any]:
        return self.repository.get(tenant, RecordId(name), use=use)

    def rename(
        self,
        name: str,
        to: str,
        *,
        tenant: TenantId = ACME,
        now: datetime = NOON,
        request: Request | None = None,
    ) -> Kept[Any]:
        kept = self.get(name, tenant=tenant, use=Use.EDIT)
        return self.repository.change(
            kept, attrs.evolve(kept.content, about=to), act=self.act(tenant, now=now), request=request
        )

    def trash(self, name: str, *, tenant: TenantId = ACME, now: datetime = NOON) -> Kept[Any]:
        return self.repository.trash(self.get(name, tenant=tenant), new_id("b"), act=self.act(tenant, now=now))

    def restore(self, name: str, *, tenant: TenantId = ACME, now: datetime = NOON) -> Kept[Any]:
        return self.repository.restore(self.get(name, tenant=tenant), act=self.act(tenant, now=now, use=Use.STORE))

    def mark(self, name: str, mark: Mark, *, tenant: TenantId = ACME, lift: bool = False) -> None:
        act = self.act(tenant, use=Use.STORE)
        reason = Reason(id="why", mark=mark, subject=SubjectKey(name), since=NOON)
        self.store.mark([reason], lift=lift, act=attrs.evolve(act, witness=bears_witness(self.vault, act)))

    def hold(self, kept: Kept[Any], *, why: str = "claim", lift: bool = False) -> None:
        """Put a hold on one record, or release it; what was handed over meanwhile is found where it is now."""
        record = self.store.read(ACME, [kept.id], admits=~Mark.NONE)[0]
        act = self.act(use=Use.STORE)
        reason = Reason(id=why, mark=Mark.HELD, subject=record.subject, since=NOON, record=kept.id)
        self.store.mark([reason], lift=lift, act=attrs.evolve(act, witness=bears_witness(self.vault, act)))

    def erasure(
        self,
        *names: str,
        tenant: TenantId = ACME,
        id: str = "",  # noqa: A002
        now: datetime = NOON,
        parts: bool = False,
        suppresses: bool = False,
    ) -> Erasure:
        return Erasure(
            suppresses=suppresses,
            parts=parts,
            tenant=tenant,
            id=id or new_id("e"),
            subjects=tuple(map(SubjectKey, names)),
            ground="request",
            by=USER,
            requested=now,
        )

    def erase(self, *names: str, tenant: TenantId = ACME, id: str = "", now: datetime = NOON) -> Receipt | None:  # noqa: A002
        return self.eraser.erase(self.erasure(*names, tenant=tenant, id=id), now=now)

    def forget(self, *names: str, tenant: TenantId = ACME, id: str = "", parts: bool = False) -> Receipt:  # noqa: A002
        """Erase people who asked for it: they are not to come back."""
        wanted = self.erasure(*names, tenant=tenant, id=id, parts=parts, suppresses=True)
        return self.eraser.erase(wanted, now=NOON)

    def sweep(self, *, tenant: TenantId = ACME, now: datetime) -> Swept:
        return self.sweeping.run(tenant, now=now, new_erasure=lambda: new_id("e"))

    def leaves(self) -> Sequence[Leaf]:
        return [Leaf.decode(data) for data in self.ledger.read(0, self.ledger.head().size)]


def in_memory() -> Desk:
    ledger, journal = MemoryLedger(), MemoryJournal()
    return Desk(MemoryStore(ledger, journal), MemoryKeystore(), journal, ledger)
