"""Requests as bytes, to every method of every service: read, admitted and answered as the chassis does it.

The services are the real ones over the ports in memory, opened anew now and then. Names that samples spell with
``acme`` stand for what such a service has; so the samples are the same in every run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from capsule_api.policy.v1 import policy_pb2
from capsule_core.cases import Case
from capsule_core.errors import (
    AlreadyExists,
    CapsuleError,
    Conflict,
    Exhausted,
    FailedPrecondition,
    Forbidden,
    Invalid,
    InvalidField,
    NotFound,
    ReceiptInvalid,
    Unauthenticated,
)
from capsule_core.personal import kind_of
from capsule_services.contacts.book.convert import changed_from, contact_from
from capsule_services.contacts.exchange.convert import incoming_from
from capsule_services.contacts.history.convert import entry_from
from capsule_services.contacts.holds.convert import hold_from
from capsule_services.contacts.suppression import convert as suppression
from capsule_services.identity.closing.convert import retention_from
from capsule_services.identity.invitations.convert import invitation_from
from capsule_services.identity.tenants import convert as tenants
from capsule_services.identity.tenants.convert import accepted_from, account_from, payment_from
from capsule_services.identity.users import convert as users
from capsule_services.identity.users.convert import granted_from, role_from
from capsule_services.privacy.servicer import PrivacyServicer
from capsule_services.runtime import interceptor
from capsule_services.runtime.callers import Anonymous
from capsule_services.runtime.faults import code_of
from capsule_services.runtime.holders import convert as holders
from capsule_services.runtime.holders.convert import moment_from, order_from
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.ledgers.convert import parsed_log
from capsule_services.runtime.ledgers.servicer import LedgerServicer
from capsule_services.runtime.masks import updated
from capsule_services.runtime.policy import admit
from capsule_services.runtime.requests import check
from tests.core.test_receipts import DOCUMENT
from tests.fuzzing.target import Drawn, Target
from tests.services import premises
from tests.services.office import KINDS, Office, deleted, note, office, opened_in_memory, person, purged, service_desk
from tests.wire.plausible import SERVICES, Plausible, declared

__all__ = ["TARGETS"]

Ask = Callable[[str, Any], Any]
"""Asks a method of a service; the message is answered or refused."""

_SO_MANY: Final = 200
"""Requests that a service answers until it is opened anew."""

SPELLED: Final = Plausible(
    tenant="tenants/acme",
    user="tenants/acme/users/u1",
    contact="tenants/acme/contacts/c1",
    entry="tenants/acme/contacts/c1/entries/n1",
    subject="tenants/acme/subjects/c2",
    erasure="tenants/acme/erasures/e1",
    gone="tenants/acme/subjects/c3",
    receipt=DOCUMENT,
)
_NAMES: Final = ("entry", "contact", "user", "subject", "gone", "erasure", "tenant")


@attrs.define
class _Served:
    """A service that is opened when it is first asked, and again after so many requests."""

    service: str
    opening: Callable[[ExitStack], tuple[Plausible, Ask]]
    left: int = 0
    stack: ExitStack = attrs.Factory(ExitStack)
    real: Plausible = SPELLED
    ask: Ask = lambda _method, _message: None

    def take(self, data: bytes) -> None:
        drawn = Drawn(data)
        methods = SERVICES[self.service].methods
        method = methods[drawn.number(len(methods))]
        message = interceptor._tolerant(GetMessageClass(method.input_type).FromString)(drawn.left)
        if message is interceptor._DAMAGED:
            raise InvalidField("request", "cannot be read")
        self._open()
        _rename(message, self._renamed)
        try:
            answer = self.ask(method.name, [message] if method.client_streaming else message)
        except CapsuleError as refused:
            assert code_of(refused).name != "INTERNAL"
            assert not isinstance(refused, InvalidField) or refused.field
            raise
        assert not any("\0" in text for text in _texts(message))
        for each in answer if isinstance(answer, list) else [answer]:
            assert type(each).FromString(each.SerializeToString()) == each

    def samples(self) -> Iterator[bytes]:
        for number, method in enumerate(SERVICES[self.service].methods):
            for message in SPELLED.call(method):
                _settle(message)
                yield bytes([number]) + message.SerializeToString()
                yield bytes([number]) + message.SerializeToString().replace(b"Plausible 1", b"Plausible\0001")

    def _open(self) -> None:
        if self.left == 0:
            self.stack.close()
            self.real, self.ask = self.opening(self.stack)
            self.left = _SO_MANY
        self.left -= 1

    def _renamed(self, text: str) -> str:
        for name in _NAMES:
            spelled, real = getattr(SPELLED, name), getattr(self.real, name)
            if text == spelled or text.startswith(f"{spelled}/"):
                return f"{real}{text.removeprefix(spelled)}"
        return text


def _rename(message: Message, renamed: Callable[[str], str]) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                _rename(each, renamed)
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            setattr(message, field.name, renamed(value))
        elif field.type == FieldDescriptor.TYPE_STRING:
            value[:] = map(renamed, value)


def _texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        for each in value if field.is_repeated else (value,):
            if field.message_type is not None:
                yield from _texts(each)
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield each


def _settle(message: Any) -> None:
    """Make a sample the same in every run."""
    if "request_id" in message.DESCRIPTOR.fields_by_name:
        message.request_id = "00000000-0000-4000-8000-000000000001"
    elif message.DESCRIPTOR.name == "ImportContactsRequest" and message.HasField("header"):
        _settle(message.header)


def _office(stack: ExitStack) -> Office:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    opened = opened_in_memory(folder, "contacts", KINDS)
    stack.callback(opened.close)
    return office(opened, folder)


def _furnished(ours: Office) -> tuple[Any, Plausible]:
    desk = ours.desk("acme")
    kept, spare, gone = (person(desk, name) for name in ("Bo", "Cy", "Di"))
    entry = note(desk, kept)
    receipt = purged(desk, gone)
    deleted(desk, person(desk, "Ed"))
    erasure = f"{desk.tenant}/erasures/{receipt.statement.erasure}"
    subject, was = (f"{desk.tenant}/subjects/{each.name.rpartition('/')[2]}" for each in (spare, gone))
    return desk, attrs.evolve(
        SPELLED,
        contact=kept.name,
        entry=entry.name,
        subject=subject,
        gone=was,
        erasure=erasure,
        receipt=receipt.document,
    )


def _contacts(stack: ExitStack) -> tuple[Plausible, Ask]:
    desk, real = _furnished(_office(stack))
    return real, lambda method, message: getattr(desk, method)(message)


def _holder(stack: ExitStack) -> tuple[Plausible, Ask]:
    ours = _office(stack)
    _, real = _furnished(ours)
    servicer = HolderServicer(ours.holding, ours.opened.signer, ours.opened.paging)
    desk = service_desk(SERVICES["holder"], servicer, "privacy")
    return real, lambda method, message: getattr(desk, method)(message)


def _ledger(stack: ExitStack) -> tuple[Plausible, Ask]:
    ours = _office(stack)
    desk, real = _furnished(ours)
    servicer = LedgerServicer(ours.holding, ours.opened.signer.verifier)
    asking = attrs.evolve(desk, service=SERVICES["ledger"], servicer=servicer)
    return real, lambda method, message: getattr(asking, method)(message)


def _privacy(stack: ExitStack) -> tuple[Plausible, Ask]:
    ours = _office(stack)
    desk, real = _furnished(ours)
    opened = opened_in_memory(ours.folder, "privacy", [kind_of(Case)])
    stack.callback(opened.close)

    def key_of(holder: str) -> str:
        if holder != "contacts":
            raise ReceiptInvalid("it is not the report of a holder that is known here")
        return ours.opened.signer.verifier.text()

    holders: dict[str, Any] = {"contacts": ours.holding.holder}
    servicer = PrivacyServicer(
        holding=opened.holding, paging=opened.paging, holders=holders, key_of=key_of, signer=opened.signer
    )
    users = attrs.evolve(desk, service=SERVICES["privacy"], servicer=servicer)
    services = service_desk(SERVICES["privacy"], servicer, "contacts")

    def ask(method: str, message: Any) -> Any:
        return getattr(services if _callers("privacy", method) == policy_pb2.SERVICES else users, method)(message)

    return real, ask


def _identity(stack: ExitStack) -> tuple[Plausible, Ask]:
    ours = stack.enter_context(premises.opened())
    acme = ours.sign_up()

    def ask(method: str, message: Any) -> Any:
        known = _callers("identity", method) == policy_pb2.USERS
        return ours.ask(acme.owner if known else Anonymous(), method, message)

    user = f"{acme.name}/users/{acme.owner.user}"
    return attrs.evolve(SPELLED, tenant=acme.name, user=user), ask


def _callers(service: str, method: str) -> int:
    described: MethodDescriptor = SERVICES[service].methods_by_name[method]
    return declared(described).callers


_REFUSED: Final = (
    AlreadyExists,
    Conflict,
    Exhausted,
    FailedPrecondition,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
)
_CHASSIS: Final = (admit, check)


def _target(served: _Served, *parsers: Callable[..., Any], runs: int = 300) -> Target:
    return Target(
        name=f"{served.service}-request",
        take=served.take,
        parsers=(*_CHASSIS, *parsers),
        samples=lambda: list(served.samples()),
        raises=_REFUSED,
        runs=runs,
    )


TARGETS: Final = (
    _target(
        _Served("contacts", _contacts),
        contact_from,
        changed_from,
        entry_from,
        hold_from,
        incoming_from,
        updated,
        suppression.identifier_from,
    ),
    _target(
        _Served("identity", _identity),
        account_from,
        accepted_from,
        payment_from,
        tenants.user_from,
        users.user_from,
        role_from,
        granted_from,
        invitation_from,
        retention_from,
    ),
    _target(_Served("holder", _holder), holders.identifier_from, order_from, moment_from),
    _target(_Served("privacy", _privacy)),
    _target(_Served("ledger", _ledger), parsed_log),
)
