"""Purging: only from the trash, only with the confirmation, once, and with a receipt that anybody can check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import (
    CapsuleError,
    ConfirmationRequired,
    NotTrashed,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
    SubjectErased,
    SubjectHeld,
    Unavailable,
    VersionMismatch,
)
from capsule_core.holder import Order
from capsule_core.memory import MemoryKeystore
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.pages import PageKey
from capsule_core.receipts import Receipt, verify
from capsule_core.roles import Role
from tests.services.office import (
    KINDS,
    Desk,
    Office,
    deleted,
    fresh_id,
    listed,
    note,
    office,
    opened_in_memory,
    opened_on,
    person,
)


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def purging(contact: pb.Contact, **fields: Any) -> pb.PurgeContactRequest:
    return pb.PurgeContactRequest(**{"name": contact.name, "confirm": True, **fields})


def key_of(contact: pb.Contact) -> SubjectKey:
    return SubjectKey(contact.name.rpartition("/")[2])


def order(here: Office, desk: Desk, contact: pb.Contact, order: Order, reason: str) -> None:
    tenant = TenantId(desk.tenant.removeprefix("tenants/"))
    by, now = ActorRef("service", "privacy"), here.holding.now()
    here.holding.holder.apply(tenant, [key_of(contact)], order, reason=reason, by=by, now=now)


def test_a_purge_destroys_the_contact_with_its_history_and_proves_it(here: Office, desk: Desk) -> None:
    seen, living = person(desk, "Ada"), person(desk, "Bo")
    note(desk, seen), note(desk, seen)
    kept = note(desk, living, "Stays.")
    deleted(desk, seen)
    answer = desk.PurgeContact(purging(seen))
    statement = verify(answer.receipt, here.opened.signer.verifier)
    assert statement.subjects == (key_of(seen),)
    assert (statement.scope, statement.ground, statement.service) == ("this service", "purge", "contacts")
    assert dict(statement.destructions[0].records) == {"person": 1, "entry": 2}
    assert answer.erasure == f"{desk.tenant}/erasures/{statement.erasure}"
    assert listed(desk, show_deleted=True) == [living.name]
    assert desk.GetEntry(pb.GetEntryRequest(name=kept.name)) == kept


def test_a_flipped_bit_anywhere_in_the_receipt_is_found(here: Office, desk: Desk) -> None:
    seen = person(desk)
    deleted(desk, seen)
    document = desk.PurgeContact(purging(seen)).receipt
    for place in range(0, len(document), 7):
        flipped = bytearray(document)
        flipped[place] ^= 1
        with pytest.raises(CapsuleError):
            verify(bytes(flipped), here.opened.signer.verifier)


Situation = Callable[[Office, Desk, pb.Contact], pb.PurgeContactRequest]


def _living(_: Office, __: Desk, seen: pb.Contact) -> pb.PurgeContactRequest:
    return purging(seen)


def _unconfirmed(_: Office, desk: Desk, seen: pb.Contact) -> pb.PurgeContactRequest:
    deleted(desk, seen)
    return purging(seen, confirm=False)


def _stale(_: Office, desk: Desk, seen: pb.Contact) -> pb.PurgeContactRequest:
    deleted(desk, seen)
    return purging(seen, etag=seen.etag)


def _unknown(_: Office, desk: Desk, __: pb.Contact) -> pb.PurgeContactRequest:
    return purging(pb.Contact(name=f"{desk.tenant}/contacts/cunknown"))


def _erased(_: Office, desk: Desk, seen: pb.Contact) -> pb.PurgeContactRequest:
    deleted(desk, seen)
    desk.PurgeContact(purging(seen))
    return purging(seen)


def _held(here: Office, desk: Desk, seen: pb.Contact) -> pb.PurgeContactRequest:
    deleted(desk, seen)
    order(here, desk, seen, Order.HOLD, "h1")
    return purging(seen)


@pytest.mark.law("L2")
@pytest.mark.parametrize(
    ("situation", "refusal"),
    [
        (_living, NotTrashed),
        (_unconfirmed, ConfirmationRequired),
        (_stale, VersionMismatch),
        (_unknown, ResourceMissing),
        (_erased, SubjectErased),
        (_held, SubjectHeld),
    ],
)
def test_validating_a_purge_is_refused_exactly_as_the_purge_is(
    here: Office, desk: Desk, situation: Situation, refusal: type[CapsuleError]
) -> None:
    request = situation(here, desk, person(desk))
    validating = purging(pb.Contact(name=request.name), confirm=request.confirm, etag=request.etag, validate_only=True)
    with pytest.raises(refusal) as real:
        desk.PurgeContact(request)
    with pytest.raises(refusal) as told:
        desk.PurgeContact(validating)
    assert str(told.value) == str(real.value)


def test_validating_a_purge_that_would_succeed_destroys_nothing(here: Office, desk: Desk) -> None:
    seen = person(desk)
    gone, leaves = deleted(desk, seen), here.holding.ledger.head().size
    assert desk.PurgeContact(purging(seen, validate_only=True)) == pb.PurgeContactResponse()
    assert desk.GetContact(pb.GetContactRequest(name=seen.name)) == gone
    assert here.holding.ledger.head().size == leaves
    assert desk.PurgeContact(purging(seen)).receipt


@pytest.mark.law("L13")
@pytest.mark.parametrize("role", [Role.RESTRICTED, Role.STANDARD, Role.ADMINISTRATOR])
def test_only_a_super_administrator_purges(here: Office, role: Role) -> None:
    chief = here.desk()
    seen = person(chief)
    deleted(chief, seen)
    other = here.desk(chief.tenant.removeprefix("tenants/"), role)
    with pytest.raises(PermissionDenied):
        other.PurgeContact(purging(seen))
    assert listed(chief, show_deleted=True) == [seen.name]


@pytest.mark.law("L9")
def test_a_repeated_purge_gives_the_same_receipt_and_another_contact_under_its_id_is_refused(desk: Desk) -> None:
    seen, other, named = person(desk), person(desk, "Bo"), fresh_id()
    deleted(desk, seen), deleted(desk, other)
    first = desk.PurgeContact(purging(seen, request_id=named))
    assert desk.PurgeContact(purging(seen, request_id=named)) == first
    with pytest.raises(RequestReused):
        desk.PurgeContact(purging(other, request_id=named))
    assert listed(desk, show_deleted=True) == [other.name]


@pytest.mark.law("L9")
def test_a_request_id_that_was_refused_may_be_used_once_what_was_missing_is_there(desk: Desk) -> None:
    seen, named = person(desk), fresh_id()
    with pytest.raises(NotTrashed):
        desk.PurgeContact(purging(seen, request_id=named))
    deleted(desk, seen)
    assert desk.PurgeContact(purging(seen, request_id=named)).receipt


@pytest.mark.law("L4")
def test_what_two_holds_keep_is_purged_only_when_both_are_released(here: Office, desk: Desk) -> None:
    seen = person(desk)
    deleted(desk, seen)
    order(here, desk, seen, Order.HOLD, "h1")
    order(here, desk, seen, Order.HOLD, "h2")
    order(here, desk, seen, Order.RELEASE, "h1")
    with pytest.raises(SubjectHeld):
        desk.PurgeContact(purging(seen))
    order(here, desk, seen, Order.RELEASE, "h2")
    assert desk.PurgeContact(purging(seen)).receipt


@attrs.define(eq=False)
class Stumbling(MemoryKeystore):
    """A keystore that fails once, in the middle of an erasure."""

    failing: bool = False

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        if self.failing:
            self.failing = False
            raise Unavailable
        super().replace(keys)


@pytest.mark.law("L9")
def test_a_purge_that_was_interrupted_goes_on_when_it_is_asked_for_again(tmp_path: Path) -> None:
    keystore = Stumbling()
    opened = opened_in_memory(tmp_path, "contacts", KINDS, keystore=keystore)
    desk = office(opened, tmp_path).desk()
    seen, named = person(desk), fresh_id()
    deleted(desk, seen)
    keystore.failing = True
    with pytest.raises(Unavailable):
        desk.PurgeContact(purging(seen, request_id=named))
    answer = desk.PurgeContact(purging(seen, request_id=named))
    assert Receipt.decode(answer.receipt).statement.subjects == (key_of(seen),)
    assert desk.PurgeContact(purging(seen, request_id=named)) == answer
    opened.close()


def test_a_fence_put_by_order_does_not_keep_the_service_from_starting_again(here: Office, desk: Desk) -> None:
    seen = person(desk)
    order(here, desk, seen, Order.FENCE, "r1")
    here.opened.resume()
    with pytest.raises(SubjectErased):
        note(desk, seen)
