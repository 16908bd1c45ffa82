"""People at their desks, for the tests of services: the real servicer over a real store, without the wire between them.

A desk does with a request what the interceptor does, in the same order and with the same functions; what is refused is
raised as the domain says it.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import cache, partial
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
from google.protobuf.descriptor import ServiceDescriptor

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.checkpoints import Signer
from capsule_core.closing import Closing
from capsule_core.contacts import ContactList, Entry, Listed, Organisation, Person, Photo
from capsule_core.erasure import Eraser
from capsule_core.holder import RecordHolder
from capsule_core.holds import Hold
from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore
from capsule_core.names import TenantId, made_id
from capsule_core.personal import Kind, kind_of
from capsule_core.receipts import Receipt
from capsule_core.repository import Repository
from capsule_core.roles import EXPORT, Authority, Role
from capsule_core.rulebook import StandingPolicy
from capsule_core.vault import Vault
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime import interceptor
from capsule_services.runtime.callers import Caller, ServiceCaller, UserCaller
from capsule_services.runtime.calls import CURRENT, Call, noting
from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.clock import Clock, advance
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.log import made_log
from capsule_services.runtime.opening import Opened, open_holding
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.policy import Rule, permit, rules
from capsule_services.runtime.process import Host
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.remembering import MemoryEngine
from capsule_services.runtime.reporter import Report, Reporter
from capsule_services.runtime.settings import environment, settings_from
from capsule_services.runtime.shipping.keeping import Keeping
from capsule_services.runtime.sweeper import Sweeper
from capsule_services.runtime.sweeping import JOB

MODELS = (Person, Organisation, Entry, Photo, ContactList, Listed, Hold, StandingPolicy, Closing)
KINDS = [kind_of(model) for model in MODELS]
CONTACTS = pb.DESCRIPTOR.services_by_name["ContactsService"]
_numbers = itertools.count(1)


def fresh_id() -> str:
    return str(uuid4())


def numbered_id(number: int) -> str:
    return str(UUID(int=number, version=4))


def fresh_tenant() -> str:
    return f"t{next(_numbers)}"


def somebody(tenant: str, role: Role = Role.SUPER_ADMINISTRATOR, *, user: str = "u1") -> UserCaller:
    authority = Authority(role, frozenset({EXPORT}))
    return UserCaller(tenant=TenantId(tenant), user=user, authority=authority, session="s1")


def host(folder: Path, service: str = "contacts", **more: str | Path) -> Host:
    """Give a service what its chassis would, with a clock of its own; *more* are settings by their names."""
    credential = Credential(certificate=folder / "c.pem", key=folder / "k.pem", authority=folder / "ca.pem")
    told = environment(
        credential,
        data=folder / service,
        addresses=folder / "addresses",
        dev=True,
        clock=folder / "clock",
        phone_region="GB",
        **more,
    )
    settings = settings_from(told)
    settings.data.mkdir(parents=True, exist_ok=True)
    return Host(
        settings=settings,
        clock=Clock(settings.offset_file),
        peers=Peers(settings.addresses, settings.credential),
        log=made_log(StringIO(), service=service),
        stopped=threading.Event(),
    )


def opened_in_memory(folder: Path, service: str, kinds: list[Kind], *, keystore: Any = None) -> Opened:
    """Put together in memory what ``open_holding`` puts together on SQLite."""
    ledger, journal = MemoryLedger(), MemoryJournal()
    signer = Signer.from_seed(service, secrets.token_bytes(32))
    store, clock = MemoryStore(ledger, journal), Clock(folder / "clock")
    vault = Vault(store, keystore or MemoryKeystore(), journal, secrets.token_bytes)
    repository = Repository(store, vault, kinds, "GB", noting(vault))
    eraser = Eraser(store, vault, ledger, signer, service, repository.identifiers)
    stack = ExitStack()

    def new_erasure() -> str:
        return made_id("e", now=clock.now(), randomness=secrets.token_bytes(10))

    holding = Holding(
        service=service,
        repository=repository,
        eraser=eraser,
        holder=RecordHolder(service, repository, eraser, new_erasure),
        ledger=ledger,
        reads=stack.enter_context(ReadLog(MemoryLedger())),
        clock=clock,
        random=secrets.token_bytes,
    )
    keeping = Keeping(journal, None, made_log(StringIO(), service=service))
    return Opened(holding=holding, paging=Paging(secrets.token_bytes(32)), signer=signer, keeping=keeping, stack=stack)


def opened_on(kind: str, folder: Path, service: str = "contacts", kinds: list[Kind] | None = None) -> Opened:
    """Open a holding on the adapters of that name."""
    if kind == "memory":
        return opened_in_memory(folder, service, kinds or KINDS)
    return open_holding(host(folder, service), service, kinds or KINDS)


@attrs.frozen
class Desk:
    """Somebody who calls a servicer: ``desk.GetContact(request)``; a stream is a list of messages, both ways."""

    service: ServiceDescriptor
    servicer: Any
    caller: Caller

    @property
    def tenant(self) -> str:
        assert isinstance(self.caller, UserCaller)
        return f"tenants/{self.caller.tenant}"

    def __getattr__(self, method: str) -> Any:
        rule = rules_of(self.service).get(method)
        if rule is None:
            raise AttributeError(method)
        return partial(self._ask, rule)

    def _ask(self, rule: Rule, asked: Any) -> Any:
        permit(rule, self.caller)
        if isinstance(asked, list):
            messages = iter(map(_copied, asked))
            opening = next(messages, None)
            tenant = interceptor._begin(rule, self.caller, opening)
            request: Any = interceptor._stream(rule, self.caller, opening, messages, lambda: None)
        else:
            request = _copied(asked)
            tenant = interceptor._pass(rule, self.caller, request)
        call = Call(method=rule.method, permission=rule.permission, use=rule.use, caller=self.caller, tenant=tenant)
        before = CURRENT.set(call)
        try:
            answer = getattr(self.servicer, rule.method.rpartition("/")[2])(request, None)
            if not isinstance(answer, Iterator):
                call.last_look.take()
                return answer
            return [each for each in answer if call.last_look.take() is None]
        finally:
            CURRENT.reset(before)


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


@cache
def rules_of(service: ServiceDescriptor) -> Mapping[str, Rule]:
    return {name.rpartition("/")[2]: rule for name, rule in rules([service]).items()}


@attrs.frozen
class Office:
    """A contacts service whose desks anybody may take; *reporter* tells nobody unless it is started."""

    opened: Opened
    folder: Path
    reporter: Reporter
    servicer: ContactsServicer

    @property
    def holding(self) -> Holding:
        return self.opened.holding

    def desk(self, tenant: str | None = None, role: Role = Role.SUPER_ADMINISTRATOR, *, user: str = "u1") -> Desk:
        return Desk(CONTACTS, self.servicer, somebody(tenant or fresh_tenant(), role, user=user))

    def advance(self, by: timedelta) -> datetime:
        advance(self.folder / "clock", by)
        return self.holding.now()


def office(opened: Opened, folder: Path, report: Report = lambda _: True) -> Office:
    stopped, log = threading.Event(), made_log(StringIO(), service="contacts")
    reporter = Reporter(opened.holding, report, folder / "reported", stopped, log)
    servicer = ContactsServicer(holding=opened.holding, paging=opened.paging, reporter=reporter)
    return Office(opened, folder, reporter, servicer)


def service_desk(service: ServiceDescriptor, servicer: Any, name: str) -> Desk:
    return Desk(service, servicer, ServiceCaller(name))


def person(desk: Desk, given: str = "Ada", **fields: Any) -> pb.Contact:
    """Keep a person, and return them as they were answered."""
    shared = {name: fields.pop(name) for name in list(fields) if name in pb.Contact.DESCRIPTOR.fields_by_name}
    contact = pb.Contact(person=pb.Person(given_name=given, **fields), **shared)
    return desk.CreateContact(pb.CreateContactRequest(parent=desk.tenant, contact=contact, request_id=fresh_id()))


def note(desk: Desk, contact: pb.Contact, body: str = "Rang.", **fields: Any) -> pb.Entry:
    entry = pb.Entry(kind=pb.Entry.NOTE, body=body, **fields)
    return desk.CreateEntry(pb.CreateEntryRequest(parent=contact.name, entry=entry, request_id=fresh_id()))


def deleted(desk: Desk, contact: pb.Contact) -> pb.Contact:
    return desk.DeleteContact(pb.DeleteContactRequest(name=contact.name, request_id=fresh_id()))


def purged(desk: Desk, contact: pb.Contact) -> Receipt:
    deleted(desk, contact)
    request = pb.PurgeContactRequest(name=contact.name, confirm=True, request_id=fresh_id())
    return Receipt.decode(desk.PurgeContact(request).receipt)


def listed(desk: Desk, **asked: Any) -> list[str]:
    """Name what a list shows, all pages of it."""
    names, token = [], ""
    while True:
        page = desk.ListContacts(pb.ListContactsRequest(parent=desk.tenant, page_token=token, **asked))
        names += [contact.name for contact in page.contacts]
        token = page.next_page_token
        if not token:
            return names


def found(desk: Desk, **by: str) -> list[str]:
    answer = desk.SearchContacts(pb.SearchContactsRequest(parent=desk.tenant, **by))
    return [contact.name for contact in answer.contacts]


def import_messages(
    desk: Desk,
    content: bytes,
    layout: pb.ImportContactsRequest.Layout.ValueType,
    *,
    piece: int = 64 * 1024,
    **header: Any,
) -> list[pb.ImportContactsRequest]:
    begin = pb.ImportContactsRequest.Header(parent=desk.tenant, layout=layout, **header)
    starts: Iterable[int] = range(0, len(content), piece)
    data = [pb.ImportContactsRequest(data=content[start : start + piece]) for start in starts]
    return [pb.ImportContactsRequest(header=begin), *data]


def sweeper(here: Office, told: threading.Event, stopped: threading.Event) -> Sweeper:
    """Begin to sweep an office each minute; *told* is set when somebody was erased."""
    sweeping = Sweeper(
        here.holding,
        lambda job: MemoryEngine({JOB: job}),
        here.folder,
        1,
        timedelta(minutes=1),
        timedelta(days=7),
        False,
        told.set,
        stopped,
        made_log(StringIO(), service="contacts"),
    )
    sweeping.start()
    sweeping.lead()
    return sweeping
