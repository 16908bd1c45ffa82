"""An erasure over every holder: taken once, told to each, done when all have confirmed and nothing is found."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as contacts
from capsule_api.privacy.v1 import privacy_pb2 as pb
from capsule_core.cases import Case
from capsule_core.contacts import Email, Person
from capsule_core.errors import (
    CapsuleError,
    IdentifierSuppressed,
    InvalidField,
    PermissionDenied,
    ReceiptInvalid,
    ResourceMissing,
    Unavailable,
)
from capsule_core.holder import Collected, Done, Holder
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.personal import kind_of
from capsule_core.receipts import Receipt, verify
from capsule_core.records import Act
from capsule_core.repository import Draft
from capsule_core.statements import Outcome
from capsule_core.story import Erasure
from capsule_services.privacy.servicer import PrivacyServicer
from capsule_services.runtime.holders.convert import subject_name
from capsule_services.runtime.log import made_log
from capsule_services.runtime.opening import Opened
from capsule_services.runtime.reporter import Reporter
from tests.services.office import (
    KINDS,
    Desk,
    Office,
    deleted,
    listed,
    office,
    opened_in_memory,
    opened_on,
    person,
    purged,
    service_desk,
    somebody,
    sweeper,
)

PRIVACY = pb.DESCRIPTOR.services_by_name["PrivacyService"]
RUNNING, DONE = pb.Erasure.RUNNING, pb.Erasure.DONE


@attrs.define
class Moody:
    """A holder that may be down, or lie: it says *claims* and erases nothing, or still *finds* what it erased."""

    holder: Any
    down: bool = False
    claims: Done | None = None
    finds: bool = False
    asked: list[str] = attrs.Factory(list)

    def erase(self, erasure: Erasure, *, now: datetime) -> Done:
        self.asked.append(erasure.id)
        if self.down:
            raise Unavailable
        return self.claims or self.holder.erase(erasure, now=now)

    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Collected]:
        if self.down:
            raise Unavailable
        if self.finds:
            yield Collected(
                id=RecordId("u1"),
                subject=subjects[0],
                kind="user",
                media_type="application/json",
                content=b"{}",
                provided=True,
            )
        yield from self.holder.collect(tenant, subjects)


@attrs.frozen
class Town:
    """Contacts, another holder called identity, and privacy, which leads erasures over both."""

    office: Office
    identity: Opened
    moody: Moody
    privacy: Opened
    servicer: PrivacyServicer

    @property
    def keys(self) -> dict[str, str]:
        opened = {"contacts": self.office.opened, "identity": self.identity, "privacy": self.privacy}
        return {name: each.signer.verifier.text() for name, each in opened.items()}

    def asked_by(self, desk: Desk) -> Desk:
        return attrs.evolve(desk, service=PRIVACY, servicer=self.servicer)

    def report(self, receipt: Receipt, *, by: str = "contacts") -> pb.Erasure:
        statement = receipt.statement
        return service_desk(PRIVACY, self.servicer, by).ReportErasure(
            pb.ReportErasureRequest(
                name=f"tenants/{statement.tenant}/erasures/{statement.erasure}",
                subjects=[subject_name(statement.tenant, subject) for subject in statement.subjects],
                receipt=receipt.document,
            )
        )


@pytest.fixture(params=["memory", "sqlite"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    ours = office(opened_on(request.param, tmp_path), tmp_path)
    identity = opened_in_memory(tmp_path, "identity", KINDS)
    privacy = opened_on(request.param, tmp_path, "privacy", [kind_of(Case)])
    moody = Moody(identity.holding.holder)
    holders: dict[str, Holder] = {"contacts": ours.holding.holder, "identity": moody}  # type: ignore[dict-item]
    signers = {"contacts": ours.opened.signer, "identity": identity.signer}

    def key_of(holder: str) -> str:
        if holder not in signers:
            raise ReceiptInvalid("it is not the report of a holder that is known here")
        return signers[holder].verifier.text()

    servicer = PrivacyServicer(
        holding=privacy.holding, paging=privacy.paging, holders=holders, key_of=key_of, signer=privacy.signer
    )
    yield Town(ours, identity, moody, privacy, servicer)
    for opened in (ours.opened, identity, privacy):
        opened.close()


def outcomes(erasure: pb.Erasure) -> dict[str, str]:
    return {each.holder: pb.Erasure.Outcome.Name(each.outcome) for each in erasure.outcomes}


def everywhere(town: Town, desk: Desk, erasure: pb.Erasure) -> Receipt:
    document = town.asked_by(desk).GetReceipt(pb.GetReceiptRequest(name=f"{erasure.name}/receipt")).document
    verify(document, town.keys["privacy"])
    return Receipt.decode(document)


def test_an_erasure_is_done_when_every_holder_has_confirmed_and_the_receipt_says_what_each_did(town: Town) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    done = town.report(receipt)
    assert done.state == DONE
    assert outcomes(done) == {"contacts": "ERASED", "identity": "NOTHING_HELD"}
    statement = everywhere(town, desk, done).statement
    assert (statement.scope, statement.service) == ("everywhere", "privacy")
    assert statement.subjects == receipt.statement.subjects
    assert {part.holder: part.outcome for part in statement.destructions} == {
        "contacts": Outcome.ERASED,
        "identity": Outcome.NOTHING_HELD,
    }
    assert town.asked_by(desk).GetErasure(pb.GetErasureRequest(name=done.name)) == done


def test_a_holder_that_knows_the_same_person_erases_them_too_and_says_so_itself(town: Town) -> None:
    desk = town.office.desk()
    seen = person(desk)
    there = attrs.evolve(office(town.identity, town.office.folder).desk(), caller=desk.caller)
    _known_as(town.identity, there, seen)
    done = town.report(purged(desk, seen))
    assert outcomes(done) == {"contacts": "ERASED", "identity": "ERASED"}
    statement = everywhere(town, desk, done).statement
    assert [dict(part.records) for part in statement.destructions] == [{"person": 1}, {"person": 1}]
    assert listed(there, show_deleted=True) == []


def _known_as(opened: Opened, desk: Desk, contact: contacts.Contact) -> None:
    """Let another holder keep a person under the surrogate that contacts made."""
    name = contact.name.rpartition("/")[2]
    act = Act(
        tenant=TenantId(desk.tenant.removeprefix("tenants/")),
        actor=ActorRef("user", "u1"),
        verb="test",
        use="store",
        at=opened.holding.now(),
    )
    opened.holding.repository.add([Draft(Person(id=name, given_name="Ada"))], act=act)


@pytest.mark.law("L15")
def test_while_a_holder_is_down_it_runs_on_and_is_done_when_the_holder_is_back(town: Town) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    town.moody.down = True
    running = town.report(receipt)
    assert running.state == RUNNING
    assert outcomes(running) == {"contacts": "ERASED", "identity": "PENDING"}
    assert not running.HasField("done_time")
    with pytest.raises(ResourceMissing):
        everywhere(town, desk, running)
    assert town.report(receipt) == running
    town.moody.down = False
    done = town.report(receipt)
    assert done.state == DONE
    assert everywhere(town, desk, done).statement.read_back_at >= receipt.statement.read_back_at


@pytest.mark.law("L15")
def test_a_holder_that_says_erased_and_still_finds_the_person_is_not_believed(town: Town) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    town.moody.finds = True
    for _ in range(3):
        assert town.report(receipt).state == RUNNING
    with pytest.raises(ResourceMissing):
        everywhere(town, desk, town.report(receipt))
    town.moody.finds = False
    assert town.report(receipt).state == DONE


@pytest.mark.law("L15")
def test_a_holder_that_says_erased_without_a_receipt_of_its_own_is_not_believed(town: Town) -> None:
    desk = town.office.desk()
    receipt, other = purged(desk, person(desk)), purged(desk, person(desk, "Bo"))
    for claim in (Done(Outcome.ERASED, None), Done(Outcome.ERASED, other), Done(Outcome.ERASED, receipt)):
        town.moody.claims = claim
        told = town.report(receipt)
        assert told.state == RUNNING
        assert outcomes(told)["identity"] == "PENDING"
    town.moody.claims = Done(None, None)
    assert town.report(receipt).state == RUNNING


def test_a_report_is_taken_once_however_often_it_is_made_and_by_whomever(town: Town) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    done, leaves = town.report(receipt), town.privacy.holding.ledger.head().size
    assert town.report(receipt) == town.report(receipt, by="identity") == done
    assert town.privacy.holding.ledger.head().size == leaves
    assert town.moody.asked == [receipt.statement.erasure]
    reader = town.asked_by(desk)
    assert list(reader.ListErasures(pb.ListErasuresRequest(parent=desk.tenant)).erasures) == [done]


def test_a_receipt_that_a_crash_left_unmade_is_made_when_the_report_comes_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    with monkeypatch.context() as patched:
        patched.setattr(type(town.privacy.holding.ledger), "keep", _crash)
        with pytest.raises(Crashed):
            town.report(receipt)
    done = town.report(receipt)
    assert done.state == DONE
    assert everywhere(town, desk, done).statement.erasure == receipt.statement.erasure


@pytest.mark.law("L15")
def test_whoever_is_told_that_it_is_done_gets_the_receipt_though_nobody_has_made_it_yet(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    with monkeypatch.context() as patched:
        patched.setattr(type(town.privacy.holding.ledger), "keep", _crash)
        with pytest.raises(Crashed):
            town.report(receipt)
    (told,) = town.asked_by(desk).ListErasures(pb.ListErasuresRequest(parent=desk.tenant)).erasures
    assert told.state == DONE
    made = everywhere(town, desk, told)
    assert made == everywhere(town, desk, town.report(receipt))


@pytest.mark.parametrize("suppress", [True, False])
def test_who_asked_to_be_erased_is_not_taken_in_again_by_any_holder_and_others_are(town: Town, suppress: bool) -> None:
    desk = town.office.desk()
    tenant, address = TenantId(desk.tenant.removeprefix("tenants/")), "jane@example.org"
    contact = deleted(desk, person(desk, "Jane", emails=[contacts.Email(address=address)]))
    held = town.identity.holding

    def kept_there(name: str) -> None:
        theirs = Person(id=name, given_name="Jane", emails=(Email(address),))
        act = Act(tenant=tenant, actor=ActorRef("user", "u1"), verb="try", use="edit", at=held.now())
        held.repository.add([Draft(theirs)], act=act)

    kept_there(contact.name.rpartition("/")[2])
    purge = contacts.PurgeContactRequest(name=contact.name, confirm=True, suppress=suppress)
    assert town.report(Receipt.decode(desk.PurgeContact(purge).receipt)).state == DONE
    if suppress:
        with pytest.raises(IdentifierSuppressed):
            kept_there(held.new_id("c"))
    else:
        kept_there(held.new_id("c"))


class Crashed(BaseException):
    """Nothing catches it, as nothing catches a crash."""


def _crash(*_: object) -> None:
    raise Crashed


def test_a_receipt_of_one_service_that_a_crash_left_unmade_is_made_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_in_memory(tmp_path, "contacts", KINDS)
    desk = office(opened, tmp_path).desk()
    seen = person(desk)
    deleted(desk, seen)
    request = contacts.PurgeContactRequest(
        name=seen.name, confirm=True, request_id="7d1e8c1e-5a0b-4c57-9e53-9a8f6d0f3b11"
    )
    with monkeypatch.context() as patched:
        patched.setattr(type(opened.holding.ledger), "keep", _crash)
        with pytest.raises(Crashed):
            desk.PurgeContact(request)
    document = desk.PurgeContact(request).receipt
    assert verify(document, opened.signer.verifier).subjects == (seen.name.rpartition("/")[2],)
    opened.close()


def test_a_report_that_proves_nothing_is_refused_and_nobody_is_asked_to_erase(town: Town) -> None:
    desk = town.office.desk()
    receipt = purged(desk, person(desk))
    done = town.report(receipt)
    own = everywhere(town, desk, done)
    name, subjects = done.name, [subject_name(receipt.statement.tenant, key) for key in receipt.statement.subjects]
    altered = receipt.document.rpartition(b".")[0] + b"." + own.document.rpartition(b".")[2]
    asked = list(town.moody.asked)
    for document in (b"", b"nonsense", b"{}", b"[" * 100_000, altered, own.document):
        with pytest.raises(CapsuleError) as refused:
            service_desk(PRIVACY, town.servicer, "contacts").ReportErasure(
                pb.ReportErasureRequest(name=name, subjects=subjects, receipt=document)
            )
        assert isinstance(refused.value, ReceiptInvalid | InvalidField)
    assert town.moody.asked == asked


@pytest.mark.law("L1")
def test_the_receipt_of_one_tenant_reports_nothing_in_another(town: Town) -> None:
    desk, other = town.office.desk(), town.office.desk()
    receipt = purged(desk, person(desk))
    with pytest.raises(InvalidField) as refused:
        service_desk(PRIVACY, town.servicer, "contacts").ReportErasure(
            pb.ReportErasureRequest(
                name=f"{other.tenant}/erasures/{receipt.statement.erasure}",
                subjects=[f"{other.tenant}/subjects/c1"],
                receipt=receipt.document,
            )
        )
    assert refused.value.field == "receipt"
    done = town.report(receipt)
    told = set()
    for name in (done.name.replace(desk.tenant, other.tenant), f"{other.tenant}/erasures/eunknown"):
        for method, request in (
            ("GetErasure", pb.GetErasureRequest(name=name)),
            ("GetReceipt", pb.GetReceiptRequest(name=f"{name}/receipt")),
        ):
            with pytest.raises(ResourceMissing) as missing:
                getattr(town.asked_by(other), method)(request)
            told.add((method, str(missing.value)))
        with pytest.raises(PermissionDenied):
            town.asked_by(attrs.evolve(other, caller=somebody("elsewhere"))).GetErasure(pb.GetErasureRequest(name=name))
    assert len(told) == 2
    assert not town.asked_by(other).ListErasures(pb.ListErasuresRequest(parent=other.tenant)).erasures


@pytest.mark.law("L13")
def test_no_user_reports_an_erasure(town: Town) -> None:
    with pytest.raises(PermissionDenied):
        town.asked_by(town.office.desk()).ReportErasure(pb.ReportErasureRequest())


def test_erasures_are_listed_newest_first_page_by_page(town: Town) -> None:
    desk = town.office.desk()
    names = [town.report(purged(desk, person(desk))).name for _ in range(3)]
    reader, token, seen = town.asked_by(desk), "", []
    while True:
        request = pb.ListErasuresRequest(parent=desk.tenant, page_size=1, page_token=token)
        page = reader.ListErasures(request)
        seen += [each.name for each in page.erasures]
        token = page.next_page_token
        if not token:
            break
    assert seen == names[::-1]


@attrs.define
class Listener:
    """Takes reports as told, and lets a test wait for them."""

    answers: list[Any]
    heard: list[str] = attrs.Factory(list)
    enough: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))

    def __call__(self, receipt: Receipt) -> bool:
        self.heard.append(receipt.statement.erasure)
        answer = self.answers.pop(0) if self.answers else True
        self.enough.release()
        if isinstance(answer, CapsuleError):
            raise answer
        return bool(answer)

    def wait_for(self, reports: int) -> None:
        for _ in range(reports):
            assert self.enough.acquire(timeout=30)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Office]:
    opened = opened_in_memory(tmp_path, "contacts", KINDS)
    yield office(opened, tmp_path)
    opened.close()


def reporting(ours: Office, listener: Listener) -> tuple[Reporter, threading.Event]:
    stopped, log = threading.Event(), made_log(StringIO(), service="contacts")
    return Reporter(ours.holding, listener, ours.folder / "reported", stopped, log), stopped


def ended(reporter: Reporter, stopped: threading.Event) -> None:
    stopped.set()
    reporter.wake()
    for thread in threading.enumerate():
        if thread.name in {"reporter", "sweeper"}:
            thread.join(timeout=30)


def test_every_committed_erasure_is_reported_until_it_is_done_and_none_after(ours: Office) -> None:
    desk = ours.desk()
    first, second = purged(desk, person(desk)), purged(desk, person(desk))
    listener = Listener([False, True, Unavailable()])
    reporter, stopped = reporting(ours, listener)
    reporter.start()
    listener.wait_for(2)
    reporter.wake()
    listener.wait_for(1)
    reporter.wake()
    listener.wait_for(1)
    third = purged(desk, person(desk))
    reporter.wake()
    listener.wait_for(1)
    ended(reporter, stopped)
    ids = [receipt.statement.erasure for receipt in (first, second, third)]
    assert listener.heard == [ids[0], ids[1], ids[0], ids[0], ids[2]]


def test_a_report_that_is_refused_holds_up_no_other(ours: Office) -> None:
    desk = ours.desk()
    first, second = purged(desk, person(desk)), purged(desk, person(desk))
    listener = Listener([ReceiptInvalid("it was altered"), True])
    reporter, stopped = reporting(ours, listener)
    reporter.start()
    listener.wait_for(2)
    ended(reporter, stopped)
    assert listener.heard[:2] == [first.statement.erasure, second.statement.erasure]


@pytest.mark.parametrize("cursor", [None, "", "garbage", "0\n"])
def test_a_service_that_starts_again_reports_what_it_had_not_reported(ours: Office, cursor: str | None) -> None:
    desk = ours.desk()
    receipt = purged(desk, person(desk))
    if cursor is not None:
        (ours.folder / "reported").write_text(cursor)
    listener = Listener([])
    reporter, stopped = reporting(ours, listener)
    reporter.start()
    listener.wait_for(1)
    ended(reporter, stopped)
    assert listener.heard == [receipt.statement.erasure]
    again = Listener([])
    reporter, stopped = reporting(ours, again)
    reporter.start()
    other = purged(desk, person(desk))
    reporter.wake()
    again.wait_for(1)
    ended(reporter, stopped)
    assert again.heard == [other.statement.erasure]


@pytest.mark.law("L2")
def test_the_sweeper_destroys_what_is_due_and_tells_the_reporter(ours: Office) -> None:
    desk = ours.desk()
    gone, later = person(desk), person(desk, "Bo")
    due = deleted(desk, gone).purge_time.ToDatetime(tzinfo=ours.holding.now().tzinfo)
    ours.advance(timedelta(seconds=1))
    deleted(desk, later)
    ours.advance(due - ours.holding.now())
    told, stopped = threading.Event(), threading.Event()
    sweeping = sweeper(ours, told, stopped)
    assert told.wait(30)
    ended(ours.reporter, stopped)
    sweeping.close()
    assert listed(desk, show_deleted=True) == [later.name]
