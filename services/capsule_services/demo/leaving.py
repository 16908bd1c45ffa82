"""Another company of the story: it closes its account, comes back, leaves for good, and nothing of it stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.identity.v1 import identity_pb2
from capsule_services.demo.company import CheckFailed, expect, refused, request_id, sign_in, sign_up
from capsule_services.demo.story import Memory
from capsule_services.runtime.clock import advance
from capsule_services.runtime.faults import understood

__all__ = ["WORDS", "leave_and_come_back", "see_it_go"]

WORDS: Final = ("quenchbarrow", "isoldraine", "wimblethorpe", "thaddifex")
"""What stands nowhere once it is gone: of the company, its super administrator, and whom it kept."""

_EMAIL: Final = "isoldraine@quenchbarrow.example"
_GRACE: Final = timedelta(days=14)
_PATIENCE: Final = 20.0
_LOOK: Final = timedelta(seconds=61)


def leave_and_come_back(memory: Memory) -> str:
    tenant, _ = sign_up(memory.deployment, "Quenchbarrow Ferns", "Isoldraine Quenchbarrow", _EMAIL)
    desk = memory.leaver = sign_in(memory.deployment, tenant, _EMAIL)
    person = pb.Person(given_name="Thaddifex", family_name="Wimblethorpe")
    contact = pb.Contact(person=person, emails=[pb.Email(address="thaddifex@wimblethorpe.example")])
    kept = desk.contacts.CreateContact(pb.CreateContactRequest(parent=tenant, contact=contact, request_id=request_id()))
    with refused("CONFIRMATION_REQUIRED", "a closing that is not confirmed"):
        desk.identity.CloseTenant(identity_pb2.CloseTenantRequest(name=tenant, request_id=request_id()))
    closed = _close(memory)
    grace = closed.reopen_expire_time.ToDatetime() - closed.close_time.ToDatetime()
    expect(grace == _GRACE, "it says until when it can be reopened: for exactly 14 x 24 hours")
    _until("contacts hears of the closing", lambda: _answer(memory, kept) == "PERMISSION_DENIED")
    looked = desk.contacts.GetContact(pb.GetContactRequest(name=kept.name))
    expect(looked == kept, "while it is closed, its super administrator looks at what there is")
    back = desk.identity.ReopenTenant(identity_pb2.ReopenTenantRequest(name=tenant, request_id=request_id()))
    expect(back.state == identity_pb2.Tenant.ACTIVE, "it is reopened")
    _until("contacts hears of the reopening", lambda: _answer(memory, kept) == "")
    again = desk.contacts.GetContact(pb.GetContactRequest(name=kept.name))
    expect(again == kept, "and all is as if it had not been closed")
    _close(memory)
    memory.left = kept
    return "closed: looking is all that is left; reopened: all is as it was; closed again, for good"


def see_it_go(memory: Memory) -> str:
    """See its customer data go by now, and the account when a year is over."""
    desk, kept = memory.leaver, memory.left
    _until("the customer data goes", lambda: _answer(memory, kept) == "TENANT_CLOSED", memory)
    account = desk.identity.GetTenant(identity_pb2.GetTenantRequest(name=desk.tenant))
    expect(account.state == identity_pb2.Tenant.CLOSED, "the account itself is still there")
    with refused("TENANT_CLOSED", "a reopening that comes too late"):
        desk.identity.ReopenTenant(identity_pb2.ReopenTenantRequest(name=desk.tenant, request_id=request_id()))
    expires: datetime = account.account_expire_time.ToDatetime(tzinfo=UTC)
    advance(memory.deployment.clock_file, expires - timedelta(days=1) - memory.deployment.clock.now())
    _until("the account goes within a year", lambda: _signing_in(memory) == "UNAUTHENTICATED", memory)
    expect(memory.deployment.clock.now() < expires, "in time")
    return "two weeks on: its contacts are gone and nobody reopens it; within a year: the account and its users too"


def _close(memory: Memory) -> identity_pb2.Tenant:
    request = identity_pb2.CloseTenantRequest(name=memory.leaver.tenant, confirm=True, request_id=request_id())
    closed = memory.leaver.identity.CloseTenant(request)
    expect(closed.state == identity_pb2.Tenant.CLOSED, "what is closed says so")
    return closed


def _answer(memory: Memory, kept: pb.Contact) -> str:
    """Write to contacts what changes nothing; return why that is refused."""
    change = pb.UpdateContactRequest(contact=pb.Contact(name=kept.name, person=kept.person), request_id=request_id())
    change.update_mask.paths.append("person.given_name")
    return _reason(lambda: memory.leaver.contacts.UpdateContact(change))


def _signing_in(memory: Memory) -> str:
    return _reason(lambda: sign_in(memory.deployment, memory.leaver.tenant, _EMAIL))


def _reason(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return understood(error).reason
    return ""


def _until(promise: str, look: Callable[[], bool], memory: Memory | None = None) -> None:
    """Look again and again; with *memory* its clock goes on by more than a minute each time, for sweeps to look too."""
    end = time.monotonic() + _PATIENCE
    while not look():
        if time.monotonic() > end:
            raise CheckFailed(promise)
        if memory is not None:
            advance(memory.deployment.clock_file, _LOOK)
        time.sleep(0.05)
