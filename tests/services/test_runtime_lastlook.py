"""The last look: what speaks of somebody who was erased meanwhile does not leave, and nothing else is held back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import SubjectErased
from capsule_core.names import TenantId
from capsule_core.uses import Use
from capsule_services.runtime.calls import CURRENT, Call, noting
from capsule_services.runtime.faults import understood
from capsule_services.runtime.lastlook import LastLook
from tests.core.vaults import two
from tests.services.chassis import anna, refused
from tests.services.office import opened_on, purged
from tests.services.wired import ACME, Wired, contacts, creating, wired

TENANT = TenantId("acme")
CARD = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:P{0}\r\nN:P{0};;;;\r\nEND:VCARD\r\n"


@pytest.fixture(params=["memory", "sqlite"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wired]:
    with wired(opened_on(request.param, tmp_path), tmp_path) as running:
        yield running


@pytest.mark.law("L6")
def test_an_answer_about_somebody_erased_while_it_was_made_does_not_leave(service: Wired) -> None:
    desk = service.office.desk("acme")

    def erase() -> None:
        service.servicer.after = lambda: None
        (name,) = contacts_of(desk)
        purged(desk, pb.Contact(name=name))

    service.servicer.after = erase
    with service.stub() as stub:
        error = refused(lambda: stub.CreateContact(creating("Svanhild")))
        assert understood(error).reason == "SUBJECT_ERASED"  # type: ignore[arg-type]
        assert "Svanhild" not in str(error)
        assert contacts(stub) == []


def contacts_of(desk: Any) -> list[str]:
    return [each.name for each in desk.ListContacts(pb.ListContactsRequest(parent=ACME)).contacts]


@pytest.mark.law("L9")
def test_an_import_goes_on_though_somebody_it_brought_is_erased_before_it_ends(service: Wired) -> None:
    """Its report is about rows: it holds nothing of anybody."""
    desk, count = service.office.desk("acme"), 250

    def messages() -> Iterator[pb.ImportContactsRequest]:
        header = pb.ImportContactsRequest.Header(parent=ACME, layout=pb.ImportContactsRequest.VCARD)
        yield pb.ImportContactsRequest(header=header)
        yield pb.ImportContactsRequest(data="".join(map(CARD.format, range(count))).encode())
        while not (kept := contacts_of(desk)):
            pass
        purged(desk, pb.Contact(name=kept[0]))
        yield pb.ImportContactsRequest(data=CARD.format(count).encode())

    with service.stub() as stub:
        assert stub.ImportContacts(messages()).created == count + 1


def test_what_was_forgotten_holds_nothing_back_and_what_was_noted_does() -> None:
    both = two()
    ann, bo = both.theirs.issue(TENANT, 2)
    look = LastLook()
    look.note(both.theirs, TENANT, [ann])
    look.take()
    both.ours.shred(TENANT, [ann])
    with pytest.raises(SubjectErased):
        look.take()
    look.forget()
    look.note(both.theirs, TENANT, [bo])
    look.take()


def test_only_the_call_that_used_a_key_answers_for_it() -> None:
    both = two()
    (ann,) = both.theirs.issue(TENANT, 1)
    note = noting(both.theirs)
    note(TENANT, [ann])  # by nobody's call: a sweep
    ours, others = (
        Call(method="/x/Y", permission="x.y", use=Use.DISPLAY, caller=anna(), tenant=TENANT) for _ in range(2)
    )
    before = CURRENT.set(ours)
    note(TENANT, [ann])
    CURRENT.reset(before)
    both.ours.shred(TENANT, [ann])
    others.last_look.take()
    with pytest.raises(SubjectErased):
        ours.last_look.take()
