"""Nobody comes back through a service: every method that could bring somebody in is in a table, and refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2
from capsule_api.identity.v1 import identity_pb2
from capsule_core.errors import (
    CapsuleError,
    ConfirmationRequired,
    IdentifierSuppressed,
    InvalidField,
    PermissionDenied,
    RequestReused,
    ResourceMissing,
)
from capsule_core.ledger import Leaf
from capsule_core.names import TenantId
from capsule_core.readmission import attests
from capsule_core.receipts import Receipt
from capsule_core.roles import Role
from capsule_services.runtime.callers import Anonymous
from capsule_services.runtime.holders.servicer import HolderServicer
from tests.core.comeback import ERASED, PHONE, PHONE_SPELLINGS, SPELLINGS
from tests.services.office import (
    Desk,
    Office,
    deleted,
    fresh_id,
    import_messages,
    office,
    opened_on,
    person,
    purged,
    service_desk,
)
from tests.services.premises import PASSWORD, Premises, Tenant, sign_up_request
from tests.services.premises import opened as opened_premises
from tests.wire.test_contract import READERS, contract, methods

HOLDER = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]
HEADER = "First Name,Last Name,Labels,E-mail 1 - Label,E-mail 1 - Value,Organization Name"


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def jane(desk: Desk, **more: Any) -> pb.Contact:
    return person(desk, "Jane", emails=[pb.Email(address=ERASED)], phones=[pb.Phone(number=PHONE)], **more)


def forgotten(desk: Desk, **more: Any) -> Receipt:
    """Keep Jane, and erase her at her request."""
    kept = deleted(desk, jane(desk, **more))
    request = pb.PurgeContactRequest(name=kept.name, confirm=True, suppress=True, request_id=fresh_id())
    return Receipt.decode(desk.PurgeContact(request).receipt)


def lifting(desk: Desk, **more: Any) -> pb.LiftSuppressionRequest:
    fields = {"parent": desk.tenant, "email": ERASED, "evidence": "web form of 3 May"} | more
    return pb.LiftSuppressionRequest(**fields)


@attrs.frozen
class Waiting:
    """What was kept before Jane was erased, for whoever wants to put her address to it."""

    bo: pb.Contact
    thrown: pb.Contact
    batch: str = ""


def waiting(desk: Desk, email: str) -> Waiting:
    thrown = person(desk, "Thrown", emails=[pb.Email(address=email)])
    request = pb.TrashContactsRequest(parent=desk.tenant, names=[thrown.name], request_id=fresh_id())
    batch = desk.TrashContacts(request).batch
    return Waiting(person(desk, "Bo"), thrown, batch)


def imported(desk: Desk, *emails: str, **header: Any) -> pb.ImportReport:
    """Import a row for each of the addresses."""
    rows = [HEADER, *(f"P{number},,,home,{email}," for number, email in enumerate(emails)), ""]
    layout = pb.ImportContactsRequest.GOOGLE_CSV
    return desk.ImportContacts(import_messages(desk, "\r\n".join(rows).encode(), layout, **header))


def create(desk: Desk, email: str, _: Waiting) -> None:
    person(desk, "Again", emails=[pb.Email(address=email)])


def update(desk: Desk, email: str, before: Waiting) -> None:
    changed = pb.Contact(name=before.bo.name, emails=[pb.Email(address=email)])
    desk.UpdateContact(pb.UpdateContactRequest(contact=changed))


def undelete(desk: Desk, _: str, before: Waiting) -> None:
    desk.UndeleteContact(pb.UndeleteContactRequest(name=before.thrown.name))


def undelete_batch(desk: Desk, _: str, before: Waiting) -> None:
    desk.UndeleteBatch(pb.UndeleteBatchRequest(parent=desk.tenant, batch=before.batch, request_id=fresh_id()))


def take_in(desk: Desk, email: str, _: Waiting) -> None:
    """Import three rows, of which the second is hers: it is refused by itself, and the others are kept."""
    report = imported(desk, "ann@example.org", email, "bo@example.org")
    for row in report.refused_rows:
        assert (row.row, row.field) == (2, "emails[0].address")
        assert report.created == 2
        raise {IdentifierSuppressed.reason: IdentifierSuppressed(row.field)}[row.reason]
    assert report.created == 3


CONTACT_WAYS: dict[str, Callable[[Desk, str, Waiting], None]] = {
    "CreateContact": create,
    "UpdateContact": update,
    "UndeleteContact": undelete,
    "UndeleteBatch": undelete_batch,
    "ImportContacts": take_in,
}


def invite(premises: Premises, tenant: Tenant, email: str) -> None:
    premises.invite(tenant, email)


def update_user(premises: Premises, tenant: Tenant, email: str) -> None:
    user = identity_pb2.User(name=f"{tenant.name}/users/{tenant.owner.user}", email=email)
    premises.ask(tenant.owner, "UpdateUser", identity_pb2.UpdateUserRequest(user=user))


USER_WAYS: dict[str, Callable[[Premises, Tenant, str], None]] = {"InviteUser": invite, "UpdateUser": update_user}
BY_THEMSELVES = {
    "AcceptInvitation": "of an invitation from before the erasure; the test below has it",
    "SignUp": "it makes a tenant of its own, in which nobody was ever erased",
}
BRINGS_NOBODY = {
    "DeleteContact": "it throws away",
    "TrashContacts": "likewise",
    "CreateContactList": "a list is of who is there, and nothing is found by its name",
    "FillContactList": "likewise",
    "TrashListedContacts": "it throws away",
    "DeleteContactList": "likewise",
    "UndeleteContactList": "a list is of who is there",
    "SetRetentionPolicy": "a policy is about nobody",
    "EndRelationship": "it leaves a contact as they are",
    "PurgeContact": "it destroys",
    "LiftSuppression": "it lets in, and keeps nothing",
    "UnsubscribeUser": "it is about the address that a user has",
    "ResubscribeUser": "likewise",
    "CreateEntry": "an entry is about a contact who is there, and is not found by an identifier",
    "UpdateEntry": "likewise",
    "DeleteEntry": "it throws away",
    "UndeleteEntry": "likewise an entry",
    "PlaceHold": "a hold is about who is there, and nothing is found by its text",
    "ReleaseHold": "likewise",
    "SignIn": "a session names a user by their id",
    "SignOut": "likewise",
    "ChangeRole": "it leaves the address as it is",
    "RemoveUser": "it destroys",
    "ReportErasure": "a case holds surrogates",
    "Apply": "an order is about who is there",
    "Erase": "it destroys",
    "Sweep": "likewise",
    "CloseTenant": "a closing is about nobody",
    "ReopenTenant": "it leaves everything as it was",
    "RetainTenant": "a ground is about who is there",
    "DissolveTenant": "it destroys",
    "Close": "a closing is about nobody",
    "Reopen": "it leaves everything as it was",
}


def test_every_method_that_changes_something_is_in_one_of_the_tables() -> None:
    changing = {method.name for method in methods(contract()) if not method.name.startswith(READERS)}
    listed = [*CONTACT_WAYS, *USER_WAYS, *BY_THEMSELVES, *BRINGS_NOBODY]
    assert changing == set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("method", CONTACT_WAYS)
def test_who_was_erased_at_their_request_is_refused_in_every_spelling(here: Office, method: str) -> None:
    for email in SPELLINGS:
        desk = here.desk()
        before = waiting(desk, email)
        forgotten(desk)
        with pytest.raises(IdentifierSuppressed) as refusal:
            CONTACT_WAYS[method](desk, email, before)
        assert refusal.value.field == "emails[0].address"


@pytest.mark.parametrize("method", CONTACT_WAYS)
def test_another_tenant_accepts_the_same_address(here: Office, method: str) -> None:
    forgotten(here.desk())
    desk = here.desk()
    before = waiting(desk, SPELLINGS[2])
    CONTACT_WAYS[method](desk, SPELLINGS[2], before)


def test_a_phone_number_is_refused_in_any_format_also_a_national_one(desk: Desk) -> None:
    forgotten(desk)
    for phone in (*PHONE_SPELLINGS, "020 7946 0958", "(020) 7946-0958"):
        with pytest.raises(IdentifierSuppressed) as refusal:
            person(desk, "Again", phones=[pb.Phone(number=phone)])
        assert refusal.value.field == "phones[0].number"


def test_a_tenant_that_destroys_what_it_has_may_meet_the_person_again(desk: Desk) -> None:
    receipt = purged(desk, jane(desk))
    assert receipt.statement.ground == "purge"
    jane(desk)


def test_what_the_person_asked_for_says_so_on_the_receipt(desk: Desk) -> None:
    assert forgotten(desk).statement.ground == "request"


def test_a_purge_asked_again_must_mean_the_same(desk: Desk) -> None:
    kept, named = deleted(desk, jane(desk)), fresh_id()
    with pytest.raises(ConfirmationRequired):
        desk.PurgeContact(pb.PurgeContactRequest(name=kept.name, suppress=True))
    first = desk.PurgeContact(pb.PurgeContactRequest(name=kept.name, confirm=True, suppress=True, request_id=named))
    again = desk.PurgeContact(pb.PurgeContactRequest(name=kept.name, confirm=True, suppress=True, request_id=named))
    assert first == again
    with pytest.raises(RequestReused):
        desk.PurgeContact(pb.PurgeContactRequest(name=kept.name, confirm=True, request_id=named))


def test_what_another_holder_erased_at_their_request_does_not_come_back_here(here: Office, desk: Desk) -> None:
    opened = here.opened
    holder = service_desk(HOLDER, HolderServicer(opened.holding, opened.signer, opened.paging), "privacy")
    for suppress in (False, True):
        name = jane(desk).name
        erasure = f"{desk.tenant}/erasures/{here.holding.new_id('e')}"
        answer = holder.Erase(holder_pb2.EraseRequest(erasure=erasure, subjects=[name], suppress=suppress))
        assert answer.outcome == holder_pb2.EraseResponse.ERASED
    with pytest.raises(IdentifierSuppressed):
        jane(desk)


def test_their_own_new_consent_lets_them_in_again_and_the_log_says_so(here: Office, desk: Desk) -> None:
    forgotten(desk)
    desk.LiftSuppression(lifting(desk, email=SPELLINGS[4]))
    desk.LiftSuppression(lifting(desk, email="", phone="020 7946 0958"))
    jane(desk)
    ledger, tenant = here.holding.ledger, TenantId(desk.tenant.removeprefix("tenants/"))
    leaves = [Leaf.decode(data) for data in ledger.read(0, ledger.head().size)]
    lifted = [leaf for leaf in leaves if (leaf.tenant, leaf.act) == (tenant, "contacts.LiftSuppression")]
    assert len(lifted) == 2
    assert all(attests(here.holding.vault.tenant(tenant), leaf, "web form of 3 May") for leaf in lifted)


def test_lifting_takes_a_permission_of_its_own_evidence_and_something_to_lift(here: Office, desk: Desk) -> None:
    forgotten(desk)
    for role in Role:
        if role is not Role.SUPER_ADMINISTRATOR:
            other = attrs.evolve(desk, caller=here.desk(desk.tenant.removeprefix("tenants/"), role).caller)
            with pytest.raises(PermissionDenied) as denied:
                other.LiftSuppression(lifting(desk))
            assert denied.value.permission == "contacts.lift_suppression"
    for change, field in (
        ({"evidence": ""}, "evidence"),
        ({"evidence": " "}, "evidence"),
        ({"evidence": "x" * 1001}, "evidence"),
        ({"email": "nonsense"}, "email"),
        ({"email": ""}, "email"),
    ):
        asked = lifting(desk, **change)
        if change == {"email": ""}:
            asked.ClearField("email")
        with pytest.raises(InvalidField) as refusal:
            desk.LiftSuppression(asked)
        assert refusal.value.field == field
    with pytest.raises(ResourceMissing):
        desk.LiftSuppression(lifting(desk, email="bo@example.org"))
    with pytest.raises(PermissionDenied):
        here.desk().LiftSuppression(lifting(desk))
    with pytest.raises(IdentifierSuppressed):
        jane(desk)


@pytest.mark.law("L9")
def test_lifting_again_under_the_same_request_id_has_one_effect(desk: Desk) -> None:
    forgotten(desk)
    named = fresh_id()
    first = desk.LiftSuppression(lifting(desk, request_id=named))
    desk.LiftSuppression(lifting(desk, email="", phone=PHONE))
    forgotten(desk)
    assert desk.LiftSuppression(lifting(desk, request_id=named)) == first
    with pytest.raises(IdentifierSuppressed):
        jane(desk)
    with pytest.raises(RequestReused):
        desk.LiftSuppression(lifting(desk, request_id=named, evidence="another"))


def test_nobody_can_ask_what_is_suppressed() -> None:
    assert [m.name for m in methods(contract()) if "uppress" in m.name] == ["LiftSuppression", "LiftSuppression"]


def test_a_file_in_which_she_comes_in_many_spellings_loses_those_rows_and_no_other(desk: Desk) -> None:
    forgotten(desk)
    people = [each for number, email in enumerate(SPELLINGS) for each in (email, f"p{number}@example.org")]
    report = imported(desk, *people, request_id=fresh_id())
    assert report.created == 12
    refused = [(row.row, row.reason, row.field) for row in report.refused_rows]
    assert refused == [(row, "IDENTIFIER_SUPPRESSED", "emails[0].address") for row in range(1, 25, 2)]
    assert not any(email in str(report) for email in SPELLINGS)


def test_an_import_that_runs_while_she_is_erased_takes_the_others(here: Office, desk: Desk) -> None:
    """The rows were looked at before, and are looked at again."""
    kept = deleted(desk, jane(desk))
    repository = here.holding.repository
    looked = type(repository.identifiers).suppressed
    erased: list[bool] = []

    def erase_after_the_look(self: Any, *asked: Any) -> Any:
        answer = looked(self, *asked)
        if not erased:
            erased.append(True)
            desk.PurgeContact(pb.PurgeContactRequest(name=kept.name, confirm=True, suppress=True))
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(repository.identifiers), "suppressed", erase_after_the_look)
        report = imported(desk, "ann@example.org", SPELLINGS[1])
    assert (report.created, [row.reason for row in report.refused_rows]) == (1, ["IDENTIFIER_SUPPRESSED"])


@pytest.fixture
def premises() -> Iterator[Premises]:
    with opened_premises() as service:
        yield service


def erased_as_a_user(premises: Premises, tenant: Tenant, email: str, *, suppress: bool = True) -> None:
    """Let another holder say that a user asked to be erased."""
    user = premises.join(tenant, email)
    signer = premises.holding.eraser._signer
    holder = service_desk(HOLDER, HolderServicer(premises.holding, signer, premises.servicer.paging), "privacy")
    erasure = f"{tenant.name}/erasures/{premises.holding.new_id('e')}"
    subjects = [f"{tenant.name}/users/{user.user}"]
    answer = holder.Erase(holder_pb2.EraseRequest(erasure=erasure, subjects=subjects, suppress=suppress))
    assert answer.outcome == holder_pb2.EraseResponse.ERASED


@pytest.mark.parametrize("method", USER_WAYS)
def test_who_was_erased_as_a_user_is_refused_as_one_in_every_spelling(premises: Premises, method: str) -> None:
    tenant = premises.sign_up()
    erased_as_a_user(premises, tenant, ERASED)
    for email in SPELLINGS:
        with pytest.raises(IdentifierSuppressed) as refusal:
            USER_WAYS[method](premises, tenant, email)
        assert refusal.value.field == "email"
    other = premises.sign_up("otto@example.org")
    USER_WAYS[method](premises, other, ERASED)


def test_an_invitation_from_before_is_not_accepted_after(premises: Premises) -> None:
    tenant = premises.sign_up()
    token = premises.invite(tenant, SPELLINGS[1])
    erased_as_a_user(premises, tenant, ERASED)
    request = identity_pb2.AcceptInvitationRequest(token=token, password=PASSWORD)
    with pytest.raises(IdentifierSuppressed):
        premises.ask(Anonymous(), "AcceptInvitation", request)


def test_a_user_who_is_removed_and_not_erased_at_their_request_can_be_invited_again(premises: Premises) -> None:
    tenant = premises.sign_up()
    premises.remove(tenant.owner, premises.join(tenant, ERASED).user)
    premises.join(tenant, ERASED)
    erased_as_a_user(premises, tenant, "ben@example.org", suppress=False)
    premises.join(tenant, "ben@example.org")


def test_an_erased_contact_can_become_a_user_of_the_same_tenant_and_sign_up_for_one(
    premises: Premises, here: Office
) -> None:
    """Who a tenant keeps in its address book and who signs in to it are two matters, of two services."""
    tenant = premises.sign_up()
    forgotten(here.desk(tenant.name.removeprefix("tenants/")))
    premises.join(tenant, ERASED)
    erased_as_a_user(premises, premises.sign_up("otto@example.org"), "pia@example.org")
    premises.ask(Anonymous(), "SignUp", sign_up_request("pia@example.org"))


def test_a_user_is_invited_again_by_their_own_new_consent(premises: Premises) -> None:
    tenant = premises.sign_up()
    erased_as_a_user(premises, tenant, ERASED)
    request = identity_pb2.LiftSuppressionRequest(parent=tenant.name, email=SPELLINGS[3], evidence="her letter")
    ben = premises.join(tenant, "ben@example.org")
    with pytest.raises(PermissionDenied):
        premises.ask(ben, "LiftSuppression", request)
    premises.ask(tenant.owner, "LiftSuppression", request)
    premises.join(tenant, ERASED)
    with pytest.raises(ResourceMissing):
        premises.ask(tenant.owner, "LiftSuppression", request)


def test_the_refusal_names_no_address(desk: Desk) -> None:
    forgotten(desk)
    with pytest.raises(CapsuleError) as refusal:
        jane(desk)
    told = f"{refusal.value} {refusal.value.metadata}".casefold()
    assert "jane" not in told
    assert "gmail" not in told
