"""The identity service in this process: handlers over the ports in memory, a clock that tests move, cheap hashing."""

from __future__ import annotations

import contextvars
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
from argon2 import PasswordHasher

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core import codec
from capsule_core.checkpoints import Signer
from capsule_core.closure import Closure
from capsule_core.erasure import Eraser
from capsule_core.errors import Unauthenticated
from capsule_core.holder import RecordHolder
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId
from capsule_core.records import Where
from capsule_core.repository import Repository
from capsule_core.tenancy import Document, User
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_services.identity.__main__ import KINDS
from capsule_services.identity.documents import DOCUMENTS
from capsule_services.identity.issuer import Issuer
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.presence import roster_id
from capsule_services.identity.servicer import IdentityServicer
from capsule_services.identity.sessions.handlers import is_open, prepare
from capsule_services.identity.signing import SigningKey, SigningKeys
from capsule_services.runtime.callers import Anonymous, Caller, UserCaller
from capsule_services.runtime.calls import CURRENT, Call, noting
from capsule_services.runtime.clock import Clock
from capsule_services.runtime.doors import Doors
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.policy import admit, permit, rules
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.requests import check
from capsule_services.runtime.tokens import KeyRing

START = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
PASSWORD = "a long walk by the sea"
RULES = rules([pb.DESCRIPTOR.services_by_name["IdentityService"]])
SERVICE = "/capsule_api.identity.v1.IdentityService/"


@attrs.frozen
class Hands(Clock):
    """A clock whose hands a test moves."""

    at: list[datetime] = attrs.Factory(lambda: [START])

    def now(self) -> datetime:
        return self.at[0]

    def forward(self, by: timedelta) -> None:
        self.at[0] += by


class CountingHasher(PasswordHasher):
    """As cheap as argon2id gets; counts how often it had to compare."""

    def __init__(self, *, memory_cost: int = 8) -> None:
        super().__init__(time_cost=1, memory_cost=memory_cost, parallelism=1)
        self.compared = 0

    def verify(self, hash: Any, password: Any) -> Any:  # noqa: A002
        self.compared += 1
        return super().verify(hash, password)


@attrs.define(eq=False)
class Interposed(MemoryStore):
    """A store in which others are faster: what waits in *before* happens just before a write that was decided.

    While it *fails*, nobody can be fenced.
    """

    before: list[Callable[[], object]] = attrs.field(factory=list, init=False)
    writes: int = attrs.field(default=0, init=False)
    busy: bool = attrs.field(default=False, init=False)
    fails: bool = attrs.field(default=False, init=False)

    def write(self, drafts: Any, *, admits: Any, act: Any) -> Any:
        self.writes += 1
        if self.before and not self.busy:
            self.busy = True
            try:
                self.before.pop(0)()
            finally:
                self.busy = False
        return super().write(drafts, admits=admits, act=act)

    def mark(self, reasons: Any, **more: Any) -> Any:
        if self.fails:
            raise ConnectionError
        return super().mark(reasons, **more)


@attrs.frozen
class Tenant:
    """A tenant that signed up, and its first super administrator."""

    name: str
    owner: UserCaller


@attrs.define(eq=False)
class Premises:
    store: Interposed
    holding: Holding
    clock: Hands
    issuer: Issuer
    hasher: CountingHasher
    servicer: IdentityServicer
    chance: random.Random

    def ask(self, caller: Caller, method: str, request: Any) -> Any:
        """Answer a call as the chassis would let it through."""
        rule = RULES[SERVICE + method]
        if isinstance(caller, UserCaller):
            if not self.is_open(caller):
                raise Unauthenticated
            caller = Doors(Closure(self.holding.repository)).bounded(caller)
        permit(rule, caller)
        tenant = admit(rule, caller, request)
        check(request)
        call = Call(method=rule.method, permission=rule.permission, use=rule.use, caller=caller, tenant=tenant)
        entered = contextvars.copy_context()
        entered.run(CURRENT.set, call)
        answer = entered.run(getattr(self.servicer, method), request, None)
        call.last_look.take()
        return answer

    def is_open(self, caller: UserCaller) -> bool:
        return is_open(self.holding, caller, now=self.issuer.wall())

    def uuid(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def sign_up(self, email: str = "anna@example.org", *, request_id: str = "") -> Tenant:
        made = self.ask(Anonymous(), "SignUp", sign_up_request(email, request_id=request_id))
        return Tenant(made.tenant.name, self.sign_in(made.tenant.name, email))

    def sign_in(self, tenant: str, email: str, password: str = PASSWORD) -> UserCaller:
        request = pb.SignInRequest(tenant=tenant, email=email, password=password)
        token = self.ask(Anonymous(), "SignIn", request).token
        return KeyRing(self.issuer.jwks, self.issuer.wall).verify(token)

    def invite(self, tenant: Tenant, email: str, role: pb.Role.ValueType = pb.STANDARD, granted: Any = ()) -> str:
        invitation = pb.Invitation(display_name="Somebody New", email=email, role=role, granted=granted)
        request = pb.InviteUserRequest(parent=tenant.name, invitation=invitation)
        token: str = self.ask(tenant.owner, "InviteUser", request).token
        return token

    def join(self, tenant: Tenant, email: str, role: pb.Role.ValueType = pb.STANDARD, granted: Any = ()) -> UserCaller:
        """Invite somebody, accept, and sign in."""
        token = self.invite(tenant, email, role, granted)
        self.ask(Anonymous(), "AcceptInvitation", pb.AcceptInvitationRequest(token=token, password=PASSWORD))
        return self.sign_in(tenant.name, email)

    def change_role(self, caller: UserCaller, user: str, role: pb.Role.ValueType, granted: Any = ()) -> pb.User:
        name = f"tenants/{caller.tenant}/users/{user}"
        changed: pb.User = self.ask(caller, "ChangeRole", pb.ChangeRoleRequest(name=name, role=role, granted=granted))
        return changed

    def remove(self, caller: UserCaller, user: str, **more: str) -> pb.User:
        name = f"tenants/{caller.tenant}/users/{user}"
        removed: pb.User = self.ask(caller, "RemoveUser", pb.RemoveUserRequest(name=name, **more))
        return removed

    def users(self, tenant: TenantId) -> list[User]:
        """Return the users of a tenant, past every handler."""
        where = Where(tenant=tenant, kinds=("user",))
        return [kept.content for kept in self.holding.repository.select(where, use=Use.ADMINISTER, limit=1000).records]

    def roster(self, tenant: TenantId) -> set[str]:
        kept = self.holding.repository.get(tenant, roster_id(tenant), use=Use.ADMINISTER)
        return set(kept.content.super_administrators)

    def contents(self) -> list[str]:
        """Return everything that is kept, opened and written out."""
        sealed = list(self.store._records.values())
        opened = [kept for record in sealed for kept in self.holding.repository.open([record])]
        return [codec.encode(kept.content).decode() for kept in opened]


@contextmanager
def opened(seed: int = 7) -> Iterator[Premises]:
    """Open the service on an empty store."""
    chance, clock, ledger, journal = random.Random(seed), Hands(), MemoryLedger(), MemoryJournal()  # noqa: S311
    store = Interposed(ledger, journal)
    vault = Vault(store, MemoryKeystore(), journal, chance.randbytes)
    repository = Repository(store, vault, KINDS, "US", noting(vault))
    signer = Signer.from_seed("identity", chance.randbytes(32))
    eraser = Eraser(store, vault, ledger, signer, "identity", repository.identifiers)
    with ReadLog(MemoryLedger()) as reads:
        holding = Holding(
            service="identity",
            repository=repository,
            eraser=eraser,
            holder=RecordHolder("identity", repository, eraser, lambda: holding.new_id("e")),
            ledger=ledger,
            reads=reads,
            clock=clock,
            random=chance.randbytes,
        )
        keys = SigningKeys((SigningKey.from_seed(chance.randbytes(32)),))
        issuer, hasher = Issuer(lambda: keys, clock.now), CountingHasher()
        servicer = IdentityServicer(
            holding=holding,
            paging=Paging(chance.randbytes(32)),
            issuer=issuer,
            passwords=Passwords(hasher),
            documents=DOCUMENTS,
        )
        for _ in range(2):
            prepare(holding)
        yield Premises(store, holding, clock, issuer, hasher, servicer, chance)


def accepted(documents: Sequence[Document] = DOCUMENTS) -> list[pb.Acceptance]:
    return [pb.Acceptance(kind=pb.DocumentKind.Value(each.kind.name), version=each.version) for each in documents]


def sign_up_request(email: str = "anna@example.org", *, request_id: str = "", password: str = PASSWORD) -> Any:
    return pb.SignUpRequest(
        tenant_display_name="Acme",
        super_administrator=pb.SignUpRequest.SuperAdministrator(
            display_name="Anna Example", email=email, password=password
        ),
        acceptances=accepted(),
        payment_method=pb.PaymentMethod(gateway="payments", token="tok_1A2b3C", brand="Visa", last_four="4242"),
        request_id=request_id,
    )
